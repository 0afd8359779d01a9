//! The access log: a line for each request, in the format that `raincheck logs` and every other reader of logs knows.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::SystemTime;

use hyper::body::Body as _;
use hyper::header::{self, HeaderName};
use hyper::{Request, Response};

use super::body::Body;
use super::locked;

/// Writes Apache's and nginx's combined format.
pub(super) struct AccessLog(Mutex<Box<dyn Write + Send>>);

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

impl AccessLog {
    pub(super) fn new(to: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(to))
    }

    /// Writes the line of this request, as soon as its answer is known.
    ///
    /// The bytes are those that are about to be sent; a client may go away before it has them all.
    pub(super) fn write<B>(&self, client: SocketAddr, request: &Request<B>, response: &Response<Body>) {
        let named = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        let line = format!(
            "{} - - [{}] \"{} {} {:?}\" {} {} \"{}\" \"{}\"\n",
            client.ip(),
            log_time(SystemTime::now()),
            request.method(),
            request.uri().path_and_query().map_or("/", |path| path.as_str()),
            request.version(),
            response.status().as_u16(),
            promised(response),
            quoted(named(header::REFERER)),
            quoted(named(header::USER_AGENT)),
        );
        // Whoever closes the log goes without it; the requests are served all the same.
        let _ = locked(&self.0).write_all(line.as_bytes());
    }
}

/// What the body of this answer is to be, unless it is cut off.
fn promised(response: &Response<Body>) -> String {
    if response.body().is_end_stream() {
        return "-".to_owned();
    }
    let length = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.unwrap_or("-").to_owned()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The time as logs have it, in UTC: `22/Jun/2026:10:18:59 +0000`.
fn log_time(time: SystemTime) -> String {
    // `Sun, 06 Nov 1994 08:49:37 GMT`: the same parts in another order.
    let date = httpdate::fmt_http_date(time);
    let (day, month, year, clock) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    format!("{day}/{month}/{year}:{clock} +0000")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_time_is_written_as_in_every_access_log() {
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);

        assert_eq!(log_time(time), "06/Nov/1994:08:49:37 +0000");
    }

    #[test]
    fn a_quote_in_a_header_does_not_end_its_field() {
        assert_eq!(quoted(r#"a "b" \c"#), r#"a \"b\" \\c"#);
    }
}
