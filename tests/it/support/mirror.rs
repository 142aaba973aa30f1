//! A copy of a directory that is made of nothing but what a reader is told, and held against what the
//! directory says of itself.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use scimd::http::App;
use scimd::keys::NewKey;
use serde_json::{Value, json};

use super::{Answer, Client, TestInstance};

/// Who reads a directory.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) app: App,
    pub(crate) token: String,
}

impl Reader {
    /// Asks for a path below `/directory/v1`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::builder()
            .uri(format!("/directory/v1{path}"))
            .header("host", "people.example.com")
            .header("authorization", format!("Bearer {}", self.token));
        let client = Client { app: self.app.clone(), token: String::new() };
        client.call(request.body(Body::empty()).unwrap()).await
    }

    /// What a path shows.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        answer.body
    }

    /// All that a list shows, page by page, and where the feed stood before the first page.
    pub(crate) async fn all(&self, path: &str, name: &str, limit: usize) -> (Vec<Value>, Value) {
        let glue = if path.contains('?') { '&' } else { '?' };
        let first = self.read(&format!("{path}{glue}limit={limit}")).await;
        let (begun, mut page, mut all) = (first["changesFrom"].clone(), first, Vec::new());
        loop {
            let items = page[name].as_array().unwrap();
            assert!(items.len() <= limit, "{path}: {} on a page", items.len());
            all.extend(items.iter().cloned());
            let Some(next) = page["next"].as_str().map(str::to_owned) else { return (all, begun) };
            page = self.read(&format!("{path}{glue}limit={limit}&after={next}")).await;
            assert_eq!(page.get("changesFrom"), None, "{path}");
        }
    }
}

impl TestInstance {
    /// A reader with a key of its own.
    pub(crate) async fn reader(&self) -> Reader {
        let new = NewKey {
            instance: self.id,
            connection: None,
            name: "intranet".to_owned(),
            expires_at: None,
        };
        let mut tx = self.app.provision.store.begin().await.unwrap();
        let author = self.app.provision.operator();
        let issued = self.app.keyring.issue(&mut tx, &author, new).await.unwrap();
        tx.commit().await.unwrap();
        Reader { app: self.app.clone(), token: issued.token }
    }
}

/// A copy, as a consumer of the feed keeps it.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    cursor: Option<String>,
    /// The live accounts by their ids.
    pub(crate) accounts: BTreeMap<String, Value>,
    /// The live groups by their ids.
    pub(crate) groups: BTreeMap<String, Value>,
    /// Group, member and what the member is, whatever has become of the two.
    pub(crate) memberships: BTreeMap<(String, String), String>,
}

impl Mirror {
    /// One that begins from what is listed, with pages of this size.
    pub(crate) async fn listed(reader: &Reader, limit: usize) -> Self {
        let (accounts, begun) = reader.all("/accounts", "accounts", limit).await;
        let (groups, _) = reader.all("/groups", "groups", limit).await;
        let (memberships, _) = reader.all("/memberships", "memberships", limit).await;
        let mut mirror = Self { cursor: Some(text(&begun)), ..Self::default() };
        mirror.accounts = by_id(accounts);
        mirror.groups = by_id(groups);
        for one in memberships {
            let pair = (text(&one["group"]), text(&one["member"]));
            assert_eq!(mirror.memberships.insert(pair, text(&one["memberKind"])), None);
        }
        mirror
    }

    /// Takes the next part of the feed; whether there is more.
    pub(crate) async fn poll(&mut self, reader: &Reader, limit: usize) -> bool {
        let since = self.cursor.as_ref().map(|cursor| format!("&since={cursor}"));
        let path = format!("/changes?limit={limit}{}", since.unwrap_or_default());
        let part = reader.read(&path).await;
        for change in part["changes"].as_array().unwrap() {
            self.take(change);
        }
        self.cursor = Some(text(&part["next"]));
        part["more"].as_bool().unwrap()
    }

    /// Takes all that there is.
    pub(crate) async fn catch_up(&mut self, reader: &Reader, limit: usize) {
        while self.poll(reader, limit).await {}
    }

    /// The place that was reached.
    pub(crate) fn cursor(&self) -> &str {
        self.cursor.as_deref().unwrap_or_default()
    }

    fn take(&mut self, change: &Value) {
        match change["kind"].as_str().unwrap() {
            kind @ ("account" | "group") => {
                let rows = if kind == "account" { &mut self.accounts } else { &mut self.groups };
                let id = text(&change["id"]);
                match change["state"].as_str().unwrap() {
                    "live" => {
                        assert_eq!(change[kind]["id"], json!(id), "{change}");
                        rows.insert(id, change[kind].clone());
                    }
                    state @ ("deleted" | "purged") => {
                        assert!(change[kind].is_null(), "{change}");
                        rows.remove(&id);
                        if state == "purged" {
                            self.memberships
                                .retain(|(group, member), _| *group != id && *member != id);
                        }
                    }
                    other => panic!("no state of the contract: {other}"),
                }
            }
            "membership" => {
                let pair = (text(&change["group"]), text(&change["member"]));
                if change["present"].as_bool().unwrap() {
                    self.memberships.insert(pair, text(&change["memberKind"]));
                } else {
                    assert!(change["memberKind"].is_null(), "{change}");
                    self.memberships.remove(&pair);
                }
            }
            other => panic!("no change of the contract: {other}"),
        }
    }

    /// The members of a group who are there, as ids with what they are.
    pub(crate) fn members(&self, group: &str) -> BTreeSet<(String, String)> {
        let of_group = self.memberships.iter().filter(|((of, _), _)| of == group);
        let there = of_group.filter(|((_, member), kind)| match kind.as_str() {
            "account" => self.accounts.contains_key(member),
            _ => self.groups.contains_key(member),
        });
        there.map(|((_, member), kind)| (member.clone(), kind.clone())).collect()
    }

    /// The managers of a person, the nearest first.
    pub(crate) fn managers(&self, id: &str) -> Vec<String> {
        let mut chain = Vec::new();
        let mut at = self.accounts[id]["manager"].as_str();
        while let Some(manager) = at {
            chain.push(manager.to_owned());
            at = self.accounts[manager]["manager"].as_str();
        }
        chain
    }

    /// Asserts that the copy is what the directory tells who asks it.
    pub(crate) async fn assert_equals_directory(&self, reader: &Reader) {
        let (accounts, _) = reader.all("/accounts", "accounts", 1000).await;
        assert_eq!(self.accounts, by_id(accounts));
        let (groups, _) = reader.all("/groups", "groups", 1000).await;
        assert_eq!(self.groups, by_id(groups));
        for id in self.groups.keys() {
            let (members, _) = reader.all(&format!("/groups/{id}/members"), "members", 7).await;
            let there = members.iter().map(|one| (text(&one["id"]), text(&one["kind"])));
            assert_eq!(self.members(id), there.collect(), "the members of {id}");
        }
        for (id, account) in &self.accounts {
            assert_eq!(*account, reader.read(&format!("/accounts/{id}")).await);
            let above = reader.read(&format!("/accounts/{id}/manager-chain")).await;
            assert_eq!(self.managers(id), ids(&above["accounts"]), "the managers of {id}");
            let (reports, _) = reader.all(&format!("/accounts/{id}/reports"), "accounts", 3).await;
            let below = self.accounts.values().filter(|one| one["manager"] == json!(id));
            assert_eq!(below.cloned().collect::<Vec<_>>(), reports, "the reports of {id}");
            let (of, _) = reader.all(&format!("/accounts/{id}/groups"), "groups", 2).await;
            let pair = |group: &String| self.memberships.contains_key(&(group.clone(), id.clone()));
            let within: Vec<_> = self.groups.keys().filter(|group| pair(group)).collect();
            assert_eq!(within, ids(&of.into()).iter().collect::<Vec<_>>(), "the groups of {id}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn ids(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(|one| text(&one["id"])).collect()
}

fn by_id(items: Vec<Value>) -> BTreeMap<String, Value> {
    let count = items.len();
    let rows: BTreeMap<_, _> = items.into_iter().map(|one| (text(&one["id"]), one)).collect();
    assert_eq!(rows.len(), count, "something is listed twice");
    rows
}
