//! How long what was deleted can come back.

use std::fmt;
use std::str::FromStr;

use super::Timestamp;

/// The days for which an instance keeps what was deleted, unless it is set otherwise.
pub const RETENTION_DAYS_DEFAULT: i64 = 30;

/// The fewest days that can be set.
pub const RETENTION_DAYS_MIN: i64 = 1;

/// The most days that can be set: ten years.
pub const RETENTION_DAYS_MAX: i64 = 3_650;

/// The days for which an instance keeps its request log, unless it is set otherwise.
pub const REQUESTS_DAYS_DEFAULT: i64 = 7;

/// The most days for which a request log can be kept.
pub const REQUESTS_DAYS_MAX: i64 = 90;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// For how many days an instance keeps accounts and groups that were deleted. Until then they can be
/// restored, afterwards the server removes them for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Retention(i64);

impl Retention {
    /// So many days; `None` if that is less or more than can be set.
    #[must_use]
    pub fn parse(days: i64) -> Option<Self> {
        (RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(&days).then_some(Self(days))
    }

    /// The days.
    #[must_use]
    pub fn days(self) -> i64 {
        self.0
    }

    /// What was deleted before this cannot come back: the one moment that both the refusal of a
    /// restoration and the removal go by.
    #[must_use]
    pub fn cutoff(self, now: Timestamp) -> Timestamp {
        now.plus_ms(-self.0.saturating_mul(DAY_MS))
    }

    /// Whether it is too late for what was deleted then.
    #[must_use]
    pub fn is_over(self, deleted_at: Timestamp, now: Timestamp) -> bool {
        deleted_at < self.cutoff(now)
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self(RETENTION_DAYS_DEFAULT)
    }
}

/// For how many days an instance keeps what its connections asked and were answered; 0 for not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct RequestDays(i64);

impl RequestDays {
    /// So many days; `None` if that is less than none or more than can be set.
    #[must_use]
    pub fn parse(days: i64) -> Option<Self> {
        (0..=REQUESTS_DAYS_MAX).contains(&days).then_some(Self(days))
    }

    /// The days.
    #[must_use]
    pub fn days(self) -> i64 {
        self.0
    }

    /// Whether nothing is kept at all.
    #[must_use]
    pub fn is_off(self) -> bool {
        self.0 == 0
    }

    /// What came before this is not kept any longer; without any days that is everything.
    #[must_use]
    pub fn cutoff(self, now: Timestamp) -> Timestamp {
        if self.is_off() {
            return Timestamp(i64::MAX);
        }
        now.plus_ms(-self.0.saturating_mul(DAY_MS))
    }
}

impl Default for RequestDays {
    fn default() -> Self {
        Self(REQUESTS_DAYS_DEFAULT)
    }
}

/// What becomes of people whom their connection keeps suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeleteAfter {
    /// They stay as they are.
    #[default]
    Never,
    /// They are deleted after so many days without a break.
    Days(i64),
}

impl DeleteAfter {
    /// The days as they are kept; `None` if there are too few or too many.
    #[must_use]
    pub fn of_days(days: Option<i64>) -> Option<Self> {
        match days {
            None => Some(Self::Never),
            Some(days) => Retention::parse(days).map(|_| Self::Days(days)),
        }
    }

    /// The days, if there is an end.
    #[must_use]
    pub fn days(self) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Days(days) => Some(days),
        }
    }

    /// Who is suspended since then or longer is deleted.
    #[must_use]
    pub fn cutoff(self, now: Timestamp) -> Option<Timestamp> {
        self.days().map(|days| now.plus_ms(-days.saturating_mul(DAY_MS)))
    }
}

impl fmt::Display for DeleteAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Days(1) => f.write_str("1 day"),
            Self::Days(days) => write!(f, "{days} days"),
        }
    }
}

impl FromStr for DeleteAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let days = text.parse().ok().and_then(|days| Self::of_days(Some(days)));
        days.ok_or_else(|| {
            format!("must be never, or days from {RETENTION_DAYS_MIN} to {RETENTION_DAYS_MAX}")
        })
    }
}

/// The days, or null.
impl serde::Serialize for DeleteAfter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&self.days(), serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, DeleteAfter, RETENTION_DAYS_MAX, RequestDays, Retention};
    use crate::directory::Timestamp;

    #[test]
    fn only_days_within_the_bounds_can_be_set() {
        for (days, fits) in [(-1, false), (0, false), (1, true), (30, true), (3_650, true)] {
            assert_eq!(Retention::parse(days).map(Retention::days), fits.then_some(days));
        }
        assert_eq!(Retention::parse(RETENTION_DAYS_MAX + 1), None);
        assert_eq!(Retention::default().days(), 30);
    }

    #[test]
    fn it_is_over_a_millisecond_behind_the_last_day() {
        let deleted_at = Timestamp(1_800_000_000_000);
        for days in [1, 30, 3_650] {
            let kept = Retention::parse(days).unwrap();
            let end = deleted_at.plus_ms(days * DAY_MS);
            assert!(!kept.is_over(deleted_at, deleted_at), "{days}");
            assert!(!kept.is_over(deleted_at, end), "{days}");
            assert!(kept.is_over(deleted_at, end.plus_ms(1)), "{days}");
        }
        // A clock that was set back makes nothing older.
        assert!(!Retention::default().is_over(deleted_at, Timestamp(0)));
    }

    #[test]
    fn a_request_log_without_days_keeps_nothing() {
        let now = Timestamp(1_800_000_000_000);
        for (days, cutoff) in [(0, Timestamp(i64::MAX)), (7, now.plus_ms(-7 * DAY_MS))] {
            assert_eq!(RequestDays::parse(days).unwrap().cutoff(now), cutoff);
        }
        assert_eq!(RequestDays::parse(-1), None);
        assert_eq!(RequestDays::parse(91), None);
    }

    #[test]
    fn an_end_is_written_in_days_or_as_never() {
        for (text, end) in [
            ("never", Some(DeleteAfter::Never)),
            ("1", Some(DeleteAfter::Days(1))),
            ("3650", Some(DeleteAfter::Days(3_650))),
            ("0", None),
            ("3651", None),
            ("-1", None),
            ("90d", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<DeleteAfter>().ok(), end, "{text}");
        }
        let now = Timestamp(1_800_000_000_000);
        assert_eq!(DeleteAfter::Never.cutoff(now), None);
        assert_eq!(DeleteAfter::Days(2).cutoff(now), Some(now.plus_ms(-2 * DAY_MS)));
    }
}
