//! Managers: taken in any form, kept as sent, linked when the person they name is in scope.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::{ENTERPRISE, TestInstance, both, person};

fn managed_by(reference: impl Into<Value>) -> Value {
    json!({ ENTERPRISE: { "manager": reference.into() } })
}

both! {
    /// Two links that would close a circle together: one of them waits.
    async fn no_circle_comes_about_when_both_links_come_at_once(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cy", "dee"] {
            ids.push(client.user(name).await);
        }
        let link = |from: usize, to: &str| {
            let (client, path) = (client.clone(), format!("/Users/{}", ids[from]));
            let value = json!({ "value": to });
            let path_of = format!("{ENTERPRISE}:manager");
            async move {
                let op = json!([{ "op": "replace", "path": path_of, "value": value }]);
                client.patch(&path, op).await.status
            }
        };
        // bob reports to cy and dee to ann throughout: ann → bob and cy → dee would close the circle.
        assert_eq!((link(1, "cy").await, link(3, "ann").await), (200, 200));
        for round in 0..20 {
            let barrier = Arc::new(Barrier::new(2));
            let at_once = [(0, "bob"), (2, "dee")].map(|(from, to)| {
                let (barrier, link) = (Arc::clone(&barrier), link(from, to));
                tokio::spawn(async move {
                    barrier.wait().await;
                    link.await
                })
            });
            for one in at_once {
                assert_eq!(one.await.unwrap(), 200);
            }
            let linked = (test.manager_of("ann").await, test.manager_of("cy").await);
            assert!(linked.0.is_none() != linked.1.is_none(), "round {round}: {linked:?}");
            assert_eq!((link(0, "").await, link(2, "").await), (200, 200));
        }
    }

    /// When a manager and her report change places, the link that waited comes about.
    async fn a_link_that_would_have_closed_a_circle_comes_when_the_circle_is_gone(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        client.user("cy").await;
        let link = |id: &str, to: &str| {
            let (client, path) = (client.clone(), format!("/Users/{id}"));
            let op = json!([{ "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": to }]);
            async move { assert_eq!(client.patch(&path, op).await.status, 200) }
        };
        link(&ann, "bob").await;
        link(&bob, "ann").await;
        assert_eq!(test.manager_of("bob").await, None);
        link(&ann, "cy").await;
        assert_eq!(test.manager_of("ann").await.as_deref(), Some("cy"));
        assert_eq!(test.manager_of("bob").await.as_deref(), Some("ann"));
    }

    /// What is compared case by case is noticed when its case changes.
    async fn an_external_id_that_changes_its_case_is_noticed(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let boss = client.person("boss", json!({ "externalId": "ExtX" })).await;
        client.person("ann", managed_by("extX")).await;
        assert_eq!(test.manager_of("ann").await, None);
        let op = json!([{ "op": "replace", "path": "externalId", "value": "extX" }]);
        assert_eq!(client.patch(&format!("/Users/{boss}"), op).await.status, 200);
        assert_eq!(test.manager_of("ann").await.as_deref(), Some("boss"));
    }

    async fn a_person_and_her_manager_find_each_other_when_both_come_at_once(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        for round in 0..20 {
            let (report, boss) = (format!("report{round}"), format!("boss{round}"));
            let bodies = [
                person(&report, managed_by(boss.as_str())), person(&boss, json!({})),
                person(&format!("late{round}"), managed_by(boss.to_uppercase())),
            ];
            let barrier = Arc::new(Barrier::new(bodies.len()));
            let posts = bodies.map(|body| {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    client.post("/Users", body).await
                })
            });
            for post in posts {
                assert_eq!(post.await.unwrap().status, 201);
            }
            for name in [report, format!("late{round}")] {
                assert_eq!(test.manager_of(&name).await.as_ref(), Some(&boss));
            }
        }
    }

    async fn managers_are_taken_in_any_form_and_cleared_in_any_form(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let boss = client.user("boss@example.com").await;
        let ann = client.user("ann@example.com").await;
        let (path, manager) = (format!("/Users/{ann}"), format!("{ENTERPRISE}:manager"));
        let set = [
            json!({ "op": "Add", "path": manager, "value": boss }),
            json!({ "op": "Replace", "path": manager, "value": { "value": boss } }),
            json!(
                {
                    "op": "Replace", "path": manager,
                    "value": [{ "$ref": "../Users/x", "value": boss }],
                }
            ),
            json!({ "op": "add", "path": manager, "value": { "value": boss, "displayName": "B" } }),
            json!({ "op": "replace", "path": format!("{manager}.value"), "value": boss }),
            json!({ "op": "replace", "value": { &manager: boss } }),
            json!({ "op": "replace", "value": { format!("{manager}.value"): boss } }),
            json!({ "op": "replace", "value": { ENTERPRISE: { "manager": boss } } }),
            json!({ "op": "add", "value": { ENTERPRISE: { "Manager": { "Value": boss } } } }),
        ];
        let clear = [
            json!({ "op": "Replace", "path": manager, "value": "" }),
            json!({ "op": "Replace", "path": manager, "value": null }),
            json!({ "op": "Replace", "path": manager, "value": { "value": "" } }),
            json!({ "op": "replace", "path": manager, "value": { "value": null } }),
            json!({ "op": "replace", "path": manager, "value": [] }),
            json!({ "op": "Remove", "path": manager }),
            json!({ "op": "remove", "path": format!("{manager}.value") }),
            json!({ "op": "replace", "value": { &manager: "" } }),
            json!({ "op": "replace", "value": { ENTERPRISE: { "manager": null } } }),
            json!({ "op": "remove", "path": ENTERPRISE }),
        ];
        let pointer = format!("/{ENTERPRISE}/manager");
        for (number, (set, clear)) in set.iter().cycle().zip(&clear).enumerate() {
            assert_eq!(client.patch(&path, json!([set])).await.status, 200, "{set}");
            let read = client.get(&path).await;
            assert_eq!(read.text(&format!("{pointer}/value")), boss, "{set}");
            assert_eq!(test.manager_of("ann@example.com").await.unwrap(), "boss@example.com");
            assert_eq!(client.patch(&path, json!([clear])).await.status, 200, "{clear}");
            assert_eq!(client.get(&path).await.at(&pointer), Value::Null, "{clear}");
            assert_eq!(test.manager_of("ann@example.com").await, None, "{clear}");
            let bodies = [json!(boss), json!({ "value": boss }), json!([{ "value": boss }])];
            let name = format!("u{number}");
            let id = client.person(&name, managed_by(bodies[number % 3].clone())).await;
            assert_eq!(test.manager_of(&name).await.unwrap(), "boss@example.com");
            let put = client.put(&format!("/Users/{id}"), person(&name, json!({}))).await;
            assert_eq!((put.status, put.at(&pointer)), (200, Value::Null));
            assert_eq!(test.manager_of(&name).await, None);
        }
    }

    async fn a_manager_is_found_by_the_first_name_that_fits(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let attributes = |kind: &str| match kind {
            "externalId" => json!({ "externalId": "ref-1" }),
            "email" => json!(
                { "emails": [{ "value": "x@x" }, { "type": "home", "value": "ref-1" }] }
            ),
            "employeeNumber" => json!({ ENTERPRISE: { "employeeNumber": "ref-1" } }),
            _ => json!({}),
        };
        let name = |kind| if kind == "userName" { "ref-1" } else { kind };
        let order = ["externalId", "userName", "email", "employeeNumber"];
        for (round, backwards) in [(0, true), (1, false)] {
            let report = format!("report{round}");
            client.person(&report, managed_by("ref-1")).await;
            assert_eq!(test.manager_of(&report).await, None);
            let mut kinds = order.to_vec();
            if backwards {
                kinds.reverse();
            }
            let mut ids = Vec::new();
            for (number, kind) in kinds.iter().enumerate() {
                ids.push((*kind, client.person(name(kind), attributes(kind)).await));
                let best = if backwards { kinds[number] } else { order[0] };
                assert_eq!(test.manager_of(&report).await.unwrap(), name(best), "with {kind}");
                let late = format!("late{round}{number}");
                client.person(&late, managed_by("ref-1")).await;
                assert_eq!(test.manager_of(&late).await.unwrap(), name(best), "after {kind}");
            }
            // Whoever leaves makes room for the next that fits.
            for (at, kind) in order.iter().enumerate() {
                assert_eq!(test.manager_of(&report).await.unwrap(), name(kind));
                let (_, id) = ids.iter().find(|(one, _)| one == kind).unwrap();
                assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
                let next = order.get(at + 1).map(|kind| name(kind).to_owned());
                assert_eq!(test.manager_of(&report).await, next, "without {kind}");
            }
        }
    }

    async fn a_manager_out_of_scope_is_not_linked(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let foreign = entra.user("foreign@example.com").await;
        let local = test.local_person("local@example.com", json!({})).await;
        let cases = [
            json!(foreign), json!("foreign@example.com"), json!(local), json!("local@example.com"),
        ];
        for (number, reference) in cases.into_iter().enumerate() {
            let name = format!("u{number}");
            let id = okta.person(&name, managed_by(reference.clone())).await;
            let read = okta.get(&format!("/Users/{id}")).await;
            assert_eq!(read.at(&format!("/{ENTERPRISE}/manager")), json!({ "value": reference }));
            assert_eq!(test.manager_of(&name).await, None, "{reference}");
        }
        assert_eq!(okta.get("/Users").await.at("/totalResults"), 5);
        // Picked up, the Local manager is in scope: both references are linked at once.
        assert_eq!(okta.post("/Users", person("local@example.com", json!({}))).await.status, 201);
        for name in ["u2", "u3"] {
            assert_eq!(test.manager_of(name).await.unwrap(), "local@example.com");
        }
        assert_eq!(test.manager_of("u0").await, None);
    }

    async fn nobody_manages_herself_in_a_circle(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        client.person("self", managed_by("self")).await;
        for (name, manager) in [("a", "b"), ("b", "c"), ("c", "a")] {
            client.person(name, managed_by(manager)).await;
        }
        assert_eq!(test.manager_of("self").await, None);
        let mut links = 0;
        for name in ["a", "b", "c"] {
            links += usize::from(test.manager_of(name).await.is_some());
        }
        assert_eq!(links, 2);
    }
}
