//! A value that does harm at one point of its way to a worker and back.

use std::{fmt, process, thread};

use raincheck::{Outcome, TaskError};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::TOO_LONG;

/// Where on its way a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The parent writes the argument down.
    Submitting,
    /// The worker reads the argument.
    Arriving,
    /// The task runs.
    Running,
    /// The worker writes the value down.
    Answering,
    /// The parent reads the value.
    Claiming,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Harm {
    /// What is asked of it fails, as serde has it.
    Error,
    Panic,
    /// A real one: the stack overflows.
    Segfault,
    Abort,
    Exit(i32),
    Kill,
    /// There is no more memory, which ends a program of Rust.
    OutOfMemory,
}

/// All by which a process dies.
pub(crate) const DEATHS: [Harm; 6] =
    [Harm::Segfault, Harm::Abort, Harm::Exit(99), Harm::Exit(0), Harm::Kill, Harm::OutOfMemory];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trap {
    stage: Stage,
    harm: Harm,
    /// Who has made it, and is the parent.
    maker: u32,
}

impl Trap {
    pub(crate) fn new(stage: Stage, harm: Harm) -> Self {
        Self { stage, harm, maker: process::id() }
    }

    /// Says that it is at a stage. Does its harm if it is that one.
    pub(crate) fn reaches(&self, stage: Stage) -> Result<(), Sprung> {
        if self.stage == stage { self.harm.strike() } else { Ok(()) }
    }

    fn at_home(&self) -> bool {
        self.maker == process::id()
    }
}

impl Harm {
    pub(crate) fn strike(self) -> Result<(), Sprung> {
        match self {
            Self::Error => Err(Sprung),
            Self::Panic => panic!("{Sprung}"),
            Self::Segfault => {
                overflow(1);
                Ok(())
            }
            Self::Abort => process::abort(),
            Self::Exit(code) => process::exit(code),
            Self::Kill => {
                kill_process(getpid(), Signal::KILL).unwrap();
                thread::sleep(TOO_LONG);
                Ok(())
            }
            Self::OutOfMemory => {
                // Less than it has: it gets nothing more.
                let little = Some(1 << 20);
                setrlimit(Resource::As, Rlimit { current: little, maximum: little }).unwrap();
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1_u8; 1 << 20]);
                }
            }
        }
    }

    /// Checks that an outcome says that it was this.
    #[track_caller]
    pub(crate) fn assert_told_by<T: fmt::Debug>(self, outcome: Outcome<T>) {
        let error = outcome.expect_err("it was done harm");
        let death = match &error {
            TaskError::WorkerLost(lost) => lost.death().map(|death| (death.exit_code(), death.signal_name())),
            _ => None,
        };
        let expected = match self {
            Self::Error | Self::Panic => {
                assert!(error.to_string().contains(&Sprung.to_string()), "{error}");
                None
            }
            Self::Segfault => Some((None, Some("SIGSEGV"))),
            Self::Abort | Self::OutOfMemory => Some((None, Some("SIGABRT"))),
            Self::Exit(code) => Some((Some(code), None)),
            Self::Kill => Some((None, Some("SIGKILL"))),
        };
        assert_eq!(death, expected, "{self:?}: {error}");
        if self == Self::OutOfMemory {
            assert!(error.to_string().contains("memory allocation of 1048576 bytes failed"), "{error}");
        }
    }
}

/// Needs more stack than there is.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 128]);
    overflow(depth + 1) + room[depth as usize % 128]
}

/// How a trap says that it has sprung.
#[derive(Debug)]
pub(crate) struct Sprung;

impl fmt::Display for Sprung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the trap has sprung")
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stage = if self.at_home() { Stage::Submitting } else { Stage::Answering };
        self.reaches(stage).map_err(ser::Error::custom)?;
        (self.stage, self.harm, self.maker).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (stage, harm, maker) = Deserialize::deserialize(deserializer)?;
        let trap = Self { stage, harm, maker };
        let stage = if trap.at_home() { Stage::Claiming } else { Stage::Arriving };
        trap.reaches(stage).map_err(de::Error::custom)?;
        Ok(trap)
    }
}

/// Carries a trap there and back.
#[raincheck::task]
pub(crate) fn carry(trap: Trap) -> Trap {
    trap.reaches(Stage::Running).unwrap_or_else(|sprung| panic!("{sprung}"));
    trap
}
