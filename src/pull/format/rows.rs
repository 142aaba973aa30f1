//! The rows of a file under its header.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use csv::StringRecord;

use super::records::{End, Record, Records, UNDECODABLE};
use super::{
    BadReason, CELL_BYTES_MAX, COLUMNS_MAX, Form, FormatError, HEADER_BYTES_MAX, ROWS_MAX,
};

/// The characters of a name that an error quotes.
const QUOTED_CHARS_MAX: usize = 100;

/// The names that an error lists.
const LISTED_MAX: usize = 5;

/// The rows of a file, read one at a time.
///
/// Rows without anything in them are left out. After an error there are no more.
pub struct Rows<F> {
    records: Records<F>,
    record: Record,
    header: Vec<String>,
    /// The first row, which has been read to know that there is one.
    first: Option<Result<Entry, FormatError>>,
    count: u64,
    ended: bool,
}

/// What a file has in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A row.
    Row(Row),
    /// A row that cannot be used. Those behind it can be.
    Bad(Bad),
}

/// A row: as many cells as the header has, the columns in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line in which it begins. The header is line 1, unless a spreadsheet put something before it.
    pub line: u64,
    /// The cells as they are in the file.
    pub cells: StringRecord,
}

/// A row that is in the file and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// The line in which it begins.
    pub line: u64,
    /// The line in which it ends. A quote too many makes one row of several, so this can be about more
    /// than one person.
    pub line_last: u64,
    /// What is wrong with it.
    pub reason: BadReason,
}

impl<F: Read + Seek> Rows<F> {
    /// Reads the header of a file, from its beginning, and checks it.
    pub fn open(mut file: F, form: &Form) -> Result<Self, FormatError> {
        let mark = if form.bom { form.encoding.mark().len() } else { 0 };
        file.seek(SeekFrom::Start(mark as u64))?;
        let mut records = Records::new(file, form.encoding, form.separator.byte());
        let mut record = Record::default();
        let header = header(&mut records, &mut record)?;
        let mut rows = Self { records, record, header, first: None, count: 0, ended: false };
        rows.first = Some(rows.read().ok_or(FormatError::OnlyHeader)?);
        Ok(rows)
    }
}

impl<F: Read> Rows<F> {
    /// The names of the columns as they are written, without blanks at both ends.
    #[must_use]
    pub fn header(&self) -> &[String] {
        &self.header
    }

    fn read(&mut self) -> Option<Result<Entry, FormatError>> {
        loop {
            match self.records.read(&mut self.record) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            let record = &mut self.record;
            let alone = record.ends.len() == 1;
            if record.is_blank() && record.end != End::Quoted && (record.end == End::Line || alone)
            {
                continue;
            }
            if is_cut(record, self.header.len()) {
                return Some(Err(FormatError::Truncated { line: record.line }));
            }
            self.count += 1;
            if self.count > ROWS_MAX {
                return Some(Err(FormatError::TooManyRows));
            }
            return Some(Ok(entry(record, &self.header)));
        }
    }
}

impl<F: Read> Iterator for Rows<F> {
    type Item = Result<Entry, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.first.take().or_else(|| self.read());
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Whether the file ends before the record does.
fn is_cut(record: &Record, columns: usize) -> bool {
    match record.end {
        End::Line => false,
        End::Quoted => true,
        End::File => record.ends.len() < columns || ends_in_half_a_character(&record.text),
    }
}

fn ends_in_half_a_character(text: &[u8]) -> bool {
    match std::str::from_utf8(text) {
        Ok(text) => text.ends_with(UNDECODABLE),
        Err(error) => error.error_len().is_none(),
    }
}

/// What a spreadsheet puts before the header: the separator, or the type of the rows.
pub(super) fn is_preamble(record: &Record) -> bool {
    // With the very separator that the line names, it is cut into two cells.
    let cut = record.ends.len() == 2 && record.text.eq_ignore_ascii_case(b"sep=");
    let typed = record.text.starts_with(b"#TYPE ");
    record.line == 1 && (cut || typed || separator_of_preamble(record).is_some())
}

/// The separator that the line `sep=;` names.
pub(super) fn separator_of_preamble(record: &Record) -> Option<u8> {
    let (word, separator) = record.text.split_at_checked(4)?;
    match separator {
        &[byte] if record.line == 1 && record.ends.len() == 1 => {
            word.eq_ignore_ascii_case(b"sep=").then_some(byte)
        }
        _ => None,
    }
}

fn header<F: Read>(
    records: &mut Records<F>,
    record: &mut Record,
) -> Result<Vec<String>, FormatError> {
    loop {
        let more = records.read(record).map_err(|error| match error {
            FormatError::LongRow { .. } => FormatError::LongHeader,
            other => other,
        })?;
        if !more {
            return Err(FormatError::Empty);
        }
        if record.text.len() > HEADER_BYTES_MAX {
            return Err(FormatError::LongHeader);
        }
        if record.end == End::Quoted {
            return Err(FormatError::Truncated { line: record.line });
        }
        if !record.is_blank() && !is_preamble(record) {
            break;
        }
    }
    let mut names = Vec::new();
    for cell in record.cells() {
        let name = std::str::from_utf8(cell).map_err(|_| FormatError::HeaderNotText)?;
        let name = name.trim_start_matches('\u{feff}').trim();
        if name.chars().any(|c| c == UNDECODABLE || (c.is_control() && !is_blank_control(c))) {
            return Err(FormatError::HeaderNotText);
        }
        names.push(name.to_owned());
    }
    // Spreadsheets write empty columns at the end when a cell there was ever touched.
    let width = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    names.truncate(width);
    checked(names, record.stray_quote)
}

fn checked(names: Vec<String>, stray_quote: bool) -> Result<Vec<String>, FormatError> {
    if names.len() > COLUMNS_MAX {
        return Err(FormatError::TooManyColumns(names.len()));
    }
    if names.iter().any(|name| is_address(name)) {
        return Err(FormatError::NoHeader);
    }
    if stray_quote {
        return Err(FormatError::HeaderQuote);
    }
    if let Some(at) = names.iter().position(String::is_empty) {
        return Err(FormatError::UnnamedColumn(at + 1));
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let same: Vec<String> = names
        .iter()
        .filter(|name| {
            let count = seen.entry(name.to_lowercase()).or_default();
            *count += 1;
            *count == 2
        })
        .map(|name| name.chars().take(QUOTED_CHARS_MAX).collect())
        .take(LISTED_MAX)
        .collect();
    if same.is_empty() { Ok(names) } else { Err(FormatError::SameColumns(same)) }
}

/// Whether this is an e-mail address rather than the name of a column.
fn is_address(name: &str) -> bool {
    name.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.trim_matches('.').contains('.')
            && !name.contains(char::is_whitespace)
    })
}

fn is_blank_control(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r')
}

/// What a whole record is. Empty cells behind the last column are no cells.
fn entry(record: &mut Record, header: &[String]) -> Entry {
    let end = record.text.len();
    while record.ends.len() > header.len() {
        let before = record.ends.iter().rev().nth(1).copied().unwrap_or_default();
        if before < end {
            break;
        }
        record.ends.pop();
    }
    match cells(record, header) {
        Ok(cells) => Entry::Row(Row { line: record.line, cells }),
        Err(reason) => Entry::Bad(Bad { line: record.line, line_last: record.line_last, reason }),
    }
}

fn cells(record: &Record, header: &[String]) -> Result<StringRecord, BadReason> {
    if record.stray_quote {
        return Err(BadReason::StrayQuote);
    }
    if record.ends.len() != header.len() {
        return Err(BadReason::CellCount { cells: record.ends.len(), columns: header.len() });
    }
    let mut cells = StringRecord::with_capacity(record.text.len(), header.len());
    for (cell, name) in record.cells().zip(header) {
        if cell.len() > CELL_BYTES_MAX {
            return Err(BadReason::LongCell(name.clone()));
        }
        let undecodable = || BadReason::Undecodable(name.clone());
        let text = std::str::from_utf8(cell).map_err(|_| undecodable())?;
        let ascii = text.is_ascii();
        if !ascii && text.contains(UNDECODABLE) {
            return Err(undecodable());
        }
        let control = if ascii {
            text.bytes().any(|byte| byte.is_ascii_control() && !is_blank_control(byte.into()))
        } else {
            text.chars().any(|c| c.is_control() && !is_blank_control(c))
        };
        if control {
            return Err(BadReason::Control(name.clone()));
        }
        cells.push_field(text);
    }
    Ok(cells)
}
