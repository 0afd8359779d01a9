//! How many run at a time.

use std::{sync::Barrier, time::Duration};

use raincheck::{
    Inline,
    fetch::{Client, Download, Downloads, Request, Retries},
};

use crate::server::{Server, ok};

#[test]
fn as_many_run_at_once_as_told_if_none_is_answered_before() {
    const AT_ONCE: usize = 100;
    let all_are_here = Barrier::new(AT_ONCE);
    let server = Server::answering(move |_| {
        all_are_here.wait();
        ok("rain")
    });
    let wanted = (0..AT_ONCE).map(|number| Request::get(&server.url(&format!("/{number}"))).unwrap());
    let client = Client::builder().idle_timeout(Duration::from_secs(20)).build().unwrap();
    let downloads = Downloads::new(client).at_once(AT_ONCE).retries(Retries::times(0));

    let ended = downloads.on(&Inline::new(), wanted.map(Download::new).collect::<Vec<_>>()).unwrap();

    assert_eq!(ended.filter(|ended| ended.result.is_ok()).count(), AT_ONCE);
}
