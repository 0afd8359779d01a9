//! What becomes of a panic: an error for the caller of the task, and nothing for anybody else.

use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use crate::{
    context,
    error::{Outcome, TaskError},
};

thread_local! {
    /// Where the panic was raised that is now unwinding this thread's task.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// What [`checkpoint`](crate::checkpoint) unwinds with.
pub(crate) struct Stop;

/// Has the place of every panic in a task noted. The hook that was there before is still called.
pub(crate) fn note_places() {
    static ONCE: Once = Once::new();
    // The hook outlives a model, and must not ask what only the model knows.
    if cfg!(raincheck_loom) {
        return;
    }
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if context::is_inside() {
                // A thread that is at its end notes nothing any more.
                let _ = PLACE.try_with(|place| place.set(info.location().map(ToString::to_string)));
            }
            before(info);
        }));
    });
}

/// Does the work of a task; a panic becomes its outcome.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(describe)
}

#[cold]
fn describe(payload: Box<dyn Any + Send>) -> TaskError {
    let place = PLACE.try_with(Cell::take).ok().flatten();
    let error = if payload.is::<Stop>() {
        TaskError::Cancelled
    } else {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(text) => (*text).to_owned(),
            None => match payload.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => "the payload is no text".to_owned(),
            },
        };
        TaskError::panicked(message, place)
    };
    discard(payload);
    error
}

/// Runs what belongs to the user but to no task, such as a callback: its panic reaches nobody.
pub(crate) fn contain(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        discard(payload);
    }
}

/// Drops a value of the user's, whose `drop` may panic.
pub(crate) fn discard<T>(value: T) {
    if mem::needs_drop::<T>()
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value)))
    {
        // A payload that panics in its turn when dropped is not given the occasion.
        mem::forget(payload);
    }
}
