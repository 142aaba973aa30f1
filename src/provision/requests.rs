//! The request log: what connections asked and were answered, for who wants to know why something did or
//! did not happen.
//!
//! It is written behind the requests, never on their road, and says nothing that the audit trail does not
//! rest on without it: it can have gaps, it ends after some days, and nothing is decided by it.

mod kept;
pub mod replay;

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::{Provision, Result, transact};
use crate::directory::ids::ExchangeId;
use crate::directory::{InstanceId, RequestDays};
use crate::store::audit::search::{self, Wanted as WantedEvents};
use crate::store::audit::{self, Author, Category, Event};
use crate::store::exchanges::{self, Exchange, Fresh, From, Wanted, Whole};
use crate::store::purge::Gone;
use crate::store::{Tx, instances};

pub use kept::{EXCHANGE_BODY_BYTES_MAX, Seen, name_key};

/// The events of one exchange that are shown at most: as many as a bulk request can well cause.
const EVENTS_SHOWN: i64 = 10_000;

/// The exchanges that are removed in one transaction.
const PURGE_BATCH: u16 = 500;

/// The batches of one instance before the next instance has its turn.
const TURN_BATCHES: usize = 50;

/// How many exchanges of each instance were not kept.
pub type Missed = BTreeMap<InstanceId, u64>;

/// An exchange with its bodies and what it caused.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Shown {
    /// The exchange.
    #[serde(flatten)]
    pub whole: Whole,
    /// The rows that it left in the audit trail, oldest first.
    pub events: Vec<Event>,
}

impl Provision {
    /// Keeps exchanges, without their secrets, in one transaction; how many. Those of instances that keep no
    /// request log are passed over. `missed` is noted beside them.
    pub async fn keep_exchanges(&self, seen: Vec<Seen>, missed: &Missed) -> Result<usize> {
        let mut off = Vec::new();
        let mut tx = self.store.read().await?;
        let named = seen.iter().map(|seen| seen.instance).chain(missed.keys().copied());
        for instance in named.collect::<std::collections::BTreeSet<_>>() {
            if exchanges::days(&mut tx, instance).await?.is_off() {
                off.push(instance);
            }
        }
        drop(tx);
        let wanted: Vec<Seen> =
            seen.into_iter().filter(|seen| !off.contains(&seen.instance)).collect();
        let missed: Vec<(InstanceId, i64)> = missed
            .iter()
            .filter(|(instance, _)| !off.contains(instance))
            .map(|(instance, missed)| (*instance, i64::try_from(*missed).unwrap_or(i64::MAX)))
            .collect();
        if wanted.is_empty() && missed.is_empty() {
            return Ok(0);
        }
        // Bodies can be large, and requests go on meanwhile.
        let fresh = tokio::task::spawn_blocking(move || wanted.iter().map(kept::of).collect());
        let fresh: Vec<Fresh> = fresh.await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "exchanges are not readable");
            Vec::new()
        });
        let at = self.clock.now();
        transact!(self.store, |tx| keep(&mut tx, &fresh, &missed, at).await)?;
        Ok(fresh.len())
    }

    /// A page of the request log.
    pub async fn exchanges(
        &self,
        instance: InstanceId,
        wanted: &Wanted,
        from: From,
        limit: i64,
    ) -> Result<Vec<Exchange>> {
        Ok(exchanges::page(&mut self.store.read().await?, instance, wanted, from, limit).await?)
    }

    /// One exchange, and what it caused: the events of its connection that bear its request id.
    pub async fn exchange(&self, instance: InstanceId, id: ExchangeId) -> Result<Option<Shown>> {
        let mut tx = self.store.read().await?;
        let Some(whole) = exchanges::find(&mut tx, instance, id).await? else { return Ok(None) };
        let wanted = WantedEvents {
            request_id: Some(whole.exchange.request_id.clone()),
            connection: Some(whole.exchange.connection),
            ..WantedEvents::default()
        };
        let oldest = search::From::OLDEST;
        let events = search::page(&mut tx, instance, &wanted, oldest, EVENTS_SHOWN).await?;
        Ok(Some(Shown { whole, events }))
    }

    /// How many exchanges of an instance were not kept, as far as the log goes back.
    pub async fn missed_exchanges(&self, instance: InstanceId) -> Result<i64> {
        let mut tx = self.store.read().await?;
        let since = exchanges::days(&mut tx, instance).await?.cutoff(self.clock.now());
        Ok(exchanges::count_missed(&mut tx, instance, since).await?)
    }

    /// For how many days an instance keeps its request log.
    pub async fn request_days(&self, instance: InstanceId) -> Result<RequestDays> {
        Ok(exchanges::days(&mut self.store.read().await?, instance).await?)
    }

    /// Sets for how many days an instance keeps its request log; how many it were before.
    pub async fn set_request_days(
        &self,
        author: &Author,
        instance: InstanceId,
        days: RequestDays,
    ) -> Result<RequestDays> {
        transact!(self.store, |tx| set_days(&mut tx, author, instance, days).await)
    }

    /// Removes exchanges that are kept no longer, on all instances; how many. What fails on one of them keeps
    /// nobody waiting on the others, and is tried again the next time.
    pub async fn purge_exchanges(&self) -> Result<u64> {
        let instances = instances::list(&mut self.store.read().await?).await?;
        let mut purged = 0;
        for instance in instances {
            match self.purge_exchanges_of(instance.id).await {
                Ok(some) => purged += some,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        instance = %instance.id,
                        "the request log could not be shortened; it is tried again"
                    );
                }
            }
        }
        Ok(purged)
    }

    async fn purge_exchanges_of(&self, instance: InstanceId) -> Result<u64> {
        let mut purged = 0;
        for _ in 0..TURN_BATCHES {
            let mut tx = self.store.read().await?;
            let before = exchanges::days(&mut tx, instance).await?.cutoff(self.clock.now());
            // Most of the time there is nothing to do: a look does not keep writers waiting.
            if !exchanges::any_before(&mut tx, instance, before).await? {
                break;
            }
            drop(tx);
            purged += transact!(self.store, |tx| {
                let batch = exchanges::purge(&mut tx, instance, before, PURGE_BATCH.into());
                batch.await.map_err(super::Error::from)
            })?;
        }
        Ok(purged)
    }
}

/// Erases what the log says of people who are gone for good; how many exchanges said something.
pub(super) async fn erase(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    gone: &[Gone],
    ids: &[Uuid],
) -> Result<u64> {
    let names = gone.iter().map(|gone| name_key(&gone.name)).filter(|name| !name.is_empty());
    Ok(exchanges::erase(tx, instance, ids, names.collect(), author.at).await?)
}

async fn keep(
    tx: &mut Tx,
    fresh: &[Fresh],
    missed: &[(InstanceId, i64)],
    at: crate::directory::Timestamp,
) -> Result<()> {
    exchanges::append(tx, fresh).await?;
    for (instance, missed) in missed {
        exchanges::note_missed(tx, *instance, at, *missed).await?;
    }
    Ok(())
}

async fn set_days(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    days: RequestDays,
) -> Result<RequestDays> {
    tx.serialize_on(&[format!("{instance} requests")]).await?;
    let before = exchanges::days(tx, instance).await?;
    if before == days {
        return Ok(before);
    }
    exchanges::set_days(tx, instance, days).await?;
    let event = author.event(Category::Settings, "instance.requests_set", "instance", instance.0);
    let event = Event {
        before: Some(json!({ "requestsDays": before })),
        after: Some(json!({ "requestsDays": days })),
        ..event
    };
    audit::append(tx, instance, &[event]).await?;
    Ok(before)
}

/// Where a page begins that has everything from a time on, the oldest first.
#[must_use]
pub fn from_time(at: crate::directory::Timestamp) -> From {
    // An id begins with the milliseconds in which it was made.
    From::After(Uuid::from_u128(u128::try_from(at.0).unwrap_or(0) << 80))
}
