//! A folder and an environment to run the program in, and the servers that it starts.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The last line that a quickstart prints before it serves.
const READY: &str = "Serving; stop with Ctrl-C.";

/// A folder to work in.
pub(super) struct Place(pub(super) TempDir);

/// What a command left behind.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Place {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A place with a tenant, an instance and an enabled connection named Okta.
    pub(super) fn with_connection() -> Self {
        let place = Self::new();
        place.json(&["tenants", "create", "Acme"]);
        place.json(&["instances", "create", "production"]);
        place.json(&["connections", "create", "Okta", "--kind", "okta", "--enable"]);
        place
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// A JSON file, changed.
    pub(super) fn definition(&self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let text = std::fs::read_to_string(self.0.path().join(name)).unwrap();
        let mut value = serde_json::from_str(&text).unwrap();
        change(&mut value);
        value.to_string()
    }

    fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimd"));
        command
            .arg0("scimd")
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run_in(&self, args: &[&str], environment: &[(&str, &str)]) -> Done {
        let done = self.command(args, environment).output().unwrap();
        Done {
            code: done.status.code(),
            out: String::from_utf8(done.stdout).unwrap(),
            err: String::from_utf8(done.stderr).unwrap(),
        }
    }

    pub(super) fn run(&self, args: &[&str]) -> Done {
        self.run_in(args, &[])
    }

    /// What a command that succeeds prints for people, ids and times masked.
    pub(super) fn text(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{args:?}");
        masked(&done.out)
    }

    /// What a command that succeeds prints for programs.
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--json"]].concat();
        let done = self.run(&args);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{args:?}");
        serde_json::from_str(&done.out).unwrap()
    }

    pub(super) fn start(&self, args: &[&str]) -> Server {
        let mut command = self.command(args, &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Server(command.spawn().unwrap())
    }

    /// A quickstart on a free port, and everything that it printed until it served.
    pub(super) fn quickstart(&self) -> (Server, Vec<String>) {
        let mut server = self.start(&["quickstart", "--listen", "127.0.0.1:0"]);
        let out = BufReader::new(server.0.stdout.take().unwrap());
        let mut printed = Vec::new();
        for line in out.lines().map(Result::unwrap) {
            let ready = line == READY;
            printed.push(line);
            if ready {
                return (server, printed);
            }
        }
        panic!("it ended early: {printed:?}");
    }
}

/// A server that ends with the test.
pub(super) struct Server(Child);

impl Server {
    /// Asks it to end as a supervisor does, and waits for that.
    pub(super) fn terminate(mut self) -> ExitStatus {
        let kill = format!("kill -TERM {}", self.0.id());
        let killed = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(killed.success());
        self.0.wait().unwrap()
    }

    /// The address that a `serve --log-format json` listens on. Nobody reads the log after that, which
    /// the server must bear.
    pub(super) fn address(&mut self) -> String {
        let err = BufReader::new(self.0.stderr.take().unwrap());
        for line in err.lines().map(Result::unwrap) {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "scimd is serving" {
                return line["listen"].as_str().unwrap().to_owned();
            }
        }
        panic!("it ended early");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Puts words in the place of ids and times.
pub(super) fn masked(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let is = |length: usize, form: &str| {
            rest.get(..length).is_some_and(|text| {
                text.chars().zip(form.chars()).all(|(c, due)| match due {
                    'x' => c.is_ascii_hexdigit(),
                    due => c == due,
                })
            })
        };
        let (word, length) = if is(36, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
            ("[id]", 36)
        } else if is(24, "xxxx-xx-xxTxx:xx:xx.xxxZ") {
            ("[time]", 24)
        } else {
            shown.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        shown += word;
        rest = &rest[length..];
    }
    shown
}
