//! Testing a source: the steps of a run that change nothing, each with its time and what to do.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Pulls;
use super::columns::{Matched, Meaning};
use super::csv_source::{CsvFile, CsvSource};
use super::format::Form;
use super::remote::{self, Validators};
use super::source::{People as _, Stop};
use crate::directory::Connection;
use crate::directory::source::Place;
use crate::provision;

/// The bytes of a file that a test of its address reads.
const SAMPLE_BYTES: usize = 64 * 1024;

/// The rows that are shown of a file.
pub const SAMPLE_ROWS_MAX: usize = 5;

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Which one.
    pub name: &'static str,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Whether it went well.
    pub ok: bool,
    /// What was found, or what is wrong.
    pub says: String,
    /// What to do, if it did not go well and that is not said yet.
    pub hint: Option<&'static str>,
}

/// What a file looks like.
#[derive(Debug, Clone, Serialize)]
pub struct Look {
    /// The form in which it is read.
    pub form: Form,
    /// Its columns and what they mean.
    pub columns: Vec<Matched>,
    /// The cells of the first rows.
    pub sample: Vec<Vec<String>>,
    /// Its bytes.
    pub bytes: i64,
}

impl Pulls {
    /// Takes the steps of a run that change nothing, until one fails.
    pub async fn test(&self, connection: &Connection) -> provision::Result<Vec<Step>> {
        let source = match self.csv_source(connection).await? {
            Ok(source) => source,
            Err(stop) => return Ok(vec![failed("settings", Instant::now(), stop)]),
        };
        let mut steps = Vec::new();
        if matches!(source.settings.place, Place::Remote { .. }) {
            let begun = Instant::now();
            match source.remote() {
                Ok(Some(remote)) => {
                    let mut sample = Vec::new();
                    let stages = remote.probe(&source.network, &mut sample, SAMPLE_BYTES).await;
                    steps.extend(stages.into_iter().map(of_stage));
                }
                Ok(None) => {}
                Err(stop) => steps.push(failed("address", begun, stop)),
            }
            if steps.iter().any(|step| !step.ok) {
                return Ok(steps);
            }
        }
        let begun = Instant::now();
        let spool = match source.spool(&Validators::default()).await {
            Ok(Some(spool)) => spool,
            Ok(None) => return Ok(steps),
            Err(stop) => {
                steps.push(failed("read", begun, stop));
                return Ok(steps);
            }
        };
        steps.push(passed("read", begun, format!("{}", source.settings.place)));
        let begun = Instant::now();
        match source.open(spool).await {
            Ok(file) => steps.push(passed("columns", begun, summary(&file))),
            Err(stop) => steps.push(failed("columns", begun, stop)),
        }
        Ok(steps)
    }

    /// What the file of a source looks like: its form, its columns and its first rows.
    pub async fn look(&self, connection: &Connection) -> provision::Result<Result<Look, Stop>> {
        let source = match self.csv_source(connection).await? {
            Ok(source) => source,
            Err(stop) => return Ok(Err(stop)),
        };
        Ok(look(&source).await)
    }

    async fn csv_source(
        &self,
        connection: &Connection,
    ) -> provision::Result<Result<CsvSource, Stop>> {
        let puller = self.provision.puller_of(connection.instance, connection.id).await?;
        Ok(self.prepare(&puller).map(|(source, _)| source))
    }
}

async fn look(source: &CsvSource) -> Result<Look, Stop> {
    let spool = source.spool(&Validators::default()).await?;
    let spool = spool.ok_or_else(|| Stop::because("the server sent no file: try again"))?;
    let file = source.open(spool).await?;
    let mut sample = file.sample(SAMPLE_ROWS_MAX)?;
    for row in &mut sample {
        for (cell, column) in row.iter_mut().zip(file.columns()) {
            if column.meaning == Some(Meaning::Password) && !cell.is_empty() {
                "***".clone_into(cell);
            }
        }
    }
    Ok(Look { form: file.form(), columns: file.columns().to_vec(), sample, bytes: file.bytes() })
}

fn summary(file: &CsvFile) -> String {
    let matched = file.columns().iter().filter(|column| column.meaning.is_some()).count();
    let mut says = file.notes();
    says.push(format!("{matched} of {} columns mean something", file.columns().len()));
    says.join("; ")
}

fn of_stage(stage: remote::Stage) -> Step {
    let name = match stage.name {
        remote::StageName::Dns => "dns",
        remote::StageName::Connect => "connect",
        remote::StageName::Tls => "tls",
        remote::StageName::Answer => "answer",
        remote::StageName::Sample => "sample",
    };
    let (ok, says) = match stage.outcome {
        remote::Outcome::Ok(says) => (true, says),
        remote::Outcome::Failed(says) => (false, says),
    };
    Step { name, duration_ms: millis(stage.duration), ok, says, hint: stage.hint }
}

fn passed(name: &'static str, begun: Instant, says: String) -> Step {
    Step { name, duration_ms: millis(begun.elapsed()), ok: true, says, hint: None }
}

fn failed(name: &'static str, begun: Instant, stop: Stop) -> Step {
    Step { name, duration_ms: millis(begun.elapsed()), ok: false, says: stop.reason, hint: None }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
