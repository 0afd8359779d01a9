//! Bodies that were compressed for the way.
//!
//! The decoders read; what they read from has what has come so far, and would block when that is used up. So each step
//! makes a piece of bounded size, whatever a few bytes may unfold to.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex},
};

use brotli_decompressor::Decompressor;
use bytes::{Buf, Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderValue, header};

use super::FetchError;

/// What a server is asked for.
pub(in crate::fetch) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

const PIECE: usize = 32 << 10;

/// The window that RFC 9659 allows on the web, as a power of two. Others would have us hold gigabytes.
const ZSTD_WINDOW: u32 = 23;

/// Decompresses a body piece by piece.
pub(in crate::fetch) struct Decoder {
    coding: Coding,
    /// `None` before the first byte.
    reader: Option<Box<dyn Read + Send + Sync>>,
    fed: Fed,
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// What comes of the bytes so far.
pub(super) enum Step {
    Piece(Bytes),
    NeedsMore,
    End,
}

/// The bytes that have come and were not read yet.
#[derive(Clone, Default)]
struct Fed(Arc<Mutex<Input>>);

#[derive(Default)]
struct Input {
    bytes: Bytes,
    ended: bool,
}

impl Decoder {
    /// What decodes a body with these headers, unless it is as it is, or in a coding that nobody was asked for.
    pub(in crate::fetch) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let (Some(coding), None) = (codings.next(), codings.next()) else { return None };
        let coding = match coding.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return None,
        };
        Some(Self { coding, reader: None, fed: Fed::default() })
    }

    /// Takes the next bytes. To be called when it needs more.
    pub(super) fn feed(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        if self.reader.is_none() {
            self.reader = Some(reader(self.coding, &bytes, self.fed.clone()).map_err(|error| broken(&error))?);
        }
        self.fed.lock().bytes = bytes;
        Ok(())
    }

    /// There are no more bytes.
    pub(super) fn end(&mut self) {
        self.fed.lock().ended = true;
    }

    pub(super) fn step(&mut self) -> Result<Step, FetchError> {
        let Some(reader) = &mut self.reader else {
            // A body of no bytes is empty, whatever it was to be.
            return Ok(if self.fed.lock().ended { Step::End } else { Step::NeedsMore });
        };
        let mut piece = BytesMut::zeroed(PIECE);
        match reader.read(&mut piece) {
            Ok(0) => Ok(Step::End),
            Ok(count) => {
                piece.truncate(count);
                Ok(Step::Piece(piece.freeze()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::NeedsMore),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.step(),
            Err(error) => Err(broken(&error)),
        }
    }
}

fn reader(coding: Coding, first: &[u8], fed: Fed) -> io::Result<Box<dyn Read + Send + Sync>> {
    Ok(match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(fed)),
        // By the standard with the two bytes of zlib before it, which some servers leave out.
        Coding::Deflate if first[0] & 0x0f == 8 => Box::new(ZlibDecoder::new(fed)),
        Coding::Deflate => Box::new(DeflateDecoder::new(fed)),
        Coding::Brotli => Box::new(Decompressor::new(fed, 4096)),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(fed)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    })
}

fn broken(error: &io::Error) -> FetchError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return FetchError::Decoding { reason: "the compressed body ends too early".into() };
    }
    FetchError::Decoding { reason: error.to_string() }
}

impl Fed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Input> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Read for Fed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut input = self.lock();
        if input.bytes.is_empty() && !input.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = input.bytes.len().min(to.len());
        input.bytes.copy_to_slice(&mut to[..count]);
        Ok(count)
    }
}
