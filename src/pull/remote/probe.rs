//! Testing a connection: the same way as a fetch, one step at a time, so that the step that fails is
//! seen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::{Serialize, Serializer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{self, Remote};
use super::fault::{Fault, TlsFault};
use super::fetch::{Body, Validators, client, text};
use super::network::{Limits, Network};

/// A step on the way to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StageName {
    /// Finding the addresses of the host, and whether they may be connected to.
    Dns,
    /// Connecting to one of them.
    Connect,
    /// Having the server prove who it is.
    Tls,
    /// Asking for the file, as the user.
    Answer,
    /// Reading its beginning.
    Sample,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Well; what was found.
    Ok(String),
    /// Not at all; what happened.
    Failed(String),
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Which one.
    pub name: StageName,
    /// How long it took.
    #[serde(rename = "durationMs", serialize_with = "milliseconds")]
    pub duration: Duration,
    /// How it went.
    pub outcome: Outcome,
    /// What to do, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

impl Remote {
    /// Takes the steps of a fetch until one fails, and reads the beginning of the file.
    ///
    /// `sample` is emptied and then has at most `sample_max` bytes; also what came before a failure.
    pub async fn probe(
        &self,
        network: &Network,
        sample: &mut Vec<u8>,
        sample_max: usize,
    ) -> Vec<Stage> {
        sample.clear();
        let mut stages = Vec::new();
        // The error is in the last stage already.
        let _ = self.steps(network, sample, sample_max, &mut stages).await;
        stages
    }

    async fn steps(
        &self,
        network: &Network,
        sample: &mut Vec<u8>,
        sample_max: usize,
        stages: &mut Vec<Stage>,
    ) -> Option<()> {
        let limits = &network.limits;
        let (host, literal) = address::host(&self.url);
        let name = literal.map_or_else(
            || ServerName::try_from(host.to_owned()),
            |address| Ok(ServerName::from(address)),
        );

        let addresses = step(stages, StageName::Dns, async {
            let found = network.resolve(host, literal, self.port()).await?;
            let shown: Vec<String> = found.iter().map(|found| found.ip().to_string()).collect();
            Ok((shown.join(", "), found))
        });
        let addresses = addresses.await?;

        let socket = step(stages, StageName::Connect, connect(&addresses, limits)).await?;

        let tls = step(stages, StageName::Tls, async {
            let config = network.tls().await?;
            let name = name.map_err(|error| Fault::Tls(TlsFault::Other(error.to_string())))?;
            let detail = shake_hands(socket, config.clone(), name, limits).await?;
            Ok((detail, config))
        });
        let tls = tls.await?;

        let answer = step(stages, StageName::Answer, async {
            let client = client(tls, addresses, limits)?;
            let answer = self.ask(&client, limits, &Validators::default()).await?;
            Ok((described(&answer), answer))
        });
        let mut answer = answer.await?;

        step(stages, StageName::Sample, read(&mut answer, limits, sample, sample_max)).await
    }
}

/// Takes a step and notes how it went: well, with a word on what was found, or not.
async fn step<T>(
    stages: &mut Vec<Stage>,
    name: StageName,
    taken: impl Future<Output = Result<(String, T), Fault>>,
) -> Option<T> {
    let start = Instant::now();
    let (outcome, hint, value) = match taken.await {
        Ok((detail, value)) => (Outcome::Ok(detail), None, Some(value)),
        Err(fault) => (Outcome::Failed(fault.to_string()), Some(fault.remedy()), None),
    };
    stages.push(Stage { name, duration: start.elapsed(), outcome, hint });
    value
}

/// Connects to the first address that can be connected to; each has its share of the time.
async fn connect(addresses: &[SocketAddr], limits: &Limits) -> Result<(String, TcpStream), Fault> {
    let share = limits.connect / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = Fault::ConnectTimeout { limit: limits.connect };
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok((address.to_string(), socket)),
            Ok(Err(error)) => last = Fault::Unreachable { reason: error.to_string() },
            Err(_) => {}
        }
    }
    Err(last)
}

async fn shake_hands(
    socket: TcpStream,
    config: ClientConfig,
    name: ServerName<'static>,
    limits: &Limits,
) -> Result<String, Fault> {
    let connector = TlsConnector::from(Arc::new(config));
    let stream = timeout(limits.connect, connector.connect(name.clone(), socket))
        .await
        .map_err(|_| Fault::ConnectTimeout { limit: limits.connect })?
        .map_err(|error| Fault::of_tls(&error))?;
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    Ok(format!("{version}, the certificate is good for {}", name.to_str()))
}

fn described(answer: &Response) -> String {
    let content_type = text(answer.headers(), &CONTENT_TYPE);
    let content_type = content_type.as_deref().unwrap_or("no content type");
    let length = answer
        .content_length()
        .map_or_else(|| "length not announced".to_owned(), |length| format!("{length} bytes"));
    format!("{}, {content_type}, {length}", answer.status())
}

/// Reads the beginning of a body, in the time that a fetch allows to silence: somebody waits for it.
async fn read(
    answer: &mut Response,
    limits: &Limits,
    sample: &mut Vec<u8>,
    sample_max: usize,
) -> Result<(String, ()), Fault> {
    let reading = async {
        let mut body = Body::of(answer, limits)?;
        while sample.len() < sample_max {
            let Some(piece) = body.next().await? else {
                return Ok(format!("{} bytes, the whole file", sample.len()));
            };
            let room = sample_max - sample.len();
            sample.extend(piece.iter().take(room));
        }
        Ok(format!("the first {} bytes", sample.len()))
    };
    let silent = Err(Fault::Silent { limit: limits.idle });
    let detail = timeout(limits.idle, reading).await.unwrap_or(silent)?;
    Ok((detail, ()))
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
