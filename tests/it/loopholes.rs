//! Ways round the rules that must stay closed.

use std::sync::Arc;

use scimd::directory::hand::Act;
use scimd::directory::{ConnectionKind, Incomplete, PickUp};
use scimd::provision::Decision;
use scimd::provision::settings::SettingsChange;
use scimd::store::claims::Wanted;
use serde_json::json;
use tokio::sync::Barrier;

use super::support::rules::{DIRECTORY, join, leave};
use super::support::{ENTERPRISE, Recorder, TestInstance, assert_refused, both, team};

both! {
    /// Neither the identity provider nor a deletion by hand gets anybody round a hold.
    async fn a_hold_outlives_a_deletion(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for (name, by_hand) in [("ann", false), ("bob", true)] {
            let id = client.user(name).await;
            test.act(&id, Act::Hold).await;
            if by_hand {
                test.act(&id, Act::Delete).await;
            } else {
                assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
            }
            // Created anew, and restored once that name is free again.
            let again = client.user(&name.to_uppercase()).await;
            assert_eq!(test.standing(&again).await, "suspended: held by an administrator", "{name}");
            assert_eq!(client.delete(&format!("/Users/{again}")).await.status, 204);
            test.act(&id, Act::Restore).await;
            assert_eq!(test.standing(&id).await, "suspended: held by an administrator", "{name}");
            // A released hold is over for whoever comes after, too.
            test.act(&id, Act::Release).await;
            assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
            let anew = client.user(name).await;
            assert_eq!(test.standing(&anew).await, "active", "{name}");
        }
        test.assert_lawful().await;
    }

    /// What others did to a person is no secret; who they are and in which groups is.
    async fn why_does_not_tell_of_other_connections(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "Okta").await;
        let entra = test.entra().await;
        let ann = client.user("ann").await;
        let group = client.group("Secret project", &[]).await;
        test.scope(&okta, &[&group]).await;
        client.join(&group, &ann).await;
        test.act(&ann, Act::MakeLocal).await;
        let why = entra.get(&format!("/Users/{ann}/.why")).await;
        assert_eq!(why.status, 200);
        let told = why.body.to_string();
        for secret in ["Okta", "Secret project", group.as_str()] {
            assert!(!told.contains(secret), "{secret}: {told}");
        }
        assert!(told.contains("another connection"), "{told}");
        // An administrator reads it all.
        let all = test.app.provision.why(test.id, &test.any(&ann).await).await.unwrap();
        assert!(serde_json::to_string(&all).unwrap().contains("Secret project"));
    }

    /// The documents of a long history are not in memory together.
    async fn a_long_history_is_searched_in_parts(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.user("ann").await;
        for title in 0..45 {
            let op = json!([{ "op": "replace", "path": "title", "value": title.to_string() }]);
            client.change(&format!("/Users/{ann}"), op).await;
        }
        let recorder = Recorder::start();
        let why = client.get(&format!("/Users/{ann}/.why")).await;
        let most = recorder.take().iter().map(|statement| statement.rows).max();
        assert!(most <= Some(20), "{most:?}");
        assert_eq!(why.at("/rules/2/by/action"), "account.created");
    }

    async fn who_decides_the_scope_of_one_connection_is_no_business_of_another(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "Okta").await;
        let entra = test.entra().await;
        let staff = test.local_group("Staff").await;
        let ann = client.user("ann").await;
        test.scope(&okta, &[&staff]).await;
        let told = entra.patch(&format!("/Groups/{staff}"), leave(&ann)).await;
        assert!(assert_refused(&told, 403, "").contains("\"Okta\""), "{told:?}");
        let told = entra.post("/Groups", team("staff", &[])).await;
        assert_refused(&told, 403, "");
        client.join(&staff, &ann).await;
        assert_eq!(test.standing(&ann).await, "active");
    }

    /// Whom a connection cannot see among the members it cannot remove.
    async fn nobody_is_removed_by_who_cannot_see_her(database) {
        let test = TestInstance::on(&database).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let ann = test.local_person("ann", json!({})).await;
        let team = entra.group("Team", &[&ann]).await;
        let off = json!([{ "op": "replace", "path": "title", "value": "x" }]);
        okta.change(&format!("/Users/{ann}"), off).await;
        let before = entra.get(&format!("/Groups/{team}")).await;
        assert_eq!(before.at("/members"), json!([]));
        for operations in [
            leave(&ann),
            json!([{ "op": "Remove", "path": "members", "value": [{ "value": ann }] }]),
            json!([{ "op": "remove", "path": "members" }]),
            json!([{ "op": "replace", "path": "members", "value": [] }]),
        ] {
            let after = entra.change(&format!("/Groups/{team}"), operations).await;
            assert_eq!(after.at("/meta/version"), before.at("/meta/version"));
        }
        let (_, members) = test.app.provision.group(test.id, &team, 10).await.unwrap().unwrap();
        assert_eq!(members.len(), 1);
    }

    /// What the client said before the administrator spoke does not overtake the administrator.
    async fn an_accepted_claim_is_no_newer_than_it_is(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Entra, "Entra").await;
        let provision = &test.app.provision;
        let asks = SettingsChange { pick_up: Some(PickUp::WithApproval), ..SettingsChange::default() };
        provision.set_connection_settings(&provision.operator(), &connection, asks).await.unwrap();
        let ann = test.local_person("ann", json!({})).await;
        let title = |text: &str| json!([{ "op": "replace", "path": "title", "value": text }]);
        client.change(&format!("/Users/{ann}"), title("x")).await;
        test.advance(std::time::Duration::from_secs(1));
        test.act(&ann, Act::Suspend).await;
        test.advance(std::time::Duration::from_secs(1));
        let asked = provision.approvals(test.id, &Wanted::default(), None, 10).await.unwrap();
        provision.decide(&provision.operator(), test.id, asked[0].id, Decision::Accept).await.unwrap();
        assert_eq!(test.standing(&ann).await, "suspended: suspended by an administrator");
        client.change(&format!("/Users/{ann}"), title("y")).await;
        assert_eq!(test.standing(&ann).await, "active");
    }

    /// A filter sees what the protocol shows, so that its negation does not select everybody.
    async fn a_filter_sees_the_whole_extension(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "Okta").await;
        client.user("ann").await;
        test.local_person("bob", json!({})).await;
        let urn = DIRECTORY;
        for (filter, names) in [
            (format!("{urn}:directoryKey eq \"{}\"", okta.directory_key), vec!["ann"]),
            (format!("not ({urn}:directoryKey pr)"), vec!["bob"]),
            ("meta.resourceType ne \"User\"".to_owned(), vec![]),
            ("groups pr".to_owned(), vec![]),
        ] {
            let chosen = test.app.provision.choose(test.id, &filter, Act::Hold).await.unwrap();
            let chosen: Vec<_> = chosen.into_iter().map(|account| account.user_name).collect();
            assert_eq!(chosen, names, "{filter}");
        }
    }

    /// A preview counts seats, knows the last protected account, and changes nothing.
    async fn a_preview_says_what_the_act_would(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for name in ["ann", "bob", "cy"] {
            client.user(name).await;
        }
        let root = test.local_person("root", json!({})).await;
        let provision = &test.app.provision;
        let author = provision.operator();
        provision.set_protected(&author, test.id, root.parse().unwrap(), true).await.unwrap();
        for name in ["ann", "bob"] {
            test.act(&test.any(name).await.id.to_string(), Act::Suspend).await;
        }
        test.limit(2).await;
        let before = test.everything().await;
        let chosen = [test.any("ann").await, test.any("root").await, test.any("bob").await];
        let reactivate =
            provision.rehearse(&author, test.id, &chosen, Act::Reactivate).await.unwrap();
        let outcome: Vec<_> = reactivate.iter().map(|done| done.is.word()).collect();
        assert_eq!(outcome, ["active", "active", "blocked"]);
        let hold = provision.rehearse(&author, test.id, &chosen, Act::Hold).await.unwrap();
        let refused: Vec<_> = hold.iter().map(|done| done.refused.is_some()).collect();
        assert_eq!(refused, [false, true, false]);
        assert_eq!(test.everything().await, before);
    }

    async fn who_would_enter_is_counted_from_what_is_taken(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        test.limit(3).await;
        for name in ["ann", "bob", "cy", "dee", "eve"] {
            client.user(name).await;
        }
        test.limit(1).await;
        for (more, names) in [(1, vec![]), (2, vec![]), (3, vec!["dee"]), (9, vec!["dee", "eve"])] {
            let found = test.app.provision.entering_with(test.id, more).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|account| account.user_name).collect();
            assert_eq!(found, names, "{more} more");
        }
    }

    /// Who names herself as her manager costs nobody else anything.
    async fn circles_elsewhere_cost_nothing(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let managed = |by: &str| json!({ ENTERPRISE: { "manager": { "value": by } } });
        client.person("boss", json!({})).await;
        let ann = client.person("ann", managed("boss")).await;
        let to = |whom: &str| {
            json!([{ "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": whom }])
        };
        let path = format!("/Users/{ann}");
        let recorder = Recorder::start();
        client.change(&path, to("nobody")).await;
        let alone = recorder.take().len();
        client.change(&path, to("boss")).await;
        for name in ["x", "y", "z"] {
            client.person(name, managed(name)).await;
        }
        let _ = recorder.take();
        client.change(&path, to("nobody")).await;
        assert_eq!(recorder.take().len(), alone);
    }

    /// Settings that were changed while a person was deleted count when the person comes back.
    async fn a_restored_person_meets_the_settings_of_today(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.connected(ConnectionKind::Okta, "Okta").await;
        let ann = client.user("ann").await;
        assert_eq!(client.delete(&format!("/Users/{ann}")).await.status, 204);
        let provision = &test.app.provision;
        let change = SettingsChange {
            required: Some(vec!["name.familyName".to_owned()]),
            incomplete: Some(Incomplete::Keep),
            ..SettingsChange::default()
        };
        provision.set_connection_settings(&provision.operator(), &connection, change).await.unwrap();
        test.act(&ann, Act::Restore).await;
        assert_eq!(test.any(&ann).await.missing, ["name.familyName"]);
    }

    /// A first limit and a change of scope at once: nobody is counted twice or not at all.
    async fn a_first_limit_beside_a_change_of_members_counts_right(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "Okta").await;
        let ann = client.user("ann").await;
        let bob = client.user("bob").await;
        let group = client.group("Sync", &[&bob]).await;
        test.scope(&okta, &[&group]).await;
        for round in 0..20 {
            test.set_limit(scimd::provision::Limit::Unlimited).await;
            let change = if round % 2 == 0 { join(&ann) } else { leave(&ann) };
            let barrier = Arc::new(Barrier::new(2));
            let (other, path, client) =
                (Arc::clone(&barrier), format!("/Groups/{group}"), client.clone());
            let moving = tokio::spawn(async move {
                other.wait().await;
                client.patch(&path, change).await.status
            });
            barrier.wait().await;
            test.limit(1).await;
            assert_eq!(moving.await.unwrap(), 200, "round {round}");
            test.assert_lawful_beyond(2).await;
        }
    }

    /// A scope that names a group while the group is deleted.
    async fn a_group_that_goes_while_a_scope_names_it_brings_nobody(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.connected(ConnectionKind::Okta, "Okta").await;
        let ann = client.user("ann").await;
        let stays = client.group("Stays", &[]).await;
        for round in 0..20 {
            test.scope(&okta, &[&stays]).await;
            let goes = client.group(&format!("Goes {round}"), &[&ann]).await;
            let barrier = Arc::new(Barrier::new(2));
            let (other, path, deleter) =
                (Arc::clone(&barrier), format!("/Groups/{goes}"), client.clone());
            let deleting = tokio::spawn(async move {
                other.wait().await;
                deleter.delete(&path).await.status
            });
            barrier.wait().await;
            let provision = &test.app.provision;
            let ids = [stays.parse().unwrap(), goes.parse().unwrap()];
            let author = provision.operator();
            let scope = scimd::directory::Scope::Groups;
            if let Ok(run) = provision.set_scope(&author, &okta, scope, &ids).await {
                provision.work_off(run, |_| ()).await.unwrap();
            }
            assert_eq!(deleting.await.unwrap(), 204, "round {round}");
            assert_eq!(test.standing(&ann).await, "suspended: in no sync group", "round {round}");
        }
    }
}
