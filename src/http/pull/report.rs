//! The report of a run: in pages for programs, as a file for people.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::json;

use crate::http::App;
use crate::http::answer::{self, Answer};
use crate::provision::Provision;
use crate::provision::pull::REPORT_PAGE_MAX;
use crate::pull::report::{HEADER, push};
use crate::store::run_items::Item;
use crate::store::runs::Run;

/// A page of the report, from the line at `from` on, counted from 0; `next` is where the one behind it
/// begins.
pub(super) async fn page(provision: &Provision, run: &Run, from: i64) -> Answer {
    let lines = provision.report(run, from).await?;
    let page = json!({ "run": run.id, "from": from, "next": next(from, &lines), "lines": lines });
    Ok(answer::json(StatusCode::OK, &page))
}

/// The report from the line at `from` on, as a CSV file: a page is read when the client has taken the one
/// before, so that there is never more than one in memory.
pub(super) fn file(app: App, run: Run, from: i64) -> Response {
    let name = format!("attachment; filename=\"run-{}.csv\"", run.id);
    let run = Arc::new(run);
    let pages = stream::try_unfold(Some(from), move |at| {
        let (app, run) = (app.clone(), Arc::clone(&run));
        async move {
            let Some(at) = at else { return Ok(None) };
            let place = app.fair.enter_again(run.instance).await;
            let lines = app.provision.report(&run, at).await.inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(run = %run.id, error, "a report was cut short");
            })?;
            drop(place);
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
