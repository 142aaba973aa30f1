//! The floor for HTTP: a bare handler, loaded by the same client with the same requests.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::client::Target;
use super::super::people::{self, Population};
use super::super::report::Row;
use super::super::server::Server;
use super::super::workloads::{Plan, Workload};
use super::super::world::{Known, World};

/// The people that the client believes to be there.
const PEOPLE: u64 = 10_000;

/// The name of the floor of requests that read.
pub(crate) const GET: &str = "floor-http-get";

/// The name of the floor of requests that create.
pub(crate) const POST: &str = "floor-http-post";

const STATUS: &str = "urn:ietf:params:scim:schemas:extension:scimd:2.0:User";

/// Measures those of these workloads, which read or create.
pub(crate) async fn measure(plan: &Plan, workloads: &[Workload]) -> Result<Vec<Row>> {
    let folder = tempfile::TempDir::new().context("a folder for the log")?;
    let server = Server::floor(folder.path()).await?;
    let target = Arc::new(Target::new(&format!("http://{}/scim/v2", server.listen), "none")?);
    let population = Population { prefix: "floor".to_owned(), managers: false };
    let mut world = World::new("floor");
    world.people = (0..PEOPLE).map(|number| Known { number, id: user_id(number) }).collect();
    let mut rows = Vec::new();
    for workload in workloads {
        let meter = Some(&server.meter);
        let mut row = workload.run(&target, &mut world, &population, plan, meter).await?;
        let name = if matches!(workload, Workload::Create) { POST } else { GET };
        name.clone_into(&mut row.name);
        rows.push(row);
    }
    server.stop().await?;
    Ok(rows)
}

/// Serves on this port of 127.0.0.1 until it is killed: every GET is answered with the same user, every
/// POST with what was sent.
pub(crate) async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("the port")?;
    let listen = listener.local_addr().context("the port")?.to_string();
    let user = user();
    let read = move || async move { (headers(), user) };
    let create = |body: Bytes| async move {
        let mut headers = headers();
        headers.insert(header::LOCATION, HeaderValue::from_static("/scim/v2/Users/0"));
        (StatusCode::CREATED, headers, body)
    };
    let router = Router::new().fallback_service(get(read).post(create));
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    eprintln!("{}", json!({ "listen": listen }));
    axum::serve(listener, router).await.context("the floor")
}

fn headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/scim+json");
    HeaderMap::from_iter([(header::CONTENT_TYPE, json)])
}

/// A user as scimd answers one, of the same size to a few bytes.
fn user() -> Bytes {
    let population = Population { prefix: "floor".to_owned(), managers: false };
    let mut user = population.person(1000);
    let id = user_id(1000);
    people::set(&mut user, "id", id.to_string());
    if let Some(Value::Array(schemas)) = user.get_mut("schemas") {
        schemas.push(json!(STATUS));
    }
    if let Some(user) = user.as_object_mut() {
        let status = json!({ "status": "active", "directoryKey": "scim-1f6a90c00de3" });
        user.insert(STATUS.to_owned(), status);
        let meta = json!({
            "resourceType": "User",
            "created": "2026-11-22T03:40:37.479Z",
            "lastModified": "2026-11-22T03:40:37.479Z",
            "location": format!("http://127.0.0.1:19321/scim/v2/Users/{id}"),
            "version": "W/\"1\"",
        });
        user.insert("meta".to_owned(), meta);
    }
    Bytes::from(user.to_string())
}

fn user_id(number: u64) -> Box<str> {
    format!("01a20157-70e7-72a1-87b1-{number:012}").into()
}
