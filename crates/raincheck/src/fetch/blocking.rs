//! The same for code that is not async: a thread that waits drives its requests itself.

use std::{
    cell::OnceCell,
    io::{self, Read},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle, Runtime};
use url::Url;

use super::{Client, Connections, FetchError, Redirect, Request, Response, Timings, response::from_json};

/// A [`Response`] whose body is waited for by blocking. It can also be read as a [`Read`].
pub struct BlockingResponse {
    response: Response,
    // Last, since the connection of the response is of use on its runtime alone.
    runtime: Arc<Runtime>,
    /// What of the last piece has not been read.
    rest: Bytes,
}

pub(super) fn fetch(client: &Client, request: Request) -> Result<BlockingResponse, FetchError> {
    if Handle::try_current().is_ok() {
        return Err(FetchError::invalid("async code must not block: call `fetch` here, and await it"));
    }
    let runtime = own_runtime()?;
    let response = runtime.block_on(client.fetch(request))?;
    Ok(BlockingResponse { response, runtime, rest: Bytes::new() })
}

/// The runtime of this thread, and the client's connections on it.
pub(super) fn own_connections(client: &Client) -> Result<(Arc<Runtime>, Connections), FetchError> {
    let runtime = own_runtime()?;
    let connections = {
        let _entered = runtime.enter();
        client.own_connections()
    };
    Ok((runtime, connections))
}

/// The runtime of this thread, made when it is first needed.
fn own_runtime() -> Result<Arc<Runtime>, FetchError> {
    thread_local! {
        static RUNTIME: OnceCell<Arc<Runtime>> = const { OnceCell::new() };
    }
    RUNTIME.with(|own| {
        if let Some(runtime) = own.get() {
            return Ok(Arc::clone(runtime));
        }
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| FetchError::invalid(format_args!("no runtime for this thread: {error}")))?;
        Ok(Arc::clone(own.get_or_init(|| Arc::new(runtime))))
    })
}

impl BlockingResponse {
    /// The status of the last answer.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers of the last answer.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where the response came from in the end.
    pub fn url(&self) -> &Url {
        self.response.url()
    }

    /// The way there, if it was not the way that was asked for.
    pub fn redirects(&self) -> &[Redirect] {
        self.response.redirects()
    }

    /// What took how long.
    pub fn timings(&self) -> Timings {
        self.response.timings()
    }

    /// Where what is so related to the response is, as [`Response::link`] has it.
    pub fn link(&self, relation: &str) -> Option<Url> {
        self.response.link(relation)
    }

    /// How many bytes the body has, where known.
    pub fn length(&self) -> Option<u64> {
        self.response.length()
    }

    /// Itself, unless its status says that there is not what was asked for.
    ///
    /// # Errors
    ///
    /// [`FetchError::Status`] for a status of 400 and more.
    pub fn error_for_status(mut self) -> Result<Self, FetchError> {
        self.response = self.response.error_for_status()?;
        Ok(self)
    }

    /// The next piece of the body, or `None` at its end, when all of it came.
    ///
    /// # Errors
    ///
    /// As for [`Response::chunk`].
    pub fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        self.runtime.block_on(self.response.chunk())
    }

    /// What is left of the body.
    ///
    /// # Errors
    ///
    /// As for [`Response::chunk`].
    pub fn bytes(mut self) -> Result<Bytes, FetchError> {
        if self.rest.is_empty() {
            return self.runtime.block_on(self.response.bytes());
        }
        let mut whole = Vec::new();
        while let Some(piece) = self.chunk()? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// What is left of the body as text, as [`Response::text`] does.
    ///
    /// # Errors
    ///
    /// As for [`Response::chunk`].
    pub fn text(self) -> Result<String, FetchError> {
        let encoding = self.response.encoding();
        Ok(encoding.decode(&self.bytes()?).0.into_owned())
    }

    /// What is left of the body as a value that was written as JSON.
    ///
    /// # Errors
    ///
    /// As for [`Response::json`].
    pub fn json<T: DeserializeOwned>(self) -> Result<T, FetchError> {
        from_json(&self.bytes()?)
    }
}

/// Errors are those of [`Response::chunk`], inside of an [`io::Error`].
impl Read for BlockingResponse {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.chunk().map_err(io::Error::other)?.unwrap_or_default();
        }
        let count = self.rest.len().min(to.len());
        self.rest.copy_to_slice(&mut to[..count]);
        Ok(count)
    }
}

impl std::fmt::Debug for BlockingResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.response.fmt(f)
    }
}
