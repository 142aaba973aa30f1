//! Pick-up with approval: the client sees a success, the directory sees nothing until it is accepted.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::*;
use crate::support::Answer;

fn replace(path: &str, value: impl Into<serde_json::Value>) -> serde_json::Value {
    json!([{ "op": "replace", "path": path, "value": value.into() }])
}

#[track_caller]
fn shown(answer: &Answer, status: u16, id: &str, title: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!((answer.text("/id"), answer.text("/title")), (id.to_owned(), title.to_owned()));
    assert_eq!(answer.header("etag"), answer.text("/meta/version"));
    answer.text("/meta/version")
}

both! {
    /// Okta looks the name up, creates with POST, replaces with PUT, disables with PATCH.
    async fn an_okta_life_before_and_after_acceptance(database) {
        let test = TestInstance::on(&database).await;
        let Actor { client: okta, connection } =
            test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await;
        let id = test.local_person("ann@x", json!({ "title": "Clerk", "nickName": "A" })).await;
        let before = test.account("ann@x").await;
        let path = format!("/Users/{id}");
        assert_eq!(okta.find("/Users", "userName eq \"ANN@x\"").await.text("/Resources/0/id"), id);
        let body = |title: &str| person("Ann@x", json!({
            "title": title, "externalId": "00u1", "active": true,
            "emails": [{ "value": "ann@x", "type": "work", "primary": true }],
        }));
        let mut tags = vec![okta.get(&path).await.text("/meta/version")];
        tags.push(shown(&okta.post("/Users", body("Cook")).await, 201, &id, "Cook"));
        assert_refused(&okta.post("/Users", body("Cook")).await, 409, "uniqueness");
        assert_eq!(shown(&okta.get(&path).await, 200, &id, "Cook"), tags[1]);
        let same = okta.put(&path, body("Cook")).await;
        assert_eq!(shown(&same, 200, &id, "Cook"), tags[1], "nothing new");
        tags.push(shown(&okta.put(&path, body("Chef")).await, 200, &id, "Chef"));
        tags.push(shown(&okta.patch(&path, replace("active", false)).await, 200, &id, "Chef"));
        assert_eq!(okta.get(&path).await.at("/active"), false);
        tags.push(shown(&okta.patch(&path, replace("active", true)).await, 200, &id, "Chef"));
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[..index].contains(tag), "{tags:?}");
        }
        let stale = [("if-match", tags[2].as_str())];
        let answer = okta.send_with("PATCH", &path, &stale,
            Some(json!({ "schemas": [crate::support::PATCH_OP], "Operations": replace("title", "X") })));
        assert_refused(&answer.await, 412, "");
        // The client finds its own words; the directory has none of them.
        for filter in [
            "externalId eq \"00u1\"", "title eq \"Chef\"", "emails.value eq \"ANN@x\"",
            "userName eq \"ann@x\"", "userName sw \"ann\"", "active eq true and title sw \"Ch\"",
        ] {
            let found = okta.find("/Users", filter).await;
            assert_eq!(found.at("/totalResults"), 1, "{filter}");
            assert_eq!(found.text("/Resources/0/title"), "Chef", "{filter}");
        }
        for filter in ["title eq \"Clerk\"", "nickName pr", "active eq false"] {
            assert_eq!(okta.count("/Users", filter).await, 0, "{filter}");
        }
        assert_eq!(test.account("ann@x").await, before);
        let entra = test.entra().await;
        assert_eq!(entra.get(&path).await.text("/title"), "Clerk");
        assert_eq!(entra.count("/Users", "externalId eq \"00u1\"").await, 0);

        let waiting = test.waiting().await;
        assert_eq!((waiting.len(), waiting[0].connection), (1, connection.id));
        let accepted = test.decide(&waiting[0], Decision::Accept).await.unwrap();
        assert_eq!(accepted.state, ApprovalState::Accepted);
        assert!(detail(test.decide(&waiting[0], Decision::Accept).await).contains("accepted already"));
        let account = test.account("ann@x").await;
        assert_eq!(account.connection, Some(connection.id));
        assert_eq!((account.external_id.as_deref(), account.user_name.as_str()), (Some("00u1"), "Ann@x"));
        assert_eq!(test.actions(&id).await, [
            "account.created", "account.claim_asked", "account.claim_changed",
            "account.claim_changed", "account.claim_changed", "account.picked_up",
            "account.claim_accepted",
        ]);
        shown(&okta.get(&path).await, 200, &id, "Chef");
        assert_eq!(okta.count("/Users", "emails.value eq \"ann@x\"").await, 1);
        shown(&okta.put(&path, body("Boss")).await, 200, &id, "Boss");
        assert_gone(&entra, "/Users", &id).await;
        assert_eq!(okta.delete(&path).await.status, 204);
        assert_gone(&okta, "/Users", &id).await;
    }

    /// Entra looks the name up, finds the Local account and its group, and changes both with PATCH.
    async fn an_entra_life_before_and_after_acceptance(database) {
        let test = TestInstance::on(&database).await;
        let Actor { client: entra, connection } =
            test.actor(ConnectionKind::Entra, "Entra", PickUp::WithApproval).await;
        let id = test.local_person("bob@x", json!({ "title": "Clerk" })).await;
        let staff = test.local_group("Staff").await;
        let (path, group) = (format!("/Users/{id}"), format!("/Groups/{staff}"));
        let eve = entra.user("eve@x").await;
        shown(&entra.patch(&path, replace("title", "Cook")).await, 200, &id, "Cook");
        let join = |who: &str| json!([{ "op": "Add", "path": "members", "value": [{ "value": who }] }]);
        for who in [&eve, &id] {
            assert_eq!(entra.patch(&group, join(who)).await.status, 200);
        }
        let mut both = [id.clone(), eve.clone()];
        both.sort();
        assert_eq!(entra.members(&staff).await, both);
        let leave = json!([{ "op": "Remove", "path": "members", "value": [{ "value": id }] }]);
        assert_eq!(entra.patch(&group, leave).await.status, 200);
        assert_eq!(entra.members(&staff).await, [eve.as_str()]);
        assert_eq!(entra.count("/Groups", &format!("members.value eq \"{eve}\"")).await, 1);
        let light = entra.get(&format!("{group}?excludedAttributes=members")).await;
        assert_eq!(light.at("/members"), json!(null));
        let kept = test.app.provision.group(test.id, "Staff", 10).await.unwrap().unwrap();
        assert_eq!((kept.0.connection, kept.1.len()), (None, 0), "nothing is taken over before");
        // Taken back by the client, and asked for again.
        assert_eq!(entra.delete(&path).await.status, 204);
        assert_eq!(entra.get(&path).await.text("/title"), "Clerk");
        assert_refused(&entra.delete(&path).await, 403, "");
        assert_eq!(test.waiting().await.len(), 1);
        shown(&entra.patch(&path, replace("title", "Chef")).await, 200, &id, "Chef");

        for approval in test.waiting().await {
            test.decide(&approval, Decision::Accept).await.unwrap();
        }
        assert_eq!(test.account("bob@x").await.connection, Some(connection.id));
        assert_eq!(entra.members(&staff).await, [eve.as_str()]);
        assert_eq!(entra.patch(&group, join(&id)).await.status, 200);
        assert_eq!(entra.members(&staff).await, both);
        shown(&entra.get(&path).await, 200, &id, "Chef");
        let trail = test.trail(&staff).await;
        assert!(trail.iter().any(|event| event.action == "group.member_added"));
        assert!(trail.iter().any(|event| event.action == "group.picked_up"));
    }

    async fn what_was_refused_stays_refused_until_it_is_reopened(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await;
        let id = test.local_person("ann", json!({ "title": "Clerk" })).await;
        let path = format!("/Users/{id}");
        assert_eq!(okta.client.put(&path, person("ann", json!({ "title": "Cook" }))).await.status, 200);
        let asked = test.waiting().await.remove(0);
        test.decide(&asked, Decision::Refuse).await.unwrap();
        for policy in [PickUp::WithApproval, PickUp::ByUserName] {
            let change = SettingsChange { pick_up: Some(policy), ..SettingsChange::default() };
            test.set(&okta.connection, change).await.unwrap();
            let body = || person("ann", json!({ "title": "Chef" }));
            for answer in [
                okta.client.put(&path, body()).await,
                okta.client.patch(&path, replace("title", "Chef")).await,
                okta.client.delete(&path).await,
            ] {
                let detail = assert_refused(&answer, 403, "");
                assert!(detail.contains("refused") && detail.contains("reopen"), "{detail}");
            }
            let detail = assert_refused(&okta.client.post("/Users", body()).await, 409, "uniqueness");
            assert!(detail.contains("refused"), "{detail}");
            assert_eq!(okta.client.get(&path).await.text("/title"), "Clerk");
        }
        assert!(detail(test.decide(&asked, Decision::Accept).await).contains("refused already"));
        test.decide(&asked, Decision::Reopen).await.unwrap();
        // The policy is by_user_name by now: the next write picks up, and what was said before counts.
        let answer = okta.client.patch(&path, replace("nickName", "A")).await;
        shown(&answer, 200, &id, "Cook");
        assert_eq!(test.account("ann").await.connection, Some(okta.connection.id));
        assert_eq!(test.waiting().await, []);
    }

    /// Both wait for the same account; the first accepted has it, and the other is told.
    async fn two_connections_may_wait_and_one_gets_it(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await;
        let entra = test.actor(ConnectionKind::Entra, "Entra", PickUp::WithApproval).await;
        let id = test.local_person("ann", json!({ "title": "Clerk" })).await;
        let path = format!("/Users/{id}");
        shown(&okta.client.patch(&path, replace("title", "Cook")).await, 200, &id, "Cook");
        shown(&entra.client.patch(&path, replace("title", "Chef")).await, 200, &id, "Chef");
        shown(&okta.client.get(&path).await, 200, &id, "Cook");
        let waiting = test.waiting().await;
        test.decide(&waiting[1], Decision::Accept).await.unwrap();
        let told = detail(test.decide(&waiting[0], Decision::Accept).await);
        assert!(told.contains("picked up by the connection \"Entra\""), "{told}");
        assert_gone(&okta.client, "/Users", &id).await;
        shown(&entra.client.get(&path).await, 200, &id, "Chef");
        let taken = okta.client.post("/Users", person("ann", json!({}))).await;
        assert_refused(&taken, 409, "uniqueness");
    }

    async fn an_acceptance_that_is_no_longer_possible_changes_nothing(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await.client;
        let author = test.app.provision.operator();
        // Protected meanwhile.
        let ann = test.local_person("ann", json!({})).await;
        assert_eq!(okta.patch(&format!("/Users/{ann}"), replace("title", "Cook")).await.status, 200);
        test.app.provision.set_protected(&author, test.id, ann.parse().unwrap(), true).await.unwrap();
        assert_eq!(okta.get(&format!("/Users/{ann}")).await.at("/title"), json!(null));
        let asked = test.waiting().await.remove(0);
        assert!(detail(test.decide(&asked, Decision::Accept).await).contains("protected"));
        // Renamed by the client onto a name that somebody has meanwhile.
        let bob = test.local_person("bob", json!({})).await;
        let renamed = okta.patch(&format!("/Users/{bob}"), replace("userName", "robert")).await;
        assert_eq!((renamed.status, renamed.text("/userName")), (200, "robert".to_owned()));
        assert_eq!(okta.count("/Users", "userName eq \"robert\"").await, 1);
        assert_eq!(okta.count("/Users", "userName eq \"bob\"").await, 0);
        test.local_person("robert", json!({})).await;
        let asked = test.waiting().await.remove(1);
        let before = test.everything().await;
        assert!(detail(test.decide(&asked, Decision::Accept).await).contains("\"robert\" belongs to"));
        assert_eq!(test.everything().await, before);
        // Called differently, or gone, by the hand of an administrator.
        for (change, reason) in [
            ("UPDATE accounts SET user_name = 'rob', user_name_key = 'rob' WHERE instance_id = $1 \
              AND id = $2", "called \"rob\" now"),
            ("UPDATE accounts SET deleted_at = 1, status = 'deleted' WHERE instance_id = $1 \
              AND id = $2", "deleted"),
        ] {
            let mut tx = test.app.provision.store.begin().await.unwrap();
            let target: uuid::Uuid = bob.parse().unwrap();
            let sql = scimd::store::Sql::new(change).bind(test.id).bind(target);
            tx.execute(sql).await.unwrap();
            tx.commit().await.unwrap();
            let told = detail(test.decide(&asked, Decision::Accept).await);
            assert!(told.contains(reason), "{told}");
        }
    }

    async fn another_instance_knows_nothing_of_what_is_asked_for(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await.client;
        let id = test.local_person("ann", json!({})).await;
        assert_eq!(okta.patch(&format!("/Users/{id}"), replace("title", "Cook")).await.status, 200);
        let neighbour = test.neighbour().await;
        let there = neighbour.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await.client;
        assert_eq!(neighbour.waiting().await, []);
        assert_gone(&there, "/Users", &id).await;
        assert_eq!(there.count("/Users", "title eq \"Cook\"").await, 0);
        let asked = test.waiting().await.remove(0);
        for decision in [Decision::Accept, Decision::Refuse, Decision::Reopen] {
            assert!(detail(neighbour.decide(&asked, decision).await).contains("no approval"));
        }
        assert_eq!(test.waiting().await.len(), 1);
    }

    /// A bulk request goes the same road: what is Local is asked for, with the references between both.
    async fn a_bulk_request_asks_too(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await.client;
        let ann = test.local_person("ann", json!({})).await;
        let staff = test.local_group("Staff").await;
        let answer = okta.post("/Bulk", json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [
                { "method": "POST", "path": "/Users", "bulkId": "a",
                  "data": person("ann", json!({ "title": "Cook" })) },
                { "method": "POST", "path": "/Groups", "bulkId": "g",
                  "data": team("Staff", &["bulkId:a"]) },
            ],
        })).await;
        for at in 0..2 {
            assert_eq!(answer.at(&format!("/Operations/{at}/status")), "201", "{answer:?}");
        }
        assert_eq!(okta.members(&staff).await, [ann.as_str()]);
        let before = test.app.provision.group(test.id, "Staff", 10).await.unwrap().unwrap().1;
        assert!(before.is_empty());
        for asked in test.waiting().await {
            test.decide(&asked, Decision::Accept).await.unwrap();
        }
        assert_eq!(okta.members(&staff).await, [ann.as_str()]);
        assert_eq!(test.account("ann").await.document["title"], "Cook");
    }

    /// What a connection waits for costs its lists one statement, and those of others none.
    async fn asking_costs_a_page_one_statement(database) {
        let test = TestInstance::on(&database).await;
        let asking = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await.client;
        let other = test.entra().await;
        for n in 0..5 {
            let id = test.local_person(&format!("p{n}"), json!({})).await;
            let answer = asking.patch(&format!("/Users/{id}"), replace("title", "Cook")).await;
            assert_eq!(answer.status, 200);
        }
        let recorder = crate::support::Recorder::start();
        for (client, count) in [(&asking, 1), (&other, 0)] {
            recorder.take();
            assert_eq!(client.get("/Users").await.at("/totalResults"), 5);
            let seen = recorder.take();
            let about = seen.iter().filter(|statement| statement.sql.contains("claims"));
            assert_eq!(about.count(), count, "{seen:?}");
        }
    }

    async fn administrators_who_accept_at_once_accept_once(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::WithApproval).await;
        let entra = test.actor(ConnectionKind::Entra, "Entra", PickUp::WithApproval).await;
        for round in 0..20 {
            let id = test.local_person(&format!("p{round}"), json!({})).await;
            let path = format!("/Users/{id}");
            for actor in [&okta, &entra] {
                let asked = actor.client.patch(&path, replace("title", "Cook")).await;
                assert_eq!(asked.status, 200, "{asked:?}");
            }
            let mut asked = test.waiting().await;
            asked.retain(|asked| asked.target.to_string() == id);
            let asked = [asked[0].clone(), asked[0].clone(), asked[1].clone()];
            let barrier = Arc::new(Barrier::new(asked.len()));
            let deciding: Vec<_> = asked.into_iter().map(|asked| {
                let (provision, barrier) = (test.app.provision.clone(), Arc::clone(&barrier));
                let (instance, author) = (test.id, provision.operator());
                tokio::spawn(async move {
                    barrier.wait().await;
                    provision.decide(&author, instance, asked.id, Decision::Accept).await
                })
            }).collect();
            let mut accepted = Vec::new();
            for decided in deciding {
                match decided.await.unwrap() {
                    Ok(approval) => accepted.push(approval.connection),
                    Err(error) => assert!(matches!(error, Error::Refused(_)), "{error:?}"),
                }
            }
            let owner = test.account(&format!("p{round}")).await.connection;
            assert_eq!(accepted.len(), 1, "{round}");
            assert_eq!(owner, Some(accepted[0]), "{round}");
            let picked = test.actions(&id).await;
            let picked = picked.iter().filter(|action| *action == "account.picked_up");
            assert_eq!(picked.count(), 1, "{round}");
        }
    }
}
