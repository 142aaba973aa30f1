//! How many statements a request costs: each is a round trip on PostgreSQL.
//!
//! The numbers are those of `docs/performance.md`. A request that begins to cost more is a decision, not
//! an accident.

use serde_json::{Value, json};

use super::support::{Recorder, TestInstance, both, person, team};

/// What is asked; the statements that it takes on SQLite, and on PostgreSQL, which has locks to take. Neither
/// counts the key, which is read once a second, nor the beginning and the end of a transaction.
type Cost = (&'static str, [usize; 2]);

both! {
    async fn every_request_costs_what_the_page_says(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let ann = client.user("ann@example.com").await;
        let group = client.group("Staff", &[]).await;
        let mails = |name: &str| json!([{ "value": name, "type": "work", "primary": true }]);
        let bob = client.person("bob@example.com", json!({ "emails": mails("bob@example.com") })).await;
        let recorder = Recorder::start();
        let path = |id: &str| format!("/Users/{id}");
        let staff = format!("/Groups/{group}");
        let bob_now = |title: &str| {
            let emails = mails("bob@example.com");
            person("bob@example.com", json!({ "title": title, "emails": emails }))
        };
        let replace = |path: &str, value: Value| json!([{ "op": "Replace", "path": path, "value": value }]);
        let member = |op: &str| json!([{ "op": op, "path": "members", "value": [{ "value": ann }] }]);
        let created = person("eve@example.com", json!({ "emails": mails("eve@example.com") }));
        let steps: [(Cost, &str, String, Option<Value>, u16); 15] = [
            (("create a user", [9, 10]), "POST", "/Users".to_owned(), Some(created), 201),
            (("read a user", [2, 2]), "GET", path(&ann), None, 200),
            (("look a user up", [2, 2]), "GET", "/Users?filter=userName%20eq%20%22bob@example.com%22".to_owned(), None, 200),
            (("look up who is not there", [1, 1]), "GET", "/Users?filter=userName%20eq%20%22x%22".to_owned(), None, 200),
            (("read a page", [2, 2]), "GET", "/Users?count=100".to_owned(), None, 200),
            (("replace a user", [7, 7]), "PUT", path(&bob), Some(bob_now("New")), 200),
            (("change a user", [7, 7]), "PATCH", path(&bob), Some(replace("title", "Newer".into())), 200),
            (("change nothing", [3, 3]), "PATCH", path(&bob), Some(replace("title", "Newer".into())), 200),
            (("disable a user", [11, 11]), "PATCH", path(&bob), Some(replace("active", "False".into())), 200),
            (("enable a user", [8, 8]), "PATCH", path(&bob), Some(replace("active", "True".into())), 200),
            (("create a group", [7, 7]), "POST", "/Groups".to_owned(), Some(team("New", &[])), 201),
            (("add a member", [10, 10]), "PATCH", staff.clone(), Some(member("Add")), 200),
            (("remove a member", [12, 12]), "PATCH", staff.clone(), Some(member("Remove")), 200),
            (("read a group without its members", [1, 1]), "GET", format!("{staff}?excludedAttributes=members"), None, 200),
            (("delete a user", [14, 15]), "DELETE", path(&bob), None, 204),
        ];
        let mut found = Vec::new();
        for ((what, expected), method, path, body, status) in steps {
            let operations = |body| json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": body });
            let body = if method == "PATCH" { body.map(operations) } else { body };
            let answer = client.send(method, &path, body).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            let statements = recorder.take();
            let expected = expected[usize::from(database.is_postgres())];
            if statements.len() != expected {
                found.push((what, expected, statements.len(), statements));
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
