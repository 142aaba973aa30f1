//! When the guard trips.

use super::*;

both! {
    /// Losses count for as long as the window is.
    async fn the_window_slides(database) {
        let test = TestInstance::on(&database).await;
        let hour = PushGuard { window_minutes: 60, ..at_most(1, 1, 1) };
        let (connection, client) = test.guarded(hour).await;
        let [ann, bob, cho] = client.users(["ann", "bob", "cho"]).await;
        client.set_active(&ann, false).await;
        test.advance(Duration::from_hours(1));
        client.set_active(&bob, false).await;
        assert_eq!(test.held(&connection).await, [""; 0]);
        test.advance(Duration::from_mins(59));
        client.set_active(&cho, false).await;
        assert_eq!(test.held(&connection).await, ["suspension of account cho"]);
        // Old losses are forgotten some day, held changes are not.
        test.advance(Duration::from_hours(31 * 24));
        test.app.provision.purge_overdue().await.unwrap();
        assert_eq!(test.guard_state(&connection).await.lost, Losses::default());
        assert_eq!(test.held(&connection).await, ["suspension of account cho"]);
        test.assert_lawful().await;
    }

    /// A share counts from twenty losses on, and of those who were there before them.
    async fn a_share_of_the_people_is_a_limit_too(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(PushGuard { percent_max: 50, ..at_most(500, 500, 500) }).await;
        fill(&database, &connection, "p", 60).await;
        let ids: Vec<_> = test.accounts().await.iter().map(|account| account.id.to_string()).collect();
        for id in &ids {
            client.set_active(id, false).await;
        }
        let state = test.guard_state(&connection).await;
        assert_eq!((state.people.suspended, state.holding.suspensions), (30, 30));
        test.assert_lawful().await;
        // Twenty of twenty are no accident.
        let test = test.named("Small").await;
        let (connection, client) = test.guarded(PushGuard::default()).await;
        for n in 0..20 {
            let id = client.user(&format!("p{n}")).await;
            assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
        }
        assert_eq!(test.held(&connection).await, [""; 0]);
        assert_eq!(test.guard_state(&connection).await.lost.of(LossKind::Deletion), 20);
    }

    /// A bulk request is judged by all that it says, before the first of it happens.
    async fn a_bulk_request_is_judged_as_a_whole(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(2, 2, 2)).await;
        let ids = client.users(["ann", "bob", "cho", "dee"]).await;
        client.disable(&ids[..3]).await;
        assert_eq!(test.held(&connection).await.len(), 3, "none of three where two may go");
        let operations: Vec<_> = ids.iter()
            .map(|id| json!({ "method": "DELETE", "path": format!("/Users/{id}") }))
            .chain([json!({ "method": "POST", "path": "/Users", "bulkId": "1", "data": person("eve", json!({})) })])
            .collect();
        let answer = client.in_bulk(json!(operations)).await;
        for (n, status) in ["204", "204", "204", "204", "201"].iter().enumerate() {
            assert_eq!(answer.at(&format!("/Operations/{n}/status")), *status, "{answer:?}");
        }
        let state = test.guard_state(&connection).await;
        assert_eq!((state.holding.deletions, state.people.may_enter), (4, 5));
        assert_eq!(client.count("/Users", "userName pr").await, 1);
        test.assert_lawful().await;
    }

    /// Who pushes at once sees nothing of the other: at most as many as there are of them slip through.
    async fn two_clients_at_once_overshoot_by_one_at_most(database) {
        let root = TestInstance::on(&database).await;
        for round in 0..10 {
            let test = root.named(&format!("Round {round}")).await;
            let (connection, client) = test.guarded(at_most(5, 5, 5)).await;
            let mut ids = Vec::new();
            for n in 0..20 {
                ids.push(client.user(&format!("p{n}")).await);
            }
            let barrier = Arc::new(Barrier::new(2));
            let (first, second) = ids.split_at(10);
            let both = [first.to_vec(), second.to_vec()].map(|ids| {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    for id in ids {
                        client.set_active(&id, false).await;
                    }
                })
            });
            for one in both {
                one.await.unwrap();
            }
            let state = test.guard_state(&connection).await;
            assert!((5..=6).contains(&state.people.suspended), "round {round}: {state:?}");
            assert_eq!(state.people.suspended + state.holding.suspensions, 20, "round {round}");
            test.assert_lawful().await;
        }
    }

    /// Without the guard, and for who is out already, everything is as it always was.
    async fn what_is_no_loss_or_not_guarded_is_not_held(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(PushGuard { on: false, ..at_most(0, 0, 0) }).await;
        let [ann, bob] = client.users(["ann", "bob"]).await;
        client.set_active(&ann, false).await;
        assert_eq!(test.standing("ann").await, "suspended: disabled in the identity provider");
        let connection = test.set_guard(&connection, at_most(0, 0, 0)).await;
        // She is out: nothing more can be lost of her but the account.
        client.change(&format!("/Users/{ann}"), json!([{ "op": "add", "path": "displayName", "value": "Ann" }])).await;
        client.set_active(&ann, false).await;
        assert_eq!(test.held(&connection).await, [""; 0]);
        client.set_active(&bob, false).await;
        // To switch it off leaves what is held.
        let connection = test.set_guard(&connection, PushGuard { on: false, ..at_most(0, 0, 0) }).await;
        client.set_active(&bob, false).await;
        assert_eq!(test.held(&connection).await, ["suspension of account bob"]);
        test.decide_held(&connection, HeldDecision::Apply).await;
        assert_eq!(test.standing("bob").await, "suspended: disabled in the identity provider");
        test.assert_lawful().await;
    }

    /// Limits that cannot be are refused, and every limit is kept.
    async fn limits_are_kept_and_checked(database) {
        let test = TestInstance::on(&database).await;
        let (connection, _) = test.guarded(PushGuard::default()).await;
        let wanted = PushGuard { window_minutes: 90, percent_max: 7, ..at_most(1, 2, 3) };
        assert_eq!(test.set_guard(&connection, wanted).await.settings.guard, wanted);
        let found = test.app.provision.connections(test.id).await.unwrap();
        assert_eq!(found.iter().find(|one| one.id == connection.id).unwrap().settings.guard, wanted);
        let change = SettingsChange { guard: Some(PushGuard { window_minutes: 0, ..wanted }), ..SettingsChange::default() };
        let (provision, author) = (&test.app.provision, test.app.provision.operator());
        let refused = provision.set_connection_settings(&author, &connection, change).await.unwrap_err();
        assert!(refused.to_string().contains("the window must be from 1m to 30d"), "{refused}");
    }

    /// The switch beside the guard: a paused connection puts off every change, and answers every question.
    async fn a_paused_connection_is_told_when_to_come_again(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
        let ann = client.user("ann").await;
        client.set_active(&ann, false).await;
        let provision = &test.app.provision;
        let paused = ConnectionStatus::Paused;
        provision.set_connection_status(&provision.operator(), &connection, paused).await.unwrap();
        for refused in [
            client.set_active_answer_of(&ann).await,
            client.delete(&format!("/Users/{ann}")).await,
            client.post("/Users", person("bob", json!({}))).await,
        ] {
            assert_refused(&refused, 429, "");
            assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0, "{refused:?}");
        }
        assert_eq!(client.active(&ann).await, false);
        assert_eq!(client.count("/Users", "userName pr").await, 1);
        test.decide_held(&connection, HeldDecision::Discard).await;
        assert_eq!(client.active(&ann).await, true);
        test.assert_lawful().await;
    }
}

impl Client {
    async fn set_active_answer_of(&self, id: &str) -> Answer {
        let operations = json!([{ "op": "replace", "path": "active", "value": true }]);
        self.patch(&format!("/Users/{id}"), operations).await
    }
}
