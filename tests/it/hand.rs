//! The administrator's hand: what each act makes of each state, how long it counts, and that anybody
//! can be told why.

use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::retention::RETENTION_DAYS_DEFAULT;
use scimd::directory::why::Fact;
use scimd::directory::{Connection, ConnectionKind, Status};
use scimd::provision::{Done, Why};
use serde_json::json;

use super::support::rules::{active, standing};
use super::support::{
    Answer, Client, ENTERPRISE, TestInstance, assert_gone, assert_refused, both, person,
};

const DAY: Duration = Duration::from_hours(24);

/// The states that an account can be in, and what each act makes of it: `=` leaves it as it is, `!`
/// is refused.
const TABLE: &str = "
    state        hold  release   suspend    reactivate   delete   restore   make-local
    active       held  =         by-hand    =            deleted  !         active
    disabled     held  =         by-hand    active       deleted  !         disabled
    out          held  =         by-hand    active       deleted  !         active
    blocked      held  =         by-hand    =            deleted  !         blocked
    held         =     active    !          !            deleted  !         held
    held-off     =     disabled  !          !            deleted  !         held
    by-hand      held  =         =          active       deleted  !         by-hand
    by-hand-off  held  =         =          active       deleted  !         by-hand
    let-in       held  =         by-hand    =            deleted  !         active
    deleted      !     !         !          !            !        active    !
    deleted-idp  !     !         !          !            !        active    !
    held-deleted !     !         !          !            !        held      !
    local        held  =         by-hand    =            deleted  !         =
";

/// The words of the table.
const STANDINGS: &[(&str, &str)] = &[
    ("active", "active"),
    ("let-in", "active"),
    ("local", "active"),
    ("disabled", "suspended: disabled in the identity provider"),
    ("out", "suspended: in no sync group"),
    ("blocked", "blocked: no free seat"),
    ("held", "suspended: held by an administrator"),
    ("held-off", "suspended: held by an administrator"),
    ("by-hand", "suspended: suspended by an administrator"),
    ("by-hand-off", "suspended: suspended by an administrator"),
    ("deleted", "deleted: deleted by an administrator"),
    ("deleted-idp", "deleted: deleted in the identity provider"),
    ("held-deleted", "deleted: deleted in the identity provider"),
];

fn words(state: &str) -> &'static str {
    let found = STANDINGS.iter().find(|(word, _)| *word == state);
    found.unwrap_or_else(|| panic!("no state {state}")).1
}

/// An instance with one connection and one person, Ann, in a state.
struct Case {
    test: TestInstance,
    connection: Connection,
    client: Client,
    ann: String,
}

impl Case {
    async fn of(root: &TestInstance, name: &str, state: &str) -> Self {
        let test = root.named(name).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "okta").await;
        if state == "local" {
            let ann = test.local_person("ann", json!({})).await;
            return Self { test, connection, client, ann };
        }
        let ann = client.user("ann").await;
        let nobody = client.group("Nobody", &[]).await;
        let path = format!("/Users/{ann}");
        if matches!(state, "disabled" | "held-off" | "by-hand-off" | "let-in") {
            client.set_active(&ann, false).await;
        }
        match state {
            "active" | "disabled" => {}
            "out" => drop(test.scope(&connection, &[&nobody]).await),
            "blocked" => {
                client.set_active(&ann, false).await;
                test.limit(0).await;
                client.set_active(&ann, true).await;
            }
            "held" | "held-off" => drop(test.act(&ann, Act::Hold).await),
            "by-hand" | "by-hand-off" => drop(test.act(&ann, Act::Suspend).await),
            "let-in" => drop(test.act(&ann, Act::Reactivate).await),
            "deleted" => drop(test.act(&ann, Act::Delete).await),
            "deleted-idp" => assert_eq!(client.delete(&path).await.status, 204),
            "held-deleted" => {
                test.act(&ann, Act::Hold).await;
                assert_eq!(client.delete(&path).await.status, 204);
            }
            _ => unreachable!("no state {state}"),
        }
        assert_eq!(test.standing(&ann).await, words(state));
        Self { test, connection, client, ann }
    }

    async fn why(&self) -> Why {
        let account = self.test.any(&self.ann).await;
        self.test.app.provision.why(self.test.id, &account).await.unwrap()
    }
}

both! {
    /// Every act in every state, with a preview that says the same, and nothing done next door.
    async fn each_act_makes_of_each_state_what_the_table_says(database) {
        let root = TestInstance::on(&database).await;
        let elsewhere = Case::of(&root, "Elsewhere", "held-off").await;
        let untouched = elsewhere.test.everything().await;
        let mut rows = TABLE.lines().map(str::trim).filter(|row| !row.is_empty());
        let acts: Vec<Act> = rows.next().unwrap().split_whitespace().skip(1)
            .map(|word| Act::from_word(word).unwrap()).collect();
        assert_eq!(acts.len(), Act::ALL.len());
        let mut states = 0;
        for row in rows {
            let mut cells = row.split_whitespace();
            let state = cells.next().unwrap();
            states += 1;
            for (act, cell) in acts.iter().zip(cells) {
                let what = format!("{act} of {state}");
                let case = Case::of(&root, &what, state).await;
                let (test, ann) = (&case.test, &case.ann);
                let before = test.any(ann).await;
                let foreseen = test.foresee(&before, *act).await;
                assert_eq!(test.any(ann).await, before, "{what}: a preview changed something");
                let (trail, done) = (test.trail(ann).await.len(), test.act(ann, *act).await);
                let after = test.any(ann).await;
                let told = |done: &Done| (done.id, done.was, done.is, done.reason, done.changed);
                assert_eq!(told(&foreseen), told(&done), "{what}: the preview was wrong");
                assert_eq!(foreseen.refused.is_some(), done.refused.is_some(), "{what}: {foreseen:?} {done:?}");
                assert_eq!((done.is, done.reason), (after.status, after.reason), "{what}");
                assert_eq!(done.refused.is_some(), cell == "!", "{what}: {done:?}");
                let changes = !matches!(cell, "=" | "!");
                assert_eq!(done.changed, changes, "{what}: {done:?}");
                assert_eq!(test.trail(ann).await.len() - trail, usize::from(changes), "{what}");
                let expected = if changes { words(cell) } else { words(state) };
                assert_eq!(standing(&after), expected, "{what}");
                // Once is as good as twice, except that what is deleted cannot be deleted again.
                let again = test.act(ann, *act).await;
                assert!(!again.changed, "{what} twice: {again:?}");
                test.assert_lawful().await;
            }
        }
        assert_eq!(states, STANDINGS.len());
        assert_eq!(elsewhere.test.everything().await, untouched);
    }

    async fn the_next_word_of_the_identity_provider_ends_all_but_a_hold(database) {
        let root = TestInstance::on(&database).await;
        for (state, after_true, after_false) in [
            ("by-hand", "active", "disabled"), ("by-hand-off", "active", "disabled"),
            ("let-in", "active", "disabled"), ("held", "held", "held"), ("held-off", "held", "held"),
        ] {
            for (is, expected) in [(true, after_true), (false, after_false)] {
                for way in ["PATCH", "PUT"] {
                    let case = Case::of(&root, &format!("{state} {is} {way}"), state).await;
                    let path = format!("/Users/{}", case.ann);
                    // Reading is no word.
                    case.client.get(&path).await;
                    assert_eq!(case.test.standing("ann").await, words(state));
                    let answer = match way {
                        "PATCH" => case.client.patch(&path, active(is)).await,
                        _ => case.client.put(&path, person("ann", json!({ "active": is }))).await,
                    };
                    assert_eq!((answer.status, answer.at("/active")), (200, json!(is)));
                    assert_eq!(answer.standing(), words(expected), "{state}, then {is} by {way}");
                    case.test.assert_lawful().await;
                }
            }
        }
        // The same word again is a word; so is any other change.
        for (operations, state) in [
            (active(true), "by-hand"),
            (json!([{ "op": "replace", "path": "title", "value": "Cook" }]), "by-hand"),
        ] {
            let case = Case::of(&root, &operations.to_string(), state).await;
            let answer = case.client.change(&format!("/Users/{}", case.ann), operations).await;
            assert_eq!(answer.standing(), "active");
        }
    }

    /// The decisive rule, who brought it about, and what would change it.
    async fn why_names_the_rule_its_cause_and_its_remedy(database) {
        let root = TestInstance::on(&database).await;
        for (state, fact, remedy) in [
            ("disabled", Some(Fact::Active), "enable the person in the identity provider"),
            ("out", Some(Fact::Scope), "put the person into a sync group"),
            ("blocked", Some(Fact::Seat), "raise the limit"),
            ("held", Some(Fact::Hand), "release"),
            ("held-off", Some(Fact::Hand), "release"),
            ("by-hand", Some(Fact::Hand), "reactivate"),
            ("let-in", Some(Fact::Hand), "wait for the next word"),
            ("deleted", Some(Fact::Deleted), "restore"),
            ("deleted-idp", Some(Fact::Deleted), "restore"),
            ("held-deleted", Some(Fact::Deleted), "restore"),
            ("active", None, ""),
        ] {
            let case = Case::of(&root, state, state).await;
            let why = case.why().await;
            let facts: Vec<_> = why.rules.iter().map(|cause| cause.rung.fact).collect();
            let all = [Fact::Deleted, Fact::Hand, Fact::Active, Fact::Scope, Fact::Source, Fact::Seat];
            assert_eq!(facts, all);
            let decisive: Vec<_> = why.rules.iter().filter(|cause| cause.rung.decides).collect();
            assert_eq!(decisive.first().map(|cause| cause.rung.fact), fact, "{state}");
            assert_eq!(decisive.len(), usize::from(fact.is_some()), "{state}");
            let Some(rule) = decisive.first() else { continue };
            assert!(rule.rung.applies, "{state}");
            assert!(rule.rung.remedy.unwrap().contains(remedy), "{state}: {:?}", rule.rung);
            let by = rule.by.as_ref().unwrap_or_else(|| panic!("{state}: nobody did it"));
            let last = case.test.trail(&case.ann).await.pop().unwrap();
            assert_eq!((by.at, &by.actor, &by.action), (last.at, &last.actor, &last.action), "{state}");
            let by_idp = matches!(state, "disabled" | "blocked" | "deleted-idp" | "held-deleted");
            assert_eq!(by.request_id.is_some(), by_idp, "{state}: {by:?}");
            assert_eq!(by.actor == "okta", by_idp, "{state}: {by:?}");
            assert_eq!(by.run.is_some(), state == "out", "{state}: {by:?}");
            let queued = case.test.any("ann").await.queued_at;
            assert_eq!((why.queued_at.is_some(), why.queued_at), (state == "blocked", queued));
        }
        // The request is the one that the client was told, and later events do not hide it.
        let case = Case::of(&root, "request", "active").await;
        let disabled = case.client.set_active(&case.ann, false).await;
        let request = disabled.header("x-request-id").to_owned();
        assert!(!request.is_empty());
        let op = json!([{ "op": "replace", "path": "title", "value": "Cook" }]);
        case.client.change(&format!("/Users/{}", case.ann), op).await;
        let why = case.why().await;
        let by = why.rules[2].by.as_ref().unwrap();
        assert_eq!(by.request_id.as_ref(), Some(&request));
        // A word that no longer counts is still told.
        case.test.act(&case.ann, Act::Suspend).await;
        case.test.advance(DAY);
        case.client.set_active(&case.ann, true).await;
        let hand = case.why().await.hand.unwrap();
        assert_eq!(hand.overtaken_at.unwrap().0 - hand.at.0, 24 * 60 * 60 * 1000);
        // A run that changes the scope is named by all whom it moved.
        let nobody = case.client.group("Still nobody", &[]).await;
        let run = case.test.scope(&case.connection, &[&nobody]).await;
        let by = case.why().await.rules.remove(3).by.unwrap();
        assert_eq!((by.run, by.cause), (Some(run.id.to_string()), Some(json!({ "setting": "scope" }))));
    }

    /// Whoever is restored has id, groups, manager and reports again.
    async fn a_restored_person_has_all_again(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Entra, "entra").await;
        let boss = client.user("boss").await;
        let managed = |by: &str| json!({ "externalId": "x1", ENTERPRISE: { "manager": by } });
        let ann = client.person("ann", managed("boss")).await;
        client.person("bob", json!({ ENTERPRISE: { "manager": "ann" } })).await;
        let staff = client.group("Staff", &[&ann, &boss]).await;
        test.scope(&connection, &[&staff]).await;
        let shown = |mut answer: Answer| {
            answer.body.as_object_mut().unwrap().remove("meta");
            answer.body
        };
        let path = format!("/Users/{ann}");
        let before = shown(client.get(&path).await);
        for hand in [true, false] {
            if hand {
                assert_eq!(test.act(&ann, Act::Delete).await.is, Status::Deleted);
            } else {
                assert_eq!(client.delete(&path).await.status, 204);
            }
            assert_gone(&client, "/Users", &ann).await;
            assert_eq!(test.manager_of("bob").await, None);
            test.advance(DAY * u32::try_from(RETENTION_DAYS_DEFAULT).unwrap());
            let done = test.act(&ann, Act::Restore).await;
            assert_eq!((done.id.to_string(), done.is, done.refused), (ann.clone(), Status::Active, None));
            assert_eq!(shown(client.get(&path).await), before);
            assert_eq!(client.count("/Users", "externalId eq \"x1\"").await, 1);
            assert_eq!(client.members(&staff).await.len(), 2);
            assert_eq!(test.manager_of("ann").await.as_deref(), Some("boss"));
            assert_eq!(test.manager_of("bob").await.as_deref(), Some("ann"));
            test.assert_lawful().await;
        }
        // What happened meanwhile counts.
        test.act(&ann, Act::Delete).await;
        client.leave(&staff, &ann).await;
        assert_eq!(client.delete(&format!("/Users/{boss}")).await.status, 204);
        test.act(&ann, Act::Restore).await;
        assert_eq!(test.standing("ann").await, "suspended: in no sync group");
        assert_eq!(test.manager_of("ann").await, None);
        assert_eq!(test.manager_of("bob").await, None);
        test.assert_lawful().await;
    }

    async fn who_is_restored_takes_a_seat_or_waits_for_one(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        test.limit(2).await;
        test.act(&ann, Act::Delete).await;
        client.user("cy").await;
        test.advance(DAY);
        client.user("dee").await;
        test.advance(DAY);
        let done = test.act(&ann, Act::Restore).await;
        assert_eq!((done.is, test.queue().await), (Status::Blocked, vec!["dee".to_owned(), "ann".to_owned()]));
        test.act(&bob, Act::Delete).await;
        assert_eq!(test.queue().await, ["ann"]);
        assert_eq!(test.limit(3).await.waiting, 0);
        assert_eq!(test.act(&bob, Act::Restore).await.is, Status::Blocked);
        test.assert_lawful().await;
    }

    async fn what_cannot_be_restored_is_refused_and_stays_deleted(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        test.act(&ann, Act::Delete).await;
        assert_eq!(client.delete(&format!("/Users/{bob}")).await.status, 204);
        let other = client.user("ANN").await;
        let before = test.everything().await;
        let done = test.act(&ann, Act::Restore).await;
        assert_eq!((done.is, done.changed), (Status::Deleted, false));
        assert!(done.refused.as_ref().unwrap().contains("ann"), "{done:?}");
        let months = DAY * u32::try_from(RETENTION_DAYS_DEFAULT).unwrap();
        test.advance(months + Duration::from_millis(1));
        for id in [&ann, &bob] {
            let done = test.act(id, Act::Restore).await;
            let why = done.refused.unwrap();
            assert!(why.contains("30 days"), "{why}");
            assert_eq!((done.is, done.changed), (Status::Deleted, false));
        }
        assert_eq!(test.everything().await, before);
        assert!(!test.act(&other, Act::Restore).await.changed);
    }

    /// Whose connection lets go of her is out of its sight until it picks her up again.
    async fn who_is_made_local_is_picked_up_again_by_the_next_write(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let ann = okta.user("ann").await;
        test.act(&ann, Act::MakeLocal).await;
        let path = format!("/Users/{ann}");
        let refused = okta.delete(&path).await;
        assert!(assert_refused(&refused, 403, "").contains("Local"));
        assert_eq!(entra.post("/Users", person("ann", json!({}))).await.text("/id"), ann);
        assert_gone(&okta, "/Users", &ann).await;
        test.assert_lawful().await;
    }

    async fn a_filter_chooses_by_status_groups_and_document(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let client = test.okta().await;
        let (ann, bob) = (client.person("ann", json!({ "title": "Cook" })).await, client.user("bob").await);
        let cy = client.person("cy", json!({ "active": false })).await;
        let dee = client.user("dee").await;
        let staff = client.group("Staff", &[&ann, &cy]).await;
        test.act(&bob, Act::Hold).await;
        test.act(&dee, Act::Delete).await;
        neighbour.okta().await.person("ann", json!({ "title": "Cook" })).await;
        let urn = "urn:ietf:params:scim:schemas:extension:scimd:2.0:User";
        for (filter, act, expected) in [
            (format!("groups.value eq \"{staff}\""), Act::Hold, "ann cy"),
            ("groups.display eq \"staff\" and active eq true".to_owned(), Act::Hold, "ann"),
            (format!("{urn}:status eq \"suspended\""), Act::Release, "bob cy"),
            (format!("{urn}:statusReason sw \"held\""), Act::Release, "bob"),
            ("title eq \"cook\"".to_owned(), Act::Delete, "ann"),
            ("userName pr".to_owned(), Act::Suspend, "ann bob cy"),
            ("userName pr".to_owned(), Act::Restore, "dee"),
            (format!("id eq \"{dee}\""), Act::Hold, ""),
        ] {
            let chosen = test.app.provision.choose(test.id, &filter, act).await.unwrap();
            let mut names: Vec<_> = chosen.iter().map(|one| one.user_name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names.join(" "), expected, "{filter}");
        }
        for wrong in ["", "userName", "nonsense eq \"x\""] {
            assert!(test.app.provision.choose(test.id, wrong, Act::Hold).await.is_err(), "{wrong}");
        }
    }

    async fn no_act_reaches_another_instance(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let client = neighbour.okta().await;
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        test.act_fails(&ann).await;
        neighbour.act(&bob, Act::Delete).await;
        let before = (neighbour.everything().await, neighbour.any(&bob).await);
        for id in [&ann, &bob] {
            test.act_fails(id).await;
            assert!(test.app.provision.account_for(test.id, id, None).await.unwrap().is_none());
        }
        assert_eq!((neighbour.everything().await, neighbour.any(&bob).await), before);
    }
}

impl TestInstance {
    /// Does everything to an account of another instance.
    async fn act_fails(&self, id: &str) {
        let provision = &self.app.provision;
        for act in Act::ALL {
            let done =
                provision.act(&provision.operator(), self.id, id.parse().unwrap(), *act).await;
            assert!(done.is_err(), "{act}: {done:?}");
        }
    }
}
