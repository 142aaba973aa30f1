//! Bodies that clients send, and a look at what the directory made of them.

use std::fmt::Write as _;

use scimd::directory::AccountId;
use scimd::store::audit::{self, Event};
use scimd::store::query::Narrow;
use serde_json::{Value, json};

use super::{Client, TestInstance, assert_refused};

pub(crate) const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(crate) const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A User with these attributes.
pub(crate) fn person(user_name: &str, attributes: Value) -> Value {
    let Value::Object(attributes) = attributes else {
        unreachable!("attributes are an object");
    };
    let mut body = json!({ "schemas": [CORE, ENTERPRISE], "userName": user_name });
    for (name, value) in attributes {
        body[name] = value;
    }
    body
}

/// A Group with these members.
pub(crate) fn team(name: &str, members: &[&str]) -> Value {
    let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({ "schemas": [GROUP], "displayName": name, "members": members })
}

impl Client {
    /// Creates a User with these attributes and gives its id.
    pub(crate) async fn person(&self, user_name: &str, attributes: Value) -> String {
        let answer = self.post("/Users", person(user_name, attributes)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("/id")
    }

    /// The ids of a group's members, in order.
    pub(crate) async fn members(&self, group: &str) -> Vec<String> {
        let answer = self.get(&format!("/Groups/{group}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let listed = answer.at("/members");
        let ids = listed.as_array().into_iter().flatten();
        let mut ids: Vec<_> = ids.map(|one| one["value"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids
    }

    /// How many resources a filter finds.
    pub(crate) async fn count(&self, endpoint: &str, filter: &str) -> u64 {
        let answer = self.find(endpoint, filter).await;
        assert_eq!(answer.status, 200, "{filter}: {answer:?}");
        answer.at("/totalResults").as_u64().unwrap()
    }
}

impl TestInstance {
    /// What the audit trail says of an account or a group.
    pub(crate) async fn trail(&self, id: &str) -> Vec<Event> {
        let mut tx = self.app.provision.store.read().await.unwrap();
        audit::search::of_target(&mut tx, self.id, id.parse().unwrap(), 1000).await.unwrap()
    }

    /// The user name of the manager whom an account is linked to.
    pub(crate) async fn manager_of(&self, user_name: &str) -> Option<String> {
        let provision = &self.app.provision;
        let account = provision.account(self.id, user_name).await.unwrap();
        let manager: AccountId = account.unwrap().0.manager.account?;
        let manager = provision.account(self.id, &manager.to_string()).await;
        Some(manager.unwrap().unwrap().0.user_name)
    }

    /// A person whom the intranet had before any identity provider came.
    pub(crate) async fn local_person(&self, user_name: &str, attributes: Value) -> String {
        let Value::Object(document) = person(user_name, attributes) else {
            unreachable!("a person is an object");
        };
        let author = self.app.provision.operator();
        let created = self.app.provision.create_local_account(self.id, &author, document).await;
        created.unwrap().id.to_string()
    }

    /// A group that the intranet had before any identity provider came.
    pub(crate) async fn local_group(&self, name: &str) -> String {
        let document = [("displayName".to_owned(), json!(name))];
        let author = self.app.provision.operator();
        let created = self
            .app
            .provision
            .create_local_group(self.id, &author, document.into_iter().collect())
            .await;
        created.unwrap().id.to_string()
    }

    /// Everything that the directory holds, for comparison.
    pub(crate) async fn everything(&self) -> String {
        let (provision, narrow) = (&self.app.provision, Narrow::All(Vec::new()));
        let accounts = provision.accounts(self.id, &narrow, None, 10_000).await;
        let groups = provision.groups(self.id, &narrow, None, 10_000).await;
        let mut all = format!("{:#?}\n{:#?}", accounts.unwrap(), groups.as_ref().unwrap());
        for group in groups.unwrap() {
            let found = provision.group(self.id, &group.id.to_string(), 1000).await;
            write!(all, "{:#?}", found.unwrap().unwrap().1).unwrap();
        }
        all
    }
}

/// Asserts that a path leads to nothing, whatever is done there.
pub(crate) async fn assert_gone(client: &Client, endpoint: &str, id: &str) {
    let path = format!("{endpoint}/{id}");
    let body = if endpoint == "/Users" { person("x", json!({})) } else { team("x", &[]) };
    let change = json!([{ "op": "replace", "path": "displayName", "value": "X" }]);
    for answer in [
        client.get(&path).await,
        client.put(&path, body).await,
        client.patch(&path, change).await,
        client.delete(&path).await,
    ] {
        assert_refused(&answer, 404, "");
    }
    assert_eq!(client.count(endpoint, &format!("id eq \"{id}\"")).await, 0);
}
