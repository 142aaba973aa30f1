//! Sync groups: whoever is below one of them is in scope, however deep, however she got there and
//! whatever happened at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use scimd::clock::{Clock, Ids};
use scimd::directory::hand::Act;
use scimd::directory::why::Fact;
use scimd::directory::{Connection, ConnectionKind, Scope, Timestamp};
use scimd::provision::{Error, Provision};
use scimd::scim::ErrorKind;
use scimd::store::runs::RunState;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::rules::{fill, group_ids, join, leave};
use super::support::{Client, Database, TestInstance, both, person, team};

const OUT: &str = "suspended: in no sync group";
const ROUNDS: usize = 20;

/// An instance whose only connection goes by the groups A and B.
struct Synced {
    test: TestInstance,
    connection: Connection,
    client: Client,
    a: String,
    b: String,
}

impl Synced {
    async fn on(database: &Database) -> Self {
        let test = TestInstance::on(database).await;
        let (connection, client) = test.connected(ConnectionKind::Entra, "entra").await;
        let (a, b) = (client.group("A", &[]).await, client.group("B", &[]).await);
        test.scope(&connection, &[&a, &b]).await;
        Self { test, connection, client, a, b }
    }

    /// Asserts who is in scope of these people, and that the rest of the directory is lawful.
    async fn assert_in(&self, step: &str, expected: &[(&str, bool)]) {
        for (name, is) in expected {
            let standing = self.test.standing(name).await;
            assert_eq!(standing, if *is { "active" } else { OUT }, "{name} after {step}");
        }
        self.test.assert_lawful().await;
    }

    /// Sends changes at once.
    async fn at_once(&self, changes: Vec<(String, Value)>) {
        let barrier = Arc::new(Barrier::new(changes.len()));
        let mut sent = Vec::new();
        for (path, operations) in changes {
            let (client, barrier) = (self.client.clone(), Arc::clone(&barrier));
            sent.push(tokio::spawn(async move {
                barrier.wait().await;
                let body = json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": operations,
                });
                match operations.as_array() {
                    Some(_) => client.send("PATCH", &path, Some(body)).await,
                    None => client.send("DELETE", &path, None).await,
                }
            }));
        }
        for one in sent {
            let answer = one.await.unwrap();
            assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        }
    }
}

fn group(id: &str) -> String {
    format!("/Groups/{id}")
}

both! {
    async fn who_leaves_the_last_sync_group_is_suspended_and_comes_back_with_the_next(database) {
        let synced = Synced::on(&database).await;
        let Synced { client, a, b, .. } = &synced;
        let created = client.post("/Users", person("ann", json!({}))).await;
        assert_eq!((created.status, created.at("/active")), (201, json!(true)));
        assert_eq!(created.standing(), OUT);
        let ann = created.text("/id");
        let elsewhere = client.group("No sync group", &[&ann]).await;
        synced.assert_in("another group", &[("ann", false)]).await;
        client.join(a, &ann).await;
        synced.assert_in("joining A", &[("ann", true)]).await;
        client.join(b, &ann).await;
        client.leave(a, &ann).await;
        synced.assert_in("leaving A for B", &[("ann", true)]).await;
        client.leave(b, &ann).await;
        synced.assert_in("leaving B", &[("ann", false)]).await;
        assert_eq!(client.get(&format!("/Users/{ann}")).await.at("/active"), true);
        client.leave(b, &ann).await;
        client.leave(&elsewhere, &ann).await;
        synced.assert_in("leaving all groups", &[("ann", false)]).await;
        assert_eq!(client.put(&group(a), team("A", &[&ann])).await.status, 200);
        synced.assert_in("a PUT of A", &[("ann", true)]).await;
        // Without members, a PUT leaves the membership as it is.
        let bare = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "A" });
        assert_eq!(client.put(&group(a), bare).await.status, 200);
        synced.assert_in("a PUT without members", &[("ann", true)]).await;
        assert_eq!(client.put(&group(a), team("A", &[])).await.status, 200);
        synced.assert_in("an empty PUT", &[("ann", false)]).await;
        client.change(&group(b), json!([{ "op": "replace", "path": "members", "value": [{ "value": ann }] }])).await;
        synced.assert_in("a replacement", &[("ann", true)]).await;
        assert_eq!(client.delete(&group(b)).await.status, 204);
        synced.assert_in("the deletion of B", &[("ann", false)]).await;
        // A group of the same name is another group.
        client.group("B", &[&ann]).await;
        synced.assert_in("a new B", &[("ann", false)]).await;
    }

    async fn a_group_in_a_sync_group_brings_its_people(database) {
        let synced = Synced::on(&database).await;
        let Synced { client, a, b, .. } = &synced;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let deep = client.group("Deep", &[&ann]).await;
        let middle = client.group("Middle", &[&deep]).await;
        let top = client.group("Top", &[&middle, &bob]).await;
        synced.assert_in("the start", &[("ann", false), ("bob", false)]).await;
        client.join(a, &top).await;
        synced.assert_in("nesting", &[("ann", true), ("bob", true)]).await;
        client.leave(&middle, &deep).await;
        synced.assert_in("leaving in the middle", &[("ann", false), ("bob", true)]).await;
        client.join(b, &deep).await;
        client.join(&middle, &deep).await;
        client.leave(a, &top).await;
        synced.assert_in("a second way", &[("ann", true), ("bob", false)]).await;
        assert_eq!(client.put(&group(b), team("B", &[&top])).await.status, 200);
        synced.assert_in("one group for another", &[("ann", true), ("bob", true)]).await;
        assert_eq!(client.delete(&group(&middle)).await.status, 204);
        synced.assert_in("a deletion in the middle", &[("ann", false), ("bob", true)]).await;
        client.join(&deep, &bob).await;
        client.leave(&top, &bob).await;
        synced.assert_in("moving below the gap", &[("ann", false), ("bob", false)]).await;
    }

    async fn groups_that_contain_each_other_are_survived(database) {
        let synced = Synced::on(&database).await;
        let Synced { client, a, .. } = &synced;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let x = client.group("X", &[&ann]).await;
        let y = client.group("Y", &[&x, &bob]).await;
        for (outer, inner) in [(&x, &y), (&x, &x), (a, &x), (&y, a), (a, a)] {
            client.join(outer, inner).await;
        }
        synced.assert_in("closing the circles", &[("ann", true), ("bob", true)]).await;
        client.leave(a, &x).await;
        synced.assert_in("leaving A", &[("ann", false), ("bob", false)]).await;
        client.join(a, &y).await;
        synced.assert_in("joining A again", &[("ann", true), ("bob", true)]).await;
        client.leave(&y, &x).await;
        synced.assert_in("opening the circle", &[("ann", false), ("bob", true)]).await;
        assert_eq!(client.delete(&group(&y)).await.status, 204);
        synced.assert_in("deleting one of them", &[("ann", false), ("bob", false)]).await;
    }

    /// Who leaves and who comes with one request are told apart, also in the audit trail.
    async fn one_list_for_another_moves_both_ways(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, client, a, .. } = &synced;
        let (ann, bob, cy) = (client.user("ann").await, client.user("bob").await, client.user("cy").await);
        client.join(a, &ann).await;
        client.join(a, &cy).await;
        assert_eq!(client.put(&group(a), team("A", &[&bob, &cy])).await.status, 200);
        synced.assert_in("the PUT", &[("ann", false), ("bob", true), ("cy", true)]).await;
        for (name, happened) in [("ann", "left"), ("bob", "joined")] {
            let why = test.app.provision.why(test.id, &test.any(name).await).await.unwrap();
            let scope = why.rules.iter().find(|cause| cause.rung.fact == Fact::Scope);
            let cause = scope.unwrap().by.as_ref().unwrap().cause.clone().unwrap();
            assert_eq!(cause, json!({ "group": a, "name": "A", "happened": happened }), "{name}");
        }
    }

    async fn a_hold_outlasts_every_change_of_scope(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, connection, client, a, b } = &synced;
        let ann = client.user("ann").await;
        client.join(a, &ann).await;
        test.act(&ann, Act::Hold).await;
        let held = "suspended: held by an administrator";
        for step in 0..7 {
            match step {
                0 => client.leave(a, &ann).await,
                1 => client.join(b, &ann).await,
                2 => assert_eq!(client.delete(&group(b)).await.status, 204),
                3 => drop(test.scope(connection, &[]).await),
                4 => drop(test.scope(connection, &[a]).await),
                5 => client.join(a, &ann).await,
                _ => drop(client.set_active(&ann, true).await),
            }
            assert_eq!(test.standing("ann").await, held, "step {step}");
            test.assert_lawful().await;
        }
        test.act(&ann, Act::Release).await;
        synced.assert_in("the release", &[("ann", true)]).await;
    }

    async fn a_preview_says_what_then_happens(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, connection, client, a, b } = &synced;
        let provision = &test.app.provision;
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cy", "dee", "eve", "off", "held", "gone"] {
            ids.push(client.user(name).await);
        }
        let inner = client.group("Inner", &[&ids[1], &ids[4], &ids[5]]).await;
        let third = client.group("Third", &[&ids[0], &inner, &ids[6]]).await;
        for (to, who) in [(a, 0), (a, 1), (b, 2), (b, 3), (a, 5), (a, 6), (a, 7)] {
            client.join(to, &ids[who]).await;
        }
        client.set_active(&ids[5], false).await;
        test.act(&ids[6], Act::Hold).await;
        assert_eq!(client.delete(&format!("/Users/{}", ids[7])).await.status, 204);
        for groups in [vec![&third], vec![b, &inner], vec![], vec![a], vec![&third, a, b], vec![b]] {
            let groups: Vec<&str> = groups.into_iter().map(String::as_str).collect();
            let scope = if groups.is_empty() { Scope::All } else { Scope::Groups };
            let before = test.everything().await;
            let preview = provision.preview_scope(connection, scope, &group_ids(&groups)).await.unwrap();
            assert_eq!(test.everything().await, before, "a preview changed something");
            let was = test.accounts().await;
            let run = test.scope(connection, &groups).await;
            let is = test.accounts().await;
            let may = |account: &&scimd::directory::Account| account.status.word() == "active";
            let names = |here: &[scimd::directory::Account], there: &[scimd::directory::Account]| {
                let there: Vec<_> = there.iter().filter(may).map(|one| one.id).collect();
                let gone = here.iter().filter(may).filter(|one| !there.contains(&one.id));
                let mut names: Vec<String> = gone.map(|one| one.user_name.clone()).collect();
                names.sort_unstable();
                names
            };
            let sorted = |mut names: Vec<String>| { names.sort_unstable(); names };
            assert_eq!(sorted(preview.who_leaves), names(&was, &is), "{groups:?}");
            assert_eq!(sorted(preview.who_comes), names(&is, &was), "{groups:?}");
            let within = is.iter().filter(|account| account.in_scope).count();
            assert_eq!((preview.people, preview.in_scope), (7, within as u64), "{groups:?}");
            assert_eq!(run.seen, 7);
            test.assert_lawful().await;
        }
        // What cannot be is refused by both.
        let strange = test.connection(ConnectionKind::Okta, "okta").await;
        let none: &[&str] = &[];
        for (connection, groups) in [(&strange, &[a.as_str()][..]), (connection, none)] {
            let groups = group_ids(groups);
            let author = provision.operator();
            assert!(provision.preview_scope(connection, Scope::Groups, &groups).await.is_err());
            assert!(provision.set_scope(&author, connection, Scope::Groups, &groups).await.is_err());
        }
    }

    /// Whoever works on a run is killed after some pages: somebody else goes on from there, once the
    /// lease is over and not before, and the first one cannot come back.
    async fn a_run_that_was_left_is_finished_by_somebody_else(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, connection, client, a, .. } = &synced;
        fill(&database, connection, "u", 1_700).await;
        let now = Arc::new(AtomicI64::new(test.app.provision.clock.now().0));
        let ticks = Arc::clone(&now);
        let clock = Clock::from_fn(move || Timestamp(ticks.load(Ordering::SeqCst)));
        let other = Provision::new(database.open().await, clock, Ids);
        let (mut run, pages) = (test.begin_scope(connection, &[a]).await, 2);
        for _ in 0..pages {
            run = test.app.provision.step(&run).await.unwrap();
        }
        assert_eq!((run.seen, run.changed, run.state), (1_000, 1_000, RunState::Open));
        // Whoever comes in the middle is judged by the new scope at once.
        let late = client.user("late").await;
        assert_eq!(test.standing("late").await, OUT);
        for early in [0, 29_999] {
            now.fetch_add(early, Ordering::SeqCst);
            assert_eq!(other.finish_runs().await.unwrap(), 0);
        }
        now.fetch_add(1, Ordering::SeqCst);
        assert_eq!(other.finish_runs().await.unwrap(), 1);
        let error = test.app.provision.step(&run).await.unwrap_err();
        assert!(matches!(&error, Error::Refused(refusal) if refusal.kind == ErrorKind::Forbidden), "{error:?}");
        let done = other.run(test.id, run.id).await.unwrap().unwrap();
        assert_eq!((done.seen, done.changed, done.state), (1_700, 1_700, RunState::Done));
        assert_eq!(other.finish_runs().await.unwrap(), 0);
        test.assert_lawful().await;
        assert!(test.accounts().await.iter().all(|account| !account.in_scope));
        // Each person is changed once, and the trail names the run.
        for account in test.accounts().await.iter().filter(|account| account.id.to_string() != late) {
            assert_eq!(account.version, 2);
        }
        let one = test.any("u700").await.id.to_string();
        let trail = test.trail(&one).await;
        assert_eq!(trail.iter().map(|event| event.run).collect::<Vec<_>>(), [Some(run.id)]);
    }

    /// Two groups, two requests: who loses the one and gets the other at once is in scope, and who loses
    /// both at once is not.
    async fn two_groups_that_change_at_once_do_not_miss_each_other(database) {
        let synced = Synced::on(&database).await;
        let Synced { client, a, b, .. } = &synced;
        let ann = client.user("ann").await;
        client.join(a, &ann).await;
        for round in 0..ROUNDS {
            let (from, to) = if round % 2 == 0 { (a, b) } else { (b, a) };
            synced.at_once(vec![(group(from), leave(&ann)), (group(to), join(&ann))]).await;
            synced.assert_in(&format!("moving in round {round}"), &[("ann", true)]).await;
            client.join(from, &ann).await;
            synced.at_once(vec![(group(a), leave(&ann)), (group(b), leave(&ann))]).await;
            synced.assert_in(&format!("leaving in round {round}"), &[("ann", false)]).await;
            client.join(to, &ann).await;
        }
    }

    /// A group moves while somebody joins or leaves it.
    async fn a_nested_group_and_its_members_do_not_miss_each_other(database) {
        let synced = Synced::on(&database).await;
        let Synced { client, a, b, .. } = &synced;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let inner = client.group("Inner", &[]).await;
        let outer = client.group("Outer", &[&inner]).await;
        for round in 0..ROUNDS {
            let what = format!("round {round}");
            // Into the sync group, with one who comes at the same moment.
            synced.at_once(vec![(group(a), join(&outer)), (group(&inner), join(&ann))]).await;
            synced.assert_in(&what, &[("ann", true)]).await;
            // From one sync group to another, with one who comes.
            let moving = vec![
                (group(a), leave(&outer)), (group(b), join(&outer)), (group(&inner), join(&bob)),
            ];
            synced.at_once(moving).await;
            synced.assert_in(&what, &[("ann", true), ("bob", true)]).await;
            // Out of it, with one who leaves the inner and joins the sync group.
            let leaving = vec![
                (group(b), leave(&outer)), (group(&inner), leave(&ann)), (group(a), join(&ann)),
            ];
            synced.at_once(leaving).await;
            synced.assert_in(&what, &[("ann", true), ("bob", false)]).await;
            // Two links of the chain at once.
            let chain = vec![
                (group(&outer), leave(&inner)), (group(a), leave(&ann)), (group(b), join(&outer)),
            ];
            synced.at_once(chain).await;
            synced.assert_in(&what, &[("ann", false), ("bob", false)]).await;
            synced.at_once(vec![(group(&outer), join(&inner)), (group(b), leave(&outer))]).await;
            synced.assert_in(&what, &[("bob", false)]).await;
            client.leave(&inner, &bob).await;
        }
    }

    /// A sync group is deleted while somebody joins it or what is in it.
    async fn a_group_that_is_deleted_and_who_joins_it_do_not_miss_each_other(database) {
        let synced = Synced::on(&database).await;
        let Synced { client, a, .. } = &synced;
        let ann = client.user("ann").await;
        for round in 0..ROUNDS {
            let inner = client.group(&format!("Inner {round}"), &[]).await;
            let outer = client.group(&format!("Outer {round}"), &[&inner]).await;
            client.join(a, &outer).await;
            let gone = if round % 2 == 0 { &inner } else { &outer };
            let (path, delete) = (group(gone), json!(null));
            let barrier = Arc::new(Barrier::new(2));
            let both = [(path, delete), (group(&inner), join(&ann))].map(|(path, operations)| {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    if operations.is_null() {
                        client.delete(&path).await.status
                    } else {
                        client.patch(&path, operations).await.status
                    }
                })
            });
            for one in both {
                // Who comes too late to a group that is gone is told so.
                let status = one.await.unwrap();
                assert!(matches!(status, 200 | 204 | 404), "round {round}: {status}");
            }
            synced.assert_in(&format!("round {round}"), &[("ann", false)]).await;
        }
    }

    /// A scope that is set while people move misses nobody.
    async fn a_scope_that_is_set_among_changes_misses_nobody(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, connection, client, a, b } = &synced;
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(client.user(&format!("u{number}")).await);
        }
        for round in 0..ROUNDS {
            let barrier = Arc::new(Barrier::new(ids.len() + 2));
            let mut tasks = Vec::new();
            for (number, id) in ids.iter().enumerate() {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                let to = if number % 2 == 0 { a } else { b };
                let operations = if (number + round) % 3 == 0 { leave(id) } else { join(id) };
                let path = group(to);
                tasks.push(tokio::spawn(async move {
                    barrier.wait().await;
                    client.change(&path, operations).await;
                }));
            }
            let (creator, gate) = (client.clone(), Arc::clone(&barrier));
            tasks.push(tokio::spawn(async move {
                gate.wait().await;
                creator.user(&format!("new{round}")).await;
            }));
            let all = [vec![a.as_str()], vec![], vec![b.as_str(), a.as_str()]];
            barrier.wait().await;
            test.scope(connection, &all[round % 3]).await;
            for task in tasks {
                task.await.unwrap();
            }
            test.assert_lawful().await;
        }
    }

    /// A Local person is picked up while she joins or leaves a sync group.
    async fn who_is_picked_up_while_joining_or_leaving_is_not_missed(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, client, a, b, .. } = &synced;
        let inner = client.group("Inner", &[]).await;
        for round in 0..ROUNDS {
            let name = format!("u{round}");
            let id = test.local_person(&name, json!({})).await;
            let move_it = match round % 4 {
                0 => (group(a), join(&id)),
                1 => {
                    client.join(a, &id).await;
                    (group(a), leave(&id))
                }
                2 => {
                    client.leave(b, &inner).await;
                    client.join(&inner, &id).await;
                    (group(b), join(&inner))
                }
                _ => {
                    client.join(b, &inner).await;
                    client.join(&inner, &id).await;
                    (group(b), leave(&inner))
                }
            };
            let title = json!([{ "op": "replace", "path": "title", "value": "Cook" }]);
            synced.at_once(vec![move_it, (format!("/Users/{id}"), title)]).await;
            synced.assert_in(&format!("round {round}"), &[(&name, round % 2 == 0)]).await;
        }
    }

    /// Somebody is made Local while she leaves the last sync group: Local people are in no scope.
    async fn who_is_made_local_while_leaving_is_not_suspended(database) {
        let synced = Synced::on(&database).await;
        let Synced { test, client, a, .. } = &synced;
        for round in 0..ROUNDS {
            let name = format!("u{round}");
            let id = client.user(&name).await;
            client.join(a, &id).await;
            let barrier = Arc::new(Barrier::new(2));
            let (path, operations) = (group(a), leave(&id));
            let (leaver, gate) = (client.clone(), Arc::clone(&barrier));
            let leaving = tokio::spawn(async move {
                gate.wait().await;
                leaver.change(&path, operations).await
            });
            barrier.wait().await;
            assert_eq!(test.act(&id, Act::MakeLocal).await.refused, None);
            leaving.await.unwrap();
            synced.assert_in(&format!("round {round}"), &[(&name, true)]).await;
        }
    }
}
