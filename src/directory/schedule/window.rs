//! The time of day in which a pull may begin.

use jiff::Zoned;
use jiff::civil::Time;
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use super::{DayTime, ScheduleError};

/// The days before and after a time in which the edges of windows are looked for. A window that lies in
/// the hour which the change to summer time skips does not open on that day.
const DAYS_AROUND: i64 = 3;

/// A part of each day. One that ends earlier than it begins spans midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it opens.
    pub from: DayTime,
    /// When it closes: the first minute that is no longer in it.
    pub until: DayTime,
}

impl Window {
    /// Reads a window that is written like `22:00-06:00`.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let no_window = || ScheduleError::BadWindow(super::text::short(text));
        let (from, until) = text.split_once('-').ok_or_else(no_window)?;
        let window = Self { from: DayTime::parse(from)?, until: DayTime::parse(until)? };
        if window.from == window.until {
            return Err(ScheduleError::EmptyWindow);
        }
        Ok(window)
    }

    /// Whether a time of day is in it.
    #[must_use]
    pub fn has(self, time: DayTime) -> bool {
        if self.from <= self.until {
            self.from <= time && time < self.until
        } else {
            self.from <= time || time < self.until
        }
    }
}

/// Whether a window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is.
    Open,
    /// It is not, since this time.
    ClosedSince(i64),
}

/// The times at which a window opens and closes in a time zone, in milliseconds; always open, if there is
/// no window.
///
/// When clocks are set back, a window can open twice on one day, and a change of the clock can be in the
/// middle of one. So times are judged by the clock on the wall, and every change of it is an edge.
/// None as an answer means that the time is out of the range of the calendar.
pub(super) struct Openings {
    pub(super) window: Option<Window>,
    pub(super) zone: TimeZone,
}

impl Openings {
    /// The first time that is `from` or later and at which the window is open.
    pub(super) fn first_from(&self, from: i64) -> Option<i64> {
        let Some(window) = self.window else { return Some(from) };
        if self.is_open(window, from)? {
            return Some(from);
        }
        let edges = self.edges(window, from)?;
        edges.into_iter().find(|&edge| edge > from && self.is_open(window, edge) == Some(true))
    }

    /// When the window that is open closes; the end of time, if it does not.
    pub(super) fn closing_after(&self, open: i64) -> Option<i64> {
        let Some(window) = self.window else { return Some(i64::MAX) };
        let mut edges = self.edges(window, open)?.into_iter();
        let closing = edges.find(|&edge| edge > open && self.is_open(window, edge) == Some(false));
        Some(closing.unwrap_or(i64::MAX))
    }

    /// Whether the window is open.
    pub(super) fn state(&self, at: i64) -> Option<State> {
        let Some(window) = self.window else { return Some(State::Open) };
        if self.is_open(window, at)? {
            return Some(State::Open);
        }
        let before = self.edges(window, at)?.into_iter().rev().filter(|&edge| edge <= at);
        let closed = before.take_while(|&edge| self.is_open(window, edge) == Some(false));
        closed.last().map(State::ClosedSince)
    }

    fn is_open(&self, window: Window, at: i64) -> Option<bool> {
        Some(window.has(DayTime::of(self.zoned(at)?.time())))
    }

    fn zoned(&self, at: i64) -> Option<Zoned> {
        Some(jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(self.zone.clone()))
    }

    /// The times around one at which the window can open or close, in order.
    fn edges(&self, window: Window, at: i64) -> Option<Vec<i64>> {
        let around = self.zoned(at)?;
        let mut edges = Vec::new();
        for days in -DAYS_AROUND..=DAYS_AROUND {
            let date = around.date().checked_add(jiff::Span::new().days(days)).ok()?;
            for time in [window.from, window.until] {
                let time: Time = time.into();
                let wall = self.zone.to_ambiguous_zoned(date.to_datetime(time));
                // What is skipped is between the two sides of a change, which is an edge itself.
                if !matches!(wall.offset(), AmbiguousOffset::Gap { .. }) {
                    edges.push(wall.clone().earlier().ok()?.timestamp().as_millisecond());
                    edges.push(wall.later().ok()?.timestamp().as_millisecond());
                }
            }
        }
        let (first, last) = (edges.iter().min().copied()?, edges.iter().max().copied()?);
        let start = jiff::Timestamp::from_millisecond(first).ok()?;
        let changes = self.zone.following(start).map(|change| change.timestamp().as_millisecond());
        let changes: Vec<i64> = changes.take_while(|&change| change <= last).collect();
        edges.extend(changes);
        edges.sort_unstable();
        edges.dedup();
        Some(edges)
    }
}
