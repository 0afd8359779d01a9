//! What `fetch` promises, against servers that keep to nothing.
#![cfg(feature = "fetch")]

mod adversity;
mod blocking;
mod cookies;
mod credentials;
mod decoding;
mod exchange;
mod http2;
mod lanes;
mod mirrors;
mod payload;
mod pool;
mod proxy;
mod resume;
mod segments;
mod server;
mod tls;
mod watch;

use raincheck::fetch::{Client, FetchError, Request, Response};

/// Fetches with a client of its own, and its body.
fn fetched(request: Request) -> Result<(Response, String), FetchError> {
    fetched_by(&Client::builder().build()?, request)
}

fn fetched_by(client: &Client, request: Request) -> Result<(Response, String), FetchError> {
    run(async {
        let mut response = client.fetch(request).await?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            body.extend_from_slice(&piece);
        }
        Ok((response, String::from_utf8_lossy(&body).into_owned()))
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
