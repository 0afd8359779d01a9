//! HTTP: one request, or a million.
//!
//! A [`Client`] is what requests have in common: headers, cookies, credentials, proxies, time limits. It keeps as many
//! connections as it may have and never more, follows redirects, speaks HTTP/1.1 and HTTP/2, and gives a body only if it
//! is whole: one that ends early is an error, [`FetchError::CutOff`].
//!
//! ```
//! # use std::{io::{Read, Write}, net::TcpListener};
//! # let server = TcpListener::bind("127.0.0.1:0")?;
//! # let url = format!("http://{}/", server.local_addr()?);
//! # std::thread::spawn(move || {
//! #     let (mut stream, _) = server.accept().unwrap();
//! #     stream.read(&mut [0; 1000]).unwrap();
//! #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"rain\":true}").unwrap();
//! # });
//! use std::{collections::HashMap, time::Duration};
//!
//! use raincheck::fetch::{Client, Cookies, Request};
//!
//! let client = Client::builder()
//!     .header("Accept-Language", "en")?
//!     .cookies(Cookies::new())
//!     .idle_timeout(Duration::from_secs(5))
//!     .decode(true)
//!     .build()?;
//!
//! let request = Request::get(&url)?.query(&[("day", "today")]).timeout(Duration::from_secs(60));
//! let response = client.fetch_blocking(request)?.error_for_status()?; // in async code: client.fetch(request).await?
//! let forecast: HashMap<String, bool> = response.json()?;
//! assert!(forecast["rain"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Many at once
//!
//! [`Downloads`] runs any number of them on an executor: so many at a time, in all and from each host, no faster than told,
//! each tried again if what went wrong may go away, and waiting for that without holding anything up. A body goes to
//! memory, or to a file that has its name only when it is whole and verified. A large file can come
//! [in pieces](Downloads::segments), from several places. [`fetch`](fetch()) is one download as a task.
//!
//! ```
//! # use std::{io::{Read, Write}, net::TcpListener};
//! # let server = TcpListener::bind("127.0.0.1:0")?;
//! # let site = format!("http://{}", server.local_addr()?);
//! # std::thread::spawn(move || for stream in server.incoming() {
//! #     let mut stream = stream.unwrap();
//! #     stream.read(&mut [0; 1000]).unwrap();
//! #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nrain").unwrap();
//! # });
//! # let folder = std::env::temp_dir().join(format!("raincheck-doc-{}", std::process::id()));
//! use raincheck::{ThreadPool, fetch::{Client, Download, Downloads, Request}};
//!
//! let pool = ThreadPool::new(1);
//! let wanted: Vec<_> = ["a.txt", "b.txt"]
//!     .iter()
//!     .map(|name| Ok(Download::new(Request::get(&format!("{site}/{name}"))?).to(name)))
//!     .collect::<Result<_, raincheck::fetch::FetchError>>()?;
//!
//! let downloads = Downloads::new(Client::builder().build()?).into_folder(&folder)?;
//! for ended in downloads.at_once(8).on(&pool, wanted)? {
//!     assert_eq!(ended.result?.bytes, 4);
//! }
//! assert_eq!(std::fs::read(folder.join("b.txt"))?, b"rain");
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is sent is a [`Payload`]: bytes, JSON, a form, a file, or a [`Multipart`] upload. What comes can be checked against a
//! [`Checksum`], by SHA-256, SHA-512, SHA-1, MD5 or BLAKE3.
//!
//! What a status means is the caller's business, until [`Response::error_for_status`] is asked; what credentials there
//! are is shown to the host that they are for, and stands in no `Debug` output and in no error.

mod blocking;
mod body;
mod client;
mod connect;
mod connection;
mod cookies;
mod credentials;
mod error;
mod exchange;
mod link;
mod names;
mod payload;
mod pool;
mod proxy;
mod request;
mod response;
mod route;
mod tls;

#[cfg(unix)]
mod attempt;
mod checksum;
mod download;
#[cfg(unix)]
mod downloads;
#[cfg(unix)]
mod file;
#[cfg(unix)]
mod load;
#[cfg(unix)]
mod note;
#[cfg(unix)]
mod pieces;
mod places;
mod retry;
#[cfg(unix)]
mod run;
mod schedule;
#[cfg(unix)]
mod split;
#[cfg(unix)]
mod stop;
#[cfg(unix)]
#[cfg_attr(
    feature = "process",
    expect(
        unsafe_code,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "what `#[task]` adds, as in any other crate"
    )
)]
mod task;

pub use blocking::BlockingResponse;
pub use checksum::{Algorithm, Checksum};
pub use client::{Client, ClientBuilder};
pub use cookies::Cookies;
pub use credentials::Credentials;
pub use download::{Download, Ended, Fetched, Partial};
#[cfg(unix)]
pub use downloads::{AsEnded, Downloads, Pulled, Source, Watch};
pub use error::{FetchError, TimeLimit};
pub use http::Method;
pub use payload::{Multipart, Part, Payload};
pub(crate) use pool::Connections;
pub use proxy::Proxy;
pub use request::Request;
pub use response::{Redirect, Response, Timings};
pub use retry::Retries;
#[cfg(unix)]
pub use stop::Stop;
#[cfg(unix)]
pub use task::fetch;
pub use tls::Http2;
