//! Checksums: how they are written, and made while a file comes.

use std::{fmt, str::FromStr};

use digest::DynDigest;
use serde::{Deserialize, Serialize};

/// How a checksum is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE3: the fastest that is safe. As many digits as SHA-256 has, so its checksums need its name before them.
    Blake3,
    /// SHA-1. It protects against accidents, and no longer against people.
    Sha1,
    /// MD5. It protects against accidents, and no longer against people.
    Md5,
}

/// A checksum that a file has, or is to have.
///
/// It is read as people write it: `sha256:…`, `sha-256=…` as in aria2's lists, or bare hexadecimal digits, whose number
/// tells the algorithm.
///
/// # Examples
///
/// ```
/// use raincheck::fetch::{Algorithm, Checksum};
///
/// let empty: Checksum = "sha-1=da39a3ee5e6b4b0d3255bfef95601890afd80709".parse()?;
/// assert_eq!(empty.algorithm(), Algorithm::Sha1);
/// assert_eq!(empty.to_string(), "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum {
    algorithm: Algorithm,
    digest: Box<[u8]>,
}

impl Algorithm {
    // Digits alone are taken for those of the first that makes so many.
    const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Blake3, Self::Sha1, Self::Md5];

    /// The name, as in `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
        }
    }

    /// How many bytes a digest has.
    fn length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
            Self::Sha1 => 20,
            Self::Md5 => 16,
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase().replace('-', "");
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| {
            format!("`{text}` is no checksum known here; there are sha256, sha512, blake3, sha1 and md5")
        })
    }
}

impl Checksum {
    /// A checksum of these bytes; `None` if the algorithm makes another number of them.
    pub fn new(algorithm: Algorithm, digest: impl Into<Box<[u8]>>) -> Option<Self> {
        let digest = digest.into();
        (digest.len() == algorithm.length()).then_some(Self { algorithm, digest })
    }

    /// How it was made.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits, two for each byte.
    pub fn hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (algorithm, hex) = match text.split_once([':', '=']) {
            Some((name, hex)) => (Some(name.parse::<Algorithm>()?), hex.trim()),
            None => (None, text),
        };
        let digest = bytes_of(hex).ok_or_else(|| format!("`{hex}` is no checksum: write hexadecimal digits"))?;
        let algorithm = match algorithm {
            Some(algorithm) => algorithm,
            None => Algorithm::ALL
                .into_iter()
                .find(|algorithm| algorithm.length() == digest.len())
                .ok_or_else(|| format!("no checksum known here has {} digits", hex.len()))?,
        };
        Self::new(algorithm, digest)
            .ok_or_else(|| format!("{} has {} digits, not {}", algorithm.name(), algorithm.length() * 2, hex.len()))
    }
}

/// The bytes that these digits stand for.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Checksum {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Makes a checksum, piece by piece.
pub(crate) struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Digest(Box<dyn DynDigest + Send>),
    // Its crate has traits of its own.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Digest(Box::new(sha2::Sha256::default())),
            Algorithm::Sha512 => State::Digest(Box::new(sha2::Sha512::default())),
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Sha1 => State::Digest(Box::new(sha1::Sha1::default())),
            Algorithm::Md5 => State::Digest(Box::new(md5::Md5::default())),
        };
        Self { algorithm, state }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Digest(digest) => digest.update(bytes),
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    pub(crate) fn finish(self) -> Checksum {
        let digest = match self.state {
            State::Digest(digest) => digest.finalize(),
            State::Blake3(hasher) => Box::from(*hasher.finalize().as_bytes()),
        };
        Checksum { algorithm: self.algorithm, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_read_as_people_write_it() {
        let digits = "d41d8cd98f00b204e9800998ecf8427e";
        for text in [format!("md5:{digits}"), format!("MD5={}", digits.to_uppercase()), format!(" {digits}\n")] {
            assert_eq!(text.parse::<Checksum>().unwrap().to_string(), format!("md5:{digits}"), "{text}");
        }
    }

    #[test]
    fn digits_without_a_name_are_those_of_sha256_and_not_of_blake3() {
        let digits = "0".repeat(64);

        assert_eq!(digits.parse::<Checksum>().unwrap().algorithm(), Algorithm::Sha256);
        assert_eq!(format!("BLAKE3={digits}").parse::<Checksum>().unwrap().algorithm(), Algorithm::Blake3);
    }

    #[test]
    fn what_is_no_checksum_is_refused_with_the_reason() {
        for (text, part) in [
            ("crc32:00000000", "sha256, sha512, blake3"),
            ("blake3:abcd", "64 digits, not 4"),
            ("sha256:abcd", "64 digits, not 4"),
            ("md5:xyz", "hexadecimal"),
            ("", "hexadecimal"),
            ("abcdef", "6 digits"),
        ] {
            let error = text.parse::<Checksum>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn pieces_make_the_sum_of_the_whole() {
        let known = [
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        ];
        for (algorithm, hex) in known {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish().hex(), hex);
        }
    }
}
