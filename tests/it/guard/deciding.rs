//! What administrators decide.

use scimd::directory::AccountId;
use scimd::directory::undo::Undo;

use super::super::support::ENTERPRISE;
use super::*;

both! {
    /// A manager goes with those who report to her, in one page: each finds the others as they are now.
    async fn managers_and_their_reports_are_deleted_together(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
        let boss = client.user("boss").await;
        let manager = json!({ ENTERPRISE: { "manager": { "value": boss } } });
        let ann = client.person("ann", manager.clone()).await;
        let bob = client.person("bob", manager).await;
        for id in [&boss, &ann, &bob] {
            assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
        }
        let decided = test.decide_held(&connection, HeldDecision::Apply).await;
        assert_eq!((decided.deletions, decided.refused.len()), (3, 0));
        assert_eq!(test.accounts().await, []);
        test.assert_lawful().await;
    }

    /// What was applied by mistake is taken back: it is held again, and the people are in.
    async fn what_was_applied_is_held_again_by_an_undo(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
        let ann = client.user("ann").await;
        client.set_active(&ann, false).await;
        test.advance(Duration::from_hours(1));
        let since = test.app.provision.clock.now();
        test.decide_held(&connection, HeldDecision::Apply).await;
        assert_eq!(test.standing("ann").await, "suspended: disabled in the identity provider");
        let provision = &test.app.provision;
        let undo = Undo::Account { account: AccountId(ann.parse().unwrap()), since };
        let run = provision.begin_undo(&provision.operator(), test.id, &undo).await.unwrap();
        assert_eq!(provision.work_off(run, |_| ()).await.unwrap().changed, 1);
        assert_eq!(test.standing("ann").await, "active");
        assert_eq!(test.held(&connection).await, ["suspension of account ann"]);
        test.assert_lawful().await;
    }

    /// What is applied is as if the client had said it now; what is discarded was never said.
    async fn what_is_held_is_applied_or_discarded(database) {
        let root = TestInstance::on(&database).await;
        for decision in [HeldDecision::Apply, HeldDecision::Discard] {
            let test = root.named(&format!("{decision:?}")).await;
            let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
            let [ann, bob, cho, dee] = client.users(["ann", "bob", "cho", "dee"]).await;
            let staff = client.group("Staff", &[&ann, &bob, &dee]).await;
            let gone = client.group("Gone", &[&ann]).await;
            client.set_active(&ann, false).await;
            client.set_active(&cho, false).await;
            client.leave(&staff, &dee).await;
            for path in [format!("/Users/{bob}"), format!("/Users/{cho}"), format!("/Groups/{gone}")] {
                assert_eq!(client.delete(&path).await.status, 204);
            }
            assert_eq!(test.held(&connection).await, [
                "suspension of account ann", "suspension of account cho", "deletion of account bob",
                "deletion of account cho", "dee leaves Staff", "deletion of group Gone",
            ]);
            test.assert_lawful().await;
            let before = test.guard_state(&connection).await.people;
            assert_eq!((before.may_enter, before.suspended, before.deleted), (4, 0, 0));
            let author = test.app.provision.operator();
            let (_, foreseen, exact) = test.app.provision.foresee_held(&author, &connection).await.unwrap();
            assert!(exact);
            let decided = test.decide_held(&connection, decision).await;
            assert_eq!((decided.suspensions, decided.removals, decided.group_deletions), (2, 1, 1));
            let after = test.guard_state(&connection).await.people;
            let members = client.members(&staff).await;
            match decision {
                HeldDecision::Apply => {
                    assert_eq!(after, foreseen);
                    assert_eq!((after.may_enter, after.suspended, after.deleted), (1, 1, 2));
                    assert_eq!(client.active(&ann).await, false);
                    assert_refused(&client.get(&format!("/Users/{bob}")).await, 404, "");
                    assert_refused(&client.get(&format!("/Groups/{gone}")).await, 404, "");
                    assert_eq!(members, [ann.as_str()]);
                    // The name is free: somebody new comes.
                    assert_ne!(client.user("bob").await, bob);
                }
                HeldDecision::Discard => {
                    assert_eq!(decided.deletions, 1, "cho was there with her suspension already");
                    assert_eq!(after, before);
                    for id in [&ann, &bob, &cho, &dee] {
                        assert_eq!(client.active(id).await, true);
                    }
                    assert_eq!(client.members(&gone).await, [ann.as_str()]);
                    assert_eq!(members.len(), 3);
                }
            }
            let decided = test.trail(&connection.id.to_string()).await.pop().unwrap();
            let action = if decision == HeldDecision::Apply { "connection.guard_applied" } else { "connection.guard_discarded" };
            assert_eq!((decided.action.as_str(), decided.actor.as_str()), (action, "cli"));
            test.assert_lawful().await;
        }
    }

    /// One of many is decided by itself; others wait.
    async fn one_is_decided_by_itself(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
        let [ann, bob] = client.users(["ann", "bob"]).await;
        client.set_active(&ann, false).await;
        client.set_active(&bob, false).await;
        let (provision, author) = (&test.app.provision, test.app.provision.operator());
        let only = Some(ann.parse().unwrap());
        let decided = provision.decide_held(&author, &connection, HeldDecision::Apply, only).await.unwrap();
        assert_eq!(decided.suspensions, 1);
        assert_eq!(test.held(&connection).await, ["suspension of account bob"]);
        let only = Some(bob.parse().unwrap());
        provision.decide_held(&author, &connection, HeldDecision::Discard, only).await.unwrap();
        assert_eq!((client.active(&ann).await, client.active(&bob).await), (json!(false), json!(true)));
        // What is said again is judged anew.
        client.set_active(&bob, false).await;
        assert_eq!(test.held(&connection).await, ["suspension of account bob"]);
        test.assert_lawful().await;
    }

    /// More members than one page of a decision has.
    async fn a_large_group_is_decided_page_by_page(database) {
        let root = TestInstance::on(&database).await;
        for decision in [HeldDecision::Apply, HeldDecision::Discard] {
            let test = root.named(&format!("{decision:?}")).await;
            let (connection, client) = test.guarded(at_most(9, 9, 100)).await;
            let count = u32::try_from(GUARD_PAGE * 2 + 50).unwrap();
            fill(&database, &connection, "p", count).await;
            let staff = client.group("Staff", &[]).await;
            enrol(&database, &staff, "p").await;
            let body = json!({ "schemas": [GROUP], "displayName": "Staff", "members": [] });
            assert_eq!(client.put(&format!("/Groups/{staff}"), body).await.status, 200);
            assert_eq!(client.members(&staff).await.len(), 0);
            let provision = &test.app.provision;
            let (mut after, mut seen) = (None, 0);
            loop {
                let page = provision.held_changes(&connection, after, 60).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.mark.to_string().parse().unwrap());
                seen += page.len();
            }
            assert_eq!(seen, usize::try_from(count).unwrap());
            let decided = test.decide_held(&connection, decision).await;
            assert_eq!(decided.removals, i64::from(count));
            let left = if decision == HeldDecision::Apply { 0 } else { usize::try_from(count).unwrap() };
            assert_eq!(test.members("Staff").await.len(), left);
            assert_eq!(client.members(&staff).await.len(), left);
            test.assert_lawful().await;
        }
    }

    /// A client that goes on while an administrator decides is held or not, but never lost.
    async fn deciding_and_pushing_at_once_loses_nothing(database) {
        let root = TestInstance::on(&database).await;
        for round in 0..5 {
            let test = root.named(&format!("Round {round}")).await;
            let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
            let mut ids = Vec::new();
            for n in 0..12 {
                ids.push(client.user(&format!("p{n}")).await);
            }
            for id in &ids {
                client.set_active(id, false).await;
            }
            let barrier = Arc::new(Barrier::new(2));
            let (there, back) = (Arc::clone(&barrier), client.clone());
            let own = ids.clone();
            let pushing = tokio::spawn(async move {
                there.wait().await;
                for id in own.iter().rev() {
                    back.set_active(id, true).await;
                }
            });
            barrier.wait().await;
            let author = test.app.provision.operator();
            test.app.provision.decide_held(&author, &connection, HeldDecision::Apply, None).await.unwrap();
            pushing.await.unwrap();
            for id in &ids {
                assert_eq!(test.standing(id).await, "active", "round {round}");
            }
            assert_eq!(test.held(&connection).await, [""; 0]);
            test.assert_lawful().await;
        }
    }
}
