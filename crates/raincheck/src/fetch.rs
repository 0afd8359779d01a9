//! HTTP: one request, or a million.

mod body;
mod client;
mod connect;
mod connection;
mod cookies;
mod credentials;
mod error;
mod exchange;
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
mod retry;
mod schedule;

pub use checksum::{Algorithm, Checksum};
pub use client::{Client, ClientBuilder};
pub use cookies::Cookies;
pub use credentials::Credentials;
pub use download::{Download, Ended, Fetched, Partial};
#[cfg(unix)]
pub use downloads::{AsEnded, Downloads, Pulled, Source, Stop, Watch};
pub use error::{FetchError, TimeLimit};
pub(crate) use pool::Connections;
pub use proxy::Proxy;
pub use request::Request;
pub use response::{Redirect, Response, Timings};
pub use retry::Retries;
