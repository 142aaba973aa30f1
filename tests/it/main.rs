//! Everything that is tested from outside: through HTTP, through the command line, on both databases.
//!
//! SQLite needs nothing. PostgreSQL is used when `TEST_POSTGRES_URL` names a database, as
//! `make test` does; `TEST_POSTGRES_REQUIRED` makes its absence a failure.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

mod cli;
mod cost;
mod durability;
mod judges;
mod keys;
mod layers;
mod narrowing;
mod store;
mod users;
mod vectors;
