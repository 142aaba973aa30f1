//! The whole run: floors and workloads on one database, one after the other, with a server of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::client::{Client, Pace, Request, Target};
use super::database::{Access, Database};
use super::floor;
use super::floor::database::{Floors, WARM_UP};
use super::people::Population;
use super::report::{self, Row, rounded};
use super::server::Server;
use super::workloads::{Plan, Workload};
use super::world::World;

/// How long a server is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct AllArguments {
    /// sqlite, or the URL of a PostgreSQL database, in which a schema is made for the run
    #[arg(long, default_value = "sqlite")]
    database: String,
    /// The server to run
    #[arg(long, default_value = "target/release/scimd")]
    scimd: PathBuf,
    /// How many connections the server has to the database [default: its own]
    #[arg(long)]
    database_connections: Option<u32>,
    /// The connections to the server, each of which sends one request at a time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// The seconds that each workload and each floor takes [default: 10; 2 with --quick]
    #[arg(long)]
    seconds: Option<u64>,
    /// The people who are there when they are read [default: 101000; 2000 with --quick]
    #[arg(long)]
    people: Option<u64>,
    /// A run of about a minute: fewer people, smaller groups, less time for each workload
    #[arg(long)]
    quick: bool,
    /// What decides who is asked for
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs everything and prints it.
pub(crate) async fn run(arguments: AllArguments) -> Result<()> {
    let plan = Plan {
        connections: arguments.connections.max(1),
        requests_max: None,
        time: Some(Duration::from_secs(arguments.seconds.unwrap_or(arguments.pick(10, 2)))),
        walk_until: None,
        seed: arguments.seed,
    };
    let mut rows = Vec::new();
    let mut floors = Floors::open(&arguments.database, &plan).await.context("the floors")?;
    let done = on_database(&arguments, &plan, &mut floors, &mut rows).await;
    floors.close().await?;
    report::table(&rows)?;
    done
}

impl AllArguments {
    fn pick<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }

    fn group_sizes(&self) -> Vec<u64> {
        self.pick(vec![10, 100, 10_000, 100_000], vec![10, 2000])
    }

    /// What is run, in this order: what needs many people comes after they are there.
    fn workloads(&self) -> Vec<Workload> {
        let sizes = self.group_sizes();
        let members = sizes.iter().map(|size| Workload::Member(*size));
        let reads = sizes.iter().map(|size| Workload::GroupGet(*size));
        let people = [
            Workload::Get,
            Workload::LookUp,
            Workload::WalkIndex,
            Workload::WalkCursor,
            Workload::Put,
            Workload::PatchActive,
            Workload::PatchEntra,
        ];
        let clients = [Workload::EntraCycle, Workload::OktaImport];
        people.into_iter().chain(members).chain(reads).chain(clients).collect()
    }
}

async fn on_database(
    arguments: &AllArguments,
    plan: &Plan,
    floors: &mut Floors,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let database = Database::create(&arguments.database).await?;
    let done = workloads(arguments, plan, &database, floors, rows).await;
    database.remove().await?;
    done
}

async fn workloads(
    arguments: &AllArguments,
    plan: &Plan,
    database: &Database,
    floors: &mut Floors,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let access = database.set_up(1).await?.pop().context("the instance that was set up")?;
    let server = Server::scimd(&arguments.scimd, database, arguments.database_connections).await?;
    let target = target(&server, &access)?;
    idle(&server, &target).await?;
    let population = Population { prefix: "all".to_owned(), managers: false };
    let mut world = World::new("all");
    let meter = Some(&server.meter);
    world.fill_people(&target, &population, plan.connections, WARM_UP).await?;
    database.learn().await?;
    // What is compared is measured next to each other: a machine is not as fast at one time as at another.
    add_all(rows, floors.creates(plan).await?)?;
    add_all(rows, floor::http::measure(plan, &[Workload::Create]).await?)?;
    let create = Workload::Create.run(&target, &mut world, &population, plan, meter).await;
    add(rows, create.context("workload create")?)?;
    let people = arguments.people.unwrap_or(arguments.pick(101_000, 2000));
    world.fill_people(&target, &population, plan.connections, people).await?;
    for size in arguments.group_sizes() {
        world.fill_people(&target, &population, plan.connections, size).await?;
        world.fill_group(&target, &population, plan.connections, size).await?;
    }
    database.learn().await?;
    add_all(rows, floors.finds(plan).await?)?;
    add_all(rows, floor::http::measure(plan, &[Workload::Get]).await?)?;
    for workload in arguments.workloads() {
        // One client walks: several would measure how pages wait for each other.
        let walks = matches!(workload, Workload::WalkIndex | Workload::WalkCursor);
        let connections = if walks { 1 } else { plan.connections };
        let plan = Plan { connections, ..plan.clone() };
        let row = workload.run(&target, &mut world, &population, &plan, meter).await;
        add(rows, row.with_context(|| format!("workload {workload}"))?)?;
    }
    server.stop().await
}

/// A key of the instance, at this server.
pub(crate) fn target(server: &Server, access: &Access) -> Result<Arc<Target>> {
    let url = format!("http://{}/scim/v2", server.listen);
    Ok(Arc::new(Target::new(&url, &access.token)?))
}

/// The memory of a server that has answered one request and has nothing to do.
async fn idle(server: &Server, target: &Arc<Target>) -> Result<()> {
    let mut client = Client::new(target, &Pace::endless())?;
    client.require(Request::get("/Users?count=1")).await?;
    tokio::time::sleep(IDLE).await;
    let rss_mib = rounded(server.meter.now()?.rss_mib);
    eprintln!("The server has {rss_mib} MiB of memory when it has nothing to do.");
    report::line(&json!({ "name": "idle", "server_rss_mib": rss_mib }))
}

fn add_all(rows: &mut Vec<Row>, more: Vec<Row>) -> Result<()> {
    more.into_iter().try_for_each(|row| add(rows, row))
}

/// Compares a row with those before it that it is measured by, and prints it.
fn add(rows: &mut Vec<Row>, mut row: Row) -> Result<()> {
    let name = row.name.clone();
    for floor in rows.iter().filter(|floor| is_floor_of(&floor.name, &name)) {
        row.compare(floor);
    }
    row.print()?;
    rows.push(row);
    Ok(())
}

/// Whether `floor` is what `row` is measured by. Groups are measured by the smallest.
fn is_floor_of(floor: &str, row: &str) -> bool {
    match row {
        "create" => [floor::database::CREATE, floor::database::CREATE_GROUPED, floor::http::POST]
            .contains(&floor),
        "get" => [floor::database::BY_ID, floor::http::GET].contains(&floor),
        "look-up" => [floor::database::BY_USER_NAME, floor::http::GET].contains(&floor),
        _ if row.starts_with("member-") => floor == "member-10",
        _ if row.starts_with("group-get-") => floor == "group-get-10",
        _ => false,
    }
}
