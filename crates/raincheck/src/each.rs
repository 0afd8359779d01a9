//! The parallel loop.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, PoisonError},
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
    let inputs = Mutex::new(inputs.fuse());
    let panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    let run = || {
        let mut group = Group::of_some::<I::Item>();
        let mut batch = Vec::new();
        loop {
            let start = Instant::now();
            // An iterator that has panicked is not asked again, since the loop ends then.
            batch.extend(inputs.lock().unwrap_or_else(PoisonError::into_inner).by_ref().take(group.size()));
            if batch.is_empty() || has_panicked(&panic) {
                return;
            }
            let count = batch.len();
            batch.drain(..).for_each(&body);
            group.learn(count, start.elapsed());
        }
    };
    scope::scope(executor, |s| {
        let runs: Vec<_> = (0..executor.workers())
            .map(|_| {
                s.submit(|| {
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
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

fn has_panicked(panic: &Mutex<Option<Box<dyn Any + Send>>>) -> bool {
    panic.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}
