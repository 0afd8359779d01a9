//! One future of many: all of them, all outcomes, the first value, the first outcome.
//!
//! None of these blocks. Those that are no longer needed are cancelled: the losers of [`any`] and [`race`], the rest
//! once one of [`all`] has failed, and every one if the combined future is cancelled itself.

use std::sync::Arc;

use crate::{
    cell::Cancel,
    error::{Outcome, TaskError},
    future::{Canceller, TaskFuture},
    panics,
    promise::{Promise, promise},
    sync::{Mutex, lock},
};

/// Returns a future of all the values, in the order of the `futures`; of the first error if there is one, and then
/// the rest is cancelled.
///
/// Of no futures, it is done, with no values.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool, all};
///
/// let pool = ThreadPool::new(2);
/// let words = ["one", "two", "three"].map(|word| pool.submit(move || word.len()));
/// assert_eq!(all(words).result()?, [3, 3, 5]);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub fn all<T: Send + 'static>(futures: impl IntoIterator<Item = TaskFuture<T>>) -> TaskFuture<Vec<T>> {
    gather(futures, Ok, |places, place, outcome| match outcome {
        Ok(value) => places.fill(place, value).map(Ok),
        Err(error) => Some(Err(error)),
    })
}

/// Returns a future of all the outcomes, in the order of the `futures`, errors included. Of no futures, it is done.
pub fn all_settled<T: Send + 'static>(futures: impl IntoIterator<Item = TaskFuture<T>>) -> TaskFuture<Vec<Outcome<T>>> {
    gather(futures, Ok, |places, place, outcome| places.fill(place, outcome).map(Ok))
}

/// Returns a future of the first value; the rest is then cancelled.
///
/// If none succeeds, or there is none, it fails as [`TaskError::AllFailed`], with the errors in the order of the
/// `futures`.
pub fn any<T: Send + 'static>(futures: impl IntoIterator<Item = TaskFuture<T>>) -> TaskFuture<T> {
    gather(futures, all_failed, |places, place, outcome| match outcome {
        Ok(value) => Some(Ok(value)),
        Err(error) => places.fill(place, error).map(all_failed),
    })
}

/// Returns a future of the first outcome, be it a value or an error; the rest is then cancelled.
///
/// If there is none, it fails as [`TaskError::AllFailed`], since it would otherwise never be done.
pub fn race<T: Send + 'static>(futures: impl IntoIterator<Item = TaskFuture<T>>) -> TaskFuture<T> {
    gather(futures, all_failed, |_places, _place, outcome| Some(outcome))
}

fn all_failed<T>(errors: Vec<TaskError>) -> Outcome<T> {
    Err(TaskError::AllFailed(Box::new(errors)))
}

/// What has come in, each in the place of the future that it came from.
struct Places<P> {
    filled: Vec<Option<P>>,
    empty: usize,
}

impl<P> Places<P> {
    /// Fills one place. Returns what is in all of them if that was the last.
    fn fill(&mut self, place: usize, value: P) -> Option<Vec<P>> {
        self.filled[place] = Some(value);
        self.empty -= 1;
        (self.empty == 0).then(|| self.filled.drain(..).flatten().collect())
    }
}

/// Makes one future of many. `decide` is shown each outcome as it comes, and says when that makes the whole; then
/// all others are cancelled. Of no futures the whole is `of_none`.
fn gather<T, P, R>(
    futures: impl IntoIterator<Item = TaskFuture<T>>,
    of_none: impl FnOnce(Vec<P>) -> Outcome<R>,
    decide: impl Fn(&mut Places<P>, usize, Outcome<T>) -> Option<Outcome<R>> + Send + Sync + 'static,
) -> TaskFuture<R>
where
    T: Send + 'static,
    P: Send + 'static,
    R: Send + 'static,
{
    let futures: Vec<TaskFuture<T>> = futures.into_iter().collect();
    if futures.is_empty() {
        return TaskFuture::ready(of_none(Vec::new()));
    }
    let (promise, whole) = promise();
    let cancellers: Arc<[Canceller]> = futures.iter().map(TaskFuture::canceller).collect();
    promise.on_cancel({
        let cancellers = Arc::clone(&cancellers);
        move || {
            cancel_all(&cancellers);
            Cancel::Requested
        }
    });
    // Dropping the whole would stop all of them.
    let would_be = futures.iter().filter(|future| future.take_cancel_on_drop()).count();
    whole.inherit_cancel_on_drop(would_be == futures.len());
    let filled = futures.iter().map(|_| None).collect();
    let state = Arc::new(Mutex::new((Places { filled, empty: futures.len() }, Some(promise))));
    let decide = Arc::new(decide);
    for (place, future) in futures.into_iter().enumerate() {
        let (state, cancellers, decide) = (Arc::clone(&state), Arc::clone(&cancellers), Arc::clone(&decide));
        future.consume(move |outcome| {
            let mut guard = lock(&state);
            let (places, promise) = &mut *guard;
            if promise.is_none() {
                // The whole is decided: this one came too late.
                drop(guard);
                return drop(outcome);
            }
            let Some(decided) = decide(places, place, outcome) else { return };
            let promise: Option<Promise<R>> = promise.take();
            let left_over = std::mem::take(&mut places.filled);
            drop(guard);
            panics::discard(left_over);
            if let Some(promise) = promise {
                promise.finish(decided);
            }
            cancel_all(&cancellers);
        });
    }
    whole
}

fn cancel_all(cancellers: &[Canceller]) {
    for cancel in cancellers {
        cancel();
    }
}
