//! Bulk requests (RFC 7644 §3.7) through HTTP: each operation as if it had come alone.

use std::collections::BTreeSet;
use std::time::Duration;

use scimd::clock::{Clock, Ids};
use scimd::directory::{ConnectionKind, ConnectionStatus};
use scimd::http::{App, Settings};
use serde_json::{Value, json};

use super::support::{
    Answer, Client, ENTERPRISE, PATCH_OP, Scene, TestInstance, assert_refused, both, person, raw,
    team,
};

const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const NOBODY: &str = "019f0000-0000-7000-8000-000000000000";

fn message(operations: impl Into<Value>) -> Value {
    json!({ "schemas": [BULK], "Operations": operations.into() })
}

fn post(path: &str, bulk_id: &str, data: impl Into<Value>) -> Value {
    json!({ "method": "POST", "path": path, "bulkId": bulk_id, "data": data.into() })
}

fn change(path: &str, operations: impl Into<Value>) -> Value {
    let data = json!({ "schemas": [PATCH_OP], "Operations": operations.into() });
    json!({ "method": "PATCH", "path": path, "data": data })
}

fn managed_by(user_name: &str, reference: &str) -> Value {
    person(user_name, json!({ ENTERPRISE: { "manager": { "value": reference } } }))
}

impl Client {
    async fn bulk(&self, operations: impl Into<Value>) -> Answer {
        let answer = self.post("/Bulk", message(operations)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.at("/schemas/0"), "urn:ietf:params:scim:api:messages:2.0:BulkResponse");
        answer
    }
}

impl Answer {
    /// The statuses of the operations.
    fn statuses(&self) -> Vec<String> {
        let answers = self.at("/Operations");
        let answers = answers.as_array().unwrap().iter();
        answers.map(|answer| answer["status"].as_str().unwrap().to_owned()).collect()
    }

    /// The id of the resource that an operation was about.
    fn id(&self, operation: usize) -> String {
        let location = self.text(&format!("/Operations/{operation}/location"));
        location.rsplit('/').next().unwrap().to_owned()
    }

    /// Asserts that an operation was refused and gives the detail.
    #[track_caller]
    fn refusal(&self, operation: usize, status: &str, scim_type: &str) -> String {
        let answer = self.at(&format!("/Operations/{operation}"));
        assert_eq!(answer["status"], status, "{answer}");
        assert_eq!(answer["response"]["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
        assert_eq!(answer["response"]["status"], status, "{answer}");
        assert_eq!(answer["response"]["scimType"].as_str().unwrap_or_default(), scim_type);
        answer["response"]["detail"].as_str().unwrap().to_owned()
    }
}

both! {
    async fn every_method_answers_as_if_it_had_come_alone(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let [ann, bob] = [client.user("ann").await, client.user("bob").await];
        let group = client.group("Staff", &[&ann]).await;
        let path = |id: &str| format!("/Users/{id}");
        let answer = client.bulk(json!([
            post("/Users", "new", person("cy", json!({ "title": "Cook" }))),
            {
                "Method": "put", "PATH": path(&ann), "version": "W/\"1\"",
                "Data": person("ann", json!({ "title": "Chef" })),
            },
            change(
                &format!("/Groups/{group}"),
                json!([{ "op": "add", "path": "members", "value": [{ "value": bob }] }]),
            ),
            { "method": "DELETE", "path": path(&bob), "bulkId": "gone" },
        ])).await;
        let cy = answer.id(0);
        let base = "http://people.example.com/scim/v2";
        assert_eq!(answer.at("/Operations"), json!([
            {
                "method": "POST", "bulkId": "new", "location": format!("{base}/Users/{cy}"),
                "version": "W/\"1\"", "status": "201",
            },
            {
                "method": "PUT", "location": format!("{base}/Users/{ann}"), "status": "200",
                "version": client.get(&path(&ann)).await.text("/meta/version"),
            },
            {
                "method": "PATCH", "location": format!("{base}/Groups/{group}"),
                "version": "W/\"2\"", "status": "200",
            },
            {
                "method": "DELETE", "bulkId": "gone", "location": format!("{base}/Users/{bob}"),
                "status": "204",
            },
        ]));
        assert_eq!(client.get(&path(&cy)).await.text("/title"), "Cook");
        assert_eq!(client.get(&path(&ann)).await.text("/title"), "Chef");
        assert_refused(&client.get(&path(&bob)).await, 404, "");
        assert_eq!(client.members(&group).await, [ann.as_str()]);
        // One request, one id in the audit trail.
        let request = answer.header("x-request-id").to_owned();
        for id in [&cy, &ann, &bob] {
            let last = test.trail(id).await.pop().unwrap();
            assert_eq!(last.request_id.as_deref(), Some(request.as_str()));
        }
        // The version of the answer is one that a later request can name.
        let again = client.bulk(json!([
            {
                "method": "DELETE", "path": path(&cy),
                "version": answer.text("/Operations/0/version"),
            },
        ])).await;
        assert_eq!(again.statuses(), ["204"]);
    }

    async fn references_lead_forward_and_back(database) {
        let test = TestInstance::on(&database).await;
        let client = test.client(ConnectionKind::Scim).await;
        let dee = client.user("dee").await;
        let old = client.group("Old", &[&dee]).await;
        let answer = client.bulk(json!([
            post("/Groups", "g", team("Staff", &["bulkId:ann", "bulkId:bob", &dee])),
            change(
                &format!("/Groups/{old}"),
                json!([{ "op": "add", "path": "members", "value": [{ "value": "bulkId:ann" }] }]),
            ),
            change("/Groups/bulkId:g", json!([
                { "op": "remove", "path": "members[value eq \"bulkId:bob\"]" },
                { "op": "replace", "value": { "displayName": "Crew" } },
            ])),
            change("/Users/bulkId:ann", json!([
                {
                    "op": "add", "path": format!("{ENTERPRISE}:manager"),
                    "value": { "value": "bulkId:bob", "$ref": "../Users/bulkId:bob" },
                },
            ])),
            {
                "method": "PUT", "path": "/Users/bulkId:cy",
                "data": managed_by("cyrus", "bulkId:ann"),
            },
            post("/Users", "ann", person("ann", json!({}))),
            post("/Users", "bob", person("bob", json!({}))),
            post("/Users", "cy", managed_by("cy", "bulkId:bob")),
            post("/Users", "eve", person("eve", json!({}))),
            { "method": "DELETE", "path": "/Users/bulkId:eve" },
        ])).await;
        assert_eq!(
            answer.statuses(),
            ["201", "200", "200", "200", "200", "201", "201", "201", "201", "204"], "{answer:?}",
        );
        let [g, ann, bob] = [answer.id(0), answer.id(5), answer.id(6)];
        assert_eq!((answer.id(2), answer.id(3)), (g.clone(), ann.clone()));
        let sorted = |ids: [&String; 2]| BTreeSet::from(ids.map(Clone::clone));
        let members = async |id: &str| BTreeSet::from_iter(client.members(id).await);
        assert_eq!(members(&g).await, sorted([&ann, &dee]));
        assert_eq!(members(&old).await, sorted([&ann, &dee]));
        assert_eq!(client.get(&format!("/Groups/{g}")).await.text("/displayName"), "Crew");
        let read = client.get(&format!("/Users/{ann}")).await;
        let manager = read.body[ENTERPRISE]["manager"].clone();
        assert_eq!(manager["value"], bob, "{read:?}");
        assert!(!read.body.to_string().contains("bulkId"), "{read:?}");
        assert_eq!(test.manager_of("ann").await.as_deref(), Some("bob"));
        assert_eq!(test.manager_of("cyrus").await.as_deref(), Some("ann"));
        assert_refused(&client.get(&format!("/Users/{}", answer.id(8))).await, 404, "");
    }

    async fn circles_are_closed(database) {
        let test = TestInstance::on(&database).await;
        let client = test.client(ConnectionKind::Scim).await;
        let answer = client.bulk(json!([
            post("/Groups", "above", team("Above", &["bulkId:a"])),
            post("/Groups", "a", team("A", &["bulkId:b", "bulkId:ann"])),
            post("/Groups", "b", team("B", &["bulkId:c"])),
            post("/Groups", "c", team("C", &["bulkId:a", "bulkId:c"])),
            post("/Users", "ann", managed_by("ann", "bulkId:bob")),
            post("/Users", "bob", managed_by("bob", "bulkId:ann")),
            post("/Users", "self", managed_by("self", "bulkId:self")),
        ])).await;
        assert_eq!(answer.statuses(), vec!["201"; 7], "{answer:?}");
        let id = |at| answer.id(at);
        // Nobody is a member of itself: that reference is left out with a note.
        let mut due = [
            (0, vec![id(1)]), (1, vec![id(2), id(4)]), (2, vec![id(3)]), (3, vec![id(1)]),
        ];
        for (group, members) in &mut due {
            members.sort_unstable();
            assert_eq!(client.members(&id(*group)).await, *members);
        }
        for (user, manager) in [(4, 5), (5, 4), (6, 6)] {
            let read = client.get(&format!("/Users/{}", id(user))).await;
            assert_eq!(read.body[ENTERPRISE]["manager"]["value"], id(manager), "{read:?}");
            // Behind the version, a tag tells of groups, which came later.
            let version = |tag: String| tag.split(['-', '"']).nth(1).unwrap().to_owned();
            let answered = answer.text(&format!("/Operations/{user}/version"));
            assert_eq!(version(read.text("/meta/version")), version(answered), "the last one");
        }
        assert_eq!(client.count("/Groups", "displayName pr").await, 4);
    }

    async fn one_failure_undoes_nothing_else(database) {
        let test = TestInstance::on(&database).await;
        let client = test.client(ConnectionKind::Scim).await;
        let ann = client.user("ann").await;
        let answer = client.bulk(json!([
            post("/Users", "x", person("x", json!({}))),
            post("/Users", "again", person("ANN", json!({}))),
            post("/Groups", "g", team("G", &["bulkId:again"])),
            change("/Users/bulkId:again", json!([{ "op": "remove", "path": "title" }])),
            post("/Groups", "h", team("H", &["bulkId:i", "bulkId:again"])),
            post("/Groups", "i", team("I", &["bulkId:h"])),
            post("/Groups", "nobody", team("J", &["bulkId:nowhere"])),
            { "method": "DELETE", "path": "/Users/bulkId:nowhere" },
            { "method": "DELETE", "path": format!("/Groups/{NOBODY}") },
            {
                "method": "PUT", "path": format!("/Users/{ann}"), "version": "W/\"7\"",
                "data": person("ann", json!({})),
            },
            post("/Users", "y", person("y", json!({}))),
        ])).await;
        assert!(answer.refusal(1, "409", "uniqueness").contains("ANN"));
        for dependent in [2, 3, 4] {
            assert!(answer.refusal(dependent, "409", "").contains("\"bulkId:again\""));
        }
        assert!(answer.refusal(5, "409", "").contains("\"bulkId:h\""));
        for unknown in [6, 7] {
            assert!(answer.refusal(unknown, "400", "invalidValue").contains("\"nowhere\""));
        }
        assert!(answer.refusal(8, "404", "").contains(NOBODY));
        answer.refusal(9, "412", "");
        assert_eq!(answer.at("/Operations/1/location"), Value::Null);
        assert_eq!(answer.id(9), ann);
        let statuses = answer.statuses();
        assert_eq!((statuses.len(), &*statuses[0], &*statuses[10]), (11, "201", "201"));
        assert_eq!(client.count("/Users", "userName pr").await, 3);
        assert_eq!(client.count("/Groups", "displayName pr").await, 0);
    }

    async fn a_circle_that_cannot_be_closed_is_told(database) {
        let client = TestInstance::on(&database).await.entra().await;
        client.group("B", &[]).await;
        let answer = client.bulk(json!([
            post("/Groups", "a", team("A", &["bulkId:b"])),
            post("/Groups", "b", team("b", &["bulkId:a"])),
            change("/Groups/bulkId:a", json!([{ "op": "add", "value": { "displayName": "AA" } }])),
        ])).await;
        let detail = answer.refusal(0, "409", "");
        assert!(detail.contains("was created") && detail.contains("\"bulkId:b\""), "{detail}");
        answer.refusal(1, "409", "uniqueness");
        assert_eq!(answer.statuses()[2], "200");
        let read = client.get(&format!("/Groups/{}", answer.id(0))).await;
        assert_eq!((read.text("/displayName"), read.at("/members")), ("AA".to_owned(), json!([])));
    }

    async fn fail_on_errors_stops(database) {
        let client = TestInstance::on(&database).await.entra().await;
        client.user("taken").await;
        let send = async |round: usize, max: Value| {
            let name = |at: usize| format!("u{round}-{at}");
            let operations = (0..6).map(|at| match at {
                1 | 3 => post("/Users", &name(at), person("Taken", json!({}))),
                _ => post("/Users", &name(at), person(&name(at), json!({}))),
            });
            let mut body = message(operations.collect::<Vec<_>>());
            body["failOnErrors"] = max;
            client.post("/Bulk", body).await
        };
        for (round, max, ran) in [
            (0, json!(1), 2), (1, json!(2), 4), (2, json!(3), 6), (3, json!(null), 6),
            (4, json!(10_000), 6),
        ] {
            let answer = send(round, max).await;
            let due = ["201", "409", "201", "409", "201", "201"];
            assert_eq!(answer.statuses(), due[..ran]);
            let created = due[..ran].iter().filter(|status| **status == "201").count() as u64;
            let filter = format!("userName sw \"u{round}-\"");
            assert_eq!(client.count("/Users", &filter).await, created);
        }
        for max in [json!(0), json!(-1), json!(1.5), json!("1"), json!([]), json!(true)] {
            assert_refused(&send(9, max).await, 400, "invalidValue");
        }
        assert_eq!(client.count("/Users", "userName sw \"u9-\"").await, 0);
    }

    async fn what_is_no_bulk_request_does_nothing(database) {
        let scene = Scene::on(&database).await;
        let good = post("/Users", "x", person("x", json!({})));
        for body in [
            json!(null), json!([]), json!("x"), json!({}), json!({ "Operations": [good] }),
            json!({ "schemas": [PATCH_OP], "Operations": [good] }), json!({ "schemas": [BULK] }),
            message(json!({})), message(json!("x")), message(json!([])),
            message(json!([good, null])), message(json!([good, []])),
            message(json!([good, { "method": "POST", "bulkId": 1 }])),
        ] {
            let answer = scene.client.post("/Bulk", body.clone()).await;
            assert!(assert_refused(&answer, 400, "invalidSyntax").len() < 500, "{body}");
        }
        let twice = json!([good, post("/Groups", "x", team("x", &[]))]);
        let answer = scene.client.post("/Bulk", message(twice)).await;
        assert!(assert_refused(&answer, 400, "invalidValue").contains("\"x\" is not unique"));
        let other = scene.client.send("GET", "/Bulk", None).await;
        assert_refused(&other, 405, "");
        assert_eq!(other.header("allow"), "POST");
        let broken = raw(&scene.client, "POST", "/Bulk", b"{\"schemas\": [".to_vec()).await;
        assert_refused(&broken, 400, "invalidSyntax");
        scene.assert_unchanged().await;
    }

    async fn a_bad_operation_is_refused_alone(database) {
        let scene = Scene::on(&database).await;
        let data = || person("x", json!({}));
        let misplaced = scene.group.replace("Group", "User");
        let remove = |path: &str| json!([{ "op": "remove", "path": path }]);
        let long = "x".repeat(100_000);
        //  operation, status, scimType
        let cases = [
            (json!({}), "400", "invalidSyntax"),
            (json!({ "method": 1, "path": "/Users" }), "400", "invalidSyntax"),
            (json!({ "method": "GET", "path": "/Users" }), "405", ""),
            (json!({ "method": long, "path": "/Users" }), "405", ""),
            (json!({ "method": "POST", "path": "/Users", "data": data() }), "400", "invalidValue"),
            (post("/Users", "", data()), "400", "invalidValue"),
            (post("", "a", data()), "404", ""),
            (post("/users", "a", data()), "404", ""),
            (post(&format!("/{long}"), "a", data()), "404", ""),
            (post("/Bulk", "a", message(json!([post("/Users", "b", data())]))), "404", ""),
            (post("/Me", "a", data()), "404", ""),
            (post("/Users/.search", "a", data()), "405", ""),
            (post(&scene.user, "a", data()), "405", ""),
            (json!({ "method": "PUT", "path": "/Users", "data": data() }), "405", ""),
            (json!({ "method": "DELETE", "path": "/Users/" }), "405", ""),
            (json!({ "method": "DELETE", "path": format!("{}/x", scene.user) }), "404", ""),
            (json!({ "method": "DELETE", "path": format!("/Users/{long}") }), "404", ""),
            (json!({ "method": "DELETE", "path": misplaced }), "404", ""),
            (json!({ "method": "DELETE", "path": scene.user, "version": "W/\"9\"" }), "412", ""),
            (
                json!({ "method": "DELETE", "path": scene.user, "version": 1 }),
                "400", "invalidSyntax",
            ),
            (json!({ "method": "PUT", "path": scene.user }), "400", "invalidSyntax"),
            (json!({ "method": "PUT", "path": scene.user, "data": [] }), "400", "invalidSyntax"),
            (post("/Users", "a", json!({})), "400", "invalidSyntax"),
            (post("/Users", "a", person(" ", json!({}))), "400", "invalidValue"),
            (change(&scene.user, json!([])), "400", "invalidSyntax"),
            (change(&scene.user, remove("x[")), "400", "invalidPath"),
            (change(&scene.user, remove("x[y eq \"bulkId:")), "400", "invalidPath"),
            (change(&scene.user, remove("x[y eq \"bulkId:z\"]")), "400", "invalidValue"),
            (post("/Groups", "a", team("T", &["bulkId:"])), "400", "invalidValue"),
            (post("/Groups", "a", team("T", &[&format!("bulkId:{long}")])), "400", "invalidValue"),
        ];
        for (operation, status, scim_type) in &cases {
            let answer = scene.client.bulk(json!([operation])).await;
            assert!(answer.refusal(0, status, scim_type).len() < 500);
        }
        let all: Vec<_> = cases.iter().enumerate().map(|(number, (operation, ..))| {
            let mut operation = operation.clone();
            if operation["bulkId"] == "a" {
                operation["bulkId"] = json!(number.to_string());
            }
            operation
        }).collect();
        let due: Vec<_> = cases.iter().map(|(_, status, _)| *status).collect();
        assert_eq!(scene.client.bulk(all).await.statuses(), due);
        scene.assert_unchanged().await;
    }

    async fn the_limits_hold_and_are_told(database) {
        let settings = Settings { body_bytes_max: 256 * 1024, ..Settings::default() };
        let test = TestInstance::with(&database, settings).await;
        let client = test.entra().await;
        let config = client.get("/ServiceProviderConfig").await;
        assert_eq!(config.at("/bulk"), json!({
            "supported": true, "maxOperations": 1000, "maxPayloadSize": 256 * 1024,
        }));
        let nothing = json!({ "method": "DELETE", "path": "/Users/x" });
        let many = |count: usize| message(vec![nothing.clone(); count]);
        let detail = assert_refused(&client.post("/Bulk", many(1001)).await, 413, "");
        assert!(detail.contains("1001") && detail.contains("1000"), "{detail}");
        assert_eq!(client.post("/Bulk", many(1000)).await.statuses(), vec!["404"; 1000]);
        let large = |size: usize| {
            let user = person("large", json!({ "title": "x".repeat(size) }));
            message(json!([post("/Users", "x", user)]))
        };
        let detail = assert_refused(&client.post("/Bulk", large(256 * 1024)).await, 413, "");
        assert!(detail.contains("262144"), "{detail}");
        assert_eq!(client.post("/Bulk", large(250 * 1024)).await.statuses(), ["201"]);
        // Where other requests may be larger, a bulk request may not.
        let store = test.app.provision.store.clone();
        let app = App::new(store, Clock::system(), Ids, Settings::default()).await.unwrap();
        let client = Client { app, ..client };
        let config = client.get("/ServiceProviderConfig").await;
        assert_eq!(config.at("/bulk/maxPayloadSize"), 4 * 1024 * 1024);
        let detail = assert_refused(&client.post("/Bulk", large(4 * 1024 * 1024)).await, 413, "");
        assert!(detail.contains("4194304"), "{detail}");
    }

    /// A thousand operations: people, then the groups they are in, who are sent first.
    async fn a_thousand_operations_are_done_once_each(database) {
        let settings = Settings { request_timeout: Duration::from_mins(10), ..Settings::default() };
        let client = TestInstance::with(&database, settings).await.entra().await;
        let groups = (0..100).map(|group| {
            let members: Vec<_> = (0..9).map(|at| format!("bulkId:u{}", group * 9 + at)).collect();
            let next = format!("bulkId:g{}", (group + 1) % 100);
            let members: Vec<_> = members.iter().chain([&next]).map(String::as_str).collect();
            post("/Groups", &format!("g{group}"), team(&format!("g{group}"), &members))
        });
        let people = (0..900).map(|user| {
            post("/Users", &format!("u{user}"), managed_by(&format!("u{user}"), "bulkId:u0"))
        });
        let answer = client.bulk(groups.chain(people).collect::<Vec<_>>()).await;
        assert_eq!(answer.statuses(), vec!["201"; 1000]);
        assert_eq!(client.count("/Users", "userName pr").await, 900);
        assert_eq!(client.count("/Groups", "displayName pr").await, 100);
        for group in [0, 42, 99] {
            let mut due: Vec<_> = (0..9).map(|at| answer.id(100 + group * 9 + at)).collect();
            due.push(answer.id((group + 1) % 100));
            due.sort_unstable();
            assert_eq!(client.members(&answer.id(group)).await, due);
            assert_eq!(answer.text(&format!("/Operations/{group}/bulkId")), format!("g{group}"));
        }
    }

    /// When time runs out, what was done is acknowledged and what was not is told.
    async fn a_request_that_takes_too_long_answers_for_all(database) {
        let settings = Settings { request_timeout: Duration::from_secs(4), ..Settings::default() };
        let client = TestInstance::with(&database, settings).await.entra().await;
        let people = (0..1000).map(|user| {
            let name = format!("u{user}");
            post("/Users", &name, person(&name, json!({})))
        });
        let answer = client.bulk(people.collect::<Vec<_>>()).await;
        let statuses = answer.statuses();
        let created = statuses.iter().take_while(|status| *status == "201").count();
        assert_eq!(client.count("/Users", "userName pr").await, created as u64);
        assert_eq!(statuses[created..], vec!["503"; 1000 - created]);
        if created < 1000 {
            let detail = answer.refusal(created, "503", "");
            assert!(detail.contains("send it again"), "{detail}");
        }
    }

    async fn a_connection_that_may_not_write_is_refused_each_operation(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "Okta").await;
        let client = Client { app: test.app.clone(), token: test.token(&connection).await };
        let (provision, author) = (&test.app.provision, test.app.provision.operator());
        for (status, due) in [(ConnectionStatus::Draft, "403"), (ConnectionStatus::Paused, "429")] {
            provision.set_connection_status(&author, &connection, status).await.unwrap();
            let answer = client.bulk(json!([
                post("/Users", "x", person("x", json!({}))),
                post("/Groups", "g", team("g", &["bulkId:x"])),
                { "method": "DELETE", "path": format!("/Users/{NOBODY}") },
            ])).await;
            assert_eq!(answer.statuses(), [due, "409", due]);
        }
        assert_eq!(client.count("/Users", "userName pr").await, 0);
    }

    async fn what_others_own_is_not_there(database) {
        let test = TestInstance::on(&database).await;
        let (client, stranger) = (test.client(ConnectionKind::Scim).await, test.okta().await);
        let neighbour = test.neighbour().await.entra().await;
        let ann = client.user("ann").await;
        for other in [&stranger, &neighbour] {
            let before = test.everything().await;
            let path = format!("/Users/{ann}");
            let title = json!([{ "op": "replace", "path": "title", "value": "T" }]);
            let answer = other.bulk(json!([
                { "method": "PUT", "path": path, "data": person("ann", json!({})) },
                change(&path, title), { "method": "DELETE", "path": path },
            ])).await;
            for operation in 0..3 {
                assert!(answer.refusal(operation, "404", "").contains(&ann));
            }
            assert_eq!(test.everything().await, before);
        }
    }
}
