//! The guard: how many people may lose their access at once before an administrator is asked.
//!
//! A source that is empty, cut short or of another shape looks just like a company that lets everybody
//! go. The guard knows nothing of sources: it compares two numbers.

use serde::{Deserialize, Serialize};

/// The greatest count that a guard can have.
pub const GUARD_COUNT_MAX: i64 = 10_000_000;

/// How many people may leave at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The people who may leave at most; more are held.
    pub count_max: i64,
    /// The share of the people who may enter now that may leave at most, in percent; more is held. With 100
    /// there is no such limit.
    pub percent_max: i64,
}

impl Default for Guard {
    fn default() -> Self {
        Self { count_max: 500, percent_max: 20 }
    }
}

/// People who would lose their access, among those who have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leaving {
    /// How many would lose it.
    pub leaving: i64,
    /// How many have it now, those who leave among them.
    pub present: i64,
}

impl Leaving {
    /// The share of those who leave, in percent, rounded up.
    #[must_use]
    pub fn percent(self) -> i64 {
        match self.present {
            0 => 0,
            present => (self.leaving * 100 + present - 1) / present,
        }
    }
}

impl Guard {
    /// Whether that many may leave without anybody being asked; if not, why, in words.
    pub fn admit(self, leaving: Leaving) -> Result<(), String> {
        let Leaving { leaving: count, present } = leaving;
        let too_many = count > self.count_max;
        let too_large = self.percent_max < 100 && count * 100 > self.percent_max * present;
        if count == 0 || !(too_many || too_large) {
            return Ok(());
        }
        let limit = if too_many {
            format!("{} people", self.count_max)
        } else {
            format!("{} percent", self.percent_max)
        };
        Err(format!(
            "{count} of {present} people ({} percent) would lose their access; more than {limit} at \
             once wait for an administrator",
            leaving.percent()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_either_limit_is_held() {
        let guard = Guard { count_max: 10, percent_max: 20 };
        //  leaving present  admitted
        let cases = [
            (0, 0, true),
            (0, 5, true),
            (1, 5, true),
            (1, 4, false), // 25 percent
            (2, 4, false), // half of a small company
            (10, 50, true),
            (10, 49, false),
            (10, 1_000_000, true),
            (11, 1_000_000, false),
            (4, 4, false),
        ];
        for (leaving, present, admitted) in cases {
            let told = guard.admit(Leaving { leaving, present });
            assert_eq!(told.is_ok(), admitted, "{leaving} of {present}: {told:?}");
        }
        let strict = Guard { count_max: 0, percent_max: 100 };
        assert!(strict.admit(Leaving { leaving: 1, present: 100 }).is_err());
        let open = Guard { count_max: GUARD_COUNT_MAX, percent_max: 100 };
        assert!(open.admit(Leaving { leaving: 100, present: 100 }).is_ok());
        // Somebody who is found on the way, among people who could not be counted before.
        assert!(open.admit(Leaving { leaving: 1, present: 0 }).is_ok());
    }

    #[test]
    fn the_reason_names_the_numbers_and_the_limit() {
        let told = Guard::default().admit(Leaving { leaving: 50, present: 99 }).unwrap_err();
        assert!(told.contains("50 of 99 people (51 percent)"), "{told}");
        assert!(told.contains("20 percent"), "{told}");
    }
}
