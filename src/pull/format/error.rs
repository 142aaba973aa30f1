//! Why a file, or a row of it, cannot be read.

use std::io;

use super::{CELL_BYTES_MAX, COLUMNS_MAX, Encoding, HEADER_BYTES_MAX, ROW_BYTES_MAX, ROWS_MAX};

/// Why a file cannot be read, or not on from here.
///
/// No text of this quotes a cell: these messages are shown and logged, and cells are about people. Names
/// of columns are quoted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is nothing but blanks in the file.
    #[error("the file is empty: export it again, with a header and rows")]
    Empty,
    /// The file has no row.
    #[error("the file has a header and no rows: export it again, and check what is selected there")]
    OnlyHeader,
    /// The file is a page for a browser.
    #[error(
        "this is a web page, often one to sign in on, and no CSV file: check the address, and whether \
         it can be fetched without a browser"
    )]
    WebPage,
    /// The file is XML.
    #[error("this is XML and no CSV file: choose CSV where it is exported")]
    Xml,
    /// The file is JSON.
    #[error(
        "this is JSON, perhaps the error message of a server, and no CSV file: check the address, or \
         export as CSV"
    )]
    Json,
    /// The file is no text.
    #[error("this is {0} and no CSV file: export as CSV, and do not compress it")]
    Binary(&'static str),
    /// The file begins like one of another encoding than the fixed one.
    #[error(
        "the encoding is fixed as {fixed}, and the file is {found}: change the encoding of the \
         connection to {found}, or leave it to be found out"
    )]
    OtherEncoding {
        /// What an administrator has fixed.
        fixed: Encoding,
        /// What the file is.
        found: Encoding,
    },
    /// The encoding is fixed as UTF-16, which the file is not.
    #[error(
        "the encoding is fixed as {0}, and the file is not in it: leave the encoding to be found out"
    )]
    NotUtf16(Encoding),
    /// The file has to be UTF-8 and is not, from this line on.
    #[error(
        "line {line} has bytes that are no UTF-8, which the rest of the file is said or seems to be: \
         export it again as UTF-8, or fix the encoding of the connection as windows-1252 if it is that"
    )]
    NotUtf8 {
        /// The first line with such bytes.
        line: u64,
    },
    /// The separator is fixed as one that does not occur where another one does.
    #[error(
        "the separator is fixed as {fixed}, and the cells of the file are separated by {found}: change \
         the separator of the connection, or leave it to be found out"
    )]
    OtherSeparator {
        /// What an administrator has fixed.
        fixed: super::Separator,
        /// What the file has.
        found: super::Separator,
    },
    /// The cells are separated by something else.
    #[error(
        "the cells of the file seem to be separated by \"{0}\": export it with commas, semicolons or \
         tabs"
    )]
    UnknownSeparator(char),
    /// The first row is about somebody.
    #[error(
        "the first row has an e-mail address in it, so it seems to be no header: export the file with \
         the names of the columns in the first row"
    )]
    NoHeader,
    /// The header has characters that no name has, or cannot be decoded.
    #[error(
        "the header has characters that are no text: export the file again as CSV in UTF-8, and leave \
         the encoding to be found out"
    )]
    HeaderNotText,
    /// Something stands behind a closing quote in the header.
    #[error("a quote in the header is not doubled: export the file again, with quotes doubled")]
    HeaderQuote,
    /// The header is longer than [`HEADER_BYTES_MAX`].
    #[error(
        "the first row is longer than {HEADER_BYTES_MAX} bytes: check that it is the header, that the \
         file has line breaks, and that each quote in the header is closed"
    )]
    LongHeader,
    /// The file has more columns than [`COLUMNS_MAX`].
    #[error("the file has {0} columns, and {COLUMNS_MAX} can be read: export fewer")]
    TooManyColumns(usize),
    /// A column has no name. The number counts from 1.
    #[error("column {0} has no name: give it one in the first row, or leave it out")]
    UnnamedColumn(usize),
    /// Columns have the same name, but for the case of letters.
    #[error("there is more than one column {}: leave one out, or rename it", listed(.0))]
    SameColumns(Vec<String>),
    /// The file is not whole.
    #[error(
        "the file ends in the middle of a row, which begins in line {line}: was the download or the \
         export cut short?"
    )]
    Truncated {
        /// Where the row begins.
        line: u64,
    },
    /// A row is longer than [`ROW_BYTES_MAX`].
    #[error(
        "the row that begins in line {line} is longer than {ROW_BYTES_MAX} bytes: check whether a \
         quote is not closed there"
    )]
    LongRow {
        /// Where the row begins.
        line: u64,
    },
    /// The file has more rows than [`ROWS_MAX`].
    #[error("the file has more than {ROWS_MAX} rows: divide it among several connections")]
    TooManyRows,
    /// The file could not be read from this machine.
    #[error("the fetched file cannot be read: see the log for the reason, and try again")]
    Io(#[from] io::Error),
}

/// Why one row cannot be used. Columns are told by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReason {
    /// The row has fewer or more cells than the header.
    #[error(
        "it has {cells} cells, and the header has {columns}: was a quote or separator left out?"
    )]
    CellCount {
        /// The cells of the row.
        cells: usize,
        /// The cells of the header.
        columns: usize,
    },
    /// A cell is longer than [`CELL_BYTES_MAX`].
    #[error("the cell of {0} is longer than {CELL_BYTES_MAX} bytes: shorten it")]
    LongCell(String),
    /// A cell has a control character other than a tab or the end of a line.
    #[error("the cell of {0} has a control character: remove it")]
    Control(String),
    /// A cell has bytes that mean nothing in the encoding of the file.
    #[error("the cell of {0} cannot be decoded: export the file again")]
    Undecodable(String),
    /// Something stands behind a closing quote.
    #[error(
        "there is text behind a closing quote: a quote inside of a quoted cell must be doubled"
    )]
    StrayQuote,
}

fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}
