//! Connections: where people and groups come from.

use super::{ConnectionId, InstanceId, Timestamp};

/// One configured source of an instance.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The instance whose directory it feeds.
    pub instance: InstanceId,
    /// What it is connected to.
    pub kind: ConnectionKind,
    /// What the administrator calls it; unique in the instance.
    pub name: String,
    /// The automatic name of "its directory", shown on every account that it owns.
    pub directory_key: String,
    /// Whether it may write.
    pub status: ConnectionStatus,
    /// Whose habits it follows.
    pub profile: Profile,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Declares an enumeration whose values are single words in the database, the API and the CLI.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for this value.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value that a word stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a connection is connected to.
    ConnectionKind {
        /// An Okta app.
        Okta = "okta",
        /// A Microsoft Entra enterprise application.
        Entra = "entra",
        /// Any other SCIM client.
        Scim = "scim",
    }
}

words! {
    /// What a connection may do.
    ConnectionStatus {
        /// It may read, so that a client can be set up and tested; it may not write yet.
        Draft = "draft",
        /// It may read and write.
        Enabled = "enabled",
        /// It may read; writes are put off until it is enabled again.
        Paused = "paused",
    }
}

words! {
    /// What differs between the clients of the protocol.
    Profile {
        /// Lenient; recognises Okta by the name that it sends.
        Auto = "auto",
        /// Okta.
        Okta = "okta",
        /// Microsoft Entra.
        Entra = "entra",
        /// A client that wants errors where others want leniency.
        Generic = "generic",
        /// The strict subset of draft-zollner-scim-interop-profile-01.
        Interop = "interop",
    }
}

impl ConnectionKind {
    /// The profile that fits such a connection.
    #[must_use]
    pub fn profile(self) -> Profile {
        match self {
            Self::Okta => Profile::Okta,
            Self::Entra => Profile::Entra,
            Self::Scim => Profile::Auto,
        }
    }
}
