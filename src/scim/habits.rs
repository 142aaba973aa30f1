//! What a client may get wrong and still be served.
//!
//! The protocol is read the same way for everybody; where clients differ, a [`Habits`] says which of two
//! answers is due. The table of them, one row for each profile, is in `provision::profile`.

use super::{ErrorKind, ScimError};

/// Whether something that the protocol does not foresee is taken or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is understood, or passed over without an error.
    Take,
    /// It is an error.
    Refuse,
}

/// What becomes of an `externalId` that a PUT leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omitted {
    /// It stays: the client does not send what it does not manage.
    Kept,
    /// It is cleared (RFC 7644 §3.5.1).
    Cleared,
}

/// What a PATCH that replaces a complex attribute leaves of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The sub-attributes that it does not name (RFC 7644 §3.5.2.3).
    Named,
    /// Nothing but what it says.
    Whole,
}

/// How a client is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Attributes and schema URIs that no schema defines, in a resource.
    pub unknown_names: Treatment,
    /// Values of another JSON type than their attribute's: `"True"`, a number for a text, one value
    /// for an array.
    pub loose_values: Treatment,
    /// Filters and paths that the grammar of RFC 7644 does not allow.
    pub loose_filters: Treatment,
    /// PATCH of what no schema defines or only the server writes.
    pub unwritable_paths: Treatment,
    /// PATCH operations without a path.
    pub missing_paths: Treatment,
    /// PATCH paths that end in a filter, such as `emails[type eq "work"]`.
    pub element_paths: Treatment,
    /// PATCH paths whose filter selects several elements.
    pub many_matches: Treatment,
    /// Members of a group that the instance does not know.
    pub unknown_members: Treatment,
    /// The replacement of a complex attribute.
    pub replaced_complex: Replaced,
    /// An `externalId` that a PUT leaves out.
    pub omitted_external_id: Omitted,
}

impl Habits {
    /// Understands whatever can be understood.
    pub const LENIENT: Self = Self {
        unknown_names: Treatment::Take,
        loose_values: Treatment::Take,
        loose_filters: Treatment::Take,
        unwritable_paths: Treatment::Take,
        missing_paths: Treatment::Take,
        element_paths: Treatment::Take,
        many_matches: Treatment::Take,
        unknown_members: Treatment::Take,
        replaced_complex: Replaced::Named,
        omitted_external_id: Omitted::Kept,
    };
}

impl Treatment {
    /// An error of this kind, if the treatment is to refuse.
    pub fn check(self, kind: ErrorKind, detail: impl FnOnce() -> String) -> Result<(), ScimError> {
        match self {
            Self::Take => Ok(()),
            Self::Refuse => Err(ScimError::new(kind, detail())),
        }
    }
}
