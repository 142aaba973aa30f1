//! A directory that bad requests are sent to, and that must stay as it is.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::{Answer, Client, Database, TestInstance};

/// A directory with a person and a group, and where they are.
pub(crate) struct Scene {
    pub(crate) test: TestInstance,
    pub(crate) client: Client,
    pub(crate) user: String,
    pub(crate) group: String,
    before: String,
}

impl Scene {
    pub(crate) async fn on(database: &Database) -> Self {
        let test = TestInstance::on(database).await;
        let client = test.entra().await;
        let ann = client.person(
            "ann@example.com",
            json!({
                "title": "Cook", "emails": [{ "type": "work", "value": "a@x", "primary": true }],
            }),
        );
        let ann = ann.await;
        let group = client.group("Staff", &[&ann]).await;
        let before = test.everything().await;
        let (user, group) = (format!("/Users/{ann}"), format!("/Groups/{group}"));
        Self { test, client, user, group, before }
    }

    /// Sends a body as it is to every place that takes one.
    pub(crate) async fn send_everywhere(&self, body: &[u8]) -> Vec<(String, Answer)> {
        let mut answers = Vec::new();
        for (method, path) in [
            ("POST", "/Users"),
            ("PUT", &self.user),
            ("PATCH", &self.user),
            ("POST", "/Groups"),
            ("PUT", &self.group),
            ("PATCH", &self.group),
            ("POST", "/Users/.search"),
            ("POST", "/.search"),
            ("POST", "/Bulk"),
        ] {
            let answer = raw(&self.client, method, path, body.to_vec()).await;
            answers.push((format!("{method} {path}"), answer));
        }
        answers
    }

    pub(crate) async fn assert_unchanged(&self) {
        assert_eq!(self.test.everything().await, self.before);
    }
}

pub(crate) fn request(client: &Client, method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("/scim/v2{path}"))
        .header("host", "people.example.com")
        .header("authorization", format!("Bearer {}", client.token))
}

pub(crate) async fn raw(client: &Client, method: &str, path: &str, body: Vec<u8>) -> Answer {
    let request = request(client, method, path).header("content-type", "application/scim+json");
    client.call(request.body(Body::from(body)).unwrap()).await
}

/// Asserts that an answer is a SCIM message, and no fault of the server.
#[track_caller]
pub(crate) fn assert_sane(answer: &Answer, sent: &str) {
    let sent: String = sent.chars().take(500).collect();
    assert!(answer.status < 500, "{sent}: {answer:?}");
    if answer.status != 204 {
        assert_eq!(answer.header("content-type"), "application/scim+json", "{sent}");
        assert!(answer.at("/schemas").is_array(), "{sent}: {answer:?}");
    }
    if answer.status >= 400 {
        assert_eq!(answer.at("/status"), answer.status.to_string(), "{sent}");
        assert!(answer.text("/detail").len() < 2000, "{sent}: a detail as long as the request");
    }
}
