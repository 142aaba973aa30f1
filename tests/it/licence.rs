//! The licence: who comes beyond the limit waits, whoever leaves makes room for the first in the queue,
//! and no crowd gets one seat more than there is.

use std::sync::Arc;
use std::time::Duration;

use scimd::clock::{Clock, Ids};
use scimd::directory::hand::Act;
use scimd::directory::{ConnectionKind, Status, Timestamp};
use scimd::http::{App, Settings};
use scimd::provision::Limit;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::support::process::Process;
use super::support::rules::{DIRECTORY, active, enrol, fill, standing};
use super::support::{Client, TestInstance, assert_refused, both, person, team};

const SECOND: Duration = Duration::from_secs(1);

/// How often the crowd comes.
const ROUNDS: usize = 20;

/// The requests of the crowd that come at once, to two applications or to two servers. On a slow machine
/// some of them have to come again: 503, and nothing was done.
const CROWD: usize = 100;

/// The seats that the crowd fights for.
const SEATS: i64 = 3;

/// What frees a seat of Ann, who has the only one.
const WAYS: &[(&str, &str)] = &[
    ("suspend", "suspended: suspended by an administrator"),
    ("hold", "suspended: held by an administrator"),
    ("delete", "deleted: deleted by an administrator"),
    ("disable by PATCH", "suspended: disabled in the identity provider"),
    ("disable by PUT", "suspended: disabled in the identity provider"),
    ("DELETE", "deleted: deleted in the identity provider"),
    ("leave the group", "suspended: in no sync group"),
    ("leave it by PUT", "suspended: in no sync group"),
    ("change the scope", "suspended: in no sync group"),
    ("raise the limit", "active"),
    ("remove the limit", "active"),
];

both! {
    /// The client sees what it sent, and the block only in the extension.
    async fn who_comes_beyond_the_limit_waits_and_is_active_for_the_client(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        assert_eq!(test.limit(1).await.waiting, 0);
        client.user("ann").await;
        let body = person("bob", json!({ "externalId": "x", "active": true }));
        let created = client.post("/Users", body).await;
        let path = format!("/Users/{}", created.text("/id"));
        let renamed = json!([{ "op": "replace", "path": "title", "value": "Cook" }]);
        let put = person("bob", json!({ "externalId": "x", "active": true }));
        for (step, answer, status) in [
            ("created", created, 201),
            ("read", client.get(&path).await, 200),
            ("changed", client.patch(&path, renamed).await, 200),
            ("replaced", client.put(&path, put).await, 200),
            ("activated again", client.patch(&path, active(true)).await, 200),
        ] {
            assert_eq!((answer.status, answer.at("/active")), (status, json!(true)), "{step}");
            assert_eq!(answer.standing(), "blocked: no free seat", "{step}");
        }
        let count = async |filter: &str| client.count("/Users", filter).await;
        assert_eq!(count("active eq true").await, 2);
        assert_eq!(count(&format!("{DIRECTORY}:status eq \"blocked\"")).await, 1);
        test.assert_lawful().await;
    }

    async fn a_seat_goes_to_who_has_waited_longest(database) {
        let root = TestInstance::on(&database).await;
        for (number, (way, ann_becomes)) in WAYS.iter().enumerate() {
            let test = root.named(&format!("Way {number}")).await;
            let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
            let mut ids = Vec::new();
            for name in ["ann", "bob", "cy"] {
                ids.push(client.user(name).await);
            }
            let staff = client.group("Staff", &[]).await;
            let other = client.group("Other", &[&ids[1], &ids[2]]).await;
            test.scope(&connection, &[&staff]).await;
            test.limit(1).await;
            for id in &ids {
                client.join(&staff, id).await;
                test.advance(SECOND);
            }
            let blocked = "bob blocked: no free seat, cy blocked: no free seat";
            assert_eq!(test.standings(&["ann", "bob", "cy"]).await, format!("ann active, {blocked}"));
            let path = format!("/Users/{}", ids[0]);
            match *way {
                "suspend" | "hold" | "delete" => {
                    assert!(test.act(&ids[0], Act::from_word(way).unwrap()).await.changed);
                }
                "disable by PATCH" => drop(client.change(&path, active(false)).await),
                "disable by PUT" => {
                    let put = client.put(&path, person("ann", json!({ "active": false }))).await;
                    assert_eq!(put.status, 200);
                }
                "DELETE" => assert_eq!(client.delete(&path).await.status, 204),
                "leave the group" => client.leave(&staff, &ids[0]).await,
                "leave it by PUT" => {
                    let team = team("Staff", &[&ids[2], &ids[1]]);
                    assert_eq!(client.put(&format!("/Groups/{staff}"), team).await.status, 200);
                }
                "change the scope" => drop(test.scope(&connection, &[&other]).await),
                "raise the limit" => assert_eq!(test.limit(2).await.waiting, 1),
                "remove the limit" => {
                    assert_eq!(test.set_limit(Limit::Unlimited).await.licence, None);
                }
                _ => unreachable!("{way} is done above"),
            }
            let cy = if *way == "remove the limit" { "cy active" } else { "cy blocked: no free seat" };
            let expected = format!("ann {ann_becomes}, bob active, {cy}");
            assert_eq!(test.standings(&["ann", "bob", "cy"]).await, expected, "{way}");
            let trail = test.trail(&ids[1]).await;
            assert_eq!(trail.last().unwrap().rule.as_deref(), Some("a seat became free"), "{way}");
            test.assert_lawful().await;
        }
    }

    /// What a connection does not say of a person must not cost her the place in the queue.
    async fn the_queue_is_in_order_of_arrival_and_is_left_by_who_is_disabled(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        test.limit(0).await;
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cy", "dee"] {
            ids.push(client.user(name).await);
            test.advance(SECOND);
        }
        client.change(&format!("/Users/{}", ids[0]), json!([
            { "op": "replace", "path": "title", "value": "Cook" },
        ])).await;
        test.advance(SECOND);
        assert_eq!(test.queue().await, ["ann", "bob", "cy", "dee"]);
        assert_eq!(client.set_active(&ids[0], false).await.standing(),
            "suspended: disabled in the identity provider");
        assert_eq!(test.queue().await, ["bob", "cy", "dee"]);
        assert_eq!(test.limit(1).await.taken, 1);
        assert_eq!(client.set_active(&ids[0], true).await.standing(), "blocked: no free seat");
        assert_eq!(test.queue().await, ["cy", "dee", "ann"]);
        // A hold is the end of the place too.
        test.act(&ids[2], Act::Hold).await;
        test.advance(SECOND);
        test.act(&ids[2], Act::Release).await;
        assert_eq!(test.queue().await, ["dee", "ann", "cy"]);
        assert_eq!(test.limit(3).await.waiting, 1);
        assert_eq!(test.standings(&["ann", "bob", "cy", "dee"]).await,
            "ann active, bob active, cy blocked: no free seat, dee active");
        test.assert_lawful().await;
    }

    async fn who_comes_in_the_same_millisecond_waits_in_the_order_of_creation(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        test.limit(0).await;
        let names = ["zoe", "ann", "mia", "bob", "kai", "eve"];
        for (number, name) in names.iter().enumerate() {
            [&okta, &entra][number % 2].user(name).await;
        }
        assert_eq!(test.queue().await, names);
        for seats in 1..=6 {
            test.limit(seats).await;
            assert_eq!(test.queue().await, names[usize::try_from(seats).unwrap()..]);
            test.assert_lawful().await;
        }
    }

    async fn the_policy_stop_refuses_who_would_need_a_seat_and_keeps_nothing(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (ann, bob) = (client.user("ann").await, client.person("bob", json!({ "active": false })).await);
        let cy = client.user("cy").await;
        assert_eq!(client.delete(&format!("/Users/{cy}")).await.status, 204);
        let held = client.user("dee").await;
        test.act(&held, Act::Hold).await;
        test.stop_at(1).await;
        let before = (test.everything().await, test.trail(&bob).await, test.trail(&cy).await);
        let path = format!("/Users/{bob}");
        for answer in [
            client.post("/Users", person("new", json!({}))).await,
            client.patch(&path, active(true)).await,
            client.put(&path, person("bob", json!({ "active": true, "title": "Cook" }))).await,
        ] {
            let detail = assert_refused(&answer, 403, "");
            assert!(detail.contains("1 of 1") && detail.contains("stop"), "{detail}");
        }
        for (id, act) in [(&bob, Act::Reactivate), (&cy, Act::Restore), (&held, Act::Release)] {
            let done = test.act(id, act).await;
            assert!(!done.changed && done.refused.unwrap().contains("1 of 1"), "{act}");
        }
        let author = test.app.provision.operator();
        let document = json!({ "userName": "local" }).as_object().unwrap().clone();
        let local = test.app.provision.create_local_account(test.id, &author, document).await;
        assert!(local.is_err());
        assert_eq!((test.everything().await, test.trail(&bob).await, test.trail(&cy).await), before);
        // Whoever needs no seat comes and goes; a free seat is given.
        client.person("off", json!({ "active": false })).await;
        client.set_active(&ann, false).await;
        assert_eq!(client.set_active(&bob, true).await.standing(), "active");
        test.assert_lawful().await;
        // Those who wait already go on waiting when the policy becomes stricter.
        let test = test.neighbour().await;
        let client = test.okta().await;
        test.limit(0).await;
        let eve = client.user("eve").await;
        test.stop_at(0).await;
        let op = json!([{ "op": "replace", "path": "title", "value": "Cook" }]);
        assert_eq!(client.change(&format!("/Users/{eve}"), op).await.standing(), "blocked: no free seat");
        assert_eq!(test.queue().await, ["eve"]);
    }

    async fn a_lower_limit_takes_no_seat_away(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let ids = [client.user("ann").await, client.user("bob").await, client.user("cy").await];
        let state = test.limit(1).await;
        assert_eq!((state.taken, state.waiting), (3, 0));
        assert_eq!(client.post("/Users", person("dee", json!({}))).await.standing(), "blocked: no free seat");
        for (id, expected) in [
            (&ids[0], "ann suspended: disabled in the identity provider, bob active, cy active, dee blocked: no free seat"),
            (&ids[1], "ann suspended: disabled in the identity provider, \
             bob suspended: disabled in the identity provider, cy active, dee blocked: no free seat"),
            (&ids[2], "ann suspended: disabled in the identity provider, \
             bob suspended: disabled in the identity provider, \
             cy suspended: disabled in the identity provider, dee active"),
        ] {
            client.set_active(id, false).await;
            assert_eq!(test.standings(&["ann", "bob", "cy", "dee"]).await, expected);
            test.assert_lawful().await;
        }
        // Who keeps a seat over the limit and gives it up does not get it back.
        assert_eq!(client.set_active(&ids[0], true).await.standing(), "blocked: no free seat");
    }

    async fn local_people_take_seats(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        test.local_person("ann", json!({})).await;
        test.limit(2).await;
        test.local_person("bob", json!({})).await;
        let cy = test.local_person("cy", json!({})).await;
        let dee = client.post("/Users", person("dee", json!({}))).await;
        assert_eq!(dee.standing(), "blocked: no free seat");
        assert_eq!(test.queue().await, ["cy", "dee"]);
        // Picked up, she has neither a seat more nor a worse place.
        test.advance(SECOND);
        let picked = client.post("/Users", person("CY", json!({}))).await;
        assert_eq!((picked.text("/id"), picked.standing()), (cy, "blocked: no free seat".to_owned()));
        assert_eq!(test.queue().await, ["CY", "dee"]);
        assert_eq!(client.post("/Users", person("ann", json!({}))).await.standing(), "active");
        assert_eq!(test.act(&test.any("bob").await.id.to_string(), Act::Hold).await.is, Status::Suspended);
        assert_eq!(test.standings(&["ann", "cy", "dee"]).await,
            "ann active, cy active, dee blocked: no free seat");
        test.assert_lawful().await;
    }

    async fn the_licence_of_one_instance_is_not_that_of_another(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let (here, there) = (test.okta().await, neighbour.okta().await);
        for name in ["ann", "bob"] {
            here.user(name).await;
            there.user(name).await;
        }
        neighbour.limit(5).await;
        let before = neighbour.everything().await;
        test.limit(1).await;
        here.user("cy").await;
        let raised = test.limit(2).await;
        assert_eq!((raised.taken, raised.waiting), (2, 1));
        test.set_limit(Limit::Unlimited).await;
        assert_eq!(neighbour.everything().await, before);
        let licence = neighbour.app.provision.licence(neighbour.id).await.unwrap().licence.unwrap();
        assert_eq!((licence.seats_max, licence.seats_taken), (5, 2));
        // A full instance stops nobody next door, not even by the same name.
        test.limit(0).await;
        assert_eq!(there.post("/Users", person("cy", json!({}))).await.standing(), "active");
        assert_eq!(here.post("/Users", person("dee", json!({}))).await.standing(), "blocked: no free seat");
    }

    /// More people wait than one statement handles.
    async fn a_long_queue_enters_at_once_when_the_limit_goes(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let staff = client.group("Staff", &[]).await;
        fill(&database, &connection, "u", 1_203).await;
        test.limit(0).await;
        assert_eq!(test.scope(&connection, &[&staff]).await.changed, 1_203);
        enrol(&database, &staff, "u").await;
        let run = test.scope(&connection, &[]).await;
        assert_eq!(run.changed, 1_203);
        let state = test.app.provision.licence(test.id).await.unwrap();
        assert_eq!((state.taken, state.waiting), (0, 1_203));
        let queue = test.app.provision.waiting(test.id, 701).await.unwrap();
        assert_eq!(test.limit(701).await.waiting, 502);
        for account in &queue {
            assert_eq!(test.any(&account.id.to_string()).await.status, Status::Active);
        }
        test.assert_lawful().await;
        let state = test.set_limit(Limit::Unlimited).await;
        assert_eq!((state.taken, state.waiting, state.licence), (1_203, 0, None));
        test.assert_lawful().await;
    }

    /// Creations, activations, disablings and deletions at once, through two applications that know
    /// nothing of each other.
    async fn no_crowd_gets_a_seat_more_than_there_is(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let clock = Clock::from_fn(|| Timestamp(1_800_000_000_000));
        let app = App::new(database.open().await, clock, Ids, Settings::default()).await.unwrap();
        let clients = [okta.clone(), Client { app, token: okta.token }];
        test.limit(SEATS).await;
        let (mut ids, mut fought, mut done): (Vec<String>, usize, usize) = (Vec::new(), 0, 0);
        for round in 0..ROUNDS {
            let barrier = Arc::new(Barrier::new(CROWD));
            let mut crowd = JoinSet::new();
            for number in 0..CROWD {
                let client = clients[number % 2].clone();
                let (barrier, request) = (Arc::clone(&barrier), request(round, number, &ids));
                crowd.spawn(async move {
                    barrier.wait().await;
                    let (method, path, body) = request;
                    client.send(method, &path, body).await
                });
            }
            for answer in crowd.join_all().await {
                assert!(is_answer(answer.status), "round {round}: {answer:?}");
                done += usize::from(answer.status != 503);
                if answer.status == 201 {
                    ids.push(answer.text("/id"));
                }
            }
            test.assert_lawful().await;
            let state = test.app.provision.licence(test.id).await.unwrap();
            assert!(state.taken <= SEATS, "round {round}: {state:?}");
            fought += usize::from(state.waiting > 0);
        }
        assert!(fought > ROUNDS / 2, "the crowd was too small to fight: {fought} rounds");
        assert!(done > CROWD * ROUNDS / 2, "only {done} requests were done");
    }

    async fn no_crowd_gets_a_seat_more_from_two_servers(database) {
        let test = TestInstance::on(&database).await;
        let token = test.okta().await.token;
        test.limit(SEATS).await;
        let servers = [Process::serve(&database).await, Process::serve(&database).await];
        let web = reqwest::Client::new();
        let (mut ids, mut done): (Vec<String>, usize) = (Vec::new(), 0);
        for round in 0..ROUNDS / 4 {
            let barrier = Arc::new(Barrier::new(CROWD));
            let mut crowd = JoinSet::new();
            for number in 0..CROWD {
                let (method, path, body) = request(round, number, &ids);
                let url = format!("{}{path}", servers[number % 2].base);
                let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let request = web.request(method, url).bearer_auth(&token);
                let request = match &body {
                    Some(body) => request.json(body),
                    None => request,
                };
                let barrier = Arc::clone(&barrier);
                crowd.spawn(async move {
                    barrier.wait().await;
                    let answer = request.send().await.unwrap();
                    let status = answer.status().as_u16();
                    (status, answer.text().await.unwrap())
                });
            }
            for (status, body) in crowd.join_all().await {
                assert!(is_answer(status), "round {round}: {status} {body}");
                done += usize::from(status != 503);
                if status == 201 {
                    let body: Value = serde_json::from_str(&body).unwrap();
                    ids.push(body["id"].as_str().unwrap().to_owned());
                }
            }
            test.assert_lawful().await;
        }
        assert!(done > CROWD * ROUNDS / 8, "only {done} requests were done");
        for server in servers {
            server.kill().await;
        }
    }

    /// A limit that is set while people come counts all of them.
    async fn a_limit_set_in_the_middle_of_a_crowd_counts_everybody(database) {
        let root = TestInstance::on(&database).await;
        for round in 0..ROUNDS {
            let test = root.named(&format!("Round {round}")).await;
            let client = test.okta().await;
            let barrier = Arc::new(Barrier::new(9));
            let mut crowd = JoinSet::new();
            for number in 0..8 {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                crowd.spawn(async move {
                    barrier.wait().await;
                    let answer = client.post("/Users", person(&format!("u{number}"), json!({}))).await;
                    assert_eq!(answer.status, 201, "{answer:?}");
                });
            }
            barrier.wait().await;
            test.limit(3).await;
            crowd.join_all().await;
            test.assert_lawful().await;
            assert_eq!(test.accounts().await.len(), 8);
            // Taken away in the middle of another crowd, it leaves nobody waiting.
            let barrier = Arc::new(Barrier::new(5));
            let mut crowd = JoinSet::new();
            for number in 8..12 {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                crowd.spawn(async move {
                    barrier.wait().await;
                    let answer = client.post("/Users", person(&format!("u{number}"), json!({}))).await;
                    assert_eq!(answer.status, 201, "{answer:?}");
                });
            }
            barrier.wait().await;
            test.set_limit(Limit::Unlimited).await;
            crowd.join_all().await;
            assert!(test.accounts().await.iter().all(|account| standing(account) == "active"));
        }
    }
}

fn is_answer(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 404 | 503)
}

/// What the request of this number in a crowd does: half of them come, the others are changed.
fn request(round: usize, number: usize, ids: &[String]) -> (&'static str, String, Option<Value>) {
    let patch = |operations: Value| {
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        })
    };
    // Several requests meet at the same person: the step is no multiple of what it goes round in.
    let someone = ids.get((number / 2 + 13 * round) % ids.len().max(1));
    match (someone, number % 8) {
        (None, _) | (_, 0) => {
            let name = format!("u{round}-{number}@example.com");
            ("POST", "/Users".to_owned(), Some(person(&name, json!({}))))
        }
        (Some(id), 1..=3) => ("PATCH", format!("/Users/{id}"), Some(patch(active(false)))),
        (Some(id), 4..=6) => ("PATCH", format!("/Users/{id}"), Some(patch(active(true)))),
        (Some(id), _) => ("DELETE", format!("/Users/{id}"), None),
    }
}
