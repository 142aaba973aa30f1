use std::io::{self, Cursor, Read, Seek, SeekFrom};

use csv::{QuoteStyle, Terminator, WriterBuilder};
use proptest::prelude::*;

use super::records::{Record, Records};
use super::*;

/// The header, the rows and the bad ones, each with its line.
type Seen = (Vec<String>, Vec<(u64, Vec<String>)>, Vec<(u64, BadReason)>);

fn wanted(encoding: Option<Encoding>, separator: Option<Separator>) -> Wanted {
    Wanted { encoding, separator }
}

fn form(bytes: &[u8], wanted: Wanted) -> Result<Form, FormatError> {
    detect(&mut Cursor::new(bytes), wanted)
}

fn strings(cells: &csv::StringRecord) -> Vec<String> {
    cells.iter().map(str::to_owned).collect()
}

/// The header, the rows and the bad ones up to the end or an error, and the error.
fn read(bytes: &[u8], wanted: Wanted) -> (Seen, Option<FormatError>) {
    let mut seen = Seen::default();
    let rows = form(bytes, wanted).and_then(|form| Rows::open(Cursor::new(bytes), &form));
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return (seen, Some(error)),
    };
    seen.0 = rows.header().to_vec();
    for entry in rows {
        match entry {
            Ok(Entry::Row(row)) => seen.1.push((row.line, strings(&row.cells))),
            Ok(Entry::Bad(bad)) => seen.2.push((bad.line, bad.reason)),
            Err(error) => return (seen, Some(error)),
        }
    }
    (seen, None)
}

fn read_whole(bytes: &[u8]) -> Seen {
    let (seen, error) = read(bytes, Wanted::default());
    assert!(error.is_none(), "{error:?}");
    seen
}

/// A text in the bytes of an encoding.
fn encoded(text: &str, encoding: Encoding, bom: bool) -> Vec<u8> {
    let mut bytes = if bom { encoding.mark().to_vec() } else { Vec::new() };
    match encoding {
        Encoding::Utf8 => bytes.extend(text.bytes()),
        Encoding::Utf16Le => bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
        Encoding::Utf16Be => bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
        Encoding::Windows1252 => bytes.extend(&*encoding_rs::WINDOWS_1252.encode(text).0),
    }
    bytes
}

#[test]
fn the_form_is_found_out() {
    use Encoding::{Utf8, Utf16Be, Utf16Le, Windows1252};
    use Separator::{Comma, Semicolon, Tab};
    let plain = "name,mail\nM\u{fc}ller,m@x.ch\n";
    //  text, encoding, mark, separator
    let cases = [
        (plain, Utf8, false, Comma),
        (plain, Utf8, true, Comma),
        (plain, Utf16Le, false, Comma),
        (plain, Utf16Le, true, Comma),
        (plain, Utf16Be, false, Comma),
        (plain, Utf16Be, true, Comma),
        (plain, Windows1252, false, Comma),
        ("name;pay\nM\u{fc}ller;1,5\nMeier;2,5\n", Windows1252, false, Semicolon),
        ("name\tnote\na\tx,y;z\n", Utf16Le, true, Tab),
        ("Last, First;mail\nA, B;x\nC, D;y\n", Utf8, true, Semicolon),
        ("name,groups,mail\nx,a;b,m\ny,c;d,m\n", Utf8, true, Comma),
        ("a,b\n\"x;y;z\",1\n\"x\n;y\",2\n", Utf8, true, Comma),
        ("name\nMeier\n", Utf8, true, Comma),
        ("sep=;\r\nname\r\nMeier\r\n", Utf8, true, Semicolon),
        ("#TYPE A, B, C\r\n\"a\";\"b\"\r\n1;2\r\n", Utf8, true, Semicolon),
    ];
    for (text, encoding, bom, separator) in cases {
        let bytes = encoded(text, encoding, bom);
        let found = form(&bytes, Wanted::default()).unwrap();
        assert_eq!((found.encoding, found.bom), (encoding, bom), "{text}");
        assert_eq!(found.separator, separator, "{text}");
        assert_eq!(found.guessed.encoding, !bom, "{text}");
        assert_eq!(found.guessed.separator, !text.starts_with("sep="), "{text}");
    }
}

/// What an administrator has fixed is not guessed, and the first characters do not decide for the rest.
#[test]
fn the_whole_file_decides_whether_it_is_utf8() {
    let long = format!("name,mail\n{}", "Meier,m\n".repeat(60_000));
    let with = |end: &[u8]| [long.as_bytes(), end].concat();
    let guess = |bytes: &[u8]| form(bytes, Wanted::default()).map(|form| form.encoding);
    assert_eq!(guess(long.as_bytes()).unwrap(), Encoding::Utf8);
    assert_eq!(guess(&with("M\u{fc}ller,m\n".as_bytes())).unwrap(), Encoding::Utf8);
    assert_eq!(guess(&with(b"M\xfcller,m\n")).unwrap(), Encoding::Windows1252);
    assert_eq!(guess(&with(b"x,Andr\xe9")).unwrap(), Encoding::Windows1252);
    let mixed = with("M\u{fc}ller,m\n".as_bytes());
    let mixed = [&mixed, &b"M\xfcller,m\n"[..]].concat();
    let error = guess(&mixed).unwrap_err();
    assert!(matches!(error, FormatError::NotUtf8 { line: 60_003 }), "{error}");
    let fixed = wanted(Some(Encoding::Windows1252), None);
    assert!(!form(&mixed, fixed).unwrap().guessed.encoding);
    // A file that ends with the beginning of a character is cut short, not in another encoding.
    let cut = [&mixed[..mixed.len() - 9], &b"x,\xc3"[..]].concat();
    let (_, error) = read(&cut, Wanted::default());
    assert!(matches!(error, Some(FormatError::Truncated { line: 60_003 })), "{error:?}");
}

/// A character that two chunks share is one character.
#[test]
fn characters_across_chunks_are_whole() {
    for encoding in Encoding::ALL {
        for shift in 0..4 {
            let cell = format!("{}\u{fc}\u{20ac}", "\u{fc}".repeat(1000));
            let row = format!("{},{cell}\r\n", "x".repeat(shift + 1));
            let text = format!("name,note\r\n{}", row.repeat(150));
            let bytes = encoded(&text, *encoding, *encoding != Encoding::Windows1252);
            let (_, rows, bad) = read_whole(&bytes);
            assert_eq!((rows.len(), bad.len()), (150, 0), "{encoding}");
            assert!(rows.iter().all(|(_, cells)| cells[1] == cell), "{encoding}");
        }
    }
}

#[test]
fn what_is_no_csv_file_is_refused_with_what_to_do() {
    let wide = |columns: usize| {
        let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
        format!("{}\n1\n", names.join(",")).into_bytes()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), "is empty"),
        (b"\xef\xbb\xbf".into(), "is empty"),
        (b" \r\n\n  ".into(), "is empty"),
        (b"name,mail\n".into(), "no rows"),
        (b"name,mail".into(), "no rows"),
        (b"name,mail\n\n,\n".into(), "no rows"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><html>".into(), "web page"),
        (b"<HTML><head>".into(), "web page"),
        (b"<head>".into(), "web page"),
        (b"<?xml version=\"1.0\"?><!DOCTYPE html>".into(), "web page"),
        (b"<?xml version=\"1.0\"?><users>".into(), "is XML"),
        (b"{\"error\":1}".into(), "JSON"),
        (b" [1]".into(), "JSON"),
        (b"PK\x03\x04x".into(), "Excel"),
        (b"\x1f\x8b\x08".into(), "gzip"),
        (b"%PDF-1.7".into(), "PDF"),
        (b"a,b\n\0\0\0\x01\0\0\0\x02\0\0\0".into(), "binary"),
        (b"m@x.ch,Meier\ny@x.ch,Huber\n".into(), "no header"),
        (b"name,,mail\n1,2,3\n".into(), "column 2 has no name"),
        (b"name,\"mail\", Mail \n1,2,3\n".into(), "more than one column \"Mail\""),
        (b"na\x01me,mail\n1,2\n".into(), "no text"),
        (b"\"name\"x,mail\n1,2\n".into(), "doubled"),
        (b"\"name,mail\n1,2\n".into(), "cut short"),
        (b"a|b|c\n1|2|3\n".into(), "separated by \"|\""),
        (b"sep=|\na|b|c\n1|2|3\n".into(), "separated by \"|\""),
        (wide(501), "501 columns"),
        ("x".repeat(70_000).into(), "first row is longer"),
        (b"a,b\n1".into(), "cut short"),
        (b"a,b\n1,2\n3,\"4\n".into(), "begins in line 3"),
    ];
    for (bytes, told) in cases {
        let text = String::from_utf8_lossy(&bytes).chars().take(40).collect::<String>();
        let (seen, error) = read(&bytes, Wanted::default());
        let error = error.unwrap_or_else(|| unreachable!("{text}: {seen:?}")).to_string();
        assert!(error.contains(told), "{text}: {error}");
        assert!(!error.contains('\n') && !error.contains("  "), "{error}");
    }
    assert!(read(&wide(500), Wanted::default()).0.0.len() == 500);
}

#[test]
fn what_is_fixed_and_does_not_fit_is_refused() {
    use Encoding::{Utf8, Utf16Be, Utf16Le, Windows1252};
    let text = "name;mail\nM\u{fc}ller;m\n";
    //  the file, the encoding and separator that are fixed
    let cases = [
        (encoded(text, Utf8, true), Some(Windows1252), None, "change the encoding"),
        (encoded(text, Utf16Le, true), Some(Utf8), None, "the file is utf-16le"),
        (encoded(text, Utf16Le, false), Some(Utf16Be), None, "the file is utf-16le"),
        (encoded(text, Utf8, false), Some(Utf16Le), None, "the file is not in it"),
        (encoded(text, Windows1252, false), Some(Utf8), None, "line 2 has bytes"),
        (encoded(text, Utf8, false), None, Some(Separator::Comma), "separated by semicolon"),
    ];
    for (bytes, encoding, separator, told) in cases {
        let error = form(&bytes, wanted(encoding, separator)).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn rows_that_cannot_be_used_are_told_and_the_rest_is_read() {
    let long = "x".repeat(CELL_BYTES_MAX + 1);
    let text = format!(
        "name,mail,,\n\na,1\n,\nb\n\"c\nc\",3\nd,1,2\ne,1,,\n\"f\"f,1\ng,\x07\nh,{long}\ni,\"a\"\"b\"\nj,9"
    );
    let (header, rows, bad) = read_whole(text.as_bytes());
    assert_eq!(header, ["name", "mail"]);
    let rows: Vec<_> = rows.iter().map(|(line, cells)| (*line, cells.join("|"))).collect();
    let read = [(3, "a|1"), (6, "c\nc|3"), (9, "e|1"), (13, "i|a\"b"), (14, "j|9")];
    assert_eq!(rows, read.map(|(line, cells)| (line, cells.to_owned())));
    let mail = || "mail".to_owned();
    let told = [
        (5, BadReason::CellCount { cells: 1, columns: 2 }),
        (8, BadReason::CellCount { cells: 3, columns: 2 }),
        (10, BadReason::StrayQuote),
        (11, BadReason::Control(mail())),
        (12, BadReason::LongCell(mail())),
    ];
    assert_eq!(bad, told);
}

#[test]
fn what_cannot_be_decoded_spoils_its_row_alone() {
    let mut bytes = encoded("name,mail\r\na,", Encoding::Utf16Le, true);
    bytes.extend([0x00, 0xd8]); // half of a pair
    bytes.extend(encoded("\r\nb,2\r\n", Encoding::Utf16Le, false));
    let (_, rows, bad) = read_whole(&bytes);
    assert_eq!(rows, [(3, vec!["b".to_owned(), "2".to_owned()])]);
    assert_eq!(bad, [(2, BadReason::Undecodable("mail".to_owned()))]);
    // Windows-1252 has no meaning for this byte.
    let (_, rows, bad) = read_whole(b"name,mail\nM\xfcller,1\na,\x81\n");
    assert_eq!((rows.len(), bad), (1, vec![(3, BadReason::Control("mail".to_owned()))]));
}

/// A quote too many can make one row of several: their number is told.
#[test]
fn a_bad_row_says_how_far_it_goes() {
    let text = b"name,mail\na,\"1\nb,2\nc,\"3\"\nd,4\n";
    let form = form(text, Wanted::default()).unwrap();
    let entries: Vec<Entry> =
        Rows::open(Cursor::new(text), &form).unwrap().map(Result::unwrap).collect();
    let Entry::Bad(bad) = &entries[0] else { unreachable!("{entries:?}") };
    assert_eq!((bad.line, bad.line_last), (2, 4));
    assert_eq!(entries.len(), 2);
}

/// A file that never ends, and how much of it was read.
struct Endless {
    start: &'static [u8],
    taken: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from = self.start.get(self.taken..).unwrap_or_default();
        let more = if from.is_empty() { b"x,y\r\n" } else { from };
        let length = more.len().min(buffer.len());
        buffer[..length].copy_from_slice(&more[..length]);
        self.taken += length;
        Ok(length)
    }
}

impl Seek for Endless {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

#[test]
fn an_open_quote_does_not_fill_the_memory() {
    let form = form(b"name,mail\n1,2\n", Wanted::default()).unwrap();
    for start in [&b"name,mail\n1,2\n\"3"[..], b"name,mail\n\"3", b"\"name,mail\n"] {
        let mut endless = Endless { start, taken: 0 };
        let error = match Rows::open(&mut endless, &form) {
            Ok(rows) => rows.last().unwrap().unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, FormatError::LongRow { .. } | FormatError::LongHeader), "{error}");
        assert!(endless.taken < ROW_BYTES_MAX + 256 * 1024, "{} bytes were read", endless.taken);
    }
}

/// What a spreadsheet writes: the cells, how they are quoted, where lines end, and in which form.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    lines: Vec<u64>,
    rows: Vec<Vec<String>>,
    encoding: Encoding,
    bom: bool,
    separator: Separator,
}

impl Written {
    fn bytes(&self) -> Vec<u8> {
        encoded(&self.text, self.encoding, self.bom)
    }

    /// What is fixed: the encoding, where the file does not say it.
    fn wanted(&self) -> Wanted {
        let said = self.bom || self.encoding == Encoding::Utf8;
        wanted((!said).then_some(self.encoding), Some(self.separator))
    }
}

fn any_written() -> impl Strategy<Value = Written> {
    let form = (
        proptest::sample::select(Encoding::ALL),
        any::<bool>(),
        proptest::sample::select(Separator::ALL),
    );
    let style = (
        proptest::sample::select(vec![QuoteStyle::Necessary, QuoteStyle::Always]),
        proptest::sample::select(vec![
            Terminator::CRLF,
            Terminator::Any(b'\n'),
            Terminator::Any(b'\r'),
        ]),
    );
    let cell = "([a-z0-9 ,;\"\t\u{e4}\u{f6}\u{fc}\u{df}\u{20ac}\n]|\r\n|\"\"){0,6}";
    let wide = "([a-z\u{65e5}\u{672c}\u{3a9}\u{1d11e}\u{142},;\"\n]|\r\n){0,6}";
    let row = ("[a-z0-9]{1,4}", prop_oneof![cell, wide], cell);
    let rows = proptest::collection::vec(row, 1..8);
    (form, style, rows).prop_map(|((encoding, bom, separator), (quotes, ends), rows)| {
        let mut writer = WriterBuilder::new()
            .delimiter(separator.byte())
            .quote_style(quotes)
            .terminator(ends)
            .from_writer(Vec::new());
        writer.write_record(["name", "note", "remark"]).unwrap();
        let (mut lines, mut kept) = (Vec::new(), Vec::new());
        for (name, note, remark) in rows {
            writer.flush().unwrap();
            let so_far = String::from_utf8(writer.get_ref().clone()).unwrap();
            let ends = so_far.replace("\r\n", "\n").matches(['\n', '\r']).count();
            lines.push(ends as u64 + 1);
            let note = if encoding == Encoding::Windows1252 {
                note.chars().filter(|&c| c.is_ascii() || c == '\u{fc}').collect()
            } else {
                note
            };
            let row = vec![name, note, remark];
            writer.write_record(&row).unwrap();
            kept.push(row);
        }
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let bom = bom && encoding != Encoding::Windows1252;
        Written { text, lines, rows: kept, encoding, bom, separator }
    })
}

proptest! {
    /// What was written in any form is read back, cell by cell, with the lines where it stands.
    #[test]
    fn what_is_written_is_read_back(written in any_written()) {
        let bytes = written.bytes();
        let found = form(&bytes, written.wanted()).unwrap();
        prop_assert_eq!(found.encoding, written.encoding);
        let ((header, rows, bad), error) = read(&bytes, written.wanted());
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(header, ["name", "note", "remark"]);
        prop_assert!(bad.is_empty(), "{:?}", bad);
        let (lines, cells): (Vec<u64>, Vec<Vec<String>>) = rows.into_iter().unzip();
        prop_assert_eq!(cells, written.rows);
        prop_assert_eq!(lines, written.lines);
    }

    /// A file that is cut short gives rows that are in it, and says so unless the cut is between two
    /// rows or in the last cell of one.
    #[test]
    fn a_cut_file_gives_no_wrong_rows(written in any_written(), at in any::<prop::sample::Index>()) {
        let mut bytes = written.bytes();
        bytes.truncate(at.index(bytes.len()));
        let fixed = wanted(Some(written.encoding), Some(written.separator));
        let ((header, mut rows, bad), error) = read(&bytes, fixed);
        prop_assert!(bad.is_empty(), "{:?}", bad);
        if error.is_none() {
            prop_assert_eq!(header.len(), 3);
            let (_, last) = rows.pop().unwrap();
            let whole = &written.rows[rows.len()];
            prop_assert_eq!(&last[..2], &whole[..2]);
            prop_assert!(whole[2].starts_with(&last[2]), "{:?} {:?}", last, whole);
        } else if !rows.is_empty() {
            prop_assert!(matches!(error, Some(FormatError::Truncated { .. })), "{:?}", error);
        }
        let cells: Vec<Vec<String>> = rows.into_iter().map(|(_, cells)| cells).collect();
        prop_assert_eq!(&cells[..], &written.rows[..cells.len()]);
    }

    /// Records are cut as the csv crate cuts them.
    #[test]
    fn records_are_those_of_the_csv_crate(text in "[ab,\"\n\r ]{0,30}") {
        let mut oracle = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let there: Vec<Vec<String>> = oracle
            .records()
            .map(|record| strings(&record.unwrap()))
            .filter(|cells| *cells != [""])
            .collect();
        let mut records = Records::new(text.as_bytes(), Encoding::Utf8, b',');
        let mut here = Vec::new();
        let mut record = Record::default();
        while records.read(&mut record).unwrap() {
            let cells: Vec<String> =
                record.cells().map(|cell| String::from_utf8(cell.to_vec()).unwrap()).collect();
            if cells != [""] {
                here.push(cells);
            }
        }
        prop_assert_eq!(here, there);
    }

    /// No input panics, in whatever form it is said to be.
    #[test]
    fn no_input_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        start in proptest::sample::select(vec!["", "a,b\n1,2\n", "\u{feff}a;b\n", "sep=", "\"", "a\n"]),
        encoding in proptest::option::of(proptest::sample::select(Encoding::ALL)),
        separator in proptest::option::of(proptest::sample::select(Separator::ALL)),
    ) {
        let bytes = [start.as_bytes(), &bytes].concat();
        let ((header, rows, _), error) = read(&bytes, wanted(encoding, separator));
        for (_, cells) in rows {
            prop_assert_eq!(cells.len(), header.len());
        }
        if let Some(error) = error {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
