//! Load on a SCIM server, and floors to compare it with: `cargo run --release --example load -- --help`.
//!
//! `docs/performance.md` says what is measured and how. Whoever sends a request sends the next one when
//! the answer is in, so the figures say what the server can do, not how long a queue can get.

mod all;
mod client;
mod database;
mod floor;
mod meter;
mod noisy;
mod people;
mod report;
mod server;
mod workloads;
mod world;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use scimd::clock::Clock;
use tokio::runtime::Builder;

use client::Target;
use meter::Meter;
use people::Population;
use workloads::{Plan, Workload};
use world::World;

/// Puts load on a SCIM server and measures it.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run workloads against a server.
    Run(RunArguments),
    /// Create people, groups and memberships for later runs.
    Fill(FillArguments),
    /// Measure what the machine does without scimd
    #[command(subcommand)]
    Floor(FloorCommand),
    /// Run the floors and all workloads on a database and a server of their own
    All(all::AllArguments),
    /// Measure how many quiet instances fare beside one that asks without end
    Noisy(noisy::NoisyArguments),
}

#[derive(Debug, Subcommand)]
enum FloorCommand {
    /// A bare handler, loaded by the same client
    Http(FloorArguments),
    /// The statements of a create and of look-ups, without anything else
    Database {
        /// sqlite, or the URL of a PostgreSQL database, in which a schema is made for the run
        #[arg(long, default_value = "sqlite")]
        url: String,
        #[command(flatten)]
        arguments: FloorArguments,
    },
    /// Be that handler
    ServeHttp {
        /// The port of 127.0.0.1
        #[arg(long)]
        port: u16,
    },
}

#[derive(Debug, Args)]
struct FloorArguments {
    /// The connections, each of which does one thing at a time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// The seconds that each floor takes
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// The server, and what is there already.
#[derive(Debug, Args)]
struct ServerArguments {
    /// The base URL, such as <http://127.0.0.1:8080/scim/v2>
    #[arg(long)]
    url: String,
    /// The file with the API key of a connection whose guard is off
    #[arg(long)]
    key_file: PathBuf,
    /// Where to remember what was created, so that later runs find it
    #[arg(long)]
    state: Option<PathBuf>,
    /// What tells the people of this run from those of others [default: the time]
    #[arg(long)]
    prefix: Option<String>,
    /// Have nine of ten people name a manager
    #[arg(long)]
    managers: bool,
    /// The connections, each of which sends one request at a time
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// What to run: create, get, look-up, walk-index, walk-cursor, put, patch-active, patch-entra,
    /// member-N, group-get-N, entra-cycle, okta-import
    #[arg(long, required = true, num_args = 1..)]
    workload: Vec<Workload>,
    /// The requests after which each workload ends
    #[arg(long)]
    requests: Option<u64>,
    /// The seconds after which each workload ends [default: 10, without --requests]
    #[arg(long)]
    seconds: Option<u64>,
    /// The resources after which a walk ends [default: all]
    #[arg(long)]
    until: Option<u64>,
    /// What decides who is asked for
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The process whose CPU time and memory are read
    #[arg(long)]
    server_pid: Option<u32>,
}

#[derive(Debug, Args)]
struct FillArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// How many people there shall be
    #[arg(long, default_value_t = 1000)]
    users: u64,
    /// How many groups to add
    #[arg(long, default_value_t = 0)]
    groups: u64,
    /// How many memberships to add, spread evenly over those groups
    #[arg(long, default_value_t = 0)]
    memberships: u64,
}

fn main() -> Result<()> {
    let command = Arguments::parse().command;
    let runtime = if matches!(command, Command::Floor(FloorCommand::ServeHttp { .. })) {
        Builder::new_multi_thread().enable_all().build()
    } else {
        // One thread: the client leaves the rest to the server and the database.
        Builder::new_current_thread().enable_all().build()
    };
    runtime.context("the runtime")?.block_on(async {
        match command {
            Command::Run(arguments) => run(arguments).await,
            Command::Fill(arguments) => fill(arguments).await,
            Command::Floor(floor) => measure(floor).await,
            Command::All(arguments) => all::run(arguments).await,
            Command::Noisy(arguments) => noisy::run(arguments).await,
        }
    })
}

async fn measure(floor: FloorCommand) -> Result<()> {
    let rows = match floor {
        FloorCommand::Http(arguments) => {
            floor::http::measure(&arguments.plan(), &[Workload::Get, Workload::Create]).await?
        }
        FloorCommand::Database { url, arguments } => {
            floor::database::measure(&url, &arguments.plan()).await?
        }
        FloorCommand::ServeHttp { port } => return floor::http::serve(port).await,
    };
    for row in &rows {
        row.print()?;
    }
    report::table(&rows)
}

impl FloorArguments {
    fn plan(&self) -> Plan {
        Plan {
            connections: self.connections.max(1),
            requests_max: None,
            time: Some(Duration::from_secs(self.seconds)),
            walk_until: None,
            seed: 1,
        }
    }
}

async fn run(arguments: RunArguments) -> Result<()> {
    let (target, mut world, population) = arguments.server.open()?;
    let seconds = match (arguments.requests, arguments.seconds) {
        (None, None) => Some(10),
        (_, seconds) => seconds,
    };
    let plan = Plan {
        connections: arguments.server.connections,
        requests_max: arguments.requests,
        time: seconds.map(Duration::from_secs),
        walk_until: arguments.until,
        seed: arguments.seed,
    };
    let meter = arguments.server_pid.map(Meter::new);
    let mut rows = Vec::new();
    for workload in arguments.workload {
        let row = workload.run(&target, &mut world, &population, &plan, meter.as_ref()).await;
        let row = row.with_context(|| format!("workload {workload}"))?;
        row.print()?;
        rows.push(row);
    }
    report::table(&rows)?;
    arguments.server.keep(&world)
}

async fn fill(arguments: FillArguments) -> Result<()> {
    let (target, mut world, population) = arguments.server.open()?;
    let connections = arguments.server.connections;
    world.fill_people(&target, &population, connections, arguments.users).await?;
    let FillArguments { groups, memberships, .. } = arguments;
    world.fill_groups(&target, &population, connections, groups, memberships).await?;
    arguments.server.keep(&world)
}

impl ServerArguments {
    fn open(&self) -> Result<(Arc<Target>, World, Population)> {
        let named = || format!("the key in {}", self.key_file.display());
        let token = fs::read_to_string(&self.key_file).with_context(named)?;
        let target = Arc::new(Target::new(&self.url, &token)?);
        if self.connections == 0 {
            bail!("--connections: at least one is needed");
        }
        let world = match (&self.state, &self.prefix) {
            (Some(state), prefix) if state.exists() => {
                let world = World::read(state)?;
                if prefix.as_ref().is_some_and(|prefix| *prefix != world.prefix) {
                    bail!("--prefix: the people in {} are of {}", state.display(), world.prefix);
                }
                world
            }
            (_, Some(prefix)) => World::new(prefix),
            (_, None) => World::new(&format!("run{}", Clock::system().now().0)),
        };
        let population = Population { prefix: world.prefix.clone(), managers: self.managers };
        Ok((target, world, population))
    }

    fn keep(&self, world: &World) -> Result<()> {
        self.state.as_ref().map_or(Ok(()), |state| world.write(state))
    }
}
