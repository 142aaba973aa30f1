//! One connection to the server, one request at a time, and how long each of them took.
//!
//! Client, server and database share the machine, so what the client costs is taken from them: a
//! connection is kept open, a request is written as it is, and an answer is read but not understood
//! unless its workload needs something of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a client waits before it connects again to a server that did not answer.
const RECONNECT: Duration = Duration::from_millis(20);

/// The longest time that is told from longer ones, in microseconds: ten minutes.
const LATENCY_MAX_US: u64 = 600_000_000;

/// A SCIM server, and the key to sign in with.
#[derive(Debug)]
pub(crate) struct Target {
    authority: HeaderValue,
    address: String,
    base: String,
    bearer: HeaderValue,
}

/// What is sent. The path is behind the base of the server, and carries the query.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    path: String,
    body: Bytes,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The body, as bytes.
    pub(crate) body: Bytes,
    location: Option<HeaderValue>,
}

/// How long a run lasts, and how far it is: shared by all connections.
#[derive(Debug)]
pub(crate) struct Pace {
    sent: AtomicU64,
    requests_max: u64,
    ends_at: Option<Instant>,
}

/// What one client has measured.
#[derive(Debug)]
pub(crate) struct Tally {
    /// How long requests took, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// How many requests failed, by status; `connection` where there was no answer.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// A connection with what it has measured.
#[derive(Debug)]
pub(crate) struct Client {
    target: Arc<Target>,
    pace: Arc<Pace>,
    sender: Option<SendRequest<Full<Bytes>>>,
    due: Option<Instant>,
    /// What was measured so far.
    pub(crate) tally: Tally,
}

impl Target {
    /// The server at a base URL such as `http://127.0.0.1:8080/scim/v2`. TLS is not spoken: it would
    /// be measured along.
    pub(crate) fn new(url: &str, token: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url}: only http:// is measured; a proxy in front speaks TLS");
        }
        let authority = uri.authority().with_context(|| format!("{url} names no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .context("the key has characters that no header may have")?;
        bearer.set_sensitive(true);
        Ok(Self {
            authority: HeaderValue::try_from(authority.as_str()).context("the host")?,
            address: format!("{}:{port}", authority.host()),
            base: uri.path().trim_end_matches('/').to_owned(),
            bearer,
        })
    }
}

impl Request {
    /// A request without a body.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Bytes::new() }
    }

    /// A request that creates something.
    pub(crate) fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self::with(Method::POST, path, body)
    }

    /// A request that replaces something.
    pub(crate) fn put(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self::with(Method::PUT, path, body)
    }

    /// A request that changes something.
    pub(crate) fn patch(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self::with(Method::PATCH, path, body)
    }

    fn with(method: Method, path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { method, path: path.into(), body: Bytes::from(body.to_string()) }
    }

    fn to(&self, target: &Target) -> Result<hyper::Request<Full<Bytes>>> {
        let mut request = hyper::Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{}", target.base, self.path))
            .header(header::HOST, target.authority.clone())
            .header(header::AUTHORIZATION, target.bearer.clone())
            .header(header::USER_AGENT, "scimd-load")
            .header(header::ACCEPT, "application/scim+json");
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/scim+json");
        }
        request.body(Full::new(self.body.clone())).with_context(|| format!("request {}", self.path))
    }
}

impl Answer {
    /// The id of what was created: the end of the `Location`, which need not be parsed.
    pub(crate) fn id(&self) -> Option<Box<str>> {
        let location = self.location.as_ref()?.to_str().ok()?;
        location.rsplit('/').next().map(Into::into)
    }
}

impl Pace {
    /// So many requests, or so long, whatever is over first.
    pub(crate) fn new(requests_max: Option<u64>, time: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            sent: AtomicU64::new(0),
            requests_max: requests_max.unwrap_or(u64::MAX),
            ends_at: time.map(|time| Instant::now() + time),
        })
    }

    /// No end: whoever sends knows when to stop.
    pub(crate) fn endless() -> Arc<Self> {
        Self::new(None, None)
    }

    /// One more request is sent.
    pub(crate) fn count(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another request is due.
    pub(crate) fn goes_on(&self) -> bool {
        self.sent.load(Ordering::Relaxed) < self.requests_max
            && self.ends_at.is_none_or(|end| Instant::now() < end)
    }
}

impl Tally {
    /// Nothing measured yet.
    pub(crate) fn new() -> Result<Self> {
        let latencies = Histogram::new_with_max(LATENCY_MAX_US, 3).context("a histogram")?;
        Ok(Self { latencies, errors: BTreeMap::new() })
    }

    /// Takes down how long a request took.
    pub(crate) fn record(&mut self, time: Duration) {
        self.latencies.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes down a failure.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        *self.errors.entry(what.into()).or_default() += 1;
    }

    /// Adds what another client has measured.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.latencies.add(&other.latencies).context("histograms of one kind")?;
        for (what, count) in &other.errors {
            *self.errors.entry(what.clone()).or_default() += count;
        }
        Ok(())
    }
}

impl Client {
    /// A client that connects when it sends its first request.
    pub(crate) fn new(target: &Arc<Target>, pace: &Arc<Pace>) -> Result<Self> {
        let (target, pace) = (Arc::clone(target), Arc::clone(pace));
        Ok(Self { target, pace, sender: None, due: None, tally: Tally::new()? })
    }

    /// Whether another request is due.
    pub(crate) fn goes_on(&self) -> bool {
        self.pace.goes_on()
    }

    /// Connects, so that the first request does not pay for it.
    pub(crate) async fn connect(&mut self) -> Result<()> {
        self.sender().await.map(drop)
    }

    /// Has the next request be measured from when it was due: what it waited is part of its time.
    pub(crate) fn was_due(&mut self, at: Instant) {
        self.due = Some(at);
    }

    /// Sends a request and measures it. `None` if it failed, which is counted by its status.
    pub(crate) async fn send(&mut self, request: Request) -> Option<Answer> {
        let due = self.due.take().unwrap_or_else(Instant::now);
        self.pace.count();
        let answered = self.exchange(&request).await;
        self.tally.record(due.elapsed());
        match answered {
            Ok(answer) if answer.status.is_success() => Some(answer),
            Ok(answer) => {
                self.tally.fail(answer.status.as_str());
                None
            }
            Err(_) => {
                self.tally.fail("connection");
                tokio::time::sleep(RECONNECT).await;
                None
            }
        }
    }

    /// Sends a request that has to succeed, and measures nothing.
    pub(crate) async fn require(&mut self, request: Request) -> Result<Answer> {
        let answer = self.exchange(&request).await?;
        if !answer.status.is_success() {
            let said = String::from_utf8_lossy(&answer.body);
            bail!("{} {}: {}: {said}", request.method, request.path, answer.status);
        }
        Ok(answer)
    }

    async fn exchange(&mut self, request: &Request) -> Result<Answer> {
        let prepared = request.to(&self.target)?;
        let sender = self.sender().await?;
        let answered = read(sender, prepared).await;
        if answered.is_err() {
            self.sender = None;
        }
        answered.with_context(|| format!("{} {}", request.method, request.path))
    }

    /// The connection, made anew if the server has closed it.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        // A server that goes away says so by closing; hyper knows as soon as it is asked.
        if let Some(sender) = &mut self.sender
            && (sender.is_closed() || sender.ready().await.is_err())
        {
            self.sender = None;
        }
        if self.sender.is_none() {
            let address = &self.target.address;
            let stream = TcpStream::connect(address).await;
            let stream = stream.with_context(|| format!("no connection to {address}"))?;
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Its end is known by the sender, so nobody has to look after it.
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().context("a connection that was just made")
    }
}

async fn read(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> Result<Answer> {
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    let location = parts.headers.get(header::LOCATION).cloned();
    Ok(Answer { status: parts.status, body, location })
}
