//! Several sums of the same bytes, made in one reading.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::algorithm::{Algorithm, Sum};

/// Makes a sum by each of some algorithms.
pub(crate) struct Hashers(Vec<Hasher>);

/// An algorithm at work.
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    // Two kilobytes, where the others have two hundred bytes at most.
    Blake3(Box<blake3::Hasher>),
    Sha1(Sha1),
    Md5(Md5),
    Crc32c(u32),
}

impl Hashers {
    pub(crate) fn new(algorithms: &[Algorithm]) -> Self {
        Self(algorithms.iter().copied().map(Hasher::new).collect())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|hasher| hasher.update(bytes));
    }

    /// The sums, in the order of the algorithms.
    pub(crate) fn finish(self) -> Vec<Sum> {
        self.0.into_iter().map(Hasher::finish).collect()
    }
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Blake3 => Self::Blake3(Box::default()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Crc32c => Self::Crc32c(0),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
        }
    }

    fn finish(self) -> Sum {
        match self {
            Self::Sha256(hasher) => Sum::new(hasher.finalize().as_slice()),
            Self::Sha512(hasher) => Sum::new(hasher.finalize().as_slice()),
            Self::Blake3(hasher) => Sum::new(*hasher.finalize().as_bytes()),
            Self::Sha1(hasher) => Sum::new(hasher.finalize().as_slice()),
            Self::Md5(hasher) => Sum::new(hasher.finalize().as_slice()),
            Self::Crc32c(crc) => Sum::new(crc.to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 6] =
        [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512, Algorithm::Blake3, Algorithm::Crc32c];

    /// Values that each algorithm's definition, or RFC 3720 for CRC-32C, gives for `abc` or its like.
    #[test]
    fn the_sums_are_those_of_the_definitions() {
        let sums = |bytes: &[u8]| {
            let mut hashers = Hashers::new(&ALL);
            bytes.chunks(2).for_each(|chunk| hashers.update(chunk));
            hashers.finish().iter().map(ToString::to_string).collect::<Vec<_>>()
        };

        assert_eq!(
            sums(b"abc"),
            [
                "900150983cd24fb0d6963f7d28e17f72",
                "a9993e364706816aba3e25717850c26c9cd0d89d",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
                "364b3fb7",
            ]
        );
        assert_eq!(sums(&[0; 32])[5], "8a9136aa");
        assert_eq!(sums(b"123456789")[5], "e3069283");
    }

    #[test]
    fn every_sum_is_as_long_as_said() {
        let lengths = Hashers::new(&ALL).finish().iter().map(|sum| sum.to_string().len()).collect::<Vec<_>>();

        assert_eq!(lengths, ALL.map(|algorithm| algorithm.len() * 2));
    }
}
