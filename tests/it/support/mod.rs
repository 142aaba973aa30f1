//! What tests stand on: databases, clients, a server.

pub(crate) mod client;
pub(crate) mod csv;
pub(crate) mod database;
pub(crate) mod dice;
pub(crate) mod history;
pub(crate) mod https;
pub(crate) mod instance;
pub(crate) mod mentions;
pub(crate) mod mirror;
pub(crate) mod people;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod replicas;
pub(crate) mod rules;
pub(crate) mod scene;
pub(crate) mod statements;

pub(crate) use client::{Answer, Client, assert_refused};
pub(crate) use database::{Database, both};
pub(crate) use instance::{TestInstance, TestServer};
pub(crate) use people::{CORE, ENTERPRISE, GROUP, PATCH_OP, assert_gone, person, team};
pub(crate) use scene::{Scene, assert_sane, raw, request};
pub(crate) use statements::Recorder;
