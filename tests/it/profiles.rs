//! What differs between the clients: the rows of the one table, seen from outside.

use scimd::directory::{ConnectionKind, ConnectionStatus, Profile};
use scimd::provision::setup::NewConnection;
use serde_json::{Value, json};

use super::support::{
    CORE, Client, GROUP, PATCH_OP, TestInstance, assert_refused, both, person, team,
};

/// A client whose connection has this profile.
async fn client(test: &TestInstance, profile: Profile) -> Client {
    let new = NewConnection {
        kind: ConnectionKind::Scim,
        name: format!("{profile} test"),
        profile: Some(profile),
        status: ConnectionStatus::Enabled,
    };
    let author = test.app.provision.operator();
    let connection = test.app.provision.create_connection(&author, test.id, new).await.unwrap();
    Client { app: test.app.clone(), token: test.token(&connection).await }
}

const DIRECTORY: &str = "urn:ietf:params:scim:schemas:extension:scimd:2.0:User";
const ANN: &str = "ann@example.com";

/// A person with two work addresses.
fn ann() -> Value {
    person(
        ANN,
        json!({
            "externalId": "7", "displayName": "Ann", "name": { "givenName": "Ann" }, "emails": [
                { "value": "a@x.example", "type": "work" }, { "value": "b@x.example", "type": "work" },
                { "value": "c@x.example", "type": "home" },
            ],
        }),
    )
}

both! {
    /// draft-zollner-scim-interop-profile-01, and what lenient profiles make of the same.
    async fn the_strict_profile_refuses_what_the_others_forgive(database) {
        //  body of a POST that only lenient profiles take
        let bodies = [
            (json!({ "schemas": [CORE], "userName": "x", "shoeSize": 42 }), "invalidSyntax"),
            (json!({ "schemas": [CORE], "userName": "x", "name": { "nick": "x" } }), "invalidSyntax"),
            (json!({ "schemas": [CORE], "userName": "x", "urn:x:y:2.0:User": { "a": 1 } }), "invalidSyntax"),
            (json!({ "schemas": [CORE, "urn:x:y:2.0:User"], "userName": "x" }), "invalidSyntax"),
            (json!({ "schemas": [CORE], "userName": "x", "active": "True" }), "invalidValue"),
            (json!({ "schemas": [CORE], "userName": 7 }), "invalidValue"),
            (json!({ "schemas": [CORE], "userName": "x", "emails": { "value": "x@y.z" } }), "invalidValue"),
            (json!({ "schemas": [CORE], "userName": "x", "emails": ["x@y.z"] }), "invalidValue"),
        ];
        //  operation that only lenient profiles take
        let operations = [
            (json!({ "op": "replace", "value": { "title": "x" } }), "invalidSyntax"),
            (json!({ "op": "replace", "path": "shoeSize", "value": 42 }), "invalidPath"),
            (json!({ "op": "add", "path": "urn:x:y:2.0:User:a", "value": 1 }), "invalidSyntax"),
            (json!({ "op": "replace", "path": "active", "value": "False" }), "invalidValue"),
            (json!({ "op": "remove", "path": "emails[type eq \"home\"]" }), "invalidPath"),
            (json!({ "op": "replace", "path": "emails[type eq \"work\"].display", "value": "x" }), "invalidFilter"),
            (json!({ "op": "replace", "path": "emails[type eq home].display", "value": "x" }), "invalidPath"),
            (json!({ "op": "replace", "path": "emails[type eq \"home\"].color", "value": "x" }), "invalidPath"),
            (json!({ "op": "replace", "path": "id", "value": "x" }), "mutability"),
            (json!({ "op": "add", "path": "groups", "value": [{ "value": "x" }] }), "mutability"),
            (json!({ "op": "replace", "path": "meta.created", "value": "2026-01-01T00:00:00Z" }), "mutability"),
        ];
        let first = TestInstance::on(&database).await;
        for profile in Profile::ALL.iter().copied() {
            let test = first.named(&format!("{profile} tenant")).await;
            let client = client(&test, profile).await;
            let strict = profile == Profile::Interop;
            for (body, scim_type) in &bodies {
                let answer = client.post("/Users", body.clone()).await;
                if strict {
                    assert_refused(&answer, 400, scim_type);
                } else {
                    assert_eq!(answer.status, 201, "{profile} {body}: {answer:?}");
                    client.delete(&format!("/Users/{}", answer.text("/id"))).await;
                }
            }
            let created = client.post("/Users", ann()).await;
            assert_eq!(created.status, 201, "{profile}: {created:?}");
            let path = format!("/Users/{}", created.text("/id"));
            for (operation, scim_type) in &operations {
                let before = client.get(&path).await.body;
                let answer = client.patch(&path, json!([operation])).await;
                // What cannot be written is an error for a client that wants errors.
                let exact = profile == Profile::Generic
                    && (*scim_type == "mutability" || ["shoeSize", ".color"].iter()
                        .any(|unknown| operation["path"].as_str().is_some_and(|p| p.ends_with(unknown))));
                if strict || exact {
                    assert_refused(&answer, 400, scim_type);
                    assert_eq!(client.get(&path).await.body, before, "{profile} {operation}");
                } else {
                    assert_eq!(answer.status, 200, "{profile} {operation}: {answer:?}");
                }
            }
            let unquoted = client.find("/Users", "userName eq ann@example.com").await;
            assert_eq!(unquoted.status, if strict { 400 } else { 200 }, "{profile}");
            let config = client.get("/ServiceProviderConfig").await;
            let conformant = config.body.get("interopProfileConformant");
            assert_eq!(conformant, strict.then_some(&json!(true)), "{profile}");
        }
    }

    async fn the_strict_profile_does_all_that_it_promises(database) {
        let test = TestInstance::on(&database).await;
        let client = client(&test, Profile::Interop).await;
        let bob = client.user("bob").await;
        let created = client.post("/Users", ann()).await;
        let path = format!("/Users/{}", created.text("/id"));
        let patched = client.patch(&path, json!([
            { "op": "replace", "path": "displayName", "value": "Ann Lee" },
            { "op": "add", "path": "name", "value": { "familyName": "Lee" } },
            { "op": "replace", "path": "emails[type eq \"home\"].value", "value": "d@x.example" },
            { "op": "add", "path": "phoneNumbers", "value": [{ "value": "1", "type": "work" }] },
            { "op": "add", "path": "phoneNumbers", "value": [{ "value": "2", "type": "home" }] },
            { "op": "replace", "path": "active", "value": false },
        ])).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        assert_eq!(patched.at("/name"), json!({ "givenName": "Ann", "familyName": "Lee" }));
        assert_eq!(patched.at("/emails/2/value"), "d@x.example");
        assert_eq!(patched.at("/phoneNumbers").as_array().unwrap().len(), 2);
        assert_eq!(patched.at("/active"), false);
        assert_eq!(client.count("/Users", "userName eq \"ANN@example.com\" and active eq false").await, 1);
        let whole = json!([{ "op": "replace", "path": "name", "value": { "givenName": "Anna" } }]);
        assert_eq!(client.patch(&path, whole).await.at("/name"), json!({ "givenName": "Anna" }));
        let taken = json!([{ "op": "replace", "path": "userName", "value": "BOB" }]);
        assert_refused(&client.patch(&path, taken).await, 409, "uniqueness");
        let group = client.post("/Groups", team("Staff", &[&bob])).await;
        assert_eq!(group.status, 201, "{group:?}");
        let group = format!("/Groups/{}", group.text("/id"));
        let stale = json!([{ "op": "add", "path": "members", "value": [
            { "value": "01900000-0000-7000-8000-000000000000" },
        ] }]);
        assert_refused(&client.patch(&group, stale).await, 400, "invalidValue");
        let leave = json!([{ "op": "remove", "path": "members", "value": [{ "value": bob }] }]);
        assert_eq!(client.patch(&group, leave).await.status, 200);
        assert_eq!(client.get(&group).await.at("/members").as_array().map_or(0, Vec::len), 0);
        assert_eq!(client.delete(&path).await.status, 204);
        assert_eq!(client.post("/Users", ann()).await.status, 201, "her name is free again");
    }

    async fn a_put_without_external_id_clears_it_unless_the_client_never_sends_it(database) {
        let first = TestInstance::on(&database).await;
        for profile in Profile::ALL.iter().copied() {
            for agent in ["", "Okta SCIM Client 1.0.0"] {
                let test = first.named(&format!("{profile}{agent}")).await;
                let client = client(&test, profile).await;
                let (user, group) = (client.post("/Users", ann()).await, client.post("/Groups", json!({
                    "schemas": [GROUP], "displayName": "Staff", "externalId": "7",
                })).await);
                let kept = matches!(profile, Profile::Okta | Profile::Entra)
                    || (profile == Profile::Auto && !agent.is_empty());
                for (endpoint, created, body) in [
                    ("/Users", user, json!({ "schemas": [CORE], "userName": ANN })),
                    ("/Groups", group, team("Staff", &[])),
                ] {
                    let path = format!("{endpoint}/{}", created.text("/id"));
                    let headers = [("user-agent", agent)];
                    let put = client.send_with("PUT", &path, &headers, Some(body)).await;
                    assert_eq!(put.status, 200, "{put:?}");
                    let expected = if kept { json!("7") } else { Value::Null };
                    assert_eq!(put.at("/externalId"), expected, "{profile} {agent:?} {endpoint}");
                }
            }
        }
    }

    /// A password is taken from whoever insists on sending one, and is nowhere afterwards.
    async fn a_password_is_forgotten_at_once(database) {
        const CANARY: &str = "canary-of-a-password";
        let test = TestInstance::on(&database).await;
        for profile in Profile::ALL.iter().copied() {
            let client = client(&test, profile).await;
            let name = format!("{profile}@example.com");
            let body = json!({ "schemas": [CORE], "userName": name, "password": CANARY });
            let created = client.post("/Users?attributes=password,userName", body.clone()).await;
            assert_eq!(created.status, 201, "{created:?}");
            let path = format!("/Users/{}", created.text("/id"));
            let operations = json!({ "schemas": [PATCH_OP], "Operations": [
                { "op": "replace", "path": "password", "value": CANARY },
                { "op": "add", "path": format!("{CORE}:password"), "value": CANARY },
            ] });
            let patched = client.send("PATCH", &path, Some(operations)).await;
            assert_eq!(patched.status, 200, "{patched:?}");
            assert_eq!(patched.text("/meta/version"), "W/\"1\"", "nothing has changed");
            let put = client.put(&path, body).await;
            let below = json!({ "schemas": [CORE], "userName": format!("below {name}"),
                CORE: { "password": CANARY, "title": "Cook" } });
            let below = client.post("/Users", below).await;
            if profile == Profile::Interop {
                assert_refused(&below, 400, "invalidSyntax");
            } else {
                assert_eq!(below.at("/title"), "Cook", "core attributes below their URN: {below:?}");
                assert_eq!(below.at("/schemas"), json!([CORE, DIRECTORY]));
            }
            for answer in [below, created, patched, put, client.get(&path).await] {
                assert!(!answer.body.to_string().contains(CANARY), "{answer:?}");
            }
            let filtered = client.find("/Users", &format!("password eq \"{CANARY}\"")).await;
            assert_refused(&filtered, 400, "invalidFilter");
        }
        assert!(!test.everything().await.contains(CANARY));
    }
}
