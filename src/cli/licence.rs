//! The licence of an instance.

use anyhow::Result;
use serde_json::json;

use super::acts::people;
use super::args::LicenceCommand;
use super::session::{Session, plain};
use crate::provision::{LicenceState, Limit};

pub(super) async fn run(session: &mut Session<'_>, command: LicenceCommand) -> Result<()> {
    let (at, limit) = match command {
        LicenceCommand::Show { at } => (at, None),
        LicenceCommand::Set { seats, policy, at } => (at, Some(Limit::Seats(seats, policy))),
        LicenceCommand::Unlimited { at } => (at, Some(Limit::Unlimited)),
        LicenceCommand::Waiting { more, limit, at } => {
            let instance = session.instance(at.instance.as_deref()).await?.id;
            let waiting = match more {
                Some(more) => session.provision.entering_with(instance, more).await,
                None => session.provision.waiting(instance, limit).await,
            };
            let waiting = waiting.map_err(plain)?;
            return people(session, "waiting", &waiting);
        }
    };
    let instance = session.instance(at.instance.as_deref()).await?.id;
    let state = match limit {
        None => session.provision.licence(instance).await,
        Some(limit) => {
            let author = session.provision.operator();
            session.provision.set_licence(&author, instance, limit).await
        }
    };
    show(session, state.map_err(plain)?)
}

fn show(session: &mut Session<'_>, state: LicenceState) -> Result<()> {
    let LicenceState { licence, taken, waiting } = state;
    session.out.show(&json!({ "licence": state }), |text| {
        let Some(licence) = licence else {
            return text.line(format!("No limit; {taken} people are active."));
        };
        text.fields(&[
            ("seats", licence.seats_max.to_string()),
            ("taken", taken.to_string()),
            ("free", licence.free().to_string()),
            ("waiting", waiting.to_string()),
            ("when none is free", licence.policy.to_string()),
        ])
    })?;
    Ok(())
}
