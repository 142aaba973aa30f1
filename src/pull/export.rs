//! Exporting people as a file that can be imported again.

use std::io::Write;

use csv::Writer;

use super::columns::{EXPORTED, Matched, Meaning, known};
use super::source::Stop;
use crate::directory::{Account, SourceSettings};
use crate::scim::schemas::Schemas;
use crate::scim::values::Path;

/// What separates groups in a cell, where no connection says.
pub const GROUP_SEPARATOR: &str = ";";

/// Writes people as rows: what is read again is what was written.
pub struct Exporter<W: Write> {
    writer: Writer<W>,
    columns: Vec<(Meaning, Option<Path>)>,
    schemas: Schemas,
    separator: String,
}

impl<W: Write> Exporter<W> {
    /// Begins a file with the columns of a connection's last file, or with those that every file can
    /// have, and writes its header.
    pub fn begin(
        into: W,
        schemas: Schemas,
        settings: Option<&SourceSettings>,
        columns: Option<Vec<Matched>>,
    ) -> Result<Self, Stop> {
        let named = |name: &&str| (String::from(*name), known(name));
        let columns: Vec<(String, Meaning)> = match columns {
            Some(columns) => {
                let meant = columns.into_iter().map(|column| (column.name, column.meaning));
                meant.filter_map(|(name, meaning)| Some((name, meaning?))).collect()
            }
            None => {
                let all = EXPORTED.iter().map(named);
                all.filter_map(|(name, meaning)| Some((name, meaning?))).collect()
            }
        };
        let mut writer = Writer::from_writer(into);
        writer.write_record(columns.iter().map(|(name, _)| name)).map_err(Stop::because)?;
        let parsed = columns.into_iter().map(|(_, meaning)| {
            let path = match &meaning {
                Meaning::Attribute(path) => Some(Path::parse(path)?),
                _ => None,
            };
            Ok((meaning, path))
        });
        let parsed: Result<_, crate::scim::ScimError> = parsed.collect();
        Ok(Self {
            writer,
            columns: parsed.map_err(|error| Stop::because(error.detail))?,
            schemas,
            separator: settings
                .map_or(GROUP_SEPARATOR, |settings| settings.group_separator.as_str())
                .to_owned(),
        })
    }

    /// Writes a person, who is in these groups.
    pub fn write(&mut self, account: &Account, groups: &[String]) -> Result<(), Stop> {
        let cell = |(meaning, path): &(Meaning, Option<Path>)| match (meaning, path) {
            (Meaning::Groups, _) => groups.join(&self.separator),
            (_, Some(path)) => path
                .resolve(&self.schemas.user)
                .ok()
                .and_then(|reading| reading.texts(&account.document).into_iter().next())
                .unwrap_or_default(),
            _ => String::new(),
        };
        let cells: Vec<String> = self.columns.iter().map(cell).collect();
        self.writer.write_record(&cells).map_err(Stop::because)
    }

    /// Ends the file.
    pub fn end(mut self) -> Result<(), Stop> {
        self.writer.flush().map_err(Stop::because)
    }
}
