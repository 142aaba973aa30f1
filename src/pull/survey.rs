//! What a file says as a whole: who is in it, who twice, and whether it can be believed.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

use super::source::Stop;
use crate::directory::source::MatchBy;
use crate::provision::pull::Line;
use crate::scim::fold::fold;
use crate::store::accounts::Listed;

/// The lines that a message lists.
const LISTED_MAX: usize = 20;

/// The bytes of a key that are kept. By chance, two people of a file with five million rows share them
/// once in 10^25 files.
const KEY_BYTES: usize = 16;

type Key = [u8; KEY_BYTES];

/// Everybody in a file, in twenty bytes each.
#[derive(Debug, Default)]
pub struct Survey {
    keys: Vec<(Key, u32)>,
    /// The user names, where people are matched by something else.
    names: Option<Vec<Key>>,
    /// The lines of people who are in the file more than once.
    duplicates: BTreeMap<Key, Vec<u32>>,
    /// The rows that do not say whom they are about.
    unknown: Vec<i64>,
    rows: i64,
    refused: i64,
    /// Why the first row that cannot be used cannot.
    reason: Option<String>,
}

fn key_of(text: &str) -> Key {
    let mut key = Key::default();
    key.iter_mut()
        .zip(digest(&SHA256, text.as_bytes()).as_ref())
        .for_each(|(to, from)| *to = *from);
    key
}

impl Survey {
    /// Nobody yet.
    #[must_use]
    pub fn new(match_by: MatchBy) -> Self {
        let names = (match_by != MatchBy::UserName).then(Vec::new);
        Self { names, ..Self::default() }
    }

    /// Takes note of a line.
    pub fn note(&mut self, line: &Line) {
        self.rows += 1;
        let (at, key, name) = match line {
            Line::Entry(entry) => (entry.line, Some(entry.key.as_str()), &entry.name),
            Line::Refused { line, key, reason, name } => {
                self.refused += 1;
                if self.reason.is_none() {
                    self.reason = Some(format!("line {line}: {reason}"));
                }
                (*line, key.as_deref(), name)
            }
        };
        if let Some(names) = &mut self.names {
            names.push(key_of(&fold(name)));
        }
        match key {
            Some(key) => self.keys.push((key_of(key), u32::try_from(at).unwrap_or(u32::MAX))),
            None => self.unknown.push(at),
        }
    }

    /// Ends the reading; stops if the file cannot be believed.
    pub fn close(&mut self) -> Result<(), Stop> {
        if self.refused * 2 > self.rows {
            let reason = self.reason.take().unwrap_or_default();
            return Err(Stop::because(format!(
                "{} of {} rows cannot be used, so this is hardly the file that was meant; the first \
                 reason is: {reason}",
                self.refused, self.rows
            )));
        }
        self.keys.sort_unstable();
        if let Some(names) = &mut self.names {
            names.sort_unstable();
        }
        for same in self.keys.chunk_by(|(one, _), (other, _)| one == other) {
            if let [(key, _), _, ..] = same {
                self.duplicates.insert(*key, same.iter().map(|(_, line)| *line).collect());
            }
        }
        Ok(())
    }

    /// Whether somebody is in the file, by what people are matched by, or at least by the user name: who is
    /// on a row that cannot be applied is not missing.
    #[must_use]
    pub fn has(&self, listed: &Listed, key: Option<&str>) -> bool {
        let matched = key.is_some_and(|key| {
            let key = key_of(key);
            self.keys.binary_search_by(|(other, _)| other.cmp(&key)).is_ok()
        });
        let named = |names: &Vec<Key>| names.binary_search(&key_of(&listed.user_name_key)).is_ok();
        matched || self.names.as_ref().is_some_and(named)
    }

    /// Whether the file says of every row whom it is about; otherwise nobody can be missing from it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unknown.is_empty()
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// A line, refused if the person is on others too: nobody knows which of them is right.
    #[must_use]
    pub fn checked(&self, line: Line) -> Line {
        let Line::Entry(entry) = line else { return line };
        match self.duplicates.get(&key_of(&entry.key)) {
            None => Line::Entry(entry),
            Some(lines) => Line::Refused {
                line: entry.line,
                name: entry.name,
                key: Some(entry.key),
                reason: format!(
                    "the person is on the lines {}: all of them are left out until one is left",
                    listed(lines)
                ),
            },
        }
    }

    /// What an administrator should know.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.unknown.is_empty() {
            notes.push(format!(
                "the rows on the lines {} do not say whom they are about, so nobody is taken to be \
                 missing from the file",
                listed(&self.unknown)
            ));
        }
        if !self.duplicates.is_empty() {
            notes.push(format!("{} people are in the file more than once", self.duplicates.len()));
        }
        notes
    }
}

fn listed<T: ToString>(lines: &[T]) -> String {
    let listed: Vec<String> = lines.iter().take(LISTED_MAX).map(ToString::to_string).collect();
    let more = if lines.len() > listed.len() { ", …" } else { "" };
    listed.join(", ") + more
}
