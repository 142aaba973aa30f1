//! People whom a connection creates again after it has deleted them.

use std::sync::Arc;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::source::Mode;
use scimd::directory::{Connection, ConnectionKind, PushGuard, Recreate, Retention};
use scimd::provision::settings::SettingsChange;
use serde_json::json;
use tokio::sync::Barrier;

use super::support::csv::{Csv, file};
use super::support::{Client, ENTERPRISE, TestInstance, assert_refused, both, person};

const DAY: Duration = Duration::from_hours(24);

impl TestInstance {
    async fn recreates(&self, connection: &Connection, recreate: Recreate) {
        // So many come and go here that the guard would hold on to them.
        let guard = Some(PushGuard { on: false, ..PushGuard::default() });
        let change =
            SettingsChange { recreate: Some(recreate), guard, ..SettingsChange::default() };
        let provision = &self.app.provision;
        provision.set_connection_settings(&provision.operator(), connection, change).await.unwrap();
    }

    /// A connection that brings people back, and its client.
    async fn returning(&self, kind: ConnectionKind, name: &str) -> (Connection, Client) {
        let (connection, client) = self.connected(kind, name).await;
        self.recreates(&connection, Recreate::SameId).await;
        (connection, client)
    }

    /// A client deletes somebody a moment later than whatever was before.
    async fn removed_by(&self, client: &Client, id: &str) {
        self.advance(Duration::from_millis(1));
        client.remove(id).await;
    }

    async fn last_action(&self, id: &str) -> String {
        self.trail(id).await.pop().unwrap().action
    }
}

impl Client {
    async fn remove(&self, id: &str) {
        assert_eq!(self.delete(&format!("/Users/{id}")).await.status, 204);
    }
}

both! {
    async fn by_default_somebody_new_comes(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.person("ann", json!({ "externalId": "x1" })).await;
        let staff = client.group("Staff", &[&ann]).await;
        client.remove(&ann).await;
        let again = client.person("ann", json!({ "externalId": "x1" })).await;
        assert_ne!(again, ann);
        assert_eq!(test.last_action(&again).await, "account.created");
        assert_eq!(client.members(&staff).await, Vec::<String>::new());
        test.assert_lawful().await;
    }

    /// With the id, the groups, the reports and the administrator's fields of before, and the document of now.
    async fn the_same_person_comes_back_with_the_new_document(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.returning(ConnectionKind::Okta, "okta").await;
        let before = json!({ "externalId": "x1", "title": "Cook", "emails": [{ "value": "a@example.com" }] });
        let ann = client.person("ann", before).await;
        client.person("bob", json!({ ENTERPRISE: { "manager": "ann" } })).await;
        let staff = client.group("Staff", &[&ann]).await;
        test.scope(&connection, &[&staff]).await;
        client.join(&staff, &test.any("bob").await.id.to_string()).await;
        client.remove(&ann).await;
        test.advance(DAY * 30);
        assert_eq!(test.manager_of("bob").await, None);
        let now = json!({ "externalId": "x2", "emails": [{ "value": "b@example.com" }] });
        let answer = client.post("/Users", person("ANN", now)).await;
        assert_eq!((answer.status, answer.text("/id")), (201, ann.clone()));
        assert_eq!((answer.at("/title"), answer.standing()), (json!(null), "active".to_owned()));
        assert_eq!(answer.text("/userName"), "ANN");
        assert_eq!(client.count("/Users", "emails.value eq \"a@example.com\"").await, 0);
        assert_eq!(client.count("/Users", "emails.value eq \"b@example.com\"").await, 1);
        assert_eq!(client.members(&staff).await.len(), 2);
        assert_eq!(test.manager_of("bob").await.as_deref(), Some("ANN"));
        assert_eq!(test.last_action(&ann).await, "account.recreated");
        // The external id alone is enough, and a name of its own comes with it.
        client.remove(&ann).await;
        let renamed = client.person("ann.new", json!({ "externalId": "x2", "active": false })).await;
        assert_eq!((renamed, test.standing("ann.new").await), (ann, "suspended: disabled in the identity provider".to_owned()));
        test.assert_lawful().await;
    }

    async fn who_was_held_comes_back_held(database) {
        let test = TestInstance::on(&database).await;
        let (_, client) = test.returning(ConnectionKind::Entra, "entra").await;
        let ann = client.user("ann").await;
        test.act(&ann, Act::Hold).await;
        client.remove(&ann).await;
        assert_eq!(client.user("ann").await, ann);
        assert_eq!(test.standing(&ann).await, "suspended: held by an administrator");
        test.act(&ann, Act::Release).await;
        assert_eq!(test.standing(&ann).await, "active");
        test.assert_lawful().await;
    }

    async fn who_comes_back_takes_a_seat_or_waits_for_one(database) {
        let test = TestInstance::on(&database).await;
        let (_, client) = test.returning(ConnectionKind::Okta, "okta").await;
        let ann = client.user("ann").await;
        test.limit(1).await;
        client.remove(&ann).await;
        let bob = client.user("bob").await;
        assert_eq!((client.user("ann").await, test.queue().await), (ann.clone(), vec!["ann".to_owned()]));
        client.remove(&bob).await;
        assert_eq!(test.standing(&ann).await, "active");
        test.assert_lawful().await;
    }

    /// Neither another connection's people nor whom an administrator deleted, nor whose time is over.
    async fn nobody_else_comes_back(database) {
        let test = TestInstance::on(&database).await;
        let (_, okta) = test.returning(ConnectionKind::Okta, "okta").await;
        let (_, entra) = test.returning(ConnectionKind::Entra, "entra").await;
        let named = json!({ "externalId": "x1" });
        let theirs = entra.person("ann", named.clone()).await;
        test.removed_by(&entra, &theirs).await;
        let ann = okta.person("ann", named.clone()).await;
        assert_ne!(ann, theirs, "of another connection");
        test.act(&ann, Act::Delete).await;
        let second = okta.person("ann", named.clone()).await;
        assert!(second != ann && second != theirs, "deleted by hand");
        test.removed_by(&okta, &second).await;
        assert_eq!(okta.person("ann", named.clone()).await, second);
        test.removed_by(&okta, &second).await;
        // The last of the name is another connection's.
        let theirs = entra.user("ann").await;
        test.advance(Duration::from_millis(1));
        test.removed_by(&entra, &theirs).await;
        let third = okta.user("ann").await;
        assert!(third != second && third != theirs);
        test.removed_by(&okta, &third).await;
        test.advance(DAY * 30 + Duration::from_millis(1));
        assert_ne!(okta.user("ann").await, third, "too late");
        // What an administrator said of the name counts, whatever the external id says.
        let old = okta.person("old", json!({ "externalId": "x9" })).await;
        test.removed_by(&okta, &old).await;
        let zoe = okta.person("zoe", json!({})).await;
        test.act(&zoe, Act::Delete).await;
        let anew = okta.person("zoe", json!({ "externalId": "x9" })).await;
        assert!(anew != zoe && anew != old, "deleted by hand");
        let hal = entra.user("hal").await;
        test.act(&hal, Act::Hold).await;
        test.removed_by(&entra, &hal).await;
        let back = okta.person("hal", json!({ "externalId": "x9" })).await;
        assert_eq!(back, old);
        assert_eq!(test.standing(&back).await, "suspended: held by an administrator");
        // Whose name is taken stays deleted, and the refusal is the usual one.
        let bob = okta.person("bob", json!({ "externalId": "x2" })).await;
        test.removed_by(&okta, &bob).await;
        let local = test.local_person("bob", json!({})).await;
        assert_eq!(okta.person("bob", json!({ "externalId": "x2" })).await, local);
        let refused = okta.post("/Users", person("bob", json!({ "externalId": "x2" }))).await;
        assert_refused(&refused, 409, "uniqueness");
        assert!(test.any(&bob).await.deleted_at.is_some());
        let provision = &test.app.provision;
        let days = Retention::parse(1).unwrap();
        provision.set_retention(&provision.operator(), test.id, days).await.unwrap();
        let cho = okta.user("cho").await;
        test.removed_by(&okta, &cho).await;
        test.advance(DAY);
        assert_eq!(okta.user("cho").await, cho);
        test.removed_by(&okta, &cho).await;
        test.advance(DAY + Duration::from_millis(1));
        assert_ne!(okta.user("cho").await, cho);
        test.assert_lawful().await;
    }

    /// One of two brings the person back, the other is told that the name is taken.
    async fn two_creations_at_once_make_one_person(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        for recreate in [Recreate::SameId, Recreate::New] {
            test.recreates(&connection, recreate).await;
            for round in 0..20 {
                let name = format!("{recreate}{round}");
                let ann = client.user(&name).await;
                client.remove(&ann).await;
                let barrier = Arc::new(Barrier::new(2));
                let both: Vec<_> = (0..2).map(|_| {
                    let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                    let body = person(&name, json!({ "externalId": name }));
                    tokio::spawn(async move {
                        barrier.wait().await;
                        client.post("/Users", body).await
                    })
                }).collect();
                let mut answers = Vec::new();
                for one in both {
                    answers.push(one.await.unwrap());
                }
                answers.sort_by_key(|answer| answer.status);
                assert_eq!([answers[0].status, answers[1].status], [201, 409], "{answers:?}");
                assert_eq!(answers[0].text("/id") == ann, recreate == Recreate::SameId);
            }
        }
        test.assert_lawful().await;
    }

    /// A pull makes no difference: one row or many, beside people who are new.
    async fn a_pull_brings_people_back_in_its_batches(database) {
        let csv = Csv::with(&database, |settings| settings.mode = Mode::Delta).await;
        let test = &csv.test;
        let rows = ["ann", "bob", "cho", "dee"];
        let kept = |names: &[&str]| {
            let rows: Vec<_> = names.iter().map(|name| format!("{name},keep")).collect();
            file("action", &rows.iter().map(String::as_str).collect::<Vec<_>>())
        };
        csv.pull(kept(&rows)).await;
        let mut ids = Vec::new();
        for name in rows {
            ids.push(test.any(name).await.id.to_string());
        }
        for (recreate, is_same) in [(Recreate::New, false), (Recreate::SameId, true)] {
            csv.policy(SettingsChange { recreate: Some(recreate), ..SettingsChange::default() }).await;
            let name = format!("new{is_same}");
            let wanted = [&rows[..], &[&name]].concat();
            csv.pull(file("action", &["ann,delete", "bob,delete", "cho,delete", "dee,keep"])).await;
            test.advance(DAY);
            let pulled = csv.pull(kept(&wanted)).await;
            let created = pulled.items.iter().filter(|item| item.outcome.word() == "created");
            assert_eq!(created.count(), 4, "{pulled:?}");
            for (name, id) in rows.iter().zip(&mut ids) {
                let now = test.any(name).await.id.to_string();
                assert_eq!(now == *id, is_same || *name == "dee", "{name}");
                *id = now;
            }
            assert_eq!(test.standing(&name).await, "active");
            test.assert_lawful().await;
        }
    }
}
