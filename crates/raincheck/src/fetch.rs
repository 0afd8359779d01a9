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

pub use client::{Client, ClientBuilder};
pub use cookies::Cookies;
pub use credentials::Credentials;
pub use error::{FetchError, TimeLimit};
#[expect(unused_imports, reason = "for the downloads")]
pub(crate) use pool::Connections;
pub use proxy::Proxy;
pub use request::Request;
pub use response::{Redirect, Response, Timings};
