//! The workloads: what a client sends, and what has to be there before.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Client, Pace, Request, Tally, Target};
use super::meter::{Meter, Reading};
use super::people::{self, Population};
use super::report::{self, Row};
use super::world::{Known, World};

/// The people that are created before a workload on people, at least.
const PEOPLE_MIN: u64 = 200;

/// How many people come between two groups, in a cycle of Entra and in an import of Okta.
const PEOPLE_A_GROUP: usize = 20;

/// The pages at either end of a walk that are compared.
const WALK_ENDS: usize = 20;

/// The resources on a page of a walk, as Okta asks for them.
const PAGE: u64 = 100;

/// What is done to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    /// People are created.
    Create,
    /// People are read by their id.
    Get,
    /// People are looked up by their user name.
    LookUp,
    /// All people are read, page by page, by index.
    WalkIndex,
    /// All people are read, page by page, by cursor.
    WalkCursor,
    /// People are replaced.
    Put,
    /// People are suspended and let in again.
    PatchActive,
    /// Several attributes are changed at once, in the words of Entra.
    PatchEntra,
    /// One member is added to a group of this size, or removed from it.
    Member(u64),
    /// A group of this size is read without its members.
    GroupGet(u64),
    /// People are looked up and created, then put into groups, as Entra does at first.
    EntraCycle,
    /// People are listed, looked up, created and replaced, and groups pushed, as Okta does.
    OktaImport,
}

/// How long and how hard a workload runs.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The connections, each of which sends one request at a time.
    pub(crate) connections: usize,
    /// The requests after which it ends.
    pub(crate) requests_max: Option<u64>,
    /// The time after which it ends.
    pub(crate) time: Option<Duration>,
    /// The resources after which a walk ends.
    pub(crate) walk_until: Option<u64>,
    /// What decides who is asked for.
    pub(crate) seed: u64,
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let size = |prefix| text.strip_prefix(prefix).and_then(|size: &str| size.parse().ok());
        Ok(match text {
            "create" => Self::Create,
            "get" => Self::Get,
            "look-up" => Self::LookUp,
            "walk-index" => Self::WalkIndex,
            "walk-cursor" => Self::WalkCursor,
            "put" => Self::Put,
            "patch-active" => Self::PatchActive,
            "patch-entra" => Self::PatchEntra,
            "entra-cycle" => Self::EntraCycle,
            "okta-import" => Self::OktaImport,
            _ => match (size("member-"), size("group-get-")) {
                (Some(members), _) => Self::Member(members),
                (_, Some(members)) => Self::GroupGet(members),
                _ => bail!(
                    "no workload {text}: there are create, get, look-up, walk-index, walk-cursor, \
                     put, patch-active, patch-entra, member-N, group-get-N, entra-cycle, okta-import"
                ),
            },
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create => f.write_str("create"),
            Self::Get => f.write_str("get"),
            Self::LookUp => f.write_str("look-up"),
            Self::WalkIndex => f.write_str("walk-index"),
            Self::WalkCursor => f.write_str("walk-cursor"),
            Self::Put => f.write_str("put"),
            Self::PatchActive => f.write_str("patch-active"),
            Self::PatchEntra => f.write_str("patch-entra"),
            Self::Member(members) => write!(f, "member-{members}"),
            Self::GroupGet(members) => write!(f, "group-get-{members}"),
            Self::EntraCycle => f.write_str("entra-cycle"),
            Self::OktaImport => f.write_str("okta-import"),
        }
    }
}

impl Workload {
    fn walks(self) -> bool {
        matches!(self, Self::WalkIndex | Self::WalkCursor)
    }

    /// Makes what it needs and is not there yet. Nobody measures this.
    async fn prepare(
        self,
        target: &Arc<Target>,
        world: &mut World,
        population: &Population,
        connections: usize,
    ) -> Result<()> {
        let clients = connections as u64;
        let people = match self {
            Self::Create | Self::EntraCycle | Self::OktaImport => 0,
            // Each client adds and removes somebody who is not among those who stay.
            Self::Member(members) => members + clients,
            Self::GroupGet(members) => members,
            _ => PEOPLE_MIN.max(clients),
        };
        world.fill_people(target, population, connections, people).await?;
        if let Self::Member(members) | Self::GroupGet(members) = self {
            world.fill_group(target, population, connections, members).await?;
        }
        Ok(())
    }

    /// Runs it. What it creates is added to `world`.
    pub(crate) async fn run(
        self,
        target: &Arc<Target>,
        world: &mut World,
        population: &Population,
        plan: &Plan,
        meter: Option<&Meter>,
    ) -> Result<Row> {
        self.prepare(target, world, population, plan.connections).await?;
        let shared = Arc::new(std::mem::take(world));
        let pace = Pace::new(plan.requests_max, plan.time);
        let mut workers = Vec::new();
        for number in 0..plan.connections {
            let mut client = Client::new(target, &pace)?;
            client.connect().await?;
            workers.push(Worker::new(client, &shared, population, plan, number));
        }
        let reading = meter.map(Meter::begin).transpose()?;
        let start = Instant::now();
        let mut running = JoinSet::new();
        for worker in workers {
            running.spawn(worker.work(self));
        }
        let (mut tally, mut made, mut walk) = (Tally::new()?, Vec::new(), Walk::default());
        while let Some(worker) = running.join_next().await {
            let worker = worker.context("a client")?;
            tally.add(&worker.client.tally)?;
            made.extend(worker.made);
            walk.first.extend(worker.walk.first);
            walk.last.extend(worker.walk.last);
        }
        let time = start.elapsed();
        let usage = reading.map(Reading::end).transpose()?;
        *world = Arc::into_inner(shared).context("all clients have ended")?;
        world.people.extend(made);
        let mut row = Row::new(&self.to_string(), plan.connections, &tally, time);
        row.usage = usage;
        walk.tell(&mut row);
        Ok(row)
    }
}

/// One client at work.
pub(crate) struct Worker {
    /// Its connection, with what it has measured.
    pub(crate) client: Client,
    world: Arc<World>,
    population: Population,
    dice: Rng,
    /// Which of the clients this is, and how many there are: they share people without meeting.
    number: usize,
    workers: usize,
    turn: usize,
    made: Vec<Known>,
    walk: Walk,
    walk_until: u64,
}

/// Where a walk is, and how long its first and last pages took, in microseconds.
#[derive(Debug, Default)]
struct Walk {
    seen: u64,
    cursor: Option<String>,
    is_done: bool,
    pages: Vec<u64>,
    first: Vec<u64>,
    last: Vec<u64>,
}

/// What a walk needs to know of a page.
#[derive(Debug, Deserialize)]
struct Page {
    #[serde(rename = "totalResults")]
    total: Option<u64>,
    #[serde(rename = "itemsPerPage")]
    items: u64,
    #[serde(rename = "nextCursor")]
    next: Option<String>,
}

impl Worker {
    /// The client with this number, among those of the plan.
    pub(crate) fn new(
        client: Client,
        world: &Arc<World>,
        population: &Population,
        plan: &Plan,
        number: usize,
    ) -> Self {
        Self {
            client,
            world: Arc::clone(world),
            population: population.clone(),
            dice: Rng::with_seed(plan.seed.wrapping_add(number as u64)),
            number,
            workers: plan.connections,
            turn: 0,
            made: Vec::new(),
            walk: Walk::default(),
            walk_until: plan.walk_until.unwrap_or(u64::MAX),
        }
    }

    async fn work(mut self, workload: Workload) -> Self {
        // A walk is of use only if it comes to its end.
        while self.client.goes_on() || (workload.walks() && !self.walk.is_done) {
            self.take_turn(workload).await;
        }
        self
    }

    /// Does what is next in a workload: one request, or a few that belong together.
    pub(crate) async fn take_turn(&mut self, workload: Workload) {
        self.send_next(workload).await;
        self.turn += 1;
    }

    async fn send_next(&mut self, workload: Workload) {
        match workload {
            Workload::Create => {
                let number = self.world.next_person();
                self.create(number).await;
            }
            Workload::Get => {
                let path = format!("/Users/{}", self.anybody().id);
                self.client.send(Request::get(path)).await;
            }
            Workload::LookUp => {
                let number = self.anybody().number;
                self.look_up(number).await;
            }
            Workload::WalkIndex | Workload::WalkCursor => self.walk(workload).await,
            Workload::Put => {
                let Known { number, id } = self.mine();
                let body = self.population.changed(number, self.dice.u64(..1_000_000));
                self.client.send(Request::put(format!("/Users/{id}"), &body)).await;
            }
            Workload::PatchActive => self.switch().await,
            Workload::PatchEntra => {
                let Known { number, id } = self.mine();
                let body = self.population.entra_change(number, self.dice.u64(..1_000_000));
                self.client.send(Request::patch(format!("/Users/{id}"), &body)).await;
            }
            Workload::Member(members) => self.come_and_go(members).await,
            Workload::GroupGet(members) => {
                let Some(group) = self.world.sized.get(&members) else { return };
                let path = format!("/Groups/{}?excludedAttributes=members", group.id);
                self.client.send(Request::get(path)).await;
            }
            Workload::EntraCycle => self.entra_cycle().await,
            Workload::OktaImport => self.okta_import().await,
        }
    }

    /// Somebody, whom others may ask for as well.
    fn anybody(&mut self) -> Known {
        let people = self.world.people.len();
        let index = self.dice.usize(..people.max(1));
        self.person(index)
    }

    /// Somebody whom no other client has to do with.
    fn mine(&mut self) -> Known {
        let shares = (self.world.people.len() / self.workers).max(1);
        let share = self.dice.usize(..shares);
        self.person(share * self.workers + self.number)
    }

    fn person(&self, index: usize) -> Known {
        let at = index.checked_rem(self.world.people.len()).unwrap_or_default();
        // Without people there is nobody to ask for: the server says 404, which is counted.
        let nobody = || Known { number: 0, id: "nobody".into() };
        self.world.people.get(at).cloned().unwrap_or_else(nobody)
    }

    async fn create(&mut self, number: u64) -> Option<Known> {
        let answer = self.client.send(Request::post("/Users", &self.population.person(number)));
        let made = Known { number, id: answer.await?.id()? };
        self.made.push(made.clone());
        Some(made)
    }

    async fn look_up(&mut self, number: u64) {
        let filter = people::filter("userName", &self.population.user_name(number));
        self.client.send(Request::get(format!("/Users?filter={filter}"))).await;
    }

    /// Suspends a person, and lets the same one in again in the next turn.
    async fn switch(&mut self) {
        let shares = (self.world.people.len() / self.workers).max(1);
        let share = (self.turn / 2).checked_rem(shares).unwrap_or_default();
        let person = self.person(share * self.workers + self.number);
        let body = people::active(!self.turn.is_multiple_of(2));
        self.client.send(Request::patch(format!("/Users/{}", person.id), &body)).await;
    }

    /// Adds somebody to a group, and takes the same one out again in the next turn.
    async fn come_and_go(&mut self, members: u64) {
        let Some(group) = self.world.sized.get(&members) else { return };
        let path = format!("/Groups/{}", group.id);
        // Those who stay are the first in the list.
        let stay = usize::try_from(members).unwrap_or_default();
        let person = self.person(stay + self.number);
        let id = person.id.as_ref();
        let body = if self.turn.is_multiple_of(2) {
            people::add_members([id])
        } else {
            people::remove_members([id])
        };
        self.client.send(Request::patch(path, &body)).await;
    }

    /// One page of a walk; behind its end it begins anew.
    async fn walk(&mut self, workload: Workload) {
        let path = match (workload, &self.walk.cursor) {
            (Workload::WalkIndex, _) => {
                format!("/Users?startIndex={}&count={PAGE}", self.walk.seen + 1)
            }
            (_, cursor) => {
                let cursor = cursor.as_deref().unwrap_or_default();
                format!("/Users?count={PAGE}&cursor={cursor}")
            }
        };
        let start = Instant::now();
        let answer = self.client.send(Request::get(path)).await;
        let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let page = answer.and_then(|answer| serde_json::from_slice::<Page>(&answer.body).ok());
        let Some(page) = page else {
            // A walk that fails is counted as such, and ends.
            self.walk = Walk { is_done: true, first: vec![], last: vec![], ..Walk::default() };
            return;
        };
        self.walk.seen += page.items;
        self.walk.pages.push(took);
        let total = page.total.unwrap_or(u64::MAX).min(self.walk_until);
        let is_last = match workload {
            Workload::WalkIndex => page.items == 0 || self.walk.seen >= total,
            _ => page.next.is_none() || self.walk.seen >= self.walk_until,
        };
        self.walk.cursor = page.next;
        if is_last {
            self.walk.finish();
        }
    }

    /// Looks a person up and creates her; after some people, the group that they are in.
    async fn entra_cycle(&mut self) {
        let ahead = self.made.len();
        self.look_up_and_create().await;
        if self.made.len() > ahead && self.made.len().is_multiple_of(PEOPLE_A_GROUP) {
            let number = self.world.next_group();
            let name = people::filter("displayName", &self.population.group_name(number));
            let path = format!("/Groups?excludedAttributes=members&filter={name}");
            self.client.send(Request::get(path)).await;
            self.push_group(number).await;
        }
    }

    /// Reads on in the list of all people at times; looks a person up, creates, reads and replaces her;
    /// after some people, pushes a group.
    async fn okta_import(&mut self) {
        if self.turn.is_multiple_of(10) {
            let start = (self.turn as u64 / 10) * PAGE + 1;
            let path = format!("/Users?startIndex={start}&count={PAGE}");
            self.client.send(Request::get(path)).await;
        }
        let ahead = self.made.len();
        let Some(person) = self.look_up_and_create().await else { return };
        let path = format!("/Users/{}", person.id);
        let Some(answer) = self.client.send(Request::get(path.clone())).await else { return };
        let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return };
        people::set(&mut body, "title", format!("Title {}", self.turn));
        self.client.send(Request::put(path, &body)).await;
        if self.made.len() > ahead && self.made.len().is_multiple_of(PEOPLE_A_GROUP) {
            let number = self.world.next_group();
            let name = self.population.group_name(number);
            let filter = people::filter("displayName", &name);
            let path = format!("/Groups?filter={filter}&startIndex=1&count=100");
            self.client.send(Request::get(path)).await;
            if let Some(id) = self.push_group(number).await {
                let body = people::rename_group(&id, &name);
                self.client.send(Request::patch(format!("/Groups/{id}"), &body)).await;
            }
        }
    }

    async fn look_up_and_create(&mut self) -> Option<Known> {
        let number = self.world.next_person();
        self.look_up(number).await;
        self.create(number).await
    }

    /// Creates a group and adds the people who were created last.
    async fn push_group(&mut self, number: u64) -> Option<Box<str>> {
        let answer = self.client.send(Request::post("/Groups", &self.population.group(number)));
        let id = answer.await?.id()?;
        let last = self.made.iter().rev().take(PEOPLE_A_GROUP);
        let body = people::add_members(last.map(|person| person.id.as_ref()));
        self.client.send(Request::patch(format!("/Groups/{id}"), &body)).await;
        Some(id)
    }
}

impl Walk {
    fn finish(&mut self) {
        self.is_done = true;
        self.seen = 0;
        self.cursor = None;
        let pages = std::mem::take(&mut self.pages);
        self.first.extend(pages.iter().take(WALK_ENDS));
        self.last.extend(pages.iter().rev().take(WALK_ENDS));
    }

    fn tell(mut self, row: &mut Row) {
        if let (Some(first), Some(last)) = (median(&mut self.first), median(&mut self.last)) {
            row.extra.insert("first_pages_p50_ms".to_owned(), json!(first));
            row.extra.insert("last_pages_p50_ms".to_owned(), json!(last));
        }
    }
}

/// The median of times in microseconds, in milliseconds.
fn median(times: &mut [u64]) -> Option<f64> {
    times.sort_unstable();
    let time = times.get(times.len() / 2).copied()?;
    Some(report::rounded(Duration::from_micros(time).as_secs_f64() * 1000.0))
}
