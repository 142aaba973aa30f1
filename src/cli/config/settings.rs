//! The effective configuration, and where each value came from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::{DatabaseUrl, Layer, Layers, LogFormat, Network, values, variable};

/// The effective configuration, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// The folder that holds the SQLite database.
    pub data_dir: PathBuf,
    /// The database.
    pub database_url: DatabaseUrl,
    /// A hot standby of it.
    pub database_read_url: Option<DatabaseUrl>,
    /// How many connections to the database are open at most.
    pub database_connections: u32,
    /// The address under which clients reach the server, without a slash at its end.
    pub public_url: Option<String>,
    /// The proxies whose headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The bytes of a request body at most.
    pub body_bytes_max: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a server that is asked to stop goes on serving, and says that it is not ready.
    pub shutdown_drain: Duration,
    /// The requests of instances that are worked on at once at most.
    pub requests_running_max: usize,
    /// The requests of one instance that wait for their turn at most.
    pub requests_waiting_max: usize,
    /// How long requests in flight may take to end when the server stops.
    pub shutdown_grace: Duration,
    /// The folder with files that connections may be pulled from.
    pub files_dir: Option<PathBuf>,
    /// The file with the key of the vault.
    pub vault_key_file: PathBuf,
    /// The private networks that files may be fetched from.
    pub pull_networks: Vec<IpNet>,
    /// The certificates of authorities that fetches trust besides those of the machine.
    pub pull_ca_file: Option<PathBuf>,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// What is logged, as directives of a filter.
    pub log_level: String,
    entries: Vec<Entry>,
}

/// One key with its effective value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key, as in the file.
    pub key: &'static str,
    /// Its value, without secrets.
    pub value: Value,
    /// Where the value came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl Settings {
    /// Every key with its value, without secrets.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map_or(&Origin::Default, |entry| &entry.origin)
    }
}

impl Entry {
    /// The value in words.
    #[must_use]
    pub fn text(&self) -> String {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &self.value {
            Value::Null if self.key == "public_url" => {
                "the address that each request names".to_owned()
            }
            Value::Null => "none".to_owned(),
            Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
            value => plain(value),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl Layers {
    /// Takes every key from the strongest layer that has it, and checks the values.
    pub fn resolve(self) -> Result<Settings> {
        let mut from = Picker { layers: self, entries: Vec::new() };
        let loopback = || {
            let networks = ["127.0.0.0/8", "::1"].map(str::parse::<Network>);
            networks.into_iter().flatten().collect::<Vec<_>>()
        };

        let listen = from.pick("listen", |layer| &layer.listen, || ([127, 0, 0, 1], 8080).into());
        let data_dir = from.pick("data_dir", |layer| &layer.data_dir, || "scimd-data".into());
        let in_folder = data_dir.checked(|folder| DatabaseUrl::in_folder(folder));
        let database_url = match from.layers.strongest("database_url", |layer| &layer.database_url)
        {
            Some(set) => set,
            None => Picked::default("database_url", in_folder?),
        };
        from.enter(&database_url);
        database_url.checked(DatabaseUrl::check)?;
        let read_url = from.pick_optional("database_read_url", |layer| &layer.database_read_url);
        read_url.checked(|url| values::standby(url.as_ref(), &database_url.value))?;
        let connections =
            from.pick("database_connections", |layer| &layer.database_connections, || 20);
        let public_url = from.pick_optional("public_url", |layer| &layer.public_url);
        let public_url =
            public_url.checked(|url| url.as_deref().map(values::public_url).transpose())?;
        let proxies = from.pick("trusted_proxies", |layer| &layer.trusted_proxies, loopback);
        let body = from.pick("body_bytes_max", |layer| &layer.body_bytes_max, || 16 << 20);
        let timeout = from.pick("request_timeout_s", |layer| &layer.request_timeout_s, || 30);
        let drain = from.pick("shutdown_drain_s", |layer| &layer.shutdown_drain_s, || 0);
        let in_pool = || usize::try_from(connections.value).unwrap_or(usize::MAX);
        let running =
            from.pick("requests_running_max", |layer| &layer.requests_running_max, in_pool);
        let waiting =
            from.pick("requests_waiting_max", |layer| &layer.requests_waiting_max, || 1_000);
        let grace = from.pick("shutdown_grace_s", |layer| &layer.shutdown_grace_s, || 30);
        let files_dir = from.pick_optional("files_dir", |layer| &layer.files_dir);
        let in_data = || data_dir.value.join("vault.key");
        let vault_key_file = from.pick("vault_key_file", |layer| &layer.vault_key_file, in_data);
        let networks = from.pick("pull_networks", |layer| &layer.pull_networks, Vec::new);
        let ca_file = from.pick_optional("pull_ca_file", |layer| &layer.pull_ca_file);
        let log_format = from.pick("log_format", |layer| &layer.log_format, || LogFormat::Text);
        let log_level = from.pick("log_level", |layer| &layer.log_level, || "info".to_owned());
        log_level.checked(|filter| match EnvFilter::builder().parse(filter) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("\"{filter}\" is not a filter: {error}")),
        })?;
        Ok(Settings {
            listen: listen.value,
            data_dir: data_dir.value,
            database_url: database_url.value,
            database_read_url: read_url.value,
            database_connections: connections.within(1, 1_000)?,
            public_url,
            trusted_proxies: proxies.value.iter().map(|network| network.0).collect(),
            body_bytes_max: body.within(1 << 10, 1 << 30)?,
            request_timeout: Duration::from_secs(timeout.within(1, 3_600)?),
            shutdown_drain: Duration::from_secs(drain.within(0, 3_600)?),
            requests_running_max: running.within(1, 10_000)?,
            requests_waiting_max: waiting.within(1, 100_000)?,
            shutdown_grace: Duration::from_secs(grace.within(0, 3_600)?),
            files_dir: files_dir.value,
            vault_key_file: vault_key_file.value,
            pull_networks: networks.value.iter().map(|network| network.0).collect(),
            pull_ca_file: ca_file.value,
            log_format: log_format.value,
            log_level: log_level.value,
            entries: from.entries,
        })
    }

    fn strongest<T: Clone>(
        &self,
        key: &'static str,
        field: fn(&Layer) -> &Option<T>,
    ) -> Option<Picked<T>> {
        let flag = || Origin::Flag(format!("--{}", key.replace('_', "-")));
        let picked = |value: &T, origin| Picked { key, value: value.clone(), origin };
        if let Some(value) = field(&self.flags) {
            return Some(picked(value, flag()));
        }
        if let Some(value) = field(&self.environment) {
            return Some(picked(value, Origin::Environment(variable(key))));
        }
        let (path, layer) = self.file.as_ref()?;
        let value = field(layer).as_ref()?;
        Some(picked(value, Origin::File(path.clone())))
    }
}

/// Takes keys from the layers and remembers what it took.
struct Picker {
    layers: Layers,
    entries: Vec<Entry>,
}

impl Picker {
    fn pick<T: Clone + Serialize>(
        &mut self,
        key: &'static str,
        field: fn(&Layer) -> &Option<T>,
        default: impl FnOnce() -> T,
    ) -> Picked<T> {
        let picked = self.layers.strongest(key, field);
        let picked = picked.unwrap_or_else(|| Picked::default(key, default()));
        self.enter(&picked);
        picked
    }

    fn pick_optional<T: Clone + Serialize>(
        &mut self,
        key: &'static str,
        field: fn(&Layer) -> &Option<T>,
    ) -> Picked<Option<T>> {
        let picked = self.layers.strongest(key, field);
        let picked = picked.map_or_else(|| Picked::default(key, None), Picked::some);
        self.enter(&picked);
        picked
    }

    fn enter<T: Serialize>(&mut self, picked: &Picked<T>) {
        self.entries.push(Entry {
            key: picked.key,
            value: serde_json::to_value(&picked.value).unwrap_or_default(),
            origin: picked.origin.clone(),
        });
    }
}

/// The strongest value of a key, not checked yet.
struct Picked<T> {
    key: &'static str,
    value: T,
    origin: Origin,
}

impl<T> Picked<T> {
    fn default(key: &'static str, value: T) -> Self {
        Self { key, value, origin: Origin::Default }
    }

    fn some(self) -> Picked<Option<T>> {
        Picked { key: self.key, value: Some(self.value), origin: self.origin }
    }

    /// What a check makes of the value; its complaint names the key and where the value is set.
    fn checked<U>(&self, check: impl FnOnce(&T) -> std::result::Result<U, String>) -> Result<U> {
        check(&self.value).map_err(|reason| anyhow!("{} ({}): {reason}", self.key, self.origin))
    }
}

impl<T: Copy + PartialOrd + fmt::Display> Picked<T> {
    fn within(&self, least: T, most: T) -> Result<T> {
        self.checked(|&value| {
            if value < least || value > most {
                return Err(format!("{value} must be from {least} to {most}"));
            }
            Ok(value)
        })
    }
}
