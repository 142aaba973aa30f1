//! The form of a CSV file: its encoding, its separator and its rows.
//!
//! [`detect()`] looks at a file and says in which [`Form`] it is, or why it is no CSV file; [`Rows`] reads
//! it in that form, one row at a time, so that a file of any length needs the same memory. Both read a
//! file that is on this machine already, and block while they do: call them where that is allowed.

mod detect;
mod error;
mod records;
mod rows;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::directory::connection::words;

pub use detect::detect;
pub use error::{BadReason, FormatError};
pub use rows::{Bad, Entry, Row, Rows};

/// The columns of a file.
pub const COLUMNS_MAX: usize = 500;

/// The rows of a file, those that cannot be used among them; the header is not counted.
pub const ROWS_MAX: u64 = 5_000_000;

/// The bytes of one row in UTF-8. A quote that is never closed makes one row of the rest of a file.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;

/// The bytes of the header in UTF-8.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// The bytes of one cell in UTF-8.
pub const CELL_BYTES_MAX: usize = 64 * 1024;

words! {
    /// How the characters of a file are written as bytes.
    Encoding {
        /// UTF-8, and so ASCII.
        Utf8 = "utf-8",
        /// UTF-16, the low byte first: "Unicode text" of Excel and PowerShell on Windows.
        Utf16Le = "utf-16le",
        /// UTF-16, the high byte first.
        Utf16Be = "utf-16be",
        /// The code page of Western Europe: "CSV" of Excel on Windows. ISO 8859-1 is a part of it.
        Windows1252 = "windows-1252",
    }
}

words! {
    /// What stands between two cells.
    Separator {
        /// A comma.
        Comma = "comma",
        /// A semicolon, where the comma is the decimal sign.
        Semicolon = "semicolon",
        /// A tab.
        Tab = "tab",
    }
}

impl Encoding {
    /// The bytes at the beginning of a file that mark it as one of this encoding.
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8 => b"\xef\xbb\xbf",
            Self::Utf16Le => b"\xff\xfe",
            Self::Utf16Be => b"\xfe\xff",
            Self::Windows1252 => b"",
        }
    }

    fn codec(self) -> &'static encoding_rs::Encoding {
        match self {
            Self::Utf8 => encoding_rs::UTF_8,
            Self::Utf16Le => encoding_rs::UTF_16LE,
            Self::Utf16Be => encoding_rs::UTF_16BE,
            Self::Windows1252 => encoding_rs::WINDOWS_1252,
        }
    }
}

impl Separator {
    /// The separator as it stands in a file.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

/// What an administrator has fixed; the rest is found out from each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Wanted {
    /// The encoding.
    pub encoding: Option<Encoding>,
    /// The separator.
    pub separator: Option<Separator>,
}

/// The form in which a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Form {
    /// The encoding.
    pub encoding: Encoding,
    /// Whether the file begins with a byte order mark.
    pub bom: bool,
    /// The separator.
    pub separator: Separator,
    /// What of this was neither fixed nor said by the file.
    pub guessed: Guessed,
}

/// What was neither fixed by an administrator nor said by the file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Guessed {
    /// The encoding: there is no byte order mark.
    pub encoding: bool,
    /// The separator: it is the one that cuts the first rows into equally many cells.
    pub separator: bool,
}
