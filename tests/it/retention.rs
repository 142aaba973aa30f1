//! What was deleted: kept for a while, and then gone for good without touching anybody else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::{AccountId, ConnectionKind, PickUp, Recreate, Retention, Status};
use scimd::provision::Purged;
use scimd::provision::settings::SettingsChange;
use scimd::store::purge::Overdue;
use serde_json::json;
use tokio::sync::Barrier;

use super::cost::plan;
use super::rules_cost::assert_narrow;
use super::support::mentions::mentions;
use super::support::rules::{execute, fill, literal};
use super::support::{Database, ENTERPRISE, Recorder, TestInstance, TestServer, both, person};

const DAY: Duration = Duration::from_hours(24);

/// The rounds of a race.
const ROUNDS: usize = 20;

fn gone(accounts: usize, groups: usize) -> Purged {
    Purged { accounts, groups }
}

fn ids(ids: &[&str]) -> Vec<AccountId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

impl TestInstance {
    async fn purge_overdue(&self) -> Purged {
        self.app.provision.purge_overdue().await.unwrap()
    }

    async fn purge(&self, chosen: &[&str]) -> Vec<AccountId> {
        let provision = &self.app.provision;
        provision.purge(&provision.operator(), self.id, &ids(chosen)).await.unwrap()
    }

    async fn keep_for(&self, days: i64) {
        let (provision, kept) = (&self.app.provision, Retention::parse(days).unwrap());
        provision.set_retention(&provision.operator(), self.id, kept).await.unwrap();
    }

    /// A deleted person on whom something of everything hangs; her id.
    async fn well_known(&self, database: &Database) -> String {
        let asking = self.actor(ConnectionKind::Entra, "Asking", PickUp::WithApproval).await.client;
        let emails =
            json!({ "emails": [{ "value": "ann@example.com" }, { "value": "a@example.com" }] });
        let ann = self.local_person("ann", emails.clone()).await;
        assert_eq!(asking.post("/Users", person("ann", emails)).await.status, 201);
        let okta = self.okta().await;
        okta.group("Staff", &[&ann]).await;
        okta.group("Cooks", &[&ann]).await;
        let mut tx = self.app.provision.store.begin().await.unwrap();
        let id = ann.parse().unwrap();
        let at = self.app.provision.clock.now();
        scimd::store::accounts::keep_password(&mut tx, self.id, id, "hash", at).await.unwrap();
        tx.commit().await.unwrap();
        let (instance, account) = (literal(database, self.id), literal(database, &ann));
        execute(
            database,
            format!(
                "INSERT INTO lookup_misses (instance_id, account_id, name, value_key, value, missed_at) \
                 VALUES ({instance}, {account}, 'cities', 'rome', 'Rome', 0); \
                 INSERT INTO unique_values (instance_id, attribute, value_key, resource_id) \
                 VALUES ({instance}, 'badge', '7', {account})"
            ),
        )
        .await;
        self.act(&ann, Act::Delete).await;
        ann
    }
}

both! {
    /// Whatever names the account goes with it, and nothing else does.
    async fn who_is_removed_for_good_is_named_nowhere(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let ann = test.well_known(&database).await;
        let bob = test.local_person("bob", json!({ "emails": [{ "value": "bob@example.com" }] })).await;
        let there = neighbour.well_known(&database).await;
        let named: Vec<_> = mentions(&database, &ann).await.into_keys().collect();
        assert_eq!(named, [
            "account_emails.account_id", "account_passwords.account_id", "accounts.id", "claims.target_id",
            "lookup_misses.account_id", "memberships.member_id", "unique_values.resource_id",
        ]);
        let others = (mentions(&database, &bob).await, mentions(&database, &there).await);
        let before = (test.everything().await, neighbour.everything().await);
        let hanging = test.app.provision.hanging(test.id, &ids(&[&ann])).await.unwrap();
        let counts = [hanging.emails, hanging.memberships, hanging.approvals, hanging.passwords];
        assert_eq!(counts, [2, 2, 1, 1]);
        test.advance(DAY * 30);
        neighbour.keep_for(31).await;
        assert_eq!(test.purge_overdue().await, gone(0, 0), "the last moment of the last day");
        test.advance(Duration::from_millis(1));
        assert_eq!(test.purge_overdue().await, gone(1, 0));
        assert_eq!(mentions(&database, &ann).await, [].into());
        assert_eq!((mentions(&database, &bob).await, mentions(&database, &there).await), others);
        assert_eq!((test.everything().await, neighbour.everything().await), before);
        let last = test.trail(&ann).await.pop().unwrap();
        assert_eq!((last.action.as_str(), last.actor.as_str()), ("account.purged", "retention"));
        assert_eq!(last.rule.as_deref(), Some("retention"));
        assert_eq!(last.before, Some(json!({ "userName": "ann", "connection": null })));
        assert_eq!(last.after, None);
        assert_eq!(test.purge_overdue().await, gone(0, 0));
        let found = test.app.provision.account_for(test.id, &ann, Some(Act::Restore)).await.unwrap();
        assert_eq!(found, None);
        // The name is as free as before, and nothing is remembered of who had it.
        assert_eq!(test.client(ConnectionKind::Scim).await.user("ann").await.len(), 36);
        test.assert_lawful().await;
    }

    /// Groups go in the same way, and scopes no longer name them; who was out stays out.
    async fn groups_are_removed_with_their_memberships_and_scopes(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let inner = client.group("Inner", &[&ann]).await;
        let staff = client.group("Staff", &[&bob, &inner]).await;
        let outer = client.group("Outer", &[&staff]).await;
        test.scope(&connection, &[&staff, &outer]).await;
        for group in [&outer, &staff] {
            assert_eq!(client.delete(&format!("/Groups/{group}")).await.status, 204);
        }
        let out = "suspended: in no sync group";
        assert_eq!(test.standings(&["ann", "bob"]).await, format!("ann {out}, bob {out}"));
        test.advance(DAY * 30 + Duration::from_millis(1));
        let before = test.everything().await;
        assert_eq!(test.purge_overdue().await, gone(0, 2));
        for group in [&staff, &outer] {
            assert_eq!(mentions(&database, group).await, [].into());
            let last = test.trail(group).await.pop().unwrap();
            assert_eq!((last.action.as_str(), last.actor.as_str()), ("group.purged", "retention"));
            assert_eq!(last.before.unwrap()["connection"], json!(connection.id));
        }
        assert_eq!(test.everything().await, before);
        assert_eq!(test.app.provision.sync_groups(&connection).await.unwrap(), []);
        let trail = test.trail(&connection.id.to_string()).await;
        let said = trail.iter().filter(|event| event.action == "connection.sync_group_purged");
        assert_eq!(said.count(), 2);
        assert_eq!(mentions(&database, &inner).await.get("memberships.group_id"), Some(&1));
        test.assert_lawful().await;
        // The name is free, and a new group has nobody of the old one.
        let anew = client.group("Staff", &[]).await;
        assert_eq!(client.members(&anew).await, Vec::<String>::new());
    }

    /// The days of the instance decide, for restoring and for removing alike.
    async fn the_days_of_the_instance_decide(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        assert_eq!(test.app.provision.retention(test.id).await.unwrap(), Retention::default());
        for days in [1, 7, 3_650] {
            test.keep_for(days).await;
            let id = client.user("ann").await;
            test.act(&id, Act::Delete).await;
            let span = DAY * u32::try_from(days).unwrap();
            test.advance(span);
            assert_eq!(test.purge_overdue().await, gone(0, 0), "{days}");
            assert_eq!(test.act(&id, Act::Restore).await.refused, None, "{days}");
            test.act(&id, Act::Delete).await;
            test.advance(span + Duration::from_millis(1));
            // Too late, although nobody has removed it yet.
            let refused = test.act(&id, Act::Restore).await.refused.unwrap();
            let unit = if days == 1 { "1 day ago".to_owned() } else { format!("{days} days ago") };
            assert!(refused.contains(&unit), "{refused}");
            assert!(test.foresee(&test.any(&id).await, Act::Restore).await.refused.is_some());
            let kept = Retention::parse(days).unwrap();
            let overdue = test.app.provision.overdue(test.id, kept).await.unwrap();
            assert_eq!(overdue, Overdue { accounts: 1, groups: 0 });
            assert_eq!(test.purge_overdue().await, gone(1, 0), "{days}");
        }
        let trail = test.trail(&test.id.to_string()).await;
        let said: Vec<_> = trail.iter().filter(|event| event.action == "instance.retention_set").collect();
        let sides = |event: &scimd::store::audit::Event| (event.before.clone(), event.after.clone());
        let side = |days: i64| Some(json!({ "retentionDays": days }));
        let expected = [(side(30), side(1)), (side(1), side(7)), (side(7), side(3_650))];
        assert_eq!(said.iter().map(|event| sides(event)).collect::<Vec<_>>(), expected);
        // To set the same once more is no change.
        test.keep_for(3_650).await;
        assert_eq!(test.trail(&test.id.to_string()).await.len(), trail.len());
    }

    /// An administrator removes what is deleted, whenever that was, and nothing else.
    async fn an_administrator_removes_only_what_is_deleted(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let client = test.okta().await;
        let boss = client.user("boss").await;
        let managed = json!({ ENTERPRISE: { "manager": "boss" } });
        let (ann, bob) = (client.person("ann", managed.clone()).await, client.person("bob", managed).await);
        let there = neighbour.okta().await.user("boss").await;
        neighbour.act(&there, Act::Delete).await;
        assert_eq!(test.purge(&[&boss, &ann, &there]).await, []);
        test.act(&ann, Act::Delete).await;
        test.act(&boss, Act::Delete).await;
        let hanging = test.app.provision.hanging(test.id, &ids(&[&boss])).await.unwrap();
        assert_eq!(hanging.reports, 1);
        let chosen = test.app.provision.deleted_accounts(test.id, "userName pr").await.unwrap();
        let names: BTreeSet<_> = chosen.iter().map(|one| one.user_name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["ann", "boss"]));
        assert_eq!(test.purge(&[&boss, &bob, &there]).await, ids(&[&boss]));
        assert_eq!(mentions(&database, &boss).await, [].into());
        let last = test.trail(&boss).await.pop().unwrap();
        assert_eq!((last.action.as_str(), last.actor.as_str(), last.rule), ("account.purged", "cli", None));
        assert_eq!(test.trail(&ann).await.pop().unwrap().action, "account.manager_unlinked");
        assert_eq!(neighbour.any(&there).await.status, Status::Deleted);
        // Who reported to the one who is gone comes back without a manager, and finds the next.
        test.act(&ann, Act::Restore).await;
        assert_eq!((test.manager_of("ann").await, test.manager_of("bob").await), (None, None));
        client.user("boss").await;
        assert_eq!(test.manager_of("ann").await.as_deref(), Some("boss"));
        assert_eq!(test.purge(&[&boss]).await, []);
        test.assert_lawful().await;
    }

    /// More than fit into one transaction, by two servers that know nothing of each other.
    async fn two_servers_remove_a_crowd_once(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "okta").await;
        fill(&database, &connection, "p", 450).await;
        let live = "UPDATE accounts SET deleted_at = 1, status = 'deleted' WHERE user_name <> 'p7'";
        execute(&database, live.to_owned()).await;
        let other = scimd::provision::Provision::new(
            database.open().await, test.app.provision.clock.clone(), test.app.provision.ids,
        );
        let one = tokio::spawn({
            let provision = test.app.provision.clone();
            async move { provision.purge_overdue().await.unwrap() }
        });
        let two = other.purge_overdue().await.unwrap();
        let one = one.await.unwrap();
        assert_eq!(test.purge_overdue().await.accounts + one.accounts + two.accounts, 449);
        let left: Vec<_> = test.accounts().await.into_iter().map(|one| one.user_name).collect();
        assert_eq!(left, ["p7"]);
    }

    /// Whoever restores an account and whoever removes it: one of them has it, never both.
    async fn a_restoration_and_a_removal_at_once_end_in_one_of_the_two(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (mut restored, mut removed) = (0, 0);
        for round in 0..ROUNDS {
            let ann = client.person(&format!("ann{round}"), json!({ "emails": [{ "value": "a@b.de" }] })).await;
            client.group(&format!("Group {round}"), &[&ann]).await;
            test.act(&ann, Act::Delete).await;
            let before = mentions(&database, &ann).await;
            let barrier = Arc::new(Barrier::new(2));
            let purging = tokio::spawn({
                let (provision, barrier) = (test.app.provision.clone(), Arc::clone(&barrier));
                let (id, chosen) = (test.id, ids(&[&ann]));
                async move {
                    barrier.wait().await;
                    provision.purge(&provision.operator(), id, &chosen).await.unwrap()
                }
            });
            barrier.wait().await;
            let provision = &test.app.provision;
            let id = ann.parse().unwrap();
            let done = provision.act(&provision.operator(), test.id, id, Act::Restore).await;
            let purged = purging.await.unwrap();
            let is_back = done.as_ref().is_ok_and(|done| done.changed);
            assert_eq!(is_back, purged.is_empty(), "round {round}: {done:?} {purged:?}");
            if is_back {
                restored += 1;
                assert_eq!(mentions(&database, &ann).await, before, "round {round}");
                assert_eq!(test.standing(&ann).await, "active");
            } else {
                removed += 1;
                assert_eq!(mentions(&database, &ann).await, [].into(), "round {round}");
            }
            test.assert_lawful().await;
        }
        assert_eq!(restored + removed, ROUNDS);
    }

    /// Neither who removes nor who creates reads all that is deleted, or all memberships.
    async fn what_is_deleted_is_found_by_an_index(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let change = SettingsChange { recreate: Some(Recreate::SameId), ..SettingsChange::default() };
        let author = test.app.provision.operator();
        test.app.provision.set_connection_settings(&author, &connection, change).await.unwrap();
        let body = |name: &str| person(name, json!({ "externalId": format!("x-{name}") }));
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cho", "dee"] {
            ids.push(client.post("/Users", body(name)).await.text("/id"));
        }
        let members: Vec<&str> = ids.iter().map(String::as_str).collect();
        client.group("Staff", &members).await;
        for id in &ids {
            assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
        }
        let recorder = Recorder::start();
        assert_eq!(client.post("/Users", body("eve")).await.status, 201);
        let created = client.post("/Users", body("dee")).await;
        assert_eq!(created.text("/id"), ids[3]);
        assert_eq!(test.purge(&members[..3]).await.len(), 3);
        let statements: BTreeSet<String> = recorder.take().into_iter().map(|one| one.sql).collect();
        let planned = statements.into_iter().filter(|sql| !sql.contains("SAVEPOINT")).collect();
        // PostgreSQL plans for how few there are; SQLite for what it could be.
        if !database.is_postgres() {
            assert_narrow(&database, &planned).await;
            for sql in &planned {
                let plan = plan(&database, sql).await;
                assert!(!plan.contains("_by_deletion"), "{sql}\n{plan}");
            }
        }
    }

    /// Nobody has to ask for it.
    async fn a_server_removes_by_itself(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann").await;
        assert_eq!(client.delete(&format!("/Users/{ann}")).await.status, 204);
        test.advance(DAY * 31);
        let server = TestServer::start(test.app.clone()).await;
        let is_there = async || test.app.provision.deleted_account(test.id, &ann).await.unwrap().is_some();
        let removed = async {
            while is_there().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), removed).await.unwrap();
        server.stop().await;
    }
}
