//! Checksums that files must have, from a list as `sha256sum` writes it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;

use raincheck::fetch::{Algorithm as Wanted, Checksum};

use crate::commands::hash::algorithm::Algorithm;
use crate::commands::hash::hashers::Hashers;
use crate::commands::hash::line::{Ending, Parser};

/// What a list of sums can be of here; the length of a sum tells which, and of two the first.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5, Algorithm::Blake3];

/// The sums of many files, by name.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    by_name: HashMap<Box<[u8]>, Checksum>,
    /// The numbers of lines that tell no sum.
    pub(crate) bad_lines: Vec<u64>,
}

impl Sums {
    /// Adds what a list says, in the manner of GNU coreutils, of b3sum or of BSD; comments and blank lines are passed over.
    /// In a list of this name, as `B3SUMS`, digits that could be of either are of BLAKE3.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn read(&mut self, mut list: impl BufRead, name: &Path) -> io::Result<()> {
        let mut algorithms = ALGORITHMS;
        if is_of_blake3(name) {
            algorithms.reverse();
        }
        let mut parser = Parser::new(&algorithms, Ending::Newline);
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
                    let digest = line.sum.as_bytes();
                    let checksum = Checksum::new(wanted(line.algorithm), digest).expect("both have the same lengths");
                    self.by_name.insert(plain(&line.name).into(), checksum);
                }
                None => self.bad_lines.push(number),
            }
        }
        Ok(())
    }

    /// The sum of the file with this name: as it stands, or, if the list has none such, that of its last part alone.
    pub(crate) fn of(&self, name: &str) -> Option<&Checksum> {
        if self.by_name.is_empty() {
            return None;
        }
        let base = name.rsplit('/').next().unwrap_or(name);
        [name, base].into_iter().find_map(|name| self.by_name.get(name.as_bytes()))
    }
}

/// Whether the file there adds up to this.
///
/// # Errors
///
/// If it cannot be read.
pub(crate) fn has(path: &Path, checksum: &Checksum) -> io::Result<bool> {
    let algorithm = ALGORITHMS.into_iter().find(|algorithm| wanted(*algorithm) == checksum.algorithm());
    let Some(algorithm) = algorithm else { return Ok(false) };
    let mut hashers = Hashers::new(&[algorithm]);
    let mut file = File::open(path)?;
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => hashers.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hashers.finish().iter().any(|sum| sum.to_string() == checksum.hex()))
}

fn wanted(algorithm: Algorithm) -> Wanted {
    match algorithm {
        Algorithm::Sha256 => Wanted::Sha256,
        Algorithm::Sha512 => Wanted::Sha512,
        Algorithm::Sha1 => Wanted::Sha1,
        Algorithm::Md5 => Wanted::Md5,
        Algorithm::Blake3 => Wanted::Blake3,
        Algorithm::Crc32c => unreachable!("the parser is told not to read these"),
    }
}

/// Whether the name of a list says that its sums are of BLAKE3: `B3SUMS`, `files.b3`, `blake3.txt`.
fn is_of_blake3(list: &Path) -> bool {
    let name = list.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.starts_with("b3") || name.contains("blake3") || name.contains(".b3")
}

/// Without the `./` that `find` puts before names.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_own_sum_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let has = |sum: &str| has(&path, &sum.parse().unwrap()).unwrap();

        assert!(has("md5:900150983cd24fb0d6963f7d28e17f72"));
        assert!(has("sha1:a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert!(!has("md5:900150983cd24fb0d6963f7d28e17f73"));
    }

    #[test]
    fn a_list_is_of_blake3_if_it_says_so_or_its_name_does() {
        let digits = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        let read = |line: String, list: &str| {
            let mut sums = Sums::default();
            sums.read(line.as_bytes(), Path::new(list)).unwrap();
            sums.of("a").unwrap().clone()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "abc").unwrap();

        for list in ["x/B3SUMS", "all.b3", "blake3.txt"] {
            let sum = read(format!("{digits}  a"), list);
            assert_eq!(sum.to_string(), format!("blake3:{digits}"), "{list}");
            assert!(has(&path, &sum).unwrap());
        }
        assert_eq!(read(format!("BLAKE3 (a) = {digits}"), "sums").algorithm(), Wanted::Blake3);
        assert_eq!(read(format!("{digits}  a"), "blake3/sums").algorithm(), Wanted::Sha256);
    }

    #[test]
    fn sums_are_found_by_the_whole_name_or_by_its_last_part() {
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let list = format!("# sums\n\n{md5}  ./a/b.txt\r\nSHA256 (c) = {}\nnonsense\n", "1".repeat(64));
        let mut sums = Sums::default();
        sums.read(list.as_bytes(), Path::new("MD5SUMS")).unwrap();

        assert_eq!(sums.of("a/b.txt").map(ToString::to_string), Some(format!("md5:{md5}")));
        assert_eq!(sums.of("x/c").map(Checksum::algorithm), Some(Wanted::Sha256));
        assert_eq!(sums.of("b.txt"), None);
        assert_eq!((sums.bad_lines, sums.by_name.len()), (vec![5], 2));
    }
}
