//! What is left of a group of inputs whose worker died in one of them.
//!
//! Each input of a group is as good as a task by itself: the answers that were there are kept, the input that was
//! under way ends with its worker, and those behind it go on elsewhere, as a task in the place of the first.

use std::{any::Any, cell::RefCell, io, pin::Pin, sync::Arc, time::Duration};

use super::page::Page;
use crate::{
    carry::{Order, Steps, TOOK, Written, split_answer, write_failure},
    cell::{Flags, Inside, OnCancel, Remote, Runnable, itself},
    context,
    counted::{Counted, widen},
    error::{Outcome, TaskError},
    event::Lane,
    segment::{self, Attached},
};

/// The first answers of a group.
#[derive(Default)]
pub(super) struct Part {
    count: usize,
    bytes: Vec<u8>,
    /// What has come with them.
    attached: Attached,
}

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds answers of which so many came before.
    pub(super) fn add(&mut self, before: u32, answers: &[u8], attached: Attached) -> io::Result<()> {
        let is_in_turn = before as usize == self.count;
        let mut rest = answers;
        while split_answer(&mut rest).is_some() {
            self.count += 1;
        }
        self.bytes.extend_from_slice(answers);
        self.attached.extend(attached);
        (is_in_turn && rest.is_empty()).then_some(()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Adds what a worker that is gone has noted and not sent.
    pub(super) fn read_on(&mut self, page: &Page) {
        let (before, answers) = page.journal();
        // It may have sent some of them, and not come to turn the journal over.
        for answer in answers.iter().skip(self.count.saturating_sub(before)) {
            self.bytes.extend_from_slice(answer);
            self.count += 1;
        }
    }

    /// Adds an input that has no value.
    pub(super) fn fail(&mut self, error: &TaskError) {
        write_failure(error, &mut self.bytes);
        self.count += 1;
    }

    /// Calls `read` with the answers to the whole group, when those to the rest of it are there.
    pub(super) fn with<R>(&self, rest: &[u8], read: impl FnOnce(&[u8]) -> R) -> R {
        let (took, answers) = rest.split_at(TOOK.min(rest.len()));
        segment::detaching(&self.attached, || read(&[took, &self.bytes, answers].concat()))
    }
}

/// A task that goes on with a group.
pub(super) struct Rest {
    /// The group.
    task: Counted<dyn Remote>,
    /// The inputs that are left.
    written: Arc<Written>,
    /// The answers to those before.
    part: Part,
    flags: Flags,
}

impl Rest {
    pub(super) fn new(task: Counted<dyn Remote>, written: Arc<Written>, part: Part) -> Self {
        Self { task, written, part, flags: Flags::new() }
    }
}

impl Runnable for Rest {
    fn run(&self, this: &Counted<dyn Inside>, _lane: Lane) {
        if self.task.is_over() {
            return;
        }
        let mut out = Vec::new();
        let attached = RefCell::new(Vec::new());
        let answer = context::inside(this, || {
            let order = Order {
                bytes: &self.written.bytes,
                group: Some(&Unnoted),
                came_with: RefCell::new(self.written.attached()),
                to: None,
                attach: &|more| attached.borrow_mut().extend(more),
            };
            (self.written.entry.answer)(order, &mut out)
        });
        segment::detaching(&attached.take(), || self.conclude(answer.map(|()| &out[..])));
    }

    fn is_async(&self) -> bool {
        false
    }

    fn drive(&self, this: Counted<dyn Inside>, lane: Lane) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { itself::<Self>(this.clone()).run(&this, lane) })
    }

    fn refuse(&self, error: TaskError) {
        self.conclude(Err(error));
    }

    fn priority(&self) -> i32 {
        self.task.priority()
    }

    fn remote(&self, this: Counted<dyn Inside>) -> Counted<dyn Remote> {
        widen!(itself::<Self>(this) => dyn Remote)
    }
}

impl Remote for Rest {
    fn written(&self) -> Option<Arc<Written>> {
        (!self.task.is_over()).then(|| Arc::clone(&self.written))
    }

    fn is_over(&self) -> bool {
        self.task.is_over()
    }

    fn is_observed(&self) -> bool {
        self.task.is_observed()
    }

    fn time_limit(&self) -> Option<Duration> {
        self.task.time_limit()
    }

    fn begin(&self, _lane: Lane) -> Option<Duration> {
        // The group has started, which is said once. Its time begins anew.
        self.task.time_limit()
    }

    fn conclude(&self, answer: Outcome<&[u8]>) {
        let failures = answer.as_ref().err().map(|error| {
            let mut rest = Part { bytes: vec![0; TOOK], ..Part::default() };
            (0..self.written.inputs()).for_each(|_| rest.fail(error));
            rest.bytes
        });
        let rest = answer.unwrap_or_else(|_| failures.as_deref().unwrap_or_default());
        self.part.with(rest, |whole| self.task.conclude(Ok(whole)));
    }
}

impl Inside for Rest {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn overrun(&self, _limit: Duration) -> bool {
        false
    }

    fn on_cancel(&self, _hook: OnCancel) {}

    fn progress(&self, done: u64) {
        self.task.progress(done);
    }
}

/// This process is where the answers go.
struct Unnoted;

impl Steps for Unnoted {
    fn begin(&self, _place: usize) {}

    fn end(&self, _place: usize, _out: &mut Vec<u8>, _first: usize, _last: usize) {}
}
