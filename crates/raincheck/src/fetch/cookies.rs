//! Cookies, by RFC 6265.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, header};
use url::{Host, Url};

use super::FetchError;

/// What is kept for one domain; of more, the oldest go.
const PER_DOMAIN: usize = 180;

/// Name and value of a cookie; browsers ignore larger ones too.
const LARGEST: usize = 4096;

/// Cookies that servers have set, and that are sent back to them and to nobody else. Clones are the same.
///
/// # Examples
///
/// ```
/// use raincheck::fetch::{Client, Cookies};
///
/// let cookies = Cookies::from_netscape("# Netscape HTTP Cookie File\n.example.org\tTRUE\t/\tFALSE\t0\ttaste\tsweet\n")?;
/// let client = Client::builder().cookies(cookies.clone()).build()?;
/// // … and after some requests:
/// std::fs::write(std::env::temp_dir().join("cookies.txt"), cookies.to_netscape())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Cookies {
    jar: Arc<Mutex<Jar>>,
}

#[derive(Default)]
struct Jar {
    /// By domain, each in the order in which they were set.
    domains: HashMap<String, Vec<Cookie>>,
}

struct Cookie {
    name: String,
    value: String,
    path: String,
    /// Not for hosts below the domain.
    host_only: bool,
    secure: bool,
    http_only: bool,
    /// In seconds since 1970; `None` at the end of the program.
    expires: Option<u64>,
}

impl Cookies {
    /// No cookies yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cookies from the text of a `cookies.txt`, as curl, wget and browsers' extensions write it.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] with the number of the first line that is no cookie.
    pub fn from_netscape(text: &str) -> Result<Self, FetchError> {
        let cookies = Self::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            let (line, http_only) = match line.strip_prefix("#HttpOnly_") {
                Some(line) => (line, true),
                None => (line, false),
            };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (domain, cookie) = from_line(line, http_only).ok_or_else(|| {
                FetchError::invalid(format_args!("line {} is no cookie of a cookies.txt", number + 1))
            })?;
            cookies.lock().put(domain, cookie, now());
        }
        Ok(cookies)
    }

    /// All of them that have not expired as the text of a `cookies.txt`; those without a date too, with 0 for it.
    pub fn to_netscape(&self) -> String {
        use fmt::Write as _;

        let mut text = String::from("# Netscape HTTP Cookie File\n");
        let jar = self.lock();
        let mut domains: Vec<_> = jar.domains.iter().collect();
        domains.sort_by_key(|(domain, _)| *domain);
        for (domain, cookies) in domains {
            for cookie in cookies.iter().filter(|cookie| !cookie.is_over(now())) {
                let prefix = if cookie.http_only { "#HttpOnly_" } else { "" };
                let dot = if cookie.host_only { "" } else { "." };
                let truth = |is| if is { "TRUE" } else { "FALSE" };
                let _ = writeln!(
                    text,
                    "{prefix}{dot}{domain}\t{}\t{}\t{}\t{}\t{}\t{}",
                    truth(!cookie.host_only),
                    cookie.path,
                    truth(cookie.secure),
                    cookie.expires.unwrap_or(0),
                    cookie.name,
                    cookie.value
                );
            }
        }
        text
    }

    /// Takes what a response from `url` sets.
    pub(super) fn take(&self, url: &Url, headers: &HeaderMap) {
        for set in headers.get_all(header::SET_COOKIE) {
            if let Some((domain, cookie)) =
                std::str::from_utf8(set.as_bytes()).ok().and_then(|set| from_header(set, url))
            {
                self.lock().put(domain, cookie, now());
            }
        }
    }

    /// What is sent to `url`.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let host = url.host_str()?;
        let secure = is_secure(url);
        let jar = self.lock();
        let mut fitting = Vec::new();
        let mut domain = host;
        loop {
            fitting.extend(jar.domains.get(domain).into_iter().flatten().filter(|cookie| {
                (!cookie.host_only || domain == host)
                    && (!cookie.secure || secure)
                    && path_matches(url.path(), &cookie.path)
                    && !cookie.is_over(now())
            }));
            match domain.split_once('.') {
                Some((_, parent)) if matches!(url.host(), Some(Host::Domain(_))) => domain = parent,
                _ => break,
            }
        }
        if fitting.is_empty() {
            return None;
        }
        // The more special first; equal ones in the order in which they were set.
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        Some(fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect::<Vec<_>>().join("; "))
    }

    fn lock(&self) -> MutexGuard<'_, Jar> {
        self.jar.lock().expect("nothing panics under the lock of the cookies")
    }
}

impl Jar {
    fn put(&mut self, domain: String, cookie: Cookie, now: u64) {
        let cookies = self.domains.entry(domain).or_default();
        cookies.retain(|old| !old.is_over(now));
        let same = cookies
            .iter_mut()
            .find(|old| old.name == cookie.name && old.path == cookie.path && old.host_only == cookie.host_only);
        match same {
            // In its place: what counts is when it was first set.
            Some(old) => *old = cookie,
            None => cookies.push(cookie),
        }
        cookies.retain(|cookie| !cookie.is_over(now));
        if cookies.len() > PER_DOMAIN {
            cookies.remove(0);
        }
    }
}

impl Cookie {
    fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn from_line(line: &str, http_only: bool) -> Option<(String, Cookie)> {
    let mut fields = line.split('\t');
    let domain = fields.next()?.trim();
    let below = fields.next()?.eq_ignore_ascii_case("TRUE");
    let path = fields.next()?.to_owned();
    let secure = fields.next()?.eq_ignore_ascii_case("TRUE");
    let expires = fields.next()?.trim().split('.').next()?.parse::<i64>().ok()?;
    let name = fields.next()?.to_owned();
    // A value can be empty, and its tab lost with the end of the line.
    let value = fields.next().unwrap_or_default().to_owned();
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    let fit = |text: &str| !text.chars().any(|c| c.is_control() || c == ';');
    if domain.is_empty() || !path.starts_with('/') || fields.next().is_some() || !fit(&name) || !fit(&value) {
        return None;
    }
    let expires = (expires != 0).then_some(expires.max(1).unsigned_abs());
    Some((domain, Cookie { name, value, path, host_only: !below, secure, http_only, expires }))
}

/// A cookie that a host may set, by section 5 of the standard.
fn from_header(set: &str, url: &Url) -> Option<(String, Cookie)> {
    let host = url.host_str()?;
    let mut parts = set.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.len() + value.len() > LARGEST || set.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        path: default_path(url.path()).to_owned(),
        host_only: true,
        secure: false,
        http_only: false,
        expires: None,
    };
    let mut domain = host.to_owned();
    let (mut max_age, mut expires, mut path_given) = (None, None, false);
    for part in parts {
        let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match attribute.trim().to_ascii_lowercase().as_str() {
            "domain" if !value.is_empty() => {
                domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                cookie.host_only = false;
            }
            "path" => {
                path_given = value.starts_with('/');
                cookie.path = if path_given { value } else { default_path(url.path()) }.to_owned();
            }
            "secure" => cookie.secure = true,
            "httponly" => cookie.http_only = true,
            "max-age" => {
                if let Ok(seconds) = value.parse::<i64>() {
                    max_age = Some(if seconds <= 0 { 1 } else { now().saturating_add(seconds.unsigned_abs()) });
                }
            }
            "expires" => expires = date(value).or(expires),
            _ => {}
        }
    }
    cookie.expires = max_age.or(expires);
    if !cookie.host_only && domain == host {
        cookie.host_only = !matches!(url.host(), Some(Host::Domain(_))) || is_public(&domain);
    }
    let allowed = domain == host || (domain_matches(url, &domain) && !is_public(&domain));
    let secure = !cookie.secure || is_secure(url);
    let as_named = match name.to_ascii_lowercase() {
        name if name.starts_with("__host-") => {
            cookie.secure && cookie.host_only && domain == host && path_given && cookie.path == "/"
        }
        name if name.starts_with("__secure-") => cookie.secure,
        _ => true,
    };
    (allowed && secure && as_named).then_some((domain, cookie))
}

/// Whether this is a domain under which everyone can have a name: `com`, `co.uk`, `github.io`.
fn is_public(domain: &str) -> bool {
    psl::suffix_str(domain) == Some(domain)
}

fn domain_matches(url: &Url, domain: &str) -> bool {
    match url.host() {
        Some(Host::Domain(host)) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        _ => false,
    }
}

/// Whether nobody on the way sees what is sent there.
fn is_secure(url: &Url) -> bool {
    url.scheme() == "https"
}

fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &path[..last],
    }
}

fn path_matches(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A date as servers write it in cookies, in seconds since 1970: the standard takes almost any order and punctuation.
fn date(text: &str) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None::<i64>, None, None);
    for token in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':')).filter(|token| !token.is_empty()) {
        if time.is_none() && token.contains(':') {
            time = Some(time_of(token)?);
        } else if day.is_none() && token.len() <= 2 && token.parse::<i64>().is_ok() {
            day = token.parse().ok();
        } else if month.is_none() && month_of(token).is_some() {
            month = month_of(token);
        } else if year.is_none() && (2..=4).contains(&token.len()) {
            year = token.parse::<i64>().ok();
        }
    }
    let year = match year? {
        year @ 70..=99 => 1900 + year,
        year @ 0..=69 => 2000 + year,
        year => year,
    };
    let day = day.filter(|day| (1..=31).contains(day))?;
    if year < 1601 {
        return None;
    }
    let seconds = days_since_1970(year, month?, day) * 86400 + time? as i64;
    Some(seconds.max(1).unsigned_abs())
}

fn time_of(token: &str) -> Option<u64> {
    let mut parts = token.split(':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    (hours < 24 && minutes < 60 && seconds < 60).then_some((hours * 60 + minutes) * 60 + seconds)
}

fn month_of(token: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let token = token.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == token).map(|at| at as i64 + 1)
}

/// In the calendar that is now in use, reckoned from March, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.lock().domains.values().map(Vec::len).sum();
        f.debug_struct("Cookies").field("count", &count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(url: &str, cookie: &str) -> Cookies {
        let cookies = Cookies::new();
        let mut headers = HeaderMap::new();
        headers.insert(header::SET_COOKIE, cookie.parse().unwrap());
        cookies.take(&Url::parse(url).unwrap(), &headers);
        cookies
    }

    fn sent(cookies: &Cookies, url: &str) -> Option<String> {
        cookies.header(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_path_alone() {
        let cookies = set("http://a.example.org/dir/page", "a=1");

        assert_eq!(sent(&cookies, "http://a.example.org/dir/other").unwrap(), "a=1");
        assert_eq!(sent(&cookies, "http://a.example.org/dir").unwrap(), "a=1");
        for elsewhere in [
            "http://a.example.org/",
            "http://a.example.org/directory",
            "http://b.a.example.org/dir/",
            "http://example.org/dir/",
        ] {
            assert_eq!(sent(&cookies, elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_domain_is_for_all_hosts_below_it_unless_it_is_everybodys_or_somebody_elses() {
        let cookies = set("https://www.example.co.uk/", "a=1; Domain=.Example.co.uk; Path=/");
        assert_eq!(sent(&cookies, "http://img.example.co.uk/x").unwrap(), "a=1");
        assert_eq!(sent(&cookies, "http://badexample.co.uk/x"), None);

        for domain in ["co.uk", "uk", "other.co.uk", "mple.co.uk", "w.www.example.co.uk"] {
            let cookies = set("https://www.example.co.uk/", &format!("a=1; Domain={domain}"));
            assert_eq!(cookies.to_netscape().lines().count(), 1, "{domain}");
        }
        assert_eq!(sent(&set("http://127.0.0.1/", "a=1; Domain=0.0.1"), "http://10.0.0.1/"), None);
    }

    #[test]
    fn a_secure_cookie_is_neither_set_nor_sent_in_the_open() {
        let cookies = set("https://example.org/", "a=1; Secure");

        assert_eq!(sent(&cookies, "https://example.org/").unwrap(), "a=1");
        assert_eq!(sent(&cookies, "http://example.org/"), None);
        assert_eq!(sent(&set("http://example.org/", "a=1; Secure"), "https://example.org/"), None);
        assert_eq!(
            sent(
                &set("https://example.org/", "__Host-a=1; Secure; Domain=example.org; Path=/"),
                "https://example.org/"
            ),
            None
        );
    }

    #[test]
    fn a_cookie_whose_time_is_over_is_gone() {
        let cookies = set("http://example.org/", "a=1; Max-Age=1000; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(sent(&cookies, "http://example.org/").unwrap(), "a=1");

        let mut headers = HeaderMap::new();
        headers.insert(header::SET_COOKIE, "a=; Max-Age=0".parse().unwrap());
        cookies.take(&Url::parse("http://example.org/").unwrap(), &headers);
        assert_eq!(sent(&cookies, "http://example.org/"), None);
    }

    #[test]
    fn dates_are_read_in_every_form_that_servers_use() {
        for text in ["Wed, 09 Jun 2021 10:18:14 GMT", "Wednesday, 09-Jun-21 10:18:14 GMT", "Wed Jun  9 10:18:14 2021"] {
            assert_eq!(date(text), Some(1_623_233_894), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "Wed, 09 Jun 2021",
            "Wed, 32 Jun 2021 10:18:14 GMT",
            "09 Jun 2021 10:18:61",
            "9 é Jun 21 1:1:é",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_cookies_txt_is_written_as_it_was_read() {
        let text = "# Netscape HTTP Cookie File\n#HttpOnly_.example.org\tTRUE\t/\tTRUE\t4102444800\ta\t1\nlocalhost\tFALSE\t/x\tFALSE\t0\tb\t\n";

        assert_eq!(Cookies::from_netscape(text).unwrap().to_netscape(), text);
        let error = Cookies::from_netscape("\n# note\nexample.org TRUE / FALSE 0 a b\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3 is no cookie of a cookies.txt");
    }
}
