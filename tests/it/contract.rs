//! What one server must do to satisfy every client: the variants that the recorded exchanges of
//! Okta and Entra (`tests/vectors`) do not hold.

use scimd::directory::ConnectionKind;
use serde_json::{Value, json};

use super::support::{CORE, ENTERPRISE, GROUP, TestInstance, assert_refused, both, person, team};

both! {
    async fn onelogin_may_send_empty_macros_and_any_key(database) {
        let client = TestInstance::on(&database).await.client(ConnectionKind::Scim).await;
        let template = |title: &str| json!({
            "schemas": [CORE, "urn:example:not:known"], "userName": "ola@example.com",
            "externalId": "",
            "name": { "givenName": "Ola", "familyName": "", "formatted": "Ola " }, "title": title,
            "emails": [{ "value": "", "type": "work", "primary": true }],
            "phoneNumbers": [{ "value": "" }],
            "samaccountname": "ola", "onelogin_id": 123, "custom": { "a": [1, null] },
            "active": true,
            ENTERPRISE: { "department": "", "manager": { "value": "" }, "team": "red" },
            "urn:example:not:known": { "x": "1" },
        });
        let id = client.post("/Users", template("")).await.text("/id");
        let put = client.put(&format!("/Users/{id}"), template("Cook")).await;
        assert_eq!((put.status, put.text("/title")), (200, "Cook".to_owned()));
        let put = client.put(&format!("/Users/{id}"), template("")).await;
        assert_eq!(put.text("/name/formatted"), "Ola ");
        for (filter, total) in [
            ("title pr", 0), ("emails.value pr", 0), ("externalId pr", 0), ("name pr", 1),
        ] {
            assert_eq!(client.count("/Users", filter).await, total, "{filter}");
        }
        let nameless = client.put(
            &format!("/Users/{id}"), json!({ "schemas": [CORE], "userName": "" }),
        ).await;
        assert!(assert_refused(&nameless, 400, "invalidValue").contains("userName"));
        // A second person with the same empty macros is no conflict.
        let mut other = template("");
        other["userName"] = json!("per@example.com");
        client.post("/Users", other).await.text("/id");
    }

    async fn jumpcloud_creates_and_deletes_a_test_user_and_group(database) {
        let client = TestInstance::on(&database).await.client(ConnectionKind::Scim).await;
        for round in 0..2 {
            let user = client.user("jumpcloud-test@example.com").await;
            let group = client.group("jumpcloud-test", &[&user]).await;
            let off = json!([{ "op": "replace", "value": { "active": false } }]);
            assert_eq!(client.patch(&format!("/Users/{user}"), off).await.at("/active"), false);
            let remove = json!(
                [{ "op": "remove", "path": "members", "value": [{ "value": user }] }]
            );
            assert_eq!(
                client.patch(&format!("/Groups/{group}"), remove).await.status, 200, "{round}",
            );
            assert_eq!(client.members(&group).await, [""; 0]);
            for path in [format!("/Groups/{group}"), format!("/Users/{user}")] {
                let deleted = client.delete(&path).await;
                assert_eq!((deleted.status, deleted.body), (204, Value::Null), "{path}");
            }
        }
    }

    async fn authentik_puts_groups_with_all_members(database) {
        let client = TestInstance::on(&database).await.client(ConnectionKind::Scim).await;
        let [a, b, c] = [client.user("a").await, client.user("b").await, client.user("c").await];
        let group = client.group("Staff", &[&a, &b]).await;
        let path = format!("/Groups/{group}");
        for wanted in [vec![&b, &c], vec![], vec![&a, &b, &c], vec![&a, &b, &c]] {
            let ids: Vec<_> = wanted.iter().map(|id| id.as_str()).collect();
            let put = client.put(&path, team("Staff", &ids)).await;
            assert_eq!((put.status, put.text("/id")), (200, group.clone()));
            assert_eq!(client.members(&group).await, ids);
        }
        // A client that hears 404 creates the group anew.
        let gone = client.put(
            "/Groups/019f0000-0000-7000-8000-000000000000", team("New", &[]),
        ).await;
        assert_refused(&gone, 404, "");
        assert_eq!(client.count("/Groups", "displayName eq \"New\"").await, 0);
    }

    async fn numbers_where_text_belongs_become_text(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let id = client.person("num@example.com", json!({
            "externalId": 12345, "name": null, "title": 7,
            "addresses": [{ "postalCode": 94105, "type": "work" }],
            "phoneNumbers": [{ "value": 15_550_100 }],
            ENTERPRISE: { "employeeNumber": 701_984, "costCenter": 1.5 },
        })).await;
        let read = client.get(&format!("/Users/{id}")).await;
        for (pointer, expected) in [
            ("/externalId", "12345"), ("/title", "7"), ("/addresses/0/postalCode", "94105"),
            ("/phoneNumbers/0/value", "15550100"),
            (
                "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/employeeNumber",
                "701984",
            ),
            ("/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/costCenter", "1.5"),
        ] {
            assert_eq!(read.at(pointer), expected, "{pointer}");
        }
        let found = client.find(
            "/Users", "externalId eq \"12345\" and addresses.postalCode eq \"94105\"",
        ).await;
        assert_eq!(found.at("/totalResults"), 1);
    }

    async fn booleans_come_in_any_form_and_leave_as_booleans(database) {
        let client = TestInstance::on(&database).await.entra().await;
        for (number, (sent, expected)) in [
            (json!(true), true), (json!("True"), true), (json!("TRUE"), true),
            (json!("true"), true),
            (json!(false), false), (json!("False"), false), (json!("false"), false),
            (json!(null), true),
        ].into_iter().enumerate() {
            let name = format!("u{number}");
            let role = json!([{ "value": "x", "primary": "False" }]);
            let id = client.person(&name, json!({ "active": sent, "roles": role })).await;
            let read = client.get(&format!("/Users/{id}")).await;
            assert_eq!(
                (read.at("/active"), read.at("/roles/0/primary")), (json!(expected), json!(false)),
            );
            if sent.is_null() {
                continue;
            }
            for operation in [
                json!({ "op": "Replace", "path": "active", "value": sent }),
                json!({ "op": "add", "value": { "ACTIVE": sent } }),
                json!(
                    { "op": "replace", "path": null, "value": { format!("{CORE}:active"): sent } }
                ),
                json!({ "OP": "REPLACE", "Path": "Active", "VALUE": [sent] }),
            ] {
                let other = json!([{ "op": "replace", "path": "active", "value": !expected }]);
                assert_eq!(
                    client.patch(&format!("/Users/{id}"), other).await.at("/active"), !expected,
                );
                let patched = client.patch(&format!("/Users/{id}"), json!([operation])).await;
                assert_eq!(patched.at("/active"), expected, "{operation}");
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one table")]
    async fn a_patch_is_understood_in_every_spelling(database) {
        let client = TestInstance::on(&database).await.client(ConnectionKind::Scim).await;
        let ent = |rest: &str| format!("{ENTERPRISE}:{rest}");
        let work = "emails[type eq \"work\"]";
        //  operation, where to look, what is there
        let cases = [
            (json!({ "op": "Replace", "path": "title", "value": "A" }), "/title", json!("A")),
            (json!({ "OP": "aDD", "PATH": "TITLE", "Value": "B" }), "/title", json!("B")),
            (
                json!({ "op": "replace", "path": "", "value": { "title": "C" } }), "/title",
                json!("C"),
            ),
            (
                json!({ "op": "add", "path": null, "value": { "title": "D", "id": "x" } }),
                "/title", json!("D"),
            ),
            (
                json!({ "op": "replace", "path": format!("{CORE}:title"), "value": "E" }), "/title",
                json!("E"),
            ),
            (json!({ "op": "replace", "value": { CORE: { "title": "F" } } }), "/title", json!("F")),
            (
                json!({ "op": "replace", "value": { "name.givenName": "Gi" } }), "/name/givenName",
                json!("Gi"),
            ),
            (
                json!({ "op": "replace", "value": { "NAME.familyName": "Fa" } }),
                "/name/familyName", json!("Fa"),
            ),
            // SailPoint: replacing a complex attribute merges.
            (json!({ "op": "replace", "path": "name", "value": { "givenName": "Go" } }), "/name",
                json!({ "givenName": "Go", "familyName": "Fa" })),
            (json!({ "op": "replace", "value": { "name": { "middleName": "M" } } }), "/name",
                json!({ "givenName": "Go", "familyName": "Fa", "middleName": "M" })),
            (json!({ "op": "remove", "path": "name.middleName" }), "/name",
                json!({ "givenName": "Go", "familyName": "Fa" })),
            (
                json!({ "op": "replace", "path": ent("department"), "value": "D1" }),
                "/E/department", json!("D1"),
            ),
            (
                json!({ "op": "replace", "value": { ent("division"): "D2" } }), "/E/division",
                json!("D2"),
            ),
            (json!({ "op": "add", "value": { ENTERPRISE: { "costCenter": "D3" } } }), "/E",
                json!({ "department": "D1", "division": "D2", "costCenter": "D3" })),
            (
                json!({ "op": "Add", "path": ENTERPRISE, "value": { "division": "D4" } }),
                "/E/division", json!("D4"),
            ),
            (
                json!({ "op": "replace", "path": ent("division"), "value": "" }), "/E/division",
                Value::Null,
            ),
            (
                json!({ "op": "replace", "path": ent("department"), "value": null }),
                "/E/department", Value::Null,
            ),
            (json!({ "op": "Add", "path": format!("{work}.value"), "value": "w@x" }), "/emails",
                json!([{ "type": "work", "value": "w@x" }])),
            (json!({ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "h@x" }),
                "/emails/1",
                json!({ "type": "home", "value": "h@x" })),
            (
                json!({ "op": "replace", "value": { format!("{work}.value"): "w@y" } }),
                "/emails/0/value", json!("w@y"),
            ),
            (json!({ "op": "replace", "path": format!("{work}.primary"), "value": "True" }),
                "/emails/0/primary",
                json!(true)),
            // RFC 7644 §3.5.2: only one value is primary.
            (json!({ "op": "replace", "path": "emails[value eq \"h@x\"].primary", "value": true }),
                "/emails/1/primary",
                json!(true)),
            (
                json!({ "op": "remove", "path": "emails[type eq \"home\"]" }), "/emails/1",
                Value::Null,
            ),
            (json!({ "op": "add", "path": "emails", "value": { "type": "other", "value": "o@x" } }),
                "/emails/1",
                json!({ "type": "other", "value": "o@x" })),
            (json!({ "op": "replace", "path": "emails", "value": [{ "value": "n@x" }] }), "/emails",
                json!([{ "value": "n@x" }])),
            (json!({ "op": "remove", "path": "emails" }), "/emails", Value::Null),
            (json!({ "op": "replace", "path": "title", "value": "" }), "/title", Value::Null),
            (json!({ "op": "remove", "path": "nickName" }), "/nickName", Value::Null),
            (
                json!({ "op": "add", "path": "shoeSize", "value": 43 }), "/name/givenName",
                json!("Go"),
            ),
            (
                json!({ "op": "add", "value": { "shoeSize": 43, "name.hat": 1, "title": "Z" } }),
                "/title", json!("Z"),
            ),
            (json!({ "op": "replace", "path": "groups", "value": [] }), "/groups", Value::Null),
            (json!({ "op": "replace", "value": { "id": "1", "schemas": [], "meta": {},
                "groups": null, "nickName": "N" } }), "/nickName", json!("N")),
        ];
        let path = format!("/Users/{}", client.user("patched@example.com").await);
        let mut primaries = 0;
        for (operation, pointer, expected) in cases {
            let pointer = pointer.replace("/E", &format!("/{ENTERPRISE}"));
            for repeated in [false, true] {
                let patched = client.patch(&path, json!([operation])).await;
                if repeated && operation["op"] == "add" && pointer.starts_with("/emails") {
                    assert_eq!(
                        patched.at("/emails").as_array().unwrap().len(), 2,
                        "{operation}: {patched:?}",
                    );
                }
                assert_eq!(patched.status, 200, "{operation}: {patched:?}");
                assert_eq!(patched.at(&pointer), expected, "{operation}: {}", patched.body);
                assert_eq!(client.get(&path).await.body, patched.body, "{operation}");
                let emails = patched.at("/emails");
                let all = emails.as_array().into_iter().flatten();
                let primary = all.filter(|one| one["primary"] == true).count();
                assert!(primary <= 1, "{operation}: {emails}");
                primaries += primary;
            }
        }
        assert!(primaries > 0);
    }

    async fn members_join_and_leave_in_every_spelling(database) {
        let client = TestInstance::on(&database).await.client(ConnectionKind::Scim).await;
        let [a, b, c] = [client.user("a").await, client.user("b").await, client.user("c").await];
        let group = client.group("Staff", &[&a]).await;
        let path = format!("/Groups/{group}");
        let joins = [
            json!({ "op": "add", "path": "members", "value": [{ "value": b }] }),
            json!(
                {
                    "op": "Add", "path": "members",
                    "value": [{ "$ref": null, "value": b, "display": null }],
                }
            ),
            json!({ "op": "add", "path": "Members", "value": { "value": b, "type": "User" } }),
            json!({ "op": "add", "path": "members", "value": b }),
            json!({ "op": "add", "path": "members", "value": [b] }),
            json!(
                {
                    "op": "add", "path": "members",
                    "value": [{ "VALUE": b }, { "value": b }, { "value": a }],
                }
            ),
            json!({ "op": "add", "value": { "members": [{ "value": b }] } }),
            json!({ "op": "add", "path": null, "value": { "MEMBERS": [{ "value": b }] } }),
            json!({ "op": "add", "path": format!("{GROUP}:members"), "value": [{ "value": b }] }),
            json!(
                { "op": "replace", "path": "members", "value": [{ "value": a }, { "value": b }] }
            ),
            json!(
                {
                    "op": "replace",
                    "value": {
                        "members": [{ "value": a }, { "value": b }], "displayName": "Staff",
                    },
                }
            ),
        ];
        let leaves = [
            json!({ "op": "remove", "path": "members", "value": [{ "value": b }] }),
            json!(
                {
                    "op": "Remove", "path": "members",
                    "value": [{ "$ref": null, "value": b }, { "value": c }],
                }
            ),
            json!({ "op": "remove", "path": "members", "value": { "value": b } }),
            json!({ "op": "remove", "path": "members", "value": b }),
            json!({ "op": "remove", "path": "members", "value": [b] }),
            json!({ "op": "remove", "path": format!("members[value eq \"{b}\"]") }),
            json!({ "op": "Remove", "Path": format!("MEMBERS[Value EQ \"{b}\"]"), "value": null }),
            json!(
                { "op": "remove", "path": format!("members[value eq \"{b}\" or value eq \"{c}\"]") }
            ),
            json!({ "op": "replace", "path": "members", "value": [{ "value": a }] }),
        ];
        for join in &joins {
            for leave in &leaves {
                // Twice each: a retry changes nothing.
                for (operation, expected) in [
                    (join, vec![&a, &b]), (join, vec![&a, &b]), (leave, vec![&a]),
                    (leave, vec![&a]),
                ] {
                    let patched = client.patch(&path, json!([operation])).await;
                    assert_eq!(patched.status, 200, "{operation}: {patched:?}");
                    assert_eq!(
                        client.members(&group).await.iter().collect::<Vec<_>>(), expected,
                        "{operation}",
                    );
                }
            }
        }
        let both_ways = json!([
            { "op": "add", "path": "members", "value": [{ "value": b }, { "value": c }] },
            { "op": "remove", "path": format!("members[value eq \"{b}\"]") },
        ]);
        assert_eq!(client.patch(&path, both_ways).await.status, 200);
        assert_eq!(client.members(&group).await, [a.as_str(), c.as_str()]);
        for nobody in [
            json!({ "op": "remove", "path": "members", "value": [] }),
            json!({ "op": "add", "path": "members", "value": [] }),
            json!({ "op": "replace", "value": { "id": group, "displayName": "Staff" } }),
        ] {
            assert_eq!(client.patch(&path, json!([nobody])).await.status, 200, "{nobody}");
            assert_eq!(client.members(&group).await.len(), 2, "{nobody}");
        }
        for all in [
            json!({ "op": "remove", "path": "members" }),
            json!({ "op": "replace", "path": "members", "value": [] }),
        ] {
            assert_eq!(client.put(&path, team("Staff", &[&a, &b])).await.status, 200);
            assert_eq!(client.patch(&path, json!([all])).await.status, 200, "{all}");
            assert_eq!(client.members(&group).await, [""; 0], "{all}");
        }
    }

    async fn the_flag_of_entra_in_the_address_changes_nothing(database) {
        let client = TestInstance::on(&database).await.entra().await;
        let flag = "?aadOptscim062020";
        let created = client.post(
            &format!("/Users{flag}"), person("ann@example.com", json!({})),
        ).await;
        assert_eq!(created.status, 201);
        assert!(
            !created.header("location").contains('?') && created.header("location").ends_with(
                &created.text("/id"),
            ),
        );
        let path = format!("/Users/{}{flag}", created.text("/id"));
        let pathless = json!(
            [{ "op": "replace", "value": { "displayName": "X", "name.givenName": "Y" } }]
        );
        assert_eq!(client.patch(&path, pathless).await.at("/name/givenName"), "Y");
        assert_eq!(client.get(&path).await.at("/displayName"), "X");
        let found = client.get(
            &format!("/Users{flag}&filter=userName+eq+%22ann@example.com%22"),
        ).await;
        assert_eq!(found.at("/totalResults"), 1);
        assert_eq!(client.delete(&path).await.status, 204);
    }

    async fn values_stay_as_they_were_sent(database) {
        let client = TestInstance::on(&database).await.entra().await;
        let sent = person(" Ann.Lee@EXAMPLE.com ", json!({
            "externalId": " X-ä ", "displayName": "  Ann\u{a0}Lee  ", "nickName": "e\u{301} and é",
            "title": "<b>&amp; \"quoted\" \\ 'single' %41 ${x}", "userType": "line\nbreak\ttab\r",
            "locale": "not a locale", "timezone": "Mars/Phobos", "preferredLanguage": "xx-99-ÄÖ",
            "profileUrl": "HTTP://Example.COM/%7eann",
            "name": { "formatted": "👩🏽‍💻 ﷺ", "givenName": "ＡＮＮ" },
            "emails": [
                { "value": "ANN@Example.COM", "type": "WORK", "primary": true },
                { "value": "not an address", "type": "x" },
            ],
            "phoneNumbers": [
                { "value": "+49 (0)30/12 34-56 ext. 7", "type": "Work" },
                { "value": "tel:+1-201-555-0123" },
            ],
            "addresses": [
                { "type": "work", "formatted": "1 Main St.\nSpringfield", "country": "us" },
            ],
            "x509Certificates": [{ "value": "MIID+/==" }],
            "ims": [{ "value": "ann", "type": "carrier pigeon" }],
            ENTERPRISE: {
                "employeeNumber": "007", "department": " R&D ", "manager": { "value": " Bob " },
            },
        }));
        let id = client.post("/Users", sent.clone()).await.text("/id");
        let path = format!("/Users/{id}");
        let same = |read: &Value, way: &str| {
            let sent = sent.as_object().unwrap().iter();
            for (name, value) in sent.filter(|(name, _)| *name != "schemas") {
                assert_eq!(&read[name], value, "{way}: {name}");
            }
        };
        same(&client.get(&path).await.body, "POST");
        assert_eq!(client.put(&path, person("x", json!({}))).await.at("/title"), Value::Null);
        same(&client.put(&path, sent.clone()).await.body, "PUT");
        client.put(&path, person("x", json!({}))).await;
        let mut values = sent.clone();
        values.as_object_mut().unwrap().shift_remove("schemas");
        same(
            &client.patch(&path, json!([{ "op": "replace", "value": values }])).await.body, "PATCH",
        );
        same(&client.get(&path).await.body, "GET");
        let name = " Ｓtaff ß ";
        let group = client.group(name, &[]).await;
        assert_eq!(client.get(&format!("/Groups/{group}")).await.text("/displayName"), name);
    }

    async fn unknown_extensions_and_attributes_are_no_reason_to_refuse(database) {
        let client = TestInstance::on(&database).await.entra().await;
        let intranet = "urn:ietf:params:scim:schemas:extension:intranet:2.0:User";
        let wrong = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";
        let body = json!({
            "schemas": [CORE, wrong, "urn:x:y", "http://example.com/z"],
            "userName": "ann@example.com", "shoeSize": 43,
            wrong: { "department": "D" }, "urn:x:y": { "a": { "b": [1, "2", null] } },
            "addresses": null, "roles": [],
            "urn:not:listed:1.0:User": { "x": true }, "meta": { "resourceType": "User" },
            "id": "mine", "groups": [],
        });
        let created = client.post("/Users", body.clone()).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_ne!(created.text("/id"), "mine");
        let path = format!("/Users/{}", created.text("/id"));
        assert_eq!(client.put(&path, body).await.status, 200);
        for operation in [
            json!(
                {
                    "op": "add",
                    "path": format!("{intranet}:room"),
                    "value": "4.17",
                }
            ),
            json!(
                {
                    "op": "replace",
                    "value": { format!("{intranet}:floor"): 4 },
                }
            ),
            json!({ "op": "add", "path": "urn:x:y", "value": { "c": 1 } }),
            json!({ "op": "remove", "path": "urn:x:y:a" }),
            json!({ "op": "remove", "path": "urn:never:heard:of" }),
            json!({ "op": "replace", "path": "name.nonsense", "value": "x" }),
        ] {
            let patched = client.patch(&path, json!([operation])).await;
            assert_eq!(patched.status, 200, "{operation}: {patched:?}");
        }
        let adscim = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";
        let group = json!({ "schemas": [GROUP, adscim],
            "displayName": "Design", "description": "x", "meta": { "resourceType": "Group" } });
        assert_eq!(client.post("/Groups", group).await.status, 201);
    }

    async fn a_put_says_it_all_but_leaves_what_is_not_its_own(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let id = client.person("ann@example.com", json!({
            "externalId": "00u1", "title": "Cook", "emails": [{ "value": "a@x", "type": "work" }],
            "active": false,
        })).await;
        let group = client.group("Staff", &[&id]).await;
        let path = format!("/Users/{id}");
        let before = client.get(&path).await;
        let body = json!({ "SCHEMAS": [CORE], "USERNAME": "ann@example.com", "id": "other",
            "groups": [], "active": true,
            "meta": {
                "created": "1999-01-01T00:00:00Z", "location": "https://evil.example",
            }, "displayName": null });
        let put = client.put(&path, body).await;
        assert_eq!(put.status, 200, "{put:?}");
        for pointer in ["/title", "/emails", "/displayName"] {
            assert_eq!(put.at(pointer), Value::Null, "{pointer}");
        }
        for pointer in ["/id", "/meta/created", "/meta/location", "/externalId", "/groups"] {
            assert_eq!(put.at(pointer), before.at(pointer), "{pointer}");
        }
        assert_eq!(put.at("/active"), true);
        assert_eq!(put.at("/groups/0/value"), json!(group));
        assert_eq!(client.members(&group).await, [id.as_str()]);
        // What was read can be put.
        let again = client.put(&path, put.body.clone()).await;
        assert_eq!(again.body, put.body);
    }

    async fn the_answer_to_a_create_is_whole(database) {
        let test = TestInstance::on(&database).await;
        for (name, client) in [("o", test.okta().await), ("e", test.entra().await)] {
            for (endpoint, body) in [
                ("/Users", person(name, json!({}))), ("/Groups", team(name, &[])),
            ] {
                let created = client.post(endpoint, body).await;
                assert_eq!(created.status, 201, "{created:?}");
                let expected = format!(
                    "http://people.example.com/scim/v2{endpoint}/{}", created.text("/id"),
                );
                assert_eq!(created.text("/meta/location"), expected);
                assert_eq!(created.header("location"), expected);
                assert_eq!(created.header("content-type"), "application/scim+json");
                assert_eq!(created.text("/meta/resourceType"), endpoint[1..endpoint.len() - 1]);
                let read = client.get(&format!("{endpoint}/{}", created.text("/id"))).await;
                assert_eq!(read.body, created.body);
            }
        }
    }
}
