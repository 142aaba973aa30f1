//! The real program as a process of its own.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Database;

/// `scimd serve` on a database.
pub(crate) struct Process {
    pub(crate) base: String,
    child: Child,
}

impl Process {
    /// Starts it and waits until it says where it listens.
    pub(crate) async fn serve(database: &Database) -> Self {
        Self::serve_at(database, "127.0.0.1:0", &[]).await
    }

    /// Starts it at this address with these flags, and waits until it listens.
    pub(crate) async fn serve_at(database: &Database, address: &str, flags: &[&str]) -> Self {
        // The shell only sees to it that a limit on file sizes is an error and no signal.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg("trap '' XFSZ; exec \"$0\" \"$@\"")
            .arg(env!("CARGO_BIN_EXE_scimd"))
            .args(["serve", "--listen", address, "--log-format", "json"])
            .args(["--database-url", &database.url])
            .args(flags)
            .current_dir(database.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let base = loop {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("scimd ended: {said}"));
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(listen) = entry["listen"].as_str() {
                break format!("http://{listen}/scim/v2");
            }
            said.push_str(&line);
        };
        // Somebody must go on reading, or the server would wait for room in the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { base, child }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Ends it as a power cut would: `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, as a service manager does: SIGTERM.
    pub(crate) async fn ask_to_stop(&self) {
        let done = Command::new("kill").arg(self.id().to_string()).status().await.unwrap();
        assert!(done.success());
    }

    /// Waits for its end, which has to be one without complaints.
    pub(crate) async fn ended(mut self) {
        let ended = self.child.wait().await.unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// Sets the size in bytes that a file of the process may have; `None` for no limit.
    pub(crate) async fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let done = Command::new("prlimit")
            .args(["--pid", &self.id().to_string(), &format!("--fsize={limit}:")])
            .status()
            .await
            .unwrap();
        assert!(done.success());
    }
}
