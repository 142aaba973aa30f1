//! Cron expressions of five fields.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;

use super::text::short;
use super::{CRON_CHARS_MAX, ScheduleError};

/// A cron expression in a time zone.
pub(super) struct Pattern {
    cron: Cron,
    zone: TimeZone,
}

impl Pattern {
    pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<Self, ScheduleError> {
        let length = text.chars().count();
        if length > CRON_CHARS_MAX {
            return Err(ScheduleError::LongCron(length));
        }
        let fields = text.split_whitespace().count();
        if fields != 5 || text.contains('@') {
            return Err(ScheduleError::CronFields(fields));
        }
        let cron = Cron::from_str(text)
            .map_err(|error| ScheduleError::BadCron(short(text), error.to_string()))?;
        let pattern = Self { cron, zone: zone.clone() };
        // Without a year, what comes once comes again, so any time is good to begin at.
        match pattern.first_from(0) {
            Some(_) => Ok(pattern),
            None => Err(ScheduleError::NeverCron(short(text))),
        }
    }

    /// The expression with one blank between its fields.
    pub(super) fn written(&self) -> String {
        self.cron.as_str().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The first time that is `from` or later, in milliseconds.
    pub(super) fn first_from(&self, from: i64) -> Option<i64> {
        self.first_after(from.checked_sub(1)?)
    }

    /// The first time that is later than `after`, in milliseconds.
    pub(super) fn first_after(&self, after: i64) -> Option<i64> {
        let second = jiff::Timestamp::from_second(after.div_euclid(1000)).ok()?;
        let start = second.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&start, false).ok()?;
        Some(next.timestamp().as_millisecond())
    }

    /// What the expression says, in words.
    pub(super) fn describe(&self) -> String {
        let told = self.cron.describe();
        let told = told.trim_end_matches('.');
        let mut letters = told.chars();
        let told: String =
            letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
        let pattern = &self.cron.pattern;
        let once = told.starts_with("at ") && pattern.hours.values().len() < 24;
        let daily = pattern.is_dom_wildcard()
            && pattern.is_dow_wildcard()
            && pattern.months.values().len() == 12;
        if once && daily { format!("{told} every day") } else { told }
    }
}
