//! The upload of a document: spooled to a file first, so that a slow client holds no transaction.

use std::collections::HashSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::spawn_blocking;

use super::{Pulled, parameter, place};
use crate::directory::ids::hex;
use crate::directory::source::Place;
use crate::directory::{ConnectionId, ConnectionStatus};
use crate::http::answer::{self, Answer, Failure};
use crate::http::{App, context};
use crate::provision::Caller;
use crate::provision::documents::{DOCUMENT_BYTES_MAX, DOCUMENT_PART_BYTES, Part};
use crate::scim::{ErrorKind, ScimError};
use crate::store::documents::Document;

/// The uploads that a server takes at once: their files are on its disk meanwhile.
const UPLOADS_AT_ONCE_MAX: usize = 8;

/// How long a client waits when too many uploads are under way.
const UPLOADS_RETRY_AFTER_S: u32 = 60;

/// The parts that are read ahead of the database.
const PARTS_AHEAD: usize = 2;

/// The characters of a SHA-256 in hexadecimal.
const SHA256_CHARS: usize = 64;

/// Keeps the body as the newest version of the document that the connection is pulled from.
pub(super) async fn put(
    State(app): State<App>,
    Pulled(caller): Pulled,
    Extension(uploads): Extension<Uploads>,
    request: Request,
) -> Answer {
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or_default();
    require_unpaused(&caller)?;
    let name = document_name(&app, &caller).await?;
    let expected = Expected::read(request.uri(), request.headers(), limit)?;
    let _upload = uploads.begin(caller.connection)?;
    let file = spawn_blocking(tempfile::tempfile).await.map_err(std::io::Error::from);
    let file = file.flatten().map_err(|error| no_space(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let pause_max = app.settings.request_timeout;
    let slot = context(request.extensions()).slot;
    let spooling = spool(request.into_body(), &mut file, limit, pause_max);
    let spooled = slot.aside(&app, spooling).await?;
    expected.check(&spooled)?;
    let (status, document) = keep(&app, &caller, &name, file, &spooled).await?;
    let shown = json!({
        "name": document.name,
        "version": document.version,
        "bytes": document.bytes,
        "checksum": document.checksum,
        "created": document.created_at,
    });
    Ok(answer::json(status, &shown))
}

/// A draft takes documents, so that it can be tried before it is enabled.
fn require_unpaused(caller: &Caller) -> Result<(), ScimError> {
    if caller.status != ConnectionStatus::Paused {
        return Ok(());
    }
    let detail = format!(
        "the connection \"{}\" is paused by an administrator: send the file again once it is enabled",
        caller.connection_name
    );
    Err(ScimError::new(ErrorKind::Forbidden, detail))
}

async fn document_name(app: &App, caller: &Caller) -> Result<String, Failure> {
    let place = place(app, caller).await?;
    let Place::Document { name } = place else {
        let detail = format!(
            "the file of the connection \"{}\" is not uploaded, it is fetched from elsewhere: {place}; \
             ask an administrator to set a document as its source",
            caller.connection_name
        );
        return Err(ScimError::new(ErrorKind::Conflict, detail).into());
    };
    Ok(name)
}

/// Keeps the file, unless the newest version is the same.
async fn keep(
    app: &App,
    caller: &Caller,
    name: &str,
    file: tokio::fs::File,
    spooled: &Spooled,
) -> Result<(StatusCode, Document), Failure> {
    let provision = &app.provision;
    let newest = provision.document(caller.instance, name).await?;
    if let Some(known) = newest.filter(|newest| newest.checksum == spooled.checksum) {
        return Ok((StatusCode::OK, known));
    }
    let author = caller.author(provision.clock.now(), provision.ids);
    let parts = parts(file.into_std().await);
    let kept = provision.upload(&author, caller.instance, name, parts).await?;
    Ok((StatusCode::CREATED, kept))
}

/// Reads a file in parts, on a thread of its own; it ends when nobody takes them any more.
fn parts(mut file: std::fs::File) -> Receiver<Part> {
    let (give, take) = mpsc::channel(PARTS_AHEAD);
    drop(spawn_blocking(move || {
        if let Err(error) = file.seek(SeekFrom::Start(0)) {
            drop(give.blocking_send(Err(error)));
            return;
        }
        loop {
            let mut part = Vec::with_capacity(DOCUMENT_PART_BYTES);
            let read = (&mut file).take(DOCUMENT_PART_BYTES as u64).read_to_end(&mut part);
            let part = match read {
                Ok(0) => return,
                read => read.map(|_| part),
            };
            let is_last = part.is_err();
            if give.blocking_send(part).is_err() || is_last {
                return;
            }
        }
    }));
    take
}

/// What a client says of the body before it comes.
#[derive(Debug, Default)]
struct Expected {
    bytes: Option<u64>,
    checksum: Option<String>,
}

impl Expected {
    /// Refuses what cannot become a document before any of it is taken.
    fn read(uri: &Uri, headers: &HeaderMap, limit: u64) -> Result<Self, ScimError> {
        let said = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        if said(header::CONTENT_ENCODING).is_some_and(|how| !how.eq_ignore_ascii_case("identity")) {
            let detail = "send the file as it is: a body with a Content-Encoding is not taken";
            return Err(ScimError::new(ErrorKind::UnsupportedMediaType, detail));
        }
        let kind = said(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("multipart/") {
            let detail = "send the file alone and not as a form: with curl, use -T instead of -F";
            return Err(ScimError::new(ErrorKind::UnsupportedMediaType, detail));
        }
        if headers.contains_key(header::CONTENT_RANGE) {
            let detail = "a part of a file cannot be put: send it whole, without Content-Range";
            return Err(ScimError::invalid_syntax(detail));
        }
        let checksum = parameter(uri, "sha256").map(|text| text.trim().to_ascii_lowercase());
        let is_checksum = |text: &String| {
            text.len() == SHA256_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if checksum.as_ref().is_some_and(|text| !is_checksum(text)) {
            let reason = "must be the SHA-256 of the file, 64 hexadecimal digits";
            return Err(ScimError::invalid_value("sha256", reason));
        }
        let bytes = said(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        if bytes.is_some_and(|bytes| bytes > limit) {
            return Err(too_large(limit));
        }
        Ok(Self { bytes, checksum })
    }

    /// Refuses a body that is another one than was announced.
    fn check(&self, spooled: &Spooled) -> Result<(), ScimError> {
        if self.bytes.is_some_and(|bytes| bytes != spooled.bytes) {
            return Err(cut_short());
        }
        if spooled.bytes == 0 {
            let detail = "the body is empty: send the file as the body, with curl by -T FILE";
            return Err(ScimError::invalid_syntax(detail));
        }
        if self.checksum.as_ref().is_some_and(|expected| *expected != spooled.checksum) {
            let detail = format!(
                "the file arrived with the SHA-256 {}, which is another one than it was announced with; \
                 nothing was kept: send it again",
                spooled.checksum
            );
            return Err(ScimError::invalid_value("sha256", &detail));
        }
        Ok(())
    }
}

/// A body that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
struct Spooled {
    bytes: u64,
    /// The SHA-256, in hexadecimal.
    checksum: String,
}

/// Writes a body away as it comes.
///
/// Fails when it has more than `limit` bytes, none of which beyond the limit are written; when it ends too
/// early, or nothing comes for as long as `pause_max`.
async fn spool(
    body: Body,
    into: &mut (impl AsyncWrite + Unpin),
    limit: u64,
    pause_max: Duration,
) -> Result<Spooled, ScimError> {
    let (mut pieces, mut context, mut bytes) = (body.into_data_stream(), Context::new(&SHA256), 0);
    let stalled = |_| {
        let s = pause_max.as_secs();
        ScimError::invalid_syntax(format!(
            "nothing more of the body came for {s} s; nothing was kept: send it again"
        ))
    };
    while let Some(piece) = tokio::time::timeout(pause_max, pieces.next()).await.map_err(stalled)? {
        let piece = piece.map_err(|_| cut_short())?;
        bytes += piece.len() as u64;
        if bytes > limit {
            return Err(too_large(limit));
        }
        context.update(&piece);
        into.write_all(&piece).await.map_err(|error| no_space(&error))?;
    }
    into.flush().await.map_err(|error| no_space(&error))?;
    Ok(Spooled { bytes, checksum: hex(context.finish().as_ref()) })
}

fn too_large(limit: u64) -> ScimError {
    let detail = format!(
        "the file is over the limit of {limit} bytes; nothing was kept: ask an administrator to fetch \
         it from an https address or from the folder of files"
    );
    ScimError::new(ErrorKind::TooLarge, detail)
}

fn cut_short() -> ScimError {
    ScimError::invalid_syntax("the body did not arrive whole; nothing was kept: send it again")
}

fn no_space(error: &std::io::Error) -> ScimError {
    tracing::error!(%error, "an upload could not be written to the folder for temporary files");
    let kind = ErrorKind::Unavailable { retry_after_s: UPLOADS_RETRY_AFTER_S };
    ScimError::new(kind, "the server has no room for the file; nothing was kept: send it later")
}

/// The uploads that are under way on this server.
#[derive(Debug, Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<HashSet<ConnectionId>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
struct Upload {
    all: Uploads,
    connection: ConnectionId,
}

impl Uploads {
    /// Begins an upload, unless another one of the connection is under way, or too many are.
    fn begin(&self, connection: ConnectionId) -> Result<Upload, ScimError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let retry_after_s = UPLOADS_RETRY_AFTER_S;
        if all.contains(&connection) {
            let detail = "another upload of this connection is under way: wait for its end";
            return Err(ScimError::new(ErrorKind::TooManyRequests { retry_after_s }, detail));
        }
        if all.len() >= UPLOADS_AT_ONCE_MAX {
            let detail = "too many uploads are under way: send the file again in a minute";
            return Err(ScimError::new(ErrorKind::Unavailable { retry_after_s }, detail));
        }
        all.insert(connection);
        Ok(Upload { all: self.clone(), connection })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use futures_util::stream;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use uuid::Uuid;

    const LONG: Duration = Duration::from_mins(1);

    fn body(pieces: Vec<io::Result<&'static [u8]>>) -> Body {
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_cut_at_the_limit() {
        static PIECES: AtomicUsize = AtomicUsize::new(0);
        let endless = stream::repeat_with(|| {
            PIECES.fetch_add(1, Ordering::SeqCst);
            Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 100]))
        });
        let mut into = Vec::new();
        let refused = spool(Body::from_stream(endless), &mut into, 1_000, LONG).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooLarge);
        assert_eq!((into.len(), PIECES.load(Ordering::SeqCst)), (1_000, 11));
    }

    #[tokio::test]
    async fn a_body_of_the_limit_is_taken_whole() {
        let mut into = Vec::new();
        let spooled = spool(body(vec![Ok(b"a"), Ok(b"bc")]), &mut into, 3, LONG).await;
        let checksum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(spooled, Ok(Spooled { bytes: 3, checksum: checksum.to_owned() }));
        assert_eq!(into, b"abc");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_stalls_is_refused() {
        let broken = body(vec![Ok(b"a"), Err(io::ErrorKind::UnexpectedEof.into())]);
        let refused = spool(broken, &mut Vec::new(), 10, LONG).await.unwrap_err();
        assert!(refused.detail.contains("did not arrive whole"), "{}", refused.detail);
        let stalled = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let pause_max = Duration::from_millis(20);
        let refused = spool(stalled, &mut Vec::new(), 10, pause_max).await.unwrap_err();
        assert!(refused.detail.contains("nothing more of the body"), "{}", refused.detail);
    }

    #[test]
    fn a_connection_has_one_upload_and_a_server_a_few() {
        let uploads = Uploads::default();
        let connection = |n: usize| ConnectionId(Uuid::from_u128(n as u128));
        let first = uploads.begin(connection(0)).unwrap();
        let refused = uploads.begin(connection(0)).unwrap_err();
        assert_eq!(refused.kind.status(), 429);
        let others: Vec<_> =
            (1..UPLOADS_AT_ONCE_MAX).map(|n| uploads.begin(connection(n)).unwrap()).collect();
        let refused = uploads.begin(connection(100)).unwrap_err();
        assert_eq!(refused.kind.status(), 503);
        drop(first);
        assert!(uploads.begin(connection(100)).is_ok());
        drop(others);
        assert!(uploads.0.lock().unwrap().is_empty());
    }
}
