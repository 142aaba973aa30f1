//! Everything that is tested from outside: through HTTP, through the command line, on both databases.
//!
//! SQLite needs nothing. PostgreSQL is used when `TEST_POSTGRES_URL` names a database, as
//! `make test` does; `TEST_POSTGRES_REQUIRED` makes its absence a failure.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

mod age_out;
mod audit;
mod bad_input;
mod bad_requests;
mod bulk;
mod cli;
mod contract;
mod cost;
mod crowd;
mod csv;
mod csv_batch;
mod durability;
mod fair;
mod feed;
mod filters;
mod fuzz;
mod group_commit;
mod guard;
mod hand;
mod judges;
mod keys;
mod large_groups;
mod layers;
mod licence;
mod load;
mod long_history;
mod loopholes;
mod managers;
mod mapping;
mod migration;
mod narrowing;
mod openapi;
mod ownership;
mod pages;
mod policies;
mod profiles;
mod protocol_page;
mod pull_api;
mod pull_remote;
mod questions;
mod recreate;
mod replicas;
mod requests;
mod retention;
mod rules;
mod rules_cost;
mod schemas;
mod scope;
mod standby;
mod statements;
mod store;
mod trail;
mod undo;
mod users;
mod vectors;
mod versions;
