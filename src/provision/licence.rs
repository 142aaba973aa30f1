//! The licence of an instance: how many people may be active at once, who waits, and who would enter.

use serde_json::json;

use super::{Provision, Result, standing, transact};
use crate::directory::{Account, InstanceId, Licence, SeatPolicy};
use crate::scim::ScimError;
use crate::store::audit::{self, Author, Category};
use crate::store::seats::{self, Seats};
use crate::store::waist::StillTable;
use crate::store::{Tx, licences};

/// The most seats that a licence can have.
pub const SEATS_MAX: i64 = 100_000_000;

/// What an administrator decides about the licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// As many seats, and what happens to whoever comes when none is free; without a word, as before.
    Seats(i64, Option<SeatPolicy>),
    /// No limit.
    Unlimited,
}

/// The licence as it stands.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct LicenceState {
    /// The limit, if there is one.
    pub licence: Option<Licence>,
    /// How many accounts are active and need a seat.
    pub taken: i64,
    /// How many wait for one.
    pub waiting: i64,
}

impl Provision {
    /// The licence, the seats that are taken and the length of the queue.
    pub async fn licence(&self, instance: InstanceId) -> Result<LicenceState> {
        let mut tx = self.store.read().await?;
        state(&mut tx, instance).await
    }

    /// Sets, changes or removes the limit. Who waits enters at once as far as seats are free; nobody who
    /// is active loses the seat when the limit sinks.
    pub async fn set_licence(
        &self,
        author: &Author,
        instance: InstanceId,
        limit: Limit,
    ) -> Result<LicenceState> {
        transact!(self.store, |tx| set(&mut tx, author, instance, limit).await)
    }

    /// The people who would enter with that many seats more, in their order.
    pub async fn entering_with(&self, instance: InstanceId, more: i64) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        let Some(licence) = licences::find(&mut tx, instance).await? else {
            return Ok(Vec::new());
        };
        let free = licence.seats_max.saturating_add(more).saturating_sub(licence.seats_taken);
        Ok(seats::queue(&mut tx, instance, free.max(0)).await?)
    }

    /// The people who wait for a seat, in the order in which they will enter.
    pub async fn waiting(&self, instance: InstanceId, limit: i64) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        Ok(seats::queue(&mut tx, instance, limit).await?)
    }
}

async fn state(tx: &mut Tx, instance: InstanceId) -> Result<LicenceState> {
    let licence = licences::find(tx, instance).await?;
    let Seats { taken, waiting } = seats::count_seats(tx, instance).await?;
    Ok(LicenceState { licence, taken, waiting })
}

async fn set(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    limit: Limit,
) -> Result<LicenceState> {
    let mut before = licences::wait(tx, instance).await?;
    if before.is_none() && limit != Limit::Unlimited {
        // Whoever writes after this knows the limit; whoever wrote before is counted.
        tx.hold_still(StillTable::Accounts).await?;
        before = licences::wait(tx, instance).await?;
    }
    let after = match limit {
        Limit::Unlimited => None,
        Limit::Seats(seats_max, policy) => {
            if !(0..=SEATS_MAX).contains(&seats_max) {
                let why = format!("must be from 0 to {SEATS_MAX}");
                return Err(ScimError::invalid_value("the number of seats", &why).into());
            }
            // Counted anew each time: whoever gives or frees a seat is waiting now.
            let taken = seats::count_seats(tx, instance).await?.taken;
            let policy = policy.or(before.map(|licence| licence.policy));
            let policy = policy.unwrap_or(SeatPolicy::Block);
            Some(Licence { seats_max, seats_taken: taken, policy })
        }
    };
    let said = |licence: Option<Licence>| {
        licence.map(|licence| json!({ "seats": licence.seats_max, "policy": licence.policy }))
    };
    if said(before) != said(after) {
        let event = author.event(Category::Settings, "licence.set", "instance", instance.0);
        let event = audit::Event { before: said(before), after: said(after), ..event };
        audit::append(tx, instance, &[event]).await?;
    }
    match (before, after) {
        (_, Some(licence)) => standing::fill(tx, instance, author, licence).await?,
        (Some(licence), None) => {
            let all = Licence { seats_max: i64::MAX, ..licence };
            standing::fill(tx, instance, author, all).await?;
            licences::remove(tx, instance).await?;
        }
        (None, None) => {}
    }
    state(tx, instance).await
}
