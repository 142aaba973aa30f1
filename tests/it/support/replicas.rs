//! Several servers on one database, behind the proxy that `deploy/examples/haproxy.cfg` describes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::dice::Dice;
use super::process::Process;
use super::{Database, database};

/// How long the replicas go on when they are asked to stop: what the proxy needs to notice, twice.
const DRAIN_S: &str = "2";

/// How long something may take that happens sooner or later.
const PATIENCE: Duration = Duration::from_secs(20);

/// The replicas and their proxy.
pub(crate) struct Replicas {
    pub(crate) client: RemoteClient,
    pub(crate) processes: Vec<Process>,
    addresses: Vec<String>,
    flags: Vec<String>,
    proxy: Child,
    folder: TempDir,
}

/// A client on the other side of a socket.
#[derive(Clone)]
pub(crate) struct RemoteClient {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// What came back, and from which replica.
#[derive(Debug)]
pub(crate) struct RemoteAnswer {
    pub(crate) status: u16,
    pub(crate) served_by: String,
    pub(crate) body: Value,
}

impl Replicas {
    /// Starts that many, with these flags beside those that each has; waits until the proxy reaches all.
    pub(crate) async fn start(
        database: &Database,
        token: &str,
        count: usize,
        flags: &[&str],
    ) -> Self {
        let flags = ["--shutdown-drain-s", DRAIN_S].iter().chain(flags);
        let flags: Vec<String> = flags.map(|&flag| flag.to_owned()).collect();
        let addresses: Vec<String> = (0..count).map(|_| free_address()).collect();
        let mut processes = Vec::new();
        for address in &addresses {
            processes.push(serve(database, address, &flags).await);
        }
        let folder = TempDir::new().unwrap();
        let front = free_address();
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration(&front, &addresses)).unwrap();
        let path = format!("{}:/usr/sbin", database::environment("PATH").unwrap_or_default());
        // Alerts, and nothing else; it goes on as long as it lives.
        let said = folder.path().join("said");
        let proxy = Command::new("haproxy")
            .env("PATH", path)
            .args(["-db", "-q", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("haproxy does not start ({error}): run tests/setup"));
        let http = reqwest::Client::new();
        let client =
            RemoteClient { http, base: format!("http://{front}"), token: token.to_owned() };
        let mut all = Self { client, processes, addresses, flags, proxy, folder };
        for number in 0..count {
            all.reached(number).await;
        }
        all
    }

    /// The address of a replica, without its proxy.
    pub(crate) fn direct(&self, number: usize) -> RemoteClient {
        RemoteClient { base: format!("http://{}", self.addresses[number]), ..self.client.clone() }
    }

    /// Asks a replica to stop, waits for its end, and puts a new one into its place.
    pub(crate) async fn renew(&mut self, database: &Database, number: usize) {
        let new = {
            let old = self.processes.remove(number);
            old.ask_to_stop().await;
            old.ended().await;
            serve(database, &self.addresses[number], &self.flags).await
        };
        self.processes.insert(number, new);
        self.reached(number).await;
    }

    /// Kills a replica, and leaves its place empty.
    pub(crate) async fn kill(&mut self, number: usize) {
        self.processes.remove(number).kill().await;
    }

    /// Waits until the proxy sends requests to a replica.
    async fn reached(&mut self, number: usize) {
        let (name, asked) = (name(number), Instant::now());
        // Before the proxy listens, nobody answers.
        while self.client.get("/healthz").await.map(|answer| answer.served_by).ok().as_ref()
            != Some(&name)
        {
            if let Some(ended) = self.proxy.try_wait().unwrap() {
                let said = fs::read_to_string(self.folder.path().join("said")).unwrap();
                panic!("haproxy has ended ({ended}): {said}");
            }
            assert!(asked.elapsed() < PATIENCE, "{name} gets no requests");
        }
    }

    /// Ends everything at once.
    pub(crate) async fn stop(mut self) {
        self.proxy.kill().await.unwrap();
        for process in self.processes {
            process.kill().await;
        }
    }
}

impl RemoteClient {
    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<RemoteAnswer> {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Result<RemoteAnswer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Sends the operations of a PATCH.
    pub(crate) async fn patch(
        &self,
        path: &str,
        operations: &Value,
    ) -> reqwest::Result<RemoteAnswer> {
        let body = serde_json::json!({ "schemas": [super::PATCH_OP], "Operations": operations });
        self.send(Method::PATCH, path, Some(&body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<RemoteAnswer> {
        let request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let served_by = answer.headers().get("x-served-by");
        let served_by = served_by.map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        Ok(RemoteAnswer { status, served_by, body })
    }
}

async fn serve(database: &Database, address: &str, flags: &[String]) -> Process {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Process::serve_at(database, address, &flags).await
}

/// The name by which the proxy knows a replica.
fn name(number: usize) -> String {
    format!("scimd{}", number + 1)
}

/// The documented configuration with other addresses and without TLS. Answers tell which replica they come from.
fn configuration(front: &str, replicas: &[String]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/haproxy.cfg");
    let documented = fs::read_to_string(file).unwrap();
    let mut lines: Vec<String> = documented
        .lines()
        .filter(|line| !line.trim_start().starts_with("server "))
        .map(|line| {
            let binds = line.trim_start().starts_with("bind ");
            if binds { format!("    bind {front}") } else { line.to_owned() }
        })
        .collect();
    assert!(lines.iter().any(|line| line.ends_with(front)), "no bind in {documented}");
    lines.push("    http-response set-header X-Served-By %s".to_owned());
    let servers = replicas.iter().enumerate();
    lines.extend(servers.map(|(number, at)| format!("    server {} {at}", name(number))));
    lines.join("\n") + "\n"
}

/// An address nobody listens on, and that Linux gives to no outgoing connection.
fn free_address() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seed = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
    let mut dice = Dice(seed);
    loop {
        let address = format!("127.0.0.1:{}", 10_000 + dice.below(20_000));
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
