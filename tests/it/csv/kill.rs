//! Runs by the real program, killed and gone on with.

use std::process::Stdio;

use super::*;
use scimd::store::runs::{Run, RunState};
use tokio::process::{Child, Command};

/// The rows of a file.
const ROWS: usize = 3_000;

/// How often a run is killed.
const KILLS: usize = 20;

/// Where the numbers begin that say when.
const SEED: u64 = 4_711;

fn rows(which: usize) -> String {
    let rows: Vec<String> = (0..ROWS)
        .filter(|n| n % 10 != which)
        .map(|n| {
            let title = if n % 3 == which { "Chef" } else { "Cook" };
            let groups = if (n + which).is_multiple_of(4) { "A;B" } else { "C" };
            format!("u{n:04},{title},u{:04},{groups}", n / 5)
        })
        .collect();
    file("job title,manager,groups", &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

fn program(database: &Database, command: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_scimd"))
        .args(["csv"])
        .args(command)
        .args(["--database-url", &database.url, "--json"])
        .current_dir(database.folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

impl Csv {
    async fn latest(&self) -> Option<Run> {
        let provision = self.pulls.provision();
        let runs = provision.pulls(self.test.id, self.connection.id, 2).await.unwrap();
        // The first run has made the directory.
        (runs.len() == 2).then(|| runs[0].clone())
    }

    /// Waits until a process has brought the run so far, and kills it; whether it was not at its end.
    async fn kill_at(&self, mut process: Child, seen: i64) -> bool {
        loop {
            if self.latest().await.is_some_and(|run| run.seen >= seen || run.ended_at.is_some()) {
                process.kill().await.unwrap();
                return self.latest().await.is_some_and(|run| run.ended_at.is_none());
            }
            if let Some(status) = process.try_wait().unwrap() {
                panic!("it ended by itself: {status}, {:?}", self.latest().await);
            }
            tokio::task::yield_now().await;
        }
    }
}

both! {
    async fn a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(database) {
        let other = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
        let calm = Csv::on(&other).await;
        calm.pull(rows(1)).await;
        let expected = calm.pull(rows(2)).await;
        assert_eq!(expected.end(), "done");
        let csv = Csv::on(&database).await;
        csv.pull(rows(1)).await;
        csv.upload(rows(2)).await;
        let mut number = SEED;
        let mut points: Vec<i64> = (0..KILLS).map(|_| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((number >> 33) % 5_500).unwrap()
        }).collect();
        points.sort_unstable();
        let mut process = program(&database, &["run", "HR"]);
        let mut kills = 0;
        for seen in points {
            if !csv.kill_at(process, seen).await {
                process = program(&database, &["runs", "HR"]);
                break;
            }
            kills += 1;
            let id = csv.latest().await.unwrap().id.to_string();
            // Half a minute later.
            crate::support::rules::execute(&database, "UPDATE runs SET leased_until = 0".to_owned()).await;
            process = program(&database, &["resume", &id]);
        }
        assert!(process.wait().await.unwrap().success());
        let run = csv.latest().await.unwrap();
        assert_eq!(run.state, RunState::Done, "seed {SEED}, {kills} kills: {run:?}");
        assert!(kills >= KILLS / 2, "seed {SEED}: {kills}");
        let sorted = |items: Vec<scimd::store::run_items::Item>| {
            let mut lines: Vec<String> = items.iter().map(|item| {
                format!("{:?} {} {}", item.line, item.outcome, item.name)
            }).collect();
            lines.sort_unstable();
            lines
        };
        assert!(sorted(csv.report(&run).await) == sorted(expected.items), "seed {SEED}");
        assert!(csv.state().await == calm.state().await, "seed {SEED}");
        let (counts, due) = (run.pull.unwrap().counts, expected.run.pull.unwrap().counts);
        assert_eq!(counts, due, "seed {SEED}");
    }
}
