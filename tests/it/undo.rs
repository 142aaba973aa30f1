//! Undo: what happened is taken back by what the audit trail says of it, and nothing else is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::undo::Undo;
use scimd::directory::{AccountId, Connection, ConnectionKind, Hand, Timestamp};
use scimd::provision::Error;
use scimd::provision::undo::UndoPreview;
use scimd::store::query::Narrow;
use scimd::store::run_items::Item;
use scimd::store::runs::{Run, RunState};
use serde_json::{Map, Value, json};

use super::support::csv::{Csv, file};
use super::support::history::{History, title};
use super::support::rules::{execute, literal, standing};
use super::support::{ENTERPRISE, TestInstance, both, person};

const HOUR: Duration = Duration::from_hours(1);

/// The random histories that are taken back.
const HISTORIES: u64 = 8;

/// The steps of a history.
const STEPS: usize = 30;

impl TestInstance {
    fn now(&self) -> Timestamp {
        self.app.provision.clock.now()
    }

    /// A while later: what happens from now on is since this time.
    fn later(&self) -> Timestamp {
        self.advance(HOUR * 3);
        self.now()
    }

    async fn begin_undo(&self, undo: &Undo) -> Run {
        let provision = &self.app.provision;
        provision.begin_undo(&provision.operator(), self.id, undo).await.unwrap()
    }

    /// Takes something back, which comes to what was foreseen.
    async fn undo(&self, undo: &Undo) -> (Run, UndoPreview) {
        let provision = &self.app.provision;
        let before = facts(self).await;
        let preview = provision.preview_undo(self.id, undo).await.unwrap();
        assert_eq!(facts(self).await, before, "a preview has changed something");
        let run = self.begin_undo(undo).await;
        let run = provision.work_off(run, |_| ()).await.unwrap();
        assert_eq!((run.state, run.seen), (RunState::Done, preview.events));
        self.assert_lawful().await;
        (run, preview)
    }

    async fn undo_run(&self, run: &Run) -> (Run, UndoPreview) {
        self.undo(&Undo::Run { run: run.id }).await
    }

    async fn undo_connection(
        &self,
        connection: &Connection,
        since: Timestamp,
    ) -> (Run, UndoPreview) {
        self.undo(&Undo::Connection { connection: connection.id, since }).await
    }

    async fn undo_account(&self, id: &str, since: Timestamp) -> (Run, UndoPreview) {
        self.undo(&Undo::Account { account: AccountId(id.parse().unwrap()), since }).await
    }

    async fn lines(&self, run: &Run) -> Vec<Item> {
        self.app.provision.report(run, 0).await.unwrap()
    }
}

/// What the directory knows as facts, and what follows from them: without versions and times.
async fn facts(test: &TestInstance) -> String {
    let (provision, all) = (&test.app.provision, Narrow::All(Vec::new()));
    let mut said = String::new();
    let mut accounts = test.accounts().await;
    accounts.sort_by_key(|account| account.id);
    for account in &accounts {
        writeln!(
            said,
            "{} {} of {:?}, {:?} {} {:?} manager {:?} fields {:?} {:?}",
            account.id,
            standing(account),
            account.connection,
            account.hand.and_then(Hand::in_force),
            account.in_source,
            sorted(&account.document),
            account.manager,
            sorted(&account.fields),
            sorted(&account.local_fields),
        )
        .unwrap();
    }
    for group in provision.groups(test.id, &all, None, 10_000).await.unwrap() {
        let id = group.id.to_string();
        let (_, members) = provision.group(test.id, &id, 1000).await.unwrap().unwrap();
        let mut members: Vec<_> = members.iter().map(|member| member.id.0.to_string()).collect();
        members.sort_unstable();
        let document = sorted(&group.document);
        writeln!(said, "{id} {document:?} {:?} {members:?}", group.connection).unwrap();
    }
    said
}

fn sorted(document: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    document.iter().collect()
}

fn reports_to(manager: &str) -> Value {
    json!({ ENTERPRISE: { "manager": { "value": manager } } })
}

both! {
    /// Attributes, status, groups and manager come back; what somebody else changed since stays.
    async fn one_person_is_as_she_was(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let boss = client.user("boss").await;
        let ann = client.person("ann", reports_to(&boss)).await;
        let bob = client.user("bob").await;
        let staff = client.group("Staff", &[&ann, &bob]).await;
        let before = facts(&test).await;
        let since = test.later();
        client.change(&format!("/Users/{ann}"), title("Cook")).await;
        client.set_active(&ann, false).await;
        client.leave(&staff, &ann).await;
        client.leave(&staff, &bob).await;
        client.put(&format!("/Users/{ann}"), person("ann", json!({ "active": false }))).await;
        assert_eq!(test.manager_of("ann").await, None);
        client.set_active(&bob, false).await;
        let (run, preview) = test.undo_account(&ann, since).await;
        assert_eq!((preview.accounts, preview.joining, preview.changed_since), (1, 1, 0));
        assert_eq!(test.standings(&["ann", "bob"]).await, "ann active, bob suspended: disabled in the identity provider");
        assert_eq!(test.manager_of("ann").await.as_deref(), Some("boss"));
        assert_eq!(client.members(&staff).await, std::slice::from_ref(&ann));
        assert_eq!(run.changed, 2);
        test.undo_account(&bob, since).await;
        assert_eq!(facts(&test).await, before);
        // What the undo did can be taken back, too.
        test.undo_run(&run).await;
        assert_eq!(client.members(&staff).await, [bob]);
        let trail = test.trail(&ann).await;
        let undone = trail.iter().find(|event| event.action == "account.undone").unwrap();
        assert_eq!((undone.run, undone.connection), (Some(run.id), None));
    }

    /// A deleted person comes back with the same id, groups, manager and those who report to her.
    async fn who_was_deleted_comes_back_as_the_same(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let ann = client.user("ann").await;
        let bob = client.person("bob", reports_to(&ann)).await;
        let staff = client.group("Staff", &[&ann, &bob]).await;
        let inner = client.group("Inner", &[&bob]).await;
        client.join(&staff, &inner).await;
        test.scope(&okta, &[&staff]).await;
        let before = facts(&test).await;
        let since = test.later();
        for path in [format!("/Users/{ann}"), format!("/Groups/{staff}"), format!("/Users/{bob}")] {
            assert_eq!(client.delete(&path).await.status, 204);
        }
        let fresh = client.user("ann").await;
        let (run, preview) = test.undo_connection(&okta, since).await;
        assert_eq!((preview.restored, preview.deleted, preview.groups), (2, 1, 1));
        assert_eq!(facts(&test).await, before);
        assert_eq!(test.manager_of("bob").await.as_deref(), Some("ann"));
        assert!(test.any(&fresh).await.deleted_at.is_some());
        test.undo_run(&run).await;
        assert_eq!(test.any("ann").await.id.to_string(), fresh);
        assert_eq!(client.get(&format!("/Groups/{staff}")).await.status, 404);
    }

    /// Names that went round come back, whoever was first.
    async fn names_find_back_to_whom_they_belonged(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let before = facts(&test).await;
        let since = test.later();
        let rename = |name: &str| json!([{ "op": "replace", "path": "userName", "value": name }]);
        for (id, name) in [(&ann, "x"), (&bob, "ann"), (&ann, "bob")] {
            client.change(&format!("/Users/{id}"), rename(name)).await;
        }
        client.user("x").await;
        test.undo_connection(&okta, since).await;
        assert_eq!(facts(&test).await, before);
    }

    /// What was changed again since by somebody else is told, and stays.
    async fn what_was_changed_since_is_reported_and_stays(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "okta").await;
        let ann = client.person("ann", json!({ "title": "Cook" })).await;
        let since = test.later();
        client.change(&format!("/Users/{ann}"), title("Chef")).await;
        client.change(&format!("/Users/{ann}"), json!([{ "op": "add", "path": "nickName", "value": "A" }])).await;
        let cut = client.user("cut").await;
        let gone = client.user("gone").await;
        let staff = client.group("Staff", &[&ann]).await;
        test.advance(Duration::from_millis(1));
        test.act(&cut, Act::Hold).await;
        test.act(&gone, Act::Delete).await;
        let (provision, ids) = (&test.app.provision, [AccountId(gone.parse().unwrap())]);
        let purged = provision.purge(&provision.operator(), test.id, &ids).await;
        assert_eq!(purged.unwrap().len(), 1);
        let other = test.client(ConnectionKind::Entra).await;
        assert_eq!(other.get(&format!("/Users/{ann}")).await.status, 404);
        // An administrator takes her away from the connection and says something of her.
        test.act(&ann, Act::MakeLocal).await;
        let (run, preview) = test.undo_connection(&okta, since).await;
        assert_eq!((preview.accounts, preview.deleted, preview.groups, preview.gone), (1, 0, 1, 1));
        let ann = test.any("ann").await;
        assert_eq!((ann.connection, ann.document.get("title")), (None, Some(&json!("Cook"))));
        assert_eq!(ann.document.get("nickName"), None);
        // Who was held since is not deleted, though the connection had created him.
        assert_eq!(test.standing("cut").await, "suspended: held by an administrator");
        let told = test.lines(&run).await;
        let line = |name: &str| {
            let found = told.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("{told:#?}"));
            found.detail.clone().unwrap()
        };
        assert_eq!(line("cut"), json!({ "changed_since": ["hand"] }));
        assert_eq!(line(""), json!({ "reason": "it was removed for good" }));
        assert_eq!(line("ann"), json!({ "undone": ["nickName", "title"] }));
        assert_eq!(client.get(&format!("/Groups/{staff}")).await.status, 404);
    }

    /// A pull is taken back as a whole: new people go, missing ones come back, changes are what they were.
    async fn a_pull_is_taken_back_and_again(database) {
        let scene = Csv::on(&database).await;
        let test = &scene.test;
        scene.pull(file("title", &["ann,Cook", "bob,Baker", "cat,Clerk", "dan,Driver"])).await;
        let before = facts(test).await;
        test.later();
        let pulled = scene.pull(file("title", &["ann,Chef", "bob,Baker", "cat,Clerk", "eve,Editor"])).await;
        let after = facts(test).await;
        let (undone, preview) = test.undo_run(&pulled.run).await;
        assert_eq!(facts(test).await, before);
        assert_eq!((preview.accounts, preview.deleted), (3, 1));
        let (redone, _) = test.undo_run(&undone).await;
        assert_eq!(facts(test).await, after);
        test.undo_run(&redone).await;
        assert_eq!(facts(test).await, before);
    }

    /// Whoever works on an undo may end in the middle; another one ends it in the same directory.
    async fn an_undo_survives_who_works_on_it(database) {
        let scene = Csv::on(&database).await;
        let test = &scene.test;
        scene.pull(file("", &["ann", "bob"])).await;
        let before = facts(test).await;
        let people: Vec<String> = (0..450).map(|number| format!("p{number}")).collect();
        let mut people: Vec<&str> = people.iter().map(String::as_str).collect();
        people.extend(["ann", "bob"]);
        let pulled = scene.pull(file("", &people)).await;
        let undo = Undo::Run { run: pulled.run.id };
        let provision = &test.app.provision;
        let begun = test.begin_undo(&undo).await;
        let stepped = provision.step(&begun).await.unwrap();
        assert_eq!((stepped.state, stepped.seen), (RunState::Open, 200));
        assert_eq!(provision.finish_runs().await.unwrap(), 0, "somebody works on it");
        test.advance(Duration::from_mins(1));
        assert_eq!(provision.finish_runs().await.unwrap(), 1);
        assert_eq!(facts(test).await, before);
        let run = provision.run(test.id, begun.id).await.unwrap().unwrap();
        // That the run began is an event, too, and nothing to take back.
        assert_eq!((run.state, run.seen, run.changed), (RunState::Done, 451, 450));
        assert_eq!(test.lines(&run).await.len(), 450);
        test.assert_lawful().await;
        // Whoever was thought dead and goes on is told so, and changes nothing.
        let told = provision.step(&stepped).await.unwrap_err();
        assert!(matches!(told, Error::Refused(_)), "{told:?}");
    }

    /// Whatever one connection did, all of it is taken back, and the undo is taken back, too.
    async fn any_history_of_a_connection_is_taken_back(database) {
        let root = TestInstance::on(&database).await;
        for seed in 0..HISTORIES {
            let test = root.named(&format!("Undo {seed}")).await;
            let (okta, client) = test.connected(ConnectionKind::Okta, "okta").await;
            let (_, other) = test.connected(ConnectionKind::Entra, "entra").await;
            let mut history = History::of(seed);
            for name in ["local 1", "local 2"] {
                test.local_person(name, json!({})).await;
            }
            other.user("other").await;
            for _ in 0..STEPS / 2 {
                history.step(&client).await;
            }
            if let (true, Some(group)) = (seed % 2 == 0, history.live_group(&client).await) {
                test.scope(&okta, &[&group]).await;
            }
            let before = facts(&test).await;
            let since = test.later();
            for _ in 0..STEPS {
                history.step(&client).await;
            }
            let after = facts(&test).await;
            let (run, preview) = test.undo_connection(&okta, since).await;
            assert_eq!(facts(&test).await, before, "history {seed}: {preview:#?}\n{:#?}", test.lines(&run).await);
            test.undo_run(&run).await;
            assert_eq!(facts(&test).await, after, "history {seed}");
        }
    }

    /// Nothing of another instance is taken back, nor what is not at its end.
    async fn only_what_is_there_can_be_taken_back(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let (okta, client) = neighbour.connected(ConnectionKind::Okta, "okta").await;
        let ann = client.user("ann").await;
        let run = neighbour.scope(&okta, &[]).await;
        let provision = &test.app.provision;
        for undo in [
            Undo::Run { run: run.id },
            Undo::Connection { connection: okta.id, since: Timestamp(0) },
        ] {
            let refused = provision.begin_undo(&provision.operator(), test.id, &undo).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("there is no"), "{refused}");
        }
        let account = AccountId(ann.parse().unwrap());
        let undo = Undo::Account { account, since: Timestamp(0) };
        let preview = provision.preview_undo(test.id, &undo).await.unwrap();
        assert_eq!(preview.events, 0);
        let open = neighbour.begin_scope(&okta, &[]).await;
        let undo = Undo::Run { run: open.id };
        let refused = provision.begin_undo(&provision.operator(), neighbour.id, &undo).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("has not ended"), "{refused}");
        // The trail of a person who was erased says nothing that could be put back.
        let erased = literal(&database, &ann);
        neighbour.app.provision.seal_instance(neighbour.id).await.unwrap();
        execute(&database, format!(
            "UPDATE audit_events SET before = NULL, after = NULL, erased_at = 1 WHERE target_id = {erased}"
        )).await;
        let undo = Undo::Account { account, since: Timestamp(0) };
        let preview = provision.preview_undo(neighbour.id, &undo).await.unwrap();
        assert_eq!((preview.events, preview.accounts), (1, 0));
    }
}
