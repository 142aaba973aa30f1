//! Moving people from one directory to another: what the lines of a file mean.
//!
//! A line says who is meant, what she is called from now on, and to which directory she belongs. Here it
//! is decided what each line comes to, and in which order names change hands; nothing is read and nothing
//! is written.

mod plan;

use std::collections::BTreeMap;

use serde::Serialize;

use super::connection::words;
use super::{AccountId, Connection, ConnectionId};

pub use plan::{Facts, Person, Plan, Step, Wish, plan};

/// The word for no directory: the account belongs to no connection.
pub const LOCAL: &str = "Local";

/// The accounts that can hand their names on in one circle: they change in one transaction.
pub const CIRCLE_MAX: usize = 1_000;

/// From which likeness on, of 1 at most, the name of a directory is taken for a misspelling of another.
const ALIKE: f64 = 0.85;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line of the file on which it begins, from 1.
    pub line: i64,
    /// The user name that the account has.
    pub existing: String,
    /// The user name that it gets; nothing if it keeps its own.
    pub new: Option<String>,
    /// The directory that it gets, as it is written; nothing if it stays where it is.
    pub target: Option<String>,
    /// Why the line cannot be used at all.
    pub bad: Option<String>,
}

/// Where an account belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Where it is.
    Stays,
    /// To no connection.
    Local,
    /// To a connection.
    Connection(ConnectionId),
}

impl Target {
    /// The connection that an account has then which has this one now.
    #[must_use]
    pub fn of(self, now: Option<ConnectionId>) -> Option<ConnectionId> {
        match self {
            Self::Stays => now,
            Self::Local => None,
            Self::Connection(id) => Some(id),
        }
    }
}

words! {
    /// What a line comes to.
    Move {
        /// The account gets another name.
        Renamed = "renamed",
        /// The account belongs to another directory.
        Assigned = "assigned",
        /// Both.
        RenamedAndAssigned = "renamed and assigned",
        /// It is so already.
        Unchanged = "unchanged",
        /// It cannot be done.
        Error = "error",
    }
}

/// What a line would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The line of the file, from 1.
    pub line: i64,
    /// The user name that the account has, as the file has it.
    pub existing_username: String,
    /// The user name that it gets.
    pub new_username: String,
    /// The directory key of where it belongs then, or [`LOCAL`]; what is written, if that is unknown.
    pub target_directory: String,
    /// What happens.
    pub outcome: Move,
    /// Why it cannot be done.
    pub reason: Option<String>,
    /// The account.
    pub account: Option<AccountId>,
}

/// A name of a directory that is close to one that there is, and has to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// The name as it is written.
    pub written: String,
    /// The directory key of what is probably meant, or [`LOCAL`].
    pub meant: String,
    /// The name of that connection.
    pub name: String,
    /// How many lines have it.
    pub lines: usize,
}

/// What a name of a directory means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// This.
    Exactly(Target),
    /// Probably this.
    Probably {
        /// Where that is.
        target: Target,
        /// Its directory key, or [`LOCAL`].
        meant: String,
        /// Its name.
        name: String,
    },
    /// Nothing that there is.
    Nothing,
}

/// The directories of an instance, and what an administrator has confirmed.
#[derive(Debug)]
pub struct Directories<'c> {
    connections: &'c [Connection],
    confirmed: BTreeMap<String, Target>,
}

impl<'c> Directories<'c> {
    /// The directories of these connections.
    #[must_use]
    pub fn of(connections: &'c [Connection]) -> Self {
        Self { connections, confirmed: BTreeMap::new() }
    }

    /// Takes a name that is written for a directory that there is; `false` if there is none of that name.
    pub fn confirm(&mut self, written: &str, meant: &str) -> bool {
        let Some(target) = self.exactly(meant) else { return false };
        self.confirmed.insert(key(written), target);
        true
    }

    /// The directory of exactly this name, directory key or id, without regard to case.
    fn exactly(&self, written: &str) -> Option<Target> {
        let key_of = key(written);
        if key_of == key(LOCAL) {
            return Some(Target::Local);
        }
        let of_key =
            |one: &&Connection| key(&one.directory_key) == key_of || one.id.to_string() == key_of;
        let of_name = |one: &&Connection| key(&one.name) == key_of;
        let connections = self.connections;
        let found = connections.iter().find(of_key);
        let found = found.or_else(|| connections.iter().find(of_name));
        found.map(|one| Target::Connection(one.id))
    }

    /// What a name means. Only what has the name, or was confirmed, is meant for sure.
    #[must_use]
    pub fn meaning(&self, written: &str) -> Meaning {
        let confirmed = self.confirmed.get(&key(written)).copied();
        if let Some(target) = confirmed.or_else(|| self.exactly(written)) {
            return Meaning::Exactly(target);
        }
        let local = (LOCAL, LOCAL, LOCAL, Target::Local);
        let known = self.connections.iter().flat_map(|one| {
            let (name, key) = (one.name.as_str(), one.directory_key.as_str());
            let target = Target::Connection(one.id);
            [(name, key, name, target), (key, key, name, target)]
        });
        let bare_written = bare(written);
        let scored = known.chain([local]).map(|(candidate, meant, name, target)| {
            (strsim::jaro_winkler(&bare_written, &bare(candidate)), meant, name, target)
        });
        let best = scored.max_by(|one, other| one.0.total_cmp(&other.0));
        match best.filter(|(score, ..)| *score >= ALIKE && !bare_written.is_empty()) {
            Some((_, meant, name, target)) => {
                Meaning::Probably { target, meant: meant.to_owned(), name: name.to_owned() }
            }
            None => Meaning::Nothing,
        }
    }

    /// How a file names where an account belongs.
    #[must_use]
    pub fn named(&self, owner: Option<ConnectionId>) -> String {
        let Some(id) = owner else { return LOCAL.to_owned() };
        let found = self.connections.iter().find(|one| one.id == id);
        found.map_or_else(|| id.to_string(), |one| one.directory_key.clone())
    }
}

fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// A name without what people leave out or put in.
fn bare(name: &str) -> String {
    let kept = |c: &char| !c.is_whitespace() && !matches!(c, '-' | '_' | '.');
    key(name).chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{ConnectionKind, ConnectionStatus, InstanceId, Timestamp};
    use uuid::Uuid;

    fn connection(n: u128, kind: ConnectionKind, name: &str, key: &str) -> Connection {
        Connection {
            id: ConnectionId(Uuid::from_u128(n)),
            instance: InstanceId(Uuid::nil()),
            kind,
            name: name.to_owned(),
            directory_key: key.to_owned(),
            status: ConnectionStatus::Enabled,
            profile: kind.profile(),
            settings: kind.settings(),
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn a_directory_is_named_or_proposed_or_unknown() {
        let connections = [
            connection(1, ConnectionKind::Okta, "Okta", "okta-11aa"),
            connection(2, ConnectionKind::Entra, "Entra Prod", "entra-22bb"),
        ];
        let mut known = Directories::of(&connections);
        let id = |n| Meaning::Exactly(Target::Connection(ConnectionId(Uuid::from_u128(n))));
        let entra = connections.last().map(|one| Target::Connection(one.id));
        let likely = |meant: &str, name: &str| Meaning::Probably {
            target: match meant {
                LOCAL => Target::Local,
                "okta-11aa" => Target::Connection(ConnectionId(Uuid::from_u128(1))),
                _ => entra.unwrap_or(Target::Stays),
            },
            meant: meant.to_owned(),
            name: name.to_owned(),
        };
        let cases = [
            ("okta", id(1)),
            (" OKTA-11AA ", id(1)),
            ("Entra prod", id(2)),
            ("00000000-0000-0000-0000-000000000002", id(2)),
            ("local", Meaning::Exactly(Target::Local)),
            ("entra-prod", likely("entra-22bb", "Entra Prod")),
            ("EntraProd", likely("entra-22bb", "Entra Prod")),
            ("Entra Production", likely("entra-22bb", "Entra Prod")),
            ("Otka", likely("okta-11aa", "Okta")),
            ("Lokal", likely(LOCAL, LOCAL)),
            ("SAP", Meaning::Nothing),
            ("-", Meaning::Nothing),
        ];
        for (written, meaning) in cases {
            assert_eq!(known.meaning(written), meaning, "{written}");
        }
        assert!(!known.confirm("SAP", "entra-prod"), "what is only alike confirms nothing");
        assert!(known.confirm("SAP", "Entra Prod") && known.confirm("entra-prod", "Okta"));
        assert_eq!(known.meaning("sap"), id(2));
        assert_eq!(known.meaning("Entra-Prod"), id(1));
        assert_eq!(known.named(None), LOCAL);
        assert_eq!(known.named(connections.first().map(|one| one.id)), "okta-11aa");
    }
}
