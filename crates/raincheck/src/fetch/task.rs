//! One download as a task.

use std::{io, path::PathBuf, sync::OnceLock};

use super::{Client, Download, Downloads, FetchError, Fetched};

/// So many connections a thread keeps.
const KEPT: usize = 8;

/// Does one download, into this folder if it goes to a file: as a task, on any executor, other processes included.
///
/// It is done as [`Downloads::new`](super::Downloads::new) does it, retries included, by a client without settings, whose connections
/// the next call on the same thread uses again. For many at once from here, [`Downloads`](super::Downloads) is faster: it needs fewer
/// threads.
///
/// # Errors
///
/// Why the last attempt failed.
///
/// # Examples
///
/// ```
/// # use std::{io::{Read, Write}, net::TcpListener};
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/", server.local_addr()?);
/// # std::thread::spawn(move || {
/// #     let (mut stream, _) = server.accept().unwrap();
/// #     stream.read(&mut [0; 1000]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrain").unwrap();
/// # });
/// use raincheck::{Executor, ThreadPool, fetch::{self, Download, Request}};
///
/// let pool = ThreadPool::new(2);
/// let page = pool.submit(fetch::fetch::call(Download::new(Request::get(&url)?), std::env::temp_dir()));
/// assert_eq!(page.result()??.body.as_deref(), Some(&b"rain"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[raincheck::task(name = "raincheck.fetch")]
pub fn fetch(download: Download, folder: PathBuf) -> Result<Fetched, FetchError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let client = match CLIENT.get() {
        Some(client) => client,
        None => {
            let made = Client::builder().connections(KEPT).build()?;
            CLIENT.get_or_init(|| made)
        }
    };
    let failed = |error: io::Error| FetchError::File { path: folder.clone(), reason: error.to_string() };
    let downloads = match download.name() {
        Some(_) => Downloads::new(client.clone()).into_folder(&folder).map_err(failed)?,
        None => Downloads::new(client.clone()),
    };
    let ended = downloads.at_once(1).here(download)?;
    ended.map_or_else(|| Err(FetchError::Invalid { reason: "the download was stopped".into() }), |ended| ended.result)
}
