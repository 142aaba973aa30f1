//! Floors: what the same machine does without scimd, so that figures can be compared elsewhere.

pub(crate) mod database;
pub(crate) mod http;
mod link;
mod statements;
