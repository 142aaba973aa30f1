//! The front door for identity providers: HTTP in, use cases called, SCIM out.
//!
//! Handlers parse, call [`provision`](crate::provision) and print. Every answer, rejections included,
//! is SCIM JSON; the extractors in `http::extract` see to that.

mod answer;
mod bulk;
mod directory;
mod discovery;
mod extract;
mod fair;
mod health;
mod origin;
mod people;
mod pull;
mod request;
mod requests;
mod resources;
mod serve;
mod sheet;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use ipnet::IpNet;
use tower::Layer as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};

use crate::clock::{Clock, Ids};
use crate::keys::Keyring;
use crate::provision::{Groups, Provision, Users};
use crate::scim::discovery::{BULK_BYTES_MAX, SCIM_PATH};
use crate::store::{Store, StoreError};

pub use directory::openapi::document as directory_description;
pub use fair::{Fair, Place, REQUESTS_RUNNING_DEFAULT, REQUESTS_WAITING_DEFAULT};
pub use requests::{
    REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX, REQUESTS_KEPT_PER_SECOND_MAX, REQUESTS_QUEUE_BYTES_MAX,
    REQUESTS_QUEUE_MAX, Waiting,
};
pub use serve::{Farewell, Leaving, Stopped, serve};

/// What an administrator can set about the front door.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address under which clients reach the server, without a path; taken from each request if
    /// it is not set.
    pub public_url: Option<String>,
    /// The proxies whose `X-Forwarded-…` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The bytes of a request body at most.
    pub body_bytes_max: usize,
    /// How long a request may take, its body included.
    pub request_timeout: Duration,
    /// The requests of instances that are worked on at once at most; others wait for their turn.
    pub requests_running_max: usize,
    /// The requests of one instance that wait at most; what comes beyond is answered 429.
    pub requests_waiting_max: usize,
    /// The exchanges that wait to be kept in the request log at most; what comes beyond is counted.
    pub requests_queue_max: usize,
    /// The bytes of them at most.
    pub requests_queue_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            trusted_proxies: Vec::new(),
            body_bytes_max: 16 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            requests_running_max: REQUESTS_RUNNING_DEFAULT,
            requests_waiting_max: REQUESTS_WAITING_DEFAULT,
            requests_queue_max: REQUESTS_QUEUE_MAX,
            requests_queue_bytes_max: REQUESTS_QUEUE_BYTES_MAX,
        }
    }
}

impl Settings {
    /// The bytes of a bulk request at most: what [`Settings::body_bytes_max`] allows, bounded once more
    /// because its operations are in memory together.
    #[must_use]
    pub fn bulk_bytes_max(&self) -> usize {
        self.body_bytes_max.min(BULK_BYTES_MAX)
    }
}

/// What every handler shares; each clone is the same.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an application is made of.
pub struct Parts {
    /// The use cases.
    pub provision: Provision,
    /// The keys.
    pub keyring: Keyring,
    /// The settings.
    pub settings: Settings,
    /// The exchanges that wait to be kept in the request log.
    pub requests: Waiting,
    /// Whether the server was asked to stop.
    pub leaving: Leaving,
    /// The places in the work, which instances share.
    pub fair: Fair,
}

impl App {
    /// An application on a database.
    pub async fn new(
        store: Store,
        clock: Clock,
        ids: Ids,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let keyring = Keyring::open(&store, clock.clone(), ids).await?;
        let provision = Provision::new(store, clock, ids);
        let requests = Waiting::new(settings.requests_queue_max, settings.requests_queue_bytes_max);
        let fair = Fair::new(settings.requests_running_max, settings.requests_waiting_max);
        let leaving = Leaving::default();
        Ok(Self(Arc::new(Parts { provision, keyring, settings, requests, leaving, fair })))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Everything the server answers to, as a service without a socket. A trailing slash is ignored.
#[must_use]
pub fn service(app: App) -> NormalizePath<Router> {
    NormalizePathLayer::trim_trailing_slash().layer(router(app))
}

fn router(app: App) -> Router {
    let no = discovery::not_offered;
    let not_offered = get(no).post(no).put(no).patch(no).delete(no);
    let scim = Router::new()
        .merge(resources::routes::<Users>())
        .merge(resources::routes::<Groups>())
        .merge(people::routes())
        .route("/ServiceProviderConfig", get(discovery::service_provider_config))
        .route("/ResourceTypes", get(discovery::resource_types))
        .route("/ResourceTypes/{name}", get(discovery::resource_type))
        .route("/Schemas", get(discovery::schemas))
        .route("/Schemas/{urn}", get(discovery::schema))
        .route("/Me", not_offered)
        .route("/Bulk", post(bulk::bulk))
        .route("/", get(resources::list_all))
        .route("/.search", post(resources::search_all));
    Router::new()
        .nest(SCIM_PATH, scim)
        .nest(pull::PULL_PATH, pull::routes())
        .nest(directory::DIRECTORY_PATH, directory::routes())
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(discovery::openapi))
        .fallback(answer::no_such_endpoint)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), request::watch))
        .with_state(app)
}

/// The request as the handlers see it: what [`request::watch`] found out about it.
fn context(request: &axum::http::Extensions) -> request::Context {
    request.get::<request::Context>().cloned().unwrap_or_default()
}
