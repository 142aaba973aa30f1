//! What it costs to add a member to a group and take it out again, by the size of the group.
//!
//! `cargo bench --bench membership`. One round is two PATCH requests through the whole server, on
//! SQLite with every commit on disk; the answer leaves the members out.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use axum::body::Body;
use axum::http::Request;
use divan::Bencher;
use scimd::clock::{Clock, Ids};
use scimd::directory::{ConnectionKind, ConnectionStatus};
use scimd::http::{App, Settings, service};
use scimd::keys::NewKey;
use scimd::provision::setup::NewConnection;
use scimd::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// The members that one request adds while a group is filled.
const BATCH: usize = 1000;

fn main() {
    divan::main();
}

#[divan::bench(args = [10, 1_000, 10_000, 50_000], sample_count = 50)]
fn add_and_remove_one_member(bencher: Bencher<'_, '_>, size: usize) {
    let runtime = Runtime::new().expect("a runtime starts");
    let bench = runtime.block_on(Bench::new());
    let (group, ann) = runtime.block_on(bench.group_of(size));
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{ann}\"]") }]);
    bencher.bench_local(|| {
        runtime.block_on(async {
            bench.patch(&group, &add).await;
            bench.patch(&group, &remove).await;
        });
    });
}

struct Bench {
    app: App,
    token: String,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("scimd.db").display());
        let store = Store::open(&url, 4).await.expect("a database");
        let app = App::new(store, Clock::system(), Ids, Settings::default()).await.expect("an app");
        let author = app.provision.operator();
        let tenant = app.provision.create_tenant("Bench").await.expect("a tenant");
        let instance =
            app.provision.create_instance(&author, &tenant, "Bench").await.expect("an instance");
        let new = NewConnection {
            kind: ConnectionKind::Scim,
            name: "bench".to_owned(),
            profile: None,
            status: ConnectionStatus::Enabled,
        };
        let connection =
            app.provision.create_connection(&author, instance.id, new).await.expect("a connection");
        let new = NewKey {
            instance: instance.id,
            connection: Some(connection.id),
            name: "bench".to_owned(),
            expires_at: None,
        };
        let mut tx = app.provision.store.begin().await.expect("a transaction");
        let issued = app.keyring.issue(&mut tx, &author, new).await.expect("a key");
        tx.commit().await.expect("a commit");
        Self { app, token: issued.token, _folder: folder }
    }

    /// A group with `size` members, and somebody who is none of them.
    async fn group_of(&self, size: usize) -> (String, String) {
        let mut users = Vec::with_capacity(size + 1);
        for number in 0..=size {
            let user = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "userName": format!("user{number}"),
            });
            users.push(id(&self.send("POST", "/Users", &user).await));
        }
        let ann = users.pop().unwrap_or_default();
        let group = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "bench",
        });
        let group = id(&self.send("POST", "/Groups", &group).await);
        for some in users.chunks(BATCH) {
            let value: Vec<Value> = some.iter().map(|id| json!({ "value": id })).collect();
            self.patch(&group, &json!([{ "op": "add", "path": "members", "value": value }])).await;
        }
        (group, ann)
    }

    async fn patch(&self, group: &str, operations: &Value) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.send("PATCH", &format!("/Groups/{group}?excludedAttributes=members"), &body).await;
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("/scim/v2{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = service(self.app.clone()).oneshot(request).await.expect("an answer");
        assert!(response.status().is_success(), "{method} {path}: {}", response.status());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

fn id(resource: &Value) -> String {
    resource.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}
