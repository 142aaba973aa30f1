//! Sources: where a connection is pulled from, and what of it means what.

use serde::{Deserialize, Serialize};

use super::connection::words;
use super::guard::{Guard, Leaving};

/// What separates the groups in one cell, unless somebody says otherwise.
pub const GROUP_SEPARATOR: &str = ";";

/// Where a connection is pulled from, and how what is there is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSettings {
    /// Where the file is.
    pub place: Place,
    /// The encoding, if it is not guessed.
    pub encoding: Option<String>,
    /// The separator of the fields, if it is not guessed.
    pub separator: Option<String>,
    /// What the columns mean, by their names in the header; those that are not named are guessed.
    pub columns: Vec<Column>,
    /// By what a row is matched with an account.
    pub match_by: MatchBy,
    /// What separates the groups in one cell.
    pub group_separator: String,
    /// What it means that somebody is not in the file.
    pub mode: Mode,
    /// Whether people are given a password with the account.
    pub passwords: Passwords,
    /// How many people may lose their access in one run.
    pub guard: Guard,
}

impl SourceSettings {
    /// The settings that a source begins with: everything is guessed, and the file has everybody.
    #[must_use]
    pub fn of(place: Place) -> Self {
        Self {
            place,
            encoding: None,
            separator: None,
            columns: Vec::new(),
            match_by: MatchBy::UserName,
            group_separator: GROUP_SEPARATOR.to_owned(),
            mode: Mode::Snapshot,
            passwords: Passwords::SsoOnly,
            guard: Guard::default(),
        }
    }
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Place {
    /// At an https address.
    Remote {
        /// The address.
        url: String,
        /// The user who may read it.
        user: Option<String>,
    },
    /// In the folder that the operator has set aside for such files.
    Folder {
        /// The path within that folder.
        path: String,
    },
    /// Among the uploaded documents of the instance.
    Document {
        /// Its name.
        name: String,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // What stands behind a question mark may be a token.
            Self::Remote { url, .. } => f.write_str(url.split('?').next().unwrap_or_default()),
            Self::Folder { path } => write!(f, "file {path}"),
            Self::Document { name } => write!(f, "document {name}"),
        }
    }
}

/// What a column means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the header, in any case.
    pub name: String,
    /// `groups`, `action`, `password`, `ignore`, or the path of an attribute of a User.
    pub meaning: String,
}

words! {
    /// By what a row is matched with an account.
    MatchBy {
        /// The user name.
        UserName = "user_name",
        /// The source's own name for the person, so that user names can change.
        ExternalId = "external_id",
    }
}

words! {
    /// What it means that somebody is not in a file.
    Mode {
        /// The file has everybody: who is not in it is suspended.
        Snapshot = "snapshot",
        /// The file has what changed: a column says what happens to each.
        Delta = "delta",
    }
}

words! {
    /// Whether people are given a password with their account.
    Passwords {
        /// They sign in with single sign-on; a password in the file is not looked at.
        SsoOnly = "sso_only",
        /// Everybody new has one, of his own or the default one.
        Required = "required",
    }
}

words! {
    /// How far a pull is.
    #[derive(Default)]
    Stage {
        /// Nobody has taken it up yet.
        #[default]
        Waiting = "waiting",
        /// The file is being fetched.
        Fetching = "fetching",
        /// The file is being read, and nothing changed.
        Checking = "checking",
        /// Rows are being applied.
        Applying = "applying",
        /// Who is missing from the file is being suspended.
        Suspending = "suspending",
    }
}

/// What a pull has come to so far, and what it has to remember to be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pull {
    /// Whether everything is taken back.
    pub dry: bool,
    /// How far it is.
    pub stage: Stage,
    /// The SHA-256 of the file, in hexadecimal.
    pub checksum: Option<String>,
    /// The revision of the settings with which it is read.
    pub revision: i64,
    /// The bytes of the file.
    pub bytes: i64,
    /// The rows of the file, once they have been counted.
    pub rows: i64,
    /// The rows that are done.
    pub done: i64,
    /// What came of them.
    pub counts: Counts,
    /// The seats that a dry run would have taken so far, less those that it would have freed.
    pub seats: i64,
    /// The people who have lost their access so far.
    pub left: i64,
    /// Who would lose his access, and among how many.
    pub leaving: Leaving,
    /// How many an administrator has agreed to, for the file of this checksum.
    pub approved: Option<i64>,
    /// Why it stopped or is held.
    pub reason: Option<String>,
    /// What an administrator should know about the file.
    pub notes: Vec<String>,
}

words! {
    /// What a pull did with a person.
    Outcome {
        /// The account is new.
        Created = "created",
        /// Something of the account changed.
        Updated = "updated",
        /// A Local account is the connection's from now on.
        PickedUp = "picked_up",
        /// An administrator has to agree before the Local account is picked up.
        Asked = "asked",
        /// The person may no longer enter.
        Suspended = "suspended",
        /// The person may enter again.
        Reactivated = "reactivated",
        /// There was no seat for the person.
        Blocked = "blocked",
        /// The account was deleted.
        Deleted = "deleted",
        /// The row was left out, with the reason.
        Skipped = "skipped",
    }
}

/// How many people had each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is the count of the outcome of its name")]
pub struct Counts {
    pub created: i64,
    pub updated: i64,
    pub picked_up: i64,
    pub asked: i64,
    pub suspended: i64,
    pub reactivated: i64,
    pub blocked: i64,
    pub deleted: i64,
    pub skipped: i64,
    /// The rows that said nothing new.
    pub unchanged: i64,
}

impl Counts {
    /// Counts one more outcome.
    pub fn add(&mut self, outcome: Outcome) {
        *self.of(outcome) += 1;
    }

    /// How many lines the report has.
    #[must_use]
    pub fn items(mut self) -> i64 {
        Outcome::ALL.iter().map(|outcome| *self.of(*outcome)).sum()
    }

    /// How many people it changed.
    #[must_use]
    pub fn changed(self) -> i64 {
        self.items() - self.skipped
    }

    fn of(&mut self, outcome: Outcome) -> &mut i64 {
        match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Updated => &mut self.updated,
            Outcome::PickedUp => &mut self.picked_up,
            Outcome::Asked => &mut self.asked,
            Outcome::Suspended => &mut self.suspended,
            Outcome::Reactivated => &mut self.reactivated,
            Outcome::Blocked => &mut self.blocked,
            Outcome::Deleted => &mut self.deleted,
            Outcome::Skipped => &mut self.skipped,
        }
    }
}

/// What the last complete run found: what the next one is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LastPull {
    /// The tag that the server gave the file.
    pub etag: Option<String>,
    /// When the server says that the file was changed.
    pub last_modified: Option<String>,
    /// The SHA-256 of the file, in hexadecimal.
    pub checksum: String,
    /// The revision of the settings with which it was read.
    pub revision: i64,
    /// The names of the columns.
    pub header: Vec<String>,
    /// The encoding and the separator.
    pub encoding: String,
    /// The same, of the fields.
    pub separator: String,
    /// Whether the last row ends with a line break.
    pub ends_a_line: bool,
    /// Whether nothing was left out, so that the same file has nothing new to say.
    pub is_settled: bool,
}
