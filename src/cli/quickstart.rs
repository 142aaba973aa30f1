//! The first five minutes: a database with two connections and their keys.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde_json::json;

use super::config::Settings;
use super::output::{Output, Text};
use super::session::{Program, plain, quoted};
use crate::clock::{Clock, Ids};
use crate::directory::{Connection, ConnectionKind, ConnectionStatus, InstanceId};
use crate::keys::{Keyring, NewKey};
use crate::provision::Provision;
use crate::provision::setup::NewConnection;
use crate::scim::fold::fold;
use crate::store::instances::Instance;
use crate::store::tenants::Tenant;
use crate::store::{self, Store};

const TENANT: &str = "Example";
const INSTANCE: &str = "production";
const CONNECTIONS: [(&str, ConnectionKind); 2] =
    [("Okta", ConnectionKind::Okta), ("Entra", ConnectionKind::Entra)];

/// A connection, and the token of its key if it was issued just now.
struct Prepared {
    connection: Connection,
    token: Option<String>,
}

/// Makes what is missing and says how to use it.
///
/// Every step looks first whether it was done before, so a start that was killed half-way is
/// finished by the next one. The keys come last and in one transaction; they are printed once that is
/// durable.
pub(super) async fn prepare(
    settings: &Settings,
    store: &Store,
    program: &Program,
    listen: SocketAddr,
    out: &mut Output,
) -> Result<()> {
    let provision = Provision::new(store.clone(), Clock::system(), Ids);
    let tenant = tenant(&provision, program).await?;
    let instance = instance(&provision, &tenant).await?;
    let connections = connections(&provision, instance.id).await?;
    let prepared = keys(&provision, instance.id, connections).await?;
    let base_url = super::base_url(settings, listen);
    let connections: Vec<_> = prepared
        .iter()
        .map(|Prepared { connection, token }| {
            json!({ "connection": connection, "base_url": base_url, "token": token })
        })
        .collect();
    let json = json!({ "tenant": tenant, "instance": instance, "connections": connections });
    out.show(&json, |text| announce(text, settings, program, &base_url, &prepared))?;
    Ok(())
}

async fn tenant(provision: &Provision, program: &Program) -> Result<Tenant> {
    let tenants = provision.tenants().await.map_err(plain)?;
    if tenants.is_empty() {
        return provision.create_tenant(TENANT).await.map_err(plain);
    }
    match tenants.into_iter().find(|tenant| fold(&tenant.name) == fold(TENANT)) {
        Some(tenant) => Ok(tenant),
        None => bail!(
            "this database has tenants of its own already, and quickstart is for trying scimd on \
             an empty one: start it with `{program} serve`"
        ),
    }
}

async fn instance(provision: &Provision, tenant: &Tenant) -> Result<Instance> {
    let instances = provision.instances().await.map_err(plain)?;
    let found = instances
        .into_iter()
        .find(|instance| instance.tenant == tenant.id && fold(&instance.name) == fold(INSTANCE));
    if let Some(instance) = found {
        return Ok(instance);
    }
    let author = provision.operator();
    let created = provision.create_instance(&author, tenant, INSTANCE);
    created.await.map_err(plain)
}

async fn connections(provision: &Provision, instance: InstanceId) -> Result<Vec<Connection>> {
    let known = provision.connections(instance).await.map_err(plain)?;
    let mut connections = Vec::new();
    for (name, kind) in CONNECTIONS {
        let found = known.iter().find(|connection| fold(&connection.name) == fold(name));
        connections.push(if let Some(connection) = found {
            connection.clone()
        } else {
            let new = NewConnection {
                kind,
                name: name.to_owned(),
                profile: None,
                status: ConnectionStatus::Enabled,
            };
            let author = provision.operator();
            let created = provision.create_connection(&author, instance, new);
            created.await.map_err(plain)?
        });
    }
    Ok(connections)
}

/// Issues a key for each connection that never had one; all of them are durable, or none.
async fn keys(
    provision: &Provision,
    instance: InstanceId,
    connections: Vec<Connection>,
) -> Result<Vec<Prepared>> {
    let Provision { store, clock, ids, .. } = provision;
    let keyring = Keyring::open(store, clock.clone(), *ids).await?;
    let author = provision.operator();
    let mut tx = store.begin().await?;
    // Two quickstarts at once must not both find no key.
    tx.serialize_on(&["scimd quickstart keys".to_owned()]).await?;
    let known = store::keys::list(&mut tx, instance).await?;
    let mut prepared = Vec::new();
    for connection in connections {
        let token = if known.iter().any(|key| key.connection == Some(connection.id)) {
            None
        } else {
            let new = NewKey {
                instance,
                connection: Some(connection.id),
                name: "quickstart".to_owned(),
                expires_at: None,
            };
            Some(keyring.issue(&mut tx, &author, new).await?.token)
        };
        prepared.push(Prepared { connection, token });
    }
    tx.commit().await?;
    Ok(prepared)
}

fn announce(
    text: &mut Text,
    settings: &Settings,
    program: &Program,
    base_url: &str,
    prepared: &[Prepared],
) -> std::io::Result<()> {
    text.line(format!("scimd keeps its data in {}.", settings.database_url))?;
    for Prepared { connection, token } in prepared {
        text.line("")?;
        text.line(format!("Connection {}", connection.name))?;
        text.line(format!("  Base URL: {base_url}"))?;
        if let Some(token) = token {
            text.line("  API key, which is not shown again:")?;
            text.line(token)?;
        } else {
            text.line(format!(
                "  API key: shown when it was issued. For another: {program} keys issue {}",
                quoted(&connection.name)
            ))?;
        }
    }
    text.line("")?;
    if let Some(token) = prepared.iter().find_map(|prepared| prepared.token.as_ref()) {
        text.line("Try it: create a user.")?;
        text.line(curl(base_url, token))?;
        text.line("")?;
    }
    text.line(format!("See who is here: {program} accounts list"))?;
    if settings.public_url.is_none() {
        text.line(
            "Okta and Entra need an https:// address that they can reach: put a proxy in front and \
             name its address with --public-url.",
        )?;
    }
    text.line("Serving; stop with Ctrl-C.")
}

fn curl(base_url: &str, token: &str) -> String {
    let user = json!({
        "schemas": [scim_v2::schema_urns::USER],
        "userName": "ada@example.com",
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@example.com", "type": "work", "primary": true }],
    });
    format!(
        "curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/scim+json' -d \
         '{user}' {base_url}/Users"
    )
}
