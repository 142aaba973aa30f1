//! The file of a migration: who is meant, what she is called from now on, where she belongs; read, and
//! written so that it can be read again.

use std::io::{Read, Seek, Write};

use csv::{Terminator, Writer, WriterBuilder};

use super::format::{Entry, FormatError, Row, Rows, Wanted, detect};
use super::source::Stop;
use crate::directory::migration::Line;

/// The columns, by their names; the last can be left out.
pub const COLUMNS: [&str; 3] = ["existing_username", "new_username", "target_directory"];

/// The bytes of such a file.
pub const MIGRATION_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What begins a formula in a spreadsheet.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// The places of the columns in a file.
struct Places {
    existing: usize,
    new: usize,
    target: Option<usize>,
}

/// Reads a file, at most `lines_max` lines of it and one more.
///
/// What is wrong with a single line is said of that line. The file is refused if it is no CSV file, and if
/// its columns are not those that a migration has.
pub fn read<F: Read + Seek>(mut file: F, lines_max: usize) -> Result<Vec<Line>, Stop> {
    let form = detect(&mut file, Wanted::default()).map_err(Stop::because)?;
    let rows = match Rows::open(file, &form) {
        // Nobody to migrate is no mistake.
        Err(FormatError::OnlyHeader) => return Ok(Vec::new()),
        rows => rows.map_err(Stop::because)?,
    };
    let places = places(rows.header())?;
    let mut lines = Vec::new();
    for entry in rows.take(lines_max.saturating_add(1)) {
        lines.push(match entry.map_err(Stop::because)? {
            Entry::Row(row) => line(&row, &places),
            Entry::Bad(bad) => Line {
                line: number(bad.line),
                existing: String::new(),
                new: None,
                target: None,
                bad: Some(bad.reason.to_string()),
            },
        });
    }
    Ok(lines)
}

/// Where the columns are: in any order, in any case, with blanks or hyphens for underscores.
fn places(header: &[String]) -> Result<Places, Stop> {
    let plain = |name: &String| name.trim().to_lowercase().replace([' ', '-'], "_");
    let names: Vec<String> = header.iter().map(plain).collect();
    let place = |column: &str| names.iter().position(|name| name == column);
    let [existing, new, target] = COLUMNS;
    if let Some(other) = header.iter().find(|name| !COLUMNS.contains(&plain(name).as_str())) {
        return Err(Stop::because(format!(
            "the column \"{other}\" is none of {existing}, {new} and {target}: take it out, or name it so"
        )));
    }
    let missing = |column: &str| {
        Stop::because(format!(
            "the file has no column {column}: its header is {existing},{new},{target}; the last can be \
             left out"
        ))
    };
    Ok(Places {
        existing: place(existing).ok_or_else(|| missing(existing))?,
        new: place(new).ok_or_else(|| missing(new))?,
        target: place(target),
    })
}

fn line(row: &Row, places: &Places) -> Line {
    let cell = |place: usize| row.cells.get(place).unwrap_or_default();
    let full = |text: String| Some(text).filter(|text| !text.is_empty());
    Line {
        line: number(row.line),
        existing: meant(cell(places.existing)),
        new: full(meant(cell(places.new))),
        target: places.target.and_then(|place| full(cell(place).trim().to_owned())),
        bad: None,
    }
}

fn number(line: u64) -> i64 {
    i64::try_from(line).unwrap_or(i64::MAX)
}

/// Whether a spreadsheet takes a text for a formula once the apostrophes before it are gone.
fn begins_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA)
}

/// A name as a file has it: an apostrophe keeps a spreadsheet from taking it for a formula.
fn guarded(name: &str) -> String {
    if begins_formula(name) { format!("'{name}") } else { name.to_owned() }
}

/// A name as it is meant: without the apostrophe that guards it, and without blanks around it unless it is
/// nothing else.
fn meant(cell: &str) -> String {
    let name = cell.trim();
    let unguarded = name.strip_prefix('\'').filter(|name| begins_formula(name));
    unguarded.unwrap_or(name).to_owned()
}

/// Writes a file that says of each account what it is already.
pub struct Exporter<W: Write> {
    writer: Writer<W>,
}

impl<W: Write> Exporter<W> {
    /// Begins a file, with its header.
    pub fn begin(into: W) -> Result<Self, Stop> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(into);
        writer.write_record(COLUMNS).map_err(Stop::because)?;
        Ok(Self { writer })
    }

    /// Writes an account and the directory key of where it belongs, or `Local`.
    pub fn write(&mut self, user_name: &str, directory: &str) -> Result<(), Stop> {
        let name = guarded(user_name);
        self.writer.write_record([&name, &name, directory]).map_err(Stop::because)
    }

    /// Ends the file.
    pub fn end(mut self) -> Result<(), Stop> {
        self.writer.flush().map_err(Stop::because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn told(text: &str) -> Result<Vec<String>, String> {
        let lines = read(Cursor::new(text.as_bytes()), 3).map_err(|stop| stop.reason)?;
        let shown = lines.iter().map(|line| {
            let new = line.new.as_deref().unwrap_or("=");
            let target = line.target.as_deref().unwrap_or("=");
            let bad = line.bad.as_deref().map(|_| " !").unwrap_or_default();
            format!("{} {}>{new}@{target}{bad}", line.line, line.existing)
        });
        Ok(shown.collect())
    }

    #[test]
    fn lines_are_read_however_the_file_is_written() {
        let cases: &[(&str, &[&str])] = &[
            ("existing_username,new_username,target_directory\na,b,Entra\n", &["2 a>b@Entra"]),
            ("Existing Username;New username\r\na; b \r\n\r\nc;\r\n", &["2 a>b@=", "4 c>=@="]),
            ("target-directory\tnew_username\texisting_username\nLocal\t\ta\n", &["2 a>=@Local"]),
            ("existing_username,new_username\n", &[]),
            ("existing_username,new_username\na,b\nc\nd,e\n", &["2 a>b@=", "3 >=@= !", "4 d>e@="]),
            ("existing_username,new_username\n'+49,'-1\n'a,''=b\n", &["2 +49>-1@=", "3 'a>'=b@="]),
            (
                "existing_username,new_username\n1,\n2,\n3,\n4,\n5,\n",
                &["2 1>=@=", "3 2>=@=", "4 3>=@=", "5 4>=@="],
            ),
        ];
        for (text, lines) in cases {
            assert_eq!(told(text).unwrap(), *lines, "{text:?}");
        }
        let refused = [
            ("existing_username,target_directory\na,b\n", "no column new_username"),
            ("existing_username,new_username,manager\na,b,c\n", "\"manager\" is none of"),
            ("", "empty"),
        ];
        for (text, why) in refused {
            let reason = told(text).unwrap_err();
            assert!(reason.contains(why), "{reason}");
        }
    }

    proptest! {
        /// Whatever a name is, it comes back as it was written.
        #[test]
        fn a_guarded_name_is_read_as_it_was(name in "[-'=+@a,;\"]{1,6}") {
            let mut file = Vec::new();
            let mut exporter = Exporter::begin(&mut file).unwrap();
            exporter.write(&name, "Local").unwrap();
            exporter.write("b", "Local").unwrap();
            exporter.end().unwrap();
            let lines = read(Cursor::new(file), 10).unwrap();
            let line = lines.into_iter().next().unwrap();
            prop_assert_eq!((&line.existing, line.new.as_ref(), line.bad), (&name, Some(&name), None));
        }
    }
}
