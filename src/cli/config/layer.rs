//! One layer of the configuration: the keys that one place sets.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{DatabaseUrl, Network};

/// The keys, as flags, as variables and in the file; what is not set here is left to the next layer.
///
/// The comments of the fields are the help of the flags, where no other is given.
#[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Configuration")]
pub struct Layer {
    /// The address and port to listen on.
    #[arg(long, global = true, value_name = "ADDRESS:PORT", hide = true)]
    pub listen: Option<SocketAddr>,

    /// The folder that holds the SQLite database; it is created if it is missing.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// The database, SQLite or PostgreSQL.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "The database: sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME. Everybody on the \
                machine can read a flag: give a password in the variable or the file"
    )]
    pub database_url: Option<DatabaseUrl>,

    /// A hot standby of the database, for lists.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        hide = true,
        help = "A hot standby of the PostgreSQL database: the later pages of long lists are read from it while \
                it is there"
    )]
    pub database_read_url: Option<DatabaseUrl>,

    /// How many connections to the database are open at most.
    #[arg(long, global = true, value_name = "COUNT")]
    pub database_connections: Option<u32>,

    /// The address under which identity providers reach this server.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        hide = true,
        help = "The address under which identity providers reach this server, such as \
                https://people.example.com"
    )]
    pub public_url: Option<String>,

    /// The proxies whose X-Forwarded headers are believed, separated by commas.
    #[arg(long, global = true, value_name = "NETWORK", value_delimiter = ',', hide = true)]
    pub trusted_proxies: Option<Vec<Network>>,

    /// The bytes that the body of a request may have.
    #[arg(long, global = true, value_name = "BYTES", hide = true)]
    pub body_bytes_max: Option<usize>,

    /// The seconds that a request may take.
    #[arg(long, global = true, value_name = "SECONDS", hide = true)]
    pub request_timeout_s: Option<u64>,

    /// The seconds that a server which is asked to stop goes on serving.
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        hide = true,
        help = "The seconds that a server which is asked to stop goes on serving while /readyz says that it \
                is not ready: so many that the proxy in front of several has noticed"
    )]
    pub shutdown_drain_s: Option<u64>,
    /// The requests of instances that are worked on at once; others wait for their turn.
    #[arg(
        long,
        global = true,
        value_name = "COUNT",
        hide = true,
        help = "The requests of instances that are worked on at once; others wait for their turn. An instance \
                alone can have three quarters of them; not set, it is as many as database_connections"
    )]
    pub requests_running_max: Option<usize>,

    /// The requests of one instance that wait for their turn; more are answered 429.
    #[arg(long, global = true, value_name = "COUNT", hide = true)]
    pub requests_waiting_max: Option<usize>,

    /// The seconds that requests in flight may take to end when the server stops.
    #[arg(long, global = true, value_name = "SECONDS", hide = true)]
    pub shutdown_grace_s: Option<u64>,

    /// The folder with the files that connections may be pulled from, one folder in it for each instance.
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        hide = true,
        help = "The folder with the CSV files that connections may be pulled from; each instance has a \
                folder of its own in it, named by its id"
    )]
    pub files_dir: Option<PathBuf>,

    /// The file with the key by which the passwords of sources are sealed.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        hide = true,
        help = "The file with the key by which the passwords of sources are sealed: 32 random bytes in \
                base64. All replicas need the same one; it does not belong into the database's backup"
    )]
    pub vault_key_file: Option<PathBuf>,

    /// The private networks that files may be fetched from, separated by commas.
    #[arg(long, global = true, value_name = "NETWORK", value_delimiter = ',', hide = true)]
    pub pull_networks: Option<Vec<Network>>,

    /// A PEM file with certificates of authorities that fetches trust besides those of the machine.
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub pull_ca_file: Option<PathBuf>,

    /// The form of the log lines on standard error.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What is logged.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        help = "What is logged: error, warn, info, debug or trace, also by module as in \
                info,scimd::http=debug"
    )]
    pub log_level: Option<String>,
}

/// The form of log lines.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object on each line.
    Json,
}
