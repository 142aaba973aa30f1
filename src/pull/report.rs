//! The report of a run as a CSV file, for people.

use serde_json::Value;

use crate::store::run_items::Item;

/// The first row of the file.
pub const HEADER: &str = "outcome,line,name,account,detail\r\n";

/// Appends a line of the report as a row (RFC 4180).
pub fn push(text: &mut String, item: &Item) {
    let line = item.line.map(|line| line.to_string()).unwrap_or_default();
    let account = item.account.map(|account| account.to_string()).unwrap_or_default();
    let detail = item.detail.as_ref().map(in_words).unwrap_or_default();
    let cells = [item.outcome.word(), &line, &harmless(&item.name), &account, &harmless(&detail)];
    push_row(text, cells);
}

/// Appends a row (RFC 4180 §2).
pub fn push_row(text: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    for (place, cell) in cells.into_iter().enumerate() {
        let cell = cell.as_ref();
        if place > 0 {
            text.push(',');
        }
        if cell.contains([',', ';', '"', '\r', '\n', '\t']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}

/// Why a row was left out, as a sentence; what differs, as JSON.
#[must_use]
pub fn in_words(detail: &Value) -> String {
    match detail.get("reason") {
        Some(Value::String(reason)) => reason.clone(),
        _ => detail.to_string(),
    }
}

/// A text that no spreadsheet takes for a formula: the names in a report are a stranger's words, and who
/// reads it opens it with a click. An apostrophe goes before whatever would begin one, also behind what
/// parts cells where a spreadsheet is set to another language.
#[must_use]
pub fn harmless(text: &str) -> String {
    let (mut safe, mut begins) = (String::with_capacity(text.len()), true);
    for c in text.chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') {
            safe.push('\'');
        }
        begins = match c {
            ';' | '\t' | '\r' | '\n' => true,
            '"' => begins,
            c => begins && (c.is_whitespace() || c.is_control()),
        };
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::AccountId;
    use crate::directory::source::Outcome;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn no_cell_begins_a_formula() {
        let cases = [
            ("ann@example.com", "ann@example.com"),
            ("Anne-Marie; b=c", "Anne-Marie; b=c"),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+49 30 1", "'+49 30 1"),
            ("-1", "'-1"),
            ("  =1", "  '=1"),
            ("\t=1", "\t'=1"),
            ("\r\n=1", "\r\n'=1"),
            ("＝1", "'＝1"),
            ("\"=1", "\"'=1"),
            ("x;=1", "x;'=1"),
            ("x; \"=1", "x; \"'=1"),
            ("x\n@y", "x\n'@y"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_a_row() {
        let item = |name: &str, detail| Item {
            outcome: Outcome::Skipped,
            line: Some(7),
            name: name.to_owned(),
            account: None,
            detail,
        };
        let row = |item: &Item| {
            let mut text = String::new();
            push(&mut text, item);
            text
        };
        let left_out = item("=x", Some(json!({ "reason": "no \"name\", none" })));
        assert_eq!(row(&left_out), "skipped,7,'=x,,\"no \"\"name\"\", none\"\r\n");
        let missing = Item { line: None, account: Some(AccountId(Uuid::nil())), ..item("a", None) };
        let id = Uuid::nil();
        assert_eq!(row(&missing), format!("skipped,,a,{id},\r\n"));
        let changed = item("a", Some(json!({ "before": {}, "after": { "title": "+1" } })));
        let cell = r#""{""before"":{},""after"":{""title"":""+1""}}""#;
        assert_eq!(row(&changed), format!("skipped,7,a,,{cell}\r\n"));
    }
}
