//! People whom their source keeps suspended, and their end.

use std::sync::Arc;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::{
    Connection, ConnectionKind, ConnectionStatus, DeleteAfter, Recreate, Status,
};
use scimd::provision::settings::SettingsChange;
use serde_json::json;
use tokio::sync::Barrier;

use super::support::csv::{Csv, file};
use super::support::rules::active;
use super::support::{TestInstance, both, person};

const DAY: Duration = Duration::from_hours(24);
const A_MOMENT: Duration = Duration::from_millis(1);

/// Almost so many days.
fn just_before(days: u32) -> Duration {
    (DAY * days).checked_sub(A_MOMENT).unwrap()
}

impl TestInstance {
    async fn deletes_after(&self, connection: &Connection, end: DeleteAfter) {
        let change = SettingsChange { delete_after_days: Some(end), ..SettingsChange::default() };
        let provision = &self.app.provision;
        provision.set_connection_settings(&provision.operator(), connection, change).await.unwrap();
    }

    async fn age_out(&self) -> usize {
        self.app.provision.age_out().await.unwrap()
    }

    async fn is_deleted(&self, name: &str) -> bool {
        self.any(name).await.status == Status::Deleted
    }
}

both! {
    /// Each way in which a source suspends, to the millisecond; and nobody else.
    async fn who_is_suspended_by_the_source_for_so_long_is_deleted(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let (disabled, out, held) = (client.user("disabled").await, client.user("out").await, client.user("held").await);
        let (by_hand, active) = (client.user("by-hand").await, client.user("active").await);
        let staff = client.group("Staff", &[&disabled, &held, &by_hand, &active]).await;
        test.scope(&connection, &[&staff]).await;
        client.set_active(&disabled, false).await;
        client.set_active(&held, false).await;
        test.act(&held, Act::Hold).await;
        test.act(&by_hand, Act::Suspend).await;
        test.local_person("local", json!({ "active": false })).await;
        test.deletes_after(&connection, DeleteAfter::Days(90)).await;
        test.advance(just_before(90));
        assert_eq!(test.age_out().await, 0);
        let provision = &test.app.provision;
        let counts = [(DeleteAfter::Never, 0), (DeleteAfter::Days(90), 0), (DeleteAfter::Days(89), 2)];
        for (end, count) in counts {
            assert_eq!(provision.count_aged(&connection, end).await.unwrap(), count, "{end}");
        }
        test.advance(A_MOMENT);
        assert_eq!(test.age_out().await, 2);
        for (id, is) in [(&disabled, true), (&out, true), (&held, false), (&by_hand, false), (&active, false)] {
            assert_eq!(test.is_deleted(id).await, is);
        }
        assert!(!test.is_deleted("local").await);
        for id in [&disabled, &out] {
            let last = test.trail(id).await.pop().unwrap();
            assert_eq!((last.action.as_str(), last.actor.as_str()), ("account.deleted", "retention"));
            assert_eq!(last.rule.as_deref(), Some("delete_after_days"));
            assert_eq!(client.get(&format!("/Users/{id}")).await.status, 404);
        }
        assert_eq!(test.age_out().await, 0);
        // It is a deletion like any other.
        test.act(&out, Act::Restore).await;
        assert_eq!(test.standing("out").await, "suspended: in no sync group");
        assert_eq!(test.age_out().await, 0, "the days begin anew");
        test.advance(DAY * 90);
        assert_eq!(test.age_out().await, 1);
        // A hold that ends lets the days begin.
        test.act(&held, Act::Release).await;
        test.advance(just_before(90));
        assert_eq!(test.age_out().await, 0);
        test.advance(A_MOMENT);
        assert_eq!(test.age_out().await, 1);
        test.assert_lawful().await;
    }

    /// It is off by default, off again when it is taken back, and waits for a connection that is paused.
    async fn only_a_connection_that_says_so_and_is_enabled_loses_people(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Entra, "entra").await;
        let (_, other) = test.connected(ConnectionKind::Okta, "okta").await;
        let neighbour = test.neighbour().await;
        let there = neighbour.okta().await;
        for (client, name) in [(&client, "ann"), (&other, "bob"), (&there, "cho")] {
            let id = client.user(name).await;
            client.set_active(&id, false).await;
        }
        test.advance(DAY * 4_000);
        assert_eq!(test.age_out().await, 0);
        test.deletes_after(&connection, DeleteAfter::Days(1)).await;
        let provision = &test.app.provision;
        for status in [ConnectionStatus::Paused, ConnectionStatus::Enabled] {
            let author = provision.operator();
            provision.set_connection_status(&author, &connection, status).await.unwrap();
            let deleted = usize::from(status == ConnectionStatus::Enabled);
            assert_eq!(test.age_out().await, deleted, "{status}");
        }
        test.deletes_after(&connection, DeleteAfter::Never).await;
        let dee = client.person("dee", json!({ "active": false })).await;
        test.advance(DAY * 4_000);
        assert_eq!(test.age_out().await, 0);
        assert!(!test.is_deleted(&dee).await);
        assert!(test.is_deleted("ann").await);
        assert!(!test.is_deleted("bob").await);
    }

    /// Other changes do not matter, another reason neither; only a break does.
    async fn the_days_begin_anew_only_after_a_break(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let nobody = client.group("Nobody", &[]).await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        test.deletes_after(&connection, DeleteAfter::Days(10)).await;
        for id in [&ann, &bob] {
            client.set_active(id, false).await;
        }
        test.advance(DAY * 4);
        let op = json!([{ "op": "replace", "path": "title", "value": "Cook" }]);
        client.change(&format!("/Users/{ann}"), op).await;
        client.set_active(&bob, true).await;
        client.set_active(&bob, false).await;
        test.advance(DAY * 4);
        // From one reason to another without a break.
        test.scope(&connection, &[&nobody]).await;
        client.set_active(&ann, true).await;
        assert_eq!(test.standing("ann").await, "suspended: in no sync group");
        test.advance(DAY * 2);
        assert_eq!(test.age_out().await, 1);
        assert_eq!((test.is_deleted(&ann).await, test.is_deleted(&bob).await), (true, false));
        test.advance(just_before(4));
        assert_eq!(test.age_out().await, 0);
        test.advance(A_MOMENT);
        assert_eq!(test.age_out().await, 1);
        test.assert_lawful().await;
    }

    /// Who is picked up has not been suspended by that connection before.
    async fn the_days_of_one_owner_do_not_count_for_the_next(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        test.deletes_after(&connection, DeleteAfter::Days(10)).await;
        let ann = test.local_person("ann", json!({ "active": false })).await;
        test.advance(DAY * 20);
        let again = client.post("/Users", person("ann", json!({ "active": false }))).await;
        assert_eq!(again.text("/id"), ann);
        assert_eq!(test.age_out().await, 0);
        test.advance(DAY * 10);
        assert_eq!(test.age_out().await, 1);
    }

    /// Who is missing from a file, and who comes back in time or too late.
    async fn who_is_missing_from_a_file_is_deleted_and_comes_back(database) {
        let csv = Csv::on(&database).await;
        let test = &csv.test;
        let recreate = Some(Recreate::SameId);
        csv.policy(SettingsChange { recreate, ..SettingsChange::default() }).await;
        test.deletes_after(&csv.connection, DeleteAfter::Days(30)).await;
        csv.pull(file("", &["ann", "bob", "cho"])).await;
        let ann = test.any("ann").await.id;
        csv.pull(file("", &["cho"])).await;
        test.advance(DAY * 29);
        csv.pull(file("", &["bob", "cho"])).await;
        test.advance(DAY);
        assert_eq!(test.age_out().await, 1);
        assert_eq!(test.any("bob").await.status, Status::Active);
        assert!(test.is_deleted("ann").await);
        csv.pull(file("", &["ann", "bob", "cho"])).await;
        assert_eq!(test.any("ann").await.id, ann);
        test.assert_lawful().await;
    }

    /// Whoever is let in again just then is in, or is gone and told so; never half of it.
    async fn a_reactivation_and_the_end_at_once_end_in_one_of_the_two(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        test.deletes_after(&connection, DeleteAfter::Days(1)).await;
        for round in 0..20 {
            let ann = client.user(&format!("ann{round}")).await;
            client.set_active(&ann, false).await;
            test.advance(DAY);
            let barrier = Arc::new(Barrier::new(2));
            let ending = tokio::spawn({
                let (provision, barrier) = (test.app.provision.clone(), Arc::clone(&barrier));
                async move {
                    barrier.wait().await;
                    provision.age_out().await.unwrap()
                }
            });
            barrier.wait().await;
            let path = format!("/Users/{ann}");
            let answer = client.patch(&path, active(true)).await;
            let deleted = ending.await.unwrap();
            assert_eq!(answer.status, if deleted == 1 { 404 } else { 200 }, "round {round}: {answer:?}");
            assert_eq!(test.is_deleted(&ann).await, deleted == 1, "round {round}");
            test.assert_lawful().await;
        }
    }
}
