//! What a client does that cannot make up its mind.

use serde_json::{Value, json};

use super::dice::Dice;
use super::{Client, ENTERPRISE, person, team};

pub(crate) fn title(title: &str) -> Value {
    json!([{ "op": "replace", "path": "title", "value": title }])
}

/// What one connection does, at random.
pub(crate) struct History {
    dice: Dice,
    users: Vec<String>,
    groups: Vec<String>,
}

impl History {
    pub(crate) fn of(seed: u64) -> Self {
        Self { dice: Dice(seed), users: Vec::new(), groups: Vec::new() }
    }

    /// Does one thing; what is refused, because of an earlier step, does nothing.
    pub(crate) async fn step(&mut self, client: &Client) {
        let names = ["a", "b", "c", "d", "local 1", "other"];
        let name = names[self.dice.below(names.len())];
        let sent = self.sent(name);
        match self.dice.below(10) {
            0 | 1 => {
                let answer = client.post("/Users", sent).await;
                if answer.status == 201 {
                    self.users.push(answer.text("/id"));
                }
            }
            2 => {
                if let Some(id) = self.user() {
                    client.put(&format!("/Users/{id}"), sent).await;
                }
            }
            3 => {
                let active =
                    json!([{ "op": "replace", "path": "active", "value": self.dice.once_in(2) }]);
                self.patch_user(client, active).await;
            }
            4 => {
                let text = format!("title {}", self.dice.below(3));
                self.patch_user(client, title(&text)).await;
            }
            5 => {
                if let Some(id) = self.user() {
                    client.delete(&format!("/Users/{id}")).await;
                }
            }
            6 => {
                let answer = client.post("/Groups", self.team()).await;
                if answer.status == 201 {
                    self.groups.push(answer.text("/id"));
                }
            }
            7 | 8 => {
                let team = self.team();
                if let Some(id) = self.group() {
                    client.put(&format!("/Groups/{id}"), team).await;
                }
            }
            _ => {
                if let Some(id) = self.group().filter(|_| self.dice.once_in(3)) {
                    client.delete(&format!("/Groups/{id}")).await;
                }
            }
        }
    }

    async fn patch_user(&mut self, client: &Client, operations: Value) {
        if let Some(id) = self.user() {
            client.patch(&format!("/Users/{id}"), operations).await;
        }
    }

    fn sent(&mut self, name: &str) -> Value {
        let manager = self.user().unwrap_or_default();
        let mut sent =
            person(name, json!({ "displayName": format!("{name} {}", self.dice.below(9)) }));
        if self.dice.once_in(2) && !manager.is_empty() {
            sent[ENTERPRISE] = json!({ "manager": { "value": manager } });
        }
        sent
    }

    fn team(&mut self) -> Value {
        let name = ["One", "Two", "Three"][self.dice.below(3)];
        let all: Vec<String> = self.users.iter().chain(&self.groups).cloned().collect();
        let some: Vec<&str> = self.dice.some(&all).into_iter().map(String::as_str).collect();
        team(name, &some)
    }

    fn user(&mut self) -> Option<String> {
        let place = self.dice.below(self.users.len().max(1));
        self.users.get(place).cloned()
    }

    fn group(&mut self) -> Option<String> {
        let place = self.dice.below(self.groups.len().max(1));
        self.groups.get(place).cloned()
    }

    pub(crate) async fn live_group(&self, client: &Client) -> Option<String> {
        for id in &self.groups {
            if client.get(&format!("/Groups/{id}")).await.status == 200 {
                return Some(id.clone());
            }
        }
        None
    }
}
