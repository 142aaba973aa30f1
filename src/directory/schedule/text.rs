//! Schedules as they are written and told.

use std::fmt;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::cron::Pattern;
use super::{
    CRON_CHARS_MAX, EVERY_SECONDS_MAX, EVERY_SECONDS_MIN, JITTER_SECONDS_MAX, Rhythm, Schedule,
};

/// The characters that an error quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// Why something is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The cron expression is longer than [`CRON_CHARS_MAX`].
    #[error("cron: the expression has {0} characters, and {CRON_CHARS_MAX} are the limit")]
    LongCron(usize),
    /// The cron expression does not have five fields.
    #[error(
        "cron: the expression has {0} fields and needs 5: minute, hour, day of the month, month, day \
         of the week, as in \"30 2 * * *\"; once a minute is the most"
    )]
    CronFields(usize),
    /// The cron expression cannot be read.
    #[error("cron: \"{0}\" cannot be read: {1}")]
    BadCron(String, String),
    /// The cron expression never comes true.
    #[error("cron: \"{0}\" never comes, as on 30 February: choose a day that the month has")]
    NeverCron(String),
    /// The interval is shorter than [`EVERY_SECONDS_MIN`].
    #[error("interval: {0} seconds are too short, take {EVERY_SECONDS_MIN} or more")]
    TooOften(u32),
    /// The interval is longer than [`EVERY_SECONDS_MAX`].
    #[error("interval: {0} seconds are too long, take {EVERY_SECONDS_MAX} (31 days) or less")]
    TooSeldom(u32),
    /// The interval cannot be read.
    #[error(
        "interval: \"{0}\" cannot be read: write \"every\" and a number with m, h or d, as in every 6h"
    )]
    BadInterval(String),
    /// There is no such time zone.
    #[error("zone: there is no time zone \"{0}\": take an IANA name like Europe/Berlin, or UTC")]
    UnknownZone(String),
    /// The jitter is longer than [`JITTER_SECONDS_MAX`].
    #[error("jitter: {0} seconds are too long, take {JITTER_SECONDS_MAX} (an hour) or less")]
    LongJitter(u32),
    /// The window ends when it begins.
    #[error("window: it ends when it begins: take two different times, or leave the window out")]
    EmptyWindow,
    /// The window cannot be read.
    #[error("window: \"{0}\" cannot be read: write two times of day, as in 22:00-06:00")]
    BadWindow(String),
    /// A time of day cannot be read.
    #[error("window: \"{0}\" is no time of day: write it as HH:MM, from 00:00 to 23:59")]
    BadTime(String),
}

/// The beginning of a text, for an error.
pub(super) fn short(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(QUOTED_CHARS_MAX).collect()
}

/// A time of day, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayTime {
    hour: i8,
    minute: i8,
}

impl DayTime {
    /// Reads a time that is written as `HH:MM`.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let number = |digits: &str| {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse::<i8>().ok() } else { None }
        };
        text.trim()
            .split_once(':')
            .and_then(|(hour, minute)| Some(Self { hour: number(hour)?, minute: number(minute)? }))
            .filter(|time| time.hour < 24 && time.minute < 60)
            .ok_or_else(|| ScheduleError::BadTime(short(text)))
    }

    /// The minute of a time.
    pub(super) fn of(time: Time) -> Self {
        Self { hour: time.hour(), minute: time.minute() }
    }
}

impl From<DayTime> for Time {
    fn from(time: DayTime) -> Self {
        Self::new(time.hour, time.minute, 0, 0).unwrap_or_default()
    }
}

impl fmt::Display for DayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

impl Serialize for DayTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DayTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Rhythm {
    /// A cron expression, or `every` with a number and `m`, `h` or `d`.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let Some(length) = text.strip_prefix("every") else {
            return Ok(Self::Cron(text.to_owned()));
        };
        let length = length.trim();
        let unit = length.chars().last().and_then(|unit| match unit {
            'm' => Some(60),
            'h' => Some(60 * 60),
            'd' => Some(24 * 60 * 60),
            _ => None,
        });
        let number = length.trim_end_matches(['m', 'h', 'd']).trim_end().parse::<u32>().ok();
        match (number, unit) {
            (Some(number), Some(unit)) => Ok(Self::Every { seconds: number.saturating_mul(unit) }),
            _ => Err(ScheduleError::BadInterval(short(text))),
        }
    }
}

impl Schedule {
    /// The schedule in words, as in `at 02:30 every day, Europe/Zurich, up to 5 min later`.
    #[must_use]
    pub fn describe(&self) -> String {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let mut parts = match &self.rhythm {
            Rhythm::Cron(text) => match Pattern::parse(text, &zone) {
                Ok(pattern) => vec![pattern.describe(), self.zone.clone()],
                Err(error) => return format!("never: {error}"),
            },
            Rhythm::Every { seconds } => vec![format!("{} after the last start", length(*seconds))],
        };
        if let Some(window) = self.window {
            parts.push(format!("only from {} to {}", window.from, window.until));
            if matches!(self.rhythm, Rhythm::Every { .. }) {
                parts.push(self.zone.clone());
            }
        }
        if self.jitter_s > 0 {
            parts.push(format!("up to {} later", length(self.jitter_s)));
        }
        parts.join(", ")
    }
}

/// A number of seconds in the largest unit that needs no fraction.
fn length(seconds: u32) -> String {
    match seconds {
        86_400 => "1 day".to_owned(),
        s if s > 0 && s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s > 0 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s > 0 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
