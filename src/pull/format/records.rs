//! From bytes to records: what RFC 4180 says, and what spreadsheets write.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult};

use super::{Encoding, FormatError, ROW_BYTES_MAX};

/// The bytes that are read at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// Stands for what cannot be decoded. No text has this character: it is for the use of programs only.
pub(super) const UNDECODABLE: char = '\u{ffff}';

/// A file as UTF-8, a chunk at a time.
///
/// A file that is UTF-8 already is passed on as it is: quotes, separators and ends of lines are ASCII,
/// and each record is checked when it is whole.
struct Text<F> {
    file: F,
    decoder: Option<Decoder>,
    chunk: Vec<u8>,
    used: usize,
    ended: bool,
}

impl<F: Read> Text<F> {
    /// What has been read and not used; empty at the end of the file only.
    fn fill(&mut self) -> io::Result<&[u8]> {
        while self.used >= self.chunk.len() && !self.ended {
            self.chunk.clear();
            self.used = 0;
            self.file.by_ref().take(CHUNK_BYTES).read_to_end(&mut self.chunk)?;
            self.ended = self.chunk.is_empty();
            if let Some(decoder) = &mut self.decoder {
                self.chunk = decode(decoder, &self.chunk, self.ended);
            }
        }
        Ok(self.chunk.get(self.used..).unwrap_or_default())
    }
}

/// Decodes a chunk; [`UNDECODABLE`] takes the place of what has no meaning.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], last: bool) -> Vec<u8> {
    let mut text = String::new();
    loop {
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
        text.reserve(room.unwrap_or(bytes.len()).max(4));
        let (result, read) = decoder.decode_to_string_without_replacement(bytes, &mut text, last);
        bytes = bytes.get(read..).unwrap_or_default();
        match result {
            DecoderResult::InputEmpty => return text.into_bytes(),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => text.push(UNDECODABLE),
        }
    }
}

/// Counts lines that end in `\n`, `\r\n` or `\r`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// The line of the next byte, from 1.
    pub(super) line: u64,
    after_cr: bool,
}

impl Lines {
    pub(super) const START: Self = Self { line: 1, after_cr: false };

    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let ends = byte == b'\r' || (byte == b'\n' && !self.after_cr);
            self.line += u64::from(ends);
            self.after_cr = byte == b'\r';
        }
    }
}

/// How a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum End {
    /// With the end of a line.
    #[default]
    Line,
    /// With the file.
    File,
    /// With the file, and a quote is open.
    Quoted,
}

/// What stands between two ends of lines that are not quoted: perhaps nothing.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The line in which it begins.
    pub(super) line: u64,
    /// The line in which it ends.
    pub(super) line_last: u64,
    /// The cells, one behind the other.
    pub(super) text: Vec<u8>,
    /// Where in `text` each cell ends.
    pub(super) ends: Vec<usize>,
    /// Whether something stands behind a closing quote.
    pub(super) stray_quote: bool,
    /// How it ends.
    pub(super) end: End,
}

impl Record {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.stray_quote = false;
        self.end = End::Line;
    }

    /// Whether no cell has anything but blanks.
    pub(super) fn is_blank(&self) -> bool {
        self.text.iter().all(u8::is_ascii_whitespace)
    }

    /// The cells as they were read.
    pub(super) fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&from, &to)| self.text.get(from..to).unwrap_or_default())
    }

    /// How much memory it takes, more or less. An empty cell takes some, too.
    fn size(&self) -> usize {
        self.text.len() + self.ends.len()
    }
}

/// Where in a record the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    Cell,
    Quoted,
    BehindQuote,
}

/// Cuts text into records.
struct Scanner {
    separator: u8,
    place: Place,
    lines: Lines,
}

impl Scanner {
    /// Adds the beginning of a text to the record: how many bytes, and whether it is whole with them.
    fn step(&mut self, text: &[u8], record: &mut Record) -> (usize, bool) {
        let Some(&byte) = text.first() else { return (0, false) };
        match (self.place, byte) {
            (Place::Quoted, b'"') => self.place = Place::BehindQuote,
            (Place::Quoted, _) => {
                let cell = until(text, |byte| byte == b'"');
                self.lines.pass(cell);
                record.text.extend_from_slice(cell);
                return (cell.len(), false);
            }
            // The second half of the end of the line before.
            (_, b'\n') if self.lines.after_cr => {}
            (_, b'\n' | b'\r') => {
                record.line_last = self.lines.line;
                self.lines.pass(&[byte]);
                self.end_cell(record);
                return (1, true);
            }
            (_, byte) if byte == self.separator => self.end_cell(record),
            (Place::CellStart, b'"') => self.place = Place::Quoted,
            (Place::BehindQuote, b'"') => {
                record.text.push(b'"');
                self.place = Place::Quoted;
            }
            (place, _) => {
                record.stray_quote |= place == Place::BehindQuote && byte != b' ';
                let separator = self.separator;
                let cell = until(text, |byte| matches!(byte, b'\n' | b'\r') || byte == separator);
                record.text.extend_from_slice(cell);
                self.place = Place::Cell;
                self.lines.after_cr = false;
                return (cell.len(), false);
            }
        }
        self.lines.pass(&[byte]);
        (1, false)
    }

    fn end_cell(&mut self, record: &mut Record) {
        record.ends.push(record.text.len());
        self.place = Place::CellStart;
    }

    /// Ends the record with the file; whether there is one.
    fn end(&mut self, record: &mut Record) -> bool {
        let nothing = record.size() == 0 && self.place == Place::CellStart;
        record.end = if self.place == Place::Quoted { End::Quoted } else { End::File };
        record.line_last = self.lines.line;
        self.end_cell(record);
        !nothing
    }
}

/// A text up to the first byte that stops it.
fn until(text: &[u8], stop: impl Fn(u8) -> bool) -> &[u8] {
    let at = text.iter().position(|&byte| stop(byte)).unwrap_or(text.len());
    text.split_at(at).0
}

/// The records of a file, one after the other.
pub(super) struct Records<F> {
    text: Text<F>,
    scanner: Scanner,
}

impl<F: Read> Records<F> {
    /// The records of a file that stands behind its byte order mark.
    pub(super) fn new(file: F, encoding: Encoding, separator: u8) -> Self {
        let decoder = match encoding {
            Encoding::Utf8 => None,
            other => Some(other.codec().new_decoder_without_bom_handling()),
        };
        let text = Text { file, decoder, chunk: Vec::new(), used: 0, ended: false };
        Self { text, scanner: Scanner { separator, place: Place::CellStart, lines: Lines::START } }
    }

    /// Reads the next record, and tells whether there is one.
    ///
    /// It never holds more than [`ROW_BYTES_MAX`] and one chunk, whatever is in the file.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool, FormatError> {
        record.clear();
        record.line = self.scanner.lines.line;
        loop {
            let mut text = self.text.fill()?;
            if text.is_empty() {
                return Ok(self.scanner.end(record));
            }
            let mut whole = false;
            let length = text.len();
            while !whole && !text.is_empty() {
                let (used, ended) = self.scanner.step(text, record);
                text = text.get(used..).unwrap_or_default();
                whole = ended;
            }
            let used = length - text.len();
            self.text.used += used;
            if record.size() > ROW_BYTES_MAX {
                return Err(FormatError::LongRow { line: record.line });
            }
            if whole {
                return Ok(true);
            }
        }
    }
}
