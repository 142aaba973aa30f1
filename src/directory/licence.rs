//! The licence of an instance: how many people may be active at once.

use super::connection::words;

/// The seats of an instance that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Licence {
    /// How many there are.
    pub seats_max: i64,
    /// How many active accounts have one. More than there are, after the limit was lowered.
    pub seats_taken: i64,
    /// What happens to who comes when none is free.
    pub policy: SeatPolicy,
}

impl Licence {
    /// How many are free.
    #[must_use]
    pub fn free(self) -> i64 {
        (self.seats_max - self.seats_taken).max(0)
    }
}

words! {
    /// What happens to people who come when no seat is free.
    SeatPolicy {
        /// They are created, wait in the order of arrival, and enter when a seat is free.
        Block = "block",
        /// A write that would need a seat is refused.
        Stop = "stop",
    }
}
