//! The floor for the database: the statements of a request, prepared, by the same driver, and nothing else.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use scimd::clock::Clock;
use tokio::task::JoinSet;

use super::super::client::{Pace, Tally};
use super::super::database::{Access, Database};
use super::super::people::Population;
use super::super::report::Row;
use super::super::workloads::Plan;
use super::super::world::World;
use super::link::Link;
use super::statements::{self, Person, Statement};

/// The floor of a create: all its statements, reads too, each create in a transaction of its own.
pub(crate) const CREATE: &str = "floor-create";

/// The same without the reads: the rows that have to be durable.
pub(crate) const CREATE_WRITES: &str = "floor-create-writes";

/// SQLite only: all statements, and as many creates in one transaction as there are connections. No
/// group commit can be faster.
pub(crate) const CREATE_GROUPED: &str = "floor-create-grouped";

/// The same without the reads.
pub(crate) const WRITES_GROUPED: &str = "floor-create-writes-grouped";

/// The floor of reading a person by id.
pub(crate) const BY_ID: &str = "floor-select-id";

/// The floor of looking a person up by user name.
pub(crate) const BY_USER_NAME: &str = "floor-select-user-name";

/// Who is there before anything is measured.
pub(crate) const WARM_UP: u64 = 1000;

/// Which of the statements of a create are run, and how many creates share a transaction.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    reads: bool,
    grouped: bool,
}

/// What all connections share.
struct Bench {
    url: String,
    access: Access,
    population: Population,
    world: World,
    clock: Clock,
}

/// The floors on a database of their own.
pub(crate) struct Floors {
    database: Database,
    bench: Arc<Bench>,
    /// Whom they have created.
    people: Vec<Person>,
}

/// Measures all of them on a database of this kind: `sqlite`, or the URL of PostgreSQL.
pub(crate) async fn measure(kind: &str, plan: &Plan) -> Result<Vec<Row>> {
    let mut floors = Floors::open(kind, plan).await?;
    let rows = floors.all(plan).await;
    floors.close().await?;
    rows
}

impl Floors {
    /// Makes the database, with some people whom it knows of when it plans.
    pub(crate) async fn open(kind: &str, plan: &Plan) -> Result<Self> {
        let database = Database::create(kind).await?;
        match Self::prepare(&database, plan).await {
            Ok((bench, people)) => Ok(Self { database, bench, people }),
            Err(error) => {
                database.remove().await?;
                Err(error)
            }
        }
    }

    async fn prepare(database: &Database, plan: &Plan) -> Result<(Arc<Bench>, Vec<Person>)> {
        let mut access = database.set_up(1).await?;
        let bench = Arc::new(Bench {
            url: database.url.clone(),
            access: access.pop().context("the instance that was set up")?,
            population: Population { prefix: "floor".to_owned(), managers: false },
            world: World::new("floor"),
            clock: Clock::system(),
        });
        let some = Plan { requests_max: Some(WARM_UP), time: None, ..plan.clone() };
        let shape = Shape { name: CREATE, reads: true, grouped: false };
        let (_, people) = measure_creates(&bench, &some, shape, 1).await?;
        database.learn().await?;
        Ok((bench, people))
    }

    async fn all(&mut self, plan: &Plan) -> Result<Vec<Row>> {
        let mut rows = self.creates(plan).await?;
        rows.extend(self.finds(plan).await?);
        Ok(rows)
    }

    /// Measures creates.
    pub(crate) async fn creates(&mut self, plan: &Plan) -> Result<Vec<Row>> {
        let mut rows = vec![self.create(plan, CREATE, true, false).await?];
        rows.push(self.create(plan, CREATE_WRITES, false, false).await?);
        if !self.database.is_postgres() {
            rows.push(self.create(plan, CREATE_GROUPED, true, true).await?);
            rows.push(self.create(plan, WRITES_GROUPED, false, true).await?);
        }
        Ok(rows)
    }

    async fn create(
        &mut self,
        plan: &Plan,
        name: &'static str,
        reads: bool,
        grouped: bool,
    ) -> Result<Row> {
        // SQLite has one writer: more connections would only wait for each other.
        let writers = if self.database.is_postgres() { plan.connections } else { 1 };
        let shape = Shape { name, reads, grouped };
        let (row, made) = measure_creates(&self.bench, plan, shape, writers).await?;
        self.people.extend(made);
        Ok(row)
    }

    /// Measures how people are found who were created before.
    pub(crate) async fn finds(&mut self, plan: &Plan) -> Result<Vec<Row>> {
        self.database.learn().await?;
        let people: Arc<[Person]> = std::mem::take(&mut self.people).into();
        Ok(vec![
            measure_finds(&self.bench, plan, BY_ID, statements::by_id, &people).await?,
            measure_finds(&self.bench, plan, BY_USER_NAME, statements::by_user_name, &people)
                .await?,
        ])
    }

    /// Removes the database.
    pub(crate) async fn close(self) -> Result<()> {
        self.database.remove().await
    }
}

async fn measure_creates(
    bench: &Arc<Bench>,
    plan: &Plan,
    shape: Shape,
    writers: usize,
) -> Result<(Row, Vec<Person>)> {
    let group = if shape.grouped { plan.connections } else { 1 };
    let links = Link::open_all(&bench.url, writers).await?;
    let pace = Pace::new(plan.requests_max, plan.time);
    let start = Instant::now();
    let mut running = JoinSet::new();
    for link in links {
        let (bench, pace) = (Arc::clone(bench), Arc::clone(&pace));
        link.start(&mut running, |link| creates(bench, link, pace, shape, group));
    }
    let (mut tally, mut people) = (Tally::new()?, Vec::new());
    while let Some(done) = running.join_next().await {
        let (measured, made) = done.context("a writer")??;
        tally.add(&measured)?;
        people.extend(made);
    }
    Ok((Row::new(shape.name, writers * group, &tally, start.elapsed()), people))
}

async fn measure_finds(
    bench: &Arc<Bench>,
    plan: &Plan,
    name: &str,
    statement: Find,
    people: &Arc<[Person]>,
) -> Result<Row> {
    let links = Link::open_all(&bench.url, plan.connections).await?;
    let pace = Pace::new(plan.requests_max, plan.time);
    let start = Instant::now();
    let mut running = JoinSet::new();
    for (seed, link) in (plan.seed..).zip(links) {
        let dice = Rng::with_seed(seed);
        let (bench, people, pace) = (Arc::clone(bench), Arc::clone(people), Arc::clone(&pace));
        link.start(&mut running, |link| finds(bench, link, pace, people, dice, statement));
    }
    let mut tally = Tally::new()?;
    while let Some(measured) = running.join_next().await {
        tally.add(&measured.context("a reader")??)?;
    }
    Ok(Row::new(name, plan.connections, &tally, start.elapsed()))
}

/// The statement that reads a person.
type Find = fn(&Access, &Person) -> Statement;

/// Creates people until the time is over; what it took, and whom it created.
async fn creates(
    bench: Arc<Bench>,
    mut link: Link,
    pace: Arc<Pace>,
    shape: Shape,
    group: usize,
) -> Result<(Tally, Vec<Person>)> {
    let (mut tally, mut made) = (Tally::new()?, Vec::new());
    while pace.goes_on() {
        let start = Instant::now();
        link.begin().await?;
        for _ in 0..group {
            let number = bench.world.next_person();
            let at = bench.clock.now().0;
            let (person, statements) =
                statements::create(&bench.access, &bench.population, number, at);
            for statement in statements {
                if statement.writes || shape.reads {
                    link.run(statement).await?;
                }
            }
            made.push(person);
        }
        link.commit().await?;
        for _ in 0..group {
            pace.count();
            tally.record(start.elapsed());
        }
    }
    Ok((tally, made))
}

/// Reads people until the time is over.
async fn finds(
    bench: Arc<Bench>,
    mut link: Link,
    pace: Arc<Pace>,
    people: Arc<[Person]>,
    mut dice: Rng,
    statement: Find,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    while pace.goes_on() {
        let person = people.get(dice.usize(..people.len().max(1))).context("nobody to read")?;
        let start = Instant::now();
        pace.count();
        link.run(statement(&bench.access, person)).await?;
        tally.record(start.elapsed());
    }
    Ok(tally)
}
