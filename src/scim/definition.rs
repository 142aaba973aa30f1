//! Schemas that an instance defines itself, as JSON (RFC 7643 §7): what `/Schemas` shows of one can be
//! read back.
//!
//! What is left out has the default of RFC 7643 §2.2. What could not work is refused here, so that all
//! that is built on a [`Schema`] can rely on it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::grammar;
use super::schema::{
    Attribute, Keeping, Kind, Mutability, ResourceType, Returned, Schema, Uniqueness,
};
use super::schemas::Schemas;
use super::{ErrorKind, ScimError};

/// The schemas that an instance may define.
pub const SCHEMAS_MAX: usize = 20;

/// The attributes of a schema.
pub const ATTRIBUTES_MAX: usize = 100;

/// The sub-attributes of a complex attribute.
pub const SUB_ATTRIBUTES_MAX: usize = 30;

/// The canonical values or reference types of an attribute.
pub const VALUES_MAX: usize = 100;

/// The characters of a URN.
pub const URN_CHARS_MAX: usize = 200;

/// The characters of the name of an attribute, of a schema, or of one canonical value.
pub const NAME_CHARS_MAX: usize = 100;

/// The characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 1000;

/// The beginnings of URNs that are the protocol's and scimd's own.
const RESERVED: &[&str] = &[
    "urn:ietf:params:scim:schemas:core:",
    "urn:ietf:params:scim:schemas:extension:enterprise:",
    "urn:ietf:params:scim:schemas:extension:scimd:",
    "urn:ietf:params:scim:api:",
];

/// The resources that have a defined schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Holder {
    /// Users.
    User,
    /// Groups.
    Group,
}

impl Holder {
    /// Every value, in order.
    pub const ALL: &[Self] = &[Self::User, Self::Group];

    /// The name of the resource type.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// The resource type of this name in any case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|holder| holder.word().eq_ignore_ascii_case(word))
    }

    /// The resource type that a URN ends with, as those of RFC 7643 do.
    #[must_use]
    pub fn of_urn(urn: &str) -> Option<Self> {
        urn.rsplit_once(':').and_then(|(_, name)| Self::from_word(name))
    }

    /// Its schemas.
    #[must_use]
    pub fn kind(self, schemas: &Schemas) -> &ResourceType {
        match self {
            Self::User => &schemas.user,
            Self::Group => &schemas.group,
        }
    }
}

/// A schema as JSON: what [`parse`] reads.
#[must_use]
pub fn print(schema: &Schema) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// Reads a definition and checks all that can be checked of it alone.
///
/// Fails with `invalidValue`, naming the attribute, what is wrong and what would be right.
pub fn parse(definition: &Value) -> Result<Schema, ScimError> {
    let known = ["schemas", "id", "name", "description", "attributes", "meta"];
    let parts = Parts::of("the schema", definition, &known)?;
    let id = parts.text("id", URN_CHARS_MAX)?.ok_or_else(|| parts.wrong("id", "is missing"))?;
    require_urn(&id)?;
    let given = match parts.value("attributes") {
        Some(Value::Array(given)) if !given.is_empty() => given,
        _ => return Err(parts.wrong("attributes", "must be an array of at least one attribute")),
    };
    if given.len() > ATTRIBUTES_MAX {
        return Err(parts.wrong("attributes", &at_most(ATTRIBUTES_MAX)));
    }
    let attributes = read_all(given, None)?;
    let named = id.rsplit(':').next().unwrap_or_default();
    Ok(Schema {
        name: parts.text("name", NAME_CHARS_MAX)?.unwrap_or_else(|| named.to_owned()),
        description: parts.text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        id,
        attributes,
    })
}

/// Whether a URN is one of the protocol's or of scimd itself.
#[must_use]
pub fn is_reserved(urn: &str) -> bool {
    RESERVED.iter().any(|reserved| {
        urn.get(..reserved.len()).is_some_and(|start| start.eq_ignore_ascii_case(reserved))
    })
}

/// Checks a definition against the schemas that are there: a path such as `urn:…:User:name` must mean
/// one thing only.
pub fn require_room(schemas: &Schemas, schema: &Schema) -> Result<(), ScimError> {
    let below = |long: &str, short: &str| {
        long.split_at_checked(short.len())
            .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(short) && rest.starts_with(':'))
    };
    let other = schemas.all().find(|other| {
        !other.id.eq_ignore_ascii_case(&schema.id)
            && (below(&other.id, &schema.id) || below(&schema.id, &other.id))
    });
    match other {
        None => Ok(()),
        Some(other) => Err(ScimError::invalid_value(
            &schema.id,
            &format!("and {} cannot both be schemas: one begins with the other", other.id),
        )),
    }
}

/// Checks that a definition can take the place of another: what was stored by the old one must be
/// readable by the new one.
pub fn require_compatible(old: &Schema, new: &Schema) -> Result<(), ScimError> {
    same_shapes(&old.attributes, &new.attributes, "")
}

fn same_shapes(old: &[Attribute], new: &[Attribute], above: &str) -> Result<(), ScimError> {
    for was in old {
        let is = new.iter().find(|is| is.name.eq_ignore_ascii_case(&was.name));
        let Some(is) = is else { continue };
        let path = format!("{above}{}", was.name);
        if (was.kind, was.multi_valued) != (is.kind, is.multi_valued) || was.name != is.name {
            return Err(ScimError::new(
                ErrorKind::InvalidValue,
                format!(
                    "{path} cannot change its type, its spelling or whether it is multi-valued, \
                     because of the values that it may have: give the new attribute another name"
                ),
            ));
        }
        same_shapes(&was.sub_attributes, &is.sub_attributes, &format!("{path}."))?;
    }
    Ok(())
}

fn require_urn(id: &str) -> Result<(), ScimError> {
    let wrong = |reason: &str| ScimError::invalid_value(&format!("the id \"{id}\""), reason);
    let path = grammar::parse_attribute(id).ok();
    let path = path.filter(|path| path.sub_attr.is_none() && path.uri.is_some());
    let is_urn = id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"));
    if !is_urn || path.is_none() {
        return Err(wrong(
            "must be a URN that ends with a name, such as \
             urn:ietf:params:scim:schemas:extension:acme:2.0:User",
        ));
    }
    if is_reserved(id) {
        return Err(wrong("is reserved: take a URN of your own organisation"));
    }
    Ok(())
}

fn read_all(given: &[Value], holder: Option<&str>) -> Result<Vec<Attribute>, ScimError> {
    let mut read: Vec<Attribute> = Vec::with_capacity(given.len());
    for (index, one) in given.iter().enumerate() {
        let attribute = read_attribute(one, index, holder)?;
        if read.iter().any(|other| other.name.eq_ignore_ascii_case(&attribute.name)) {
            let name = &attribute.name;
            return Err(ScimError::invalid_value(
                &path_of(holder, name),
                "is there twice: names are compared without case",
            ));
        }
        read.push(attribute);
    }
    Ok(read)
}

/// Reads an attribute, or a sub-attribute of `holder`.
fn read_attribute(
    given: &Value,
    index: usize,
    holder: Option<&str>,
) -> Result<Attribute, ScimError> {
    let known = [
        "name",
        "type",
        "subAttributes",
        "multiValued",
        "description",
        "required",
        "canonicalValues",
        "caseExact",
        "mutability",
        "returned",
        "uniqueness",
        "referenceTypes",
    ];
    let nameless = path_of(holder, &format!("attribute {}", index + 1));
    let parts = Parts::of(&nameless, given, &known)?;
    let name = parts.text("name", NAME_CHARS_MAX)?;
    let name = name.ok_or_else(|| parts.wrong("name", "is missing"))?;
    require_name(&parts, &name, holder)?;
    let path = path_of(holder, &name);
    let parts = Parts::of(&path, given, &known)?;
    let kind = parts.word("type", KINDS)?.unwrap_or(Kind::String);
    let sub_attributes = read_parts(&parts, kind, &name, holder)?;
    let mutability = parts.word("mutability", MUTABILITIES)?.unwrap_or(Mutability::ReadWrite);
    let is_reference = kind == Kind::Reference;
    let attribute = Attribute {
        kind,
        sub_attributes,
        multi_valued: parts.flag("multiValued")?.unwrap_or(false),
        description: parts.text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        required: parts.flag("required")?.unwrap_or(false),
        canonical_values: parts.texts("canonicalValues", matches!(kind, Kind::String), "string")?,
        case_exact: parts.flag("caseExact")?.unwrap_or(is_reference || kind == Kind::Binary),
        mutability,
        returned: read_returned(&parts, mutability)?,
        uniqueness: parts.word("uniqueness", UNIQUENESSES)?.unwrap_or(Uniqueness::None),
        reference_types: match parts.texts("referenceTypes", is_reference, "reference")? {
            types if types.is_empty() && is_reference => vec!["external".to_owned()],
            types => types,
        },
        keeping: Keeping::Kept,
        name,
    };
    if attribute.mutability == Mutability::ReadOnly {
        return Err(parts.wrong(
            "mutability",
            "cannot be readOnly: clients could not write it, and scimd has no value for it",
        ));
    }
    if attribute.multi_valued && holder.is_some() {
        return Err(parts.wrong(
            "multiValued",
            "must be false: a sub-attribute has one value; make the complex attribute multi-valued",
        ));
    }
    require_unique(&parts, &attribute, holder)?;
    Ok(attribute)
}

fn require_name(parts: &Parts<'_>, name: &str, holder: Option<&str>) -> Result<(), ScimError> {
    let mut characters = name.chars();
    let starts = characters.next().is_some_and(|first| first.is_ascii_alphabetic());
    let fits = characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '$' | '-' | '_'));
    // RFC 7643 §2.4 gives this name to elements of multi-valued attributes.
    let is_ref = holder.is_some() && name == "$ref";
    if !(starts && fits || is_ref) {
        return Err(parts.wrong(
            "name",
            "must begin with a letter and hold letters, digits, \"-\", \"_\" and \"$\" only",
        ));
    }
    if holder.is_none() && name.eq_ignore_ascii_case("members") {
        return Err(parts.wrong("name", "cannot be members, which are the members of a group"));
    }
    Ok(())
}

fn read_parts(
    parts: &Parts<'_>,
    kind: Kind,
    name: &str,
    holder: Option<&str>,
) -> Result<Vec<Attribute>, ScimError> {
    let given = match parts.value("subAttributes") {
        None => &[],
        Some(Value::Array(given)) => given.as_slice(),
        Some(_) => return Err(parts.wrong("subAttributes", "must be an array")),
    };
    match (kind, holder, given.len()) {
        (Kind::Complex, Some(_), _) => {
            Err(parts.wrong("type", "cannot be complex: sub-attributes have none of their own"))
        }
        (Kind::Complex, None, 0) => {
            Err(parts.wrong("subAttributes", "must name at least one: the type is complex"))
        }
        (Kind::Complex, None, 1..=SUB_ATTRIBUTES_MAX) => read_all(given, Some(name)),
        (Kind::Complex, None, _) => Err(parts.wrong("subAttributes", &at_most(SUB_ATTRIBUTES_MAX))),
        (_, _, 0) => Ok(Vec::new()),
        _ => Err(parts.wrong("subAttributes", "are for the type complex only")),
    }
}

/// What is only written is never returned, whether the definition says so or leaves it out.
fn read_returned(parts: &Parts<'_>, mutability: Mutability) -> Result<Returned, ScimError> {
    let returned = parts.word("returned", RETURNED)?;
    match (mutability, returned) {
        (Mutability::WriteOnly, None | Some(Returned::Never)) => Ok(Returned::Never),
        (Mutability::WriteOnly, Some(_)) => {
            Err(parts.wrong("returned", "must be never: the mutability is writeOnly"))
        }
        (_, returned) => Ok(returned.unwrap_or(Returned::Default)),
    }
}

fn require_unique(
    parts: &Parts<'_>,
    attribute: &Attribute,
    holder: Option<&str>,
) -> Result<(), ScimError> {
    if attribute.uniqueness == Uniqueness::None {
        return Ok(());
    }
    let simple = matches!(attribute.kind, Kind::String | Kind::Reference | Kind::Integer);
    if !simple || attribute.multi_valued || holder.is_some() {
        return Err(parts.wrong(
            "uniqueness",
            "must be none: only single-valued attributes of the type string, reference or integer \
             can be unique, and no sub-attributes",
        ));
    }
    if attribute.is_hidden() {
        return Err(parts.wrong(
            "uniqueness",
            "must be none: the conflict would tell a value that is never returned",
        ));
    }
    Ok(())
}

const KINDS: &[(&str, Kind)] = &[
    ("string", Kind::String),
    ("boolean", Kind::Boolean),
    ("decimal", Kind::Decimal),
    ("integer", Kind::Integer),
    ("dateTime", Kind::DateTime),
    ("binary", Kind::Binary),
    ("reference", Kind::Reference),
    ("complex", Kind::Complex),
];

const MUTABILITIES: &[(&str, Mutability)] = &[
    ("readWrite", Mutability::ReadWrite),
    ("immutable", Mutability::Immutable),
    ("writeOnly", Mutability::WriteOnly),
    ("readOnly", Mutability::ReadOnly),
];

const RETURNED: &[(&str, Returned)] = &[
    ("default", Returned::Default),
    ("request", Returned::Request),
    ("always", Returned::Always),
    ("never", Returned::Never),
];

/// `global` asks for more than one server can promise: both mean unique in the instance.
const UNIQUENESSES: &[(&str, Uniqueness)] =
    &[("none", Uniqueness::None), ("server", Uniqueness::Server), ("global", Uniqueness::Server)];

/// The members of a JSON object, and what it is in errors.
struct Parts<'v> {
    path: &'v str,
    members: &'v Map<String, Value>,
}

impl<'v> Parts<'v> {
    /// A member that nobody knows is a slip of the pen, which would otherwise go unseen.
    fn of(path: &'v str, value: &'v Value, known: &[&str]) -> Result<Self, ScimError> {
        let Value::Object(members) = value else {
            return Err(ScimError::invalid_value(path, "must be a JSON object"));
        };
        match members.keys().find(|key| !known.iter().any(|name| name.eq_ignore_ascii_case(key))) {
            None => Ok(Self { path, members }),
            Some(key) => {
                let key: String = key.chars().take(NAME_CHARS_MAX).collect();
                let known = known.join(", ");
                Err(ScimError::invalid_value(
                    path,
                    &format!("has \"{key}\", which is none of {known}"),
                ))
            }
        }
    }

    fn wrong(&self, name: &str, reason: &str) -> ScimError {
        ScimError::invalid_value(&format!("{}: \"{name}\"", self.path), reason)
    }

    fn value(&self, name: &str) -> Option<&'v Value> {
        super::resource::member(self.members, name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str, chars_max: usize) -> Result<Option<String>, ScimError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => self.fitting(name, text, chars_max).map(Some),
            Some(_) => Err(self.wrong(name, "must be a string")),
        }
    }

    fn fitting(&self, name: &str, text: &str, chars_max: usize) -> Result<String, ScimError> {
        if text.chars().count() > chars_max {
            return Err(self.wrong(name, &format!("must have at most {chars_max} characters")));
        }
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(self.wrong(name, "must have no control characters"));
        }
        Ok(text.to_owned())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, ScimError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, ScimError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let given = value.as_str().unwrap_or_default();
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(given));
        found.map(|(_, value)| Some(*value)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, &format!("must be one of {}", words.join(", ")))
        })
    }

    /// A list of texts that only attributes of one type have.
    fn texts(&self, name: &str, fits: bool, kind: &str) -> Result<Vec<String>, ScimError> {
        let given = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(given)) => given,
            Some(_) => return Err(self.wrong(name, "must be an array of strings")),
        };
        if !fits && !given.is_empty() {
            return Err(self.wrong(name, &format!("are for the type {kind} only")));
        }
        if given.len() > VALUES_MAX {
            return Err(self.wrong(name, &at_most(VALUES_MAX)));
        }
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => self.fitting(name, text, NAME_CHARS_MAX),
            _ => Err(self.wrong(name, "must be an array of strings")),
        };
        given.iter().map(text).collect()
    }
}

fn path_of(holder: Option<&str>, name: &str) -> String {
    holder.map_or_else(|| name.to_owned(), |holder| format!("{holder}.{name}"))
}

fn at_most(count: usize) -> String {
    format!("must hold at most {count}")
}

#[cfg(test)]
mod tests;
