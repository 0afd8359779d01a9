//! Threads that a pool started in the place of blocked ones, and that leave when they are no longer needed.

use std::{sync::mpsc, time::Duration};

use raincheck::{Executor, ThreadPool, promise};

const TOO_LONG: Duration = Duration::from_secs(30);

/// Tells when it is dropped, and lets that take as long as the test likes.
struct SlowToDrop {
    dropped: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        let _ = self.dropped.send(());
        let _ = self.go_on.recv();
    }
}

/// P5: a task that is submitted while a spare thread ends is not left to it.
#[test]
fn a_task_is_not_left_to_a_thread_that_ends() {
    let (dropped, drops) = mpsc::channel();
    let (gates, gate_of_each) = mpsc::channel();
    let pool = ThreadPool::builder()
        .workers(1)
        .worker_state(move |_| {
            let (gate, go_on) = mpsc::channel();
            let _ = gates.send(gate);
            SlowToDrop { dropped: dropped.clone(), go_on }
        })
        .build();
    let (promise, future) = promise();
    let waits = pool.submit(move || future.result().unwrap());
    let keeps = pool.submit(move || promise.finish(Ok(1)));
    assert_eq!((waits.result(), keeps.result()), (Ok(1), Ok(true)));
    // Those of later threads are open.
    let gates: Vec<_> = gate_of_each.try_iter().collect();
    drop(gate_of_each);

    // One of the two is too many, and leaves when it has slept for long enough.
    drops.recv_timeout(TOO_LONG).unwrap();
    let late = pool.submit(|| 2);

    assert_eq!(late.result_timeout(TOO_LONG).ok(), Some(Ok(2)));
    drop(gates);
}
