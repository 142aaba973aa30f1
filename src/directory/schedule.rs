//! When a source is pulled.
//!
//! A schedule says it from facts alone, so all replicas come to the same time without talking to each
//! other: there is no clock and no chance in it.

mod cron;
#[cfg(test)]
mod tests;
mod text;
mod window;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Timestamp;

pub use text::{DayTime, ScheduleError};
pub use window::Window;

use cron::Pattern;
use window::{Openings, State};

/// The shortest time between two pulls, in seconds.
pub const EVERY_SECONDS_MIN: u32 = 60;

/// The longest time between two pulls, in seconds: 31 days.
pub const EVERY_SECONDS_MAX: u32 = 31 * 24 * 60 * 60;

/// The most that a pull is put off so that not all begin at once, in seconds.
pub const JITTER_SECONDS_MAX: u32 = 60 * 60;

/// The characters of a cron expression.
pub const CRON_CHARS_MAX: usize = 200;

/// When a source is pulled.
///
/// What comes from outside is to be [`checked`](Schedule::checked); one that would not pass has no next
/// time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How often.
    pub rhythm: Rhythm,
    /// The time zone of the cron expression and of the window, as its IANA name.
    #[serde(default = "utc")]
    pub zone: String,
    /// How much later a pull may begin, in seconds. How much it is follows from the connection and the
    /// time, so that many connections with one rhythm do not begin at once.
    #[serde(default)]
    pub jitter_s: u32,
    /// The time of day in which a pull may begin; always, if there is none.
    #[serde(default)]
    pub window: Option<Window>,
}

/// How often a source is pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rhythm {
    /// At the times that a cron expression of five fields gives: minute, hour, day of the month, month
    /// and day of the week.
    ///
    /// A time of day that the change to summer time skips is made up for when the skip is over, and one
    /// that the change back repeats is taken once.
    Cron(String),
    /// So many seconds after the last start.
    Every {
        /// The seconds.
        seconds: u32,
    },
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Schedule {
    /// A schedule in UTC of a cron expression, or of `every` with a number and `m`, `h` or `d`.
    pub fn parse(rhythm: &str) -> Result<Self, ScheduleError> {
        let rhythm = Rhythm::parse(rhythm)?;
        Self { rhythm, zone: utc(), jitter_s: 0, window: None }.checked()
    }

    /// The schedule with its names as they are usually written, or what is wrong with it.
    pub fn checked(self) -> Result<Self, ScheduleError> {
        let name = self.zone.trim();
        let zone =
            TimeZone::get(name).map_err(|_| ScheduleError::UnknownZone(text::short(name)))?;
        let rhythm = match self.rhythm {
            Rhythm::Cron(text) => Rhythm::Cron(Pattern::parse(&text, &zone)?.written()),
            Rhythm::Every { seconds } if seconds < EVERY_SECONDS_MIN => {
                return Err(ScheduleError::TooOften(seconds));
            }
            Rhythm::Every { seconds } if seconds > EVERY_SECONDS_MAX => {
                return Err(ScheduleError::TooSeldom(seconds));
            }
            every @ Rhythm::Every { .. } => every,
        };
        if self.jitter_s > JITTER_SECONDS_MAX {
            return Err(ScheduleError::LongJitter(self.jitter_s));
        }
        if self.window.is_some_and(|window| window.from == window.until) {
            return Err(ScheduleError::EmptyWindow);
        }
        let zone = zone.iana_name().unwrap_or(name).to_owned();
        Ok(Self { rhythm, zone, jitter_s: self.jitter_s, window: self.window })
    }

    /// The first time after `now` at which a source is pulled; later than `now`, and within the window.
    ///
    /// An interval counts from `now`, so for it `now` is the last start. The seed is a number that
    /// belongs to the connection and stays. The answer never goes back when `now` goes on.
    #[must_use]
    pub fn next_after(&self, now: Timestamp, seed: u64) -> Option<Timestamp> {
        let schedule = self.clone().checked().ok()?;
        let zone = TimeZone::get(&schedule.zone).ok()?;
        let openings = Openings { window: schedule.window, zone: zone.clone() };
        let jitter_s = i64::from(schedule.jitter_s);
        let text = match schedule.rhythm {
            Rhythm::Every { seconds } => {
                let due = openings.first_from(now.0.checked_add(i64::from(seconds) * 1000)?)?;
                // The same each time: with another each time, a later start could be due earlier.
                let latest = whole_s(due, openings.closing_after(due)?);
                return Some(Timestamp(due + spread(seed, 0, jitter_s).min(latest) * 1000));
            }
            Rhythm::Cron(text) => text,
        };
        let pattern = Pattern::parse(&text, &zone).ok()?;
        // A time before `now` can be due after it.
        let mut due = first_due(&pattern, &openings, now.0.checked_sub(jitter_s * 1000)?)?;
        loop {
            let next = first_due(&pattern, &openings, due)?;
            let end = next.min(openings.closing_after(due)?);
            let latest = jitter_s.min(whole_s(due, end));
            let start = due + spread(seed, due, latest) * 1000;
            if start > now.0 {
                return Some(Timestamp(start));
            }
            due = next;
        }
    }
}

/// The first time after `after` that the pattern gives, or at which the window opens for one that it
/// gives while the window is closed.
fn first_due(pattern: &Pattern, openings: &Openings, after: i64) -> Option<i64> {
    let given = match openings.state(after)? {
        State::ClosedSince(closing) => pattern.first_from(closing)?,
        State::Open => pattern.first_after(after)?,
    };
    openings.first_from(given)
}

/// The whole seconds from one time to the last moment before another.
fn whole_s(from: i64, until: i64) -> i64 {
    (until.saturating_sub(from).saturating_sub(1) / 1000).max(0)
}

/// A number from 0 to `max` that follows from the others and looks like chance: the finaliser of
/// `SplitMix64`.
fn spread(seed: u64, occurrence: i64, max: i64) -> i64 {
    let mut mixed =
        seed.wrapping_add(occurrence.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let numbers = max.max(0).cast_unsigned() + 1;
    (mixed % numbers).cast_signed()
}
