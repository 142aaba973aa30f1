//! Fetching a file: one request, followed on the same host, written while it comes.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use aws_lc_rs::digest;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::ClientConfig;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::address::{self, Remote};
use super::fault::{Fault, FetchError};
use super::network::{Limits, Network};
use crate::directory::ids::hex;
use crate::keys::vault::Secret;

/// How often a server may send us on.
pub const REDIRECTS_MAX: usize = 5;

/// The bytes that a validator or a content type may have; a longer one is not kept.
pub const VALIDATOR_BYTES_MAX: usize = 1_024;

/// What a server said of the version of a file that it sent, to ask later whether there is a newer one.
///
/// They belong to one address as one user: forget them when either changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// The `ETag`.
    pub etag: Option<String>,
    /// The `Last-Modified`, as it was sent.
    pub last_modified: Option<String>,
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The file is the one that the validators are of; nothing was written.
    Unchanged,
    /// The whole file was written.
    File {
        /// Its length.
        bytes: u64,
        /// Its SHA-256, in hexadecimal.
        sha256: String,
        /// What the server says that it is. A page of HTML where a file should be is common: a
        /// login page, or an error that calls itself a success.
        content_type: Option<String>,
        /// To ask with the next time.
        validators: Validators,
    },
}

impl Remote {
    /// Fetches the file, if it is another than the one that the validators are of.
    ///
    /// It is written where `into` stands, and flushed. After an error, and if the future is dropped,
    /// a part of a file may have been written: throw it away. `progress` is told the bytes so far.
    pub async fn fetch(
        &self,
        network: &Network,
        validators: &Validators,
        into: &mut (impl AsyncWrite + Unpin + Send),
        progress: impl FnMut(u64) + Send,
    ) -> Result<Fetched, FetchError> {
        let limit = network.limits.total;
        let fetching = async {
            let (host, literal) = address::host(&self.url);
            let addresses = network.resolve(host, literal, self.port()).await?;
            let client = client(network.tls().await?, addresses, &network.limits)?;
            let answer = self.ask(&client, &network.limits, validators).await?;
            take(answer, &network.limits, into, progress).await
        };
        timeout(limit, fetching)
            .await
            .unwrap_or(Err(Fault::TooSlow { limit }))
            .map_err(|fault| FetchError { at: self.shown(), fault })
    }

    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Asks for the file, and asks again where the same host says that it is.
    pub(super) async fn ask(
        &self,
        client: &Client,
        limits: &Limits,
        validators: &Validators,
    ) -> Result<Response, Fault> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = client.get(url.clone()).headers(asking(validators));
            if let Some(user) = &self.user {
                request = request.basic_auth(user, self.password.as_ref().map(Secret::expose));
            }
            let answer = timeout(limits.idle, request.send())
                .await
                .map_err(|_| Fault::Silent { limit: limits.idle })?
                .map_err(|error| Fault::of_request(&error, limits.connect))?;
            match sent_on(&answer) {
                Some(location) => url = self.follow(&url, location)?,
                None => return self.judge(answer, validators),
            }
        }
        Err(Fault::TooManyRedirects)
    }

    /// Where a redirect leads, if it leads to the host and the port that were entered.
    fn follow(&self, from: &Url, location: &HeaderValue) -> Result<Url, Fault> {
        let unreadable = |_| Fault::RedirectUnreadable;
        let location =
            str::from_utf8(location.as_bytes()).map_err(|_| Fault::RedirectUnreadable)?;
        let mut to = from.join(location).map_err(unreadable)?;
        if to.scheme() != "https" {
            return Err(Fault::RedirectedUnsafely { to: address::place(&to) });
        }
        let same_place = to.host_str() == self.url.host_str()
            && to.port_or_known_default() == self.url.port_or_known_default();
        if !same_place {
            return Err(Fault::RedirectedElsewhere { to: address::place(&to) });
        }
        // A user in the address would be sent in place of ours.
        if !to.username().is_empty() || to.password().is_some() {
            return Err(Fault::RedirectUnreadable);
        }
        to.set_fragment(None);
        Ok(to)
    }

    fn judge(&self, answer: Response, validators: &Validators) -> Result<Response, Fault> {
        let status = answer.status();
        let asked_for_newer = *validators != Validators::default();
        Err(match status {
            StatusCode::OK => return Ok(answer),
            StatusCode::NOT_MODIFIED if asked_for_newer => return Ok(answer),
            StatusCode::UNAUTHORIZED if self.user.is_none() => Fault::PasswordWanted,
            StatusCode::UNAUTHORIZED => Fault::PasswordRefused,
            StatusCode::FORBIDDEN => Fault::Forbidden,
            StatusCode::NOT_FOUND => Fault::NotFound,
            StatusCode::GONE => Fault::Gone,
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE => {
                let said = text(answer.headers(), &RETRY_AFTER);
                let wait = said.and_then(|said| said.parse().ok()).map(Duration::from_secs);
                Fault::Busy { status: status.as_u16(), wait }
            }
            _ if status.is_server_error() => Fault::ServerError { status: status.as_u16() },
            _ => Fault::Status { status: status.as_u16() },
        })
    }
}

/// A client that connects to these addresses and to nothing else, whatever the host.
///
/// The host of an address that is written in digits is not resolved; it has been checked as well, and
/// no redirect leads to another.
pub(super) fn client(
    tls: ClientConfig,
    addresses: Vec<SocketAddr>,
    limits: &Limits,
) -> Result<Client, Fault> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(Checked(addresses))
        .connect_timeout(limits.connect)
        .user_agent(concat!("scimd/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Fault::Trust { reason: error.without_url().to_string() })
}

/// The addresses that were checked, as the answer to every question for a host.
struct Checked(Vec<SocketAddr>);

impl Resolve for Checked {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

fn asking(validators: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/csv, text/plain;q=0.9, */*;q=0.5"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let conditions =
        [(IF_NONE_MATCH, &validators.etag), (IF_MODIFIED_SINCE, &validators.last_modified)];
    for (name, value) in conditions {
        // What is no header asks for nothing: then the file is fetched.
        let value = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok());
        headers.extend(value.map(|value| (name, value)));
    }
    headers
}

fn sent_on(answer: &Response) -> Option<&HeaderValue> {
    match answer.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => answer.headers().get(LOCATION),
        _ => None,
    }
}

/// Writes the file of an answer.
async fn take(
    mut answer: Response,
    limits: &Limits,
    into: &mut (impl AsyncWrite + Unpin + Send),
    mut progress: impl FnMut(u64) + Send,
) -> Result<Fetched, Fault> {
    if answer.status() == StatusCode::NOT_MODIFIED {
        return Ok(Fetched::Unchanged);
    }
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut body = Body::of(&mut answer, limits)?;
    while let Some(piece) = body.next().await? {
        hash.update(&piece);
        into.write_all(&piece).await.map_err(Fault::Write)?;
        progress(body.bytes);
    }
    let bytes = body.bytes;
    into.flush().await.map_err(Fault::Write)?;
    let sha256 = hex(hash.finish().as_ref());
    let validators = Validators {
        etag: text(answer.headers(), &ETAG),
        last_modified: text(answer.headers(), &LAST_MODIFIED),
    };
    let content_type = text(answer.headers(), &CONTENT_TYPE);
    Ok(Fetched::File { bytes, sha256, content_type, validators })
}

/// The body of an answer, counted and timed.
pub(super) struct Body<'a> {
    answer: &'a mut Response,
    limits: &'a Limits,
    announced: Option<u64>,
    pub(super) bytes: u64,
}

impl<'a> Body<'a> {
    pub(super) fn of(answer: &'a mut Response, limits: &'a Limits) -> Result<Self, Fault> {
        let coding = answer.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Err(Fault::Compressed);
        }
        let announced = answer.content_length();
        if announced.is_some_and(|announced| announced > limits.bytes_max) {
            return Err(Fault::TooLarge { limit: limits.bytes_max });
        }
        Ok(Self { answer, limits, announced, bytes: 0 })
    }

    /// The next piece, or nothing at the end.
    pub(super) async fn next(
        &mut self,
    ) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Fault> {
        let Limits { idle, bytes_max, .. } = *self.limits;
        let piece = timeout(idle, self.answer.chunk())
            .await
            .map_err(|_| Fault::Silent { limit: idle })?
            .map_err(|_| Fault::Truncated { bytes: self.bytes, announced: self.announced })?;
        if let Some(piece) = &piece {
            self.bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if self.bytes > bytes_max {
                return Err(Fault::TooLarge { limit: bytes_max });
            }
        }
        Ok(piece)
    }
}

/// A header as text, if it is text of a sane length.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= VALIDATOR_BYTES_MAX).then(|| value.to_owned())
}
