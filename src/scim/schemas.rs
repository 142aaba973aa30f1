//! The schemas of an instance: User and Group (RFC 7643 §4), the enterprise extension (§4.3), scimd's
//! own read-only view of an account, and the extensions that the instance defines itself.
//!
//! `password` is defined for the clients that insist on sending one; nothing of it is kept. An instance
//! can do without it.

use std::sync::{Arc, LazyLock};

use scim_v2::schema_urns;
use serde::Serialize;

use super::definition::Holder;
use super::schema::{
    Attribute, Keeping, Kind, Mutability, ResourceType, Returned, Schema, Uniqueness,
};

/// The URN of the read-only extension with the directory's own view of an account.
pub const DIRECTORY_USER: &str = "urn:ietf:params:scim:schemas:extension:scimd:2.0:User";

/// The resource types of an instance.
#[derive(Debug, Clone)]
pub struct Schemas {
    /// Accounts of the directory, as SCIM calls them.
    pub user: ResourceType,
    /// Groups of the directory.
    pub group: ResourceType,
    /// The version of the instance's definitions that they were made of; 0 before there was any.
    pub version: i64,
}

/// Whether the core schema has the attribute `password`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Password {
    /// Clients may send one; it is forgotten at once.
    Accepted,
    /// It is not defined.
    Absent,
}

impl Password {
    /// Every value, in order.
    pub const ALL: &[Self] = &[Self::Accepted, Self::Absent];

    /// The word for this value.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Absent => "absent",
        }
    }

    /// The value that a word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|password| password.word() == word)
    }
}

static STANDARD: LazyLock<Arc<Schemas>> = LazyLock::new(|| {
    let user = ResourceType {
        name: "User",
        endpoint: "/Users",
        description: "A person's account",
        schema: user(),
        extensions: vec![enterprise_user(), directory_user()],
        common: common(),
    };
    let group = ResourceType {
        name: "Group",
        endpoint: "/Groups",
        description: "A group of accounts and of other groups",
        schema: group(),
        extensions: Vec::new(),
        common: common(),
    };
    Arc::new(Schemas { user, group, version: 0 })
});

impl Schemas {
    /// The schemas of an instance that has changed nothing about them.
    #[must_use]
    pub fn standard() -> &'static Arc<Self> {
        &STANDARD
    }

    /// The schemas of an instance that defines some itself, in this order, in this version.
    #[must_use]
    pub fn with(
        version: i64,
        defined: impl IntoIterator<Item = (Holder, Schema)>,
        password: Password,
    ) -> Self {
        let mut schemas = Self { version, ..(**Self::standard()).clone() };
        if password == Password::Absent {
            schemas.user.schema.attributes.retain(|attribute| attribute.name != "password");
        }
        for (holder, schema) in defined {
            let kind = match holder {
                Holder::User => &mut schemas.user,
                Holder::Group => &mut schemas.group,
            };
            kind.extensions.push(schema);
        }
        schemas
    }

    /// Every resource type that the server serves.
    #[must_use]
    pub fn types(&self) -> [&ResourceType; 2] {
        [&self.user, &self.group]
    }

    /// Every schema that a resource type names.
    pub fn all(&self) -> impl Iterator<Item = &Schema> {
        let types = self.types().into_iter();
        types.flat_map(|kind| std::iter::once(&kind.schema).chain(&kind.extensions))
    }
}

fn user() -> Schema {
    let attributes = vec![
        text("userName", "The name the person signs in with; unique in the instance, in any case")
            .required()
            .unique(),
        complex(
            "name",
            "The parts of the person's name",
            vec![
                text("formatted", "The whole name, ready to show"),
                text("familyName", "The family name"),
                text("givenName", "The given name"),
                text("middleName", "The middle name or names"),
                text("honorificPrefix", "A title before the name"),
                text("honorificSuffix", "A suffix after the name"),
            ],
        ),
        text("displayName", "The name to show for the person"),
        text("nickName", "The name the person goes by"),
        reference("profileUrl", "A page about the person", &["external"]),
        text("title", "The job title"),
        text("userType", "The person's relation to the organisation, for example Employee"),
        text("preferredLanguage", "The language the person prefers, as in Accept-Language"),
        text("locale", "The locale for dates and numbers, for example en-GB"),
        text("timezone", "The time zone, for example Europe/London"),
        simple("active", Kind::Boolean, "Whether the identity provider lets the person in"),
        text("password", "Taken from clients that insist on sending one, and forgotten at once")
            .forgotten(),
        plural("emails", "E-mail addresses", &["work", "home", "other"]),
        plural(
            "phoneNumbers",
            "Telephone numbers",
            &["work", "home", "mobile", "fax", "pager", "other"],
        ),
        plural(
            "ims",
            "Instant messaging addresses",
            &["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"],
        ),
        plural("photos", "Addresses of pictures", &["photo", "thumbnail"]).with_value(reference(
            "value",
            "The address of the picture",
            &["external"],
        )),
        addresses(),
        groups_of_user(),
        plural("entitlements", "Things the person may have or do", &["work", "other"]),
        plural("roles", "Roles of the person", &["work", "other"]),
        plural("x509Certificates", "Certificates of the person, DER in Base64", &["work", "other"])
            .with_value(simple("value", Kind::Binary, "One certificate").case_exact()),
    ];
    Schema {
        id: schema_urns::USER.into(),
        name: "User".into(),
        description: "A person's account".into(),
        attributes,
    }
}

fn enterprise_user() -> Schema {
    let attributes = vec![
        text("employeeNumber", "The number or code that the organisation gave the person"),
        text("costCenter", "The name of the cost centre"),
        text("organization", "The name of the organisation"),
        text("division", "The name of the division"),
        text("department", "The name of the department"),
        complex(
            "manager",
            "The person's manager",
            vec![
                text("value", "The manager's id, externalId, userName, e-mail or employee number"),
                reference(
                    "$ref",
                    "The address of the manager, once the reference is linked",
                    &["User"],
                )
                .read_only(),
                text("displayName", "The manager's name").read_only(),
            ],
        ),
    ];
    Schema {
        id: schema_urns::ENTERPRISE_USER.into(),
        name: "EnterpriseUser".into(),
        description: "What organisations commonly keep about their people".into(),
        attributes,
    }
}

fn directory_user() -> Schema {
    let attributes = vec![
        text("status", "The account's effective status in the directory").read_only(),
        text("statusReason", "Why the account has that status").read_only(),
        text(
            "directoryKey",
            "The key of the connection that owns the account; none for a Local one",
        )
        .read_only()
        .case_exact(),
    ];
    Schema {
        id: DIRECTORY_USER.into(),
        name: "DirectoryUser".into(),
        description: "What the directory made of the account; written by the server alone".into(),
        attributes,
    }
}

fn group() -> Schema {
    let members = complex(
        "members",
        "The accounts and groups that belong to the group",
        vec![
            text("value", "The id of the member").case_exact().immutable(),
            reference("$ref", "The address of the member", &["User", "Group"]).immutable(),
            text("type", "User or Group").suggest(&["User", "Group"]).read_only(),
        ],
    );
    Schema {
        id: schema_urns::GROUP.into(),
        name: "Group".into(),
        description: "A group of accounts and of other groups".into(),
        attributes: vec![
            text("displayName", "The name of the group; unique in the instance, in any case")
                .required()
                .unique(),
            members.multi_valued(),
        ],
    }
}

fn common() -> Vec<Attribute> {
    let meta = vec![
        text("resourceType", "The name of the resource type").read_only().case_exact(),
        simple("created", Kind::DateTime, "When the resource was created").read_only(),
        simple("lastModified", Kind::DateTime, "When the resource last changed").read_only(),
        reference("location", "The address of the resource", &["uri"]).read_only(),
        text("version", "The entity tag of the resource").read_only().case_exact(),
    ];
    vec![
        reference("schemas", "The schemas that the resource uses", &["uri"])
            .multi_valued()
            .read_only()
            .always(),
        text("id", "The server's name for the resource; never changes")
            .read_only()
            .case_exact()
            .always(),
        text("externalId", "The client's name for the resource").case_exact(),
        complex("meta", "When and what the resource is", meta).read_only(),
    ]
}

fn addresses() -> Attribute {
    complex(
        "addresses",
        "Postal addresses",
        vec![
            text("formatted", "The whole address, ready to print"),
            text("streetAddress", "Street and house number"),
            text("locality", "The city"),
            text("region", "The state or region"),
            text("postalCode", "The postal code"),
            text("country", "The country"),
            text("type", "What the address is for").suggest(&["work", "home", "other"]),
            simple("primary", Kind::Boolean, "Whether this is the preferred address"),
        ],
    )
    .multi_valued()
}

fn groups_of_user() -> Attribute {
    complex(
        "groups",
        "The groups that the person belongs to; changed through the groups",
        vec![
            text("value", "The id of the group").case_exact().read_only(),
            reference("$ref", "The address of the group", &["Group"]).read_only(),
            text("display", "The name of the group").read_only(),
            text("type", "Whether the membership is direct").suggest(&["direct"]).read_only(),
        ],
    )
    .multi_valued()
    .read_only()
}

/// A multi-valued attribute with the default sub-attributes of RFC 7643 §2.4.
fn plural(name: &str, about: &str, types: &[&str]) -> Attribute {
    complex(
        name,
        about,
        vec![
            text("value", "The value itself"),
            text("display", "The value as it is shown"),
            text("type", "What the value is for").suggest(types),
            simple("primary", Kind::Boolean, "Whether this is the preferred value"),
        ],
    )
    .multi_valued()
}

fn text(name: &str, about: &str) -> Attribute {
    simple(name, Kind::String, about)
}

fn reference(name: &str, about: &str, types: &[&str]) -> Attribute {
    let reference_types = types.iter().map(|&name| name.to_owned()).collect();
    Attribute { reference_types, case_exact: true, ..simple(name, Kind::Reference, about) }
}

fn complex(name: &str, about: &str, sub_attributes: Vec<Attribute>) -> Attribute {
    Attribute { sub_attributes, ..simple(name, Kind::Complex, about) }
}

fn simple(name: &str, kind: Kind, about: &str) -> Attribute {
    Attribute {
        name: name.into(),
        kind,
        sub_attributes: Vec::new(),
        multi_valued: false,
        description: about.into(),
        required: false,
        canonical_values: Vec::new(),
        case_exact: false,
        mutability: Mutability::ReadWrite,
        returned: Returned::Default,
        uniqueness: Uniqueness::None,
        reference_types: Vec::new(),
        keeping: Keeping::Kept,
    }
}

impl Attribute {
    fn required(self) -> Self {
        Self { required: true, ..self }
    }

    fn unique(self) -> Self {
        Self { uniqueness: Uniqueness::Server, ..self }
    }

    fn case_exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    fn read_only(self) -> Self {
        Self { mutability: Mutability::ReadOnly, ..self }
    }

    fn immutable(self) -> Self {
        Self { mutability: Mutability::Immutable, ..self }
    }

    fn forgotten(self) -> Self {
        Self {
            case_exact: true,
            mutability: Mutability::WriteOnly,
            returned: Returned::Never,
            keeping: Keeping::Forgotten,
            ..self
        }
    }

    fn always(self) -> Self {
        Self { returned: Returned::Always, ..self }
    }

    fn multi_valued(self) -> Self {
        Self { multi_valued: true, ..self }
    }

    fn suggest(self, values: &[&str]) -> Self {
        Self { canonical_values: values.iter().map(|&value| value.to_owned()).collect(), ..self }
    }

    fn with_value(mut self, value: Attribute) -> Self {
        if let Some(slot) = self.sub_attributes.iter_mut().find(|sub| sub.name == value.name) {
            *slot = value;
        }
        self
    }
}
