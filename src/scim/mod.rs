//! The protocol: SCIM 2.0 as data and pure functions (RFC 7643, RFC 7644).
//!
//! Schemas, resources, filters, PATCH, projection, messages and errors. Nothing here reads a clock,
//! a socket or a database, and nothing knows what the directory does with a resource: the same
//! functions serve every resource type, driven by its [`schema::ResourceType`].

pub mod bulk;
pub mod definition;
pub mod discovery;
pub mod error;
pub mod extension;
pub mod filter;
pub mod fold;
pub mod grammar;
pub mod habits;
pub mod mask;
pub mod message;
pub mod openapi;
pub mod patch;
pub mod project;
pub mod resource;
pub mod schema;
pub mod schemas;
pub mod sort;
pub mod strict;
pub mod values;
pub mod version;

pub use error::{ErrorKind, ScimError};

/// A SCIM resource as JSON, with attribute names spelled as the schema spells them.
pub type Document = serde_json::Map<String, serde_json::Value>;
