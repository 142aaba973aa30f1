//! Names for rows. Each id has a type of its own, so that an account cannot be looked up by the id
//! of a group, and owned rows cannot be looked up without the id of their instance.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

id! {
    /// A customer organisation.
    TenantId
    /// One intranet directory of a tenant: the unit of isolation.
    InstanceId
    /// One configured source of an instance.
    ConnectionId
    /// An API key of a connection.
    KeyId
    /// A person in the directory.
    AccountId
    /// A group in the directory.
    GroupId
    /// A member of a group: an account or a group.
    MemberId
    /// What a connection asks an administrator for.
    ApprovalId
    /// One run: a pull, or a job that goes through all people.
    RunId
    /// One row of the audit trail.
    AuditId
    /// One exchange in the request log.
    ExchangeId
}

/// The id that a text spells, if it spells it as the server does: ids are compared letter by letter,
/// so another case or form of the same number names nothing (RFC 7643 §3.1: `id` is case-exact).
#[must_use]
pub fn exact(text: &str) -> Option<Uuid> {
    let id = text.parse::<Uuid>().ok()?;
    (id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(id)
}

/// Bytes in hexadecimal, as checksums and hashes are written.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
        text
    })
}

impl From<AccountId> for MemberId {
    fn from(id: AccountId) -> Self {
        Self(id.0)
    }
}

impl From<GroupId> for MemberId {
    fn from(id: GroupId) -> Self {
        Self(id.0)
    }
}
