//! Which part of a resource a request asks for, if any: ranges and preconditions, after RFC 9110.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode};

use super::content::Resource;

/// How much of a resource to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes of it, at least one.
    Part(Range<u64>),
    /// Nothing, for the reason that this status gives: the client has it, or what it asks for is not there.
    Nothing(StatusCode),
}

/// Reads the preconditions and the range of a `GET` or `HEAD` request for this resource.
pub(super) fn wanted(method: &Method, headers: &HeaderMap, resource: &Resource) -> Wanted {
    if let Some(status) = failed_precondition(headers, resource) {
        return Wanted::Nothing(status);
    }
    let range = header(headers, &header::RANGE).filter(|_| method == Method::GET && range_applies(headers, resource));
    range.map_or(Wanted::Whole, |range| part(range, resource.length))
}

fn failed_precondition(headers: &HeaderMap, resource: &Resource) -> Option<StatusCode> {
    let date = |name| header(headers, name).and_then(|date| httpdate::parse_http_date(date).ok());
    let modified = resource.modified.map(whole_seconds);

    let unchanged = if headers.contains_key(header::IF_MATCH) {
        names(headers, &header::IF_MATCH, |tag| tag == resource.etag)
    } else {
        match (date(&header::IF_UNMODIFIED_SINCE), modified) {
            (Some(since), Some(modified)) => modified <= since,
            _ => true,
        }
    };
    if !unchanged {
        return Some(StatusCode::PRECONDITION_FAILED);
    }

    let client_has_it = if headers.contains_key(header::IF_NONE_MATCH) {
        names(headers, &header::IF_NONE_MATCH, |tag| tag.strip_prefix("W/").unwrap_or(tag) == resource.etag)
    } else {
        match (date(&header::IF_MODIFIED_SINCE), modified) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    };
    client_has_it.then_some(StatusCode::NOT_MODIFIED)
}

/// Returns true if `If-Range` is absent, or names this very version: by its tag or by its date.
fn range_applies(headers: &HeaderMap, resource: &Resource) -> bool {
    let Some(version) = headers.get(header::IF_RANGE) else { return true };
    let Ok(version) = version.to_str() else { return false };
    match httpdate::parse_http_date(version) {
        Ok(date) => resource.modified.map(whole_seconds) == Some(date),
        Err(_) => version == resource.etag,
    }
}

/// Reads a `Range` header. One that asks for several parts, or makes no sense, may be answered with the whole.
fn part(range: &str, length: u64) -> Wanted {
    const UNSATISFIABLE: Wanted = Wanted::Nothing(StatusCode::RANGE_NOT_SATISFIABLE);
    let Some((unit, spec)) = range.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Wanted::Whole,
        (Some(first), _) if first >= length => UNSATISFIABLE,
        (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(length)),
        (Some(first), None) if last.is_empty() => Wanted::Part(first..length),
        (None, Some(0)) if first.is_empty() => UNSATISFIABLE,
        (None, Some(suffix)) if first.is_empty() && length > 0 => Wanted::Part(length.saturating_sub(suffix)..length),
        _ => Wanted::Whole,
    }
}

/// Returns the number, or the greatest there is if it is greater still: a range may ask for more than there can be.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Returns true if one of the tags in this header is the right one, or a `*`, which is any.
fn names(headers: &HeaderMap, name: &HeaderName, right: impl Fn(&str) -> bool) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| tag == "*" || right(tag))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A date in a header has whole seconds, so it is compared with whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + std::time::Duration::from_secs(since_1970.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::server::body::Data;

    const NOT_MODIFIED: Wanted = Wanted::Nothing(StatusCode::NOT_MODIFIED);
    const UNSATISFIABLE: Wanted = Wanted::Nothing(StatusCode::RANGE_NOT_SATISFIABLE);
    const CHANGED: Wanted = Wanted::Nothing(StatusCode::PRECONDITION_FAILED);
    const EARLIER: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
    const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    const LATER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";

    fn resource(length: u64) -> Resource {
        Resource {
            length,
            etag: "\"v1\"".to_owned(),
            modified: Some(UNIX_EPOCH + Duration::from_millis(1_000_000_000_700)),
            content_type: "text/plain",
            data: Data::Memory(Bytes::new()),
        }
    }

    fn get(headers: &[(HeaderName, &str)]) -> Wanted {
        ask(&Method::GET, headers, 100)
    }

    fn ask(method: &Method, headers: &[(HeaderName, &str)], length: u64) -> Wanted {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().expect("the tests send legal headers"));
        }
        wanted(method, &map, &resource(length))
    }

    #[test]
    fn a_range_asks_for_its_bytes_and_no_more_than_there_are() {
        let range = |range| get(&[(header::RANGE, range)]);

        assert_eq!(range("bytes=0-9"), Wanted::Part(0..10));
        assert_eq!(range("bytes=99-99"), Wanted::Part(99..100));
        assert_eq!(range("bytes=90-"), Wanted::Part(90..100));
        assert_eq!(range("bytes=-10"), Wanted::Part(90..100));
        assert_eq!(range("bytes=-1000"), Wanted::Part(0..100));
        assert_eq!(range("bytes=90-99999999999999999999999"), Wanted::Part(90..100));
        assert_eq!(range("Bytes=0-18446744073709551615"), Wanted::Part(0..100));
    }

    #[test]
    fn a_range_beyond_the_end_cannot_be_satisfied() {
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(get(&[(header::RANGE, beyond)]), UNSATISFIABLE, "{beyond}");
        }
        assert_eq!(ask(&Method::GET, &[(header::RANGE, "bytes=0-")], 0), UNSATISFIABLE);
    }

    #[test]
    fn several_ranges_or_a_senseless_one_get_the_whole() {
        for range in [
            "bytes=0-1,5-6",
            "bytes=5-1",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-b",
            "lines=0-1",
            "0-1",
            "bytes=+1-2",
            "bytes=1",
        ] {
            assert_eq!(get(&[(header::RANGE, range)]), Wanted::Whole, "{range}");
        }
        assert_eq!(ask(&Method::GET, &[(header::RANGE, "bytes=-5")], 0), Wanted::Whole);
    }

    #[test]
    fn a_range_means_nothing_to_head() {
        assert_eq!(ask(&Method::HEAD, &[(header::RANGE, "bytes=0-9")], 100), Wanted::Whole);
    }

    #[test]
    fn a_client_that_has_this_version_is_told_so() {
        for tags in ["\"v1\"", "W/\"v1\"", "\"v0\", \"v1\"", "*"] {
            assert_eq!(get(&[(header::IF_NONE_MATCH, tags)]), NOT_MODIFIED, "{tags}");
        }
        assert_eq!(get(&[(header::IF_NONE_MATCH, "\"v0\""), (header::IF_NONE_MATCH, "\"v1\"")]), NOT_MODIFIED);
        assert_eq!(get(&[(header::IF_NONE_MATCH, "\"v0\"")]), Wanted::Whole);
        assert_eq!(get(&[(header::IF_MODIFIED_SINCE, MODIFIED)]), NOT_MODIFIED);
        assert_eq!(get(&[(header::IF_MODIFIED_SINCE, EARLIER)]), Wanted::Whole);
    }

    #[test]
    fn a_tag_outweighs_a_date() {
        let headers = [(header::IF_NONE_MATCH, "\"v0\""), (header::IF_MODIFIED_SINCE, LATER)];

        assert_eq!(get(&headers), Wanted::Whole);
    }

    #[test]
    fn a_part_is_sent_only_of_the_version_that_if_range_names() {
        let if_range = |version| get(&[(header::RANGE, "bytes=0-9"), (header::IF_RANGE, version)]);

        assert_eq!(if_range("\"v1\""), Wanted::Part(0..10));
        assert_eq!(if_range(MODIFIED), Wanted::Part(0..10));
        for other in ["\"v0\"", "W/\"v1\"", EARLIER, LATER, "v1"] {
            assert_eq!(if_range(other), Wanted::Whole, "{other}");
        }
    }

    #[test]
    fn a_request_for_another_version_fails_its_precondition() {
        assert_eq!(get(&[(header::IF_MATCH, "\"v1\"")]), Wanted::Whole);
        assert_eq!(get(&[(header::IF_MATCH, "*")]), Wanted::Whole);
        assert_eq!(get(&[(header::IF_MATCH, "\"v0\"")]), CHANGED);
        assert_eq!(get(&[(header::IF_MATCH, "W/\"v1\"")]), CHANGED);
        assert_eq!(get(&[(header::IF_UNMODIFIED_SINCE, MODIFIED)]), Wanted::Whole);
        assert_eq!(get(&[(header::IF_UNMODIFIED_SINCE, EARLIER)]), CHANGED);
    }
}
