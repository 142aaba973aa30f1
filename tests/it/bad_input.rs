//! What no well-meaning client sends in a body: each request is refused in the protocol's
//! words, and nothing of it is kept.

use serde_json::{Value, json};

use super::support::{
    CORE, ENTERPRISE, GROUP, PATCH_OP, Scene, assert_refused, assert_sane, both, person, team,
};

/// The attribute that a detail must name: the one inside, if an extension was sent.
fn in_extension(name: &str, value: &Value) -> String {
    let inside = value.as_object().filter(|_| name == ENTERPRISE);
    let inside = inside.and_then(|members| members.keys().next().cloned());
    inside.unwrap_or_else(|| name.to_owned())
}

both! {
    /// What one request can make the server do is bounded, whatever fits into its body.
    async fn a_request_cannot_keep_the_server_busy(database) {
        let scene = Scene::on(&database).await;
        let terms = vec!["value eq zz0"; 450].join(" or ");
        let heavy = json!({ "op": "remove", "path": format!("emails[{terms}].display") });
        let answer = scene.client.patch(&scene.user, json!([heavy, heavy, heavy])).await;
        assert!(assert_refused(&answer, 400, "tooMany").contains("1000 comparisons"));
        let heavy = json!({ "op": "remove", "path": format!("members[{}]", terms.replace("value", "type")) });
        let answer = scene.client.patch(&scene.group, json!([heavy, heavy, heavy])).await;
        assert!(assert_refused(&answer, 400, "tooMany").contains("1000 comparisons"));
        let emails = |from: usize| -> Vec<Value> {
            (from..from + 200).map(|n| json!({ "value": format!("{n}@example.com") })).collect()
        };
        for from in [0, 200] {
            let op = json!([{ "op": "replace", "path": "emails", "value": emails(from) }]);
            assert_eq!(scene.client.patch(&scene.user, op).await.status, 200);
        }
    }

    /// Every key of a value without a path is a change: they are counted like operations.
    async fn a_value_without_paths_cannot_hold_more_than_a_resource_has(database) {
        let scene = Scene::on(&database).await;
        let keys = |name: &dyn Fn(usize) -> String, count: usize| {
            let value: Value = (0..count).map(|n| (name(n), json!({ "a": 1 }))).collect();
            json!([{ "op": "add", "value": value }])
        };
        let urn = |n: usize| format!("urn:a:{n}");
        let answer = scene.client.patch(&scene.user, keys(&urn, 1001)).await;
        assert!(assert_refused(&answer, 400, "tooMany").contains("1000 attributes"));
        let answer = scene.client.patch(&scene.user, keys(&urn, 101)).await;
        assert!(assert_refused(&answer, 400, "invalidValue").contains("100 schema URNs"));
        let mut body = person("many", json!({}));
        for n in 0..101 {
            body[urn(n)] = json!({ "a": 1 });
        }
        assert_refused(&scene.client.post("/Users", body).await, 400, "invalidValue");
        scene.assert_unchanged().await;
        let few = scene.client.patch(&scene.user, keys(&urn, 99)).await;
        assert_eq!(few.status, 200, "{few:?}");
    }

    async fn a_resource_cannot_grow_without_end(database) {
        let scene = Scene::on(&database).await;
        let large = "x".repeat(200 * 1024);
        let put = |key: &str| {
            json!([{ "op": "add", "value": { "urn:example:big:2.0:User": { key: large } } }])
        };
        assert_eq!(scene.client.patch(&scene.user, put("one")).await.status, 200);
        let refused = scene.client.patch(&scene.user, put("two")).await;
        assert!(assert_refused(&refused, 400, "invalidValue").contains("at most 262144"));
    }

    async fn a_body_that_is_no_message_is_refused(database) {
        let scene = Scene::on(&database).await;
        let deep = |open: &str, close: &str| format!(
            "{}{}", open.repeat(100_000), close.repeat(100_000),
        );
        let hidden = |text: String| format!("{{\"schemas\":[\"{CORE}\"],\"userName\":{text}}}");
        let bodies: Vec<Vec<u8>> = [
            "", " ", "{", "}", "nonsense", "{\"a\":}", "{'a':1}", "{\"a\":1,}", "{} {}",
            "\u{feff}{}", "[1", "\"", "nul",
            "null", "[]", "[{}]", "\"text\"", "5", "1e999", "-", "true", "{}", "<html></html>",
            "a=b&c=d", "\0",
            "{\"schemas\":[\"\\ud800\"]}", "{\"userName\":\"\\udc00\\ud800\"}", "{\"\\ud83d\":1}",
            "\"\\u00\"",
        ].into_iter().map(|text| text.as_bytes().to_vec()).chain([
            b"{\"userName\":\"\xff\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec(),
            b"{\"a\xc0\x80\":1}".to_vec(),
            deep("[", "]").into_bytes(), deep("{\"a\":", "1}").into_bytes(),
            deep("[", "").into_bytes(),
            hidden(deep("[", "]")).into_bytes(), hidden(deep("{\"emails\":[", "]}")).into_bytes(),
        ]).collect();
        for body in bodies {
            let shown = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
            for (place, answer) in scene.send_everywhere(&body).await {
                assert_eq!(answer.status, 400, "{place} {shown}: {answer:?}");
                assert_refused(&answer, 400, "invalidSyntax");
            }
        }
        scene.assert_unchanged().await;
    }

    async fn the_schemas_must_be_there_and_fit(database) {
        let scene = Scene::on(&database).await;
        for schemas in [
            json!([]), json!(null), json!([""]), json!([5]), json!([null]), json!({}), json!(5),
            json!([[CORE]]),
            json!([ENTERPRISE]), json!(["urn:ietf:params:scim:api:messages:2.0:Error"]),
            json!([format!("{CORE}x")]),
            json!("nonsense"),
        ] {
            for body in [
                json!(
                    {
                        "schemas": schemas, "userName": "u", "displayName": "g",
                        "Operations": [{ "op": "add", "path": "title", "value": "x" }],
                    }
                ),
                json!(
                    {
                        "userName": "u", "displayName": "g",
                        "Operations": [{ "op": "add", "path": "title", "value": "x" }],
                    }
                ),
            ] {
                for (place, answer) in scene.send_everywhere(body.to_string().as_bytes()).await {
                    assert_eq!(answer.status, 400, "{place} {body}: {answer:?}");
                    let detail = assert_refused(&answer, 400, "invalidSyntax");
                    assert!(detail.contains("schemas"), "{place} {body}: {detail}");
                }
            }
        }
        // Those of another kind do not fit either.
        for (method, path, schema) in [
            ("POST", "/Users", GROUP), ("PUT", scene.user.as_str(), PATCH_OP),
            ("PATCH", &scene.user, CORE),
            ("POST", "/Groups", CORE), ("PUT", &scene.group, CORE), ("PATCH", &scene.group, GROUP),
        ] {
            let body = json!({ "schemas": [schema], "userName": "u", "displayName": "g",
                "Operations": [
                { "op": "replace", "path": "displayName", "value": "x" }] });
            assert_refused(
                &scene.client.send(method, path, Some(body)).await, 400, "invalidSyntax",
            );
        }
        scene.assert_unchanged().await;
    }

    async fn values_of_a_wrong_type_are_refused_by_name(database) {
        let scene = Scene::on(&database).await;
        let object = json!({ "a": 1 });
        let mut wrong = Vec::new();
        let cases = [
            ("/Users", "userName", json!({})), ("/Users", "userName", json!(["a", "b"])),
            ("/Users", "userName", json!("")),
            ("/Users", "userName", json!(null)), ("/Users", "userName", json!([])),
            ("/Users", "userName", json!([["a"]])),
            ("/Users", "displayName", object.clone()), ("/Users", "title", json!(["a", "b"])),
            ("/Users", "externalId", object.clone()), ("/Users", "externalId", json!(["a", "b"])),
            ("/Users", "active", json!("maybe")), ("/Users", "active", json!(7)),
            ("/Users", "active", object.clone()),
            ("/Users", "active", json!([true, false])), ("/Users", "active", json!("1")),
            ("/Users", "profileUrl", object.clone()), ("/Users", "name", json!("Ann Lee")),
            ("/Users", "name", json!(5)),
            ("/Users", "name", json!([{ "givenName": "A" }, { "givenName": "B" }])),
            ("/Users", "name", json!({ "givenName": object })),
            ("/Users", "emails", json!([[{ "value": "a" }, { "value": "b" }]])),
            ("/Users", "emails", json!([{ "value": object }])),
            ("/Users", "emails", json!([{ "value": "a", "primary": "yes" }])),
            ("/Users", "emails", json!([{ "value": "a", "primary": 2 }])),
            ("/Users", "emails", json!([{ "value": ["a", "b"] }])),
            ("/Users", "emails", json!([{ "value": "a", "type": object }])),
            ("/Users", "addresses", json!("1 Main St.")), ("/Users", "addresses", json!([5])),
            ("/Users", "addresses", json!([{ "country": [1, 2] }])),
            ("/Users", "x509Certificates", json!([{ "value": object }])),
            ("/Users", "roles", json!([{ "value": "x", "primary": object }])),
            ("/Users", ENTERPRISE, json!("text")), ("/Users", ENTERPRISE, json!([1, 2])),
            ("/Users", ENTERPRISE, json!({ "department": object })),
            ("/Users", ENTERPRISE, json!({ "manager": ["a", "b"] })),
            ("/Users", ENTERPRISE, json!({ "manager": { "value": object } })),
            ("/Users", ENTERPRISE, json!({ "manager": [["a"]] })),
            ("/Groups", "displayName", json!({})), ("/Groups", "displayName", json!("")),
            ("/Groups", "displayName", json!(null)),
            ("/Groups", "displayName", json!(["a", "b"])),
            ("/Groups", "externalId", object.clone()),
            ("/Groups", "members", json!([["a", "b"]])),
            ("/Groups", "members", json!([{ "value": object }])),
            ("/Groups", "members", json!([{ "value": ["a", "b"] }])),
        ];
        for (endpoint, name, value) in cases {
            let (mut body, path) = match endpoint {
                "/Users" => (person("u", json!({})), &scene.user),
                _ => (team("g", &[]), &scene.group),
            };
            body[name] = value.clone();
            let named = in_extension(name, &value);
            let operations = [
                json!({ "op": "replace", "path": name, "value": value }),
                json!({ "op": "replace", "value": { name: value } }),
            ];
            for (way, answer) in [
                ("POST", scene.client.post(endpoint, body.clone()).await),
                ("PUT", scene.client.put(path, body).await),
                ("PATCH", scene.client.patch(path, json!([operations[0]])).await),
                ("pathless", scene.client.patch(path, json!([operations[1]])).await),
            ] {
                let detail = answer.at("/detail").to_string();
                if answer.at("/scimType") == "invalidValue" && detail.contains(&named) {
                    assert_refused(&answer, 400, "invalidValue");
                } else {
                    wrong.push(format!("{way} {name} {value}: {} {detail}", answer.status));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        for (endpoint, schema) in [("/Users", CORE), ("/Groups", GROUP)] {
            let nameless = scene.client.post(endpoint, json!({ "schemas": [schema] })).await;
            assert!(assert_refused(&nameless, 400, "invalidValue").contains("Name"));
        }
        let twice = json!([{ "value": "a", "primary": true }, { "value": "b", "primary": true }]);
        for answer in [
            scene.client.post("/Users", person("u", json!({ "emails": twice }))).await,
            scene.client.put(&scene.user, person("u", json!({ "emails": twice }))).await,
            scene.client.patch(
                &scene.user, json!([{ "op": "replace", "path": "emails", "value": twice }]),
            ).await,
        ] {
            let detail = assert_refused(&answer, 400, "invalidValue");
            assert!(detail.contains("emails") && detail.contains("primary"), "{detail}");
        }
        scene.assert_unchanged().await;
    }

    async fn operations_of_a_wrong_shape_are_refused_by_their_place(database) {
        let scene = Scene::on(&database).await;
        let value = |path: &str| json!({ "op": "replace", "path": path, "value": "x" });
        let cases = [
            (json!(5), "invalidSyntax"), (json!("add"), "invalidSyntax"),
            (json!([]), "invalidSyntax"),
            (json!(null), "invalidSyntax"), (json!({}), "invalidSyntax"),
            (json!({ "path": "title", "value": 1 }), "invalidSyntax"),
            (json!({ "op": 5, "path": "title", "value": "x" }), "invalidSyntax"),
            (json!({ "op": "", "path": "title", "value": "x" }), "invalidSyntax"),
            (json!({ "op": "move", "path": "title", "from": "x" }), "invalidSyntax"),
            (json!({ "op": ["add"], "path": "title", "value": "x" }), "invalidSyntax"),
            (json!({ "op": "add", "path": 5, "value": "x" }), "invalidPath"),
            (json!({ "op": "add", "path": {}, "value": "x" }), "invalidPath"),
            (json!({ "op": "add", "path": ["title"], "value": "x" }), "invalidPath"),
            (value("emails["), "invalidPath"), (value("emails[]"), "invalidPath"),
            (value("[type eq \"x\"]"), "invalidPath"),
            (value("emails[type eq \"work\"].value.x"), "invalidPath"),
            (value("emails[type eq \"work\"]value"), "invalidPath"),
            (value("a.b.c.d"), "invalidPath"), (value(".title"), "invalidPath"),
            (value("title."), "invalidPath"),
            (value("title eq \"x\""), "invalidPath"), (value("ti\0tle"), "invalidPath"),
            (value("title\u{202e}"), "invalidPath"),
            (value(&"emails[".repeat(100_000)), "invalidPath"),
            (value(&format!("emails{}", "[".repeat(100_000))), "invalidPath"),
            (
                value(&format!("emails[{}type pr{}]", "(".repeat(3000), ")".repeat(3000))),
                "invalidPath",
            ),
            (value(&"a".repeat(100_000)), "invalidPath"),
            (value(&"a.".repeat(1000)), "invalidPath"),
            (json!({ "op": "add", "path": "title" }), "invalidValue"),
            (json!({ "op": "replace", "path": "emails" }), "invalidValue"),
            (json!({ "op": "add" }), "invalidValue"), (json!({ "op": "remove" }), "noTarget"),
            (json!({ "op": "remove", "path": "" }), "noTarget"),
            (json!({ "op": "remove", "value": { "title": "x" } }), "noTarget"),
            (
                json!(
                    {
                        "op": "replace", "path": "emails[type eq \"home\"]",
                        "value": { "value": "x" },
                    }
                ),
                "noTarget",
            ),
            (json!({ "op": "replace", "value": "x" }), "invalidValue"),
            (json!({ "op": "add", "value": [1] }), "invalidValue"),
            (json!({ "op": "add", "path": null, "value": true }), "invalidValue"),
        ];
        let good = json!({ "op": "replace", "path": "displayName", "value": "Kept?" });
        for (operation, scim_type) in cases {
            let shown: String = operation.to_string().chars().take(100).collect();
            for path in [&scene.user, &scene.group] {
                if scim_type == "noTarget" && path == &scene.group && operation["op"] == "replace" {
                    continue;
                }
                let answer = scene.client.patch(path, json!([good, operation])).await;
                assert_eq!(answer.at("/scimType"), scim_type, "{shown}: {answer:?}");
                let detail = assert_refused(&answer, 400, scim_type);
                assert!(detail.contains("operation 2") && detail.len() < 500, "{shown}: {detail}");
            }
        }
        for operations in [json!(null), json!({}), json!("x"), json!([]), json!(5)] {
            let detail = assert_refused(
                &scene.client.patch(&scene.user, operations).await, 400, "invalidSyntax",
            );
            assert!(detail.contains("Operations"), "{detail}");
        }
        let many = vec![good.clone(); 10_001];
        for path in [&scene.user, &scene.group] {
            let detail = assert_refused(&scene.client.patch(path, json!(many)).await, 413, "");
            assert!(detail.contains("10000"), "{detail}");
        }
        scene.assert_unchanged().await;
    }

    async fn texts_that_are_too_long_or_hold_nul_are_refused_by_name(database) {
        let scene = Scene::on(&database).await;
        // 512 letters that become 9,216 when they are folded.
        let (long, expanding) = ("x".repeat(513), "\u{fdfa}".repeat(512));
        for text in [
            &long, &"ß".repeat(100_000), &expanding, &"a\0b".to_owned(), &"\0".to_owned(),
        ] {
            let cases = [
                ("/Users", "userName", json!(text)), ("/Users", "displayName", json!(text)),
                ("/Users", "externalId", json!(text)),
                ("/Users", "emails", json!([{ "value": text }])),
                ("/Users", ENTERPRISE, json!({ "employeeNumber": text })),
                ("/Users", ENTERPRISE, json!({ "manager": text })),
                ("/Groups", "displayName", json!(text)), ("/Groups", "externalId", json!(text)),
            ];
            for (endpoint, name, value) in cases {
                let (mut body, path) = match endpoint {
                    "/Users" => (person("u", json!({})), &scene.user),
                    _ => (team("g", &[]), &scene.group),
                };
                body[name] = value.clone();
                let operation = json!([{ "op": "replace", "path": name, "value": value.clone() }]);
                let shown: String = text.chars().take(5).collect();
                for answer in [
                    scene.client.post(endpoint, body.clone()).await,
                    scene.client.put(path, body).await,
                    scene.client.patch(path, operation).await,
                ] {
                    // An exact name is not folded: its 512 letters are within the limit.
                    if (name, text) == ("externalId", &expanding) {
                        assert_sane(&answer, "externalId");
                        continue;
                    }
                    assert_eq!(answer.status, 400, "{endpoint} {name} {shown:?}: {answer:?}");
                    let detail = assert_refused(&answer, 400, "invalidValue");
                    assert!(detail.contains(&in_extension(name, &value)), "{name}: {detail}");
                    assert!(detail.len() < 500, "{detail}");
                    if text == &long {
                        assert!(detail.contains("512"), "{detail}");
                    }
                }
            }
        }
        for (text, name) in [
            ("x".repeat(512), "x"), ("ß".repeat(512), "ß"), ("é".repeat(512), "é"),
        ] {
            let body = person(
                &text,
                json!({ "externalId": text, "displayName": text, "emails": [{ "value": text }] }),
            );
            assert_eq!(scene.client.post("/Users", body).await.status, 201, "{name}");
            assert_eq!(scene.client.post("/Groups", team(&text, &[])).await.status, 201, "{name}");
            assert_eq!(
                scene.client.count("/Users", &format!("userName eq \"{text}\"")).await, 1, "{name}",
            );
        }
    }

    async fn odd_characters_anywhere_do_no_harm(database) {
        let scene = Scene::on(&database).await;
        let odd = [
            "\0", "a\0b", "\u{fffe}", "\u{10ffff}", "\u{202e}", "\u{feff}", "\\", "'\";--", "%00",
            "{{7*7}}", "\u{1b}[2J",
        ];
        for text in odd {
            for body in [
                person(
                    "odd",
                    json!({ "title": text, "nickName": text, "name": { "givenName": text } }),
                ),
                person(
                    "odd",
                    json!(
                        {
                            "emails": [{ "value": "a", "type": text, "display": text }],
                            "roles": [{ "value": text }],
                        }
                    ),
                ),
                person(
                    "odd",
                    json!(
                        {
                            text: text, "urn:x:y": { text: [text, { text: 1 }] },
                            format!("urn:x:{text}"): text,
                        }
                    ),
                ),
                person(
                    "odd",
                    json!(
                        {
                            "schemas": [CORE, text, format!("urn:x:{text}")],
                            "phoneNumbers": [{ text: text }],
                        }
                    ),
                ),
                json!(
                    {
                        "schemas": [GROUP], "displayName": "odd", "members": [{ "value": text }],
                        text: text,
                    }
                ),
            ] {
                for (place, answer) in scene.send_everywhere(body.to_string().as_bytes()).await {
                    assert_sane(&answer, &format!("{place} {body}"));
                    if let Some(id) = answer.at("/id").as_str().filter(|_| answer.status == 201) {
                        let kind = answer.text("/meta/resourceType");
                        let path = format!("/{kind}s/{id}");
                        assert_eq!(scene.client.get(&path).await.body, answer.body, "{body}");
                        assert_eq!(scene.client.delete(&path).await.status, 204);
                    }
                }
            }
            for operation in [
                json!({ "op": "add", "path": text, "value": text }),
                json!({ "op": "add", "value": { text: text } }),
                json!({ "op": "add", "path": "members", "value": [{ "value": text }] }),
                json!({ "op": "remove", "path": format!("members[value eq {}]", json!(text)) }),
                json!(
                    {
                        "op": "replace", "path": format!("emails[type eq {}].value", json!(text)),
                        "value": text,
                    }
                ),
                json!({ "op": "add", "path": format!("urn:x:{text}:y"), "value": { text: text } }),
                json!({ "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": text }),
            ] {
                for path in [&scene.user, &scene.group] {
                    assert_sane(
                        &scene.client.patch(path, json!([operation])).await, &operation.to_string(),
                    );
                    assert_eq!(scene.client.get(path).await.status, 200, "{operation}");
                }
            }
            for attribute in [
                "userName", "displayName", "externalId", "id", "emails.value", "title", "groups",
                "members", "active", text,
            ] {
                for operator in ["eq", "co", "gt"] {
                    let filter = format!("{attribute} {operator} {}", json!(text));
                    for endpoint in ["/Users", "/Groups"] {
                        assert_sane(&scene.client.find(endpoint, &filter).await, &filter);
                    }
                }
            }
        }
        assert_eq!(scene.client.get("/Users").await.status, 200);
    }
}
