//! API keys: of connections, and of who reads the directory.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::args::{InstanceArg, KeyArg, KeysCommand, Span};
use super::output::{or_dash, with};
use super::scope::is_live;
use super::session::{Session, plain};
use crate::directory::{Connection, Timestamp};
use crate::keys::{Issued, NewKey};
use crate::provision::setup::checked_name;
use crate::store::keys::ApiKey;

pub(super) async fn run(session: &mut Session<'_>, command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Issue { connection, reader: _, at, name, expires_in } => {
            issue(session, connection.as_deref(), &at, name, expires_in).await
        }
        KeysCommand::List { connection, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let mut keys = session.keys(instance.id).await?;
            if let Some(wanted) = connection {
                let connection = session.connection(instance.id, &wanted).await?;
                keys.retain(|key| key.connection == Some(connection.id));
            }
            let connections = session.provision.connections(instance.id).await;
            list(session, &keys, &connections.map_err(plain)?)
        }
        KeysCommand::Revoke(wanted) => revoke(session, &wanted).await,
        KeysCommand::Rotate { key, overlap, expires_in } => {
            rotate(session, &key, overlap, expires_in).await
        }
    }
}

/// Issues a key of a connection, or without one a key that reads the directory.
async fn issue(
    session: &mut Session<'_>,
    wanted: Option<&str>,
    at: &InstanceArg,
    name: Option<String>,
    expires_in: Option<Span>,
) -> Result<()> {
    let instance = session.instance(at.instance.as_deref()).await?;
    let connection = match wanted {
        Some(wanted) => Some(session.connection(instance.id, wanted).await?),
        None => None,
    };
    let author = session.provision.operator();
    let day: String = author.at.to_string().chars().take(10).collect();
    let new = NewKey {
        instance: instance.id,
        connection: connection.as_ref().map(|connection| connection.id),
        name: checked_name(&name.unwrap_or(format!("issued {day}"))).map_err(plain)?,
        expires_at: expires_in.map(|span| author.at.plus_ms(span.ms)),
    };
    let keyring = session.keyring().await?;
    let mut tx = session.provision.store.begin().await?;
    let issued = keyring.issue(&mut tx, &author, new).await?;
    tx.commit().await?;
    let whose = match connection {
        Some(connection) => format!("of connection {}", connection.name),
        None => "that reads the directory".to_owned(),
    };
    let told = format!("Key \"{}\" {whose} was issued", issued.key.name);
    show_token(session, &issued, &told, json!({}))
}

async fn rotate(
    session: &mut Session<'_>,
    wanted: &KeyArg,
    overlap: Span,
    expires_in: Option<Span>,
) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let old = session.key(instance.id, &wanted.key).await?;
    let author = session.provision.operator();
    if !is_live(&old, author.at) {
        let program = &session.program;
        let whose = old.connection.map_or("--reader".to_owned(), |id| id.to_string());
        bail!(
            "the key \"{}\" has ended, so there is nothing to rotate: issue a new one with \
             `{program} keys issue {whose}`",
            old.name
        );
    }
    let overlap_ends = author.at.plus_ms(overlap.ms);
    let expires_at = expires_in.map(|span| author.at.plus_ms(span.ms));
    let keyring = session.keyring().await?;
    let mut tx = session.provision.store.begin().await?;
    let issued = keyring.rotate(&mut tx, &author, &old, overlap_ends, expires_at).await?;
    tx.commit().await?;
    let ends = old.expires_at.map_or(overlap_ends, |expiry| expiry.min(overlap_ends));
    let told = format!(
        "The old key {} goes on until {ends}. Its successor \"{}\" was issued",
        old.id, issued.key.name
    );
    show_token(session, &issued, &told, json!({ "old": { "id": old.id, "expires_at": ends } }))
}

/// Shows a token that is durable, for the only time.
fn show_token(session: &mut Session<'_>, issued: &Issued, told: &str, json: Value) -> Result<()> {
    let now = session.provision.clock.now();
    let json =
        with(json, [("key", key_json(&issued.key, now)), ("token", issued.token.as_str().into())]);
    session.out.show(&json, |text| {
        let id = issued.key.id;
        match issued.key.expires_at {
            Some(expiry) => text.line(format!("{told} ({id}); it ends on {expiry}."))?,
            None => text.line(format!("{told} ({id}); it does not end by itself."))?,
        }
        text.line("This is the token. It is not shown again:")?;
        text.line("")?;
        text.line(&issued.token)
    })?;
    Ok(())
}

async fn revoke(session: &mut Session<'_>, wanted: &KeyArg) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?;
    let key = session.key(instance.id, &wanted.key).await?;
    let already = key.revoked_at;
    if already.is_none() {
        let author = session.provision.operator();
        let keyring = session.keyring().await?;
        let mut tx = session.provision.store.begin().await?;
        keyring.revoke(&mut tx, &author, &key).await?;
        tx.commit().await?;
    }
    let keys = session.keys(instance.id).await?;
    let now = session.provision.clock.now();
    let key = keys.into_iter().find(|kept| kept.id == key.id).unwrap_or(key);
    session.out.show(&json!({ "key": key_json(&key, now) }), |text| match already {
        Some(at) => text.line(format!("Key \"{}\" ({}) was revoked on {at}.", key.name, key.id)),
        None => text.line(format!("Key \"{}\" ({}) is revoked.", key.name, key.id)),
    })?;
    Ok(())
}

fn list(session: &mut Session<'_>, keys: &[ApiKey], connections: &[Connection]) -> Result<()> {
    let now = session.provision.clock.now();
    let json: Vec<_> = keys.iter().map(|key| key_json(key, now)).collect();
    session.out.show(&json!({ "keys": json }), |text| {
        let rows = keys.iter().map(|key| {
            let connection = connections.iter().find(|one| Some(one.id) == key.connection);
            let reader = key.connection.is_none().then_some("(reader)");
            vec![
                key.name.clone(),
                or_dash(connection.map(|connection| connection.name.as_str()).or(reader)),
                state(key, now).to_owned(),
                key.created_at.to_string(),
                or_dash(key.expires_at),
                or_dash(key.last_used_at),
                or_dash(key.last_used_ip.as_ref()),
                key.id.to_string(),
            ]
        });
        let header = ["NAME", "CONNECTION", "STATE", "ISSUED", "ENDS", "LAST USED", "FROM", "ID"];
        text.table(&header, rows)
    })?;
    Ok(())
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match (key.revoked_at, is_live(key, now)) {
        (Some(_), _) => "revoked",
        (None, true) => "live",
        (None, false) => "expired",
    }
}

fn key_json(key: &ApiKey, now: Timestamp) -> Value {
    let json = serde_json::to_value(key).unwrap_or_default();
    with(json, [("state", state(key, now).into())])
}
