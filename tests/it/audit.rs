//! The audit trail: the chain that proves it, who did what by which means, and finding in it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::{AccountId, InstanceId};
use scimd::provision::trail::{Entry, Noted, Verified};
use scimd::store::audit::Category;
use scimd::store::audit::chain::{self, Waiting};
use scimd::store::audit::search::{From, Wanted};
use serde_json::json;
use tokio::sync::Barrier;

use super::cost::plan;
use super::support::rules::{active, execute, join, leave, literal};
use super::support::statements::Recorder;
use super::support::{Client, Database, TestInstance, both, person};

/// The events that are found at most.
const ALL: i64 = 10_000;

impl TestInstance {
    async fn events_of(&self, wanted: &Wanted) -> Vec<Entry> {
        self.app.provision.trail(self.id, wanted, From::OLDEST, ALL).await.unwrap()
    }

    async fn verified(&self, noted: Option<&Noted>) -> Verified {
        self.app.provision.verify_trail(self.id, noted).await.unwrap()
    }

    /// What is wrong with the chain.
    async fn broken(&self) -> Option<(i64, String)> {
        let found = self.verified(None).await;
        found.broken.map(|broken| (broken.position, broken.reason))
    }

    /// Some history: people, a group, a key, settings.
    async fn history(&self, client: &Client) -> [String; 3] {
        let ann = client.user("ann").await;
        let bob = client.user("bob").await;
        let staff = client.group("Staff", &[&ann]).await;
        client.change(&format!("/Groups/{staff}"), join(&bob)).await;
        client.change(&format!("/Users/{ann}"), active(false)).await;
        client.change(&format!("/Groups/{staff}"), leave(&ann)).await;
        self.act(&bob, Act::Hold).await;
        [ann, bob, staff]
    }
}

fn about(id: &str) -> Wanted {
    Wanted { about: Some(id.parse().unwrap()), ..Wanted::default() }
}

fn actions(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.event.action.as_str()).collect()
}

/// What somebody with the database in his hands does to the chain of Ann's instance, and what is said
/// of it. `$i` is the instance; the events are at positions from 1 on.
const TAMPERING: &[(&str, &str, &str)] = &[
    (
        "says that somebody else did it",
        "UPDATE audit_events SET actor = 'mallory' WHERE $at3",
        "3: its event *, or its hash, was changed",
    ),
    (
        "moves it in time",
        "UPDATE audit_events SET at = at + 1 WHERE $at4",
        "4: its event *, or its hash, was changed",
    ),
    (
        "changes what it was",
        "UPDATE audit_events SET after = '{}' WHERE $at4",
        "4: what its event * says was changed",
    ),
    (
        "takes a rule out",
        "UPDATE audit_events SET rule = 'x' WHERE $at2",
        "2: its event *, or its hash, was changed",
    ),
    ("takes an event out", "DELETE FROM audit_events WHERE $at5", "5: its event * is gone"),
    (
        "takes a link out",
        "DELETE FROM audit_links WHERE instance_id = $i AND position = 5",
        "5: it is not there, although later ones are",
    ),
    (
        "takes the last link out",
        "DELETE FROM audit_links WHERE instance_id = $i AND position = (SELECT position \
         FROM audit_heads WHERE instance_id = $i)",
        "last: the head of the chain is another",
    ),
    (
        "takes the last ones out, and sets the head back",
        "DELETE FROM audit_links WHERE instance_id = $i AND position > 4; UPDATE audit_heads SET \
         position = 4, hash = (SELECT hash FROM audit_links WHERE instance_id = $i AND position = 4) \
         WHERE instance_id = $i",
        "5: * events are in the trail that nobody has sealed",
    ),
    (
        "puts one link for another",
        "UPDATE audit_links SET said = (SELECT said FROM audit_links WHERE instance_id = $i \
         AND position = 2) WHERE instance_id = $i AND position = 3",
        "3: its event *, or its hash, was changed",
    ),
    (
        "makes a hash anew",
        "UPDATE audit_links SET hash = said WHERE instance_id = $i AND position = 3",
        "3: its event *, or its hash, was changed",
    ),
    (
        "takes the salt away",
        "UPDATE audit_links SET salt = NULL WHERE instance_id = $i AND position = 3",
        "3: the salt of its event * is gone",
    ),
    (
        "erases without a word",
        "UPDATE audit_events SET before = NULL, after = NULL, erased_at = 1 WHERE $at3; \
         UPDATE audit_links SET salt = NULL WHERE instance_id = $i AND position = 3",
        "3: no erasure in the trail explains what of * is erased",
    ),
    (
        "erases, and calls it an erasure",
        "UPDATE audit_events SET before = NULL, after = NULL, erased_at = 1, action = 'account.erased' \
         WHERE $at3; UPDATE audit_links SET salt = NULL WHERE instance_id = $i AND position = 3",
        "3: its event *, or its hash, was changed",
    ),
    (
        "takes the head away",
        "DELETE FROM audit_heads WHERE instance_id = $i",
        "end: the head of the chain is another",
    ),
    (
        "sets the head back, and leaves the links",
        "UPDATE audit_heads SET position = 4, hash = (SELECT hash FROM audit_links \
         WHERE instance_id = $i AND position = 4) WHERE instance_id = $i",
        "end: the head of the chain is another",
    ),
    (
        "takes an event out before it is sealed",
        "INSERT INTO audit_unsealed (instance_id, event_id) VALUES ($i, $new)",
        "end: its event * is gone",
    ),
    (
        "puts an event in",
        "INSERT INTO audit_events (instance_id, id, at, category, action, actor, target_kind, target_id) \
         SELECT instance_id, $new, at, category, action, actor, target_kind, target_id \
         FROM audit_events WHERE $at3",
        "end: 1 events are in the trail that nobody has sealed",
    ),
];

both! {
    async fn whoever_changes_the_trail_is_found_out(database) {
        let root = TestInstance::on(&database).await;
        for (name, sql, said) in TAMPERING {
            let test = root.named(name).await;
            let client = test.okta().await;
            test.history(&client).await;
            test.app.provision.seal().await.unwrap();
            let whole = test.verified(None).await;
            assert_eq!(whole.broken, None, "{name}");
            assert!(whole.links > 8 && whole.unsealed == 0, "{name}: {whole:?}");
            execute(&database, tampering(&database, test.id, sql)).await;
            if sql.contains("audit_unsealed") {
                test.app.provision.seal().await.unwrap();
            }
            let (position, reason) = test.broken().await.unwrap_or_else(|| panic!("{name}: unseen"));
            let (at, words) = said.split_once(": ").unwrap();
            let at = match at {
                "last" => whole.links,
                "end" => whole.links + 1,
                at => at.parse().unwrap(),
            };
            assert_eq!(position, at, "{name}: {reason}");
            let parts: Vec<&str> = words.split('*').collect();
            assert!(reason.starts_with(parts[0]), "{name}: {reason}");
            assert!(reason.ends_with(parts[parts.len() - 1]), "{name}: {reason}");
        }
        // Nobody else's chain is broken by it.
        let neighbour = root.named("Neighbour").await;
        let client = neighbour.okta().await;
        neighbour.history(&client).await;
        neighbour.app.provision.seal().await.unwrap();
        assert_eq!(neighbour.broken().await, None);
    }

    /// A chain that was made anew as a whole holds by itself; who noted a link knows.
    async fn a_noted_link_must_still_be_there(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        test.history(&client).await;
        test.app.provision.seal().await.unwrap();
        let first = test.verified(None).await;
        let noted: Noted = format!("{}:{}", first.links, first.hash.unwrap()).parse().unwrap();
        client.user("cy").await;
        test.app.provision.seal().await.unwrap();
        assert_eq!(test.verified(Some(&noted)).await.broken, None);
        let instance = literal(&database, test.id);
        let anew = "DELETE FROM audit_links WHERE instance_id = $i; \
            DELETE FROM audit_heads WHERE instance_id = $i; \
            UPDATE audit_events SET actor = 'mallory' WHERE instance_id = $i; \
            INSERT INTO audit_unsealed (instance_id, event_id) \
            SELECT instance_id, id FROM audit_events WHERE instance_id = $i";
        execute(&database, anew.replace("$i", &instance)).await;
        assert_eq!(test.verified(None).await.links, 0);
        let broken = test.verified(Some(&noted)).await.broken.unwrap();
        assert_eq!(broken.reason, format!("the chain ends before position {}, which was noted", noted.position));
        test.app.provision.seal().await.unwrap();
        assert_eq!(test.broken().await, None);
        let broken = test.verified(Some(&noted)).await.broken.unwrap();
        assert_eq!((broken.position, broken.reason.as_str()), (noted.position, "its hash is not the one that was noted"));
        for wrong in ["", "1", "0:00", "-1:aa", "x:y", &format!("1:{}", "g".repeat(64)), &format!(":{}", "a".repeat(64))] {
            assert!(wrong.parse::<Noted>().is_err(), "{wrong}");
        }
    }

    /// Whoever commits first, and however many seal: every event has one place, and there is no gap.
    async fn sealers_and_writers_make_one_chain(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let start = Arc::new(Barrier::new(8));
        let mut tasks = Vec::new();
        for writer in 0..5 {
            let (client, start) = (client.clone(), Arc::clone(&start));
            tasks.push(tokio::spawn(async move {
                start.wait().await;
                for number in 0..12 {
                    client.user(&format!("user{writer}-{number}")).await;
                }
            }));
        }
        for sealer in 0..3 {
            let (provision, start) = (test.app.provision.clone(), Arc::clone(&start));
            let instance = test.id;
            tasks.push(tokio::spawn(async move {
                start.wait().await;
                for _ in 0..20 {
                    provision.seal().await.unwrap();
                    // Who verifies meanwhile finds a whole chain.
                    if sealer == 0 {
                        let found = provision.verify_trail(instance, None).await.unwrap();
                        assert_eq!(found.broken, None);
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        test.app.provision.seal().await.unwrap();
        let entries = test.events_of(&Wanted::default()).await;
        let places: BTreeSet<i64> = entries.iter().map(|entry| entry.position.unwrap()).collect();
        let count = i64::try_from(entries.len()).unwrap();
        assert_eq!(places, (1..=count).collect());
        assert!(count >= 60, "{count}");
        let found = test.verified(None).await;
        assert_eq!((found.links, found.unsealed, found.broken), (count, 0, None));
    }

    /// Servers seal all the time; who wants a sealed trail just then gets one all the same.
    async fn who_wants_a_sealed_trail_waits_for_who_seals_it(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        test.app.provision.seal().await.unwrap();
        client.user("ann").await;
        let store = &test.app.provision.store;
        let mut other = store.begin().await.unwrap();
        let head = chain::take_head(&mut other, test.id, &[0; 32], Waiting::Patient).await.unwrap();
        assert!(head.is_some());
        let mut wanted = pin!(test.app.provision.seal_instance(test.id));
        // By far longer than who does not wait needs to find out that somebody seals.
        let meanwhile = async {
            for _ in 0..100 {
                store.read().await.unwrap().ping().await.unwrap();
            }
        };
        tokio::select! {
            biased;
            sealed = wanted.as_mut() => panic!("it did not wait: {sealed:?}"),
            () = meanwhile => {}
        }
        other.rollback().await;
        assert!(wanted.await.unwrap() > 0);
        assert_eq!(test.verified(None).await.unsealed, 0);
    }

    async fn who_did_what_by_which_means(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let [ann, bob, staff] = test.history(&client).await;
        let of_ann = test.events_of(&about(&ann)).await;
        let told: Vec<_> = of_ann.iter().map(|Entry { event, .. }| {
            (event.action.as_str(), event.category, event.actor.as_str(), event.client.as_deref())
        }).collect();
        let pushed = |action| (action, Category::UserSync, "okta test", None);
        assert_eq!(told, [
            pushed("account.created"), pushed("group.member_added"), pushed("account.changed"),
            pushed("group.member_removed"),
        ]);
        assert!(of_ann.iter().all(|entry| entry.event.key.is_some() && entry.event.connection.is_some()));
        assert!(of_ann.iter().all(|entry| entry.position.is_none() && entry.hash.is_none()));
        let held = test.events_of(&about(&bob)).await;
        let held = &held.last().unwrap().event;
        assert_eq!((held.action.as_str(), held.category, held.actor.as_str()), ("account.held", Category::Users, "cli"));
        assert_eq!((held.client.as_deref(), held.key, held.connection), (None, None, None));
        let of_staff = test.events_of(&about(&staff)).await;
        assert_eq!(actions(&of_staff), ["group.created", "group.member_added", "group.member_added", "group.member_removed"]);
        let keys = test.events_of(&Wanted { category: Some(Category::Keys), ..Wanted::default() }).await;
        assert_eq!(actions(&keys), ["key.issued"]);
    }

    async fn what_is_wanted_is_found(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let before = test.app.provision.clock.now();
        let [ann, _, staff] = test.history(&client).await;
        let all = test.events_of(&Wanted::default()).await;
        test.advance(Duration::from_hours(1));
        let later = test.app.provision.clock.now();
        client.change(&format!("/Users/{ann}"), active(true)).await;
        let answer = client.get(&format!("/Users/{ann}")).await;
        assert_eq!(answer.status, 200);
        let last = test.events_of(&Wanted { from: Some(later), ..Wanted::default() }).await;
        assert_eq!(actions(&last), ["account.changed"]);
        let event = &last[0].event;
        for (wanted, count) in [
            (Wanted { until: Some(later), ..Wanted::default() }, all.len()),
            (Wanted { from: Some(before), until: Some(before), ..Wanted::default() }, 0),
            (Wanted { request_id: event.request_id.clone(), ..Wanted::default() }, 1),
            (Wanted { request_id: Some("no such".to_owned()), ..Wanted::default() }, 0),
            (Wanted { action: Some("group.member_added".to_owned()), ..about(&ann) }, 1),
            (Wanted { category: Some(Category::Groups), ..Wanted::default() }, 0),
            (Wanted { connection: event.connection, from: Some(later), ..Wanted::default() }, 1),
            (Wanted { connection: event.connection, ..about(&staff) }, 4),
        ] {
            let found = test.events_of(&wanted).await;
            assert_eq!(found.len(), count, "{wanted:?}: {:?}", actions(&found));
        }
        // Page by page, in both directions, the same.
        for wanted in [Wanted::default(), about(&ann)] {
            let whole: Vec<_> = test.events_of(&wanted).await.into_iter().map(|entry| entry.event.id).collect();
            for backwards in [false, true] {
                let (mut walked, mut from) = (Vec::new(), if backwards { From::NEWEST } else { From::OLDEST });
                loop {
                    let page = test.app.provision.trail(test.id, &wanted, from, 2).await.unwrap();
                    let Some(last) = page.last() else { break };
                    let last = last.event.id.0;
                    from = if backwards { From::Before(last) } else { From::After(last) };
                    walked.extend(page.into_iter().map(|entry| entry.event.id));
                }
                if backwards {
                    walked.reverse();
                }
                assert_eq!(walked, whole);
            }
        }
        // Nobody sees the trail of another instance.
        let neighbour = test.neighbour().await;
        assert_eq!(neighbour.events_of(&about(&ann)).await.len(), 0);
    }

    /// What is looked for is found by an index, however long the trail is.
    async fn finding_reads_what_is_found(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let [ann, ..] = test.history(&client).await;
        let recorder = Recorder::start();
        for (wanted, indexes) in [
            (about(&ann), ["audit_events_by_target", "audit_events_by_member"]),
            (
                Wanted { category: Some(Category::Keys), ..Wanted::default() },
                ["audit_events_by_category"; 2],
            ),
            (
                Wanted { request_id: Some("x".to_owned()), ..Wanted::default() },
                ["audit_events_by_request"; 2],
            ),
        ] {
            let _ = recorder.take();
            test.events_of(&wanted).await;
            let statements = recorder.take();
            let of_trail: Vec<_> =
                statements.iter().filter(|one| one.sql.contains("FROM audit_events")).collect();
            assert!(!of_trail.is_empty());
            for (statement, index) in of_trail.iter().zip(indexes) {
                let plan = plan(&database, &statement.sql).await;
                assert!(plan.contains(index), "{wanted:?}: {}\n{plan}", statement.sql);
            }
        }
    }

    /// Nothing that could be read of a person is left, and the chain holds.
    async fn whoever_is_erased_is_gone_and_the_chain_holds(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let [ann, bob, staff] = test.history(&client).await;
        client.change(&format!("/Users/{ann}"), json!([
            { "op": "replace", "path": "title", "value": "Canary of Ann" },
        ])).await;
        let (provision, author) = (&test.app.provision, test.app.provision.operator());
        let id: AccountId = ann.parse().unwrap();
        let refused = provision.erase(&author, test.id, id).await.unwrap_err().to_string();
        assert!(refused.contains("not deleted"), "{refused}");
        let unknown = provision.erase(&author, test.id, AccountId(test.id.0)).await.unwrap_err().to_string();
        assert!(unknown.contains("there is no account"), "{unknown}");
        let neighbour = test.neighbour().await;
        assert!(provision.erase(&author, neighbour.id, id).await.is_err());
        test.act(&ann, Act::Delete).await;
        let foreseen = provision.foresee_erasure(&author, test.id, id).await.unwrap();
        let before = test.events_of(&about(&ann)).await;
        let erased = provision.erase(&author, test.id, id).await.unwrap();
        assert_eq!(foreseen, erased);
        assert!(erased.account && erased.events >= 5, "{erased:?}");
        let after = test.events_of(&about(&ann)).await;
        let told = json!(after).to_string();
        for canary in ["Canary of Ann", "\"ann\"", "userName"] {
            assert!(!told.contains(canary), "{canary}: {told}");
        }
        // What happened, when, by whom, stays: behind what was there are the removal and the erasure.
        let kept = |entries: &[Entry]| -> Vec<_> {
            entries.iter().map(|entry| (entry.event.id, entry.event.action.clone(), entry.event.actor.clone())).collect()
        };
        assert_eq!(kept(&after)[..before.len()], kept(&before));
        assert_eq!(actions(&after)[before.len()..], ["account.purged", "account.erased"]);
        // Twice is once: nothing is left to erase but the first erasure is not forgotten.
        let again = provision.erase(&author, test.id, id).await;
        assert!(again.is_err(), "{again:?}");
        provision.seal().await.unwrap();
        let found = test.verified(None).await;
        assert_eq!((found.broken, found.erased), (None, i64::try_from(erased.events).unwrap()));
        // Others are as they were, and her name is free for a new person.
        assert_eq!(test.events_of(&about(&bob)).await.len(), 3);
        assert!(json!(test.events_of(&about(&staff)).await).to_string().contains("Staff"));
        let anew = client.user("ann").await;
        assert_ne!(anew, ann);
        test.assert_lawful().await;
    }

    /// What clients send cannot make the trail unreadable, and no secret is in it.
    async fn a_client_may_call_itself_anything(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann").await;
        let long = "x".repeat(5_000);
        for (number, agent) in ["Okta SCIM Client 1.0.0", &long].into_iter().enumerate() {
            let body = person(&format!("user{number}"), json!({}));
            let headers = [("user-agent", agent)];
            let answer = client.send_with("POST", "/Users", &headers, Some(body)).await;
            let found = test.events_of(&about(&answer.text("/id"))).await;
            let kept: String = agent.chars().take(200).collect();
            assert_eq!(found[0].event.client, Some(kept));
        }
        assert_eq!(test.events_of(&about(&ann)).await[0].event.client, None);
        let told = json!(test.events_of(&Wanted::default()).await).to_string();
        assert!(!told.contains(&client.token));
    }
}

fn tampering(database: &Database, instance: InstanceId, sql: &str) -> String {
    let mut sql = sql.to_owned();
    for position in 2..=5 {
        let event = format!(
            "instance_id = $i AND id = (SELECT event_id FROM audit_links WHERE instance_id = $i \
             AND position = {position})"
        );
        sql = sql.replace(&format!("$at{position}"), &event);
    }
    let new = if database.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    sql.replace("$new", new).replace("$i", &literal(database, instance))
}
