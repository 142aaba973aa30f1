//! What is held, what the client reads of it, and how it is taken back.

use super::*;

both! {
    /// Everybody beyond the limit is held, and nobody is let go while somebody is.
    async fn what_is_beyond_the_limit_is_held_and_the_client_reads_its_words(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(1, 1, 1)).await;
        let [ann, bob, cho] = client.users(["ann", "bob", "cho"]).await;
        client.set_active(&ann, false).await;
        let before = client.get(&format!("/Users/{bob}")).await;
        let tag = before.header("etag").to_owned();
        let operations = json!([
            { "op": "replace", "path": "active", "value": false },
            { "op": "replace", "path": "displayName", "value": "Bob" },
        ]);
        let answer = client.change(&format!("/Users/{bob}"), operations).await;
        assert_eq!((answer.at("/active"), answer.text("/displayName")), (json!(false), "Bob".to_owned()));
        assert_ne!(answer.header("etag"), tag);
        client.set_active(&cho, false).await;
        assert_eq!(test.held(&connection).await, ["suspension of account bob", "suspension of account cho"]);
        let standings = "ann suspended: disabled in the identity provider, bob active, cho active";
        assert_eq!(test.standings(&["ann", "bob", "cho"]).await, standings);
        // What does no harm is not held: the name is what the client said.
        assert_eq!(test.any("bob").await.display_name.as_deref(), Some("Bob"));
        assert_eq!(client.find("/Users", "active eq false").await.at("/totalResults"), 3);
        // Every road to a person tells the same.
        let why = test.app.provision.why(test.id, &test.any("bob").await).await.unwrap();
        assert!(why.rules.iter().any(|rule| rule.rung.says.contains("the guard holds that")));
        // The trail says what was held, by which rule, and which limit it was.
        let trail = test.trail(&bob).await;
        let last = trail.last().unwrap();
        assert_eq!((last.action.as_str(), last.rule.as_deref()), ("account.held_change", Some("guard")));
        let tripped = test.trail(&connection.id.to_string()).await.pop().unwrap();
        assert_eq!(tripped.action, "connection.guard_tripped");
        let after = tripped.after.unwrap();
        assert_eq!((&after["kind"], &after["losses"], &after["limit"]), (&json!("suspension"), &json!(2), &json!(1)));
        // To say it again changes nothing.
        let version = test.any("bob").await.version;
        client.set_active(&bob, false).await;
        assert_eq!(test.any("bob").await.version, version);
        test.assert_lawful().await;
    }

    /// Who is let in again before anybody has decided was never out.
    async fn a_client_takes_back_what_is_held(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
        let [ann, bob] = client.users(["ann", "bob"]).await;
        let staff = client.group("Staff", &[&ann, &bob]).await;
        client.set_active(&ann, false).await;
        client.leave(&staff, &bob).await;
        assert_eq!(client.delete(&format!("/Users/{bob}")).await.status, 204);
        assert_eq!(test.held(&connection).await, [
            "suspension of account ann", "deletion of account bob", "bob leaves Staff",
        ]);
        assert_eq!(client.members(&staff).await, [ann.as_str()]);
        // Bob is gone for the client alone.
        for gone in [
            client.get(&format!("/Users/{bob}")).await,
            client.set_active_answer(&bob).await,
            client.put(&format!("/Users/{bob}"), person("bob", json!({}))).await,
            client.delete(&format!("/Users/{bob}")).await,
        ] {
            assert_refused(&gone, 404, "");
        }
        assert_eq!(client.count("/Users", "userName eq \"bob\"").await, 0);
        assert_eq!(client.count("/Users", "groups.value pr").await, 1);
        assert_eq!(test.standing("bob").await, "active");
        assert_eq!(test.members("Staff").await.len(), 2);
        // He comes again with his id, and as he is described now.
        client.set_active(&ann, true).await;
        let answer = client.post("/Users", person("BOB", json!({ "displayName": "Bob" }))).await;
        assert_eq!((answer.status, answer.text("/id")), (201, bob.clone()));
        assert_eq!(test.any("bob").await.display_name.as_deref(), Some("Bob"));
        assert_eq!(test.held(&connection).await, ["BOB leaves Staff"]);
        assert_eq!(client.members(&staff).await, [ann.as_str()]);
        client.join(&staff, &bob).await;
        assert_eq!(test.held(&connection).await, [""; 0]);
        let mut both = [ann, bob];
        both.sort();
        assert_eq!(client.members(&staff).await, both);
        assert_eq!(test.standings(&["ann", "bob"]).await, "ann active, bob active");
        test.assert_lawful().await;
    }

    /// A list with fewer members is one change: all of it is held, or none.
    async fn a_group_is_judged_by_what_a_whole_request_removes(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(9, 9, 2)).await;
        let [ann, bob, cho, dee] = client.users(["ann", "bob", "cho", "dee"]).await;
        let staff = client.group("Staff", &[&ann, &bob, &cho]).await;
        let body = |members: &[&String]| {
            let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
            json!({ "schemas": [GROUP], "displayName": "Crew", "members": members })
        };
        let put = client.put(&format!("/Groups/{staff}"), body(&[&dee])).await;
        assert_eq!((put.status, put.text("/displayName")), (200, "Crew".to_owned()));
        assert_eq!(client.members(&staff).await, [dee.as_str()]);
        assert_eq!(test.held(&connection).await, ["ann leaves Crew", "bob leaves Crew", "cho leaves Crew"]);
        assert_eq!(test.members("Crew").await.len(), 4, "who joins does so at once");
        // Nobody is lost twice, and who is listed again stays.
        let put = client.put(&format!("/Groups/{staff}"), body(&[&dee, &bob])).await;
        assert_eq!(put.status, 200);
        assert_eq!(test.held(&connection).await, ["ann leaves Crew", "cho leaves Crew"]);
        assert_eq!(client.patch(&format!("/Groups/{staff}"), json!([{ "op": "remove", "path": "members" }])).await.status, 200);
        assert_eq!(client.members(&staff).await, [""; 0]);
        assert_eq!(test.held(&connection).await.len(), 4);
        assert_eq!(test.members("Crew").await.len(), 4);
        assert_eq!(client.count("/Groups", &format!("members.value eq \"{ann}\"")).await, 0);
        test.assert_lawful().await;
    }

    /// A group that goes takes its memberships with it, and comes again as another.
    async fn a_group_that_is_deleted_is_held_with_its_members(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(9, 9, 1)).await;
        let [ann, bob] = client.users(["ann", "bob"]).await;
        let staff = client.group("Staff", &[&ann, &bob]).await;
        assert_eq!(client.delete(&format!("/Groups/{staff}")).await.status, 204);
        assert_refused(&client.get(&format!("/Groups/{staff}")).await, 404, "");
        assert_eq!(client.count("/Groups", "displayName eq \"staff\"").await, 0);
        assert_eq!(client.get(&format!("/Users/{ann}")).await.at("/groups"), Value::Null);
        assert_eq!(test.held(&connection).await, ["deletion of group Staff"]);
        assert_eq!(test.members("Staff").await.len(), 2);
        assert_eq!(client.group("staff", &[&ann]).await, staff);
        assert_eq!(client.members(&staff).await, [ann.as_str()]);
        // One who leaves is not too many.
        assert_eq!(test.held(&connection).await, [""; 0]);
        assert_eq!(test.members("staff").await.len(), 1);
        test.assert_lawful().await;
    }

    /// Who loses the access because a group is left is counted as suspended; what would do that is held.
    async fn a_sync_group_holds_on_to_its_people(database) {
        let test = TestInstance::on(&database).await;
        let (connection, client) = test.guarded(at_most(2, 9, 9)).await;
        let [ann, bob, cho, dee] = client.users(["ann", "bob", "cho", "dee"]).await;
        let team = client.group("Team", &[&ann, &bob, &cho]).await;
        let sync = client.group("Sync", &[&team, &dee]).await;
        test.scope(&connection, &[&sync]).await;
        let connection = test.app.provision.connections(test.id).await.unwrap().remove(0);
        client.leave(&sync, &team).await;
        assert_eq!(test.held(&connection).await, ["Team leaves Sync"]);
        assert_eq!(test.standings(&["ann", "dee"]).await, "ann active, dee active");
        assert_eq!(client.members(&sync).await, [dee.as_str()]);
        let author = test.app.provision.operator();
        let foreseen = test.app.provision.foresee_held(&author, &connection).await.unwrap();
        assert_eq!((foreseen.1.may_enter, foreseen.1.suspended, foreseen.2), (1, 3, true));
        test.assert_lawful().await;
        let decided = test.decide_held(&connection, HeldDecision::Apply).await;
        assert_eq!((decided.removals, decided.out_of_scope), (1, 3));
        assert_eq!(test.standings(&["ann", "dee"]).await, "ann suspended: in no sync group, dee active");
        // So it is when the group goes altogether.
        client.join(&sync, &team).await;
        assert_eq!(test.standing("ann").await, "active");
        assert_eq!(client.delete(&format!("/Groups/{team}")).await.status, 204);
        assert_eq!(test.held(&connection).await, ["deletion of group Team"]);
        assert_eq!(test.standing("ann").await, "active");
        test.assert_lawful().await;
        test.decide_held(&connection, HeldDecision::Discard).await;
        assert_eq!(client.members(&team).await.len(), 3);
        test.assert_lawful().await;
    }
}

impl Client {
    async fn set_active_answer(&self, id: &str) -> Answer {
        let operations = json!([{ "op": "replace", "path": "active", "value": true }]);
        self.patch(&format!("/Users/{id}"), operations).await
    }
}
