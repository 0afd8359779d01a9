//! Where logs come from: files, folders, globs and stdin, cut into pieces that are read side by side.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::blocks::Packing;
use crate::report::Label;

/// Cutting a file into smaller pieces than this would gain nothing.
const SMALLEST_PIECE: u64 = 8 << 20;

/// A log, or a part of one: what one job reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) source: Source,
    /// Which of all logs it is of, in the order in which they were named.
    pub(crate) log: usize,
    /// Where it begins: at the beginning of a line.
    pub(crate) start: u64,
    /// Where it ends, unless at the end of the file.
    pub(crate) end: Option<u64>,
    /// How many bytes it has, as far as that is known.
    pub(crate) size: Option<u64>,
    /// Whether the user named it, and did not name a folder with it.
    pub(crate) was_named: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
}

impl Piece {
    /// How it is called in messages.
    pub(crate) fn label(&self) -> Label {
        match (&self.source, self.start, self.end) {
            (Source::Stdin, ..) => "stdin".into(),
            (Source::File(path), 0, None) => Label::of(path.as_os_str().as_bytes()),
            (Source::File(path), start, _) => {
                Label::of(&[path.as_os_str().as_bytes(), format!(" from byte {start}").as_bytes()].concat())
            }
        }
    }

    /// How the log that it is of is called.
    pub(crate) fn log_name(&self) -> String {
        Self { start: 0, end: None, ..self.clone() }.label().to_string()
    }

    /// Opens it where it begins.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        let path = match &self.source {
            Source::Stdin => return Ok(Box::new(io::stdin().lock())),
            Source::File(path) => path,
        };
        let mut file = File::open(path)?;
        if self.start > 0 {
            file.seek(SeekFrom::Start(self.start))?;
        }
        Ok(match self.end {
            Some(end) => Box::new(file.take(end - self.start)),
            None => Box::new(file),
        })
    }
}

/// All pieces of what was named, the largest first. Nothing named means stdin.
///
/// What cannot be read is among them, for the job to fail that reads it.
pub(crate) fn find(named: &[PathBuf], workers: usize) -> Vec<Piece> {
    let stdin = [PathBuf::from("-")];
    let mut logs = Vec::new();
    for path in if named.is_empty() { &stdin } else { named } {
        if path.as_os_str() == "-" {
            logs.push((Source::Stdin, true));
            continue;
        }
        for path in expand(path) {
            if path.is_dir() { walk(&path, &mut logs) } else { logs.push((Source::File(path), true)) }
        }
    }
    let mut pieces: Vec<Piece> = logs
        .into_iter()
        .enumerate()
        .flat_map(|(log, (source, was_named))| cut(source, log, was_named, workers))
        .collect();
    // So that no large one is left for the end, when the other workers have nothing to do.
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.size));
    pieces
}

/// What a pattern stands for, if it is one and no file is called so.
fn expand(path: &Path) -> Vec<PathBuf> {
    let pattern = path.to_str().filter(|path| path.contains(['*', '?', '[']));
    let found: Vec<PathBuf> = match pattern {
        Some(pattern) if !path.exists() => glob::glob(pattern).into_iter().flatten().flatten().collect(),
        _ => Vec::new(),
    };
    if found.is_empty() { vec![path.to_owned()] } else { found }
}

/// All files in a folder and those in it, in order; no hidden ones, and links to folders are not followed.
fn walk(folder: &Path, logs: &mut Vec<(Source, bool)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return logs.push((Source::File(folder.to_owned()), true));
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, logs),
            _ if path.is_file() => logs.push((Source::File(path), false)),
            _ => {}
        }
    }
}

/// A log in as many pieces as are worth it.
fn cut(source: Source, log: usize, was_named: bool, workers: usize) -> Vec<Piece> {
    let size = match &source {
        Source::Stdin => None,
        Source::File(path) => fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| file.len()),
    };
    let whole = Piece { source, log, start: 0, end: None, size, was_named };
    // If it cannot be cut, whoever reads it will find out why.
    let cuts = cuts(&whole, workers).unwrap_or_default();
    let ends = cuts.iter().copied().map(Some).chain([None]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let piece = |(start, end): (u64, Option<u64>)| {
        let size = end.or(size).map(|end| end.saturating_sub(start));
        Piece { start, end, size, ..whole.clone() }
    };
    starts.zip(ends).map(piece).collect()
}

/// Where to cut a log: at beginnings of lines. Nowhere, if it is small or packed.
fn cuts(whole: &Piece, workers: usize) -> io::Result<Vec<u64>> {
    let (Source::File(path), Some(size)) = (&whole.source, whole.size) else { return Ok(Vec::new()) };
    if size < 2 * SMALLEST_PIECE || workers == 1 {
        return Ok(Vec::new());
    }
    let mut file = File::open(path)?;
    let mut head = [0; 8];
    let length = file.read(&mut head)?;
    if Packing::of(&head[..length]) != Packing::Plain {
        return Ok(Vec::new());
    }
    // Some more than there are workers, so that they end at about the same time.
    let piece = (size / (workers as u64 * 4)).max(SMALLEST_PIECE);
    let mut cuts: Vec<u64> = Vec::new();
    let mut at = piece;
    while at + piece / 2 < size {
        file.seek(SeekFrom::Start(at - 1))?;
        let start = at - 1 + length_of_line(&mut BufReader::new(&mut file))?;
        if start >= size {
            break;
        }
        cuts.push(start);
        at = start + piece;
    }
    Ok(cuts)
}

/// How many bytes there are up to the end of the line, however long it is.
fn length_of_line(file: &mut impl BufRead) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(length);
        }
        let end = memchr(b'\n', buffer).map(|at| at + 1);
        let here = end.unwrap_or(buffer.len());
        file.consume(here);
        length += here as u64;
        if end.is_some() {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pieces: &[Piece]) -> Vec<String> {
        let mut names: Vec<_> = pieces.iter().map(|piece| (piece.log, piece.label().to_string())).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn files_folders_and_patterns_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        for name in ["a.log.2", "a.log.1", ".hidden", "b/c.log", "[x].log"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = |name: &str| names(&find(&[dir.path().join(name)], 2));

        assert_eq!(found(""), ["[x].log", "a.log.1", "a.log.2", "c.log"]);
        assert_eq!(found("a.log*"), ["a.log.1", "a.log.2"]);
        assert_eq!(found("[x].log"), ["[x].log"], "a file that is called like a pattern");
        assert_eq!(found("no*"), ["no*"], "for the job that reads it to fail");
        assert_eq!(names(&find(&[], 2)), ["stdin"]);
    }

    #[test]
    fn a_large_file_is_cut_at_line_ends_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.log");
        let text: Vec<u8> =
            (0..3_000_000).flat_map(|n: u32| format!("{n:x} {}\n", "y".repeat(n as usize % 11)).into_bytes()).collect();
        fs::write(&path, &text).unwrap();
        let mut pieces = find(&[path], 2);
        pieces.sort_by_key(|piece| piece.start);
        let mut all = Vec::new();
        for piece in &pieces {
            let start = all.len();
            piece.open().unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(Some((all.len() - start) as u64), piece.size);
            assert!(all.ends_with(b"\n"));
        }

        assert!(pieces.len() > 3);
        assert_eq!(all.len(), text.len());
        assert!(all == text);
    }
}
