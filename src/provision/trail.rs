//! The audit trail: sealing it, finding in it, and proving that nobody changed it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Provision, Result, transact};
use crate::clock::Ids;
use crate::directory::InstanceId;
use crate::directory::chain::{self as hashes, HASH_BYTES};
use crate::directory::ids::{AuditId, hex};
use crate::store::audit::chain::{self, Head, Link, Written};
use crate::store::audit::search::{self, From, Wanted};
use crate::store::audit::{ERASED, Event};
use crate::store::{BATCH_MAX, Tx};

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
    /// Gives events that were committed their links; how many.
    pub async fn seal(&self) -> Result<usize> {
        let (mut sealed, mut after) = (0, None);
        loop {
            let mut tx = self.store.read().await?;
            let next = chain::next_waiting(&mut tx, after).await?;
            drop(tx);
            let Some(instance) = next else { return Ok(sealed) };
            sealed += self.seal_instance(instance).await?;
            after = Some(instance);
        }
    }

    /// Gives the events of an instance their links; how many. Whoever else seals it just now goes on
    /// alone.
    pub async fn seal_instance(&self, instance: InstanceId) -> Result<usize> {
        let mut sealed = 0;
        loop {
            let some = transact!(self.store, |tx| seal_some(&mut tx, instance, self.ids).await)?;
            sealed += some;
            if some < BATCH_MAX {
                return Ok(sealed);
            }
        }
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
        let mut tx = self.store.read().await?;
        let origin = Head { position: 0, hash: hashes::origin(instance) };
        let head = chain::head(&mut tx, instance).await?.unwrap_or(origin);
        let mut check =
            Check { last: origin, noted, erased: BTreeMap::new(), found: Verified::default() };
        while check.last.position < head.position && check.found.broken.is_none() {
            let limit = i64::try_from(BATCH_MAX).unwrap_or(i64::MAX);
            let links = chain::links(&mut tx, instance, check.last.position, limit).await?;
            let ids: Vec<AuditId> = links.iter().map(|link| link.event).collect();
            let events = chain::written(&mut tx, instance, &ids).await?;
            check.page(&links, &events);
        }
        let strays = chain::count_strays(&mut tx, instance).await?;
        check.found.unsealed = chain::count_unsealed(&mut tx, instance).await?;
        Ok(check.finish(head, strays))
    }
}

/// Seals the next events of an instance, if nobody else does.
pub(super) async fn seal_some(tx: &mut Tx, instance: InstanceId, ids: Ids) -> Result<usize> {
    let Some(mut head) = chain::take_head(tx, instance, &hashes::origin(instance)).await? else {
        return Ok(0);
    };
    let events = chain::unsealed(tx, instance).await?;
    let mut links = Vec::with_capacity(events.len());
    for event in &events {
        let salt = ids.random();
        let digest = hashes::digest(&salt, &event.columns);
        let position = head.position + 1;
        let hash = hashes::link(&head.hash, position, event.id.0, &digest);
        head = Head { position, hash };
        links.push(Link { position, event: event.id, salt: Some(salt), digest, hash });
    }
    chain::append(tx, instance, &links).await?;
    Ok(links.len())
}

/// A look at a chain, link by link.
struct Check<'n> {
    last: Head,
    noted: Option<&'n Noted>,
    /// Whom erased events are about, and the first of them; without those whose erasure is in the trail.
    erased: BTreeMap<Uuid, i64>,
    found: Verified,
}

impl Check<'_> {
    fn page(&mut self, links: &[Link], events: &[Written]) {
        if links.is_empty() {
            self.breaks("it is not there, although later ones are".to_owned());
        }
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
        match link.salt {
            Some(salt) if hashes::digest(&salt, &event.columns) != link.digest => {
                return Err(format!("its event {} was changed", link.event));
            }
            Some(_) => {}
            None if event.erased_at.is_some() => {
                self.found.erased += 1;
                self.erased.entry(event.target).or_insert(link.position);
            }
            None => return Err(format!("the salt of its event {} is gone", link.event)),
        }
        if hashes::link(&self.last.hash, link.position, link.event.0, &link.digest) != link.hash {
            return Err("its hash does not follow from the one before".to_owned());
        }
        if let Some(noted) = self.noted.filter(|noted| noted.position == link.position)
            && noted.hash != hex(&link.hash)
        {
            return Err("its hash is not the one that was noted".to_owned());
        }
        if event.action == ERASED {
            self.erased.remove(&event.target);
        }
        Ok(())
    }

    fn breaks(&mut self, reason: String) {
        let position = self.last.position + 1;
        self.found.broken.get_or_insert(Broken { position, reason });
    }

    fn finish(mut self, head: Head, strays: i64) -> Verified {
        if self.last != head {
            self.breaks("the head of the chain is another".to_owned());
        }
        if let Some(noted) = self.noted.filter(|noted| noted.position > head.position) {
            let reason =
                format!("the chain ends before position {}, which was noted", noted.position);
            self.breaks(reason);
        }
        if strays > 0 {
            self.breaks(format!("{strays} events are in the trail that nobody has sealed"));
        }
        if let Some((person, position)) = self.erased.pop_first() {
            let reason =
                format!("its event was erased, but no erasure of {person} is in the trail");
            self.found.broken.get_or_insert(Broken { position, reason });
        }
        self.found.hash = (head.position > 0).then(|| hex(&head.hash));
        self.found
    }
}
