//! Connections: where people and groups come from.

use super::{ConnectionId, DeleteAfter, InstanceId, PushGuard, Timestamp};

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
    /// What it brings into the directory, and how.
    pub settings: ConnectionSettings,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a connection brings into the directory, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConnectionSettings {
    /// Whose accounts are in scope.
    pub scope: Scope,
    /// What happens when the connection writes to an account or group that is Local.
    pub pick_up: PickUp,
    /// Which of its groups enter the directory.
    pub entering: Entering,
    /// The regular expression, if [`Entering::Matching`] goes by one.
    pub entering_pattern: Option<String>,
    /// The attributes that every account needs, as paths.
    pub required: Vec<String>,
    /// What happens to an account without one of them.
    pub incomplete: Incomplete,
    /// What happens when the connection creates somebody again whom it has deleted.
    pub recreate: Recreate,
    /// What becomes of people whom it keeps suspended.
    pub delete_after_days: DeleteAfter,
    /// How many losses its client may push before an administrator is asked.
    pub guard: PushGuard,
    /// The version of the mapping that is in force; 0 is the default mapping.
    pub mapping_version: i64,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            scope: Scope::All,
            pick_up: PickUp::ByUserName,
            entering: Entering::All,
            entering_pattern: None,
            required: vec!["userName".to_owned()],
            incomplete: Incomplete::Refuse,
            recreate: Recreate::New,
            delete_after_days: DeleteAfter::Never,
            guard: PushGuard::default(),
            mapping_version: 0,
        }
    }
}

/// Declares an enumeration whose values are single words in the database, the API and the CLI.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(from)?;
                Self::from_word(&word).ok_or_else(|| {
                    serde::de::Error::custom(format!("\"{word}\" is none of its words"))
                })
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
        /// A CSV file that is pulled.
        Csv = "csv",
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
    /// Whose accounts are in the scope of a connection.
    Scope {
        /// Everyone whom it pushes.
        All = "all",
        /// The direct and nested members of its sync groups.
        Groups = "groups",
    }
}

words! {
    /// What happens when a connection writes to an account or a group that no connection owns.
    PickUp {
        /// It is picked up if the user name, or the name of the group, is the same.
        ByUserName = "by_user_name",
        /// The same, once an administrator has agreed.
        WithApproval = "with_approval",
        /// It is refused.
        Never = "never",
    }
}

words! {
    /// Which groups of a connection enter the directory.
    Entering {
        /// All.
        All = "all",
        /// None.
        None = "none",
        /// Those whose name matches a regular expression.
        Matching = "matching",
    }
}

words! {
    /// What happens to an account without a required attribute.
    Incomplete {
        /// The request is refused.
        Refuse = "refuse",
        /// The account is kept and listed as incomplete until the attribute comes.
        Keep = "keep",
    }
}

words! {
    /// What happens when a connection creates somebody again whom it has deleted.
    Recreate {
        /// Somebody new comes, with a new id.
        New = "new",
        /// The deleted account comes back, with its id.
        SameId = "same_id",
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
    /// The settings that such a connection begins with: clients push people without names or addresses,
    /// a file can be asked to have them.
    #[must_use]
    pub fn settings(self) -> ConnectionSettings {
        let settings = ConnectionSettings::default();
        let required: &[&str] = match self {
            Self::Okta | Self::Entra | Self::Scim => return settings,
            Self::Csv => &["userName", "name.givenName", "name.familyName", "emails"],
        };
        let required = required.iter().map(|path| (*path).to_owned()).collect();
        ConnectionSettings { required, ..settings }
    }

    /// The profile that fits such a connection.
    #[must_use]
    pub fn profile(self) -> Profile {
        match self {
            Self::Okta => Profile::Okta,
            Self::Entra => Profile::Entra,
            Self::Scim => Profile::Auto,
            Self::Csv => Profile::Generic,
        }
    }
}
