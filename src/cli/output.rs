//! What a command prints: text for people, or JSON for programs.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Tables and sentences.
    Text,
    /// One JSON value.
    Json,
}

/// Where a command prints its answer.
pub struct Output {
    text: Text,
    form: Form,
}

/// The text form of an answer.
///
/// What identity providers and people wrote is shown with its control characters spelled out, so
/// that no name can play tricks with the terminal.
pub(super) struct Text(Box<dyn Write + Send>);

impl Output {
    /// Prints to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>, form: Form) -> Self {
        Self { text: Text(writer), form }
    }

    /// Prints one of two forms of the same answer.
    pub(super) fn show(
        &mut self,
        json: &Value,
        text: impl FnOnce(&mut Text) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.form {
            Form::Text => text(&mut self.text)?,
            Form::Json => writeln!(self.text.0, "{json:#}")?,
        }
        self.text.0.flush()
    }
}

impl Text {
    /// One line.
    pub(super) fn line(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.0, "{}", printable(&line.to_string()))
    }

    /// A line for each row, its values in columns.
    pub(super) fn table(
        &mut self,
        header: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> io::Result<()> {
        let rows =
            rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
        let mut table = comfy_table::Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_header(header.iter().copied())
            .add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        writeln!(self.0, "{}", table.trim_fmt())
    }

    /// A line for each field: its name and its value.
    pub(super) fn fields(&mut self, fields: &[(&str, String)]) -> io::Result<()> {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            let value = printable(value);
            writeln!(self.0, "{}", format!("{name:width$}  {value}").trim_end())?;
        }
        Ok(())
    }

    /// A JSON value as part of a text; JSON escapes most control characters itself.
    pub(super) fn json(&mut self, value: &Value) -> io::Result<()> {
        for line in format!("{value:#}").lines() {
            self.line(line)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("form", &self.form).finish_non_exhaustive()
    }
}

/// A new file for what people are: nobody but this user can read it.
pub(super) fn private_file(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("{} cannot be written", path.display()))
}

/// A JSON object with more members.
pub(super) fn with<const N: usize>(json: Value, more: [(&str, Value); N]) -> Value {
    let Value::Object(mut members) = json else {
        return json;
    };
    members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(members)
}

/// A dash for what is not there.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn no_name_plays_tricks_with_the_terminal() {
        assert_eq!(printable("Zo\u{eb}"), "Zo\u{eb}");
        assert_eq!(printable("\u{1b}[2J\u{9b}31m\n"), "\\u{1b}[2J\\u{9b}31m\\n");
    }
}
