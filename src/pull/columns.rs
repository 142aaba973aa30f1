//! What the columns of a file mean: what an administrator has said, and what their names say.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::directory::SourceSettings;
use crate::directory::source::{Column, MatchBy, Mode, Passwords};
use crate::scim::schemas::Schemas;
use crate::scim::values::Path;

/// The URN of the attributes of an enterprise user (RFC 7643 §4.3).
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// What a column means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The value of an attribute of a User, by its path.
    Attribute(String),
    /// The names of the groups that the person is in.
    Groups,
    /// What happens to the person.
    Action,
    /// The password that the person gets with a new account.
    Password,
    /// Nothing.
    Ignored,
}

impl Meaning {
    /// Reads what an administrator wrote: a word of this list, a name that is known, or a path.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            "groups" => Self::Groups,
            "action" => Self::Action,
            "password" => Self::Password,
            "ignore" => Self::Ignored,
            text => known(text).unwrap_or_else(|| Self::Attribute(text.to_owned())),
        }
    }

    /// The meaning in one word or path.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Attribute(path) => path,
            Self::Groups => "groups",
            Self::Action => "action",
            Self::Password => "password",
            Self::Ignored => "ignore",
        }
    }
}

/// A column of a file and its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// Its name in the header.
    pub name: String,
    /// Its meaning; `None` if nobody said and the name says nothing.
    #[serde(serialize_with = "as_text")]
    pub meaning: Option<Meaning>,
    /// Whether the name alone says so.
    pub guessed: bool,
}

#[expect(clippy::ref_option, reason = "serde hands the field over like this")]
fn as_text<S: serde::Serializer>(
    meaning: &Option<Meaning>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    meaning.as_ref().map(Meaning::text).serialize(serializer)
}

/// Why the columns of a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A column that an administrator named is not there.
    #[error(
        "the file has no column \"{0}\", which the settings name: it has {1}; was the file's header \
         changed? Mend it, or change the setting with `csv set --column`"
    )]
    Missing(String, String),
    /// Two columns mean the same.
    #[error(
        "the columns \"{0}\" and \"{1}\" both mean {2}: let one of them be left out with `csv set \
         --column \"{1}=ignore\"`"
    )]
    Twice(String, String, String),
    /// No schema has the attribute.
    #[error("the column \"{0}\": {1}")]
    Attribute(String, String),
    /// No column says whom a row is about.
    #[error(
        "no column means {0}, by which rows are matched with people: name it with `csv set --column \
         \"NAME={0}\"`; the file has {1}"
    )]
    NoMatch(&'static str, String),
    /// The mode needs a column for the action, or has no use for one.
    #[error("{0}")]
    Action(&'static str),
}

/// Matches the columns of a file with what they mean.
///
/// What an administrator said comes first. Of two columns whose names mean the same, the first counts.
/// Fails if a column that was named is missing, if two mean the same, if an attribute is unknown, or if
/// none says whom a row is about.
pub fn match_columns(
    settings: &SourceSettings,
    schemas: &Schemas,
    header: &[String],
) -> Result<Vec<Matched>, ColumnError> {
    let all = || listed(header);
    let same = |one: &str, other: &str| {
        one.trim().eq_ignore_ascii_case(other.trim()) || {
            crate::scim::fold::fold(one.trim()) == crate::scim::fold::fold(other.trim())
        }
    };
    for Column { name, .. } in &settings.columns {
        if !header.iter().any(|column| same(column, name)) {
            return Err(ColumnError::Missing(name.clone(), all()));
        }
    }
    let said = |column: &str| {
        let found = settings.columns.iter().find(|set| same(&set.name, column));
        found.map(|set| Meaning::read(&set.meaning))
    };
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for name in header {
        let Some(meaning) = said(name).filter(|meaning| *meaning != Meaning::Ignored) else {
            continue;
        };
        check_meaning(name, &meaning, schemas)?;
        let text = meaning.text().to_ascii_lowercase();
        let several = meaning == Meaning::Groups;
        if let Some(other) = taken.insert(text, name.clone()).filter(|_| !several) {
            let meaning = meaning.text().to_owned();
            return Err(ColumnError::Twice(other, name.clone(), meaning));
        }
    }
    let mut matched = Vec::with_capacity(header.len());
    for name in header {
        let said = said(name);
        let guessed = said.is_none();
        let meaning = said.or_else(|| {
            let meaning = known(name).filter(|meaning| fits(meaning, settings))?;
            let text = meaning.text().to_ascii_lowercase();
            if taken.contains_key(&text) {
                return None;
            }
            taken.insert(text, name.clone());
            Some(meaning)
        });
        matched.push(Matched {
            name: name.clone(),
            guessed: guessed && meaning.is_some(),
            meaning,
        });
    }
    require(settings, &taken, &all)?;
    Ok(matched)
}

/// Whether a guess makes sense with the settings.
fn fits(meaning: &Meaning, settings: &SourceSettings) -> bool {
    match meaning {
        Meaning::Action => settings.mode == Mode::Delta,
        Meaning::Password => settings.passwords == Passwords::Required,
        Meaning::Attribute(_) | Meaning::Groups | Meaning::Ignored => true,
    }
}

/// Refuses a column that is to mean an attribute which no schema has.
pub fn check_meaning(name: &str, meaning: &Meaning, schemas: &Schemas) -> Result<(), ColumnError> {
    let Meaning::Attribute(path) = meaning else { return Ok(()) };
    let resolved = Path::parse(path).and_then(|path| path.resolve(&schemas.user).map(drop));
    resolved.map_err(|error| ColumnError::Attribute(name.to_owned(), error.detail))
}

fn require(
    settings: &SourceSettings,
    taken: &BTreeMap<String, String>,
    all: &dyn Fn() -> String,
) -> Result<(), ColumnError> {
    let has = |meaning: &str| taken.contains_key(&meaning.to_ascii_lowercase());
    if !has("userName") {
        return Err(ColumnError::NoMatch("userName", all()));
    }
    if settings.match_by == MatchBy::ExternalId && !has("externalId") {
        return Err(ColumnError::NoMatch("externalId", all()));
    }
    match (settings.mode, has("action")) {
        (Mode::Delta, false) => Err(ColumnError::Action(
            "in the mode \"delta\" a column has to say what happens to each person: name it with `csv \
             set --column \"NAME=action\"`",
        )),
        (Mode::Snapshot, true) => Err(ColumnError::Action(
            "a column for the action goes with the mode \"delta\" only: in a snapshot, who is missing \
             is suspended; let the column be left out with `csv set --column \"NAME=ignore\"`",
        )),
        _ => Ok(()),
    }
}

fn listed(header: &[String]) -> String {
    let quoted: Vec<String> = header.iter().take(50).map(|name| format!("\"{name}\"")).collect();
    let more = if header.len() > quoted.len() { ", …" } else { "" };
    quoted.join(", ") + more
}

/// What a name means by itself, without regard to case, blanks and signs.
pub(super) fn known(name: &str) -> Option<Meaning> {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
    let plain = plain.to_lowercase();
    let enterprise = |name: &str| format!("{ENTERPRISE}:{name}");
    let path = match plain.as_str() {
        "username" | "user" | "login" | "loginname" | "upn" | "userprincipalname" => {
            "userName".to_owned()
        }
        "externalid" | "personid" => "externalId".to_owned(),
        "firstname" | "givenname" | "vorname" => "name.givenName".to_owned(),
        "lastname" | "surname" | "familyname" | "nachname" => "name.familyName".to_owned(),
        "displayname" | "fullname" => "displayName".to_owned(),
        "email" | "mail" | "emailaddress" | "workemail" => {
            "emails[type eq \"work\"].value".to_owned()
        }
        "phone" | "workphone" | "telephone" | "phonenumber" => {
            "phoneNumbers[type eq \"work\"].value".to_owned()
        }
        "mobile" | "mobilephone" | "cellphone" => {
            "phoneNumbers[type eq \"mobile\"].value".to_owned()
        }
        "title" | "jobtitle" => "title".to_owned(),
        "department" => enterprise("department"),
        "division" => enterprise("division"),
        "organization" | "company" => enterprise("organization"),
        "costcenter" | "costcentre" => enterprise("costCenter"),
        "employeenumber" | "employeeid" | "personnelnumber" => enterprise("employeeNumber"),
        "manager" | "managerusername" | "supervisor" => enterprise("manager.value"),
        "language" | "preferredlanguage" => "preferredLanguage".to_owned(),
        "locale" => "locale".to_owned(),
        "timezone" => "timezone".to_owned(),
        "street" | "streetaddress" => "addresses[type eq \"work\"].streetAddress".to_owned(),
        "postalcode" | "zip" | "zipcode" => "addresses[type eq \"work\"].postalCode".to_owned(),
        "city" | "locality" => "addresses[type eq \"work\"].locality".to_owned(),
        "country" => "addresses[type eq \"work\"].country".to_owned(),
        "active" | "enabled" => "active".to_owned(),
        "groups" | "group" | "memberof" => return Some(Meaning::Groups),
        "action" | "operation" => return Some(Meaning::Action),
        "password" => return Some(Meaning::Password),
        _ => return None,
    };
    Some(Meaning::Attribute(path))
}

/// The columns that a file for import has, by name, and what they mean: what an export writes where a
/// connection has said nothing else.
pub const EXPORTED: &[&str] = &[
    "username",
    "first name",
    "last name",
    "display name",
    "email",
    "phone",
    "mobile",
    "job title",
    "department",
    "employee number",
    "manager",
    "active",
    "groups",
];
