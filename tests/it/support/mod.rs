//! What tests stand on: databases, clients, a server.

pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod instance;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod statements;

pub(crate) use client::{Answer, Client, assert_refused};
pub(crate) use database::{Database, both};
pub(crate) use instance::{TestInstance, TestServer};
