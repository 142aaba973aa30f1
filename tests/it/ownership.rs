//! Whose people are whose: deletion, Local people, connections and instances beside each other.

use std::sync::Arc;
use std::time::Duration;

use scimd::directory::{ConnectionKind, ConnectionStatus, Profile};
use scimd::provision::setup::NewConnection;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::{
    CORE, Client, ENTERPRISE, GROUP, TestInstance, assert_gone, assert_refused, both, person, team,
};

const HOUR: Duration = Duration::from_hours(1);

fn title(value: &str) -> Value {
    json!([{ "op": "replace", "path": "title", "value": value }])
}

fn managed_by(reference: impl Into<Value>) -> Value {
    json!({ ENTERPRISE: { "manager": reference.into() } })
}

both! {
    /// Somebody who was Local joins a group of one connection and is picked up by another: neither sees
    /// the other's part, and a list that leaves out who cannot be seen removes nobody.
    async fn groups_of_another_connection_stay_out_of_sight(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let author = test.app.provision.operator();
        let lea = json!({ "userName": "lea" }).as_object().unwrap().clone();
        let lea = test.app.provision.create_local_account(test.id, &author, lea).await.unwrap().id;
        let lea = lea.to_string();
        let group = entra.group("Secret project", &[&lea]).await;
        assert_eq!(okta.put(&format!("/Users/{lea}"), person("lea", json!({}))).await.status, 200);
        assert_eq!(okta.get(&format!("/Users/{lea}")).await.at("/groups"), json!(null));
        assert_eq!(okta.count("/Users", &format!("groups.value eq \"{group}\"")).await, 0);
        assert_eq!(entra.count("/Groups", &format!("members.value eq \"{lea}\"")).await, 0);
        let path = format!("/Groups/{group}");
        let seen = entra.get(&path).await;
        assert_eq!(seen.at("/members"), json!([]));
        assert_eq!(entra.put(&path, seen.body).await.status, 200);
        let kept = test.app.provision.group(test.id, &group, 10).await.unwrap().unwrap().1;
        assert_eq!(kept.len(), 1, "who cannot be seen was removed");
    }

    /// A complete list says nothing of who is deleted: restored, they have their groups again.
    async fn a_complete_list_leaves_the_groups_of_the_deleted(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let group = client.group("Staff", &[&ann, &bob]).await;
        assert_eq!(client.delete(&format!("/Users/{ann}")).await.status, 204);
        let op = json!([{ "op": "replace", "path": "members", "value": [{ "value": bob }] }]);
        assert_eq!(client.patch(&format!("/Groups/{group}"), op).await.status, 200);
        let mut tx = test.app.provision.store.read().await.unwrap();
        let rows: Option<scimd::store::row::Count> = tx
            .fetch_optional(
                scimd::store::Sql::new("SELECT COUNT(*) AS n FROM memberships WHERE instance_id = $1")
                    .bind(test.id),
            )
            .await
            .unwrap();
        assert_eq!(rows.unwrap().0, 2);
    }

    async fn a_deleted_person_is_gone_from_every_answer(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let details = json!({ "externalId": "x1", "emails": [{ "value": "boss@x" }] });
        let boss = client.person("boss@example.com", details).await;
        let ann = client.person("ann@example.com", managed_by("boss@example.com")).await;
        let group = client.group("Staff", &[&boss, &ann]).await;
        assert_eq!(test.manager_of("ann@example.com").await.unwrap(), "boss@example.com");
        let deleted = client.delete(&format!("/Users/{boss}")).await;
        assert_eq!((deleted.status, deleted.body), (204, Value::Null));
        assert_gone(&client, "/Users", &boss).await;
        for filter in [
            "userName eq \"boss@example.com\"", "externalId eq \"x1\"",
            "emails.value eq \"boss@x\"",
            "emails pr", "userName sw \"boss\"", "active eq true and externalId pr",
        ] {
            assert_eq!(client.count("/Users", filter).await, 0, "{filter}");
        }
        assert_eq!(client.count("/Users", "userName pr").await, 1);
        assert_eq!(client.members(&group).await, [ann.as_str()]);
        assert_eq!(client.count("/Groups", &format!("members eq \"{boss}\"")).await, 0);
        assert_eq!(test.manager_of("ann@example.com").await, None);
        let read = client.get(&format!("/Users/{ann}")).await;
        assert_eq!(
            read.at(&format!("/{ENTERPRISE}/manager")), json!({ "value": "boss@example.com" }),
        );
        // The name is free again, and whoever takes it is somebody else.
        let again = client.user("BOSS@example.com").await;
        assert_ne!(again, boss);
        assert_eq!(client.members(&group).await, [ann.as_str()]);
        assert_eq!(test.manager_of("ann@example.com").await.unwrap(), "BOSS@example.com");
        assert_gone(&client, "/Users", &boss).await;
        let join = json!([{ "op": "add", "path": "members", "value": [{ "value": boss }] }]);
        assert_eq!(client.patch(&format!("/Groups/{group}"), join).await.status, 200);
        assert_eq!(client.members(&group).await, [ann.as_str()]);
        // Nobody could come back by a change either.
        assert_eq!(client.delete(&format!("/Users/{again}")).await.status, 204);
        assert_gone(&client, "/Users", &again).await;
    }

    async fn a_deleted_group_is_gone_from_every_answer(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let ann = client.user("ann@example.com").await;
        let staff = client.group("Staff", &[&ann]).await;
        let all = client.group("All", &[&staff]).await;
        assert_eq!(client.get(&format!("/Users/{ann}")).await.at("/groups/0/value"), json!(staff));
        assert_eq!(client.delete(&format!("/Groups/{staff}")).await.status, 204);
        assert_gone(&client, "/Groups", &staff).await;
        assert_eq!(client.count("/Groups", "displayName eq \"Staff\"").await, 0);
        assert_eq!(client.count("/Users", "groups pr").await, 0);
        assert_eq!(client.members(&all).await, [""; 0]);
        assert_eq!(client.get(&format!("/Users/{ann}")).await.at("/groups"), Value::Null);
        let again = client.group("STAFF", &[]).await;
        assert_ne!(again, staff);
        assert_eq!(client.members(&again).await, [""; 0]);
    }

    async fn a_local_person_is_picked_up_by_the_first_write(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        for way in ["POST", "PUT", "PATCH"] {
            let name = format!("Ann.{way}@Example.com");
            let id = test.local_person(&name, json!({ "nickName": "Local" })).await;
            let path = format!("/Users/{id}");
            for client in [&okta, &entra] {
                let filter = format!("userName eq \"{}\"", name.to_lowercase());
                assert_eq!(client.find("/Users", &filter).await.at("/Resources/0/id"), json!(id));
                assert_eq!(client.get(&path).await.status, 200);
            }
            test.advance(HOUR);
            let body = person(&name.to_uppercase(), json!({ "title": "Cook" }));
            let (answer, status) = match way {
                "POST" => (okta.post("/Users", body).await, 201),
                "PUT" => (okta.put(&path, body).await, 200),
                _ => (okta.patch(&path, title("Cook")).await, 200),
            };
            assert_eq!((answer.status, answer.text("/id")), (status, id.clone()), "{answer:?}");
            assert_eq!(answer.text("/title"), "Cook");
            assert_gone(&entra, "/Users", &id).await;
            let taken = entra.post("/Users", person(&name, json!({}))).await;
            assert_refused(&taken, 409, "uniqueness");
            assert_eq!(okta.count("/Users", &format!("id eq \"{id}\"")).await, 1);
            let trail = test.trail(&id).await;
            let actions: Vec<_> = trail.iter().map(|event| event.action.as_str()).collect();
            assert_eq!(actions, ["account.created", "account.picked_up"], "{way}");
            assert!(trail[0].connection.is_none() && trail[1].connection.is_some());
            // A second POST is no second pick-up.
            let again = okta.post("/Users", person(&name, json!({}))).await;
            assert_refused(&again, 409, "uniqueness");
        }
        // A rename onto a Local person cannot make one of two.
        test.local_person("local@example.com", json!({})).await;
        let own = okta.user("own@example.com").await;
        let rename = json!([{ "op": "replace", "path": "userName", "value": "LOCAL@example.com" }]);
        assert_refused(&okta.patch(&format!("/Users/{own}"), rename).await, 409, "uniqueness");
    }

    async fn a_local_person_is_not_picked_up_by_anything_but_the_name(database) {
        let test = TestInstance::on(&database).await;
        let details = json!({ "externalId": "x1", "emails": [{ "value": "ann@example.com" }] });
        let local = test.local_person("ann", details.clone()).await;
        let okta = test.okta().await;
        assert_ne!(okta.person("ann@example.com", details).await, local);
        assert_eq!(test.trail(&local).await.len(), 1);
    }

    async fn a_local_group_is_picked_up_by_the_first_write(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let ann = okta.user("ann@example.com").await;
        for way in ["POST", "PUT", "PATCH"] {
            let name = format!("Staff {way}");
            let id = test.local_group(&name).await;
            let path = format!("/Groups/{id}");
            let filter = format!("displayName eq \"{}\"", name.to_uppercase());
            assert_eq!(entra.find("/Groups", &filter).await.at("/Resources/0/id"), json!(id));
            let body = team(&name.to_uppercase(), &[&ann]);
            let join = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
            let (answer, status) = match way {
                "POST" => (okta.post("/Groups", body).await, 201),
                "PUT" => (okta.put(&path, body).await, 200),
                _ => (okta.patch(&path, join).await, 200),
            };
            assert_eq!((answer.status, answer.text("/id")), (status, id.clone()), "{answer:?}");
            assert_eq!(okta.members(&id).await, [ann.as_str()]);
            assert_gone(&entra, "/Groups", &id).await;
            assert_refused(&entra.post("/Groups", team(&name, &[])).await, 409, "uniqueness");
            let trail = test.trail(&id).await;
            assert!(trail.iter().any(|event| event.action == "group.picked_up"), "{way}");
        }
    }

    async fn connections_neither_see_nor_change_each_others_people(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let ann = okta.person("ann@example.com", json!({ "externalId": "x1" })).await;
        let bob = entra.user("bob@example.com").await;
        let staff = okta.group("Staff", &[&ann]).await;
        let guests = entra.group("Guests", &[&bob]).await;
        let before = (
            okta.get(&format!("/Users/{ann}")).await, okta.get(&format!("/Groups/{staff}")).await,
        );
        assert_gone(&entra, "/Users", &ann).await;
        assert_gone(&entra, "/Groups", &staff).await;
        for filter in ["userName pr", "externalId eq \"x1\"", "userName sw \"ann\""] {
            let found = entra.find("/Users", filter).await;
            assert_ne!(found.at("/Resources/0/id"), json!(ann), "{filter}");
        }
        assert_eq!(entra.get("/Users").await.at("/totalResults"), 1);
        assert_eq!(entra.get("/Groups").await.at("/totalResults"), 1);
        let rename = |attribute, value| json!(
            [{ "op": "replace", "path": attribute, "value": value }]
        );
        for answer in [
            entra.post("/Users", person("ANN@example.com", json!({}))).await,
            entra.put(&format!("/Users/{bob}"), person("ann@Example.com", json!({}))).await,
            entra.patch(&format!("/Users/{bob}"), rename("userName", "ann@example.com")).await,
            entra.post("/Groups", team("STAFF", &[])).await,
            entra.put(&format!("/Groups/{guests}"), team("staff", &[])).await,
            entra.patch(&format!("/Groups/{guests}"), rename("displayName", "staff")).await,
        ] {
            let detail = assert_refused(&answer, 409, "uniqueness");
            assert!(!detail.contains(&ann) && !detail.contains("okta"), "{detail}");
        }
        let join = json!(
            [{ "op": "add", "path": "members", "value": [{ "value": ann }, { "value": staff }] }]
        );
        let joined = entra.patch(&format!("/Groups/{guests}"), join).await;
        assert_eq!(joined.status, 200, "{joined:?}");
        assert_eq!(entra.members(&guests).await, [bob.as_str()]);
        assert_eq!(
            entra.put(&format!("/Groups/{guests}"), team("Guests", &[&ann, &bob])).await.status,
            200,
        );
        assert_eq!(entra.members(&guests).await, [bob.as_str()]);
        for filter in [format!("members eq \"{ann}\""), format!("groups eq \"{staff}\"")] {
            let endpoint = if filter.starts_with("members") { "/Groups" } else { "/Users" };
            assert_eq!(entra.count(endpoint, &filter).await, 0, "{filter}");
        }
        let after = (
            okta.get(&format!("/Users/{ann}")).await, okta.get(&format!("/Groups/{staff}")).await,
        );
        assert_eq!((before.0.body, before.1.body), (after.0.body, after.1.body));
    }

    async fn unknown_members_are_skipped_with_a_note_or_refused_by_name(database) {
        let test = TestInstance::on(&database).await;
        let stale = "019f0000-0000-7000-8000-000000000000";
        let lenient = test.entra().await;
        let ann = lenient.user("ann@example.com").await;
        let group = lenient.group("Staff", &[stale, &ann, "nonsense"]).await;
        assert_eq!(lenient.members(&group).await, [ann.as_str()]);
        let noted = test.trail(&group).await.into_iter().any(|event| {
            event.after.is_some_and(|after| after.to_string().contains(stale))
        });
        assert!(noted, "no note in the trail");
        let new = NewConnection {
            kind: ConnectionKind::Scim,
            name: "strict".to_owned(),
            profile: Some(Profile::Generic),
            status: ConnectionStatus::Enabled,
        };
        let author = test.app.provision.operator();
        let connection = test.app.provision.create_connection(&author, test.id, new).await.unwrap();
        let strict = Client { app: test.app.clone(), token: test.token(&connection).await };
        let bob = strict.user("bob@example.com").await;
        let group = strict.group("Guests", &[&bob]).await;
        let before = test.everything().await;
        for unknown in [stale, "nonsense", &ann] {
            let path = format!("/Groups/{group}");
            let join = json!([{ "op": "add", "path": "members", "value": [{ "value": unknown }] }]);
            for answer in [
                strict.post("/Groups", team("New", &[&bob, unknown])).await,
                strict.put(&path, team("Guests", &[unknown])).await,
                strict.patch(&path, join).await,
            ] {
                let detail = assert_refused(&answer, 400, "invalidValue");
                assert!(detail.contains("members") && detail.contains(unknown), "{detail}");
            }
        }
        assert_eq!(test.everything().await, before);
    }

    async fn members_who_come_and_go_at_once_all_count(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let mut ids = Vec::new();
        for number in 0..8 {
            ids.push(client.user(&format!("u{number}")).await);
        }
        ids.sort_unstable();
        let group = client.group("Staff", &[]).await;
        for round in 0..20 {
            let barrier = Arc::new(Barrier::new(ids.len()));
            let changes: Vec<_> = ids.iter().map(|id| {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                let path = format!("/Groups/{group}");
                let operation = if round % 2 == 0 { "add" } else { "remove" };
                let value = json!({ "op": operation, "path": "members", "value": [{ "value": id }] });
                tokio::spawn(async move {
                    barrier.wait().await;
                    client.patch(&path, json!([value])).await
                })
            }).collect();
            for change in changes {
                assert_eq!(change.await.unwrap().status, 200);
            }
            let expected = if round % 2 == 0 { ids.clone() } else { Vec::new() };
            assert_eq!(client.members(&group).await, expected, "{round}");
        }
    }

    async fn instances_know_nothing_of_each_other(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let (here, there) = (test.okta().await, neighbour.okta().await);
        let ann = here.person("ann@example.com", managed_by("boss@example.com")).await;
        let staff = here.group("Staff", &[&ann]).await;
        let local = test.local_person("local@example.com", json!({})).await;
        let before = test.everything().await;
        for (endpoint, id) in [("/Users", &ann), ("/Users", &local), ("/Groups", &staff)] {
            assert_gone(&there, endpoint, id).await;
            assert_eq!(there.get(endpoint).await.at("/totalResults"), 0);
        }
        for name in ["ann@example.com", "boss@example.com", "local@example.com"] {
            let id = there.user(name).await;
            assert!(![&ann, &local].contains(&&id));
        }
        let group = there.group("Staff", &[&ann, &staff]).await;
        assert_eq!(there.members(&group).await, [""; 0]);
        assert_eq!(test.manager_of("ann@example.com").await, None);
        assert_eq!(test.everything().await, before);
    }

    async fn a_draft_or_paused_connection_reads_and_does_not_write(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "okta").await;
        let client = Client { app: test.app.clone(), token: test.token(&connection).await };
        let (ann, group) = (client.user("ann").await, client.group("Staff", &[]).await);
        let before = (test.everything().await, test.trail(&ann).await);
        let author = test.app.provision.operator();
        for (status, code) in [(ConnectionStatus::Draft, 403), (ConnectionStatus::Paused, 429)] {
            test.app.provision.set_connection_status(&author, &connection, status).await.unwrap();
            assert_eq!(client.count("/Users", "userName eq \"ann\"").await, 1);
            assert_eq!(client.get(&format!("/Users/{ann}")).await.status, 200);
            for answer in [
                client.post("/Users", person("bob", json!({}))).await,
                client.put(&format!("/Users/{ann}"), person("ann", json!({ "title": "X" }))).await,
                client.patch(&format!("/Users/{ann}"), title("X")).await,
                client.delete(&format!("/Users/{ann}")).await,
                client.post("/Groups", team("Other", &[])).await,
                client.put(&format!("/Groups/{group}"), team("Staff", &[&ann])).await,
                client.patch(
                    &format!("/Groups/{group}"),
                    json!([{ "op": "add", "path": "members", "value": ann }]),
                ).await,
                client.delete(&format!("/Groups/{group}")).await,
            ] {
                let detail = assert_refused(&answer, code, "");
                assert!(detail.contains(status.word()), "{detail}");
                let seconds = answer.header("retry-after").parse::<u32>().is_ok();
                assert_eq!(seconds, code == 429, "{answer:?}");
            }
            assert_eq!((test.everything().await, test.trail(&ann).await), before);
        }
        test.app.provision.set_connection_status(
            &author, &connection, ConnectionStatus::Enabled,
        ).await.unwrap();
        assert_eq!(client.patch(&format!("/Users/{ann}"), title("X")).await.status, 200);
    }

    async fn a_disabled_person_shows_as_disabled_even_without_the_word(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let filter = "userName eq \"off\" and active eq false";
        let path = format!("/Users/{}", client.person("off", json!({ "active": false })).await);
        let put = client.put(&path, person("off", json!({}))).await;
        assert_eq!((put.at("/active"), client.count("/Users", filter).await), (json!(false), 1));
        for operation in [
            json!({ "op": "replace", "path": "active", "value": null }),
            json!({ "op": "replace", "path": "active", "value": "" }),
            json!({ "op": "remove", "path": "active" }),
        ] {
            assert_eq!(client.patch(&path, json!([operation])).await.status, 200, "{operation}");
            assert_eq!(client.get(&path).await.at("/active"), false, "{operation}");
            assert_eq!(client.count("/Users", filter).await, 1, "{operation}");
        }
    }

    async fn a_disabled_person_can_be_read_found_and_enabled(database) {
        let client = TestInstance::on(&database).await.client(ConnectionKind::Scim).await;
        let id = client.person("off@example.com", json!({ "active": false })).await;
        let group = client.group("Staff", &[&id]).await;
        let path = format!("/Users/{id}");
        for active in [false, true, false] {
            let put = client.put(
                &path, person("off@example.com", json!({ "active": active })),
            ).await;
            assert_eq!((put.status, put.at("/active")), (200, json!(active)));
            assert_eq!(client.get(&path).await.at("/active"), active);
            let found = client.find("/Users", "userName eq \"off@example.com\"").await;
            assert_eq!(found.at("/Resources/0/active"), active);
            assert_eq!(client.members(&group).await, [id.as_str()]);
        }
        // Nothing but a name is needed.
        assert_eq!(
            client.post(
                "/Users", json!({ "schemas": [CORE], "userName": "u" }),
            ).await.at("/active"),
            true,
        );
        assert_eq!(
            client.post("/Groups", json!({ "schemas": [GROUP], "displayName": "g" })).await.status,
            201,
        );
    }

    async fn names_are_unique_in_any_case_and_any_script(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let same = [
            ("ann@example.com", "ANN@Example.COM"), ("straße", "STRASSE"), ("é", "e\u{301}"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("ａｂｃ", "abc"), ("ﬁona", "FIONA"), ("K\u{212a}", "kk"),
            ("Ǆ", "ǆ"),
        ];
        for (left, right) in same {
            let (user, group) = (client.user(left).await, client.group(left, &[]).await);
            let (other, others) = (client.user("other").await, client.group("other", &[]).await);
            let rename = |attribute| json!(
                [{ "op": "replace", "path": attribute, "value": right }]
            );
            for answer in [
                client.post("/Users", person(right, json!({}))).await,
                client.put(&format!("/Users/{other}"), person(right, json!({}))).await,
                client.patch(&format!("/Users/{other}"), rename("userName")).await,
                client.post("/Groups", team(right, &[])).await,
                client.put(&format!("/Groups/{others}"), team(right, &[])).await,
                client.patch(&format!("/Groups/{others}"), rename("displayName")).await,
            ] {
                let detail = assert_refused(&answer, 409, "uniqueness");
                assert!(detail.contains("Name"), "{detail}");
            }
            let found = client.get(&format!("/Users?filter=userName+eq+%22{}%22",
                form_urlencoded::byte_serialize(right.as_bytes()).collect::<String>())).await;
            assert_eq!(found.at("/Resources/0/userName"), left);
            // One's own name in other letters is a change, no conflict.
            let own = client.patch(&format!("/Users/{user}"), rename("userName")).await;
            assert_eq!((own.status, own.text("/userName")), (200, right.to_owned()));
            let own = client.patch(&format!("/Groups/{group}"), rename("displayName")).await;
            assert_eq!((own.status, own.text("/displayName")), (200, right.to_owned()));
            for path in [
                format!("/Users/{user}"), format!("/Users/{other}"), format!("/Groups/{group}"),
                format!("/Groups/{others}"),
            ] {
                assert_eq!(client.delete(&path).await.status, 204);
            }
        }
        for other in [
            "ann@example.com", "ann@example.com ", "ann@example.co", "änn@example.com",
            "аnn@example.com",
        ] {
            client.user(other).await;
        }
    }
}
