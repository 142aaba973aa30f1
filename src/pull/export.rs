//! Exporting people as a file that can be imported again.

use std::io::Write;

use csv::{Writer, WriterBuilder};

use super::columns::{EXPORTED, Meaning, known, match_columns};
use super::format::Separator;
use super::source::Stop;
use crate::directory::Account;
use crate::directory::source::GROUP_SEPARATOR;
use crate::scim::schemas::Schemas;
use crate::scim::values::Path;
use crate::store::sources::Source;

/// Writes people as rows: what is read again is what was written.
pub struct Exporter<W: Write> {
    writer: Writer<W>,
    columns: Vec<(Meaning, Option<Path>)>,
    schemas: Schemas,
    separator: String,
}

impl<W: Write> Exporter<W> {
    /// Begins a file with the columns of a source's last file, or with those that every file can have,
    /// and writes its header.
    pub fn begin(into: W, schemas: Schemas, source: Option<&Source>) -> Result<Self, Stop> {
        let columns = columns(&schemas, source)?;
        let mut writer = WriterBuilder::new().delimiter(delimiter(source)).from_writer(into);
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
            separator: source
                .map_or(GROUP_SEPARATOR, |source| source.settings.group_separator.as_str())
                .to_owned(),
        })
    }

    /// Writes a person, who is in these groups.
    pub fn write(&mut self, account: &Account, groups: &[String]) -> Result<(), Stop> {
        let cell = |(meaning, path): &(Meaning, Option<Path>)| match (meaning, path) {
            (Meaning::Groups, _) => groups.join(&self.separator),
            (Meaning::Action, _) if !account.active => "suspend".to_owned(),
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

/// What the files of a source have between two cells: one that is separated otherwise would be refused.
fn delimiter(source: Option<&Source>) -> u8 {
    let last = source.and_then(|source| Some(source.last.as_ref()?.separator.as_str()));
    let wanted = source.and_then(|source| source.settings.separator.as_deref()).or(last);
    wanted.and_then(Separator::from_word).unwrap_or(Separator::Comma).byte()
}

fn columns(schemas: &Schemas, source: Option<&Source>) -> Result<Vec<(String, Meaning)>, Stop> {
    let known_to_all = || EXPORTED.iter().map(|name| ((*name).to_owned(), known(name)));
    let pairs: Vec<(String, Option<Meaning>)> = match source {
        Some(source) => {
            let header = match &source.last {
                Some(last) => last.header.clone(),
                None => EXPORTED.iter().map(|name| (*name).to_owned()).collect(),
            };
            // Before the first run the columns that are set may have names of their own.
            match match_columns(&source.settings, schemas, &header) {
                Ok(matched) => {
                    matched.into_iter().map(|column| (column.name, column.meaning)).collect()
                }
                Err(_) if source.last.is_none() => known_to_all().collect(),
                Err(error) => return Err(Stop::because(error)),
            }
        }
        None => known_to_all().collect(),
    };
    Ok(pairs.into_iter().filter_map(|(name, meaning)| Some((name, meaning?))).collect())
}
