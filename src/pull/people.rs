//! Rows of a file as people: each cell becomes a value of a User, as a client would have sent it.

use std::collections::BTreeSet;

use csv::StringRecord;
use serde_json::{Map, Value};

use super::columns::{Matched, Meaning};
use super::format;
use crate::directory::SourceSettings;
use crate::directory::source::{MatchBy, Mode, Passwords};
use crate::provision::pull::{Action, Entry, Line};
use crate::scim::fold::fold;
use crate::scim::habits::Habits;
use crate::scim::message::{Operation, Verb};
use crate::scim::resource::require_attributes;
use crate::scim::schemas::Schemas;
use crate::scim::values::Path;
use crate::scim::{Document, ScimError, patch};

/// The groups that one cell can name.
pub const GROUPS_MAX: usize = 1_000;

/// Where a person's cells go.
const TREATMENT: Habits = Habits::LENIENT;

/// Makes people of rows, as the columns say.
#[derive(Debug)]
pub struct Reader<'s> {
    schemas: &'s Schemas,
    settings: &'s SourceSettings,
    attributes: Vec<Attribute>,
    groups: Vec<usize>,
    action: Option<usize>,
    password: Option<usize>,
}

#[derive(Debug)]
struct Attribute {
    column: usize,
    name: String,
    path: Path,
    role: Role,
    is_flag: bool,
}

/// What an attribute is to who reads rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    UserName,
    ExternalId,
    Active,
    Other,
}

impl Role {
    fn of(path: &str) -> Self {
        let is = |name| path.eq_ignore_ascii_case(name);
        match path {
            _ if is("userName") => Self::UserName,
            _ if is("externalId") => Self::ExternalId,
            _ if is("active") => Self::Active,
            _ => Self::Other,
        }
    }
}

/// A row that cannot be used: the user name as far as there is one, and why.
struct Unusable {
    name: String,
    key: Option<String>,
    reason: String,
}

impl<'s> Reader<'s> {
    /// Prepares to read rows with these columns; attributes are known to be known.
    pub fn new(
        settings: &'s SourceSettings,
        schemas: &'s Schemas,
        columns: &[Matched],
    ) -> Result<Self, ScimError> {
        let mut reader = Self {
            schemas,
            settings,
            attributes: Vec::new(),
            groups: Vec::new(),
            action: None,
            password: None,
        };
        for (column, matched) in columns.iter().enumerate() {
            match &matched.meaning {
                Some(Meaning::Attribute(text)) => {
                    let path = Path::parse(text)?;
                    reader.attributes.push(Attribute {
                        column,
                        name: matched.name.clone(),
                        is_flag: path.resolve(&schemas.user)?.is_flag(),
                        path,
                        role: Role::of(text),
                    });
                }
                Some(Meaning::Groups) => reader.groups.push(column),
                Some(Meaning::Action) => reader.action = Some(column),
                Some(Meaning::Password) => reader.password = Some(column),
                Some(Meaning::Ignored) | None => {}
            }
        }
        Ok(reader)
    }

    /// What a row says of a person, or why it cannot be used.
    #[must_use]
    pub fn line(&self, row: format::Entry) -> Line {
        let (line, read) = match row {
            format::Entry::Row(row) => (row.line, self.entry(row.line, &row.cells)),
            format::Entry::Bad(bad) => {
                let reason = bad.reason.to_string();
                (bad.line, Err(Unusable { name: String::new(), key: None, reason }))
            }
        };
        match read {
            Ok(entry) => Line::Entry(Box::new(entry)),
            Err(Unusable { name, key, reason }) => {
                Line::Refused { line: number(line), name, key, reason }
            }
        }
    }

    fn entry(&self, line: u64, cells: &StringRecord) -> Result<Entry, Unusable> {
        let cell = |column: usize| cells.get(column).unwrap_or_default().trim();
        let of = |role: Role| {
            let found = self.attributes.iter().find(|attribute| attribute.role == role);
            found.map(|attribute| cell(attribute.column)).unwrap_or_default()
        };
        let name = of(Role::UserName);
        let key = match self.settings.match_by {
            MatchBy::UserName => fold(name).into_owned(),
            MatchBy::ExternalId => of(Role::ExternalId).to_owned(),
        };
        let unusable = |reason: String| Unusable {
            name: name.to_owned(),
            key: (!key.is_empty()).then(|| key.clone()),
            reason,
        };
        if key.is_empty() {
            return Err(unusable(
                "the row does not say whom it is about: fill in the cell".to_owned(),
            ));
        }
        let action = match self.action {
            Some(column) if self.settings.mode == Mode::Delta => action(cell(column)),
            _ => Ok(Action::Keep),
        };
        let action = action.map_err(unusable)?;
        let document = match action {
            Action::Keep => self.document(&cell).map_err(unusable)?,
            Action::Suspend | Action::Delete => Map::new(),
        };
        let groups = self.names(&cell).map_err(unusable)?;
        let password = self.password(&cell, action);
        let (name, line) = (name.to_owned(), number(line));
        Ok(Entry { line, name, action, document, groups, password, key: key.clone() })
    }

    fn document<'c>(&self, cell: &impl Fn(usize) -> &'c str) -> Result<Document, String> {
        let kind = &self.schemas.user;
        let mut document = Document::new();
        for attribute in &self.attributes {
            let text = cell(attribute.column);
            if text.is_empty() {
                continue;
            }
            let of_column =
                |error: ScimError| format!("the column \"{}\": {}", attribute.name, error.detail);
            let value = if attribute.is_flag {
                let flag = flag(text).ok_or_else(|| {
                    format!("the column \"{}\" must be yes or no, true or false", attribute.name)
                })?;
                Value::Bool(flag)
            } else {
                Value::String(text.to_owned())
            };
            let path = Some(attribute.path.to_patch());
            let operation = Operation { verb: Verb::Add, path, value: Some(value) };
            for change in patch::changes(kind, &TREATMENT, vec![operation]).map_err(of_column)? {
                patch::apply(&mut document, change).map_err(of_column)?;
            }
        }
        // Whoever is in the file may enter, unless it speaks of that: then silence lets nobody in who was
        // shut out.
        if !self.attributes.iter().any(|attribute| attribute.role == Role::Active) {
            document.insert("active".to_owned(), Value::Bool(true));
        }
        require_attributes(kind, &document).map_err(|error| error.detail)?;
        Ok(document)
    }

    fn names<'c>(&self, cell: &impl Fn(usize) -> &'c str) -> Result<Option<Vec<String>>, String> {
        if self.groups.is_empty() {
            return Ok(None);
        }
        let separator = self.settings.group_separator.as_str();
        let (mut names, mut known) = (Vec::new(), BTreeSet::new());
        for column in &self.groups {
            let parts = cell(*column).split(separator).map(str::trim);
            for name in parts.filter(|name| !name.is_empty()) {
                if known.insert(fold(name).into_owned()) {
                    names.push(name.to_owned());
                }
            }
        }
        if names.len() > GROUPS_MAX {
            return Err(format!("the row names {} groups; at most {GROUPS_MAX} fit", names.len()));
        }
        Ok(Some(names))
    }

    fn password<'c>(&self, cell: &impl Fn(usize) -> &'c str, action: Action) -> Option<String> {
        if self.settings.passwords == Passwords::SsoOnly || action != Action::Keep {
            return None;
        }
        let own = self.password.map(cell).filter(|text| !text.is_empty());
        own.map(str::to_owned)
    }
}

fn number(line: u64) -> i64 {
    i64::try_from(line).unwrap_or(i64::MAX)
}

fn action(text: &str) -> Result<Action, String> {
    match text.to_lowercase().as_str() {
        "" | "add" | "create" | "update" | "upsert" | "keep" | "modify" => Ok(Action::Keep),
        "suspend" | "disable" | "deactivate" | "block" => Ok(Action::Suspend),
        "delete" | "remove" => Ok(Action::Delete),
        _ => Err(
            "the action must be one of upsert (or add, update, nothing), suspend (or disable), \
                  delete (or remove)"
                .to_owned(),
        ),
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "on" | "active" | "enabled" => Some(true),
        "false" | "no" | "n" | "0" | "off" | "inactive" | "disabled" => Some(false),
        _ => None,
    }
}
