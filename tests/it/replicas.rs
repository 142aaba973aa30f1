//! Several servers on one PostgreSQL behind a proxy: nothing in one of them must be known to another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use scimd::directory::ConnectionKind;
use scimd::keys::NewKey;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::support::client::user;
use super::support::process::Process;
use super::support::replicas::{RemoteAnswer, RemoteClient, Replicas};
use super::support::{Database, TestInstance};

/// The clients that work while replicas come and go.
const CLIENTS: usize = 4;

/// The clients that are at one group at once.
const CROWD: usize = 64;

/// Within how many seconds every replica refuses a key that was revoked, on a machine that does much else; they
/// remember it for `KEY_KNOWN_MS_MAX`.
const REVOKED_S_MAX: u64 = 5;

/// A replica that starts under load opens this many connections: each takes an unoptimised program so long to
/// authenticate that ten at once keep requests waiting for longer than they wait.
const FEW_CONNECTIONS: &[&str] = &["--database-connections", "3"];

/// What a client was told: each person by name, its id, and whether it is a member of the group.
type Model = BTreeMap<String, (String, bool)>;

#[tokio::test]
async fn a_server_that_is_asked_to_stop_says_so_and_goes_on_for_a_while() {
    let database = Database::sqlite();
    let (token, _) = key(&database).await;
    let server = Process::serve_at(&database, "127.0.0.1:0", &["--shutdown-drain-s", "2"]).await;
    let root = server.base.trim_end_matches("/scim/v2").to_owned();
    let http = reqwest::Client::new();
    let ready = http.get(format!("{root}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert!(!ready.headers().contains_key("connection"));
    let asked = Instant::now();
    server.ask_to_stop().await;
    let stopping = loop {
        let answer = http.get(format!("{root}/readyz")).send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!(stopping.status(), 503);
    assert_eq!(stopping.headers()["connection"], "close");
    assert_eq!(stopping.json::<Value>().await.unwrap(), json!({ "status": "stopping" }));
    // What comes all the same is served.
    let created = http.post(format!("{root}/scim/v2/Users")).bearer_auth(&token);
    let created = created.json(&user("late@example.com")).send().await.unwrap();
    assert_eq!(created.status(), 201);
    assert_eq!(created.headers()["connection"], "close");
    server.ended().await;
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(http.get(format!("{root}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn a_rolling_restart_loses_nothing_and_refuses_nobody() {
    let Some(database) = Database::postgres().await else { return };
    let (token, _) = key(&database).await;
    let mut replicas = Replicas::start(&database, &token, 2, FEW_CONNECTIONS).await;
    let group = create(&replicas.client, "Groups", &team("Team")).await.id();
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, over) = (replicas.client.clone(), Arc::clone(&over));
        let group = format!("/scim/v2/Groups/{group}");
        clients.spawn(async move { work(&client, number, &group, &over).await });
    }
    for number in 0..replicas.processes.len() {
        replicas.renew(&database, number).await;
    }
    over.store(true, Ordering::Relaxed);
    let model: Model = clients.join_all().await.into_iter().flatten().collect();
    assert!(model.len() > CLIENTS, "the clients did nothing meanwhile");
    assert_ends_as(&replicas.client, &group, &model).await;
    replicas.stop().await;
}

/// Creates people, makes most of them members of the group, some of them no members again, and reads them. No answer
/// is anything but the one to be expected.
async fn work(client: &RemoteClient, number: usize, group: &str, over: &AtomicBool) -> Model {
    let mut model = Model::new();
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("user{number}-{turn}@example.com");
        let id = create(client, "Users", &user(&name)).await.id();
        let read = client.get(&format!("/scim/v2/Users/{id}")).await.unwrap();
        assert_eq!((read.status, &read.body["userName"]), (200, &json!(name)), "{read:?}");
        for add in [true, false].into_iter().take(turn % 3) {
            let answer = client.patch(group, &json!([membership(&id, add)])).await.unwrap();
            assert!(answer.status < 300, "{answer:?}");
        }
        model.insert(name, (id, turn % 3 == 1));
    }
    model
}

#[tokio::test]
async fn a_killed_replica_loses_nothing_it_acknowledged() {
    let Some(database) = Database::postgres().await else { return };
    let (token, _) = key(&database).await;
    let mut replicas = Replicas::start(&database, &token, 2, FEW_CONNECTIONS).await;
    let group = create(&replicas.client, "Groups", &team("Team")).await.id();
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, over) = (replicas.client.clone(), Arc::clone(&over));
        let group = format!("/scim/v2/Groups/{group}");
        clients.spawn(async move {
            let mut model = Model::new();
            for turn in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("user{number}-{turn}@example.com");
                let id = insist_on(&client, &name).await;
                insist_on_member(&client, &group, &id).await;
                model.insert(name, (id, true));
            }
            model
        });
    }
    // In the middle of the work, with as much of it behind the kill.
    let client = replicas.client.clone();
    let before = until_there_are(&client, 20).await;
    replicas.kill(0).await;
    until_there_are(&client, before + 20).await;
    over.store(true, Ordering::Relaxed);
    let model: Model = clients.join_all().await.into_iter().flatten().collect();
    assert_ends_as(&client, &group, &model).await;
    replicas.stop().await;
}

/// Creates a person, and again until somebody answers, as identity providers do: whoever was told nothing, or that
/// the name is taken, looks for it. Gives the id.
async fn insist_on(client: &RemoteClient, name: &str) -> String {
    let find = format!("/scim/v2/Users?filter=userName%20eq%20%22{name}%22");
    loop {
        match client.post("/scim/v2/Users", &user(name)).await {
            Ok(answer) if answer.status == 201 => return answer.id(),
            Ok(answer) => assert!([409, 502, 503].contains(&answer.status), "{answer:?}"),
            Err(_) => {}
        }
        if let Ok(found) = client.get(&find).await
            && found.body["totalResults"] == json!(1)
        {
            return found.body["Resources"][0]["id"].as_str().unwrap().to_owned();
        }
    }
}

async fn insist_on_member(client: &RemoteClient, group: &str, id: &str) {
    let operations = json!([membership(id, true)]);
    loop {
        match client.patch(group, &operations).await {
            Ok(answer) if answer.status < 300 => return,
            Ok(answer) => assert!([502, 503].contains(&answer.status), "{answer:?}"),
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn a_crowd_at_one_group_loses_nothing_through_two_replicas() {
    crowd(2, 4).await;
}

#[tokio::test]
async fn a_crowd_at_one_group_loses_nothing_through_four_replicas() {
    crowd(4, 4).await;
}

/// Each client has a person of its own that it adds or removes; all of them add one more together.
async fn crowd(count: usize, rounds: usize) {
    let Some(database) = Database::postgres().await else { return };
    let test = TestInstance::on(&database).await;
    let entra = test.entra().await;
    let mut people = Vec::new();
    for number in 0..CROWD + rounds {
        people.push(entra.user(&format!("user{number}@example.com")).await);
    }
    let group = format!("/scim/v2/Groups/{}", entra.group("Everybody", &[]).await);
    let replicas = Replicas::start(&database, &entra.token, count, &[]).await;
    let (own, shared) = people.split_at(CROWD);
    let (mut expected, mut served_by) = (BTreeSet::new(), BTreeSet::new());
    for (round, together) in shared.iter().enumerate() {
        let mut crowd = JoinSet::new();
        expected.insert(together.clone());
        for (number, person) in own.iter().enumerate() {
            let add = (round + number) % 3 != 0;
            if add {
                expected.insert(person.clone());
            } else {
                expected.remove(person);
            }
            let operations = json!([membership(person, add), membership(together, true)]);
            let (client, group) = (replicas.client.clone(), group.clone());
            crowd.spawn(async move {
                let mut answer = client.patch(&group, &operations).await.unwrap();
                // A busy machine may refuse some: nothing of that was acknowledged, and they come again.
                while answer.status == 503 {
                    answer = client.patch(&group, &operations).await.unwrap();
                }
                assert!(answer.status < 300, "{answer:?}");
                answer.served_by
            });
        }
        served_by.extend(crowd.join_all().await);
        let found = replicas.client.get(&group).await.unwrap();
        let found = found.body["members"].as_array().unwrap().iter();
        let found: Vec<String> =
            found.map(|member| member["value"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found.len(), expected.len(), "round {round}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "round {round}");
    }
    assert_eq!(served_by.len(), count, "{served_by:?}");
    replicas.stop().await;
}

/// Pages come from whichever replica is next, and from the database's standby where that has come far enough; who is
/// there all the while is met once.
#[tokio::test]
async fn a_walk_whose_pages_come_from_different_replicas_misses_nobody() {
    let Some(database) = Database::postgres().await else { return };
    let test = TestInstance::on(&database).await;
    let okta = test.okta().await;
    let (mut staying, mut leaving) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let id = okta.user(&format!("user{number}@example.com")).await;
        if number % 4 == 0 { leaving.push(id) } else { staying.push(id) }
    }
    let standby = ["--database-read-url", &database.standby_url()];
    let replicas = Replicas::start(&database, &okta.token, 2, &standby).await;
    let mut leaving = leaving.into_iter();
    for by_cursor in [true, false] {
        let (mut met, mut served_by) = (Vec::new(), BTreeSet::new());
        let mut place = if by_cursor { "cursor".to_owned() } else { "startIndex=1".to_owned() };
        loop {
            let path = format!("/scim/v2/Users?count=7&{place}");
            let page = replicas.client.get(&path).await.unwrap();
            assert_eq!(page.status, 200, "{page:?}");
            served_by.insert(page.served_by);
            met.extend(ids(&page.body));
            // Somebody whom the walk has met, or not yet, goes while it is under way; somebody comes.
            let gone = leaving.next();
            if let Some(id) = gone.filter(|_| met.len() < 50) {
                assert_eq!(okta.delete(&format!("/Users/{id}")).await.status, 204);
                okta.user(&format!("new{}-{by_cursor}@example.com", met.len())).await;
            }
            place = match (by_cursor, page.body["nextCursor"].as_str()) {
                (true, Some(cursor)) => format!("cursor={cursor}"),
                (true, None) => break,
                (false, _) if page.body["Resources"].as_array().is_none_or(Vec::is_empty) => break,
                (false, _) => format!("startIndex={}", met.len() + 1),
            };
        }
        assert_eq!(served_by.len(), 2, "{served_by:?}");
        let once: BTreeSet<&String> = met.iter().collect();
        assert_eq!(once.len(), met.len(), "somebody was met twice");
        assert!(staying.iter().all(|id| once.contains(id)), "somebody was missed");
    }
    replicas.stop().await;
}

/// One process revokes a key; the others find out in a time that is stated.
#[tokio::test]
async fn a_revoked_key_is_refused_by_all_replicas_in_time() {
    let Some(database) = Database::postgres().await else { return };
    let (token, id) = key(&database).await;
    let replicas = Replicas::start(&database, &token, 2, &[]).await;
    for number in 0..2 {
        assert_eq!(replicas.direct(number).get("/scim/v2/Users").await.unwrap().status, 200);
    }
    let revoked = Command::new(env!("CARGO_BIN_EXE_scimd"))
        .args(["keys", "revoke", &id, "--database-url", &database.url])
        .current_dir(database.folder.path())
        .output();
    let revoked = revoked.await.unwrap();
    assert!(revoked.status.success(), "{revoked:?}");
    let since = Instant::now();
    for number in 0..2 {
        let replica = replicas.direct(number);
        while replica.get("/scim/v2/Users").await.unwrap().status != 401 {
            let waited = since.elapsed();
            assert!(waited < Duration::from_secs(REVOKED_S_MAX), "{number} still serves");
        }
        // Whoever has refused it does not take it again.
        assert_eq!(replica.get("/scim/v2/Users").await.unwrap().status, 401);
    }
    replicas.stop().await;
}

impl RemoteAnswer {
    fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }
}

/// A key of a new instance's connection, and its id.
async fn key(database: &Database) -> (String, String) {
    let test = TestInstance::on(database).await;
    let connection = test.connection(ConnectionKind::Okta, "Okta").await;
    let new = NewKey {
        instance: test.id,
        connection: Some(connection.id),
        name: "test".to_owned(),
        expires_at: None,
    };
    let store = test.app.provision.store.clone();
    let mut tx = store.begin().await.unwrap();
    let issued =
        test.app.keyring.issue(&mut tx, &test.app.provision.operator(), new).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    (issued.token, issued.key.id.to_string())
}

fn team(name: &str) -> Value {
    json!({ "schemas": [super::support::GROUP], "displayName": name })
}

fn membership(person: &str, add: bool) -> Value {
    if add {
        json!({ "op": "add", "path": "members", "value": [{ "value": person }] })
    } else {
        json!({ "op": "remove", "path": format!("members[value eq \"{person}\"]") })
    }
}

async fn create(client: &RemoteClient, endpoint: &str, body: &Value) -> RemoteAnswer {
    let answer = client.post(&format!("/scim/v2/{endpoint}"), body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

/// Asks until there are so many people; gives how many there are.
async fn until_there_are(client: &RemoteClient, least: u64) -> u64 {
    loop {
        let answer = client.get("/scim/v2/Users?count=0").await;
        let total = answer.ok().and_then(|answer| answer.body["totalResults"].as_u64());
        if let Some(total) = total.filter(|&total| total >= least) {
            return total;
        }
    }
}

fn ids(page: &Value) -> Vec<String> {
    let resources = page["Resources"].as_array().cloned().unwrap_or_default();
    resources.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that the directory has those whom the clients were told of, each once, and the members likewise.
async fn assert_ends_as(client: &RemoteClient, group: &str, model: &Model) {
    let all: BTreeSet<&String> = model.values().map(|(id, _)| id).collect();
    let members = model.values().filter(|(_, member)| *member).map(|(id, _)| id);
    let filter = format!("filter=groups.value%20eq%20%22{group}%22&");
    for (filter, expected) in [(String::new(), all), (filter, members.collect())] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/scim/v2/Users?{filter}count=200&cursor={cursor}");
            let page = client.get(&path).await.unwrap();
            assert_eq!(page.status, 200, "{page:?}");
            found.extend(ids(&page.body));
            let Some(next) = page.body["nextCursor"].as_str() else { break };
            next.clone_into(&mut cursor);
        }
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.iter().collect::<BTreeSet<_>>(), expected);
    }
}
