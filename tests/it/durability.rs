//! What was acknowledged is there, whatever happened to the process, the disk or the database; what was
//! not acknowledged is there whole or not at all.

use std::sync::Arc;

use scimd::directory::ConnectionKind;
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

use super::support::process::Process;
use super::support::proxy::Cable;
use super::support::{Database, TestInstance, assert_refused, both};

/// How often the server is killed.
const KILLS: usize = 20;

/// The clients that create users while it is.
const CLIENTS: usize = 4;

both! {
    async fn a_killed_server_loses_nothing_it_acknowledged(database) {
        let token = token(&database).await;
        let mut acknowledged: Vec<(String, String)> = Vec::new();
        for round in 0..KILLS {
            let server = Process::serve(&database).await;
            for (id, name) in &acknowledged {
                assert_eq!(read(&server.base, &token, id).await["userName"], json!(name), "round {round}");
            }
            acknowledged.clear();
            let (tell, mut told) = mpsc::unbounded_channel();
            let mut clients = JoinSet::new();
            for client in 0..CLIENTS {
                let (base, token, tell) = (server.base.clone(), token.clone(), tell.clone());
                clients.spawn(async move {
                    for number in 0.. {
                        let name = format!("user{round}-{client}-{number}@example.com");
                        let Some(id) = create(&base, &token, &name).await else { return };
                        if tell.send((id, name)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(tell);
            // A different moment in each round.
            for _ in 0..=(7 * round % 40) {
                acknowledged.extend(told.recv().await);
            }
            server.kill().await;
            clients.join_all().await;
            while let Ok(one) = told.try_recv() {
                acknowledged.push(one);
            }
            assert!(!acknowledged.is_empty());
        }
        let server = Process::serve(&database).await;
        for (id, name) in &acknowledged {
            assert_eq!(read(&server.base, &token, id).await["userName"], json!(name));
        }
        server.kill().await;
        assert_eq!(half_written(&database).await, 0);
    }

    /// Two processes, one name: one of all clients gets it.
    async fn one_of_many_clients_of_two_servers_gets_a_name(database) {
        let token = token(&database).await;
        let servers = [Process::serve(&database).await, Process::serve(&database).await];
        for round in 0..20 {
            let barrier = Arc::new(Barrier::new(8));
            let mut clients = JoinSet::new();
            for client in 0..8 {
                let (base, token) = (servers[client % 2].base.clone(), token.clone());
                let barrier = Arc::clone(&barrier);
                clients.spawn(async move {
                    // The race is about the name in any case.
                    let name = if client < 4 { "race" } else { "RACE" };
                    let user = user(&format!("{name}{round}@example.com"));
                    barrier.wait().await;
                    let answer = post(&base, &token, &user).await.unwrap();
                    let status = answer.status().as_u16();
                    let body: Value = answer.json().await.unwrap();
                    assert!(status == 201 || body["scimType"] == json!("uniqueness"), "{body}");
                    status
                });
            }
            let mut statuses = clients.join_all().await;
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "round {round}");
        }
        for server in servers {
            server.kill().await;
        }
    }

    async fn a_client_that_hangs_up_half_way_leaves_nothing(database) {
        let token = token(&database).await;
        let server = Process::serve(&database).await;
        let body = user("half@example.com").to_string();
        let host = server.base.trim_start_matches("http://").trim_end_matches("/scim/v2");
        for sent in [0, 1, body.len() / 2, body.len() - 1] {
            let mut link = TcpStream::connect(host).await.unwrap();
            let head = format!(
                "POST /scim/v2/Users HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            link.write_all(head.as_bytes()).await.unwrap();
            link.write_all(&body.as_bytes()[..sent]).await.unwrap();
            link.shutdown().await.unwrap();
        }
        let found = get(&server.base, &token, "/Users?filter=userName%20eq%20%22half@example.com%22").await;
        assert_eq!(found["totalResults"], json!(0));
        assert!(create(&server.base, &token, "half@example.com").await.is_some());
        server.kill().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_healed_without_a_restart() {
    let database = Database::sqlite();
    let token = token(&database).await;
    let server = Process::serve(&database).await;
    assert!(create(&server.base, &token, "before@example.com").await.is_some());
    // No file of the server may grow any more: the disk is full as far as it can tell.
    server.limit_files(Some(64 * 1024)).await;
    let mut created = Vec::new();
    let refused = loop {
        let name = format!("user{}@example.com", created.len());
        let answer = post(&server.base, &token, &user(&name)).await.unwrap();
        if answer.status() != 201 {
            break answer;
        }
        created.push(name);
        assert!(created.len() < 10_000, "the limit was never met");
    };
    assert_eq!(refused.status(), 503);
    let seconds = refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap();
    assert!((1..=60).contains(&seconds));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["status"], json!("503"));
    assert!(body["detail"].as_str().unwrap().contains("full"), "{body}");
    // Reading goes on, and what was refused is not there.
    let all = get(&server.base, &token, "/Users?count=0").await;
    assert_eq!(all["totalResults"], json!(created.len() + 1));
    server.limit_files(None).await;
    let refused = format!("user{}@example.com", created.len());
    assert!(create(&server.base, &token, &refused).await.is_some());
    server.kill().await;
    let server = Process::serve(&database).await;
    let all = get(&server.base, &token, "/Users?count=0").await;
    assert_eq!(all["totalResults"], json!(created.len() + 2));
    server.kill().await;
    assert_eq!(half_written(&database).await, 0);
}

#[tokio::test]
async fn a_lost_database_is_said_and_found_again_without_a_restart() {
    let Some(mut database) = Database::postgres().await else {
        return;
    };
    let direct = database.url.clone();
    let (scheme, rest) = direct.split_once('@').unwrap();
    let (server, path) = rest.split_once('/').unwrap();
    let cable = Cable::to(server.to_owned()).await;
    database.url = format!("{scheme}@{}/{path}", cable.address);
    let test = TestInstance::on(&database).await;
    let okta = test.okta().await;
    okta.user("before@example.com").await;
    cable.cut();
    let body = user("during@example.com");
    let refused = okta.post("/Users", body.clone()).await;
    let detail = assert_refused(&refused, 503, "");
    assert!(detail.contains("database") && detail.contains("request"), "{detail}");
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    let ready = axum::http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
    assert_eq!(okta.call(ready).await.status, 503);
    cable.mend();
    assert_eq!(okta.post("/Users", body).await.status, 201);
    assert_eq!(okta.get("/Users").await.at("/totalResults"), json!(2));
}

/// An instance with a connection, made by another process; its token.
async fn token(database: &Database) -> String {
    let test = TestInstance::on(database).await;
    let connection = test.connection(ConnectionKind::Okta, "Okta").await;
    let token = test.token(&connection).await;
    test.app.provision.store.close().await;
    token
}

fn user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "emails": [{ "value": name, "type": "work", "primary": true }],
    })
}

async fn post(base: &str, token: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
    let request = reqwest::Client::new().post(format!("{base}/Users")).bearer_auth(token);
    request.json(body).send().await
}

/// Creates a user; `None` if no acknowledgement came.
async fn create(base: &str, token: &str, name: &str) -> Option<String> {
    let answer = post(base, token, &user(name)).await.ok()?;
    assert_eq!(answer.status(), 201);
    let body: Value = answer.json().await.ok()?;
    Some(body["id"].as_str().unwrap().to_owned())
}

async fn read(base: &str, token: &str, id: &str) -> Value {
    get(base, token, &format!("/Users/{id}")).await
}

async fn get(base: &str, token: &str, path: &str) -> Value {
    let request = reqwest::Client::new().get(format!("{base}{path}")).bearer_auth(token);
    request.send().await.unwrap().json().await.unwrap()
}

/// The accounts without their indexed address or without their audit row, and the other way round.
async fn half_written(database: &Database) -> i64 {
    let query = "SELECT (SELECT COUNT(*) FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM account_emails e \
                 WHERE e.instance_id = a.instance_id AND e.account_id = a.id)) + (SELECT COUNT(*) FROM \
                 accounts a WHERE NOT EXISTS (SELECT 1 FROM audit_events v WHERE v.target_id = a.id)) + \
                 (SELECT COUNT(*) FROM audit_events v WHERE v.target_kind = 'account' AND NOT EXISTS \
                 (SELECT 1 FROM accounts a WHERE a.id = v.target_id)) AS n";
    if database.is_postgres() {
        let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::query(query).fetch_one(&mut link).await.unwrap().get("n")
    } else {
        let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::query(query).fetch_one(&mut link).await.unwrap().get("n")
    }
}
