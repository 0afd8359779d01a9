//! The algorithms: what they are called, and how long their sums are.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A way to make a sum of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    /// SHA-256, as sha256sum makes it
    Sha256,
    /// SHA-512, as sha512sum makes it
    Sha512,
    /// BLAKE3, as b3sum makes it: the fastest that is safe
    Blake3,
    /// SHA-1, as sha1sum makes it: no longer safe against forgery
    Sha1,
    /// MD5, as md5sum makes it: not safe against forgery
    Md5,
    /// CRC-32C: finds accidents, and nothing else
    Crc32c,
}

impl Algorithm {
    /// What it is called in a tagged line.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Blake3 => "BLAKE3",
            Self::Sha1 => "SHA1",
            Self::Md5 => "MD5",
            Self::Crc32c => "CRC32C",
        }
    }

    /// How many bytes its sums have.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
            Self::Sha1 => 20,
            Self::Md5 => 16,
            Self::Crc32c => 4,
        }
    }
}

/// What an algorithm made of some bytes; shown in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum(Vec<u8>);

impl Sum {
    /// The sum that consists of these bytes.
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Reads it from hexadecimal digits, large or small. `None` if there is anything else, or half a byte.
    pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        let byte = |pair: &[u8]| Some((value(&pair[0])? << 4 | value(&pair[1])?) as u8);
        let pairs = digits.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return None;
        }
        pairs.map(byte).collect::<Option<_>>().map(Self)
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends it in hexadecimal digits.
    pub(crate) fn write_hex(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        out.extend(self.0.iter().flat_map(digits));
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
