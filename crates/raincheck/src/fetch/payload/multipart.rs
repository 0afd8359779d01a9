//! Forms with files in them: RFC 7578, with names quoted as browsers do.

use std::path::Path;

use bytes::Bytes;

use super::{super::credentials::random, Payload, Piece};
use crate::fetch::{FetchError, request::header_of};

/// A form that can have files in it, as a browser sends it: `multipart/form-data`.
///
/// # Examples
///
/// ```
/// # use std::{io::{Read, Write}, net::TcpListener};
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/", server.local_addr()?);
/// # std::thread::spawn(move || {
/// #     let (mut stream, _) = server.accept().unwrap();
/// #     stream.read(&mut [0; 10_000]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
/// # });
/// use raincheck::fetch::{Client, Multipart, Part};
///
/// let form = Multipart::new()
///     .text("day", "today")
///     .part("picture", Part::new(&b"GIF89a"[..]).file_name("cloud.gif").content_type("image/gif")?);
///
/// let client = Client::builder().build()?;
/// assert_eq!(client.post_blocking(&url, form)?.status(), 201);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Multipart {
    parts: Vec<(String, Part)>,
}

/// One field of a [`Multipart`].
#[derive(Clone, Debug)]
pub struct Part {
    piece: Piece,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Multipart {
    /// A form without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field with a text. Names can come twice.
    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.part(name, Part::new(value.into()))
    }

    /// Adds a field with a file, under the file's own name. What kind of file it is remains unsaid; with [`Part::file`]
    /// it can be said.
    pub fn file(self, name: &str, path: impl AsRef<Path>) -> Self {
        self.part(name, Part::file(path))
    }

    /// Adds a field.
    pub fn part(mut self, name: &str, part: Part) -> Self {
        self.parts.push((name.to_owned(), part));
        self
    }
}

impl Part {
    /// A field with these bytes. With a [file name](Part::file_name), servers take it for a file.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { piece: Piece::Bytes(bytes.into()), file_name: None, content_type: None }
    }

    /// A field with what will be in this file when the request is sent, under the file's own name.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { piece: Piece::File(path.to_owned()), file_name, content_type: None }
    }

    /// The name that the server is told.
    pub fn file_name(self, name: impl Into<String>) -> Self {
        Self { file_name: Some(name.into()), ..self }
    }

    /// What kind of file the server is told this is, as in `image/png`.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if it cannot be sent, for a line break in it, say.
    pub fn content_type(self, content_type: &str) -> Result<Self, FetchError> {
        header_of("content-type", content_type)?;
        Ok(Self { content_type: Some(content_type.to_owned()), ..self })
    }

    /// What stands above it.
    fn head(&self, name: &str) -> String {
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
        if let Some(file_name) = &self.file_name {
            head.push_str(&format!("; filename=\"{}\"", quoted(file_name)));
        }
        if let Some(content_type) = &self.content_type {
            head.push_str(&format!("\r\nContent-Type: {content_type}"));
        }
        head
    }
}

/// A name that ends neither its quotes nor its line, as the HTML standard has it.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

impl From<Multipart> for Payload {
    fn from(form: Multipart) -> Self {
        // Drawn by lot, so that it is in no file.
        let boundary = format!("raincheck-{}", random());
        let mut pieces = Vec::with_capacity(form.parts.len() * 2 + 1);
        let mut between = String::new();
        for (name, part) in form.parts {
            between.push_str(&format!("--{boundary}\r\n{}\r\n\r\n", part.head(&name)));
            pieces.extend([Piece::Bytes(std::mem::take(&mut between).into()), part.piece]);
            between.push_str("\r\n");
        }
        between.push_str(&format!("--{boundary}--\r\n"));
        pieces.push(Piece::Bytes(between.into()));
        Self { content_type: Some(format!("multipart/form-data; boundary={boundary}")), pieces }
    }
}
