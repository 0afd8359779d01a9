//! Continuations run one after the other and not one inside the other, so that a chain of a million futures needs no
//! more stack than a chain of two.

use std::{cell::RefCell, collections::VecDeque};

#[cfg(raincheck_loom)]
use crate::sync::LocalRefCell as _;
use crate::{
    panics,
    sync::{Lasting, thread_local},
};

/// So many continuations may be inside one another before the next is put off.
const DEEP: usize = 64;

thread_local! {
    static BOUNCING: RefCell<Bouncing> =
        const { RefCell::new(Bouncing { depth: 0, put_off: Lasting::new(VecDeque::new()) }) };
}

struct Bouncing {
    depth: usize,
    put_off: Lasting<VecDeque<Box<dyn FnOnce()>>>,
}

/// Runs `next`, here and now or, deep inside other continuations of this thread, when those have returned.
pub(crate) fn bounce(next: impl FnOnce() + 'static) {
    let depth = BOUNCING.with_borrow(|bouncing| bouncing.depth);
    if depth == DEEP {
        return BOUNCING.with_borrow_mut(|bouncing| bouncing.put_off.push_back(Box::new(next)));
    }
    BOUNCING.with_borrow_mut(|bouncing| bouncing.depth += 1);
    panics::contain(next);
    BOUNCING.with_borrow_mut(|bouncing| bouncing.depth -= 1);
    if depth == 0 {
        drain();
    }
}

/// Runs what this thread has put off. A thread that is about to wait does so, since it may wait for just that.
pub(crate) fn drain() {
    while let Some(next) = next_put_off() {
        let depth = BOUNCING.with_borrow_mut(|bouncing| std::mem::replace(&mut bouncing.depth, 1));
        panics::contain(next);
        BOUNCING.with_borrow_mut(|bouncing| bouncing.depth = depth);
    }
}

fn next_put_off() -> Option<Box<dyn FnOnce()>> {
    BOUNCING.with_borrow_mut(|bouncing| {
        let next = bouncing.put_off.pop_front();
        if next.is_none() {
            // With the memory that it has taken.
            *bouncing.put_off = VecDeque::new();
        }
        next
    })
}
