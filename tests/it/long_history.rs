//! A long life of a directory: pushes, pulls, held changes, administrators' acts, migrations and undos, as
//! they come. Whatever happened, the trail holds, every status follows from the facts, and who reads the feed
//! of changes has the directory as it is.

use std::fmt::Write as _;
use std::io::Cursor;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::push_guard::PushGuard;
use scimd::directory::undo::Undo;
use scimd::directory::{Account, Connection, Timestamp};
use scimd::provision::Error;
use scimd::provision::guard::HeldDecision;
use scimd::provision::migration::{MIGRATION_LINES_MAX, Migration};
use scimd::provision::settings::SettingsChange;
use scimd::pull::migration::read;
use scimd::pull::remote::Network;
use scimd::store::runs::{Run, RunKind};

use super::support::csv::{Csv, file};
use super::support::database::environment;
use super::support::dice::Dice;
use super::support::history::History;
use super::support::mirror::{Mirror, Reader};
use super::support::rules::active;
use super::support::{Client, TestInstance, both};

/// The steps of a life.
const STEPS: usize = 120;

/// The names that administrators act on, and that are handed on; some of them are pushed.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "p", "q", "local 1", "local 2"];

/// The names that are pulled; one of them was there before.
const PULLED: [&str; 5] = ["p", "q", "r", "s", "local 2"];

both! {
    /// Two lives of a directory on each database; `TEST_HISTORY_SCALE` multiplies them.
    async fn whatever_happens_the_trail_holds_and_the_feed_tells_all(database) {
        let root = TestInstance::on(&database).await;
        let scale = environment("TEST_HISTORY_SCALE").map_or(1, |scale| scale.parse().unwrap());
        for seed in 0..2 * scale {
            let mut life = Life::new(&root, seed).await;
            for _ in 0..STEPS {
                life.step().await;
            }
            life.end().await;
        }
    }
}

/// A directory, those who write into it, and those who read it.
struct Life {
    dice: Dice,
    csv: Csv,
    okta: Connection,
    client: Client,
    pushes: History,
    reader: Reader,
    /// One that reads from the beginning, and one that began from lists.
    mirrors: [Mirror; 2],
    /// The times at which steps began.
    times: Vec<Timestamp>,
    /// What was done, and how often; so that a life in which little happens is noticed.
    done: [usize; 7],
    said: String,
}

impl Life {
    async fn new(root: &TestInstance, seed: u64) -> Self {
        let csv =
            Csv::of(root.named(&format!("Life {seed}")).await, Network::default(), |_| ()).await;
        let test = &csv.test;
        let (okta, client) = test.connected(scimd::directory::ConnectionKind::Okta, "Okta").await;
        let limits = PushGuard {
            suspensions_max: 0,
            deletions_max: 0,
            removals_max: 1,
            percent_max: 100,
            window_minutes: 30,
            ..PushGuard::default()
        };
        let change = SettingsChange { guard: Some(limits), ..SettingsChange::default() };
        let provision = &test.app.provision;
        provision.set_connection_settings(&provision.operator(), &okta, change).await.unwrap();
        for name in ["local 1", "local 2"] {
            test.local_person(name, serde_json::json!({})).await;
        }
        let reader = test.reader().await;
        let mirrors = [Mirror::default(), Mirror::listed(&reader, 3).await];
        let (dice, pushes) = (Dice(seed), History::of(seed + 77));
        let (times, done, said) = (Vec::new(), [0; 7], String::new());
        Self { dice, csv, okta, client, pushes, reader, mirrors, times, done, said }
    }

    fn test(&self) -> &TestInstance {
        &self.csv.test
    }

    async fn step(&mut self) {
        self.test().advance(Duration::from_mins(5));
        self.times.push(self.test().app.provision.clock.now());
        let kind = self.dice.below(16);
        let did = match kind {
            0..=5 => {
                self.pushes.step(&self.client).await;
                Some(0)
            }
            6 => self.pull().await.then_some(1),
            7 | 8 => self.act().await.then_some(2),
            9..=11 => self.decide().await.then_some(3),
            12 => self.migrate().await.then_some(4),
            13 | 14 => self.undo().await.then_some(5),
            _ => {
                self.purge().await;
                Some(6)
            }
        };
        writeln!(self.said, "{kind} {did:?}").unwrap();
        if let Some(did) = did {
            self.done[did] += 1;
        }
        if self.dice.once_in(3) {
            self.look().await;
        }
    }

    /// The laws hold, and a reader reads on for a bit.
    async fn look(&mut self) {
        self.test().assert_lawful().await;
        let place = self.dice.below(2);
        self.mirrors[place].poll(&self.reader, 5).await;
    }

    async fn end(mut self) {
        assert!(self.done.iter().all(|count| *count > 0), "{:?}\n{}", self.done, self.said);
        self.test().assert_lawful().await;
        let late = Mirror::listed(&self.reader, 4).await;
        for mut mirror in std::mem::take(&mut self.mirrors).into_iter().chain([late]) {
            mirror.catch_up(&self.reader, 7).await;
            mirror.assert_equals_directory(&self.reader).await;
        }
    }

    /// A file of some people.
    async fn pull(&mut self) -> bool {
        let some = self.dice.some(&PULLED);
        let rows: Vec<String> =
            some.iter().map(|name| format!("{name},title {}", self.dice.below(3))).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        if rows.is_empty() {
            return false;
        }
        self.csv.pull(file("title", &rows)).await;
        true
    }

    /// Any account of a name, a deleted one too.
    async fn somebody(&mut self) -> Option<Account> {
        let name = NAMES[self.dice.below(NAMES.len())];
        self.test().app.provision.account_for(self.test().id, name, None).await.unwrap()
    }

    async fn act(&mut self) -> bool {
        let Some(account) = self.somebody().await else { return false };
        let what = Act::ALL[self.dice.below(Act::ALL.len())];
        let provision = &self.test().app.provision;
        let done = provision.act(&provision.operator(), self.test().id, account.id, what).await;
        match done {
            Ok(done) => done.changed,
            Err(Error::Refused(_)) => false,
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// The client loses somebody, which the guard holds.
    async fn lose(&mut self) {
        let mut own = self.test().accounts().await;
        own.retain(|account| account.connection == Some(self.okta.id));
        let Some(account) = own.get(self.dice.below(own.len().max(1))) else { return };
        let path = format!("/Users/{}", account.id);
        if self.dice.once_in(2) {
            self.client.delete(&path).await;
        } else {
            self.client.patch(&path, active(false)).await;
        }
    }

    /// An administrator decides about what the guard holds.
    async fn decide(&mut self) -> bool {
        self.lose().await;
        if self.dice.once_in(3) {
            return false;
        }
        let decision =
            if self.dice.once_in(2) { HeldDecision::Apply } else { HeldDecision::Discard };
        let provision = &self.test().app.provision;
        let held = provision.guard_state(&self.okta).await.unwrap().holding;
        provision.decide_held(&provision.operator(), &self.okta, decision, None).await.unwrap();
        let left = provision.guard_state(&self.okta).await.unwrap().holding;
        held != left
    }

    async fn migrate(&mut self) -> bool {
        let mut new: Vec<&str> = NAMES.to_vec();
        self.dice.shuffle(&mut new);
        let targets = ["", "Local", "Okta", "HR"];
        let mut text = "existing_username,new_username,target_directory\n".to_owned();
        for (name, new) in NAMES.iter().zip(new) {
            let target = targets[self.dice.below(targets.len())];
            writeln!(text, "{name},{new},{target}").unwrap();
        }
        let lines = read(Cursor::new(text.into_bytes()), MIGRATION_LINES_MAX).unwrap();
        let provision = &self.test().app.provision;
        let wanted = Migration { lines, ..Migration::default() };
        let plan = provision.plan_migration(self.test().id, wanted).await.unwrap();
        let begun = provision.begin_migration(&provision.operator(), self.test().id, &plan).await;
        let Ok(run) = begun else { return false };
        provision.work_off(run, |_| ()).await.unwrap().changed > 0
    }

    /// Takes something back: of a person, a run or the connection.
    async fn undo(&mut self) -> bool {
        let since = self.times[self.dice.below(self.times.len())];
        let undo = match self.dice.below(3) {
            0 => self.somebody().await.map(|account| Undo::Account { account: account.id, since }),
            1 => self.some_run().await.map(|run| Undo::Run { run: run.id }),
            _ => Some(Undo::Connection { connection: self.okta.id, since }),
        };
        let Some(undo) = undo else { return false };
        let provision = &self.test().app.provision;
        let run = provision.begin_undo(&provision.operator(), self.test().id, &undo).await.unwrap();
        provision.work_off(run, |_| ()).await.unwrap().changed > 0
    }

    async fn some_run(&mut self) -> Option<Run> {
        let runs = self.test().app.provision.runs(self.test().id, 20).await.unwrap();
        let mut ended: Vec<Run> = runs.into_iter().filter(|run| run.ended_at.is_some()).collect();
        ended.retain(|run| run.kind != RunKind::Rehearsal);
        let place = self.dice.below(ended.len().max(1));
        ended.into_iter().nth(place)
    }

    /// Time goes by, and what was deleted long ago is removed.
    async fn purge(&mut self) {
        self.test().advance(Duration::from_hours(24) * 11);
        self.test().app.provision.purge_overdue().await.unwrap();
    }
}
