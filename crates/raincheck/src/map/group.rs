//! How many inputs go together.

use std::{mem, time::Duration};

/// How long the work of one group should take: long beside what handing it over costs, short beside what one waits
/// for.
pub(super) const GROUP_TIME: Duration = Duration::from_micros(250);

/// No group has more inputs, and none has many that take more memory, inputs and values together.
pub(super) const LARGEST_GROUP: usize = 1 << 14;
const LARGEST_GROUP_BYTES: usize = 1 << 18;

/// How many inputs go together.
pub(crate) enum Group {
    /// So many, always.
    Fixed(usize),
    /// So many for now, and at most.
    Adapting(usize, usize),
}

impl Group {
    /// As many as turn out to be right, where each takes as much memory as a `T`.
    pub(crate) fn of_some<T>() -> Self {
        let fit = LARGEST_GROUP_BYTES / mem::size_of::<T>().max(1);
        Self::Adapting(1, fit.clamp(LARGEST_GROUP / 64, LARGEST_GROUP))
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Adapting(size, _) => *size,
        }
    }

    /// Whether inputs take so little time that several go together.
    pub(super) fn is_of_many(&self) -> bool {
        matches!(self, Self::Adapting(size, _) if *size > 1)
    }

    pub(super) fn is_adapting(&self) -> bool {
        matches!(self, Self::Adapting(..))
    }

    /// Goes by how long so many inputs took, if it is free to.
    pub(crate) fn learn(&mut self, count: usize, took: Duration) {
        let Self::Adapting(size, largest) = self else { return };
        // The last group may be a small one, and says little, unless it was slow all the same.
        if count < *size && took < GROUP_TIME {
            return;
        }
        let ideal = count as u128 * GROUP_TIME.as_nanos() / took.as_nanos().max(1);
        let ideal = usize::try_from(ideal).unwrap_or(*largest);
        *size = ideal.clamp(*size / 4, *size * 8).clamp(1, *largest);
    }

    pub(super) fn shrink_to(&mut self, count: usize) {
        if let Self::Adapting(size, _) = self {
            *size = count;
        }
    }
}
