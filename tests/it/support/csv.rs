//! A directory that is pulled from CSV files, and what runs make of it.

use std::fmt::Write as _;
use std::sync::Arc;

use scimd::directory::source::Place;
use scimd::directory::{Account, Connection, ConnectionKind, Guard, PickUp, Pull, SourceSettings};
use scimd::keys::vault::Vault;
use scimd::provision::Result;
use scimd::provision::pull::Worker;
use scimd::provision::settings::SettingsChange;
use scimd::provision::sources::SourceChange;
use scimd::pull::Pulls;
use scimd::pull::remote::Network;
use scimd::store::run_items::Item;
use scimd::store::runs::{Run, RunState};
use tokio::sync::mpsc;

use super::{Database, TestInstance};

/// The columns that each file of [`file`] begins with.
const COLUMNS: &str = "username,first name,last name,email";

/// The name of the document that is pulled.
pub(crate) const DOCUMENT: &str = "people.csv";

/// An instance with a connection that is pulled from an uploaded document.
pub(crate) struct Csv {
    pub(crate) test: TestInstance,
    pub(crate) connection: Connection,
    pub(crate) pulls: Pulls,
}

/// A run with its report.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) run: Run,
    pub(crate) items: Vec<Item>,
}

/// A guard that lets everybody go.
pub(crate) const OPEN: Guard = Guard { count_max: 1_000_000, percent_max: 100 };

/// A document as the place.
pub(crate) fn settings(place: Place) -> SourceSettings {
    SourceSettings { guard: OPEN, ..SourceSettings::of(place) }
}

/// A file of people: each row has a user name, from which the required columns are made, and the cells
/// of the columns in `more`.
pub(crate) fn file(more: &str, rows: &[&str]) -> String {
    let more = if more.is_empty() { String::new() } else { format!(",{more}") };
    let mut text = format!("{COLUMNS}{more}\n");
    for row in rows {
        let name = row.split(',').next().unwrap();
        let rest = &row[name.len()..];
        writeln!(text, "{name},{name},Test,{}@example.com{rest}", name.trim()).unwrap();
    }
    text
}

/// A vault with a key of its own.
pub(crate) fn vault() -> Arc<Vault> {
    Arc::new(Vault::open_with("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap())
}

impl Csv {
    pub(crate) async fn on(database: &Database) -> Self {
        Self::with(database, |_| ()).await
    }

    /// With settings of its own.
    pub(crate) async fn with(
        database: &Database,
        change: impl FnOnce(&mut SourceSettings),
    ) -> Self {
        let test = TestInstance::on(database).await;
        Self::of(test, Network::default(), change).await
    }

    pub(crate) async fn of(
        test: TestInstance,
        network: Network,
        change: impl FnOnce(&mut SourceSettings),
    ) -> Self {
        let connection = test.connection(ConnectionKind::Csv, "HR").await;
        let pulls = Pulls::new(test.app.provision.clone(), Some(vault()), network, None);
        let csv = Self { test, connection, pulls };
        let mut wanted = settings(Place::Document { name: DOCUMENT.to_owned() });
        change(&mut wanted);
        csv.set_source(SourceChange { settings: Some(wanted), ..SourceChange::default() }).await;
        csv
    }

    pub(crate) async fn set_source(&self, change: SourceChange) {
        let provision = self.pulls.provision();
        provision.set_source(&provision.operator(), &self.connection, change).await.unwrap();
    }

    /// Changes the settings of the source.
    pub(crate) async fn set(&self, change: impl FnOnce(&mut SourceSettings)) {
        let mut settings = self.source().await.settings;
        change(&mut settings);
        self.set_source(SourceChange { settings: Some(settings), ..SourceChange::default() }).await;
    }

    pub(crate) async fn source(&self) -> scimd::store::sources::Source {
        self.pulls.provision().source(&self.connection).await.unwrap().unwrap()
    }

    pub(crate) async fn pick_up(&self, pick_up: PickUp) {
        self.policy(SettingsChange { pick_up: Some(pick_up), ..SettingsChange::default() }).await;
    }

    pub(crate) async fn policy(&self, change: SettingsChange) {
        let provision = self.pulls.provision();
        let author = provision.operator();
        provision.set_connection_settings(&author, &self.connection, change).await.unwrap();
    }

    pub(crate) async fn upload(&self, text: impl AsRef<[u8]>) {
        let (sender, parts) = mpsc::channel(1);
        sender.send(Ok(text.as_ref().to_vec())).await.unwrap();
        drop(sender);
        let provision = self.pulls.provision();
        provision.upload(&provision.operator(), self.test.id, DOCUMENT, parts).await.unwrap();
    }

    /// The next run looks at everything again.
    pub(crate) async fn reset(&self) {
        let provision = self.pulls.provision();
        provision.forget_last_pull(&provision.operator(), &self.connection).await.unwrap();
    }

    pub(crate) async fn try_begin(&self, dry: bool) -> Result<Run> {
        let provision = self.pulls.provision();
        let (author, id) = (provision.operator(), self.connection.id);
        provision.begin_pull(&author, self.test.id, id, dry, Worker::Here).await
    }

    pub(crate) async fn begin(&self) -> Run {
        self.try_begin(false).await.unwrap()
    }

    /// Works on a run to its end.
    pub(crate) async fn work(&self, run: Run) -> Pulled {
        let run = self.pulls.work_off(run, &mut |_| ()).await.unwrap();
        let stored = self.stored(&run).await;
        assert_eq!((run.state, &run.pull), (stored.state, &stored.pull), "what is told is kept");
        let items = self.report(&run).await;
        Pulled { run, items }
    }

    /// Works on a run until it has said `steps` times how far it is, and drops it there as a power cut
    /// would; the run if it came to its end before.
    pub(crate) async fn work_for(&self, run: Run, steps: usize) -> Option<Run> {
        let dead = Arc::new(tokio::sync::Notify::new());
        let (ring, mut left) = (Arc::clone(&dead), steps);
        let mut watch = move |_: &Run| {
            left = left.saturating_sub(1);
            if left == 0 {
                ring.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = dead.notified() => None,
            done = self.pulls.work_off(run, &mut watch) => Some(done.unwrap()),
        }
    }

    /// Takes up a run whose worker is dead; what that one sent last may have ended the run all the same.
    pub(crate) async fn resume(&self, run: &Run) -> Pulled {
        self.test.advance(scimd::provision::pull::PULL_LEASE);
        match self.pulls.provision().take_up(&self.stored(run).await).await {
            Ok(run) => self.work(run).await,
            Err(refused) => {
                let run = self.stored(run).await;
                assert!(run.ended_at.is_some(), "{refused}");
                let items = self.report(&run).await;
                Pulled { run, items }
            }
        }
    }

    pub(crate) async fn stored(&self, run: &Run) -> Run {
        self.pulls.provision().run(run.instance, run.id).await.unwrap().unwrap()
    }

    pub(crate) async fn report(&self, run: &Run) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            let from = i64::try_from(items.len()).unwrap();
            let page = self.pulls.provision().report(run, from).await.unwrap();
            if page.is_empty() {
                return items;
            }
            items.extend(page);
        }
    }

    /// A run of what is there.
    pub(crate) async fn run(&self) -> Pulled {
        self.work(self.begin().await).await
    }

    /// Uploads a file and runs it.
    pub(crate) async fn pull(&self, text: impl AsRef<[u8]>) -> Pulled {
        self.upload(text).await;
        self.run().await
    }

    /// The same, without a change; whatever it says, nothing is other than before.
    pub(crate) async fn dry(&self, text: impl AsRef<[u8]>) -> Pulled {
        self.upload(text).await;
        let before = self.test.everything().await;
        let pulled = self.work(self.try_begin(true).await.unwrap()).await;
        assert_eq!(self.test.everything().await, before, "a rehearsal changes nothing");
        pulled
    }

    /// A held run goes on.
    pub(crate) async fn go_on(&self, run: &Run) -> Pulled {
        let provision = self.pulls.provision();
        let run = provision.let_go_on(&provision.operator(), run, Worker::Here).await.unwrap();
        self.work(run).await
    }

    pub(crate) async fn cancel(&self, run: &Run) -> Run {
        let provision = self.pulls.provision();
        provision.cancel_pull(&provision.operator(), run).await.unwrap()
    }

    /// Everybody, by name: the status, the manager and the groups, and who is not the connection's.
    pub(crate) async fn accounts(&self) -> String {
        let people = self.pulls.provision().people(self.test.id, None, None, 10_000).await.unwrap();
        let of = |id| people.iter().find(|(account, _)| account.id == id);
        let mut lines: Vec<String> = Vec::new();
        for (account, groups) in &people {
            let mut line = format!("{} {}", account.user_name, super::rules::standing(account));
            let manager = account.manager.account.and_then(of);
            if let Some((manager, _)) = manager {
                write!(line, " < {}", manager.user_name).unwrap();
            }
            let mut groups = groups.clone();
            groups.sort_unstable();
            if !groups.is_empty() {
                write!(line, " in {}", groups.join(" & ")).unwrap();
            }
            match account.connection {
                None => line += " (Local)",
                Some(id) if id != self.connection.id => line += " (another's)",
                Some(_) => {}
            }
            lines.push(line);
        }
        lines.sort_unstable();
        lines.join("\n")
    }

    /// The documents of all people, by name, and the groups that are there: what two directories that
    /// were made of the same files have in common.
    pub(crate) async fn state(&self) -> String {
        let mut documents: Vec<String> = self
            .test
            .accounts()
            .await
            .iter()
            .map(|Account { user_name, document, fields, .. }| {
                format!("{user_name} {document:?} {fields:?}")
            })
            .collect();
        documents.sort_unstable();
        format!("{}\n{}", self.accounts().await, documents.join("\n"))
    }
}

impl Pulled {
    /// The state of the run, and why.
    pub(crate) fn end(&self) -> String {
        match self.pull().reason {
            Some(reason) => format!("{}: {reason}", self.run.state),
            None => self.run.state.to_string(),
        }
    }

    pub(crate) fn pull(&self) -> Pull {
        self.run.pull.clone().unwrap()
    }

    /// The report of a run that came to its end, a line for each person.
    #[track_caller]
    pub(crate) fn lines(&self) -> String {
        assert_eq!(self.run.state, RunState::Done, "{self:#?}");
        self.said()
    }

    /// The report, a line for each person: the line of the file, the outcome, the name, and the reason
    /// if there is one.
    pub(crate) fn said(&self) -> String {
        assert_eq!(self.pull().counts.items(), i64::try_from(self.items.len()).unwrap());
        let line = |item: &Item| {
            let line = item.line.map_or("-".to_owned(), |line| line.to_string());
            let reason = item.detail.as_ref().and_then(|detail| detail["reason"].as_str());
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{line} {} {}{reason}", item.outcome, item.name)
        };
        self.items.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The report without reasons.
    #[track_caller]
    pub(crate) fn short(&self) -> String {
        let said = self.lines();
        let lines = said.lines().map(|line| line.split(':').next().unwrap());
        lines.collect::<Vec<_>>().join(", ")
    }
}
