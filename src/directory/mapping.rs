//! The mapping: which values of a source become which field of the directory.
//!
//! A source is named as its front door names it (a SCIM path, a column of a file) and is opaque here: who
//! evaluates a mapping brings a function that reads it. So the same mapping serves push and pull.

mod error;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Account;

pub use error::MappingError;

/// The rows of a mapping.
pub const MAPPING_ROWS_MAX: usize = 120;

/// The sources of one row.
pub const ROW_SOURCES_MAX: usize = 10;

/// The characters of a source.
pub const SOURCE_CHARS_MAX: usize = 500;

/// The fields that an instance adds to those that every instance has.
pub const FIELDS_MAX: usize = 100;

/// The characters of the name of a field or of a look-up table.
pub const FIELD_NAME_CHARS_MAX: usize = 50;

/// The characters of the value of a field; what a source has beyond them is cut.
pub const FIELD_VALUE_CHARS_MAX: usize = 1000;

/// The values of one account that look-up tables may miss; more are not noted.
pub const MISSES_MAX: usize = 100;

/// A field of the directory that every instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// What fills it by default.
    sources: &'static [&'static str],
    /// Whether that can be changed.
    read_only: bool,
}

/// The fields that every instance has, with what fills them by default.
pub const BUILT_IN: &[BuiltIn] = &[
    fixed("user_name", "User name", &["userName"]),
    fixed("display_name", "Display name", &["displayName"]),
    fixed("given_name", "First name", &["name.givenName"]),
    fixed("family_name", "Last name", &["name.familyName"]),
    free(
        "email",
        "E-mail",
        &["emails[primary eq true].value", "emails[type eq \"work\"].value", "emails.value"],
    ),
    free("work_phone", "Work phone", &["phoneNumbers[type eq \"work\"].value"]),
    free("mobile_phone", "Mobile phone", &["phoneNumbers[type eq \"mobile\"].value"]),
    free(
        "manager",
        "Manager",
        &["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"],
    ),
    free("job_title", "Job title", &["title"]),
];

const fn fixed(
    name: &'static str,
    label: &'static str,
    sources: &'static [&'static str],
) -> BuiltIn {
    BuiltIn { name, label, sources, read_only: true }
}

const fn free(
    name: &'static str,
    label: &'static str,
    sources: &'static [&'static str],
) -> BuiltIn {
    BuiltIn { name, label, sources, read_only: false }
}

/// What fills the fields of the accounts of a connection: at most one row for each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mapping {
    /// The rows; the read-only ones are always among them.
    pub rows: Vec<Row>,
}

/// What fills one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The name of the field.
    pub field: String,
    /// The sources, the preferred one first.
    pub sources: Vec<String>,
    /// What is done to their values, in this order.
    #[serde(default)]
    pub transforms: Vec<Transform>,
    /// Whether the row cannot be changed or removed.
    #[serde(default)]
    pub read_only: bool,
}

/// One thing that is done to the values of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// Takes the blanks at both ends away.
    Trim,
    /// Makes small letters.
    Lower,
    /// Makes one value of all; without it the first one is taken.
    Join {
        /// What stands between two of them.
        separator: String,
    },
    /// Takes the place of a value that is not there.
    Default {
        /// The value.
        text: String,
    },
    /// Takes what a table has for the value. What it does not have is noted, and left out.
    Lookup {
        /// The name of the table.
        table: String,
    },
}

/// What a mapping makes of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evaluated {
    /// The fields that have a value: texts by name.
    pub fields: Map<String, Value>,
    /// What was looked up in vain: the table and the value, each once.
    pub misses: Vec<(String, String)>,
}

/// A field of an account as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// Its name.
    pub field: String,
    /// Its value.
    pub value: Option<String>,
    /// Whether the connection of the account fills it, so that nobody else can.
    pub mapped: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { rows: BUILT_IN.iter().map(BuiltIn::row).collect() }
    }
}

impl BuiltIn {
    fn row(&self) -> Row {
        Row {
            field: self.name.to_owned(),
            sources: self.sources.iter().map(|&source| source.to_owned()).collect(),
            transforms: Vec::new(),
            read_only: self.read_only,
        }
    }
}

/// The field of this name that every instance has.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|field| field.name == name)
}

/// Whether a field or a look-up table may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= FIELD_NAME_CHARS_MAX
        && name.chars().all(fits)
}

impl Mapping {
    /// The mapping of these rows; `own` are the fields that the instance adds. Read-only rows may be left
    /// out: they are put in their place, first.
    pub fn checked(rows: Vec<Row>, own: &[String]) -> Result<Self, MappingError> {
        let mut checked: Vec<Row> =
            BUILT_IN.iter().filter(|field| field.read_only).map(BuiltIn::row).collect();
        let mut seen = BTreeSet::new();
        for mut row in rows {
            let built_in = built_in(&row.field);
            if built_in.is_none() && !own.contains(&row.field) {
                let known = BUILT_IN.iter().filter(|field| !field.read_only);
                let known = known.map(|field| field.name.to_owned()).chain(own.iter().cloned());
                return Err(MappingError::UnknownField(row.field, known.collect()));
            }
            if !seen.insert(row.field.clone()) {
                return Err(MappingError::MappedTwice(row.field));
            }
            row.read_only = built_in.is_some_and(|field| field.read_only);
            if let Some(fixed) = built_in.filter(|field| field.read_only).map(BuiltIn::row) {
                if fixed != row {
                    return Err(MappingError::ReadOnly(fixed));
                }
                continue;
            }
            row.require_fitting()?;
            checked.push(row);
        }
        if checked.len() > MAPPING_ROWS_MAX {
            return Err(MappingError::TooManyRows);
        }
        Ok(Self { rows: checked })
    }

    /// The row that fills a field.
    #[must_use]
    pub fn row(&self, field: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.field == field)
    }

    /// The rows with another one in the place of that of its field, or at the end.
    #[must_use]
    pub fn with(&self, row: Row) -> Vec<Row> {
        let mut rows = self.rows.clone();
        match rows.iter_mut().find(|one| one.field == row.field) {
            Some(slot) => *slot = row,
            None => rows.push(row),
        }
        rows
    }

    /// The rows without that of a field.
    #[must_use]
    pub fn without(&self, field: &str) -> Vec<Row> {
        self.rows.iter().filter(|row| row.field != field).cloned().collect()
    }

    /// What is different in `next`, one sentence for each row.
    #[must_use]
    pub fn differences(&self, next: &Self) -> Vec<String> {
        let mut said = Vec::new();
        for was in &self.rows {
            match next.row(&was.field) {
                None => said.push(format!("{} is filled no more; it was {was}", was.field)),
                Some(is) if is != was => {
                    said.push(format!("{} is {is}; it was {was}", was.field));
                }
                Some(_) => {}
            }
        }
        let fresh = next.rows.iter().filter(|is| self.row(&is.field).is_none());
        said.extend(fresh.map(|is| format!("{} is {is}; it was not filled", is.field)));
        said
    }

    /// The look-up tables that it asks.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| &row.transforms).filter_map(|transform| match transform {
            Transform::Lookup { table } => Some(table.as_str()),
            _ => None,
        })
    }
}

/// What fills the field, in words: `from title, trim, lookup titles`.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", self.sources.join(" or "))?;
        for transform in &self.transforms {
            write!(f, ", {transform}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Self::Trim | Self::Lower => f.write_str(word),
            Self::Join { separator: text } | Self::Default { text } => {
                write!(f, "{word} \"{text}\"")
            }
            Self::Lookup { table } => write!(f, "{word} {table}"),
        }
    }
}

impl Transform {
    /// Its name.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::Lower => "lower",
            Self::Join { .. } => "join",
            Self::Default { .. } => "default",
            Self::Lookup { .. } => "lookup",
        }
    }
}

impl Row {
    fn require_fitting(&self) -> Result<(), MappingError> {
        let field = || self.field.clone();
        if !(1..=ROW_SOURCES_MAX).contains(&self.sources.len()) {
            return Err(MappingError::SourceCount(field()));
        }
        let fits = |source: &String| (1..=SOURCE_CHARS_MAX).contains(&source.chars().count());
        if !self.sources.iter().all(fits) {
            return Err(MappingError::SourceLength(field()));
        }
        let mut seen = BTreeSet::new();
        for transform in &self.transforms {
            let word = transform.word();
            if !seen.insert(word) {
                return Err(MappingError::TwiceTransformed(field(), word));
            }
            match transform {
                Transform::Join { separator: text } | Transform::Default { text }
                    if text.chars().count() > FIELD_VALUE_CHARS_MAX =>
                {
                    return Err(MappingError::TextLength(field(), word));
                }
                Transform::Lookup { table } if !is_name(table) => {
                    return Err(MappingError::TableName(table.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The value of the field, and what was looked up for it in vain.
    fn evaluate(
        &self,
        source: &impl Fn(&str) -> Vec<String>,
        lookup: &impl Fn(&str, &str) -> Option<String>,
        misses: &mut Vec<(String, String)>,
    ) -> Option<String> {
        let mut values: Vec<String> = self
            .sources
            .iter()
            .flat_map(|path| source(path))
            .filter(|text| is_some(text))
            .collect();
        let mut left = self.transforms.iter();
        while let Some(transform) = left.next() {
            match transform {
                Transform::Trim => {
                    for value in &mut values {
                        *value = value.trim().to_owned();
                    }
                }
                Transform::Lower => {
                    for value in &mut values {
                        *value = value.to_lowercase();
                    }
                }
                Transform::Join { separator } if !values.is_empty() => {
                    values = vec![values.join(separator)];
                }
                Transform::Default { text } if values.is_empty() => values.push(text.clone()),
                Transform::Join { .. } | Transform::Default { .. } => {}
                Transform::Lookup { table } => {
                    // Only values that can become part of the field are looked up.
                    let joins = |one: &Transform| matches!(one, Transform::Join { .. });
                    if !left.clone().any(joins) {
                        values.truncate(1);
                    }
                    values = looked_up(table, values, lookup, misses);
                }
            }
        }
        values.into_iter().find(|value| is_some(value)).map(cut)
    }
}

fn looked_up(
    table: &str,
    values: Vec<String>,
    lookup: &impl Fn(&str, &str) -> Option<String>,
    misses: &mut Vec<(String, String)>,
) -> Vec<String> {
    let mut found = Vec::new();
    for value in values {
        if let Some(result) = lookup(table, &value) {
            found.push(result);
            continue;
        }
        let miss = (table.to_owned(), value);
        if misses.len() < MISSES_MAX && !misses.contains(&miss) {
            misses.push(miss);
        }
    }
    found
}

/// What a mapping makes of an account: `source` reads the values of a source, `lookup` the entry of a
/// table.
#[must_use]
pub fn evaluate(
    mapping: &Mapping,
    source: impl Fn(&str) -> Vec<String>,
    lookup: impl Fn(&str, &str) -> Option<String>,
) -> Evaluated {
    let mut done = Evaluated::default();
    for row in &mapping.rows {
        if let Some(value) = row.evaluate(&source, &lookup, &mut done.misses) {
            done.fields.insert(row.field.clone(), value.into());
        }
    }
    done
}

/// The fields of an account as the directory shows them, in the order of `fields`.
///
/// What the connection of the account maps is the connection's, also where it has no value. Everything
/// else is what an administrator wrote, or else what a mapping once made of the document: that of a
/// Local account is only where its fields begin.
#[must_use]
pub fn effective(account: &Account, mapping: &Mapping, fields: &[&str]) -> Vec<Effective> {
    let text = |from: &Map<String, Value>, field: &str| {
        from.get(field).and_then(Value::as_str).map(str::to_owned)
    };
    let shown = |field: &&str| {
        let mapped = is_owned(account, mapping, field);
        let local = text(&account.local_fields, field).filter(|_| !mapped);
        let value = local.or_else(|| text(&account.fields, field));
        Effective { field: (*field).to_owned(), value, mapped }
    };
    fields.iter().map(shown).collect()
}

/// Whether the connection of the account fills the field. Nobody but its source says how a person signs
/// in, not even of a Local account.
#[must_use]
pub fn is_owned(account: &Account, mapping: &Mapping, field: &str) -> bool {
    field == "user_name" || (account.connection.is_some() && mapping.row(field).is_some())
}

fn is_some(text: &str) -> bool {
    !text.trim().is_empty()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(FIELD_VALUE_CHARS_MAX) {
        None => text,
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests;
