//! Pull: people and groups are fetched from where they are kept, on a schedule or on demand.
//!
//! A source only fetches and reads; who may enter, what is suspended and what is written is decided by
//! the same use cases that a push goes through.

pub mod columns;
pub mod engine;
pub mod format;
pub mod people;
pub mod remote;
pub mod source;
pub mod survey;
