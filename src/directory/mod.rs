//! People, their groups and the rules for both.
//!
//! Types and decisions only: nothing here reads a clock, a socket or a database, so every rule is a
//! function of its arguments and is tested as one.

pub mod account;
pub mod connection;
pub mod group;
pub mod hand;
pub mod ids;
pub mod licence;
pub mod mapping;
pub mod rules;
pub mod time;
pub mod why;

pub use account::{Account, Hand, HandWord, ManagerLink, Status, StatusReason, Waiting};
pub use connection::{
    Connection, ConnectionKind, ConnectionSettings, ConnectionStatus, Entering, Incomplete, PickUp,
    Profile, Scope,
};
pub use group::{Group, MemberKind};
pub use ids::{AccountId, ConnectionId, GroupId, InstanceId, KeyId, MemberId, RunId, TenantId};
pub use licence::{Licence, SeatPolicy};
pub use mapping::Mapping;
pub use time::Timestamp;
