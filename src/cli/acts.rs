//! Questions about people, and the administrator's hand.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::json;

use super::args::{AccountArg, ActArgs, InstanceArg};
use super::output::{Text, or_dash};
use super::session::{Session, plain};
use crate::directory::hand::Act;
use crate::directory::{Account, InstanceId, Waiting};
use crate::provision::{Cause, Done, Why};

/// The accounts that a command names one by one in its answer.
const LISTED_MAX: usize = 100;

/// Does something to accounts, or says what it would come to.
pub(super) async fn act(session: &mut Session<'_>, what: Act, wanted: &ActArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let chosen = choose(session, instance, what, wanted).await?;
    if wanted.filter.is_some() && !wanted.preview && !wanted.yes {
        bail!(
            "the filter selects {} accounts: look with --preview what would become of them, then \
             do it with --yes",
            chosen.len()
        );
    }
    let author = session.provision.operator();
    let done = if wanted.preview {
        session.provision.rehearse(&author, instance, &chosen, what).await.map_err(plain)?
    } else {
        let mut done = Vec::with_capacity(chosen.len());
        for account in &chosen {
            let one = session.provision.act(&author, instance, account.id, what).await;
            done.push(one.map_err(plain)?);
        }
        done
    };
    let refused = done.iter().filter(|done| done.refused.is_some()).count();
    let json = json!({
        "act": what, "preview": wanted.preview, "selected": done.len(),
        "changed": done.iter().filter(|done| done.changed).count(), "refused": refused,
        "accounts": done,
    });
    session.out.show(&json, |text| outcome(text, &done, wanted.preview))?;
    if refused > 0 && !wanted.preview {
        bail!("{refused} of {} could not be done; the reasons are above", done.len());
    }
    Ok(())
}

async fn choose(
    session: &Session<'_>,
    instance: InstanceId,
    what: Act,
    wanted: &ActArgs,
) -> Result<Vec<Account>> {
    if let Some(filter) = &wanted.filter {
        return session.provision.choose(instance, filter, what).await.map_err(plain);
    }
    let mut chosen = Vec::with_capacity(wanted.accounts.len());
    for name in &wanted.accounts {
        chosen.push(account_for(session, instance, name, Some(what)).await?);
    }
    Ok(chosen)
}

async fn account(session: &Session<'_>, instance: InstanceId, name: &str) -> Result<Account> {
    account_for(session, instance, name, None).await
}

async fn account_for(
    session: &Session<'_>,
    instance: InstanceId,
    name: &str,
    what: Option<Act>,
) -> Result<Account> {
    let program = &session.program;
    let found = session.provision.account_for(instance, name, what).await.map_err(plain)?;
    if let Some(found) = found {
        return Ok(found);
    }
    // Who asks is answered; who changes something says whom by the name that she has now.
    match session.provision.account_formerly(instance, name).await.map_err(plain)? {
        Some(former) if what.is_none() => Ok(former),
        Some(former) => {
            bail!("there is no account \"{name}\": it is a former name of \"{}\"", former.user_name)
        }
        None => bail!("there is no account \"{name}\"; `{program} accounts list` lists them"),
    }
}

fn outcome(text: &mut Text, done: &[Done], preview: bool) -> std::io::Result<()> {
    if done.is_empty() {
        return text.line("The filter selects nobody.");
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for one in done {
        let what = match (&one.refused, one.changed) {
            (Some(_), _) => "refused".to_owned(),
            (None, false) => "unchanged".to_owned(),
            (None, true) => format!("{} → {}", one.was, one.is),
        };
        *counts.entry(what).or_default() += 1;
    }
    let would = if preview { "Would be" } else { "Done" };
    let counts: Vec<String> =
        counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    text.line(format!("{would}: {}.", counts.join(", ")))?;
    let rows = done.iter().take(LISTED_MAX).map(|one| {
        let reason = one.reason.map(|reason| reason.to_string());
        vec![
            one.user_name.clone(),
            one.was.to_string(),
            one.is.to_string(),
            or_dash(one.refused.clone().or(reason)),
        ]
    });
    text.table(&["USER NAME", "WAS", "IS", "REASON"], rows)?;
    if done.len() > LISTED_MAX {
        text.line(format!("… and {} more; --json lists them all.", done.len() - LISTED_MAX))?;
    }
    Ok(())
}

/// Explains the status of an account.
pub(super) async fn why(session: &mut Session<'_>, wanted: &AccountArg) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let account = account(session, instance, &wanted.account).await?;
    let why = session.provision.why(instance, &account).await.map_err(plain)?;
    session.out.show(&json!({ "why": why }), |text| explain(text, &why))?;
    Ok(())
}

fn explain(text: &mut Text, why: &Why) -> std::io::Result<()> {
    let reason = why.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    text.line(format!("{} is {}{reason}.", why.user_name, why.status))?;
    text.line("")?;
    for cause in &why.rules {
        let mark = if cause.rung.decides { ">" } else { "-" };
        text.line(format!("{mark} {}", cause.rung.says))?;
        if let Some(by) = &cause.by {
            text.line(format!("    since {}", since(cause)))?;
            if let Some(more) = &by.cause {
                text.line(format!("    because of {more}"))?;
            }
        }
        if let Some(remedy) = cause.rung.remedy.filter(|_| cause.rung.decides) {
            text.line(format!("    to change it: {remedy}"))?;
        }
    }
    if let Some(word) = why.hand {
        text.line("")?;
        let counts = match word.overtaken_at {
            Some(at) => format!("no longer counts since the source's next word at {at}"),
            None => "counts".to_owned(),
        };
        text.line(format!(
            "The administrator's last word: {} at {}, {counts}.",
            word.word, word.at
        ))?;
    }
    if let Some(at) = why.queued_at {
        text.line(format!("In the queue for a seat since {at}."))?;
    }
    Ok(())
}

fn since(cause: &Cause) -> String {
    let Some(by) = &cause.by else { return String::new() };
    let mut said = format!("{}, {} by {}", by.at, by.action, by.actor);
    if let Some(request) = &by.request_id {
        said.push_str(", request ");
        said.push_str(request);
    }
    if let Some(run) = &by.run {
        said.push_str(", run ");
        said.push_str(run);
    }
    said
}

/// Lists who reports to a person.
pub(super) async fn reports(session: &mut Session<'_>, wanted: &AccountArg) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let manager = account(session, instance, &wanted.account).await?;
    let mut all: Vec<Account> = Vec::new();
    loop {
        let after = all.last().map(|account| account.id);
        let page = session.provision.reports(instance, manager.id, after).await.map_err(plain)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    people(session, "reports", &all)
}

/// Lists the managers of a person.
pub(super) async fn managers(session: &mut Session<'_>, wanted: &AccountArg) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let account = account(session, instance, &wanted.account).await?;
    let all = session.provision.managers(instance, account.id).await.map_err(plain)?;
    people(session, "managers", &all)
}

/// Lists whose reference to a manager waits.
pub(super) async fn unlinked(session: &mut Session<'_>, at: &InstanceArg) -> Result<()> {
    let instance = session.instance(at.instance.as_deref()).await?.id;
    let mut all: Vec<Account> = Vec::new();
    loop {
        let after = all.last().map(|account| account.id);
        let page = session.provision.unlinked(instance, after).await.map_err(plain)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let json: Vec<_> = all
        .iter()
        .map(|account| {
            json!({
                "id": account.id, "user_name": account.user_name,
                "manager": account.manager.sent, "waits": account.manager.waits,
            })
        })
        .collect();
    session.out.show(&json!({ "accounts": json }), |text| {
        let rows = all.iter().map(|account| {
            vec![
                account.user_name.clone(),
                or_dash(account.manager.sent.as_ref()),
                waits(account.manager.waits).to_owned(),
            ]
        });
        text.table(&["USER NAME", "MANAGER AS SENT", "WAITS BECAUSE"], rows)
    })?;
    Ok(())
}

/// Why a reference to a manager waits, in plain words.
pub(super) fn waits(waits: Option<Waiting>) -> &'static str {
    match waits {
        Some(Waiting::Nobody) | None => "nobody in scope answers to it",
        Some(Waiting::Ambiguous) => "several people answer to it equally well",
        Some(Waiting::Circle) => "the manager would report to his own report",
    }
}

/// A table of people.
pub(super) fn people(session: &mut Session<'_>, name: &str, people: &[Account]) -> Result<()> {
    let json: Vec<_> = people
        .iter()
        .map(|account| {
            json!({
                "id": account.id, "user_name": account.user_name,
                "display_name": account.display_name, "status": account.status,
                "queued_at": account.queued_at,
            })
        })
        .collect();
    session.out.show(&json!({ name: json }), |text| {
        let rows = people.iter().map(|account| {
            vec![
                account.user_name.clone(),
                or_dash(account.display_name.as_ref()),
                account.status.to_string(),
                account.id.to_string(),
            ]
        });
        text.table(&["USER NAME", "DISPLAY NAME", "STATUS", "ID"], rows)
    })?;
    Ok(())
}
