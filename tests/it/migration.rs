//! Moving people from one directory to another by a file, and the names that they had before.

mod aliases;
mod refused;

use std::io::Cursor;
use std::time::Duration;

use scimd::directory::migration::{Move, Plan};
use scimd::directory::undo::Undo;
use scimd::directory::{Account, Connection, ConnectionKind};
use scimd::provision::Result;
use scimd::provision::migration::{MIGRATION_LINES_MAX, Migration};
use scimd::pull::migration::read;
use scimd::store::runs::{Run, RunState};
use serde_json::json;

use super::support::rules::standing;
use super::support::{Client, Database, TestInstance, assert_gone, assert_refused, both, person};

/// An instance on its way from Okta to Entra.
struct Town {
    test: TestInstance,
    okta: Connection,
    entra: Connection,
    from: Client,
    to: Client,
}

/// Lines under the header that every file has.
fn file(lines: &[&str]) -> Migration {
    let text = format!("existing_username,new_username,target_directory\n{}\n", lines.join("\n"));
    let lines = read(Cursor::new(text.into_bytes()), MIGRATION_LINES_MAX).unwrap();
    Migration { lines, ..Migration::default() }
}

impl Town {
    async fn on(database: &Database) -> Self {
        Self::of(TestInstance::on(database).await).await
    }

    async fn of(test: TestInstance) -> Self {
        let (okta, from) = test.connected(ConnectionKind::Okta, "Okta").await;
        let (entra, to) = test.connected(ConnectionKind::Entra, "Entra Prod").await;
        Self { test, okta, entra, from, to }
    }

    async fn plan(&self, wanted: Migration) -> Plan {
        self.test.app.provision.plan_migration(self.test.id, wanted).await.unwrap()
    }

    async fn begin(&self, plan: &Plan) -> Result<Run> {
        let provision = &self.test.app.provision;
        provision.begin_migration(&provision.operator(), self.test.id, plan).await
    }

    async fn work_off(&self, run: Run) -> Run {
        let run = self.test.app.provision.work_off(run, |_| ()).await.unwrap();
        assert_eq!(run.state, RunState::Done);
        run
    }

    /// Migrates by a file without errors.
    async fn migrate(&self, lines: &[&str]) -> Run {
        let plan = self.plan(file(lines)).await;
        assert_eq!((plan.count(Move::Error), plan.proposals.len()), (0, 0), "{plan:#?}");
        let run = self.begin(&plan).await.unwrap();
        self.work_off(run).await
    }

    async fn undo(&self, run: &Run) -> Run {
        let provision = &self.test.app.provision;
        let undo = Undo::Run { run: run.id };
        let begun = provision.begin_undo(&provision.operator(), self.test.id, &undo).await.unwrap();
        self.work_off(begun).await
    }

    /// What the lines of a file come to, each with the reason if it cannot be done.
    async fn told(&self, wanted: Migration) -> Vec<String> {
        told(&self.plan(wanted).await)
    }

    /// What a run left out, and why.
    async fn left_out(&self, run: &Run) -> Vec<String> {
        let items = self.test.app.provision.report(run, 0).await.unwrap();
        let reasons = items.iter().filter_map(|item| {
            let reason = item.detail.as_ref()?.get("reason")?.as_str()?;
            Some(format!("{} {}: {reason}", item.line.unwrap(), item.name))
        });
        reasons.collect()
    }

    /// Everybody's name and directory, in the order of creation.
    async fn people(&self) -> String {
        let of = |account: &Account| match account.connection {
            Some(id) if id == self.okta.id => "okta",
            Some(id) if id == self.entra.id => "entra",
            Some(_) => "other",
            None => "local",
        };
        let accounts = self.test.accounts().await;
        let all = accounts.iter().map(|one| format!("{}@{}", one.user_name, of(one)));
        all.collect::<Vec<_>>().join(" ")
    }
}

fn told(plan: &Plan) -> Vec<String> {
    let one = |line: &scimd::directory::migration::Planned| match &line.reason {
        Some(reason) => format!("{} {}: {reason}", line.line, line.outcome),
        None => format!("{} {} to {}", line.line, line.outcome, line.target_directory),
    };
    plan.lines.iter().map(one).collect()
}

both! {
    /// A circle that is longer than a step of an undo is not parted by it.
    async fn a_long_circle_is_taken_back_as_a_whole(database) {
        let town = Town::on(&database).await;
        let names: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
        for name in &names {
            town.from.user(name).await;
        }
        let before = town.test.accounts().await;
        let next = names.iter().cycle().skip(1);
        let lines: Vec<String> =
            names.iter().zip(next).map(|(old, new)| format!("{old},{new},")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let run = town.migrate(&lines).await;
        town.undo(&run).await;
        let said = |accounts: Vec<Account>| -> Vec<_> {
            accounts.into_iter().map(|account| (account.id, account.user_name)).collect()
        };
        assert_eq!(said(town.test.accounts().await), said(before));
        town.test.assert_lawful().await;
    }

    /// Names and directories change; who somebody is, whom she reports to and where she belongs do not.
    async fn people_move_and_stay_who_they_are(database) {
        let town = Town::on(&database).await;
        let (test, from, to) = (&town.test, &town.from, &town.to);
        let ann = from.person("ann@old", json!({ "displayName": "Ann", "externalId": "00u1" })).await;
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let bob = from.person("bob@old", json!({ (enterprise): { "manager": { "value": ann } } })).await;
        let eve = from.user("eve@old").await;
        let staff = from.group("Staff", &[&ann, &bob]).await;
        let run = town.migrate(&["bob@old,bob@new,Entra Prod", "ann@old,Ann@new,entra prod", "eve@old,,Local"]).await;
        assert_eq!((run.seen, run.changed, run.connection), (3, 3, None));
        assert_eq!(town.people().await, "Ann@new@entra bob@new@entra eve@old@local");
        for (id, name) in [(&ann, "Ann@new"), (&bob, "bob@new"), (&eve, "eve@old")] {
            assert_eq!(test.any(name).await.id.to_string(), *id);
            assert_eq!(standing(&test.any(id).await), "active");
        }
        assert_eq!(test.manager_of("bob@new").await.as_deref(), Some("Ann@new"));
        assert_eq!(from.members(&staff).await.len(), 0, "Okta sees nobody who is not its own");
        let (_, groups) = test.app.provision.account(test.id, &ann).await.unwrap().unwrap();
        assert_eq!(groups.iter().map(|group| group.display.as_str()).collect::<Vec<_>>(), ["Staff"]);
        let trail = test.trail(&ann).await;
        let event = trail.iter().find(|event| event.action == "account.migrated").unwrap();
        assert_eq!(event.run, Some(run.id));
        let (before, after) = (event.before.as_ref().unwrap(), event.after.as_ref().unwrap());
        assert_eq!((&before["userName"], &after["userName"]), (&json!("ann@old"), &json!("Ann@new")));
        assert_eq!(before["connection"], town.okta.id.to_string());
        assert_eq!(after["connection"], town.entra.id.to_string());
        // The identity provider that she comes to finds her there and goes on with her.
        let create = to.post("/Users", person("ann@new", json!({}))).await;
        assert_refused(&create, 409, "uniqueness");
        let found = to.find("/Users", "userName eq \"ann@new\"").await;
        assert_eq!((found.at("/totalResults"), found.text("/Resources/0/id")), (json!(1), ann.clone()));
        let title = json!([{ "op": "replace", "path": "title", "value": "Head" }]);
        assert_eq!(to.patch(&format!("/Users/{ann}"), title).await.status, 200);
        assert_gone(from, "/Users", &ann).await;
        test.assert_lawful().await;
        // All of it is taken back, but for what was said since.
        town.undo(&run).await;
        assert_eq!(town.people().await, "ann@old@okta bob@old@okta eve@old@okta");
        assert_eq!(test.manager_of("bob@old").await.as_deref(), Some("ann@old"));
        assert_eq!(from.members(&staff).await.len(), 2);
        test.assert_lawful().await;
    }

    async fn names_are_handed_on_in_chains_and_circles(database) {
        let town = Town::on(&database).await;
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        for name in names {
            town.from.user(name).await;
        }
        let neighbour = Town::of(town.test.neighbour().await).await;
        neighbour.from.user("a").await;
        // A chain that begins with its end, a swap, a circle of three with an assignment in it, and nobody's.
        let run = town.migrate(&["b,x,Local", "a,b,", "c,d,", "d,c,", "e,f,", "f,g,Entra Prod", "g,E,"]).await;
        assert_eq!((run.seen, run.changed, town.left_out(&run).await.len()), (7, 7, 0));
        assert_eq!(town.people().await, "b@okta x@local d@okta c@okta f@okta g@entra E@okta");
        assert_eq!(neighbour.people().await, "a@okta");
        town.test.assert_lawful().await;
        town.undo(&run).await;
        assert_eq!(town.people().await, "a@okta b@local c@okta d@okta e@okta f@okta g@okta".replace("b@local", "b@okta"));
        town.test.assert_lawful().await;
    }

    /// Case alone is a change, but nobody has to give way to it, and the old spelling is no other name.
    async fn a_name_can_change_in_case_alone(database) {
        let town = Town::on(&database).await;
        let ann = town.from.user("ann").await;
        let run = town.migrate(&["ANN,Ann,"]).await;
        assert_eq!((run.changed, town.people().await.as_str()), (1, "Ann@okta"));
        let account = town.test.any(&ann).await;
        let provision = &town.test.app.provision;
        assert_eq!(provision.aliases(town.test.id, account.id).await.unwrap(), []);
        let again = town.told(file(&["ann,Ann,okta"])).await;
        assert_eq!(again, [format!("2 unchanged to {}", town.okta.directory_key)]);
    }

    async fn whoever_comes_is_judged_by_the_terms_of_where_she_comes_to(database) {
        let town = Town::on(&database).await;
        let (test, from, to) = (&town.test, &town.from, &town.to);
        let [ann, bob] = [from.user("ann").await, from.user("bob").await];
        let team = to.group("Team", &[]).await;
        test.scope(&town.entra, &[&team]).await;
        let run = town.migrate(&["ann,,Entra Prod", "bob,,Entra Prod"]).await;
        assert_eq!(test.standings(&["ann", "bob"]).await,
            "ann suspended: in no sync group, bob suspended: in no sync group");
        to.join(&team, &ann).await;
        assert_eq!(test.standing("ann").await, "active");
        // A seat that somebody gave back is not there any more for who returns.
        test.limit(1).await;
        test.assert_lawful().await;
        town.undo(&run).await;
        assert_eq!(test.standings(&["ann", "bob"]).await, "ann active, bob blocked: no free seat");
        test.stop_at(1).await;
        test.scope(&town.entra, &[]).await;
        let plan = town.plan(file(&["bob,bill,"])).await;
        let run = town.begin(&plan).await.unwrap();
        town.work_off(run).await;
        assert_eq!(test.standings(&["bill"]).await, "bill blocked: no free seat");
        assert_eq!(test.any(&bob).await.user_name, "bill");
        test.assert_lawful().await;
    }

    /// A licence that stops refuses whoever needs a seat; the others come.
    async fn who_needs_a_seat_that_is_not_there_is_left_out(database) {
        let town = Town::on(&database).await;
        let nobody = town.from.group("Nobody", &[]).await;
        for name in ["ann", "bob"] {
            town.from.user(name).await;
        }
        town.test.scope(&town.okta, &[&nobody]).await;
        town.test.stop_at(1).await;
        let plan = town.plan(file(&["ann,,Entra Prod", "bob,,Entra Prod"])).await;
        let run = town.begin(&plan).await.unwrap();
        let run = town.work_off(run).await;
        let left_out = town.left_out(&run).await;
        assert_eq!((run.changed, left_out.len()), (1, 1), "{left_out:?}");
        assert!(left_out[0].contains("the licence has no free seat"), "{left_out:?}");
        assert_eq!(town.people().await, "ann@entra bob@okta");
        town.test.assert_lawful().await;
    }

    /// Whoever works on it is killed behind the first page; another one goes on when the lease is over, and
    /// the directory is as if nothing had happened.
    async fn a_migration_that_was_killed_is_gone_on_with(database) {
        let town = Town::on(&database).await;
        let whole = Town::of(town.test.neighbour().await).await;
        let count = 130;
        let names: Vec<String> = (0..count).map(|n| format!("p{n:03}")).collect();
        // One long chain behind which a circle begins in the first page and ends in the second.
        let wanted = |n: usize| match n {
            0..90 => format!("p{n:03},p{:03},", n + 1),
            90 => "p090,q,Local".to_owned(),
            129 => "p129,p091,".to_owned(),
            n => format!("p{n:03},p{:03},Entra Prod", n + 1),
        };
        let lines: Vec<String> = (0..count).map(wanted).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for town in [&town, &whole] {
            for name in &names {
                town.from.user(name).await;
            }
        }
        whole.migrate(&lines).await;
        let provision = &town.test.app.provision;
        let run = town.begin(&town.plan(file(&lines)).await).await.unwrap();
        let stepped = provision.step(&run).await.unwrap();
        assert_eq!((stepped.seen, stepped.state), (130, RunState::Open), "the circle is not parted");
        assert_eq!(provision.finish_runs().await.unwrap(), 0, "somebody works on it");
        town.test.advance(Duration::from_secs(31));
        assert_eq!(provision.finish_runs().await.unwrap(), 1);
        let done = provision.run(town.test.id, run.id).await.unwrap().unwrap();
        assert_eq!((done.state, done.changed), (RunState::Done, 130));
        assert!(provision.step(&stepped).await.is_err(), "who was taken for dead does nothing more");
        assert_eq!(town.people().await, whole.people().await);
        town.test.assert_lawful().await;
    }
}
