//! Moving people from one directory to another by a file: what it would come to, and the run that does it.
//!
//! The ids of accounts stay, so what is linked to them stays linked. Everything is one run: its audit rows
//! carry its id, and what it has still to do is kept in the database, so that whoever finds it unfinished
//! goes on with it.

mod work;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pull::report::skipped;
use super::runs::fresh;
use super::{Provision, Result, transact};
use crate::directory::migration::{
    Directories, Facts, LOCAL, Line, Meaning, Move, Person, Plan, Proposal, Target, Wish, plan,
};
use crate::directory::source::{Counts, Outcome};
use crate::directory::{AccountId, InstanceId};
use crate::scim::fold::fold;
use crate::scim::resource::{require_indexable, require_storable};
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::runs::{self, Run, RunKind};
use crate::store::{StoreError, Tx, aliases, connections, migration_lines, run_items, tombstones};

pub(super) use work::page;

/// The lines of a file by which accounts are migrated.
pub const MIGRATION_LINES_MAX: usize = 1_000_000;

/// What an administrator wants.
#[derive(Debug, Clone, Default)]
pub struct Migration {
    /// The lines of the file.
    pub lines: Vec<Line>,
    /// The directory of the lines that name none; without it, they stay where they are.
    pub target: Option<String>,
    /// What the names of directories mean that are only close to one that there is.
    pub confirmed: Vec<(String, String)>,
}

/// What a migration was told, and what it has come to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// The accounts that are to change.
    pub accounts: i64,
    /// What came of them so far, and the lines that were left out.
    pub counts: Counts,
}

impl Provision {
    /// Says what a file would come to, line by line, and changes nothing.
    ///
    /// Refused if a directory is confirmed that is not there, or if the file has too many lines.
    pub async fn plan_migration(&self, instance: InstanceId, wanted: Migration) -> Result<Plan> {
        if wanted.lines.len() > MIGRATION_LINES_MAX {
            let reason = format!(
                "has {} lines; at most {MIGRATION_LINES_MAX} can be migrated at once: take it apart",
                wanted.lines.len()
            );
            return Err(ScimError::invalid_value("the file", &reason).into());
        }
        let mut tx = self.store.snapshot().await?;
        let connections = connections::list(&mut tx, instance).await?;
        let mut directories = Directories::of(&connections);
        for (written, meant) in &wanted.confirmed {
            if !directories.confirm(written, meant) {
                return Err(unknown_directory(meant).into());
            }
        }
        let (wishes, proposals) = wishes(wanted, &directories);
        let facts = facts(&mut tx, instance, &wishes).await?;
        let plan = plan(wishes, &facts, |owner| directories.named(owner));
        Ok(Plan { proposals, ..plan })
    }

    /// Begins to do what was planned; whoever began it works it off. Lines with errors are left out, and
    /// reported.
    ///
    /// Refused while directories wait to be confirmed, and while another migration of the instance is under
    /// way.
    pub async fn begin_migration(
        &self,
        author: &Author,
        instance: InstanceId,
        plan: &Plan,
    ) -> Result<Run> {
        if let Some(proposal) = plan.proposals.first() {
            let reason = format!(
                "\"{}\" is none; confirm that \"{}\" is meant, or correct the file",
                proposal.written, proposal.name
            );
            return Err(ScimError::invalid_value("target_directory", &reason).into());
        }
        transact!(self.store, |tx| begin(&mut tx, author, instance, plan).await)
    }
}

fn unknown_directory(written: &str) -> ScimError {
    let reason = format!(
        "is \"{written}\", and no connection has this name or directory key; {LOCAL} is the word for none"
    );
    ScimError::invalid_value("the confirmed directory", &reason)
}

/// The lines with their names folded and their directories found, and those that have to be confirmed.
fn wishes(wanted: Migration, directories: &Directories<'_>) -> (Vec<Wish>, Vec<Proposal>) {
    let mut known: HashMap<String, Meaning> = HashMap::new();
    let mut proposals: BTreeMap<String, Proposal> = BTreeMap::new();
    let mut wishes = Vec::with_capacity(wanted.lines.len());
    for mut line in wanted.lines {
        line.target = line.target.or_else(|| wanted.target.clone());
        let target = match &line.target {
            None => Some(Target::Stays),
            Some(written) => {
                let meaning =
                    known.entry(written.clone()).or_insert_with(|| directories.meaning(written));
                match meaning {
                    Meaning::Exactly(target) => Some(*target),
                    Meaning::Nothing => None,
                    Meaning::Probably { target, meant, name } => {
                        let proposal = proposals.entry(written.clone()).or_insert(Proposal {
                            written: written.clone(),
                            meant: meant.clone(),
                            name: name.clone(),
                            lines: 0,
                        });
                        proposal.lines += 1;
                        Some(*target)
                    }
                }
            }
        };
        if line.bad.is_none() {
            line.bad = bad(&line);
        }
        wishes.push(Wish {
            key: fold(&line.existing).into_owned(),
            new_key: line.new.as_deref().map(|new| fold(new).into_owned()),
            line,
            target,
        });
    }
    (wishes, proposals.into_values().collect())
}

/// What is wrong with the names of a line by themselves.
fn bad(line: &Line) -> Option<String> {
    if line.existing.trim().is_empty() {
        return Some("existing_username is empty: it says whose line it is".to_owned());
    }
    let name = line.new.as_deref()?;
    let checked = require_indexable("new_username", name)
        .and_then(|()| require_storable("new_username", name));
    if let Err(error) = checked {
        return Some(error.detail);
    }
    name.chars()
        .any(char::is_control)
        .then(|| "new_username must not have control characters".to_owned())
}

/// What is known of the names in some lines.
async fn facts(tx: &mut Tx, instance: InstanceId, wishes: &[Wish]) -> Result<Facts> {
    let mut keys: Vec<&str> = wishes
        .iter()
        .flat_map(|wish| [Some(wish.key.as_str()), wish.new_key.as_deref()])
        .flatten()
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let found = migration_lines::people(tx, instance, &keys).await?;
    let holders: HashMap<String, Person> =
        found.into_iter().map(|one| (one.key, one.person)).collect();
    let mut unknown: Vec<&str> = wishes.iter().map(|wish| wish.key.as_str()).collect();
    unknown.retain(|key| !holders.contains_key(*key));
    unknown.sort_unstable();
    unknown.dedup();
    let former = former(tx, instance, &unknown).await?;
    let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
    let deleted = tombstones::names(tx, instance, &unknown).await?.into_iter().collect();
    Ok(Facts { holders, former, deleted })
}

/// The live accounts that had some names before, with the folded names that they have now.
async fn former(
    tx: &mut Tx,
    instance: InstanceId,
    keys: &[&str],
) -> Result<HashMap<String, (String, Person)>> {
    let found = aliases::holders(tx, instance, keys).await?;
    let mut ids: Vec<AccountId> = found.iter().map(|one| one.account).collect();
    ids.sort_unstable();
    ids.dedup();
    let people = migration_lines::people_of(tx, instance, &ids).await?;
    let people: HashMap<AccountId, (String, Person)> =
        people.into_iter().map(|one| (one.person.id, (one.key, one.person))).collect();
    let mut former = HashMap::new();
    for one in found {
        if let Some(person) = people.get(&one.account) {
            // The last who had the name comes first.
            former.entry(one.key).or_insert_with(|| person.clone());
        }
    }
    Ok(former)
}

async fn begin(tx: &mut Tx, author: &Author, instance: InstanceId, plan: &Plan) -> Result<Run> {
    let mut counts = Counts::default();
    let errors = plan.lines.iter().filter(|line| line.outcome == Move::Error);
    let items: Vec<_> = errors
        .map(|line| {
            counts.add(Outcome::Skipped);
            let why = line.reason.as_deref().unwrap_or_default();
            skipped(line.line, &line.existing_username, why)
        })
        .collect();
    let unchanged = plan.count(Move::Unchanged);
    counts.unchanged = i64::try_from(unchanged).unwrap_or(i64::MAX);
    let accounts = i64::try_from(plan.steps.len()).unwrap_or(i64::MAX);
    let task = serde_json::to_value(Task { accounts, counts }).unwrap_or(Value::Null);
    let run = Run { task: Some(task), ..fresh(author, instance, RunKind::Migration, None) };
    match runs::insert(tx, &run).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => return Err(under_way().into()),
        Err(error) => return Err(error.into()),
    }
    migration_lines::insert(tx, instance, run.id, &plan.steps).await?;
    run_items::append(tx, instance, run.id, 0, &items).await?;
    let event = author.event(Category::Settings, "run.started", "run", run.id.0);
    let after = Some(json!({ "kind": run.kind, "accounts": accounts }));
    audit::append(tx, instance, &[audit::Event { after, run: Some(run.id), ..event }]).await?;
    Ok(run)
}

fn under_way() -> ScimError {
    let detail = "another migration of this instance is under way: wait for its end, or go on with it \
                  with `runs resume`; `runs list` shows it";
    ScimError::new(ErrorKind::Conflict, detail)
}
