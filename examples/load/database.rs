//! A database of its own for each run, and the instances on it.

use anyhow::{Context as _, Result};
use scimd::clock::{Clock, Ids};
use scimd::directory::push_guard::PushGuard;
use scimd::directory::{ConnectionId, ConnectionKind, ConnectionStatus, InstanceId, KeyId};
use scimd::keys::{Keyring, NewKey};
use scimd::provision::Provision;
use scimd::provision::settings::SettingsChange;
use scimd::provision::setup::NewConnection;
use scimd::store::Store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// A database that is gone after the run.
pub(crate) struct Database {
    /// Its address, which another process can use too.
    pub(crate) url: String,
    /// A folder: of the database if it is SQLite, and for what its server keeps.
    pub(crate) folder: TempDir,
    schema: Option<Schema>,
}

struct Schema {
    server: String,
    name: String,
}

/// An instance with one connection, whose guard is off: workloads suspend and remove by the thousand.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The instance.
    pub(crate) instance: InstanceId,
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// The id of the key.
    pub(crate) key: KeyId,
    /// The key itself.
    pub(crate) token: String,
}

impl Database {
    /// Makes one: `sqlite` for a file in the folder for temporary files, or the URL of a PostgreSQL
    /// database, in which it becomes a schema.
    pub(crate) async fn create(kind: &str) -> Result<Self> {
        let folder = TempDir::new().context("a folder for the database")?;
        if kind == "sqlite" {
            let url = format!("sqlite://{}", folder.path().join("scimd.db").display());
            return Ok(Self { url, folder, schema: None });
        }
        let name = format!("load_{}", Ids.fresh().simple());
        run(kind, format!("CREATE SCHEMA {name}")).await?;
        let glue = if kind.contains('?') { '&' } else { '?' };
        let url = format!("{kind}{glue}options=-csearch_path%3D{name}");
        Ok(Self { url, folder, schema: Some(Schema { server: kind.to_owned(), name }) })
    }

    /// Whether it is PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    /// Makes so many instances, with the schema of scimd, before a server runs on it.
    pub(crate) async fn set_up(&self, instances: usize) -> Result<Vec<Access>> {
        let store = Store::open(&self.url, 2).await.context("the database")?;
        let provision = Provision::new(store.clone(), Clock::system(), Ids);
        let keyring = Keyring::open(&store, provision.clock.clone(), Ids).await?;
        let mut all = Vec::new();
        for number in 0..instances {
            let name = format!("Load {number}");
            all.push(set_up(&provision, &keyring, &name).await.with_context(|| name.clone())?);
        }
        store.close().await;
        Ok(all)
    }

    /// Has PostgreSQL look at what was filled in, as its autovacuum does within a minute: until then it
    /// plans as if the tables were empty.
    pub(crate) async fn learn(&self) -> Result<()> {
        if !self.is_postgres() {
            return Ok(());
        }
        let tables = "accounts, account_emails, groups, memberships, audit_events";
        run(&self.url, format!("ANALYZE {tables}")).await
    }

    /// Removes what a folder does not take with it.
    pub(crate) async fn remove(self) -> Result<()> {
        let Some(Schema { server, name }) = self.schema else { return Ok(()) };
        run(&server, format!("DROP SCHEMA {name} CASCADE")).await
    }
}

async fn run(server: &str, sql: String) -> Result<()> {
    let mut link = PgConnection::connect(server).await.context("PostgreSQL")?;
    link.execute(AssertSqlSafe(sql)).await.context("the schema of the run")?;
    link.close().await.context("PostgreSQL")
}

async fn set_up(provision: &Provision, keyring: &Keyring, name: &str) -> Result<Access> {
    let author = provision.operator();
    let tenant = provision.create_tenant(name).await?;
    let instance = provision.create_instance(&author, &tenant, "production").await?.id;
    let new = NewConnection {
        kind: ConnectionKind::Scim,
        name: "Push".to_owned(),
        profile: None,
        status: ConnectionStatus::Enabled,
    };
    let connection = provision.create_connection(&author, instance, new).await?;
    let guard = Some(PushGuard { on: false, ..PushGuard::default() });
    let change = SettingsChange { guard, ..SettingsChange::default() };
    provision.set_connection_settings(&author, &connection, change).await?;
    let new = NewKey {
        instance,
        connection: Some(connection.id),
        name: "load".to_owned(),
        expires_at: None,
    };
    let mut tx = provision.store.begin().await?;
    let issued = keyring.issue(&mut tx, &author, new).await?;
    tx.commit().await?;
    Ok(Access { instance, connection: connection.id, key: issued.key.id, token: issued.token })
}
