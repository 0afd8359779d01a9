//! How a run is ended from outside.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use tokio::sync::Notify;

/// Stops downloads. Clones stop the same ones.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Stopped>);

#[derive(Debug, Default)]
struct Stopped {
    asked: AtomicBool,
    news: Notify,
}

impl Stop {
    /// A handle that nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends what runs, at once: partial files stay where they can be gone on with, and nothing else does.
    pub fn stop(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }

    /// Whether somebody has.
    pub fn is_stopped(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// What comes of it, unless this is stopped before.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut done = None;
        if !self.is_stopped() {
            either(async { done = Some(work.await) }, self.stopped()).await;
        }
        done
    }

    pub(super) async fn stopped(&self) {
        let news = self.0.news.notified();
        // One that is told between the question and the wait must not be missed.
        if !self.is_stopped() {
            news.await;
        }
    }
}

/// Waits for one of them.
pub(super) async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Pending => other.as_mut().poll(cx),
        Poll::Ready(()) => Poll::Ready(()),
    })
    .await;
}
