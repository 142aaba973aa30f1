//! Resources and pages of them as text: in one piece, or as a stream where they have more members than the
//! server holds at once.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::answer::SCIM_JSON;
use crate::provision::{self, Listed, Parted, Sheet};
use crate::scim::{Document, message};

/// What the request log says of members that it does not have.
const STREAMED: &str = "streamed, because they are more than the server holds at once";

/// The mark of an answer whose body is not in memory.
#[derive(Debug, Clone)]
pub(super) struct Streamed {
    /// What the request log has in its place.
    pub(super) noted: Bytes,
}

/// One resource.
pub(super) fn one(app: &App, status: StatusCode, sheet: Sheet) -> Response {
    let id = sheet.parted.as_ref().and_then(|_| sheet.document.get("id").cloned());
    let mut pieces = Pieces::default();
    pieces.push_sheet(sheet);
    pieces.into_response(app, status, || json!({ "id": id, "members": STREAMED }))
}

/// A page of resources.
pub(super) fn page(app: &App, page: Listed) -> Response {
    let Listed { total, start_index, next_cursor, resources } = page;
    let places = vec![Value::Null; resources.len()];
    let mut resources = Some(resources);
    let mut pieces = Pieces::default();
    if let Value::Object(envelope) = message::list_response(total, start_index, next_cursor, places)
    {
        pieces.push_object(envelope, |pieces, name, value| match (name, value) {
            ("Resources", _) => pieces.push_array(resources.take().unwrap_or_default()),
            (_, value) => pieces.push_json(&value),
        });
    }
    pieces.into_response(app, StatusCode::OK, || json!({ "Resources": STREAMED }))
}

/// Writes JSON behind a text: a JSON value always prints, and memory takes all of it.
fn write_json(text: &mut Vec<u8>, json: &impl Serialize) {
    let _written = serde_json::to_writer(text, json);
}

/// An answer in the order in which it is written.
#[derive(Debug, Default)]
struct Pieces {
    before: VecDeque<(Vec<u8>, Parted)>,
    last: Vec<u8>,
}

impl Pieces {
    fn push(&mut self, text: &str) {
        self.last.extend_from_slice(text.as_bytes());
    }

    fn push_json(&mut self, json: &impl Serialize) {
        write_json(&mut self.last, json);
    }

    /// Members that are read when everything before them is written.
    fn push_parted(&mut self, parted: Parted) {
        self.before.push_back((std::mem::take(&mut self.last), parted));
    }

    fn push_sheet(&mut self, sheet: Sheet) {
        let mut parted = sheet.parted;
        self.push_object(sheet.document, |pieces, name, value| {
            match parted.take_if(|_| name == "members") {
                Some(parted) => {
                    pieces.push("[");
                    pieces.push_parted(parted);
                    pieces.push("]");
                }
                None => pieces.push_json(&value),
            }
        });
    }

    fn push_array(&mut self, sheets: Vec<Sheet>) {
        self.push("[");
        for (index, sheet) in sheets.into_iter().enumerate() {
            if index > 0 {
                self.push(",");
            }
            self.push_sheet(sheet);
        }
        self.push("]");
    }

    fn push_object(
        &mut self,
        object: Document,
        mut push_value: impl FnMut(&mut Self, &str, Value),
    ) {
        self.push("{");
        for (index, (name, value)) in object.into_iter().enumerate() {
            if index > 0 {
                self.push(",");
            }
            self.push_json(&name);
            self.push(":");
            push_value(self, &name, value);
        }
        self.push("}");
    }

    fn into_response(
        self,
        app: &App,
        status: StatusCode,
        noted: impl FnOnce() -> Value,
    ) -> Response {
        let mut response = if self.before.is_empty() {
            Response::new(Body::from(self.last))
        } else {
            let mut response = Response::new(self.into_stream(app.clone()));
            let noted = Bytes::from(noted().to_string());
            response.extensions_mut().insert(Streamed { noted });
            response
        };
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, SCIM_JSON);
        response
    }

    /// A page of members is read when the client has taken the one before, so that there is never more than
    /// one in memory. Who cannot read on breaks off: the client sees that the answer has no end.
    fn into_stream(self, app: App) -> Body {
        let Self { mut before, last } = self;
        let under_way = before.pop_front();
        let writer = Writer { app, under_way, before, last: Some(last), is_first: true };
        Body::from_stream(stream::try_unfold(writer, |mut writer| async move {
            let text = writer.next().await.inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "an answer with many members was cut short");
            })?;
            Ok::<_, provision::Error>(text.map(|text| (text, writer)))
        }))
    }
}

/// An answer that is being written.
struct Writer {
    app: App,
    under_way: Option<(Vec<u8>, Parted)>,
    before: VecDeque<(Vec<u8>, Parted)>,
    last: Option<Vec<u8>>,
    /// Whether no member of the group under way is written yet.
    is_first: bool,
}

impl Writer {
    /// What is written next; `None` at the end.
    async fn next(&mut self) -> provision::Result<Option<Bytes>> {
        let Some((text, parted)) = &mut self.under_way else {
            return Ok(self.last.take().map(Bytes::from));
        };
        let mut text = std::mem::take(text);
        let place = self.app.fair.enter_again(parted.instance()).await;
        let members = self.app.provision.next_members(parted).await?;
        drop(place);
        for member in &members {
            if !self.is_first {
                text.push(b',');
            }
            self.is_first = false;
            write_json(&mut text, member);
        }
        if members.is_empty() {
            self.under_way = self.before.pop_front();
            self.is_first = true;
        }
        Ok(Some(Bytes::from(text)))
    }
}
