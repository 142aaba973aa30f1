//! In which form a file is, from its first bytes.

use std::io::{Cursor, Read, Seek};

use super::records::{End, Lines, Record, Records};
use super::rows::{is_preamble, separator_of_preamble};
use super::{Encoding, Form, FormatError, Guessed, Separator, Wanted};

/// The bytes that are looked at; only whether a file is UTF-8 is asked of all its bytes.
const HEAD_BYTES: u64 = 64 * 1024;

/// The bytes that are checked at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

/// The rows whose cells are counted to find the separator.
const SAMPLE_ROWS_MAX: usize = 50;

/// The beginning of a file.
struct Head {
    bytes: Vec<u8>,
    /// Whether that is the file.
    whole: bool,
}

/// Finds out in which form a file is, or says why it cannot be read.
///
/// A byte order mark decides; without one, every second byte being NUL says UTF-16, and what is valid as
/// UTF-8 from beginning to end is UTF-8, since other texts are not by chance. The rest is Windows-1252.
/// The separator is the one that cuts the first rows into equally many cells.
pub fn detect<F: Read + Seek>(file: &mut F, wanted: Wanted) -> Result<Form, FormatError> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut bytes)?;
    let head = Head { whole: (bytes.len() as u64) < HEAD_BYTES, bytes };
    refuse_packed(&head.bytes)?;

    let (encoding, bom) = encoding(file, &head.bytes, wanted.encoding)?;
    let mark = if bom { encoding.mark().len() } else { 0 };
    let bytes = head.bytes.get(mark..).unwrap_or_default();
    let (text, _) = encoding.codec().decode_without_bom_handling(bytes);
    refuse_other_formats(text.trim_start(), head.whole)?;

    let body = Head { bytes: bytes.to_vec(), whole: head.whole };
    let (separator, guessed) = separator(&body, encoding, wanted.separator)?;
    let guessed = Guessed { encoding: wanted.encoding.is_none() && !bom, separator: guessed };
    Ok(Form { encoding, bom, separator, guessed })
}

fn refuse_packed(bytes: &[u8]) -> Result<(), FormatError> {
    let kinds: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "an Excel workbook or a ZIP file"),
        (b"PK\x05\x06", "an empty ZIP file"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
        (b"%PDF", "a PDF"),
    ];
    match kinds.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, kind)) => Err(FormatError::Binary(kind)),
        None => Ok(()),
    }
}

fn refuse_other_formats(text: &str, whole: bool) -> Result<(), FormatError> {
    let start: String = text.chars().take(1000).collect::<String>().to_ascii_lowercase();
    if start.is_empty() && whole {
        return Err(FormatError::Empty);
    }
    if start.starts_with(['{', '[']) {
        return Err(FormatError::Json);
    }
    let markup = start.starts_with('<');
    let page = ["<!doctype html", "<html", "<head", "<body", "<script"];
    if markup && page.iter().any(|tag| start.contains(tag)) {
        return Err(FormatError::WebPage);
    }
    if markup && ["<?xml", "<!--", "<!doctype"].iter().any(|tag| start.starts_with(tag)) {
        return Err(FormatError::Xml);
    }
    Ok(())
}

/// The encoding, and whether the file begins with its mark.
fn encoding<F: Read + Seek>(
    file: &mut F,
    head: &[u8],
    fixed: Option<Encoding>,
) -> Result<(Encoding, bool), FormatError> {
    let marked = Encoding::ALL
        .iter()
        .copied()
        .find(|encoding| !encoding.mark().is_empty() && head.starts_with(encoding.mark()));
    let found = marked.or_else(|| utf16_by_zeros(head));
    if let (Some(fixed), Some(found)) = (fixed, found)
        && fixed != found
    {
        return Err(FormatError::OtherEncoding { fixed, found });
    }
    let zeros = head.split(|&byte| byte == 0).count() - 1;
    match (fixed, found) {
        (_, Some(found @ (Encoding::Utf16Le | Encoding::Utf16Be))) => {
            return Ok((found, marked.is_some()));
        }
        (Some(fixed @ (Encoding::Utf16Le | Encoding::Utf16Be)), _) => {
            let fits = zeros > 0 || head.is_empty();
            return if fits { Ok((fixed, false)) } else { Err(FormatError::NotUtf16(fixed)) };
        }
        _ if zeros * 100 > head.len() => return Err(FormatError::Binary("a binary file")),
        (Some(Encoding::Windows1252), _) => return Ok((Encoding::Windows1252, false)),
        _ => {}
    }
    let seen = Utf8Seen::in_file(file)?;
    match seen.broken_line {
        None if !seen.half_at_end || seen.characters > 0 || fixed.or(marked).is_some() => {
            Ok((Encoding::Utf8, marked.is_some()))
        }
        Some(line) if fixed.or(marked).is_some() || seen.characters >= seen.broken => {
            Err(FormatError::NotUtf8 { line })
        }
        _ => Ok((Encoding::Windows1252, false)),
    }
}

/// UTF-16 without a mark: in every language, separators and ends of lines have a zero byte, and that on
/// one side.
fn utf16_by_zeros(head: &[u8]) -> Option<Encoding> {
    let (mut first, mut second, mut pairs) = (0_usize, 0_usize, 0_usize);
    for pair in head.chunks_exact(2) {
        pairs += 1;
        first += usize::from(pair.first() == Some(&0));
        second += usize::from(pair.last() == Some(&0));
    }
    let (more, less, encoding) = if second > first {
        (second, first, Encoding::Utf16Le)
    } else {
        (first, second, Encoding::Utf16Be)
    };
    (more > 0 && more * 20 >= pairs && less * 4 <= more).then_some(encoding)
}

/// What a file is as UTF-8.
#[derive(Debug, Default)]
struct Utf8Seen {
    /// The characters beyond ASCII.
    characters: u64,
    /// The places that are no UTF-8.
    broken: u64,
    /// The line of the first of them.
    broken_line: Option<u64>,
    /// Whether the file ends with the beginning of a character.
    half_at_end: bool,
}

impl Utf8Seen {
    fn in_file<F: Read + Seek>(file: &mut F) -> Result<Self, FormatError> {
        file.rewind()?;
        let mut seen = Self::default();
        let mut lines = Lines::START;
        let mut bytes = Vec::new();
        loop {
            let kept = bytes.len();
            file.by_ref().take(CHUNK_BYTES).read_to_end(&mut bytes)?;
            if bytes.len() == kept {
                seen.half_at_end = kept > 0;
                return Ok(seen);
            }
            bytes = seen.pass(&bytes, &mut lines);
        }
    }

    /// Looks at some bytes, and returns those at the end that are the beginning of a character.
    fn pass(&mut self, bytes: &[u8], lines: &mut Lines) -> Vec<u8> {
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid();
            if !valid.is_ascii() {
                let leads = valid.bytes().filter(|&byte| byte >= 0xc0).count();
                self.characters += leads as u64;
            }
            if self.broken_line.is_none() {
                lines.pass(valid.as_bytes());
            }
            match std::str::from_utf8(chunk.invalid()) {
                Ok(_) => {}
                Err(error) if error.error_len().is_none() && at_end(bytes, chunk.invalid()) => {
                    return chunk.invalid().to_vec();
                }
                Err(_) => {
                    self.broken += 1;
                    self.broken_line.get_or_insert(lines.line);
                }
            }
        }
        Vec::new()
    }
}

/// Whether a part of some bytes is their end.
fn at_end(bytes: &[u8], part: &[u8]) -> bool {
    bytes.as_ptr_range().end == part.as_ptr_range().end
}

/// The separator, and whether it was guessed.
fn separator(
    head: &Head,
    encoding: Encoding,
    fixed: Option<Separator>,
) -> Result<(Separator, bool), FormatError> {
    let told = told_separator(head, encoding)?;
    let best = Separator::ALL
        .iter()
        .filter_map(|&separator| Some((evenness(head, encoding, separator)?, separator)))
        .max()
        .map(|(_, separator)| separator);
    match (fixed, told, best) {
        (Some(fixed), _, Some(found)) if evenness(head, encoding, fixed).is_none() => {
            Err(FormatError::OtherSeparator { fixed, found })
        }
        (Some(fixed), _, _) => Ok((fixed, false)),
        (None, Some(told), _) => Ok((told, false)),
        (None, None, Some(best)) => Ok((best, true)),
        (None, None, None) => match odd_separator(head, encoding) {
            Some(odd) => Err(FormatError::UnknownSeparator(odd)),
            None => Ok((Separator::Comma, true)),
        },
    }
}

/// The separator that the file names in its first line, as spreadsheets understand it.
fn told_separator(head: &Head, encoding: Encoding) -> Result<Option<Separator>, FormatError> {
    // No file has this byte, so the line stays whole.
    let first = sample(head, encoding, b'\0').into_iter().next().unwrap_or_default();
    match separator_of_preamble(&first) {
        Some(byte) => Separator::ALL
            .iter()
            .copied()
            .find(|separator| separator.byte() == byte)
            .map(Some)
            .ok_or(FormatError::UnknownSeparator(byte.into())),
        None => Ok(None),
    }
}

/// How well a separator fits: the part of the rows, in thousandths, that have as many cells as the
/// first, and how many these are. None if the first row is one cell.
///
/// A comma is the commonest sign within cells and a tab the rarest, so of equals the later one is taken.
fn evenness(head: &Head, encoding: Encoding, separator: Separator) -> Option<(usize, usize)> {
    let mut counts = sample(head, encoding, separator.byte())
        .into_iter()
        .filter(|record| !record.is_blank() && !is_preamble(record))
        .map(|record| record.ends.len());
    let columns = counts.next().filter(|&columns| columns > 1)?;
    let (mut same, mut rows) = (1, 1);
    for count in counts {
        rows += 1;
        same += usize::from(count == columns);
    }
    Some((same * 1000 / rows, columns))
}

/// Another sign that seems to separate the cells of a file in which none of ours does.
fn odd_separator(head: &Head, encoding: Encoding) -> Option<char> {
    let records = sample(head, encoding, b'\0');
    let header = records.iter().find(|record| !record.is_blank() && !is_preamble(record))?;
    ['|', '^', '~']
        .into_iter()
        .find(|&sign| header.text.iter().any(|&byte| char::from(byte) == sign))
}

/// The first records; one that the end of the head cuts is left out.
fn sample(head: &Head, encoding: Encoding, separator: u8) -> Vec<Record> {
    let mut records = Records::new(Cursor::new(&head.bytes), encoding, separator);
    let mut sample = Vec::new();
    while sample.len() < SAMPLE_ROWS_MAX {
        let mut record = Record::default();
        match records.read(&mut record) {
            Ok(true) if head.whole || record.end == End::Line => sample.push(record),
            Ok(_) | Err(_) => break,
        }
    }
    sample
}
