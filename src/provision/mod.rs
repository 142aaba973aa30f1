//! The use cases: read the facts, ask the rules, keep the result and its audit row in one transaction.
//!
//! Push, pull, UI and CLI all come through here. A use case takes what its caller may see from a
//! [`Caller`], which only an authenticated request or a configured job can make.

mod age_out;
mod aliases;
pub mod approvals;
mod claims;
pub mod documents;
mod entering;
mod erase;
pub mod feed;
mod fields;
mod groups;
pub mod guard;
mod hand;
mod licence;
mod list;
mod local;
pub mod lookups;
mod manager;
pub mod mapping;
mod members;
pub mod migration;
mod nesting;
mod org;
mod parted;
mod profile;
mod protection;
pub mod pull;
pub mod reader;
mod recreate;
mod render;
pub mod report;
pub mod requests;
mod required;
mod resource;
mod retention;
mod runs;
pub mod schemas;
mod scope;
pub mod settings;
pub mod setup;
pub mod sources;
mod standing;
pub mod trail;
pub mod undo;
mod users;
mod why;

use std::sync::Arc;

use crate::clock::{Clock, Ids};
use crate::directory::{
    Connection, ConnectionId, ConnectionKind, ConnectionSettings, ConnectionStatus, InstanceId,
    KeyId, Losses, PickUp, Profile, Timestamp,
};
use crate::scim::habits::Habits;
use crate::scim::project::Projection;
use crate::scim::schema::ResourceType;
use crate::scim::schemas::Schemas;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::Author;
use crate::store::query::Viewer;
use crate::store::{Store, StoreError, accounts};
use uuid::Uuid;

pub use approvals::Decision;
pub use entering::{Preview, Previewed};
pub use erase::Erased;
pub use groups::{Groups, SentGroup};
pub use hand::{CHOSEN_MAX, Done, REHEARSED_MAX};
pub use licence::{LicenceState, Limit, SEATS_MAX};
pub use list::{SCAN_ROWS_MAX, Sought};
pub use members::ANSWERED_MEMBERS_MAX;
pub use nesting::{Effective, EffectiveMember};
pub use org::REPORTS_PAGE_MAX;
pub use parted::{HELD_MEMBERS_MAX, Parted, Related, Sheet};
pub use profile::habits;
pub use resource::Resource;
pub use retention::Purged;
pub use runs::Step;
pub use scope::{SYNC_GROUPS_MAX, ScopePreview};
pub use users::Users;
pub use why::{By, Cause, LastWord, Why};

/// How often a transaction is tried before contention becomes an error.
const ATTEMPTS_MAX: u32 = 8;

/// How long a client of a paused connection is told to wait.
const PAUSED_RETRY_AFTER_S: u32 = 300;

/// The use cases on one database.
#[derive(Debug, Clone)]
pub struct Provision {
    /// The database.
    pub store: Store,
    /// Where time comes from.
    pub clock: Clock,
    /// Where ids come from.
    pub ids: Ids,
    remembered: schemas::Remembered,
}

/// Who calls: a connection of an instance, by one of its keys.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The instance: no query on owned rows is made without it.
    pub instance: InstanceId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its name, for the audit trail.
    pub connection_name: String,
    /// The name of its directory.
    pub directory_key: String,
    /// What it is connected to.
    pub kind: ConnectionKind,
    /// Whether it may write.
    pub status: ConnectionStatus,
    /// Whose habits it follows.
    pub profile: Profile,
    /// What the connection brings into the directory, and how.
    pub settings: ConnectionSettings,
    /// How the client is treated, as its profile says or as it was recognised.
    pub habits: Habits,
    /// The schemas of the instance.
    pub schemas: Arc<Schemas>,
    /// The key that was used.
    pub key: KeyId,
    /// The program that the request came from, as it calls itself.
    pub client: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The losses that its request may lead to altogether, if it is one of many requests in one.
    pub ahead: Losses,
    /// The absolute address of `/scim/v2` as the caller knows it, for links in answers.
    pub base: String,
}

/// Which resources a query wants, and what of them.
#[derive(Debug, Clone)]
pub struct Query {
    /// The filter, as written.
    pub filter: Option<String>,
    /// The attribute to sort by, as written; without it, resources come in the order of creation.
    pub sort_by: Option<String>,
    /// Whether the order is turned round.
    pub descending: bool,
    /// Which page.
    pub window: Window,
    /// The attributes to show, as written.
    pub attributes: Option<String>,
    /// The attributes not to show, as written.
    pub excluded_attributes: Option<String>,
}

/// A page of a query.
#[derive(Debug, Clone)]
pub enum Window {
    /// By the place of its first resource (RFC 7644 §3.4.2.4).
    Index {
        /// That place, from 1.
        start: u64,
        /// The resources on the page at most.
        count: u64,
    },
    /// By a cursor (RFC 9865).
    Cursor {
        /// The cursor of the page before; empty for the first page.
        cursor: String,
        /// The resources on the page at most.
        count: u64,
    },
}

impl Query {
    /// What of each resource of a type the client wants.
    #[must_use]
    pub fn projection(&self, kind: &ResourceType) -> Projection {
        Projection::read(kind, self.attributes.as_deref(), self.excluded_attributes.as_deref())
    }
}

/// A page of resources.
#[derive(Debug, Clone)]
pub struct Listed {
    /// How many the query selects altogether.
    pub total: u64,
    /// The place of the first resource on the page, from 1; `None` if the page was found by a cursor.
    pub start_index: Option<u64>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
    /// The resources of the page.
    pub resources: Vec<Sheet>,
}

/// A resource as its client reads it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub id: Uuid,
    /// Its entity tag.
    pub tag: String,
    /// What the client asked for of it; `None` if a change of it is acknowledged without showing it.
    pub sheet: Option<Sheet>,
}

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked for something that cannot be.
    #[error(transparent)]
    Refused(#[from] ScimError),
    /// There is no free seat, and the policy of the licence is to stop.
    #[error(transparent)]
    NoSeat(ScimError),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a use case gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Does a unit of work in a transaction and commits it; does it again from the start when the
/// database could not order it among others.
///
/// A unit of work that may give or free a seat names its instance: if somebody else is counting the seats
/// just then, it is done again from the start, behind him.
macro_rules! transact {
    ($store:expr, |$tx:ident| $work:expr) => {
        transact!($store, None::<$crate::directory::InstanceId>, |$tx| $work)
    };
    ($store:expr, $instance:expr, |$tx:ident| $work:expr) => {
        transact!(begin, $store, $instance, |$tx| $work)
    };
    ($begin:ident, $store:expr, $instance:expr, |$tx:ident| $work:expr) => {{
        let (mut attempt, mut seats_first) = (1, false);
        loop {
            let mut $tx = $store.$begin().await?;
            if let Some(instance) = $instance.filter(|_| seats_first) {
                $crate::store::licences::wait(&mut $tx, instance).await?;
            }
            let done: $crate::provision::Result<_> = match $work {
                Ok(done) => $tx.commit().await.map(|()| done).map_err(Into::into),
                Err(error) => {
                    $tx.rollback().await;
                    Err(error)
                }
            };
            match done {
                Err($crate::provision::Error::Store(
                    $crate::store::StoreError::Contention(_) | $crate::store::StoreError::Stale,
                )) if attempt < $crate::provision::ATTEMPTS_MAX => {
                    attempt += 1;
                }
                Err($crate::provision::Error::Store($crate::store::StoreError::SeatsBusy))
                    if attempt < $crate::provision::ATTEMPTS_MAX =>
                {
                    (attempt, seats_first) = (attempt + 1, true);
                }
                done => break done,
            }
        }
    }};
}
use transact;

impl Provision {
    /// The use cases on a database.
    #[must_use]
    pub fn new(store: Store, clock: Clock, ids: Ids) -> Self {
        Self { store, clock, ids, remembered: schemas::Remembered::default() }
    }

    /// Tells the database to count again if much has come since it last did; whether it had to be told.
    ///
    /// PostgreSQL looks by itself only once a minute, and plans until then for the tables that it knows: in the first
    /// minute of an import it would read all people for each page of members.
    pub async fn learn(&self) -> Result<bool> {
        let mut tx = self.store.read().await?;
        let outgrown = accounts::has_outgrown_plans(&mut tx).await?;
        if outgrown {
            accounts::learn(&mut tx).await?;
        }
        Ok(outgrown)
    }
}

impl Caller {
    /// A connection that does something by itself, without a request.
    fn of(connection: Connection, schemas: Schemas) -> Self {
        Self {
            instance: connection.instance,
            connection: connection.id,
            connection_name: connection.name,
            directory_key: connection.directory_key,
            kind: connection.kind,
            status: connection.status,
            profile: connection.profile,
            settings: connection.settings,
            habits: habits(connection.profile),
            schemas: Arc::new(schemas),
            key: KeyId(Uuid::nil()),
            client: None,
            request_id: None,
            ahead: Losses::default(),
            base: String::new(),
        }
    }

    /// What the connection can see.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        match self.settings.pick_up {
            PickUp::ByUserName => Viewer::Connection(self.connection),
            PickUp::WithApproval => Viewer::Asking(self.connection),
            PickUp::Never => Viewer::Own(self.connection),
        }
    }

    /// The author of what the connection does now.
    #[must_use]
    pub fn author(&self, at: Timestamp, ids: Ids) -> Author {
        Author {
            name: self.connection_name.clone(),
            client: self.client.clone(),
            connection: Some(self.connection),
            key: Some(self.key),
            request_id: self.request_id.clone(),
            run: None,
            rule: None,
            at,
            ids,
        }
    }

    /// Refuses a write by a request of a connection that may only read, now or ever: people of a
    /// connection that is pulled come from its source alone.
    fn require_pushing(&self) -> Result<()> {
        if self.kind == ConnectionKind::Csv {
            let detail = format!(
                "the connection \"{}\" is pulled: nothing can be written with its keys but its file, \
                 with PUT /pull/v1/document; to push, create a connection of another kind",
                self.connection_name
            );
            return Err(ScimError::new(ErrorKind::Forbidden, detail).into());
        }
        self.require_enabled()
    }

    /// Refuses a write of a connection that may only read.
    fn require_enabled(&self) -> Result<()> {
        let (kind, detail) = match self.status {
            ConnectionStatus::Enabled => return Ok(()),
            ConnectionStatus::Draft => (
                ErrorKind::Forbidden,
                format!(
                    "the connection \"{}\" is a draft: it can be read and tested, and takes changes \
                     once an administrator has enabled it",
                    self.connection_name
                ),
            ),
            ConnectionStatus::Paused => (
                ErrorKind::TooManyRequests { retry_after_s: PAUSED_RETRY_AFTER_S },
                format!(
                    "the connection \"{}\" is paused by an administrator: send the change again \
                     later",
                    self.connection_name
                ),
            ),
        };
        Err(ScimError::new(kind, detail).into())
    }
}

/// The refusal of an id that does not exist, or not for this caller.
fn not_found(kind: &str, id: &str) -> Error {
    // An id of a client can be anything; what is repeated of it is cut.
    let id: String = id.chars().take(64).collect();
    ScimError::new(ErrorKind::NotFound, format!("there is no {kind} with the id \"{id}\"")).into()
}

/// The refusal of a name that another resource of the instance holds.
fn taken(attribute: &str, value: &str, owner: &str) -> Error {
    let detail = format!("{attribute} \"{value}\" belongs to another {owner} of this instance");
    ScimError::new(ErrorKind::Uniqueness, detail).into()
}

/// A database conflict on a name becomes the protocol's uniqueness error.
fn conflict_on(error: StoreError, attribute: &str, value: &str, owner: &str) -> Error {
    match error {
        StoreError::Conflict => taken(attribute, value, owner),
        other => other.into(),
    }
}
