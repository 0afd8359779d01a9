//! What every executor keeps: each promise is written once, and runs on each executor under its own name.
//!
//! The letter and number beside a test is the row of CPython's own suite that it keeps, as far as it is the same here:
//! F for the future, E for the executor, W and A for waiting, S for shutting down, T for the pool of threads, I for
//! initializers. P and a number is a promise of this library's design.

#[cfg(feature = "task")]
mod calls;
mod deadlock;
mod events;
mod gate;
mod mapping;
mod options;
mod promises;
mod schedule;
mod scope;
mod shutdown;
mod threads;

/// Runs each promise on each executor, of the width that it asks for.
#[macro_export]
macro_rules! every_executor_keeps {
    ($($(#[$row:meta])* $promise:ident),+ $(,)?) => {
        mod every {
            mod inline {
                $($(#[$row])* #[test] fn $promise() { super::super::$promise(|_workers| raincheck::Inline::new()); })+
            }
            mod thread {
                $($(#[$row])* #[test] fn $promise() { super::super::$promise(raincheck::ThreadPool::new); })+
            }
            #[cfg(feature = "tokio")]
            mod tokio {
                $($(#[$row])* #[test] fn $promise() { super::super::$promise(raincheck::Tokio::new); })+
            }
        }
    };
}

/// The same for those promises that need a second thread, which `Inline` has not.
#[macro_export]
macro_rules! every_concurrent_executor_keeps {
    ($($(#[$row:meta])* $promise:ident),+ $(,)?) => {
        mod concurrent {
            mod thread {
                $($(#[$row])* #[test] fn $promise() { super::super::$promise(raincheck::ThreadPool::new); })+
            }
            #[cfg(feature = "tokio")]
            mod tokio {
                $($(#[$row])* #[test] fn $promise() { super::super::$promise(raincheck::Tokio::new); })+
            }
        }
    };
}
