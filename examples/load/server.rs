//! Servers as processes of their own, so that what they take can be told from what the client takes.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::database::Database;
use super::meter::Meter;

/// How long a server may take until it serves.
const START: Duration = Duration::from_mins(1);

/// How often the log is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// A server that ends with the run.
pub(crate) struct Server {
    /// The address, as `127.0.0.1:8080`.
    pub(crate) listen: String,
    /// What watches it.
    pub(crate) meter: Meter,
    child: Child,
}

impl Server {
    /// Starts scimd on a database, as an administrator would, without a configuration file.
    pub(crate) async fn scimd(
        program: &Path,
        database: &Database,
        database_connections: Option<u32>,
    ) -> Result<Self> {
        let named = || format!("no server at {}; --scimd names one", program.display());
        let mut command = Command::new(program.canonicalize().with_context(named)?);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data-dir"])
            .arg(database.folder.path())
            .current_dir(database.folder.path())
            // Everybody can read the arguments of a process; a password may be in here.
            .env("SCIMD_DATABASE_URL", &database.url);
        if let Some(count) = database_connections {
            command.args(["--database-connections", &count.to_string()]);
        }
        Self::start(command, &database.folder.path().join("scimd.log")).await
    }

    /// Starts the handler that does nothing.
    pub(crate) async fn floor(folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("this program")?);
        command.args(["floor", "serve-http", "--port", "0"]);
        Self::start(command, &folder.join("floor.log")).await
    }

    /// Starts a server that writes where it listens as `{"listen": …}`, in a line of its log.
    async fn start(mut command: Command, log: &Path) -> Result<Self> {
        // A file costs the client nothing while it measures; a pipe would have to be read.
        let file = std::fs::File::create(log).context("a log for the server")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(file))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{}", command.as_std().get_program().display()))?;
        let meter = Meter::new(child.id().context("the id of the server")?);
        let mut server = Self { listen: String::new(), meter, child };
        let give_up = Instant::now() + START;
        loop {
            let said = std::fs::read_to_string(log).context("the log of the server")?;
            if let Some(listen) = said.lines().find_map(listen) {
                server.listen = listen;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > give_up {
                bail!("the server did not start: {said}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends it. Its data goes too, so there is nothing to wait for.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("the end of the server")
    }
}

fn listen(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    entry.get("listen")?.as_str().map(str::to_owned)
}
