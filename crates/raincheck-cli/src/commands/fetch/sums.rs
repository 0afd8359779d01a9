//! Checksums that files must have: in the list beside a URL, or in a list of sums as `sha256sum` writes it.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use crate::commands::hash::algorithm::{Algorithm, Sum};
use crate::commands::hash::line::{Ending, Parser};

/// What a file must add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) sum: Sum,
}

/// In the order in which they are tried where only the length tells: a sum of 64 digits is of SHA-256.
const ALGORITHMS: [Algorithm; 6] =
    [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5, Algorithm::Blake3, Algorithm::Crc32c];

/// Names of algorithms, in any case and with or without the dash.
const NAMES: [(&str, Algorithm); 6] = [
    ("sha256", Algorithm::Sha256),
    ("sha512", Algorithm::Sha512),
    ("sha1", Algorithm::Sha1),
    ("md5", Algorithm::Md5),
    ("blake3", Algorithm::Blake3),
    ("crc32c", Algorithm::Crc32c),
];

impl Checksum {
    /// Reads `sha256:HEX`, `sha-256=HEX` or, where the length tells which it is, `HEX` alone.
    ///
    /// # Errors
    ///
    /// A fragment that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (algorithm, digits) = match text.split_once([':', '=']) {
            Some((name, digits)) => (Some(algorithm(name)?), digits),
            None => (None, text),
        };
        let sum = Sum::from_hex(digits.as_bytes())
            .filter(|_| !digits.is_empty())
            .ok_or_else(|| format!("the checksum `{digits}` is not in hexadecimal"))?;
        let length = digits.len() / 2;
        match algorithm {
            Some(algorithm) if algorithm.len() == length => Ok(Self { algorithm, sum }),
            Some(algorithm) => Err(format!(
                "a checksum by {} has {} hexadecimal digits, and not {}",
                algorithm.tag(),
                algorithm.len() * 2,
                digits.len()
            )),
            None => match ALGORITHMS.into_iter().find(|algorithm| algorithm.len() == length) {
                Some(algorithm) => Ok(Self { algorithm, sum }),
                None => Err(format!("no checksum has {} hexadecimal digits", digits.len())),
            },
        }
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let plain = name.trim().to_ascii_lowercase().replace(['-', '_'], "");
    NAMES.into_iter().find_map(|(name, algorithm)| (name == plain).then_some(algorithm)).ok_or_else(|| {
        format!("checksums by `{name}` are not known; those by {} are", NAMES.map(|(name, _)| name).join(", "))
    })
}

impl fmt::Display for Checksum {
    /// As it is read: `sha256:HEX`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.tag().to_ascii_lowercase(), self.sum)
    }
}

/// The sums of many files, by name.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    by_name: HashMap<Box<[u8]>, Checksum>,
    /// The numbers of lines that say no sum.
    pub(crate) bad_lines: Vec<u64>,
}

impl Sums {
    /// Reads a list of sums, in the manner of GNU coreutils or of BSD; comments and blank lines are passed over.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn read(mut list: impl BufRead) -> io::Result<Self> {
        let mut sums = Self::default();
        let mut parser = Parser::new(&ALGORITHMS, Ending::Newline);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if list.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.trim_ascii().is_empty() || text.starts_with(b"#") {
                continue;
            }
            match parser.parse(text) {
                Some(line) => {
                    let checksum = Checksum { algorithm: line.algorithm, sum: line.sum };
                    sums.by_name.insert(plain(&line.name).into(), checksum);
                }
                None => sums.bad_lines.push(number),
            }
        }
        Ok(sums)
    }

    /// The sum of the file with this name: as it stands, or, if the list has none such, that of its last part alone.
    pub(crate) fn of(&self, name: &str) -> Option<&Checksum> {
        let base = name.rsplit('/').next().unwrap_or(name);
        [name, base].into_iter().find_map(|name| self.by_name.get(name.as_bytes()))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// Without the `./` that `find` puts before names.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    #[test]
    fn a_checksum_is_read_as_people_write_it() {
        for text in [format!("md5:{MD5}"), format!("MD5={MD5}"), MD5.to_uppercase(), format!("md-5={MD5}")] {
            assert_eq!(Checksum::parse(&text).unwrap().to_string(), format!("md5:{MD5}"));
        }
        let sha = "0".repeat(64);
        assert_eq!(Checksum::parse(&sha).unwrap().algorithm, Algorithm::Sha256);
        assert_eq!(Checksum::parse(&format!("blake3:{sha}")).unwrap().algorithm, Algorithm::Blake3);
        assert_eq!(Checksum::parse(&format!("sha-256={sha}")).unwrap().algorithm, Algorithm::Sha256);
    }

    #[test]
    fn what_is_no_checksum_is_refused_with_the_reason() {
        let wrong = |text: &str| Checksum::parse(text).unwrap_err();

        assert_eq!(wrong("md5:00"), "a checksum by MD5 has 32 hexadecimal digits, and not 2");
        assert_eq!(wrong("00"), "no checksum has 2 hexadecimal digits");
        assert_eq!(wrong("sha256:xy"), "the checksum `xy` is not in hexadecimal");
        assert_eq!(wrong(""), "the checksum `` is not in hexadecimal");
        assert!(wrong("adler32:00000000").starts_with("checksums by `adler32` are not known; those by sha256, "));
    }

    #[test]
    fn sums_are_found_by_the_whole_name_or_by_its_last_part() {
        let list = format!("# sums\n\n{MD5}  ./a/b.txt\r\nSHA256 (c) = {}\nnonsense\n", "1".repeat(64));
        let sums = Sums::read(list.as_bytes()).unwrap();

        assert_eq!(sums.of("a/b.txt").map(ToString::to_string), Some(format!("md5:{MD5}")));
        assert_eq!(sums.of("x/c").map(|sum| sum.algorithm), Some(Algorithm::Sha256));
        assert_eq!(sums.of("b.txt"), None);
        assert_eq!((sums.bad_lines, sums.by_name.len()), (vec![5], 2));
    }
}
