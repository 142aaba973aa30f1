//! What is on the server: the people and groups that runs have created, and how missing ones are made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::client::{Answer, Client, Pace, Request, Target};
use super::people::{Population, add_members};

/// The members that one PATCH brings while a group is filled.
const FILL_MEMBERS: u64 = 1000;

/// The people and groups that are there, and what the next ones are called.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct World {
    /// The domain of the people.
    pub(crate) prefix: String,
    /// The people, in no order.
    pub(crate) people: Vec<Known>,
    /// The groups that workloads change, by the number of their members.
    pub(crate) sized: BTreeMap<u64, Known>,
    next_person: AtomicU64,
    next_group: AtomicU64,
}

/// A person or group on the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The number that everything else follows from.
    pub(crate) number: u64,
    /// The id that the server gave.
    pub(crate) id: Box<str>,
}

impl World {
    /// An empty one. Two runs on one server need prefixes of their own.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// What an earlier run has left in a file.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let named = || format!("the state in {}", file.display());
        let text = std::fs::read(file).with_context(named)?;
        serde_json::from_slice(&text).with_context(named)
    }

    /// Leaves it to later runs.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).context("the state")?;
        std::fs::write(file, text).with_context(|| format!("the state to {}", file.display()))
    }

    /// The number of somebody who is not there yet.
    pub(crate) fn next_person(&self) -> u64 {
        self.next_person.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of a group that is not there yet.
    pub(crate) fn next_group(&self) -> u64 {
        self.next_group.fetch_add(1, Ordering::Relaxed)
    }

    /// Creates people until there are so many.
    pub(crate) async fn fill_people(
        &mut self,
        target: &Arc<Target>,
        population: &Population,
        connections: usize,
        wanted: u64,
    ) -> Result<()> {
        let missing = wanted.saturating_sub(self.people.len() as u64);
        let first = self.next_person.fetch_add(missing, Ordering::Relaxed);
        let people = population.clone();
        let answers = send_each(target, connections, missing, move |index| {
            Request::post("/Users", &people.person(first + index))
        });
        self.people.extend(known(first, answers.await?)?);
        Ok(())
    }

    /// Makes a group of so many members, if there is none.
    pub(crate) async fn fill_group(
        &mut self,
        target: &Arc<Target>,
        population: &Population,
        connections: usize,
        members: u64,
    ) -> Result<()> {
        if self.sized.contains_key(&members) {
            return Ok(());
        }
        let groups = self.create_groups(target, population, connections, 1).await?;
        let group = groups.into_iter().next().context("the group that was created")?;
        self.add_memberships(target, connections, std::slice::from_ref(&group), members).await?;
        self.sized.insert(members, group);
        Ok(())
    }

    /// Makes groups that share so many memberships evenly.
    pub(crate) async fn fill_groups(
        &mut self,
        target: &Arc<Target>,
        population: &Population,
        connections: usize,
        groups: u64,
        memberships: u64,
    ) -> Result<()> {
        let groups = self.create_groups(target, population, connections, groups).await?;
        let each = memberships.checked_div(groups.len() as u64).unwrap_or_default();
        self.add_memberships(target, connections, &groups, each).await
    }

    async fn create_groups(
        &self,
        target: &Arc<Target>,
        population: &Population,
        connections: usize,
        count: u64,
    ) -> Result<Vec<Known>> {
        let first = self.next_group.fetch_add(count, Ordering::Relaxed);
        let people = population.clone();
        let answers = send_each(target, connections, count, move |index| {
            Request::post("/Groups", &people.group(first + index))
        });
        known(first, answers.await?)
    }

    /// Gives each group so many members: neighbours in the list of people, each group another stretch.
    async fn add_memberships(
        &self,
        target: &Arc<Target>,
        connections: usize,
        groups: &[Known],
        each: u64,
    ) -> Result<()> {
        let ids: Arc<[Box<str>]> = self.people.iter().map(|person| person.id.clone()).collect();
        let groups: Arc<[Box<str>]> = groups.iter().map(|group| group.id.clone()).collect();
        let requests_each = each.div_ceil(FILL_MEMBERS);
        let requests = requests_each * groups.len() as u64;
        let make = move |index: u64| {
            let (group, part) = (index / requests_each, index % requests_each);
            let from = part * FILL_MEMBERS;
            let count = FILL_MEMBERS.min(each - from);
            let members =
                (0..count).filter_map(|member| circular(&ids, group * each + from + member));
            let id = circular(&groups, group).unwrap_or_default();
            Request::patch(format!("/Groups/{id}"), &add_members(members))
        };
        send_each(target, connections, requests, make).await.map(drop)
    }
}

/// Sends so many requests over several connections, all of which have to succeed; the answers in the
/// order of the requests.
async fn send_each(
    target: &Arc<Target>,
    connections: usize,
    count: u64,
    make: impl Fn(u64) -> Request + Send + Sync + 'static,
) -> Result<Vec<Option<Box<str>>>> {
    let (make, next, pace) = (Arc::new(make), Arc::new(AtomicU64::new(0)), Pace::endless());
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let mut client = Client::new(target, &pace)?;
        let (make, next) = (Arc::clone(&make), Arc::clone(&next));
        workers.spawn(async move {
            let mut answered = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(answered);
                }
                let answer: Answer = client.require(make(index)).await?;
                answered.push((index, answer.id()));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(answered) = workers.join_next().await {
        all.extend(answered.context("a client")??);
    }
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, id)| id).collect())
}

fn known(first: u64, ids: Vec<Option<Box<str>>>) -> Result<Vec<Known>> {
    let numbered = (first..).zip(ids);
    numbered
        .map(|(number, id)| Ok(Known { number, id: id.context("an answer without a Location")? }))
        .collect()
}

fn circular(from: &[Box<str>], index: u64) -> Option<&str> {
    let at = usize::try_from(index).ok()?.checked_rem(from.len())?;
    from.get(at).map(AsRef::as_ref)
}
