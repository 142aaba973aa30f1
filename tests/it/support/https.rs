//! A server of files over https whose every answer can go wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificate that a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// For 127.0.0.1 and localhost, by the authority in the file.
    Good,
    /// By an authority that is not in the file.
    OfStranger,
    /// By an authority of the same name as the one in the file.
    OfNamesake,
    Expired,
    /// For another name.
    Misnamed,
}

/// What a server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A good file; 304 if the request has one of its validators.
    File(File),
    /// 401 unless the request comes from this user, and then the file.
    Guarded { user: &'static str, password: &'static str, file: File },
    /// A status with a header, such as a redirect, and a short page.
    Status(u16, &'static str, String),
    /// These bytes, and the end of the connection in due form.
    Raw(Vec<u8>),
    /// These bytes, and the end of the connection without any form.
    Cut(Vec<u8>),
    /// These bytes, and then nothing until the client hangs up.
    Stalled(Vec<u8>),
    /// These bytes, and then pieces of a body for as long as the client listens.
    Endless(Vec<u8>),
}

/// A file with its headers.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
    pub(crate) etag: Option<&'static str>,
    pub(crate) last_modified: Option<&'static str>,
}

impl File {
    pub(crate) fn csv(body: &str) -> Self {
        Self {
            body: body.as_bytes().to_vec(),
            content_type: "text/csv; charset=utf-8",
            etag: Some("\"one\""),
            last_modified: Some("Tue, 01 Sep 2026 06:00:00 GMT"),
        }
    }
}

impl Answer {
    pub(crate) fn csv(body: &str) -> Self {
        Self::File(File::csv(body))
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, "X-Nothing", "here".to_owned())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Status(302, "Location", to.to_owned())
    }
}

/// What a client sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// With the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// A server on a free port of 127.0.0.1, for as long as the value lives.
pub(crate) struct Https {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    folder: TempDir,
    listening: JoinHandle<()>,
}

struct State {
    /// By path; the empty one is for all others.
    answers: Mutex<HashMap<String, Answer>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
}

impl Https {
    pub(crate) async fn start() -> Self {
        Self::with(Certificate::Good).await
    }

    pub(crate) async fn with(certificate: Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (acceptor, trusted) = identity(certificate);
        std::fs::write(folder.path().join("ca.pem"), trusted).unwrap();
        let state = Arc::new(State {
            answers: Mutex::new(HashMap::from([(String::new(), Answer::csv("a,b\n1,2\n"))])),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, state, folder, listening }
    }

    /// The authority to trust, as PEM.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The address of a path, by number.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// How all paths are answered from now on that have no answer of their own.
    pub(crate) fn set(&self, answer: Answer) {
        self.set_at("", answer);
    }

    /// How a path is answered from now on; it is given without the query.
    pub(crate) fn set_at(&self, path: &str, answer: Answer) {
        self.state.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// What was asked until now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The last of them.
    pub(crate) fn last(&self) -> Request {
        self.requests().pop().unwrap()
    }

    /// How many connections were made until now, whatever came of them.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The certificate and the key of a server, and the authority that its clients trust.
fn identity(certificate: Certificate) -> (TlsAcceptor, String) {
    let authority = authority("Files");
    let trusted = match certificate {
        Certificate::OfStranger => self::authority("Others").pem(),
        Certificate::OfNamesake => self::authority("Files").pem(),
        _ => authority.pem(),
    };
    let names = match certificate {
        Certificate::Misnamed => vec!["files.example.org".to_owned()],
        _ => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
    };
    let mut params = CertificateParams::new(names).unwrap();
    if certificate == Certificate::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let shown = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), trusted)
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Answers one request; a client that goes away early is part of the game.
async fn serve(socket: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) {
    let Ok(mut stream) = acceptor.accept(socket).await else { return };
    let Some(request) = read(&mut stream).await else { return };
    let path = request.path.split('?').next().unwrap().to_owned();
    let answer = {
        let answers = state.answers.lock().unwrap();
        answers.get(&path).unwrap_or(&answers[""]).clone()
    };
    state.requests.lock().unwrap().push(request.clone());
    let _ = match answer {
        Answer::File(file) => close(stream, &whole(&file, &request)).await,
        Answer::Guarded { user, password, file } => {
            let wanted = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
            let answer = if request.header("authorization") == Some(&wanted) {
                whole(&file, &request)
            } else {
                short(401, "WWW-Authenticate", "Basic realm=\"files\"")
            };
            close(stream, &answer).await
        }
        Answer::Status(status, name, value) => close(stream, &short(status, name, &value)).await,
        Answer::Raw(bytes) => close(stream, &bytes).await,
        Answer::Cut(bytes) => cut(stream, &bytes).await,
        Answer::Stalled(bytes) => stall(stream, &bytes).await,
        Answer::Endless(bytes) => run_on(stream, &bytes).await,
    };
}

async fn read(stream: &mut TlsStream<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Some(Request { path, headers })
}

fn whole(file: &File, request: &Request) -> Vec<u8> {
    let validators = [("ETag", file.etag), ("Last-Modified", file.last_modified)];
    let headers: String = validators
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}\r\n", (*value)?)))
        .collect();
    // RFC 9110 §13.1.3: a server that knows If-None-Match ignores If-Modified-Since next to it.
    let etag = request.header("if-none-match");
    let time = request.header("if-modified-since").filter(|_| etag.is_none());
    let known =
        (etag.is_some() && etag == file.etag) || (time.is_some() && time == file.last_modified);
    if known {
        return format!("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n{headers}\r\n").into();
    }
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {}\r\nContent-Length: {}\r\n{headers}\r\n",
        file.content_type,
        file.body.len()
    )
    .into_bytes();
    answer.extend(&file.body);
    answer
}

fn short(status: u16, name: &str, value: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Some Words\r\nConnection: close\r\nContent-Length: 2\r\n{name}: {value}\r\n\r\n:("
    )
    .into()
}

type Sent = std::io::Result<()>;

async fn close(mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> Sent {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}

async fn cut(mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> Sent {
    send(&mut stream, bytes).await
}

async fn stall(mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> Sent {
    send(&mut stream, bytes).await?;
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn run_on(mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> Sent {
    send(&mut stream, bytes).await?;
    let piece = format!("400\r\n{}\r\n", "x".repeat(0x400)).into_bytes();
    loop {
        send(&mut stream, &piece).await?;
    }
}

async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> Sent {
    stream.write_all(bytes).await?;
    stream.flush().await
}
