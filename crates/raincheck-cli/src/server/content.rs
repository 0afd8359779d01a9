//! What the server has to offer, and how a path finds it: nothing outside the folder can be named.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::body::{CHUNK, Data};
use super::fate::fingerprint;
use super::flags::flag;

/// What the server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// The files in this folder and in those below it, each under its path. A folder is its `index.html`, or a list of what is in it.
    Folder(PathBuf),
    /// A flag for each country, from `/flags/ad/ad.png` to `/flags/zw/zw.png`.
    BuiltInFlags,
}

/// Something that was found, and what its headers will say of it.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) length: u64,
    pub(super) etag: String,
    pub(super) modified: Option<SystemTime>,
    pub(super) content_type: &'static str,
    pub(super) data: Data,
}

impl Content {
    /// Returns this content with its folder's true path, against which every file's true path will be held.
    pub(super) fn canonical(self) -> io::Result<Self> {
        match self {
            Self::BuiltInFlags => Ok(self),
            Self::Folder(folder) => {
                let root = folder.canonicalize()?;
                // Also an error for a file, and for a folder that may not be read.
                root.read_dir()?;
                Ok(Self::Folder(root))
            }
        }
    }

    /// Returns what the path of a URL names, or the status that says why there is nothing: 301 for a folder without its slash.
    pub(super) async fn find(&self, url_path: &str) -> Result<Resource, StatusCode> {
        match self {
            Self::BuiltInFlags => built_in_flag(url_path).ok_or(StatusCode::NOT_FOUND),
            Self::Folder(root) => {
                let folder_path = url_path.strip_suffix('/');
                let relative = match folder_path {
                    Some("") => Some(PathBuf::new()),
                    _ => relative_path(folder_path.unwrap_or(url_path)),
                };
                let relative = relative.ok_or(StatusCode::NOT_FOUND)?;
                let find = if folder_path.is_some() { folder } else { file };
                let root = root.clone();
                tokio::task::spawn_blocking(move || find(&root, &relative))
                    .await
                    .unwrap_or_else(|lost| Err(io::Error::other(lost)))
                    .map_err(|error| status_of(&error))
            }
        }
    }
}

fn built_in_flag(url_path: &str) -> Option<Resource> {
    let (folder, name) = url_path.strip_prefix("/flags/")?.split_once('/')?;
    let code = name.strip_suffix(".png")?;
    let picture = flag(code).filter(|_| folder == code)?;
    Some(Resource {
        length: picture.len() as u64,
        etag: format!("\"{:016x}\"", fingerprint(picture)),
        modified: None,
        content_type: content_type(name),
        data: Data::Memory(Bytes::from_static(picture)),
    })
}

/// Returns the path below the folder that a URL's path stands for: plain names only, with no way to climb.
fn relative_path(url_path: &str) -> Option<PathBuf> {
    url_path.strip_prefix('/')?.split('/').map(plain_name).collect()
}

/// Returns the file name that this part of a URL stands for, if it is one.
///
/// The part is decoded after the path was split, so that an encoded slash is an odd name and not a separator.
fn plain_name(part: &str) -> Option<PathBuf> {
    let name = percent_decode_str(part).decode_utf8().ok()?;
    if name.contains('\0') {
        return None;
    }
    let mut components = Path::new(&*name).components();
    match (components.next(), components.next()) {
        // The comparison catches what `components` tidies away, as in `name/` and `./name`.
        (Some(Component::Normal(only)), None) if only == &*name => Some(PathBuf::from(only)),
        _ => None,
    }
}

/// Opens a file below the folder. A link is followed if what it leads to is in the folder too.
fn file(root: &Path, relative: &Path) -> io::Result<Resource> {
    let path = root.join(relative).canonicalize()?;
    // The kind must be known before opening: to open a named pipe is to wait for its other end.
    match kind(root, &path)? {
        Kind::File => {}
        Kind::Folder => return Err(io::ErrorKind::IsADirectory.into()),
        Kind::Neither => return Err(io::ErrorKind::NotFound.into()),
    }
    let file = File::open(&path)?;
    let metadata = file.metadata()?;
    let modified = metadata.modified()?;
    let (length, data) = if metadata.len() <= CHUNK {
        let mut whole = Vec::with_capacity(metadata.len() as usize);
        file.take(CHUNK).read_to_end(&mut whole)?;
        (whole.len() as u64, Data::Memory(whole.into()))
    } else {
        (metadata.len(), Data::File(Arc::new(file)))
    };
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Resource {
        length,
        etag: format!("\"{length:x}-{:x}\"", since_1970.as_nanos()),
        modified: Some(modified),
        content_type: content_type(relative.to_str().unwrap_or_default()),
        data,
    })
}

/// What is found under a name.
#[derive(PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// Something else, or out of the folder.
    Neither,
}

/// What lies at a true path.
fn kind(root: &Path, path: &Path) -> io::Result<Kind> {
    let metadata = path.metadata()?;
    Ok(match path.starts_with(root) {
        true if metadata.is_file() => Kind::File,
        true if metadata.is_dir() => Kind::Folder,
        _ => Kind::Neither,
    })
}

/// The page of a folder: its `index.html`, or a list of what can be had of it, by links that lead on from there.
fn folder(root: &Path, relative: &Path) -> io::Result<Resource> {
    let path = root.join(relative).canonicalize()?;
    if kind(root, &path)? != Kind::Folder {
        return Err(io::ErrorKind::NotFound.into());
    }
    match file(root, &relative.join("index.html")) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
        found => return found,
    }
    let mut names = Vec::new();
    for entry in path.read_dir()? {
        let entry = entry?;
        // A name that is no text has no URL, and what cannot be looked at cannot be had.
        let Ok(name) = entry.file_name().into_string() else { continue };
        match entry.path().canonicalize().and_then(|path| kind(root, &path)) {
            Ok(Kind::File) => names.push(name),
            Ok(Kind::Folder) => names.push(name + "/"),
            Ok(Kind::Neither) | Err(_) => {}
        }
    }
    names.sort_unstable();
    let title = escaped(&format!("/{}", relative.display()));
    let mut page =
        format!("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n");
    for name in names {
        let link = utf8_percent_encode(&name, ODD);
        page += &format!("<li><a href=\"{link}\">{}</a>\n", escaped(&name));
    }
    page += "</ul>\n";
    Ok(Resource {
        length: page.len() as u64,
        etag: format!("\"{:016x}\"", fingerprint(page.as_bytes())),
        modified: None,
        content_type: content_type("index.html"),
        data: Data::Memory(page.into()),
    })
}

/// What means nothing in a link, wherever it stands.
const ODD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn status_of(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::IsADirectory => StatusCode::MOVED_PERMANENTLY,
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => StatusCode::NOT_FOUND,
        io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("gif") => "image/gif",
        Some("gz") => "application/gzip",
        Some("htm" | "html") => "text/html; charset=utf-8",
        Some("jpeg" | "jpg") => "image/jpeg",
        Some("json") => "application/json",
        Some("log" | "txt") => "text/plain; charset=utf-8",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_plain_names_is_a_path_below_the_folder() {
        for (url_path, expected) in [
            ("/a", "a"),
            ("/a/b.txt", "a/b.txt"),
            ("/a%20b/%C3%A4.txt", "a b/ä.txt"),
            ("/100%", "100%"),
            ("/...", "..."),
            ("/.hidden", ".hidden"),
        ] {
            assert_eq!(relative_path(url_path), Some(PathBuf::from(expected)), "{url_path}");
        }
    }

    #[test]
    fn a_path_that_climbs_or_hides_a_separator_is_no_path() {
        for url_path in [
            "",
            "*",
            "a",
            "/",
            "//",
            "/a/",
            "//etc/passwd",
            "/a//b",
            "/.",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/./a",
            "/%2e",
            "/%2e%2e/a",
            "/%2E./a",
            "/.%2e/a",
            "/a%2fb",
            "/%2fetc%2fpasswd",
            "/..%2fa",
            "/a%2f",
            "/.%2fa",
            "/a%00",
            "/a%00.txt",
            "/%ff",
        ] {
            assert_eq!(relative_path(url_path), None, "{url_path}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn on_windows_backslashes_and_drives_are_no_names_either() {
        for url_path in ["/..\\a", "/a\\b", "/C:", "/C:a", "/..%5ca", "/%5c%5chost%5cshare"] {
            assert_eq!(relative_path(url_path), None, "{url_path}");
        }
    }

    #[test]
    fn only_the_exact_path_of_a_flag_names_it() {
        assert!(built_in_flag("/flags/de/de.png").is_some());
        for url_path in ["/flags/de/fr.png", "/flags/de/de.gif", "/flags/zz/zz.png", "/flags/de", "/de/de.png", "/"] {
            assert!(built_in_flag(url_path).is_none(), "{url_path}");
        }
    }

    #[test]
    fn the_type_of_a_file_follows_its_name() {
        assert_eq!(content_type("de.gif"), "image/gif");
        assert_eq!(content_type("access.log.GZ"), "application/gzip");
        assert_eq!(content_type("README"), "application/octet-stream");
    }
}
