//! Entity tags: what a client has seen, and what it may overwrite (RFC 7644 §3.14).

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::{Answer, Client, TestInstance, assert_refused, both, person, team};

fn rename(to: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "displayName", "value": to }],
    })
}

async fn with(
    client: &Client,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: Option<Value>,
) -> Answer {
    client.send_with(method, path, &[header], body).await
}

both! {
    async fn every_answer_names_its_version(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for (endpoint, body) in [("/Users", person("ann", json!({}))), ("/Groups", team("Staff", &[]))] {
            let created = client.post(endpoint, body.clone()).await;
            let path = format!("{endpoint}/{}", created.text("/id"));
            let read = client.get(&path).await;
            let patched = client.send("PATCH", &path, Some(rename("x"))).await;
            let replaced = client.put(&path, body).await;
            for answer in [&created, &read, &patched, &replaced] {
                assert_eq!(answer.header("etag"), answer.text("/meta/version"), "{answer:?}");
            }
            assert_eq!(created.header("etag"), read.header("etag"));
            assert_ne!(read.header("etag"), patched.header("etag"));
            let listed = client.get(endpoint).await;
            assert_eq!(listed.text("/Resources/0/meta/version"), replaced.header("etag"));
            let bare = client.get(&format!("{path}?attributes=id")).await;
            assert!(!bare.header("etag").is_empty(), "{bare:?}");
        }
    }

    async fn what_is_known_is_not_sent_again(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann").await;
        let path = format!("/Users/{ann}");
        let tag = client.get(&path).await.header("etag").to_owned();
        for known in [tag.clone(), format!("W/\"x\", {tag}"), "*".to_owned(), tag.replace("W/", "")] {
            let answer = with(&client, "GET", &path, ("if-none-match", &known), None).await;
            assert_eq!((answer.status, answer.header("etag")), (304, tag.as_str()), "{known}");
            assert_eq!(answer.body, Value::Null);
        }
        // The groups of a person are part of what is shown of her.
        let staff = client.group("Staff", &[&ann]).await;
        let joined = with(&client, "GET", &path, ("if-none-match", &tag), None).await;
        assert_eq!((joined.status, joined.at("/groups/0/value")), (200, json!(staff)));
        let tag = joined.header("etag").to_owned();
        client.send("PATCH", &format!("/Groups/{staff}"), Some(rename("Crew"))).await;
        let renamed = with(&client, "GET", &path, ("if-none-match", &tag), None).await;
        assert_eq!(renamed.status, 200);
        // A member who is deleted is part of what is shown of the group.
        let group = format!("/Groups/{staff}");
        let tag = client.get(&group).await.header("etag").to_owned();
        client.delete(&path).await;
        assert_eq!(with(&client, "GET", &group, ("if-none-match", &tag), None).await.status, 200);
    }

    async fn a_write_finds_the_version_that_it_expects_or_does_nothing(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for (endpoint, body) in [("/Users", person("ann", json!({}))), ("/Groups", team("Staff", &[]))] {
            let created = client.post(endpoint, body.clone()).await;
            let path = format!("{endpoint}/{}", created.text("/id"));
            let old = created.header("etag").to_owned();
            let new = with(&client, "PATCH", &path, ("if-match", &old), Some(rename("New"))).await;
            assert_eq!(new.status, 200, "{new:?}");
            let before = test.everything().await;
            for (method, body) in [
                ("PUT", Some(body.clone())), ("PATCH", Some(rename("Newer"))), ("DELETE", None),
            ] {
                for expected in [old.as_str(), "W/\"999\"", "nonsense", ""] {
                    let answer = with(&client, method, &path, ("if-match", expected), body.clone()).await;
                    assert_refused(&answer, 412, "");
                }
            }
            assert_eq!(test.everything().await, before);
            // A write that would change nothing is held against the version too.
            let same = with(&client, "PATCH", &path, ("if-match", &old), Some(rename("New"))).await;
            assert_refused(&same, 412, "");
            for expected in ["*".to_owned(), format!("{old}, {}", new.header("etag"))] {
                let put = with(&client, "PUT", &path, ("if-match", &expected), Some(new.body.clone())).await;
                assert_eq!(put.status, 200, "{put:?}");
            }
            let unknown = format!("{endpoint}/01900000-0000-7000-8000-000000000000");
            let answer = with(&client, "DELETE", &unknown, ("if-match", "*"), None).await;
            assert_refused(&answer, 404, "");
            let gone = with(&client, "DELETE", &path, ("if-match", new.header("etag")), None).await;
            assert_eq!(gone.status, 204);
        }
    }

    /// Joining a group is no change of the person that a write could overwrite.
    async fn a_write_is_held_against_the_person_not_against_her_groups(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann").await;
        client.group("Staff", &[&ann]).await;
        let path = format!("/Users/{ann}");
        let tag = client.get(&path).await.header("etag").to_owned();
        client.group("Crew", &[&ann]).await;
        let answer = with(&client, "PATCH", &path, ("if-match", &tag), Some(rename("Ann"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn of_two_who_expect_the_same_version_one_comes_too_late(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann").await;
        let path = format!("/Users/{ann}");
        for round in 0..20 {
            let tag = client.get(&path).await.header("etag").to_owned();
            let barrier = Arc::new(Barrier::new(2));
            let writers = [0, 1].map(|writer| {
                let (client, path, tag) = (client.clone(), path.clone(), tag.clone());
                let barrier = Arc::clone(&barrier);
                tokio::spawn(async move {
                    barrier.wait().await;
                    let body = rename(&format!("{round}-{writer}"));
                    with(&client, "PATCH", &path, ("if-match", &tag), Some(body)).await.status
                })
            });
            let mut statuses = Vec::new();
            for writer in writers {
                statuses.push(writer.await.unwrap());
            }
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 412], "round {round}");
        }
    }
}
