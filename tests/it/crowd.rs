//! Many clients at one group at once: every addition and every removal counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::support::{Client, TestInstance, both};

/// The clients.
const CROWD: usize = 64;

/// How often they meet.
const ROUNDS: usize = 20;

both! {
    /// Each client has a person of its own that it adds or removes, and adds or removes a second one whom the
    /// client beside it does the same to at the same time. The group ends as what was acknowledged.
    async fn sixty_four_clients_of_one_group_lose_nothing(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let mut people = Vec::new();
        for number in 0..CROWD + CROWD / 2 {
            people.push(client.user(&format!("user{number}@example.com")).await);
        }
        let (own, shared) = people.split_at(CROWD);
        let group = format!("/Groups/{}", client.group("Everybody", &[]).await);
        let mut expected = BTreeSet::new();
        for round in 0..ROUNDS {
            let barrier = Arc::new(Barrier::new(CROWD));
            let mut crowd = JoinSet::new();
            for number in 0..CROWD {
                let mine = toggled(&mut expected, &own[number], (round + number) % 3 != 0);
                // Both who share a person do the same, so the order between them does not matter.
                let ours = toggled(&mut expected, &shared[number / 2], (round + number / 2) % 2 == 0);
                let (client, group) = (client.clone(), group.clone());
                let barrier = Arc::clone(&barrier);
                crowd.spawn(async move {
                    barrier.wait().await;
                    // A busy machine may refuse some: nothing of that was acknowledged, and they come again.
                    let operations = json!([mine, ours]);
                    let mut answer = client.patch(&group, operations.clone()).await;
                    while answer.status == 503 {
                        answer = client.patch(&group, operations.clone()).await;
                    }
                    assert!(answer.status < 300, "{answer:?}");
                });
            }
            crowd.join_all().await;
            assert_eq!(members(&client, &group).await, expected, "round {round}");
        }
    }
}

/// The operation that makes somebody a member, or none any more; the model follows it.
fn toggled(model: &mut BTreeSet<String>, person: &str, add: bool) -> Value {
    if add {
        model.insert(person.to_owned());
        json!({ "op": "add", "path": "members", "value": [{ "value": person }] })
    } else {
        model.remove(person);
        json!({ "op": "remove", "path": format!("members[value eq \"{person}\"]") })
    }
}

async fn members(client: &Client, group: &str) -> BTreeSet<String> {
    let found = client.get(group).await;
    let found = found.at("/members").as_array().cloned().unwrap_or_default();
    let ids: Vec<String> =
        found.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect();
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(set.len(), ids.len(), "somebody is listed twice");
    set
}
