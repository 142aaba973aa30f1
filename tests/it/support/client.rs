//! A client of the protocol: an identity provider with its key.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use scimd::http::{App, service};
use serde_json::Value;
use tower::ServiceExt as _;

/// Who calls the application, without a socket.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) app: App,
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body)).await
    }

    /// Sends the operations of a PATCH.
    pub(crate) async fn patch(&self, path: &str, operations: Value) -> Answer {
        let body = serde_json::json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.send("PATCH", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    /// Creates a User and gives its id.
    pub(crate) async fn user(&self, user_name: &str) -> String {
        let answer = self.post("/Users", user(user_name)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("/id")
    }

    /// Creates a Group and gives its id.
    pub(crate) async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<_> = members.iter().map(|id| serde_json::json!({ "value": id })).collect();
        let body = serde_json::json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name,
            "members": members,
        });
        let answer = self.post("/Groups", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("/id")
    }

    /// The Users that a filter finds.
    pub(crate) async fn find(&self, endpoint: &str, filter: &str) -> Answer {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
        self.get(&format!("{endpoint}?{query}")).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    /// Sends a request with these headers.
    pub(crate) async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("/scim/v2{path}"))
            .header("host", "people.example.com")
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/scim+json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(body).unwrap()).await
    }

    /// Sends a request as it is.
    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let response = service(self.app.clone()).oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}"))
        };
        Answer { status, headers, body }
    }
}

impl Answer {
    /// The text at a pointer.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer}: {}", self.body)).to_owned()
    }

    /// The value at a pointer; `Null` if there is none.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        self.body.pointer(pointer).cloned().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A User with nothing but its name.
pub(crate) fn user(user_name: &str) -> Value {
    serde_json::json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user_name,
    })
}

/// Asserts that an answer is a SCIM error and gives its detail.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, scim_type: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/scim+json");
    assert_eq!(answer.at("/schemas/0"), "urn:ietf:params:scim:api:messages:2.0:Error");
    assert_eq!(answer.at("/status"), status.to_string());
    assert_eq!(answer.at("/scimType").as_str().unwrap_or_default(), scim_type, "{answer:?}");
    let detail = answer.text("/detail");
    assert!(detail.len() > 10, "a detail that helps nobody: {detail}");
    detail
}
