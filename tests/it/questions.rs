//! Questions about people that the protocol has no words for: why, and who reports to whom.

use serde_json::{Value, json};

use super::support::{ENTERPRISE, TestInstance, assert_refused, both, person};

both! {
    async fn a_client_reads_why_a_person_is_suspended(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann@example.com").await;
        let path = format!("/Users/{ann}/.why");
        let active = client.get(&path).await;
        assert_eq!(active.status, 200, "{active:?}");
        assert_eq!((active.at("/status"), active.at("/reason")), (json!("active"), Value::Null));
        assert!(!active.at("/rules").as_array().unwrap().iter().any(|rule| rule["decides"] == true));

        let off = json!([{ "op": "replace", "value": { "active": false } }]);
        let patched = client.patch(&format!("/Users/{ann}"), off).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        let why = client.get(&path).await;
        assert_eq!(why.at("/reason"), "disabled in the identity provider");
        let rules = why.at("/rules");
        let decisive: Vec<&Value> =
            rules.as_array().unwrap().iter().filter(|rule| rule["decides"] == true).collect();
        assert_eq!(decisive.len(), 1, "{rules}");
        assert_eq!(decisive[0]["fact"], "active");
        assert_eq!(decisive[0]["by"]["request_id"], patched.header("x-request-id"));
        assert_eq!(decisive[0]["by"]["actor"], "okta test");
        assert!(decisive[0]["remedy"].as_str().unwrap().contains("identity provider"));
    }

    async fn a_client_reads_who_reports_to_whom(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let managed = |by: &str| json!({ ENTERPRISE: { "manager": { "value": by } } });
        let top = client.user("top").await;
        let middle = client.person("middle", managed("top")).await;
        for name in ["ann", "bob"] {
            client.person(name, managed("middle")).await;
        }
        let names = |answer: Value| -> Vec<String> {
            let people = answer["Resources"].as_array().unwrap().clone();
            people.iter().map(|user| user["userName"].as_str().unwrap().to_owned()).collect()
        };
        let reports = client.get(&format!("/Users/{middle}/.reports")).await;
        assert_eq!((reports.status, reports.at("/totalResults")), (200, json!(2)));
        assert_eq!(names(reports.body), ["ann", "bob"]);
        let ann = client.find("/Users", "userName eq \"ann\"").await.text("/Resources/0/id");
        let above = client.get(&format!("/Users/{ann}/.managers")).await;
        assert_eq!(names(above.body), ["middle", "top"]);
        assert_eq!(client.get(&format!("/Users/{top}/.managers")).await.at("/totalResults"), 0);
        let strange = client.get(&format!("/Users/{top}/.reports?cursor=x")).await;
        assert_refused(&strange, 400, "invalidCursor");
    }

    /// What a connection cannot see it cannot ask about.
    async fn nobody_asks_about_people_of_others(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let neighbour = test.neighbour().await.okta().await;
        let ann = okta.user("ann").await;
        for question in ["why", "reports", "managers"] {
            let path = format!("/Users/{ann}/.{question}");
            assert_eq!(okta.get(&path).await.status, 200);
            for stranger in [&entra, &neighbour] {
                assert_refused(&stranger.get(&path).await, 404, "");
            }
            assert_refused(&okta.get(&format!("/Users/nobody/.{question}")).await, 404, "");
            assert_refused(&okta.post(&path, person("x", json!({}))).await, 405, "");
        }
    }
}
