//! An application on a database, with an instance and its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use scimd::clock::{Clock, Ids};
use scimd::directory::{Connection, ConnectionKind, ConnectionStatus, InstanceId, Timestamp};
use scimd::http::{App, Farewell, Settings};
use scimd::keys::NewKey;
use scimd::provision::setup::NewConnection;
use scimd::store::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Client, Database};

/// A fresh instance with a clock that stands still until it is moved.
pub(crate) struct TestInstance {
    pub(crate) app: App,
    pub(crate) id: InstanceId,
    now: Arc<AtomicI64>,
}

impl TestInstance {
    /// The first instance on a database.
    pub(crate) async fn on(database: &Database) -> Self {
        Self::with(database, Settings::default()).await
    }

    pub(crate) async fn with(database: &Database, settings: Settings) -> Self {
        Self::over(database.open().await, settings).await
    }

    /// On a database that is open already.
    pub(crate) async fn over(store: Store, settings: Settings) -> Self {
        let now = Arc::new(AtomicI64::new(1_800_000_000_000));
        let ticks = Arc::clone(&now);
        let clock = Clock::from_fn(move || Timestamp(ticks.load(Ordering::SeqCst)));
        let app = App::new(store, clock, Ids, settings).await.unwrap();
        let tenant = app.provision.create_tenant("Example").await.unwrap();
        let author = app.provision.operator();
        let instance = app.provision.create_instance(&author, &tenant, "Intranet").await.unwrap();
        Self { app, id: instance.id, now }
    }

    /// Another instance on the same database, of another tenant.
    pub(crate) async fn neighbour(&self) -> Self {
        self.named("Neighbour").await
    }

    /// Another instance on the same database, of a tenant of this name.
    pub(crate) async fn named(&self, tenant: &str) -> Self {
        let tenant = self.app.provision.create_tenant(tenant).await.unwrap();
        let author = self.app.provision.operator();
        let instance =
            self.app.provision.create_instance(&author, &tenant, "Intranet").await.unwrap();
        Self { app: self.app.clone(), id: instance.id, now: Arc::clone(&self.now) }
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) async fn connection(&self, kind: ConnectionKind, name: &str) -> Connection {
        let new = NewConnection {
            kind,
            name: name.to_owned(),
            profile: None,
            status: ConnectionStatus::Enabled,
        };
        let author = self.app.provision.operator();
        self.app.provision.create_connection(&author, self.id, new).await.unwrap()
    }

    /// A token of a connection.
    pub(crate) async fn token(&self, connection: &Connection) -> String {
        let new = NewKey {
            instance: self.id,
            connection: Some(connection.id),
            name: "test".to_owned(),
            expires_at: None,
        };
        let mut tx = self.app.provision.store.begin().await.unwrap();
        let author = self.app.provision.operator();
        let issued = self.app.keyring.issue(&mut tx, &author, new).await.unwrap();
        tx.commit().await.unwrap();
        issued.token
    }

    /// A client with a connection and a key of its own.
    pub(crate) async fn client(&self, kind: ConnectionKind) -> Client {
        let connection = self.connection(kind, &format!("{kind} test")).await;
        Client { app: self.app.clone(), token: self.token(&connection).await }
    }

    pub(crate) async fn okta(&self) -> Client {
        self.client(ConnectionKind::Okta).await
    }

    pub(crate) async fn entra(&self) -> Client {
        self.client(ConnectionKind::Entra).await
    }
}

/// An application behind a real socket.
pub(crate) struct TestServer {
    pub(crate) base: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start(app: App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let farewell = Farewell { grace: Duration::from_secs(5), ..Farewell::default() };
            scimd::http::serve(app, listener, stopped, farewell).await.unwrap();
        });
        Self { base, stop, running }
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap();
    }
}
