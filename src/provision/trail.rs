//! The audit trail: sealing it, finding in it, and proving that nobody changed it.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::{Provision, Result, transact};
use crate::clock::Ids;
use crate::directory::InstanceId;
use crate::directory::chain::{self as hashes, HASH_BYTES};
use crate::directory::ids::{AuditId, hex};
use crate::store::audit::chain::{self, Head, Link, Waiting, Written};
use crate::store::audit::search::{self, From, Wanted};
use crate::store::audit::{ERASED, Event};
use crate::store::{BATCH_MAX, Tx};

/// The batches of one instance before the next instance has its turn.
const TURN_BATCHES: usize = 20;

/// The events that are sealed by a write as small as that of a request, which shares a commit with those. Where
/// many instances write a little, that is all there is.
const FEW: usize = 50;

/// An event, and its place in the chain.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Entry {
    /// Its place, from 1; `None` until it is sealed.
    pub position: Option<i64>,
    /// The hash of its link, in hexadecimal.
    pub hash: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// What a look at the whole chain of an instance came to.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Verified {
    /// The links that were looked at.
    pub links: i64,
    /// Those whose event was erased: their digests are in the chain, their contents are gone.
    pub erased: i64,
    /// The events that wait for their links.
    pub unsealed: i64,
    /// The hash of the last link, in hexadecimal: who notes it elsewhere can tell later that nothing before
    /// it was changed.
    pub hash: Option<String>,
    /// What is wrong, if anything is.
    pub broken: Option<Broken>,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    /// The position of the first link that does not hold.
    pub position: i64,
    /// Why.
    pub reason: String,
}

/// A link that somebody noted at an earlier time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its position.
    pub position: i64,
    /// Its hash, in hexadecimal.
    pub hash: String,
}

/// As `POSITION:HASH`.
impl std::str::FromStr for Noted {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("\"{text}\" is no POSITION:HASH, as `audit verify` prints it");
        let (position, hash) = text.trim().split_once(':').ok_or_else(wrong)?;
        let position = position.parse().ok().filter(|position| *position > 0);
        let whole = hash.len() == HASH_BYTES * 2 && hash.chars().all(|c| c.is_ascii_hexdigit());
        let hash = whole.then(|| hash.to_ascii_lowercase());
        Ok(Self { position: position.ok_or_else(wrong)?, hash: hash.ok_or_else(wrong)? })
    }
}

impl Provision {
    /// Gives events that were committed their links; how many. Each instance has its turn, however much
    /// waits in another, and what fails for one is tried again the next time.
    pub async fn seal(&self) -> Result<usize> {
        let (mut sealed, mut after) = (0, None);
        loop {
            let mut tx = self.store.read().await?;
            let next = chain::next_waiting(&mut tx, after).await?;
            drop(tx);
            let Some(instance) = next else { return Ok(sealed) };
            after = Some(instance);
            match self.seal_turn(instance).await {
                Ok(some) => sealed += some,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        %instance,
                        "the audit trail could not be sealed; it is tried again"
                    );
                }
            }
        }
    }

    /// Gives the events of an instance their links, so that all that are there now have one, also those that
    /// somebody else seals just now; how many it gave.
    pub async fn seal_instance(&self, instance: InstanceId) -> Result<usize> {
        self.seal_batches(instance, usize::MAX, Waiting::Patient).await
    }

    /// What one instance has sealed before the next one has its turn.
    async fn seal_turn(&self, instance: InstanceId) -> Result<usize> {
        let few = transact!(begin_small, self.store, None::<InstanceId>, |tx| {
            seal_some(&mut tx, instance, self.ids, Waiting::Impatient, FEW).await
        })?;
        if few < FEW {
            return Ok(few);
        }
        Ok(few + self.seal_batches(instance, TURN_BATCHES, Waiting::Impatient).await?)
    }

    async fn seal_batches(
        &self,
        instance: InstanceId,
        batches: usize,
        waiting: Waiting,
    ) -> Result<usize> {
        let mut sealed = 0;
        for _ in 0..batches {
            let some = transact!(self.store, |tx| {
                seal_some(&mut tx, instance, self.ids, waiting, BATCH_MAX).await
            })?;
            sealed += some;
            if some < BATCH_MAX {
                break;
            }
        }
        Ok(sealed)
    }

    /// Events that are wanted, with their places in the chain.
    pub async fn trail(
        &self,
        instance: InstanceId,
        wanted: &Wanted,
        from: From,
        limit: i64,
    ) -> Result<Vec<Entry>> {
        let mut tx = self.store.read().await?;
        let events = search::page(&mut tx, instance, wanted, from, limit).await?;
        let mut places: BTreeMap<AuditId, Link> = BTreeMap::new();
        for events in events.chunks(BATCH_MAX) {
            let ids: Vec<AuditId> = events.iter().map(|event| event.id).collect();
            let links = chain::links_of(&mut tx, instance, &ids).await?;
            places.extend(links.into_iter().map(|link| (link.event, link)));
        }
        let entry = |event: Event| {
            let link = places.remove(&event.id);
            let hash = link.as_ref().map(|link| hex(&link.hash));
            Entry { position: link.map(|link| link.position), hash, event }
        };
        Ok(events.into_iter().map(entry).collect())
    }

    /// Looks at every link of the chain of an instance, and at every event behind it. `noted` is a link that
    /// must still be there.
    pub async fn verify_trail(
        &self,
        instance: InstanceId,
        noted: Option<&Noted>,
    ) -> Result<Verified> {
        // Who seals or erases meanwhile changes nothing in what is seen.
        let mut tx = self.store.snapshot().await?;
        let found = verify(&mut tx, instance, noted).await;
        tx.rollback().await;
        found
    }
}

async fn verify(tx: &mut Tx, instance: InstanceId, noted: Option<&Noted>) -> Result<Verified> {
    let origin = Head { position: 0, hash: hashes::origin(instance) };
    let mut check =
        Check { last: origin, noted, erased: BTreeMap::new(), found: Verified::default() };
    let limit = i64::try_from(BATCH_MAX).unwrap_or(i64::MAX);
    while check.found.broken.is_none() {
        let links = chain::links(tx, instance, check.last.position, limit).await?;
        if links.is_empty() {
            break;
        }
        let ids: Vec<AuditId> = links.iter().map(|link| link.event).collect();
        let events = chain::written(tx, instance, &ids).await?;
        check.page(&links, &events);
    }
    let head = chain::head(tx, instance).await?.unwrap_or(origin);
    let strays = chain::count_strays(tx, instance).await?;
    check.found.unsealed = chain::count_unsealed(tx, instance).await?;
    Ok(check.finish(head, strays))
}

/// Seals the next events of an instance; if somebody else does, he is waited for or left to it.
pub(super) async fn seal_some(
    tx: &mut Tx,
    instance: InstanceId,
    ids: Ids,
    waiting: Waiting,
    most: usize,
) -> Result<usize> {
    let Some(mut head) = chain::take_head(tx, instance, &hashes::origin(instance), waiting).await?
    else {
        return Ok(0);
    };
    let events = chain::unsealed(tx, instance, most).await?;
    let mut links = Vec::with_capacity(events.len());
    for event in &events {
        let salt = ids.random();
        let said = hashes::said(&salt, &event.said);
        let position = head.position + 1;
        let hash = hashes::link(&head.hash, position, &event.columns, &said);
        head = Head { position, hash };
        links.push(Link { position, event: event.id, salt: Some(salt), said, hash });
    }
    chain::append(tx, instance, &links).await?;
    Ok(links.len())
}

/// A look at a chain, link by link.
struct Check<'n> {
    last: Head,
    noted: Option<&'n Noted>,
    /// Whom erased events are about: how many more there are than erasures have told, and the first of them.
    erased: BTreeMap<Uuid, (i64, i64)>,
    found: Verified,
}

impl Check<'_> {
    fn page(&mut self, links: &[Link], events: &[Written]) {
        for link in links {
            let event = events.binary_search_by_key(&link.event, |event| event.id);
            let event = event.ok().and_then(|place| events.get(place));
            if let Err(reason) = self.holds(link, event) {
                return self.breaks(reason);
            }
            self.last = Head { position: link.position, hash: link.hash };
            self.found.links += 1;
        }
    }

    fn holds(&mut self, link: &Link, event: Option<&Written>) -> std::result::Result<(), String> {
        if link.position != self.last.position + 1 {
            return Err("it is not there, although later ones are".to_owned());
        }
        let event = event.ok_or_else(|| format!("its event {} is gone", link.event))?;
        let followed = hashes::link(&self.last.hash, link.position, &event.columns, &link.said);
        if followed != link.hash {
            return Err(format!("its event {}, or its hash, was changed", link.event));
        }
        match link.salt {
            Some(salt) if hashes::said(&salt, &event.said) != link.said => {
                return Err(format!("what its event {} says was changed", link.event));
            }
            Some(_) => self.count_erasure(event),
            None if event.erased_at.is_some() && event.said.iter().all(Option::is_none) => {
                self.found.erased += 1;
                self.erased.entry(event.target).or_insert((0, link.position)).0 += 1;
            }
            None => return Err(format!("the salt of its event {} is gone", link.event)),
        }
        if let Some(noted) = self.noted.filter(|noted| noted.position == link.position)
            && noted.hash != hex(&link.hash)
        {
            return Err("its hash is not the one that was noted".to_owned());
        }
        Ok(())
    }

    /// An erasure tells how many events were erased, and stays readable itself.
    fn count_erasure(&mut self, event: &Written) {
        if event.action != ERASED {
            return;
        }
        let told = event.said.last().and_then(Option::as_deref).unwrap_or_default();
        let told: Value = serde_json::from_slice(told).unwrap_or_default();
        let count = told.get("events").and_then(Value::as_i64).unwrap_or(0);
        self.erased.entry(event.target).or_insert((0, self.last.position + 1)).0 -= count;
    }

    fn breaks(&mut self, reason: String) {
        let position = self.last.position + 1;
        self.found.broken.get_or_insert(Broken { position, reason });
    }

    fn finish(mut self, head: Head, strays: i64) -> Verified {
        let unclear = self.erased.iter().filter(|(_, (count, _))| *count != 0);
        let unclear = unclear.min_by_key(|(_, (_, position))| *position);
        if let Some((person, (_, position))) = unclear {
            let reason = format!("no erasure in the trail explains what of {person} is erased");
            self.found.broken.get_or_insert(Broken { position: *position, reason });
        }
        if self.last != head {
            self.breaks("the head of the chain is another".to_owned());
        }
        if let Some(noted) = self.noted.filter(|noted| noted.position > self.last.position) {
            self.breaks(format!(
                "the chain ends before position {}, which was noted",
                noted.position
            ));
        }
        if strays > 0 {
            self.breaks(format!("{strays} events are in the trail that nobody has sealed"));
        }
        self.found.hash = (self.last.position > 0).then(|| hex(&self.last.hash));
        self.found
    }
}
