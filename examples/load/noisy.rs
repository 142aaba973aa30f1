//! Many instances that ask for little, on a schedule, and one that asks without end.
//!
//! The quiet ones do not wait for answers before they go by their schedule: what a request waits for
//! its turn is part of its time, as it is for whoever sent it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use super::all;
use super::client::{Client, Pace, Tally, Target};
use super::database::{Access, Database};
use super::people::Population;
use super::report::{self, Row};
use super::server::Server;
use super::workloads::{Plan, Worker, Workload};
use super::world::World;

/// The people of a quiet instance.
const PEOPLE: u64 = 20;

/// What a quiet instance does, one after the other.
const HABIT: [Workload; 5] =
    [Workload::LookUp, Workload::Get, Workload::Get, Workload::PatchEntra, Workload::Get];

#[derive(Debug, Args)]
pub(crate) struct NoisyArguments {
    /// sqlite, or the URL of a PostgreSQL database, in which a schema is made for the run
    #[arg(long, default_value = "sqlite")]
    database: String,
    /// The server to run
    #[arg(long, default_value = "target/release/scimd")]
    scimd: PathBuf,
    /// How many connections the server has to the database [default: its own]
    #[arg(long)]
    database_connections: Option<u32>,
    /// The quiet instances
    #[arg(long, default_value_t = 200)]
    quiet: usize,
    /// The requests that each of them sends in a second
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// The connections of the noisy instance
    #[arg(long, default_value_t = 64)]
    noisy_connections: usize,
    /// What the noisy instance does
    #[arg(long, default_value = "create")]
    noisy_workload: Workload,
    /// The seconds without the noisy instance, and those with it
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// One instance as a client sees it.
#[derive(Clone)]
struct Tenant {
    target: Arc<Target>,
    world: Arc<World>,
    population: Population,
}

/// Runs the quiet ones alone, then beside the noisy one, and prints how they fared.
pub(crate) async fn run(arguments: NoisyArguments) -> Result<()> {
    if arguments.quiet == 0 || arguments.rate == 0 || arguments.noisy_connections == 0 {
        bail!("--quiet, --rate and --noisy-connections: at least one of each is needed");
    }
    let database = Database::create(&arguments.database).await?;
    let done = compare(&arguments, &database).await;
    database.remove().await?;
    report::table(&done?)
}

async fn compare(arguments: &NoisyArguments, database: &Database) -> Result<Vec<Row>> {
    let mut access = database.set_up(arguments.quiet + 1).await?;
    let noisy = access.pop().context("the noisy instance")?;
    let server = Server::scimd(&arguments.scimd, database, arguments.database_connections).await?;
    let mut quiet = Vec::new();
    for (number, access) in access.iter().enumerate() {
        quiet.push(Tenant::fill(&server, access, number).await?);
    }
    let mut rows = vec![beside("quiet-alone", &quiet, &server, arguments).await?];

    let (target, population) = (all::target(&server, &noisy)?, population("noisy"));
    let plan = plan(arguments.noisy_connections, Duration::from_secs(arguments.seconds));
    let workload = arguments.noisy_workload;
    let mut world = World::new("noisy");
    let (row, disturbed) = tokio::join!(
        workload.run(&target, &mut world, &population, &plan, None),
        beside("quiet-beside-noisy", &quiet, &server, arguments),
    );
    rows.push(disturbed?);
    let mut row = row.context("the noisy instance")?;
    "noisy".clone_into(&mut row.name);
    rows.push(row);
    for row in &rows {
        row.print()?;
    }
    server.stop().await?;
    Ok(rows)
}

/// All quiet instances at once, each by its schedule.
async fn beside(
    name: &str,
    quiet: &[Tenant],
    server: &Server,
    arguments: &NoisyArguments,
) -> Result<Row> {
    let reading = server.meter.begin()?;
    let (start, time) = (Instant::now(), Duration::from_secs(arguments.seconds));
    let period = Duration::from_secs(1) / arguments.rate;
    let mut running = JoinSet::new();
    for (number, tenant) in quiet.iter().enumerate() {
        // They do not all ask in the same moment.
        let share = f64::from(u32::try_from(number)?) / f64::from(u32::try_from(quiet.len())?);
        let first = start + period.mul_f64(share);
        let (pace, plan) = (Pace::endless(), plan(1, time));
        let client = Client::new(&tenant.target, &pace)?;
        let worker = Worker::new(client, &tenant.world, &tenant.population, &plan, 0);
        running.spawn(keep_schedule(worker, first, period, start + time));
    }
    let (mut tally, mut left) = (Tally::new()?, 0);
    while let Some(done) = running.join_next().await {
        let (worker, unsent) = done.context("a quiet instance")?;
        tally.add(&worker.client.tally)?;
        left += unsent;
    }
    let mut row = Row::new(name, quiet.len(), &tally, start.elapsed());
    row.usage = Some(reading.end()?);
    row.extra.insert("requests_not_sent_in_time".to_owned(), json!(left));
    Ok(row)
}

/// Sends what is due, until the time is over; how much was due by then and not sent.
async fn keep_schedule(
    mut worker: Worker,
    first: Instant,
    period: Duration,
    end: Instant,
) -> (Worker, u64) {
    let (mut due, mut left) = (first, 0);
    for workload in HABIT.into_iter().cycle() {
        if due >= end {
            break;
        }
        if Instant::now() >= end {
            left += 1;
        } else {
            tokio::time::sleep_until(due.into()).await;
            worker.client.was_due(due);
            worker.take_turn(workload).await;
        }
        due += period;
    }
    (worker, left)
}

impl Tenant {
    async fn fill(server: &Server, access: &Access, number: usize) -> Result<Self> {
        let target = all::target(server, access)?;
        let population = population(&format!("quiet{number}"));
        let mut world = World::new(&population.prefix);
        world.fill_people(&target, &population, 4, PEOPLE).await?;
        Ok(Self { target, world: Arc::new(world), population })
    }
}

fn population(prefix: &str) -> Population {
    Population { prefix: prefix.to_owned(), managers: false }
}

fn plan(connections: usize, time: Duration) -> Plan {
    Plan { connections, requests_max: None, time: Some(time), walk_until: None, seed: 1 }
}
