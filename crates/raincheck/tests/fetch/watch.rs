//! What watchers of downloads are told, and when.

use std::{
    fs::{self, File},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use raincheck::{
    Inline,
    fetch::{Client, Download, Downloads, Ended, FetchError, Fetched, Request, Stop, Watch},
};

use crate::server::{Server, ok};

fn fetch(server: &Server, folder: &Path, watch: &Arc<impl Watch + 'static>) {
    let downloads = Downloads::new(Client::builder().build().unwrap()).at_once(2).into_folder(folder).unwrap();
    let wanted = [("/a", 1), ("/b", 2)]
        .map(|(path, number)| Download::new(Request::get(&server.url(path)).unwrap()).to(&path[1..]).numbered(number));
    downloads.watched(&Inline::new(), wanted.into_iter(), Arc::clone(watch) as _, &Stop::new()).unwrap();
}

#[test]
fn a_file_is_whole_before_it_appears_and_appears_before_it_has_its_name() {
    struct Notes {
        folder: tempfile::TempDir,
        told: Mutex<Vec<(String, u64)>>,
    }

    impl Notes {
        fn note(&self, what: &str, download: &Download) {
            let is_there = self.folder.path().join(download.name().unwrap()).exists();
            let text = format!("{what}, {}", if is_there { "there" } else { "not there" });
            self.told.lock().unwrap().push((text, download.number()));
        }

        fn told_of(&self, number: u64) -> Vec<String> {
            let told = self.told.lock().unwrap();
            told.iter().filter(|(_, of)| *of == number).map(|(what, _)| what.clone()).collect()
        }
    }

    impl Watch for Notes {
        fn whole(&self, download: &Download, _: &Fetched, _: &File) -> Result<(), FetchError> {
            self.note("whole", download);
            Ok(())
        }

        fn appears(&self, download: &Download) -> Result<(), FetchError> {
            self.note("appears", download);
            Ok(())
        }

        fn ended(&self, ended: Ended) {
            self.note("ended", &ended.download);
        }
    }

    let server = Server::answering(|_| ok("rain"));
    let notes = Arc::new(Notes { folder: tempfile::tempdir().unwrap(), told: Mutex::default() });

    fetch(&server, notes.folder.path(), &notes);

    for number in [1, 2] {
        assert_eq!(notes.told_of(number), ["whole, not there", "appears, not there", "ended, there"]);
    }
}

#[test]
fn what_must_not_appear_does_not_and_fails() {
    struct Refuses(Mutex<Vec<FetchError>>);

    impl Watch for Refuses {
        fn appears(&self, _: &Download) -> Result<(), FetchError> {
            Err(FetchError::Invalid { reason: "not noted".into() })
        }

        fn ended(&self, ended: Ended) {
            self.0.lock().unwrap().push(ended.result.unwrap_err());
        }
    }

    let server = Server::answering(|_| ok("rain"));
    let folder = tempfile::tempdir().unwrap();
    let refuses = Arc::new(Refuses(Mutex::default()));

    fetch(&server, folder.path(), &refuses);

    let error = FetchError::Invalid { reason: "not noted".into() };
    assert_eq!(*refuses.0.lock().unwrap(), [error.clone(), error]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn of_a_slow_body_it_is_told_how_far_it_is() {
    struct News(Mutex<mpsc::Sender<()>>, AtomicU64);

    impl Watch for News {
        fn moved(&self, _: &Download, bytes: u64) {
            self.1.store(bytes, Ordering::SeqCst);
            let _ = self.0.lock().unwrap().send(());
        }

        fn ended(&self, ended: Ended) {
            ended.result.unwrap();
        }
    }

    let (tells, told) = mpsc::channel();
    let told = Mutex::new(told);
    let server = Server::new(move |peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        // Byte by byte until that is news, or would never be.
        for _ in 0..1000 {
            match told.lock().unwrap().recv_timeout(Duration::from_millis(10)) {
                Err(RecvTimeoutError::Timeout) => peer.send("x"),
                _ => return,
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let news = Arc::new(News(Mutex::new(tells), AtomicU64::new(0)));

    fetch(&server, folder.path(), &news);

    assert!((1..1000).contains(&news.1.load(Ordering::SeqCst)));
}
