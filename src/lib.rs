//! scimd is a SCIM 2.0 provisioning server for an intranet's people directory.
//!
//! Identity providers push users and groups to `/scim/v2`; scimd applies fixed provisioning rules to
//! the directory that it keeps in SQLite or PostgreSQL.
//!
//! # The house
//!
//! | module | is | may name |
//! |---|---|---|
//! | [`scim`] | the protocol | nothing of scimd |
//! | [`directory`] | people, groups and the rules for them | nothing of scimd |
//! | [`clock`] | where time and ids come from | `directory` |
//! | [`store`] | SQL for both databases | `scim`, `directory` |
//! | [`keys`] | API keys | `store` and below |
//! | [`provision`] | use cases: facts, rules, result and audit row in one transaction | `store` and below |
//! | [`pull`] | sources: people fetched on a schedule | `provision`, `keys` and below |
//! | [`http`], [`cli`] | front doors: parse, call, print | all below, not each other |
//!
//! # Invariants
//!
//! - Every front door goes through the same rules in [`directory::rules`].
//! - No query on owned rows without an [`directory::InstanceId`].
//! - No row of an instance changes without its audit row in the same transaction.
//! - Nothing sends mail to people: there is no mail path in the process.
//! - Time comes from a [`clock::Clock`], ids from [`clock::Ids`].
//! - Everything has a limit: body, page, filter, operations, scan, batch.

pub mod cli;
pub mod clock;
pub mod directory;
pub mod http;
pub mod keys;
pub mod provision;
pub mod pull;
pub mod scim;
pub mod store;
