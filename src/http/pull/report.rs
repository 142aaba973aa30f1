//! The report of a run: in pages for programs, as a file for people.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};

use crate::http::answer::{self, Answer};
use crate::provision::Provision;
use crate::provision::pull::REPORT_PAGE_MAX;
use crate::store::run_items::Item;
use crate::store::runs::Run;

const HEADER: &str = "outcome,line,name,account,detail\r\n";

/// A page of the report, from the line at `from` on, counted from 0; `next` is where the one behind it
/// begins.
pub(super) async fn page(provision: &Provision, run: &Run, from: i64) -> Answer {
    let lines = provision.report(run, from).await?;
    let page = json!({ "run": run.id, "from": from, "next": next(from, &lines), "lines": lines });
    Ok(answer::json(StatusCode::OK, &page))
}

/// The report from the line at `from` on, as a CSV file: a page is read when the client has taken the one
/// before, so that there is never more than one in memory.
pub(super) fn file(provision: Provision, run: Run, from: i64) -> Response {
    let name = format!("attachment; filename=\"run-{}.csv\"", run.id);
    let run = Arc::new(run);
    let pages = stream::try_unfold(Some(from), move |at| {
        let (provision, run) = (provision.clone(), Arc::clone(&run));
        async move {
            let Some(at) = at else { return Ok(None) };
            let lines = provision.report(&run, at).await.inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(run = %run.id, error, "a report was cut short");
            })?;
            let mut text = if at == from { HEADER.to_owned() } else { String::new() };
            for line in &lines {
                push(&mut text, line);
            }
            Ok::<_, crate::provision::Error>(Some((text, next(at, &lines))))
        }
    });
    let mut response = Response::new(Body::from_stream(pages));
    let media_type = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// Where the page behind this one begins, if there may be one.
fn next(from: i64, lines: &[Item]) -> Option<i64> {
    let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    (count >= REPORT_PAGE_MAX).then(|| from.saturating_add(count))
}

/// Appends a line of the report as a row (RFC 4180).
fn push(text: &mut String, item: &Item) {
    let line = item.line.map(|line| line.to_string()).unwrap_or_default();
    let account = item.account.map(|account| account.to_string()).unwrap_or_default();
    let detail = item.detail.as_ref().map(in_words).unwrap_or_default();
    let cells = [item.outcome.word(), &line, &harmless(&item.name), &account, &harmless(&detail)];
    for (place, cell) in cells.into_iter().enumerate() {
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
fn in_words(detail: &Value) -> String {
    match detail.get("reason") {
        Some(Value::String(reason)) => reason.clone(),
        _ => detail.to_string(),
    }
}

/// A text that no spreadsheet takes for a formula: the names in a report are a stranger's words, and who
/// reads it opens it with a click. An apostrophe goes before whatever would begin one, also behind what
/// parts cells where a spreadsheet is set to another language.
fn harmless(text: &str) -> String {
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
