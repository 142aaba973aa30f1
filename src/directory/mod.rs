//! People, their groups and the rules for both.
//!
//! Types and decisions only: nothing here reads a clock, a socket or a database, so every rule is a
//! function of its arguments and is tested as one.

pub mod account;
pub mod alias;
pub mod approval;
pub mod chain;
pub mod connection;
pub mod entering;
pub mod group;
pub mod guard;
pub mod hand;
pub mod ids;
pub mod licence;
pub mod mapping;
pub mod migration;
pub mod push_guard;
pub mod retention;
pub mod rules;
pub mod schedule;
pub mod source;
pub mod time;
pub mod undo;
pub mod why;

pub use account::{Account, Hand, HandWord, ManagerLink, Status, StatusReason, Waiting};
pub use alias::{ALIASES_MAX, Alias};
pub use approval::{Approval, ApprovalState};
pub use connection::{
    Connection, ConnectionKind, ConnectionSettings, ConnectionStatus, Entering, Incomplete, PickUp,
    Profile, Recreate, Scope,
};
pub use group::{Group, MemberKind};
pub use guard::Guard;
pub use ids::{
    AccountId, ApprovalId, ConnectionId, GroupId, InstanceId, KeyId, MemberId, RunId, TenantId,
};
pub use licence::{Licence, SeatPolicy};
pub use mapping::Mapping;
pub use push_guard::{LossKind, Losses, PushGuard};
pub use retention::{DeleteAfter, RequestDays, Retention};
pub use schedule::{Rhythm, Schedule, ScheduleError, Window};
pub use source::{LastPull, Pull, SourceSettings};
pub use time::Timestamp;
