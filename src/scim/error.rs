//! What a client is told when a request fails (RFC 7644 §3.12).

use std::fmt;

use serde_json::{Value, json};

use scim_v2::schema_urns;

/// A refusal in the protocol's terms: a kind, which fixes status and `scimType`, and a detail that
/// Okta and Entra show to their administrator, so it names the attribute, the limit and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct ScimError {
    /// Fixes status and `scimType`.
    pub kind: ErrorKind,
    /// What went wrong and what to do, for an administrator; never a secret.
    pub detail: String,
}

/// Every way in which a request can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the filter cannot be parsed or names an attribute that no schema defines.
    InvalidFilter,
    /// 400: the answer would need more work than the server is willing to do.
    TooMany,
    /// 409: another resource holds the value already.
    Uniqueness,
    /// 409: what the request builds on did not come about.
    Conflict,
    /// 400: the attribute cannot be changed in this way.
    Mutability,
    /// 400: the body is not a message of the protocol.
    InvalidSyntax,
    /// 400: the path of a PATCH operation cannot be parsed.
    InvalidPath,
    /// 400: the path of a PATCH operation matches nothing.
    NoTarget,
    /// 400: a value is missing or of the wrong type.
    InvalidValue,
    /// 400: the cursor is none of this server's, or of another query (RFC 9865 §2.1).
    InvalidCursor,
    /// 400: the cursor is too old (RFC 9865 §2.1).
    ExpiredCursor,
    /// 400: the count of a page read by cursor is no count (RFC 9865 §2.1).
    InvalidCount,
    /// 401: no valid API key came with the request.
    Unauthorized,
    /// 403: the key is good, the operation is not allowed.
    Forbidden,
    /// 404: no such resource or endpoint.
    NotFound,
    /// 405: the endpoint does not know the method.
    MethodNotAllowed,
    /// 410: what was there cannot be gone on with.
    Gone,
    /// 412: the resource is not in the version that the request names.
    PreconditionFailed,
    /// 413: the body is over the limit.
    TooLarge,
    /// 415: the body is plainly not JSON.
    UnsupportedMediaType,
    /// 429: come back after this many seconds.
    TooManyRequests {
        /// For the `Retry-After` header; Okta reads integers only.
        retry_after_s: u32,
    },
    /// 500: a fault of the server.
    Internal,
    /// 501: a part of the protocol that this server does not offer.
    NotImplemented,
    /// 503: the database cannot be reached or cannot keep more.
    Unavailable {
        /// For the `Retry-After` header.
        retry_after_s: u32,
    },
}

impl ErrorKind {
    /// The HTTP status of RFC 7644 §3.12.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidFilter
            | Self::TooMany
            | Self::Mutability
            | Self::InvalidSyntax
            | Self::InvalidPath
            | Self::NoTarget
            | Self::InvalidValue
            | Self::InvalidCursor
            | Self::ExpiredCursor
            | Self::InvalidCount => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Uniqueness | Self::Conflict => 409,
            Self::Gone => 410,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooManyRequests { .. } => 429,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::Unavailable { .. } => 503,
        }
    }

    /// The `scimType` keyword of RFC 7644 §3.12, Table 9, where it has one.
    #[must_use]
    pub fn scim_type(self) -> Option<&'static str> {
        match self {
            Self::InvalidFilter => Some("invalidFilter"),
            Self::TooMany => Some("tooMany"),
            Self::Uniqueness => Some("uniqueness"),
            Self::Mutability => Some("mutability"),
            Self::InvalidSyntax => Some("invalidSyntax"),
            Self::InvalidPath => Some("invalidPath"),
            Self::NoTarget => Some("noTarget"),
            Self::InvalidValue => Some("invalidValue"),
            Self::InvalidCursor => Some("invalidCursor"),
            Self::ExpiredCursor => Some("expiredCursor"),
            Self::InvalidCount => Some("invalidCount"),
            Self::Conflict
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Gone
            | Self::PreconditionFailed
            | Self::TooLarge
            | Self::UnsupportedMediaType
            | Self::TooManyRequests { .. }
            | Self::Internal
            | Self::NotImplemented
            | Self::Unavailable { .. } => None,
        }
    }

    /// Seconds for the `Retry-After` header, where waiting helps.
    #[must_use]
    pub fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::TooManyRequests { retry_after_s } | Self::Unavailable { retry_after_s } => {
                Some(retry_after_s)
            }
            _ => None,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scim_type() {
            Some(word) => write!(f, "{} {word}", self.status()),
            None => write!(f, "{}", self.status()),
        }
    }
}

impl ScimError {
    /// A refusal of `kind` with a `detail` for the administrator.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A value of `attribute` that cannot be taken, and why.
    #[must_use]
    pub fn invalid_value(attribute: &str, reason: &str) -> Self {
        Self::new(ErrorKind::InvalidValue, format!("{attribute} {reason}"))
    }

    /// A body that is not the message it should be.
    pub fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidSyntax, detail)
    }

    /// A filter that cannot be evaluated.
    pub fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidFilter, detail)
    }

    /// The error message of RFC 7644 §3.12: these four members and no others, because strict
    /// clients refuse more; `status` is a string.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({
            "schemas": [schema_urns::ERROR],
            "status": self.kind.status().to_string(),
            "detail": self.detail,
        });
        if let (Some(word), Some(body)) = (self.kind.scim_type(), body.as_object_mut()) {
            body.insert("scimType".into(), word.into());
        }
        body
    }
}
