//! What a change leaves behind, and what it must not: times, audit rows, halves, secrets.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{CORE, ENTERPRISE, TestInstance, assert_gone, assert_refused, both, team};

const HOUR: Duration = Duration::from_hours(1);

both! {
    #[expect(clippy::too_many_lines, reason = "one table")]
    async fn what_changes_nothing_leaves_no_trace(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let boss = client.user("boss@example.com").await;
        let ann = client.person("ann@example.com", json!({
            "externalId": "x1", "title": "Cook",
            "name": { "givenName": "Ann", "familyName": "Lee" },
            "emails": [{ "type": "work", "value": "a@x", "primary": true }, { "value": "b@x" }],
            "active": true, ENTERPRISE: { "department": "D", "manager": boss },
        })).await;
        let group = client.group("Staff", &[&ann, &boss]).await;
        let (user_path, group_path) = (format!("/Users/{ann}"), format!("/Groups/{group}"));
        let whole = client.get(&user_path).await.body;
        let cases = [
            (&user_path, json!({ "op": "replace", "path": "title", "value": "Cook" })),
            (&user_path, json!({ "op": "Replace", "path": "active", "value": "True" })),
            (&user_path, json!({ "op": "add", "path": "emails", "value": [{ "value": "b@x" }] })),
            (
                &user_path,
                json!(
                    { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "a@x" }
                ),
            ),
            (
                &user_path,
                json!(
                    {
                        "op": "replace",
                        "value": { "name.givenName": "Ann", "name": { "familyName": "Lee" } },
                    }
                ),
            ),
            (
                &user_path,
                json!(
                    {
                        "op": "add", "path": format!("{ENTERPRISE}:manager"),
                        "value": { "value": boss },
                    }
                ),
            ),
            (&user_path, json!({ "op": "remove", "path": "nickName" })),
            (&user_path, json!({ "op": "replace", "path": "nickName", "value": "" })),
            (&user_path, json!({ "op": "replace", "path": "id", "value": "other" })),
            (
                &user_path,
                json!(
                    {
                        "op": "replace",
                        "value": { "groups": [], "meta": {}, "schemas": [], "password": "x" },
                    }
                ),
            ),
            (&user_path, json!({ "op": "replace", "path": "displayName", "value": null })),
            (&group_path, json!({ "op": "add", "path": "members", "value": [{ "value": ann }] })),
            (
                &group_path,
                json!({ "op": "remove", "path": "members", "value": [{ "value": group }] }),
            ),
            (
                &group_path,
                json!(
                    {
                        "op": "replace", "path": "members",
                        "value": [{ "value": boss }, { "value": ann }],
                    }
                ),
            ),
            (
                &group_path,
                json!({ "op": "replace", "value": { "id": group, "displayName": "Staff" } }),
            ),
        ];
        let (trails, before) = (
            (test.trail(&ann).await, test.trail(&group).await),
            (whole.clone(), client.get(&group_path).await.body),
        );
        let unchanged = async |what: String| {
            let after = (client.get(&user_path).await.body, client.get(&group_path).await.body);
            assert_eq!(after, before, "{what}");
            assert_eq!((test.trail(&ann).await, test.trail(&group).await), trails, "{what}");
        };
        for (path, operation) in cases {
            test.advance(HOUR);
            let patched = client.patch(path, json!([operation])).await;
            assert_eq!(patched.status, 200, "{operation}: {patched:?}");
            unchanged(operation.to_string()).await;
        }
        for (path, body) in [
            (&user_path, whole), (&group_path, before.1.clone()),
            (&group_path, team("Staff", &[&boss, &ann, &boss])),
        ] {
            test.advance(HOUR);
            assert_eq!(client.put(path, body.clone()).await.status, 200);
            unchanged(body.to_string()).await;
        }
        let undone = json!([
            { "op": "replace", "path": "title", "value": "X" },
            { "op": "replace", "path": "title", "value": "Cook" },
        ]);
        assert_eq!(client.patch(&user_path, undone).await.status, 200);
        unchanged("done and undone".to_owned()).await;
    }

    async fn every_change_has_its_time_and_its_row_in_the_trail(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (boss, ann) = (client.user("boss").await, client.user("ann").await);
        let group = client.group("Staff", &[]).await;
        let (user_path, group_path) = (format!("/Users/{ann}"), format!("/Groups/{group}"));
        let patch = |path: &str, value: Value| json!(
            [{ "op": "replace", "path": path, "value": value }]
        );
        let cases = [
            (&user_path, patch("title", json!("Cook")), "account.changed"),
            (&user_path, patch("active", json!(false)), "account.changed"),
            (&user_path, patch("userName", json!("Ann")), "account.changed"),
            (&user_path, patch(&format!("{ENTERPRISE}:manager"), json!(boss)), "account.changed"),
            (&user_path, patch(&format!("{ENTERPRISE}:manager"), json!("")), "account.changed"),
            (&group_path, patch("displayName", json!("STAFF")), "group.changed"),
            (&group_path, patch("members", json!([{ "value": ann }])), "group.member_added"),
            (&group_path, patch("members", json!([{ "value": boss }])), "group.member_removed"),
        ];
        for (path, operations, action) in cases {
            let id = path.rsplit('/').next().unwrap();
            let (before, rows) = (client.get(path).await, test.trail(id).await.len());
            test.advance(HOUR);
            let after = client.patch(path, operations.clone()).await;
            assert_eq!(after.status, 200, "{operations}: {after:?}");
            assert!(
                after.text("/meta/lastModified") > before.text("/meta/lastModified"),
                "{operations}",
            );
            assert_eq!(after.at("/meta/created"), before.at("/meta/created"));
            let trail = test.trail(id).await;
            let new = &trail[rows..];
            let row = new.iter().find(|event| event.action == action);
            let row = row.unwrap_or_else(|| panic!("{operations}: no {action} in {new:?}"));
            assert!(row.connection.is_some() && row.key.is_some(), "{row:?}");
            assert_eq!(row.request_id.as_deref().unwrap(), after.header("x-request-id"));
        }
        for (endpoint, id, action) in [
            ("/Users", &ann, "account.deleted"), ("/Groups", &group, "group.deleted"),
        ] {
            assert_eq!(client.delete(&format!("{endpoint}/{id}")).await.status, 204);
            let trail = test.trail(id).await;
            let rows = trail.iter().filter(|event| event.action == action).count();
            assert_eq!(rows, 1, "{action}");
            assert!(trail[0].action.ends_with(".created"));
            assert_gone(&client, endpoint, id).await;
            assert_eq!(test.trail(id).await.len(), trail.len(), "a refusal is no change");
        }
    }

    async fn a_patch_is_done_wholly_or_not_at_all(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let [ann, bob] = [client.user("ann").await, client.user("bob").await];
        let group = client.group("Staff", &[&ann]).await;
        client.group("Taken", &[]).await;
        let before = (test.everything().await, test.trail(&ann).await, test.trail(&group).await);
        let good = json!({ "op": "replace", "path": "title", "value": "X" });
        let join = json!({ "op": "add", "path": "members", "value": [{ "value": bob }] });
        let cases = [
            (
                "/Users", &ann, &good,
                json!({ "op": "replace", "path": "userName", "value": "BOB" }), 409, "uniqueness",
            ),
            (
                "/Users", &ann, &good, json!({ "op": "remove", "path": "userName" }), 400,
                "invalidValue",
            ),
            (
                "/Users", &ann, &good, json!({ "op": "replace", "path": "userName", "value": "" }),
                400, "invalidValue",
            ),
            (
                "/Users", &ann, &good,
                json!({ "op": "replace", "path": "active", "value": "maybe" }), 400, "invalidValue",
            ),
            (
                "/Users", &ann, &good, json!({ "op": "replace", "path": "emails[", "value": "x" }),
                400, "invalidPath",
            ),
            ("/Users", &ann, &good, json!({ "op": "move", "path": "title" }), 400, "invalidSyntax"),
            ("/Users", &ann, &good, json!({ "op": "remove" }), 400, "noTarget"),
            ("/Users", &ann, &good, json!({ "op": "replace", "path": "emails[type eq \"work\"]",
                "value": { "value": "a@x" } }), 400, "noTarget"),
            (
                "/Groups", &group, &join,
                json!({ "op": "replace", "path": "displayName", "value": "TAKEN" }), 409,
                "uniqueness",
            ),
            (
                "/Groups", &group, &join, json!({ "op": "remove", "path": "displayName" }), 400,
                "invalidValue",
            ),
            (
                "/Groups", &group, &join,
                json!({ "op": "add", "path": "members", "value": { "value": {} } }), 400,
                "invalidValue",
            ),
            ("/Groups", &group, &join, json!({ "op": "add" }), 400, "invalidValue"),
        ];
        for (endpoint, id, good, bad, status, scim_type) in cases {
            test.advance(HOUR);
            for operations in [json!([good, bad]), json!([bad, good]), json!([good, bad, good])] {
                let answer = client.patch(&format!("{endpoint}/{id}"), operations.clone()).await;
                assert_eq!(answer.status, status, "{operations}: {answer:?}");
                assert_refused(&answer, status, scim_type);
                let after = (
                    test.everything().await, test.trail(&ann).await, test.trail(&group).await,
                );
                assert_eq!(after, before, "{operations}");
            }
        }
    }

    async fn a_password_is_taken_and_forgotten(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let canary = "Canary-7f3a";
        let whole = |name: &str| json!({
            "schemas": [CORE], "userName": name, "password": canary, "PASSWORD": canary,
            format!("{CORE}:password"): canary,
        });
        let created = client.post("/Users", whole("ann")).await;
        assert_eq!(created.status, 201, "{created:?}");
        let path = format!("/Users/{}", created.text("/id"));
        let mut answers = vec![
            created, client.put(&path, whole("ann")).await, client.get(&path).await,
        ];
        for operation in [
            json!({ "op": "replace", "path": "password", "value": canary }),
            json!({ "op": "Add", "path": "PassWord", "value": canary }),
            json!({ "op": "replace", "value": { "password": canary, "title": "Cook" } }),
            json!({ "op": "replace", "value": { format!("{CORE}:password"): canary } }),
            json!(
                { "op": "add", "path": format!("{CORE}:password"), "value": { "value": canary } }
            ),
            json!({ "op": "replace", "value": { CORE: { "password": canary } } }),
        ] {
            let patched = client.patch(&path, json!([operation])).await;
            assert_eq!(patched.status, 200, "{operation}: {patched:?}");
            answers.push(patched);
        }
        answers.push(client.get(&format!("{path}?attributes=password,userName")).await);
        answers.push(client.get("/Users?attributes=password").await);
        // Refused requests must not repeat it either.
        answers.push(client.post("/Users", whole("ANN")).await);
        answers.push(client.post("/Users", whole("")).await);
        answers.push(client.find("/Users", &format!("password eq \"{canary}\"")).await);
        answers.push(
            client.patch(
                &path, json!([{ "op": canary, "path": "password", "value": canary }]),
            ).await,
        );
        answers.push(client.patch(&path, json!([
            { "op": "replace", "path": "password", "value": canary },
            { "op": "remove", "path": "userName" },
        ])).await);
        for answer in answers {
            let seen = answer.body.to_string();
            assert!(
                !seen.contains(canary) && !seen.to_lowercase().contains("\"password\":"), "{seen}",
            );
        }
        let raw = database.raw_text().await;
        assert!(raw.contains("Cook") && !raw.contains(canary));
    }
}
