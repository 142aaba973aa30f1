//! The guard for pushes: how many losses a client may push before an administrator is asked.
//!
//! A client whose rules were changed by mistake sends the same requests as one whose company lets people
//! go, only more of them. So losses are counted, and beyond a limit they are held: the client has its
//! success, and the directory stays as it is until an administrator has decided.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::connection::words;
use super::guard::GUARD_COUNT_MAX;

/// The losses in a window that no percentage holds, and how many there must still be to lose: in a small
/// directory, a few people are a large share.
pub const GUARD_FLOOR: i64 = 20;

/// The shortest window that a guard can have, in minutes.
pub const GUARD_WINDOW_MINUTES_MIN: i64 = 1;

/// The longest window that a guard can have, in minutes: 30 days.
pub const GUARD_WINDOW_MINUTES_MAX: i64 = 30 * 24 * 60;

/// For how long a count of what could be lost is good enough, in minutes.
pub const GUARD_TOTAL_MINUTES: i64 = 10;

words! {
    /// What can be lost by a push.
    LossKind {
        /// Somebody who could enter cannot any more.
        Suspension = "suspension",
        /// An account or a group is deleted.
        Deletion = "deletion",
        /// A member leaves a group.
        Removal = "removal",
    }
}

impl LossKind {
    /// Several of them, in words.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Suspension => "suspensions",
            Self::Deletion => "deletions",
            Self::Removal => "membership removals",
        }
    }
}

/// The losses by one request, or of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Losses {
    /// People who can no longer enter.
    pub suspensions: i64,
    /// Accounts and groups that are deleted.
    pub deletions: i64,
    /// Members who left groups.
    pub removals: i64,
}

impl Losses {
    /// How many there are of a kind.
    #[must_use]
    pub fn of(self, kind: LossKind) -> i64 {
        match kind {
            LossKind::Suspension => self.suspensions,
            LossKind::Deletion => self.deletions,
            LossKind::Removal => self.removals,
        }
    }

    /// How many there are altogether.
    #[must_use]
    pub fn total(self) -> i64 {
        self.suspensions + self.deletions + self.removals
    }
}

/// How many losses of a connection come through within a window; more are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushGuard {
    /// Whether losses are counted at all.
    pub on: bool,
    /// The suspensions that come through at most; with 0, each is held.
    pub suspensions_max: i64,
    /// The deletions of accounts and groups that come through at most.
    pub deletions_max: i64,
    /// The members who leave groups that come through at most.
    pub removals_max: i64,
    /// The share that may be lost at most, in percent: of the people who may enter, or of the memberships.
    /// With 100 there is no such limit.
    pub percent_max: i64,
    /// How far back losses count, in minutes.
    pub window_minutes: i64,
}

impl Default for PushGuard {
    fn default() -> Self {
        Self {
            on: true,
            suspensions_max: 500,
            deletions_max: 500,
            removals_max: 500,
            percent_max: 20,
            window_minutes: 24 * 60,
        }
    }
}

impl PushGuard {
    /// The guard if all its limits can be; why not, if one cannot.
    pub fn checked(self) -> Result<Self, (&'static str, String)> {
        for (name, count) in [
            ("the suspensions", self.suspensions_max),
            ("the deletions", self.deletions_max),
            ("the removals", self.removals_max),
        ] {
            if !(0..=GUARD_COUNT_MAX).contains(&count) {
                return Err((name, format!("must be from 0 to {GUARD_COUNT_MAX}")));
            }
        }
        if !(0..=100).contains(&self.percent_max) {
            return Err(("the percentage", "must be from 0 to 100".to_owned()));
        }
        if !(GUARD_WINDOW_MINUTES_MIN..=GUARD_WINDOW_MINUTES_MAX).contains(&self.window_minutes) {
            return Err(("the window", "must be from 1m to 30d".to_owned()));
        }
        Ok(self)
    }

    /// The losses of a kind that come through at most.
    #[must_use]
    pub fn count_max(self, kind: LossKind) -> i64 {
        match kind {
            LossKind::Suspension => self.suspensions_max,
            LossKind::Deletion => self.deletions_max,
            LossKind::Removal => self.removals_max,
        }
    }

    /// Where the window begins.
    #[must_use]
    pub fn since(self, now: Timestamp) -> Timestamp {
        Timestamp(now.0 - self.window_minutes * 60_000)
    }

    /// Whether so many losses of a kind in the window are too many by their number.
    #[must_use]
    pub fn is_over_count(self, kind: LossKind, losses: i64) -> bool {
        losses > self.count_max(kind)
    }

    /// Whether they are too many by their share of what there was, those that are lost among it.
    #[must_use]
    pub fn is_over_percent(self, losses: i64, present: i64) -> bool {
        self.percent_max < 100
            && losses > GUARD_FLOOR
            && losses * 100 > self.percent_max * present.max(losses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_either_limit_is_held() {
        let guard = PushGuard { suspensions_max: 100, ..PushGuard::default() };
        //  losses  present  by count, by percent
        let cases = [
            (1, 1, false, false), // below the floor, whatever the share
            (20, 20, false, false),
            (21, 21, false, true),
            (21, 105, false, false), // just 20 percent
            (21, 104, false, true),
            (100, 500, false, false),
            (101, 1_000_000, true, false),
            (101, 500, true, true),
        ];
        for (losses, present, by_count, by_percent) in cases {
            let told = guard.is_over_count(LossKind::Suspension, losses);
            assert_eq!(told, by_count, "{losses} of {present}");
            assert_eq!(guard.is_over_percent(losses, present), by_percent, "{losses} of {present}");
        }
        assert!(PushGuard { suspensions_max: 0, ..guard }.is_over_count(LossKind::Suspension, 1));
        assert!(!PushGuard { percent_max: 100, ..guard }.is_over_percent(50, 50));
        assert!(!guard.is_over_count(LossKind::Removal, 500));
    }

    #[test]
    fn limits_that_cannot_be_are_refused() {
        let guard = PushGuard::default();
        assert_eq!(guard.checked(), Ok(guard));
        for wrong in [
            PushGuard { suspensions_max: -1, ..guard },
            PushGuard { deletions_max: GUARD_COUNT_MAX + 1, ..guard },
            PushGuard { removals_max: -1, ..guard },
            PushGuard { percent_max: 101, ..guard },
            PushGuard { window_minutes: 0, ..guard },
            PushGuard { window_minutes: GUARD_WINDOW_MINUTES_MAX + 1, ..guard },
        ] {
            assert!(wrong.checked().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_not_kept_is_as_it_is_by_default() {
        let kept: PushGuard = serde_json::from_str("{}").unwrap();
        assert_eq!(kept, PushGuard::default());
        let kept: PushGuard = serde_json::from_str(r#"{"on":false,"percent_max":7}"#).unwrap();
        assert_eq!(kept, PushGuard { on: false, percent_max: 7, ..PushGuard::default() });
    }
}
