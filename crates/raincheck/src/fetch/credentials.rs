//! Who is asking: passwords and tokens, and to whom they may be shown.

use std::{
    fmt,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, Method, header};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    FetchError,
    route::{OwnedRoute, Route},
};

/// Who is asking. Shown to the host that it is for, and to no other; never part of `Debug` output.
///
/// Serde writes them down in the clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Credentials {
    /// A name and a password, sent with the first request. A server that asks for a digest gets one.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A name and a password that is never sent, but proven to be known when the server asks.
    Digest {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer {
        /// The token.
        token: String,
    },
}

impl Credentials {
    /// A name and a password, as [`Credentials::Basic`].
    pub fn basic(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }

    /// A name and a password, as [`Credentials::Digest`].
    pub fn digest(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Digest { user: user.into(), password: password.into() }
    }

    /// A token, as [`Credentials::Bearer`].
    pub fn bearer(token: impl Into<String>) -> Self {
        Self::Bearer { token: token.into() }
    }

    /// What stands in a URL before the host.
    pub(super) fn of_url(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let plain = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some(Self::basic(plain(url.username()), plain(url.password().unwrap_or_default())))
    }

    /// What is sent without being asked.
    pub(super) fn unasked(&self) -> Result<Option<HeaderValue>, FetchError> {
        match self {
            Self::Basic { user, password } => {
                if user.contains(':') {
                    return Err(FetchError::invalid("a user's name that is sent cannot have a colon in it"));
                }
                secret(format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))).map(Some)
            }
            Self::Digest { .. } => Ok(None),
            Self::Bearer { token } => secret(format!("Bearer {token}")).map(Some),
        }
    }

    fn user_and_password(&self) -> Option<(&str, &str)> {
        match self {
            Self::Basic { user, password } | Self::Digest { user, password } => Some((user, password)),
            Self::Bearer { .. } => None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Digest { user, .. } => f.debug_struct("Digest").field("user", user).finish_non_exhaustive(),
            Self::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

fn secret(value: String) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| FetchError::invalid("the credentials have a character that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { digit as char } else { '=' });
        }
    }
    text
}

/// What servers have asked for, so that only the first request to each has to be asked.
#[derive(Default)]
pub(super) struct Challenges {
    known: Mutex<Vec<(OwnedRoute, Challenge)>>,
}

/// How many servers are remembered; whoever is forgotten asks again.
const CHALLENGES_AT_MOST: usize = 64;

/// What a server wants to have digested.
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    session: bool,
    /// As the server wrote it, if it did.
    named: Option<String>,
    counted: bool,
    count: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Challenges {
    /// Takes what a server asks for in a response of 401. Whether it can be answered with these credentials.
    pub(super) fn take(&self, route: Route<'_>, headers: &HeaderMap, credentials: &Credentials) -> bool {
        if credentials.user_and_password().is_none() {
            return false;
        }
        let asked = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        // The strongest of what it accepts.
        let Some(challenge) = asked.flat_map(challenges).max_by_key(|challenge| challenge.algorithm) else {
            return false;
        };
        let mut known = self.known.lock().expect("nothing panics under this lock");
        known.retain(|(to, _)| *to != route);
        if known.len() == CHALLENGES_AT_MOST {
            known.remove(0);
        }
        known.push((OwnedRoute::from(route), challenge));
        true
    }

    /// The answer to what a server has asked for, if it has.
    pub(super) fn answer(
        &self,
        route: Route<'_>,
        credentials: &Credentials,
        method: &Method,
        target: &str,
    ) -> Result<Option<HeaderValue>, FetchError> {
        let Some((user, password)) = credentials.user_and_password() else { return Ok(None) };
        let known = self.known.lock().expect("nothing panics under this lock");
        let Some((_, challenge)) = known.iter().find(|(to, _)| *to == route) else { return Ok(None) };
        secret(challenge.answer(user, password, method, target, &random())).map(Some)
    }
}

impl Challenge {
    fn answer(&self, user: &str, password: &str, method: &Method, target: &str, client_nonce: &str) -> String {
        let hash = |text: String| self.algorithm.hash(&text);
        let Self { realm, nonce, .. } = self;
        let mut secret = hash(format!("{user}:{realm}:{password}"));
        if self.session {
            secret = hash(format!("{secret}:{nonce}:{client_nonce}"));
        }
        let what = hash(format!("{method}:{target}"));
        let count = format!("{:08x}", self.count.fetch_add(1, Ordering::Relaxed) + 1);
        let response = if self.counted {
            hash(format!("{secret}:{nonce}:{count}:{client_nonce}:auth:{what}"))
        } else {
            hash(format!("{secret}:{nonce}:{what}"))
        };
        let mut answer = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{target}\", response=\"{response}\"",
            quoted(user),
            quoted(realm),
            quoted(nonce)
        );
        if let Some(named) = &self.named {
            answer.push_str(&format!(", algorithm={named}"));
        }
        if let Some(opaque) = &self.opaque {
            answer.push_str(&format!(", opaque=\"{}\"", quoted(opaque)));
        }
        if self.counted {
            answer.push_str(&format!(", qop=auth, nc={count}"));
        }
        if self.counted || self.session {
            answer.push_str(&format!(", cnonce=\"{client_nonce}\""));
        }
        answer
    }
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

pub(super) fn random() -> String {
    let mut bytes = [0; 16];
    // What cannot be had from the system is made of what differs from one call to the next; nobody's secret hangs on it.
    if rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).is_err() {
        use std::hash::BuildHasher as _;
        bytes[..8].copy_from_slice(&std::hash::RandomState::new().hash_one(0).to_ne_bytes());
    }
    hex(&bytes)
}

/// The digests that a `WWW-Authenticate` header asks for, of those that are known here.
fn challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some(at) = find_scheme(rest) {
        let (parameters, behind) = parameters(&rest[at + "digest ".len()..]);
        found.extend(Challenge::of(&parameters));
        rest = behind;
    }
    found
}

/// Where the next word `Digest` stands that begins a challenge.
fn find_scheme(text: &str) -> Option<usize> {
    let mut quoted = false;
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|&at| {
        if bytes[at] == b'"' {
            quoted = !quoted;
        }
        let begins = at == 0 || matches!(bytes[at - 1], b',' | b' ');
        !quoted && begins && bytes[at..].get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"digest "))
    })
}

/// The parameters at the beginning of `text`, and what is behind them.
fn parameters(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',', '\t']);
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).unwrap_or(text.len());
        let Some(value) = text[end..].trim_start().strip_prefix('=') else { return (found, text) };
        let name = text[..end].to_ascii_lowercase();
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(value) => unquoted(value),
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        found.push((name, value));
        text = behind;
    }
}

/// A quoted text up to its end, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut plain = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (plain, &text[at + 1..]),
            '\\' => plain.extend(chars.next().map(|(_, c)| c)),
            c => plain.push(c),
        }
    }
    (plain, "")
}

impl Challenge {
    fn of(parameters: &[(String, String)]) -> Option<Self> {
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let named = value("algorithm");
        let algorithm = named.as_deref().unwrap_or("MD5").to_ascii_lowercase();
        let (algorithm, session) = match algorithm.strip_suffix("-sess") {
            Some(algorithm) => (algorithm, true),
            None => (algorithm.as_str(), false),
        };
        let algorithm = match algorithm {
            "md5" => Algorithm::Md5,
            "sha-256" => Algorithm::Sha256,
            _ => return None,
        };
        let counted = match value("qop") {
            None => false,
            Some(qop) if qop.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => true,
            // The body would have to be digested too.
            Some(_) => return None,
        };
        Some(Self {
            realm: value("realm")?,
            nonce: value("nonce")?,
            opaque: value("opaque"),
            algorithm,
            session,
            named,
            counted,
            count: AtomicU32::new(0),
        })
    }
}

/// Who is who for which host, as `~/.netrc` has it.
#[derive(Clone, Default)]
pub(super) struct Netrc {
    machines: Vec<(Option<String>, Credentials)>,
}

impl Netrc {
    pub(super) fn read(path: &Path) -> Result<Self, FetchError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| FetchError::File { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut netrc = Self::default();
        let mut words = words(text).into_iter().peekable();
        while let Some(word) = words.next() {
            let machine = match word.as_str() {
                "machine" => words.next().map(|name| name.to_ascii_lowercase()),
                "default" => None,
                _ => continue,
            };
            let (mut user, mut password) = (String::new(), String::new());
            while let Some(word) = words.next_if(|word| word != "machine" && word != "default") {
                match word.as_str() {
                    "login" => user = words.next().unwrap_or_default(),
                    "password" => password = words.next().unwrap_or_default(),
                    "account" => drop(words.next()),
                    _ => {}
                }
            }
            netrc.machines.push((machine, Credentials::basic(user, password)));
        }
        netrc
    }

    pub(super) fn find(&self, host: &str) -> Option<&Credentials> {
        let named = self.machines.iter().find(|(machine, _)| machine.as_deref() == Some(host));
        named
            .or_else(|| self.machines.iter().find(|(machine, _)| machine.is_none()))
            .map(|(_, credentials)| credentials)
    }
}

/// The words of a netrc: without comments and macros, and with what is quoted as one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        let mut rest = line.trim();
        // A macro ends with the first line that is empty.
        in_macro = in_macro && !rest.is_empty();
        while !in_macro && !rest.is_empty() && !rest.starts_with('#') {
            let (word, behind) = match rest.strip_prefix('"') {
                Some(quoted) => unquoted(quoted),
                None => {
                    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                    (rest[..end].to_owned(), &rest[end..])
                }
            };
            in_macro = word == "macdef";
            if !in_macro {
                words.push(word);
            }
            rest = behind.trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_everywhere() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        // RFC 7616, section 3.9.1.
        let header = concat!(
            r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, "#,
            r#"nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", "#,
            r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, "#,
            r#"nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        );
        let client_nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

        let answers: Vec<String> = challenges(header)
            .iter()
            .map(|challenge| {
                challenge.answer("Mufasa", "Circle of Life", &Method::GET, "/dir/index.html", client_nonce)
            })
            .collect();

        assert!(
            answers[0].contains("753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            "{}",
            answers[0]
        );
        assert!(answers[1].contains("8ca523f5e9506fed4657c9700eebdbec"), "{}", answers[1]);
        assert!(answers[1].contains("qop=auth, nc=00000001"), "{}", answers[1]);
    }

    #[test]
    fn a_challenge_is_found_among_others_and_nonsense_is_none() {
        assert_eq!(challenges(r#"Basic realm="x, Digest y", Digest realm="a\"b", nonce=n"#)[0].realm, "a\"b");
        for header in ["", "Digest", "Digest ", "Digest realm", r#"Digest realm="#, r#"Digest realm="x"#, "Digest é=é"]
        {
            assert!(challenges(header).is_empty(), "{header}");
        }
    }

    #[test]
    fn a_netrc_says_who_is_who_for_which_host() {
        let netrc = Netrc::parse(concat!(
            "# mine\nmachine example.org login me password \"with \\\" space\"\n",
            "machine two.example\n  login you\n  account x\n  password p#w\n",
            "macdef init\nmachine evil.example login a password b\n\n",
            "default login anonymous password guest\n"
        ));

        assert_eq!(netrc.find("example.org"), Some(&Credentials::basic("me", "with \" space")));
        assert_eq!(netrc.find("two.example"), Some(&Credentials::basic("you", "p#w")));
        assert_eq!(netrc.find("evil.example"), Some(&Credentials::basic("anonymous", "guest")));
        assert_eq!(Netrc::parse("machine a login b").find("c"), None);
    }

    #[test]
    fn nothing_of_a_password_is_shown() {
        for credentials in
            [Credentials::basic("me", "hidden"), Credentials::digest("me", "hidden"), Credentials::bearer("hidden")]
        {
            assert!(!format!("{credentials:?}").contains("hidden"));
        }
    }
}
