//! The guard for pushes: losses beyond the limits of a connection wait for an administrator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scimd::directory::{
    Connection, ConnectionKind, ConnectionStatus, LossKind, Losses, PushGuard, Status,
};
use scimd::provision::guard::{
    Decided, Deciding, GUARD_PAGE, GuardState, HeldChange, HeldDecision,
};
use scimd::provision::settings::SettingsChange;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::rules::{enrol, fill};
use super::support::{
    Answer, Client, GROUP, PATCH_OP, TestInstance, assert_refused, both, person, team,
};

mod deciding;
mod histories;
mod holding;
mod limits;

/// Limits of so many suspensions, deletions and removals, and of no share.
fn at_most(suspensions: i64, deletions: i64, removals: i64) -> PushGuard {
    PushGuard {
        suspensions_max: suspensions,
        deletions_max: deletions,
        removals_max: removals,
        percent_max: 100,
        ..PushGuard::default()
    }
}

impl TestInstance {
    /// A connection with these limits, and its client.
    async fn guarded(&self, guard: PushGuard) -> (Connection, Client) {
        let (connection, client) = self.connected(ConnectionKind::Okta, "Okta").await;
        (self.set_guard(&connection, guard).await, client)
    }

    async fn set_guard(&self, connection: &Connection, guard: PushGuard) -> Connection {
        let change = SettingsChange { guard: Some(guard), ..SettingsChange::default() };
        let (provision, author) = (&self.app.provision, self.app.provision.operator());
        let set = provision.set_connection_settings(&author, connection, change).await;
        set.unwrap().connection
    }

    async fn guard_state(&self, connection: &Connection) -> GuardState {
        self.app.provision.guard_state(connection).await.unwrap()
    }

    /// What is held, one text for each.
    async fn held(&self, connection: &Connection) -> Vec<String> {
        let held = self.app.provision.held_changes(connection, None, 10_000).await.unwrap();
        let text = |change: HeldChange| match change.group {
            Some(group) => format!("{} leaves {group}", change.name),
            None => format!("{} of {} {}", change.kind, change.of, change.name),
        };
        held.into_iter().map(text).collect()
    }

    async fn decide_held(&self, connection: &Connection, decision: HeldDecision) -> Decided {
        let author = self.app.provision.operator();
        let decided = self.app.provision.decide_held(&author, connection, decision, None).await;
        let decided = decided.unwrap();
        assert!(decided.refused.is_empty(), "{decided:?}");
        assert_eq!(self.held(connection).await, [""; 0]);
        decided
    }

    /// The members of a group as the directory has them, by name.
    async fn members(&self, group: &str) -> Vec<String> {
        let shown = self.app.provision.group(self.id, group, 10_000).await.unwrap();
        let (_, members) = shown.unwrap_or_else(|| panic!("no group {group}"));
        members.into_iter().map(|member| member.display).collect()
    }
}

impl Client {
    async fn active(&self, id: &str) -> Value {
        let shown = self.get(&format!("/Users/{id}")).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.at("/active")
    }

    async fn users<const N: usize>(&self, names: [&str; N]) -> [String; N] {
        let mut ids = Vec::new();
        for name in names {
            ids.push(self.user(name).await);
        }
        ids.try_into().unwrap()
    }

    /// Disables people, 200 in each bulk request.
    async fn disable(&self, ids: &[String]) {
        for ids in ids.chunks(200) {
            let operations: Vec<_> = ids
                .iter()
                .map(|id| {
                    let operation = json!({ "op": "replace", "path": "active", "value": false });
                    json!({
                        "method": "PATCH", "path": format!("/Users/{id}"),
                        "data": { "schemas": [PATCH_OP], "Operations": [operation] },
                    })
                })
                .collect();
            let answer = self.in_bulk(json!(operations)).await;
            let all = answer.at("/Operations");
            assert!(all.as_array().unwrap().iter().all(|one| one["status"] == "200"), "{answer:?}");
        }
    }

    async fn in_bulk(&self, operations: Value) -> Answer {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"];
        let body = json!({ "schemas": schemas, "Operations": operations });
        let answer = self.post("/Bulk", body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }
}

both! {
    /// What the guard is for: somebody breaks a rule in the identity provider, and a third of the company is
    /// disabled in a minute.
    async fn a_third_of_ten_thousand_people_is_held_shown_and_decided(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(PushGuard::default()).await;
        fill(&database, &connection, "p", 10_000).await;
        let mut people = test.accounts().await;
        people.sort_by_key(|account| account.user_name.clone());
        let ids: Vec<_> = people.iter().take(3_000).map(|account| account.id.to_string()).collect();
        client.disable(&ids).await;
        // The client has its success and reads its words. Two requests came through, below the limit; from the
        // one on that goes beyond it, the directory is as it was.
        assert_eq!(client.active(&ids[2_999]).await, false);
        assert_eq!(client.count("/Users", "active eq false").await, 3_000);
        let state = test.guard_state(&connection).await;
        let holding = state.holding;
        assert_eq!((state.people.may_enter, state.people.suspended), (9_600, 400));
        assert_eq!((holding.suspensions, holding.entering), (2_600, 2_600));
        assert!(holding.since.is_some());
        assert_eq!(test.held(&connection).await.len(), 2_600);
        assert_eq!(test.any(&ids[400]).await.status, Status::Active);
        // The numbers before and after, and nothing has changed by asking for them.
        let author = test.app.provision.operator();
        let (now, then, exact) = test.app.provision.foresee_held(&author, &connection).await.unwrap();
        assert_eq!((now.people.may_enter, now.people.suspended), (9_600, 400));
        assert_eq!((then.may_enter, then.suspended, exact), (7_000, 3_000, true));
        // Some of them are applied, and the server is killed: the next one goes on.
        let mut at = Deciding::begin(HeldDecision::Apply, None);
        for _ in 0..5 {
            test.app.provision.decide_held_step(&author, &connection, &mut at).await.unwrap();
        }
        let state = test.guard_state(&connection).await;
        assert_eq!(state.people.suspended, 400 + 5 * GUARD_PAGE);
        assert_eq!(state.holding.suspensions, 2_600 - 5 * GUARD_PAGE);
        let decided = test.decide_held(&connection, HeldDecision::Apply).await;
        assert_eq!(decided.suspensions, 2_600 - 5 * GUARD_PAGE);
        let state = test.guard_state(&connection).await;
        assert_eq!((state.people.may_enter, state.people.suspended), (7_000, 3_000));
        assert_eq!(state.lost, Losses::default(), "what was agreed to does not count");
        assert_eq!(client.count("/Users", "active eq false").await, 3_000);
        assert_eq!(test.standing(&ids[2_999]).await, "suspended: disabled in the identity provider");
        test.assert_lawful().await;
    }
}
