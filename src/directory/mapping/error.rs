//! Why rows are no mapping.

use std::fmt;

use super::{
    FIELD_NAME_CHARS_MAX, FIELD_VALUE_CHARS_MAX, MAPPING_ROWS_MAX, ROW_SOURCES_MAX, Row,
    SOURCE_CHARS_MAX,
};

/// Why rows are no mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingError {
    /// There are more rows than [`MAPPING_ROWS_MAX`].
    TooManyRows,
    /// A field that the instance does not have, and those that it has.
    UnknownField(String, Vec<String>),
    /// Two rows fill one field.
    MappedTwice(String),
    /// A row that cannot be changed, with what it has to be.
    ReadOnly(Row),
    /// A row has no source, or more than [`ROW_SOURCES_MAX`].
    SourceCount(String),
    /// A source is empty or longer than [`SOURCE_CHARS_MAX`].
    SourceLength(String),
    /// A row has a transform of one kind twice.
    TwiceTransformed(String, &'static str),
    /// The text of a transform is longer than [`FIELD_VALUE_CHARS_MAX`].
    TextLength(String, &'static str),
    /// A name that no look-up table can have.
    TableName(String),
}

impl std::error::Error for MappingError {}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRows => {
                write!(f, "a mapping has at most {MAPPING_ROWS_MAX} rows: leave some out")
            }
            Self::UnknownField(field, known) => {
                let known = known.join(", ");
                write!(f, "there is no field \"{field}\": define it first, or take one of {known}")
            }
            Self::MappedTwice(field) => {
                write!(f, "two rows fill the field {field}: make one of them, with several sources")
            }
            Self::ReadOnly(row) => write!(
                f,
                "the field {} is always filled from {}: leave that row out, or as it is",
                row.field,
                row.sources.join(", ")
            ),
            Self::SourceCount(field) => {
                write!(f, "the row of {field} must have 1 to {ROW_SOURCES_MAX} sources")
            }
            Self::SourceLength(field) => {
                write!(f, "a source of {field} must have 1 to {SOURCE_CHARS_MAX} characters")
            }
            Self::TwiceTransformed(field, word) => {
                write!(f, "the row of {field} has the transform {word} twice: leave one out")
            }
            Self::TextLength(field, word) => write!(
                f,
                "the text of {word} in the row of {field} must have at most \
                 {FIELD_VALUE_CHARS_MAX} characters"
            ),
            Self::TableName(name) => write!(
                f,
                "\"{name}\" cannot be the name of a look-up table: take a small letter, then small \
                 letters, digits and _, at most {FIELD_NAME_CHARS_MAX} characters"
            ),
        }
    }
}
