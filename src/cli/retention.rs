//! What was deleted: how long it is kept, and its removal before that.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::accounts::owner;
use super::args::{EraseArgs, PurgeArgs, RetentionArgs};
use super::output::{Text, or_dash};
use super::scope::full_name;
use super::session::{Session, plain};
use crate::directory::{Account, AccountId, Connection, InstanceId, Retention};
use crate::store::purge::{Hanging, Overdue};

/// The accounts that a command names one by one in its answer.
const LISTED_MAX: usize = 100;

/// Shows or sets how long an instance keeps what was deleted.
pub(super) async fn retention(session: &mut Session<'_>, wanted: &RetentionArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let name = full_name(&instance);
    let Some(days) = wanted.days else {
        let kept = session.provision.retention(instance.id).await.map_err(plain)?;
        return session
            .out
            .show(&json!({ "retention_days": kept }), |text| {
                text.line(format!("Instance {name} keeps what was deleted for {}.", days_of(kept)))
            })
            .context("the answer cannot be printed");
    };
    let kept = Retention::parse(days).context("the days are out of bounds")?;
    let before = session.provision.retention(instance.id).await.map_err(plain)?;
    let was = session.provision.overdue(instance.id, before).await.map_err(plain)?;
    let overdue = session.provision.overdue(instance.id, kept).await.map_err(plain)?;
    if !wanted.yes && (overdue.accounts, overdue.groups) > (was.accounts, was.groups) {
        bail!(
            "{} were deleted longer ago: the server would remove them for good within a minute, and \
             nobody could restore them; set it all the same with --yes",
            amount(overdue)
        );
    }
    let author = session.provision.operator();
    let before = session.provision.set_retention(&author, instance.id, kept).await;
    let before = before.map_err(plain)?;
    let json = json!({ "retention_days": kept, "was": before, "overdue": overdue });
    session.out.show(&json, |text| {
        text.line(format!(
            "Instance {name} keeps what was deleted for {}; it was {}.",
            days_of(kept),
            days_of(before)
        ))?;
        if overdue == Overdue::default() {
            return Ok(());
        }
        text.line(format!(
            "{} were deleted longer ago: the server removes them within a minute.",
            amount(overdue)
        ))
    })?;
    Ok(())
}

/// The days in words.
pub(super) fn days_of(kept: Retention) -> String {
    counted(kept.days(), "day")
}

fn amount(overdue: Overdue) -> String {
    format!("{} and {}", counted(overdue.accounts, "account"), counted(overdue.groups, "group"))
}

/// A number of things in words.
fn counted(count: i64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn accounts(count: usize) -> String {
    counted(i64::try_from(count).unwrap_or(i64::MAX), "account")
}

/// Removes deleted accounts for good, or says who would go.
pub(super) async fn purge(session: &mut Session<'_>, wanted: &PurgeArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let chosen = choose(session, instance, wanted).await?;
    let ids: Vec<AccountId> = chosen.iter().map(|account| account.id).collect();
    if wanted.yes {
        confirm(&chosen, wanted.count)?;
    }
    let hanging = session.provision.hanging(instance, &ids).await.map_err(plain)?;
    let connections = session.provision.connections(instance).await.map_err(plain)?;
    let purged = if wanted.yes {
        let author = session.provision.operator();
        session.provision.purge(&author, instance, &ids).await.map_err(plain)?
    } else {
        Vec::new()
    };
    let json = json!({
        "preview": !wanted.yes, "selected": chosen.len(), "purged": purged.len(), "with": hanging,
        "accounts": chosen.iter().map(|account| shown(account, &connections)).collect::<Vec<_>>(),
    });
    let program = &session.program;
    session.out.show(&json, |text| {
        if chosen.is_empty() {
            return text.line("The filter selects nobody who is deleted.");
        }
        let said = if wanted.yes {
            format!("Removed for good: {}, and with it {}.", accounts(purged.len()), with(hanging))
        } else {
            let chosen = accounts(chosen.len());
            format!("Would be removed for good: {chosen}, and with it {}.", with(hanging))
        };
        text.line(said)?;
        table(text, &chosen, &connections)?;
        if !wanted.yes {
            let count =
                if chosen.len() > 1 { format!(" --count {}", chosen.len()) } else { String::new() };
            text.line(format!(
                "Nothing has changed. Nobody can bring them back afterwards; to do it, add --yes{count} to \
                 `{program} accounts purge`."
            ))?;
        }
        Ok(())
    })?;
    let left = ids.len().saturating_sub(purged.len());
    if wanted.yes && left > 0 {
        bail!("{left} of {} were restored or removed by somebody else meanwhile", ids.len());
    }
    Ok(())
}

/// Erases what is known of somebody who was deleted, or says how much that is.
pub(super) async fn erase(session: &mut Session<'_>, wanted: &EraseArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let name = &wanted.account;
    let found = session.provision.deleted_account(instance, name).await.map_err(plain)?;
    let person = found.map(|account| account.id).or_else(|| name.parse().ok());
    let person = person.with_context(|| {
        format!("there is no account \"{name}\"; who was removed for good is named by the id")
    })?;
    let author = session.provision.operator();
    let erased = if wanted.yes {
        session.provision.erase(&author, instance, person).await
    } else {
        session.provision.foresee_erasure(&author, instance, person).await
    };
    let erased = erased.map_err(plain)?;
    let json = json!({ "preview": !wanted.yes, "id": person, "erased": erased });
    let program = &session.program;
    session.out.show(&json, |text| {
        let said = if wanted.yes { "Erased" } else { "Would be erased" };
        let account = if erased.account { "the account, and " } else { "" };
        text.line(format!(
            "{said}: {account}what {} events, {} lines of reports and {} exchanges of the request log \
             say of {person}.",
            erased.events, erased.lines, erased.exchanges
        ))?;
        if !wanted.yes {
            text.line(format!(
                "Nothing has changed. Nobody can bring it back afterwards; to do it, add --yes to \
                 `{program} accounts erase`."
            ))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Refuses to remove several accounts without their number, or with another.
fn confirm(chosen: &[Account], count: Option<usize>) -> Result<()> {
    let found = chosen.len();
    match count {
        Some(count) if count != found => {
            bail!("this selects {}, not {count}: nothing was removed", accounts(found))
        }
        None if found > 1 => bail!(
            "this selects {found} accounts: look at them without --yes, then confirm their number with \
             --count {found}; nothing was removed"
        ),
        _ => Ok(()),
    }
}

async fn choose(
    session: &Session<'_>,
    instance: InstanceId,
    wanted: &PurgeArgs,
) -> Result<Vec<Account>> {
    if let Some(filter) = &wanted.filter {
        return session.provision.deleted_accounts(instance, filter).await.map_err(plain);
    }
    let program = &session.program;
    let mut chosen: Vec<Account> = Vec::with_capacity(wanted.accounts.len());
    for name in &wanted.accounts {
        let found = session.provision.deleted_account(instance, name).await.map_err(plain)?;
        let account = found.with_context(|| {
            format!("there is no account \"{name}\", and no deleted one of that name")
        })?;
        if account.deleted_at.is_none() {
            bail!(
                "\"{name}\" is not deleted, and only what is deleted can be removed: delete it first \
                 with `{program} accounts delete`"
            );
        }
        if !chosen.iter().any(|other| other.id == account.id) {
            chosen.push(account);
        }
    }
    Ok(chosen)
}

fn with(hanging: Hanging) -> String {
    [
        counted(hanging.emails, "e-mail"),
        counted(hanging.memberships, "membership"),
        counted(hanging.approvals, "approval"),
        counted(hanging.passwords, "password"),
        counted(hanging.reports, "manager link"),
    ]
    .join(", ")
}

fn shown(account: &Account, connections: &[Connection]) -> Value {
    json!({
        "id": account.id,
        "user_name": account.user_name,
        "connection": account.connection.map(|id| owner(Some(id), connections)),
        "reason": account.reason,
        "deleted_at": account.deleted_at,
    })
}

fn table(text: &mut Text, chosen: &[Account], connections: &[Connection]) -> std::io::Result<()> {
    let rows = chosen.iter().take(LISTED_MAX).map(|account| {
        vec![
            account.user_name.clone(),
            owner(account.connection, connections),
            or_dash(account.reason),
            or_dash(account.deleted_at),
            account.id.to_string(),
        ]
    });
    text.table(&["USER NAME", "CONNECTION", "REASON", "DELETED", "ID"], rows)?;
    if chosen.len() > LISTED_MAX {
        text.line(format!("… and {} more; --json lists them all.", chosen.len() - LISTED_MAX))?;
    }
    Ok(())
}
