//! `--results DIR`: what each command printed, in a folder of its own, laid out as GNU parallel does it.
//!
//! `DIR/1/a/2/b/stdout` is for the inputs `a` and `b`; beside it are `stderr`, and `seq` with the number of the job, which
//! is written last. The files have other names until the command is over.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::output::Spool;

/// No file system of note has longer names.
const LONGEST_NAME: usize = 255;

/// Where the output of one command is kept.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder below `dir` for these inputs. `names` are those of the columns, where they have any.
    pub(super) fn of(dir: &Path, names: &[Vec<u8>], args: &[Vec<u8>]) -> Self {
        let mut path = dir.to_owned();
        for (place, arg) in args.iter().enumerate() {
            let number = (place + 1).to_string();
            path.push(OsString::from_vec(names.get(place).map_or(number.into_bytes(), |name| safe(name))));
            path.push(OsString::from_vec(safe(arg)));
        }
        Self(path)
    }

    /// Whether a command has ended here before.
    pub(super) fn is_done(&self) -> bool {
        self.0.join("seq").exists()
    }

    /// Creates it, with files to print into.
    pub(super) fn create(&self) -> io::Result<Spool> {
        fs::create_dir_all(&self.0)?;
        // An earlier run's, if it was interrupted, or this one's that is tried again.
        let _ = fs::remove_file(self.0.join("seq"));
        let create = |name| -> io::Result<File> {
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.0.join(name))
        };
        Ok(Spool { out: create("stdout.part")?, err: create("stderr.part")? })
    }

    /// Gives the files their names.
    pub(super) fn finish(&self, number: u64) -> io::Result<()> {
        fs::rename(self.0.join("stdout.part"), self.0.join("stdout"))?;
        fs::rename(self.0.join("stderr.part"), self.0.join("stderr"))?;
        fs::write(self.0.join("seq.part"), number.to_string())?;
        fs::rename(self.0.join("seq.part"), self.0.join("seq"))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// An input as the name of one folder: never two inputs the same name, and none that leads elsewhere.
fn safe(text: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'\\' => name.extend(b"\\\\"),
            b'\t' => name.extend(b"\\t"),
            0 => name.extend(b"\\0"),
            b'/' => name.extend(b"\\_"),
            _ => name.push(*byte),
        }
    }
    // GNU parallel lets these lead out of the folder.
    if matches!(&name[..], b"" | b"." | b"..") {
        name.insert(0, b'\\');
    }
    if name.len() > LONGEST_NAME {
        // A sum of the whole tells those apart that begin alike. A single `\#` comes from nothing else.
        let sum = format!("\\#{:016x}", fnv(text));
        name.truncate(LONGEST_NAME - sum.len());
        name.extend(sum.into_bytes());
    }
    name
}

/// The FNV-1a sum, the same on every machine and in every version.
fn fnv(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str], args: &[&str]) -> String {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        Folder::of(Path::new("r"), &bytes(names), &bytes(args)).0.display().to_string()
    }

    #[test]
    fn the_layout_is_that_of_gnu_parallel() {
        assert_eq!(path(&[], &["a/b", "\\x"]), "r/1/a\\_b/2/\\\\x");
        assert_eq!(path(&["file"], &["a", "b"]), "r/file/a/2/b");
    }

    #[test]
    fn no_input_leads_out_of_the_folder() {
        assert_eq!(path(&[], &[".."]), "r/1/\\..");
        assert_eq!(path(&[".."], &["."]), "r/\\../\\.");
        assert_eq!(path(&[], &["", "../../x"]), "r/1/\\/2/..\\_..\\_x");
    }

    #[test]
    fn long_inputs_that_begin_alike_have_names_of_their_own() {
        let (one, other) = ("a".repeat(300), "a".repeat(301));
        let names = [safe(one.as_bytes()), safe(other.as_bytes())];

        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() == LONGEST_NAME));
    }

    #[test]
    fn a_folder_is_done_only_when_all_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(dir.path(), &[], &[b"x".to_vec()]);
        folder.create().unwrap();
        assert!(!folder.is_done());
        assert!(!folder.path().join("stdout").exists());

        folder.finish(7).unwrap();

        assert!(folder.is_done());
        assert_eq!(fs::read_to_string(folder.path().join("seq")).unwrap(), "7");
        folder.create().unwrap();
        assert!(!folder.is_done(), "it is being done again");
    }
}
