//! A lock for what takes some nanoseconds: a look at where a task is, a step in a queue.
//!
//! The standard library's has to find out when it is given back whether someone sleeps that must be woken, which costs
//! as much as taking it. Nobody sleeps for this one: giving it back is a plain store, and it takes one byte. Who finds
//! it taken looks again, and lets others run meanwhile, since the one who has it may have been taken off its processor.
//!
//! Unsafe code, as little as such a lock needs: loom explores it below.

#![expect(unsafe_code, reason = "a lock hands out what the compiler cannot see to be handed out once")]

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use crate::sync::{AtomicBool, Ordering, UnsafeCell, back_off};

/// A value that one thread at a time can get at. No user code runs meanwhile.
#[derive(Default)]
pub(crate) struct Brief<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: a reference to the value is only got by who has taken the lock, one thread at a time; so it goes from thread to
// thread, as `Send` allows, and is not shared.
unsafe impl<T: Send> Sync for Brief<T> {}

/// The value, until this is dropped. As `Send` and `Sync` as the one reference that it stands for, and not as the lock.
pub(crate) struct Held<'a, T>(&'a Brief<T>, PhantomData<&'a mut T>);

impl<T> Brief<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Held<'_, T> {
        if !self.try_take() {
            self.take_later();
        }
        Held(self, PhantomData)
    }

    #[cfg(not(raincheck_loom))]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[inline]
    fn try_take(&self) -> bool {
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn take_later(&self) {
        for round in 0.. {
            // A look alone leaves the line with who has the lock.
            if !self.taken.load(Ordering::Relaxed) && self.try_take() {
                return;
            }
            back_off(round);
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: who has a `Held` has taken the lock, and there is one until it is dropped; what is borrowed from it
        // lives no longer than it.
        self.0.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; and who has borrowed it mutably has borrowed the `Held` so.
        self.0.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(raincheck_loom)))]
mod tests {
    use std::{cell::Cell, thread};

    use super::{Brief, Held};

    /// Ambiguous, and no program, if a `T` can be looked at from two threads at a time.
    trait NotSync<Which> {
        const IS: () = ();
    }
    impl<T> NotSync<()> for T {}
    impl<T: Sync> NotSync<u8> for T {}
    const _: () = <Held<'static, Cell<u8>> as NotSync<_>>::IS;

    #[test]
    fn no_step_of_two_threads_is_lost() {
        const STEPS: u32 = if cfg!(miri) { 100 } else { 100_000 };
        let count = Brief::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..STEPS).for_each(|_| *count.lock() += 1));
            }
        });
        assert_eq!(*count.lock(), 2 * STEPS);
    }
}

#[cfg(all(test, raincheck_loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::Brief;

    #[test]
    fn a_step_against_another_thread_s() {
        loom::model(|| {
            let count = Arc::new(Brief::new(0));
            let other = thread::spawn({
                let count = Arc::clone(&count);
                move || *count.lock() += 1
            });

            *count.lock() += 1;

            other.join().unwrap();
            assert_eq!(*count.lock(), 2);
        });
    }
}
