//! What every executor with workers can be told when it is made.

use std::time::Duration;

use crate::{
    context::State,
    error::Outcome,
    event::{Lane, Observer},
    options::Options,
    panics,
};

/// How an executor with workers is to be.
pub(crate) struct Setup {
    pub(crate) workers: usize,
    pub(crate) name: String,
    pub(crate) bound: Option<(usize, Full)>,
    pub(crate) options: Options,
    prepare: Option<Box<dyn Fn(Lane) + Send + Sync>>,
    state: Option<Box<dyn Fn(Lane) -> State + Send + Sync>>,
}

/// More workers than there ever are, and few enough to be counted with.
pub(crate) const MOST_WORKERS: usize = 1 << 24;

/// What becomes of a task for which there is no room in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Full {
    /// Submitting it blocks until there is room.
    Block,
    /// It is refused: its future is done, as [`TaskError::Refused`](crate::TaskError::Refused).
    Refuse,
    /// It is run by the thread that submits it, which is thereby slowed down.
    RunInCaller,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            name: "raincheck".into(),
            bound: None,
            options: Options::new(),
            prepare: None,
            state: None,
        }
    }

    pub(crate) fn options(&self) -> Option<&Options> {
        (!self.options.are_default()).then_some(&self.options)
    }

    pub(crate) fn initializer(&mut self, prepare: impl Fn(Lane) + Send + Sync + 'static) {
        self.prepare = Some(Box::new(prepare));
    }

    pub(crate) fn worker_state<S: Send + 'static>(&mut self, state: impl Fn(Lane) -> S + Send + Sync + 'static) {
        self.state = Some(Box::new(move |lane| Box::new(state(lane))));
    }

    pub(crate) fn time_limit(&mut self, limit: Duration) {
        self.options.time_limit = Some(limit);
    }

    pub(crate) fn observer(&mut self, observer: impl Observer + 'static) {
        self.options.observer = Some(std::sync::Arc::new(observer));
    }

    /// Makes a worker ready for its first task, and makes its state. An `Err` says that there can be no worker.
    pub(crate) fn prepare_worker(&self, lane: Lane) -> Outcome<Option<State>> {
        panics::catch(|| {
            if let Some(prepare) = &self.prepare {
                prepare(lane);
            }
            self.state.as_ref().map(|state| state(lane))
        })
        .map_err(|error| crate::TaskError::worker_lost(format!("the executor's initializer failed: {error}")))
    }
}

/// The methods of a builder that fill in its `setup`.
macro_rules! setup_methods {
    () => {
        /// So many workers: no more tasks than that run at a time.
        ///
        /// # Panics
        ///
        /// If it is 0.
        #[must_use]
        pub fn workers(mut self, workers: usize) -> Self {
            assert!(workers > 0, "an executor needs at least one worker");
            self.setup.workers = workers.min(crate::setup::MOST_WORKERS);
            self
        }

        /// What the workers are called: this, a hyphen, and a number.
        #[must_use]
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.setup.name = name.into();
            self
        }

        /// Lets no more than so many tasks wait for a worker, and says what becomes of the next.
        #[must_use]
        pub fn queue(mut self, bound: usize, full: crate::Full) -> Self {
            self.setup.bound = Some((bound, full));
            self
        }

        /// Gives each task this long; see [`Options::time_limit`](crate::Options::time_limit).
        #[must_use]
        pub fn time_limit(mut self, limit: std::time::Duration) -> Self {
            self.setup.time_limit(limit);
            self
        }

        /// Has every moment of every task told to `observer`.
        #[must_use]
        pub fn observer(mut self, observer: impl crate::Observer + 'static) -> Self {
            self.setup.observer(observer);
            self
        }
    };
}

/// The same for executors whose workers are threads of this process.
macro_rules! worker_methods {
    () => {
        /// Has this called for each worker before its first task, on the thread that is about to run that.
        ///
        /// If it panics, the executor is broken: its tasks end as
        /// [`TaskError::WorkerLost`](crate::TaskError::WorkerLost), and so do all that are submitted later.
        #[must_use]
        pub fn initializer(mut self, prepare: impl Fn(crate::Lane) + Send + Sync + 'static) -> Self {
            self.setup.initializer(prepare);
            self
        }

        /// Gives each worker a value of its own, which its tasks reach by
        /// [`with_worker_state`](crate::with_worker_state). Made before the worker's first task; a panic does what
        /// one in the [`initializer`](Self::initializer) does.
        #[must_use]
        pub fn worker_state<S: Send + 'static>(
            mut self,
            state: impl Fn(crate::Lane) -> S + Send + Sync + 'static,
        ) -> Self {
            self.setup.worker_state(state);
            self
        }
    };
}

pub(crate) use {setup_methods, worker_methods};
