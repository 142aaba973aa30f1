//! Accounts: the people of an instance.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use scim_v2::schema_urns;
use serde_json::{Map, Value, json};

use super::acts;
use super::args::{AccountArg, AccountsCommand, PageArgs, Person};
use super::migrate;
use super::output::{Text, or_dash, with};
use super::retention;
use super::session::{Session, plain};
use crate::directory::hand::Act;
use crate::directory::mapping::Effective;
use crate::directory::{Account, Alias, Connection, ConnectionId, InstanceId};
use crate::provision::{Resource as _, Users};
use crate::scim::extension::hide;
use crate::scim::habits::Habits;
use crate::store::memberships::Belonging;
use crate::store::query::Narrow;

/// What stands in place of a connection where there is none.
pub(super) const LOCAL: &str = "Local";

/// No restriction.
pub(super) const ALL: Narrow = Narrow::All(Vec::new());

pub(super) async fn run(session: &mut Session<'_>, command: AccountsCommand) -> Result<()> {
    match command {
        AccountsCommand::List { incomplete, protected, page, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let parts = [(incomplete, Narrow::Incomplete), (protected, Narrow::Protected)];
            let parts = parts.into_iter().filter(|(wanted, _)| *wanted).map(|(_, part)| part);
            list(session, instance.id, &Narrow::All(parts.collect()), &page).await
        }
        AccountsCommand::Protect(wanted) => set_protected(session, &wanted, true).await,
        AccountsCommand::Unprotect(wanted) => set_protected(session, &wanted, false).await,
        AccountsCommand::Show { account, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            show(session, instance.id, &account).await
        }
        AccountsCommand::Why(wanted) => acts::why(session, &wanted).await,
        AccountsCommand::Reports(wanted) => acts::reports(session, &wanted).await,
        AccountsCommand::Managers(wanted) => acts::managers(session, &wanted).await,
        AccountsCommand::Unlinked { at } => acts::unlinked(session, &at).await,
        AccountsCommand::Hold(wanted) => acts::act(session, Act::Hold, &wanted).await,
        AccountsCommand::Release(wanted) => acts::act(session, Act::Release, &wanted).await,
        AccountsCommand::Suspend(wanted) => acts::act(session, Act::Suspend, &wanted).await,
        AccountsCommand::Reactivate(wanted) => acts::act(session, Act::Reactivate, &wanted).await,
        AccountsCommand::Delete(wanted) => acts::act(session, Act::Delete, &wanted).await,
        AccountsCommand::Restore(wanted) => acts::act(session, Act::Restore, &wanted).await,
        AccountsCommand::Migrate(wanted) => migrate::migrate(session, &wanted).await,
        AccountsCommand::Export(wanted) => migrate::export(session, &wanted).await,
        AccountsCommand::Erase(wanted) => retention::erase(session, &wanted).await,
        AccountsCommand::Purge(wanted) => retention::purge(session, &wanted).await,
        AccountsCommand::MakeLocal(wanted) => acts::act(session, Act::MakeLocal, &wanted).await,
        AccountsCommand::Create { person, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let schemas = session.provision.current_schemas(instance.id).await.map_err(plain)?;
            let document = Users::read_sent(&schemas, &Habits::LENIENT, body(person));
            let document = document.map_err(|error| plain(error.into()))?;
            let author = session.provision.operator();
            let created = session.provision.create_local_account(instance.id, &author, document);
            let account = created.await.map_err(plain)?;
            let json = json!({ "account": account_json(&account, &[]) });
            session.out.show(&json, |text| {
                let name = &account.user_name;
                text.line(format!("Local account {name} was created ({}).", account.id))
            })?;
            Ok(())
        }
        AccountsCommand::Set { account, fields, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            set(session, instance.id, &account, &fields).await
        }
    }
}

/// Writes fields of an account.
async fn set(
    session: &mut Session<'_>,
    instance: InstanceId,
    account: &str,
    fields: &[String],
) -> Result<()> {
    let mut values = BTreeMap::new();
    for field in fields {
        let (name, value) = field.split_once('=').with_context(|| {
            format!("\"{field}\" has no =: write the name of the field, = and its value")
        })?;
        values.insert(name.to_owned(), (!value.is_empty()).then(|| value.to_owned()));
    }
    let author = session.provision.operator();
    let set = session.provision.set_local_fields(&author, instance, account, &values).await;
    let (account, shown) = set.map_err(plain)?;
    let connections = session.provision.connections(instance).await.map_err(plain)?;
    let json = json!({
        "account": account_json(&account, &connections),
        "fields": fields_json(&account, &shown, &connections),
    });
    session.out.show(&json, |text| field_table(text, &account, &shown, &connections))?;
    Ok(())
}

fn fields_json(account: &Account, fields: &[Effective], connections: &[Connection]) -> Value {
    let one = |field: &Effective| {
        let owner = field.mapped.then(|| owner(account.connection, connections));
        json!({ "field": field.field, "value": field.value, "owner": owner })
    };
    fields.iter().map(one).collect()
}

/// The fields of an account, and who fills those that nobody else can.
fn field_table(
    text: &mut Text,
    account: &Account,
    fields: &[Effective],
    connections: &[Connection],
) -> std::io::Result<()> {
    let rows = fields.iter().map(|field| {
        let owner = field.mapped.then(|| owner(account.connection, connections));
        vec![field.field.clone(), or_dash(field.value.as_ref()), or_dash(owner)]
    });
    text.table(&["FIELD", "VALUE", "FILLED BY"], rows)
}

/// The person as a client would send it, so that the same checks apply.
fn body(person: Person) -> Value {
    let mut name = Map::new();
    let mut body = Map::new();
    body.insert("schemas".to_owned(), json!([schema_urns::USER]));
    body.insert("userName".to_owned(), person.user_name.into());
    if let Some(display_name) = person.display_name {
        body.insert("displayName".to_owned(), display_name.into());
    }
    for (part, value) in [("givenName", person.given_name), ("familyName", person.family_name)] {
        if let Some(value) = value {
            name.insert(part.to_owned(), value.into());
        }
    }
    if !name.is_empty() {
        body.insert("name".to_owned(), name.into());
    }
    if let Some(email) = person.email {
        let email = json!([{ "value": email, "type": "work", "primary": true }]);
        body.insert("emails".to_owned(), email);
    }
    body.into()
}

async fn set_protected(
    session: &mut Session<'_>,
    wanted: &AccountArg,
    protected: bool,
) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let (program, name) = (&session.program, &wanted.account);
    let found = session.provision.account(instance.id, name).await.map_err(plain)?;
    let (account, _) = found.with_context(|| {
        format!("there is no account \"{name}\"; `{program} accounts list` lists them")
    })?;
    let author = session.provision.operator();
    let set = session.provision.set_protected(&author, instance.id, account.id, protected);
    let account = set.await.map_err(plain)?;
    session.out.show(&json!({ "account": account_json(&account, &[]) }), |text| {
        let name = &account.user_name;
        text.line(if protected {
            format!("Account {name} is protected: no connection can change or pick it up.")
        } else {
            format!("Account {name} is no longer protected: connections may pick it up.")
        })
    })?;
    Ok(())
}

async fn list(
    session: &mut Session<'_>,
    instance: InstanceId,
    narrow: &Narrow,
    page: &PageArgs,
) -> Result<()> {
    let provision = &session.provision;
    let accounts = provision.accounts(instance, narrow, page.after, page.limit).await;
    let accounts = accounts.map_err(plain)?;
    let connections = provision.connections(instance).await.map_err(plain)?;
    let last = accounts.last().map(|account| account.id.0);
    let behind = provision.accounts(instance, narrow, last, 1).await.map_err(plain)?;
    let next = last.filter(|_| !behind.is_empty());
    let json: Vec<_> = accounts.iter().map(|account| account_json(account, &connections)).collect();
    session.out.show(&json!({ "accounts": json, "next": next }), |text| {
        let rows = accounts.iter().map(|account| {
            vec![
                account.user_name.clone(),
                or_dash(account.display_name.as_ref()),
                account.status.to_string(),
                or_dash(account.reason),
                notes(account),
                owner(account.connection, &connections),
                account.id.to_string(),
            ]
        });
        let header = ["USER NAME", "DISPLAY NAME", "STATUS", "REASON", "NOTES", "CONNECTION", "ID"];
        text.table(&header, rows)?;
        next.map_or(Ok(()), |next| text.line(more(next)))
    })?;
    Ok(())
}

/// What else is to be known of an account in a list.
fn notes(account: &Account) -> String {
    let missing = (!account.missing.is_empty())
        .then(|| format!("incomplete: {}", account.missing.join(", ")));
    let protected = account.protected.then(|| "protected".to_owned());
    let notes: Vec<String> = [protected, missing].into_iter().flatten().collect();
    if notes.is_empty() { "-".to_owned() } else { notes.join("; ") }
}

/// How to get the next page.
pub(super) fn more(next: uuid::Uuid) -> String {
    format!("There are more: add --after {next} for the next page.")
}

async fn show(session: &mut Session<'_>, instance: InstanceId, wanted: &str) -> Result<()> {
    let program = &session.program;
    let provision = &session.provision;
    let mut found = provision.account(instance, wanted).await.map_err(plain)?;
    let mut formerly = false;
    if found.is_none()
        && let Some(former) = provision.account_formerly(instance, wanted).await.map_err(plain)?
    {
        found = provision.account(instance, &former.id.to_string()).await.map_err(plain)?;
        formerly = true;
    }
    let (mut account, groups) = found.with_context(|| {
        format!("there is no account \"{wanted}\"; `{program} accounts list` lists them")
    })?;
    let aliases = provision.aliases(instance, account.id).await.map_err(plain)?;
    let schemas = provision.current_schemas(instance).await.map_err(plain)?;
    hide(&schemas.user, &mut account.document);
    let connections = provision.connections(instance).await.map_err(plain)?;
    let manager = match account.manager.account {
        Some(id) => provision.account(instance, &id.to_string()).await.map_err(plain)?,
        None => None,
    };
    let manager = manager.map(|(manager, _)| manager);
    let link = json!({
        "sent": account.manager.sent,
        "id": account.manager.account,
        "user_name": manager.as_ref().map(|manager| &manager.user_name),
    });
    let shown = provision.directory_fields(instance, &account).await.map_err(plain)?;
    let belongs =
        groups.iter().map(|group| json!({ "id": group.group, "display_name": group.display }));
    let json = with(
        account_json(&account, &connections),
        [
            ("manager", link),
            ("groups", belongs.collect()),
            ("fields", fields_json(&account, &shown, &connections)),
            ("former_names", json!(aliases)),
            ("document", account.document.clone().into()),
        ],
    );
    session.out.show(&json!({ "account": json, "found_by_former_name": formerly }), |text| {
        if formerly {
            let name = &account.user_name;
            text.line(format!("\"{wanted}\" is a former name of \"{name}\"."))?;
            text.line("")?;
        }
        text.fields(&fields(&account, &groups, &connections, manager.as_ref()))?;
        text.line("")?;
        field_table(text, &account, &shown, &connections)?;
        text.line("")?;
        if !aliases.is_empty() {
            former_names(text, &aliases)?;
            text.line("")?;
        }
        text.line("What its source said:")?;
        text.json(&Value::Object(account.document.clone()))
    })?;
    Ok(())
}

/// The names that an account had before, the latest first.
fn former_names(text: &mut Text, aliases: &[Alias]) -> std::io::Result<()> {
    let rows = aliases.iter().map(|alias| {
        vec![alias.name.clone(), alias.since_at.to_string(), alias.until_at.to_string()]
    });
    text.table(&["FORMER NAME", "SINCE", "UNTIL"], rows)
}

fn fields(
    account: &Account,
    groups: &[Belonging],
    connections: &[Connection],
    manager: Option<&Account>,
) -> [(&'static str, String); 13] {
    let status = match account.reason {
        Some(reason) => format!("{}: {reason}", account.status),
        None => account.status.to_string(),
    };
    let manager = match (&account.manager.sent, manager) {
        (None, _) => "-".to_owned(),
        (Some(sent), Some(manager)) => format!("{} (sent as {sent})", manager.user_name),
        (Some(sent), None) => {
            format!("waiting for {sent}: {}", acts::waits(account.manager.waits))
        }
    };
    let groups = groups.iter().map(|group| group.display.as_str()).collect::<Vec<_>>();
    let groups = if groups.is_empty() { "-".to_owned() } else { groups.join(", ") };
    [
        ("user name", account.user_name.clone()),
        ("display name", or_dash(account.display_name.as_ref())),
        ("status", status),
        ("notes", notes(account)),
        ("connection", owner(account.connection, connections)),
        ("external id", or_dash(account.external_id.as_ref())),
        ("employee number", or_dash(account.employee_number.as_ref())),
        ("manager", manager),
        ("groups", groups),
        ("id", account.id.to_string()),
        ("version", account.version.to_string()),
        ("created", account.created_at.to_string()),
        ("modified", account.modified_at.to_string()),
    ]
}

/// The name of the connection that owns something.
pub(super) fn owner(owner: Option<ConnectionId>, connections: &[Connection]) -> String {
    let Some(id) = owner else {
        return LOCAL.to_owned();
    };
    let connection = connections.iter().find(|connection| connection.id == id);
    connection.map_or_else(|| id.to_string(), |connection| connection.name.clone())
}

fn account_json(account: &Account, connections: &[Connection]) -> Value {
    json!({
        "id": account.id,
        "user_name": account.user_name,
        "display_name": account.display_name,
        "external_id": account.external_id,
        "employee_number": account.employee_number,
        "status": account.status,
        "reason": account.reason,
        "active": account.active,
        "protected": account.protected,
        "missing": account.missing,
        "connection": account.connection.map(|id| owner(Some(id), connections)),
        "connection_id": account.connection,
        "version": account.version,
        "created_at": account.created_at,
        "modified_at": account.modified_at,
    })
}
