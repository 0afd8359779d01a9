//! The parallel loop.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{executor::InProcess, map::Group, scope};

/// Calls `body` with each of the inputs, on the executor's workers, and returns when all are done.
pub(crate) fn for_each<E, I>(executor: &E, inputs: I, body: impl Fn(I::Item) + Sync)
where
    E: InProcess + ?Sized,
    I: Iterator + Send,
    I::Item: Send,
{
    // No more runs than there can be inputs.
    let most = inputs.size_hint().1.unwrap_or(usize::MAX);
    let inputs = Mutex::new(inputs.fuse());
    let has_panicked = AtomicBool::new(false);
    let panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    let run = || {
        let mut group = Group::of_some::<I::Item>();
        let mut batch = Vec::new();
        loop {
            let start = Instant::now();
            // An iterator that has panicked is not asked again.
            let Ok(mut inputs) = inputs.lock() else { return };
            batch.extend(inputs.by_ref().take(group.size()));
            drop(inputs);
            let count = batch.len();
            for input in batch.drain(..) {
                if has_panicked.load(Ordering::Relaxed) {
                    return;
                }
                body(input);
            }
            if count == 0 {
                return;
            }
            group.learn(count, start.elapsed());
        }
    };
    scope::scope(executor, |s| {
        let runs: Vec<_> = (0..executor.workers().min(most))
            .map(|_| {
                s.submit(|| {
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                        has_panicked.store(true, Ordering::Relaxed);
                        panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
                    }
                })
            })
            .collect();
        for run in runs {
            if let Err(error) = run.result() {
                panic!("the parallel loop was cut short: {error}");
            }
        }
    });
    if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}
