//! Schemas that an instance defines itself work as those that every instance has.

#![expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]

use scimd::provision::schemas::Defined;
use scimd::scim::definition::{Holder, parse};
use scimd::scim::schemas::Password;
use serde_json::{Value, json};

use super::support::statements::Recorder;
use super::support::{
    Answer, CORE, Client, GROUP, PATCH_OP, TestInstance, assert_refused, both, person, team,
};

const HR: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
const SITE: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:Group";

/// One attribute of every type and of every characteristic.
fn of_users() -> Value {
    json!({
        "id": HR, "name": "Acme", "description": "What Acme keeps about its people",
        "attributes": [
            { "name": "badge", "description": "On the card", "uniqueness": "server" },
            { "name": "desk", "type": "integer", "uniqueness": "global" },
            { "name": "shirt", "canonicalValues": ["S", "M", "L"], "caseExact": true },
            { "name": "remote", "type": "boolean" },
            { "name": "share", "type": "decimal" },
            { "name": "since", "type": "dateTime", "mutability": "immutable" },
            { "name": "photo", "type": "binary", "returned": "request" },
            { "name": "page", "type": "reference", "referenceTypes": ["external"] },
            { "name": "pin", "mutability": "writeOnly" },
            { "name": "grade", "returned": "always" },
            { "name": "tags", "multiValued": true },
            { "name": "place", "type": "complex", "subAttributes": [
                { "name": "floor", "type": "integer" }, { "name": "code", "returned": "never" },
            ] },
            { "name": "cars", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value", "required": true }, { "name": "type" },
                { "name": "primary", "type": "boolean" },
                { "name": "seats", "type": "integer", "mutability": "immutable" },
            ] },
        ],
    })
}

fn of_groups() -> Value {
    json!({ "id": SITE, "attributes": [
        { "name": "costCenter", "required": true, "uniqueness": "server", "caseExact": true },
        { "name": "founded", "type": "integer", "mutability": "immutable" },
        { "name": "secret", "returned": "never" },
    ] })
}

impl TestInstance {
    async fn define(&self, definition: &Value) -> Result<Defined, String> {
        let schema = parse(definition).unwrap();
        let holder = Holder::of_urn(&schema.id).unwrap();
        let author = self.app.provision.operator();
        let defined = self.app.provision.define_schema(&author, self.id, holder, schema).await;
        defined.map_err(|error| error.to_string())
    }

    /// An instance with both schemas, and a client that was there before.
    async fn with_schemas(database: &super::support::Database) -> (Self, Client) {
        let test = Self::on(database).await;
        let client = test.okta().await;
        assert_eq!(client.get("/Users").await.status, 200);
        assert_eq!(test.define(&of_users()).await, Ok(Defined::Created));
        assert_eq!(test.define(&of_groups()).await, Ok(Defined::Created));
        (test, client)
    }
}

fn ann(hr: Value) -> Value {
    person("ann@example.com", json!({ HR: hr }))
}

fn replace(path: &str, value: Value) -> Value {
    json!([{ "op": "replace", "path": format!("{HR}:{path}"), "value": value }])
}

#[track_caller]
fn assert_hr(answer: &Answer, name: &str, value: Value) {
    assert!(answer.status < 300, "{answer:?}");
    assert_eq!(answer.body[HR][name], value, "{answer:?}");
}

both! {
    async fn discovery_shows_them_to_the_next_request(database) {
        let (test, client) = TestInstance::with_schemas(&database).await;
        let shown = client.get(&format!("/Schemas/{}", HR.to_uppercase())).await;
        assert_eq!(shown.status, 200);
        assert_eq!(parse(&shown.body), parse(&of_users()));
        assert_eq!(shown.at("/attributes/1/uniqueness"), "server");
        assert_eq!(client.get(&format!("/Schemas/{SITE}")).await.status, 200);
        let kinds = client.get("/ResourceTypes").await.body.to_string();
        assert!(kinds.contains(HR) && kinds.contains(SITE));
        // Another instance does not see them, nor does the data under the URN get a type there.
        let other = test.neighbour().await.okta().await;
        assert_eq!(other.get(&format!("/Schemas/{HR}")).await.status, 404);
        let kept = other.post("/Users", ann(json!({ "desk": "7", "pin": "x" }))).await;
        assert_hr(&kept, "desk", json!("7"));
        assert_hr(&kept, "pin", json!("x"));
        let filter = format!("{HR}:desk eq 7");
        assert_refused(&other.find("/Users", &filter).await, 400, "invalidFilter");
        // A definition changes and goes while the server runs.
        let mut more = of_users();
        more["attributes"].as_array_mut().unwrap().push(json!({ "name": "hobby" }));
        let changed = test.define(&more).await.unwrap();
        assert_eq!(changed, Defined::Changed(vec!["hobby is new".to_owned()]));
        assert_eq!(test.define(&more).await, Ok(Defined::Unchanged));
        assert_eq!(client.get(&format!("/Schemas/{HR}")).await.at("/attributes/13/name"), "hobby");
        let author = test.app.provision.operator();
        test.app.provision.remove_schema(&author, test.id, HR).await.unwrap();
        assert_eq!(client.get(&format!("/Schemas/{HR}")).await.status, 404);
        let trail = test.trail(&test.id.to_string()).await;
        let actions: Vec<_> = trail.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(
            actions.iter().filter(|action| action.starts_with("schema.")).collect::<Vec<_>>(),
            [&"schema.defined", &"schema.defined", &"schema.changed", &"schema.removed"],
        );
    }

    async fn values_are_read_as_their_types_want_them(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        let created = client.post("/Users", ann(json!({
            "BADGE": 17, "desk": "12", "shirt": "XXL", "remote": "True", "share": "0.5",
            "since": "2026-01-31T12:00:00Z", "page": "https://example.com/ann", "tags": "one",
            "place": { "Floor": "3", "unknown": 1 }, "cars": { "value": "ZH 1", "seats": "5" },
            "unknown": 1, "grade": "",
        }))).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.body[HR], json!({
            "badge": "17", "desk": 12, "shirt": "XXL", "remote": true, "share": 0.5,
            "since": "2026-01-31T12:00:00Z", "page": "https://example.com/ann", "tags": ["one"],
            "place": { "floor": 3 }, "cars": [{ "value": "ZH 1", "seats": 5 }],
        }));
        assert!(created.at("/schemas").as_array().unwrap().contains(&json!(HR)));
        let path = format!("/Users/{}", created.text("/id"));
        for (wrong, value) in [
            ("desk", json!("left")), ("desk", json!(1.5)), ("remote", json!("maybe")),
            ("share", json!("half")), ("since", json!("yesterday")), ("badge", json!({})),
            ("place", json!("here")), ("tags", json!([{}])), ("page", json!([1, 2])),
            ("cars", json!([{ "type": "van" }])), ("badge", json!("x".repeat(513))),
        ] {
            for answer in [
                client.post("/Users", person("bob", json!({ HR: { wrong: value } }))).await,
                client.put(&path, ann(json!({ wrong: value }))).await,
                client.patch(&path, replace(wrong, value.clone())).await,
            ] {
                let detail = assert_refused(&answer, 400, "invalidValue");
                assert!(detail.contains(wrong), "{detail}");
            }
        }
        assert_eq!(client.get(&path).await.body, created.body);
    }

    async fn filters_regard_them(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        client.person("ann@example.com", json!({ HR: {
            "badge": "Stra\u{df}e", "desk": 12, "shirt": "M", "remote": true, "share": 0.5,
            "since": "2026-01-31T12:00:00Z", "photo": "aGk=", "tags": ["a", "b"], "pin": "1234",
            "place": { "floor": 3, "code": "77" }, "cars": [{ "value": "ZH 1", "type": "van" }],
        } })).await;
        client.person("bob@example.com", json!({ HR: { "desk": 13, "shirt": "m" } })).await;
        for (filter, count) in [
            ("badge eq \"STRASSE\"", 1), ("badge eq \"x\"", 0), ("desk eq 12", 1), ("desk gt 12", 1),
            ("desk eq \"13\"", 1), ("shirt eq \"M\"", 1), ("remote eq true", 1), ("share lt 1", 1),
            ("since gt \"2026-01-01T00:00:00Z\"", 1), ("photo eq \"aGk=\"", 1), ("photo pr", 1),
            ("tags eq \"B\"", 1), ("place.floor ge 3", 1), ("place[floor eq 3]", 1),
            ("cars[type eq \"van\" and value sw \"zh\"]", 1), ("cars eq \"zh 1\"", 1),
            ("desk pr", 2), ("badge ne \"strasse\"", 1),
        ] {
            let filter = if let Some((name, rest)) = filter.split_once('[') {
                format!("{HR}:{name}[{rest}")
            } else {
                format!("{HR}:{filter}")
            };
            assert_eq!(client.count("/Users", &filter).await, count, "{filter}");
            assert_eq!(client.count("/Users", &format!("not ({filter})")).await, 2 - count);
        }
        // What nobody may read cannot be found out by asking.
        for filter in [
            "pin eq \"1234\"", "pin pr", "place.code eq \"77\"", "place.code pr",
            "place[code eq \"77\"]", "nothing pr",
        ] {
            let answer = client.find("/Users", &format!("{HR}:{filter}")).await;
            assert_refused(&answer, 400, "invalidFilter");
        }
    }

    async fn patches_change_them(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        let id = client.person("ann@example.com", json!({ HR: { "desk": 1 } })).await;
        let path = format!("/Users/{id}");
        let cases = [
            ("desk", json!("7"), "desk", json!(7)),
            ("remote", json!("False"), "remote", json!(false)),
            ("tags", json!(["a", "b"]), "tags", json!(["a", "b"])),
            ("place.floor", json!("4"), "place", json!({ "floor": 4 })),
            (
                "cars", json!([{ "value": "ZH 1", "type": "van" }, { "value": "ZH 2", "type": "bus" }]),
                "cars", json!([{ "value": "ZH 1", "type": "van" }, { "value": "ZH 2", "type": "bus" }]),
            ),
            (
                "cars[type eq \"bus\"].value", json!("ZH 3"), "cars",
                json!([{ "value": "ZH 1", "type": "van" }, { "value": "ZH 3", "type": "bus" }]),
            ),
            (
                "cars[type eq \"tram\"].value", json!("ZH 4"), "cars",
                json!([{ "value": "ZH 1", "type": "van" }, { "value": "ZH 3", "type": "bus" },
                    { "type": "tram", "value": "ZH 4" }]),
            ),
        ];
        for (at, value, name, after) in cases {
            assert_hr(&client.patch(&path, replace(at, value)).await, name, after);
        }
        let remove = json!([
            { "op": "remove", "path": format!("{HR}:cars[value sw \"zh\" and type ne \"van\"]") },
            { "op": "add", "value": { HR: { "tags": ["c"], "shirt": "L" },
                format!("{HR}:grade"): "A" } },
            { "op": "remove", "path": format!("{HR}:tags"), "value": ["a"] },
        ]);
        let patched = client.patch(&path, remove).await;
        assert_hr(&patched, "cars", json!([{ "value": "ZH 1", "type": "van" }]));
        assert_hr(&patched, "tags", json!(["b", "c"]));
        assert_hr(&patched, "grade", json!("A"));
        let all = json!([{ "op": "remove", "path": HR }]);
        assert_eq!(client.patch(&path, all).await.at(&format!("/{HR}")), Value::Null);
    }

    async fn answers_show_them_as_they_are_defined(database) {
        let (test, client) = TestInstance::with_schemas(&database).await;
        let canary = "Canary-7f3a";
        let created = client.post("/Users", ann(json!({
            "desk": 1, "photo": "aGk=", "pin": canary, "grade": "A",
            "place": { "floor": 1, "code": canary },
        }))).await;
        assert_eq!(
            created.body[HR], json!({ "desk": 1, "grade": "A", "place": { "floor": 1 } }),
        );
        let path = format!("/Users/{}", created.text("/id"));
        for (query, shown) in [
            (String::new(), json!({ "desk": 1, "grade": "A", "place": { "floor": 1 } })),
            (format!("attributes={HR}:photo"), json!({ "photo": "aGk=", "grade": "A" })),
            (format!("attributes={HR}:pin,{HR}:desk"), json!({ "desk": 1, "grade": "A" })),
            (format!("attributes={HR}:place.code"), json!({ "grade": "A" })),
            ("attributes=userName".to_owned(), json!({ "grade": "A" })),
            (format!("excludedAttributes={HR}:desk,{HR}:grade"),
                json!({ "grade": "A", "place": { "floor": 1 } })),
            (format!("excludedAttributes={HR}"), json!({ "grade": "A" })),
        ] {
            let answer = client.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.body[HR], shown, "{query}");
            let listed = client.get(&format!("/Users?{query}")).await;
            assert_eq!(listed.body["Resources"][0][HR], shown, "{query}");
        }
        // It is kept, but neither answers nor the audit trail tell it.
        let secrets = replace("pin", json!(format!("{canary}-2")));
        let mut seen = client.patch(&path, secrets).await.body.to_string();
        seen += &client.patch(&path, replace("place.code", json!(canary.to_lowercase()))).await
            .body.to_string();
        let stored = test.everything().await;
        assert!(stored.contains("Canary-7f3a-2") && stored.contains("canary-7f3a"));
        let trail = test.trail(&created.text("/id")).await;
        assert_eq!(trail.len(), 3);
        let trail = serde_json::to_string(&trail).unwrap();
        assert!(trail.contains("(hidden)"), "{trail}");
        let group = client.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Staff",
            SITE: { "costCenter": "7", "secret": canary } })).await;
        assert_eq!(group.body[SITE], json!({ "costCenter": "7" }));
        seen += &group.body.to_string();
        seen += &serde_json::to_string(&test.trail(&group.text("/id")).await).unwrap();
        for text in [trail, seen] {
            assert!(!text.to_lowercase().contains("canary"), "{text}");
        }
    }

    async fn what_is_immutable_stays(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        let (then, later) = ("2026-01-31T12:00:00Z", "2027-01-31T12:00:00Z");
        let id = client.person("ann@example.com", json!({ HR: { "desk": 1 } })).await;
        let path = format!("/Users/{id}");
        assert_hr(&client.patch(&path, replace("since", json!(then))).await, "since", json!(then));
        for answer in [
            client.patch(&path, replace("since", json!(later))).await,
            client.patch(&path, json!([{ "op": "remove", "path": format!("{HR}:since") }])).await,
            client.patch(&path, json!([{ "op": "remove", "path": HR }])).await,
            client.put(&path, ann(json!({ "since": later }))).await,
        ] {
            assert!(assert_refused(&answer, 400, "mutability").contains("since"));
        }
        assert_hr(&client.put(&path, ann(json!({ "desk": 2 }))).await, "since", json!(then));
        let cars = json!([{ "value": "ZH 1", "seats": 5 }]);
        assert_hr(&client.patch(&path, replace("cars", cars.clone())).await, "cars", cars);
        for (op, path_of, value) in [
            ("replace", "cars[value eq \"zh 1\"].seats", json!(4)),
            ("replace", "cars[value eq \"zh 1\"]", json!({ "value": "ZH 1", "seats": 4 })),
            ("replace", "cars[value eq \"zh 1\"]", json!({ "value": "ZH 1" })),
            ("add", "cars[value eq \"zh 1\"]", json!({ "seats": 4 })),
        ] {
            let change = json!([{ "op": op, "path": format!("{HR}:{path_of}"), "value": value }]);
            assert_refused(&client.patch(&path, change).await, 400, "mutability");
        }
        let type_only = json!([{ "op": "add", "path": format!("{HR}:cars[value eq \"zh 1\"]"),
            "value": { "type": "van" } }]);
        assert_eq!(client.patch(&path, type_only).await.status, 200);
    }

    async fn a_unique_value_has_one_holder(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        let ann = client.person("ann", json!({ HR: { "badge": "Zo\u{eb}", "desk": 1 } })).await;
        let bob = client.person("bob", json!({ HR: { "badge": "B", "desk": 2 } })).await;
        let (ann, bob) = (format!("/Users/{ann}"), format!("/Users/{bob}"));
        let eve = |hr: Value| person("eve", json!({ HR: hr }));
        for (answer, name) in [
            (client.post("/Users", eve(json!({ "badge": "ZOE\u{308}" }))).await, "badge"),
            (client.post("/Users", eve(json!({ "desk": "1" }))).await, "desk"),
            (client.patch(&bob, replace("badge", json!("zo\u{eb}"))).await, "badge"),
            (client.put(&bob, person("bob", json!({ HR: { "desk": 1 } }))).await, "desk"),
        ] {
            assert!(assert_refused(&answer, 409, "uniqueness").contains(name));
        }
        assert_eq!(client.count("/Users", "userName eq \"eve\"").await, 0);
        // Who holds it may say it again; who lets go of it frees it, and so does a deletion.
        assert_hr(&client.patch(&ann, replace("badge", json!("ZO\u{cb}"))).await, "badge",
            json!("ZO\u{cb}"));
        assert_hr(&client.patch(&ann, replace("badge", json!("C"))).await, "badge", json!("C"));
        assert_hr(&client.patch(&bob, replace("badge", json!("zo\u{eb}"))).await, "badge",
            json!("zo\u{eb}"));
        assert_eq!(client.delete(&ann).await.status, 204);
        assert_hr(&client.patch(&bob, replace("badge", json!("c"))).await, "badge", json!("c"));
        // Groups have values of their own, and these are compared exactly.
        let group = |name: &str, center: &str| json!({
            "schemas": [GROUP], "displayName": name, SITE: { "costCenter": center },
        });
        for (name, center, status) in [
            ("A", "c", 201), ("B", "C", 201), ("D", "c", 409), ("E", "", 201),
        ] {
            let answer = client.post("/Groups", group(name, center)).await;
            assert_eq!(answer.status, status, "{name}: {answer:?}");
        }
        let blank = json!({
            "schemas": [GROUP], "displayName": "F", SITE: { "costCenter": "", "founded": 1 },
        });
        let refused = client.post("/Groups", blank).await;
        assert!(assert_refused(&refused, 400, "invalidValue").contains("costCenter"));
        assert_eq!(client.post("/Groups", team("G", &[])).await.status, 201);
    }

    async fn a_unique_value_is_found_without_looking_at_all(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        for n in 0..20 {
            let hr = json!({ "badge": format!("B{n}"), "desk": n });
            client.person(&format!("p{n}"), json!({ HR: hr })).await;
        }
        let recorder = Recorder::start();
        for (filter, count) in [
            ("badge eq \"b7\"", 1), ("desk eq 7", 1), ("desk eq \"7\"", 1), ("desk eq -0.0", 1),
            ("desk eq 7.5", 0), ("badge eq \"b\"", 0),
        ] {
            let found = client.count("/Users", &format!("{HR}:{filter}")).await;
            let statements = recorder.take();
            assert_eq!(found, count, "{filter}");
            let most = statements.iter().map(|statement| statement.rows).max().unwrap();
            assert!(most <= 1 || filter.contains('.'), "{filter}: {statements:?}");
        }
    }

    async fn of_two_writers_one_gets_the_value(database) {
        let (_test, client) = TestInstance::with_schemas(&database).await;
        for round in 0..20 {
            let sent = |name: &str| {
                let hr = json!({ "badge": format!("b{round}") });
                let body = person(&format!("{name}{round}"), json!({ HR: hr }));
                let client = client.clone();
                tokio::spawn(async move { client.post("/Users", body).await.status })
            };
            let (one, other) = (sent("a"), sent("b"));
            let mut statuses = [one.await.unwrap(), other.await.unwrap()];
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409], "round {round}");
            let filter = format!("{HR}:badge eq \"B{round}\"");
            assert_eq!(client.count("/Users", &filter).await, 1);
        }
    }

    /// Who defines a unique attribute sees what was written before; who writes after sees the definition.
    async fn writers_and_a_definition_at_once_leave_one_holder(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let author = test.app.provision.operator();
        for round in 0..20 {
            let post = |name: &str| {
                let body = person(&format!("{name}{round}"), json!({ HR: { "badge": "b" } }));
                let client = client.clone();
                async move { client.post("/Users", body).await }
            };
            let users = of_users();
            let (defined, one, other) = tokio::join!(test.define(&users), post("a"), post("b"));
            let created: Vec<_> = [one, other].into_iter().filter(|one| one.status == 201).collect();
            let due = if defined.is_ok() { 1 } else { 2 };
            assert_eq!(created.len(), due, "round {round}: {defined:?}");
            if defined.is_ok() {
                test.app.provision.remove_schema(&author, test.id, HR).await.unwrap();
            }
            for one in created {
                let path = format!("/Users/{}", one.text("/id"));
                assert_eq!(client.delete(&path).await.status, 204);
            }
        }
    }

    async fn data_from_before_is_adopted_and_checked(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let before = json!({ "desk": "1", "badge": "x", "odd": 1 });
        let ann = client.person("ann", json!({ HR: before })).await;
        let bob = client.person("bob", json!({ HR: { "badge": "X" } })).await;
        let refused = test.define(&of_users()).await.unwrap_err();
        assert!(refused.contains(&ann) && refused.contains(&bob), "{refused}");
        assert_eq!(client.get(&format!("/Schemas/{HR}")).await.status, 404);
        assert_eq!(client.delete(&format!("/Users/{bob}")).await.status, 204);
        assert_eq!(test.define(&of_users()).await, Ok(Defined::Created));
        // It stays as it is until it is written, but its values are taken.
        let path = format!("/Users/{ann}");
        assert_eq!(client.get(&path).await.body[HR], before);
        for hr in [json!({ "badge": "X" }), json!({ "desk": 1 })] {
            let answer = client.post("/Users", person("eve", json!({ HR: hr }))).await;
            assert_refused(&answer, 409, "uniqueness");
        }
        let nothing = json!([{ "op": "remove", "path": "nickName" }]);
        assert_eq!(client.patch(&path, nothing).await.body[HR], before);
        let title = json!([{ "op": "replace", "path": "title", "value": "Cook" }]);
        let patched = client.patch(&path, title).await;
        assert_hr(&patched, "desk", json!(1));
        assert_hr(&patched, "odd", json!(1));
        // Removed and defined again, the values are still there.
        let author = test.app.provision.operator();
        test.app.provision.remove_schema(&author, test.id, HR).await.unwrap();
        let free = client.post("/Users", person("eve", json!({ HR: { "desk": 2 } }))).await;
        assert_hr(&free, "desk", json!(2));
        assert_eq!(test.define(&of_users()).await, Ok(Defined::Created));
        assert_refused(
            &client.post("/Users", person("joe", json!({ HR: { "desk": "2" } }))).await, 409,
            "uniqueness",
        );
        // What nobody could read does not come to light with the schema's end.
        assert_hr(&client.patch(&path, replace("pin", json!("1234"))).await, "pin", Value::Null);
        let removed = test.app.provision.remove_schema(&author, test.id, HR).await;
        assert!(removed.unwrap_err().to_string().contains("pin"));
        assert_hr(&client.patch(&path, replace("pin", Value::Null)).await, "pin", Value::Null);
        test.app.provision.remove_schema(&author, test.id, HR).await.unwrap();
    }

    async fn a_password_can_be_absent(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let schema = format!("/Schemas/{CORE}");
        assert!(client.get(&schema).await.body.to_string().contains("\"password\""));
        let author = test.app.provision.operator();
        let provision = &test.app.provision;
        let was = provision.set_password(&author, test.id, Password::Absent).await.unwrap();
        assert_eq!(was, Password::Accepted);
        assert!(!client.get(&schema).await.body.to_string().contains("\"password\""));
        let other = test.neighbour().await.okta().await;
        assert!(other.get(&schema).await.body.to_string().contains("\"password\""));
        let sent = person("ann", json!({ "password": "Canary-7f3a" }));
        let created = client.post("/Users", sent.clone()).await;
        assert_eq!(created.status, 201);
        let path = format!("/Users/{}", created.text("/id"));
        let change = json!({ "schemas": [PATCH_OP], "Operations": [
            { "op": "replace", "path": "password", "value": "Canary-7f3a" },
        ] });
        assert_eq!(client.send("PATCH", &path, Some(change)).await.status, 200);
        assert!(!database.raw_text().await.contains("Canary-7f3a"));
        let again = provision.set_password(&author, test.id, Password::Accepted).await.unwrap();
        assert_eq!(again, Password::Absent);
        assert!(client.get(&schema).await.body.to_string().contains("\"password\""));
    }
}
