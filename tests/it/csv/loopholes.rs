//! Ways round the rules and the guard that were found by trying, each of them closed.

use super::*;
use scimd::directory::source::Passwords;
use scimd::directory::{Scope, guard::Leaving};
use scimd::store::query::Narrow;
use scimd::store::runs::RunState;
use serde_json::json;

fn many(count: usize, rest: impl Fn(usize) -> String) -> String {
    let rows: Vec<String> = (0..count).map(|n| format!("u{n:04},{}", rest(n))).collect();
    file("groups", &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Csv {
    /// 600 people in one group, which is the sync group.
    async fn in_one_group(database: &Database) -> Self {
        let csv = Self::with(database, |settings| settings.guard = Guard::default()).await;
        csv.pull(many(600, |_| "Sync".to_owned())).await;
        let provision = csv.pulls.provision();
        let groups = provision.groups(csv.test.id, &Narrow::All(vec![]), None, 10).await.unwrap();
        let (author, groups) = (provision.operator(), [groups[0].id]);
        let run = provision.set_scope(&author, &csv.connection, Scope::Groups, &groups).await;
        provision.work_off(run.unwrap(), |_| ()).await.unwrap();
        csv
    }
}

both! {
    /// Everybody who would leave is counted, in whichever batch: nobody is out before the run is held, and an
    /// agreement is for that many.
    async fn those_who_leave_a_sync_group_are_counted_before_the_first_change(database) {
        let csv = Csv::in_one_group(&database).await;
        let before = csv.test.everything().await;
        let held = csv.pull(many(600, |n| if n % 3 == 0 { "Other" } else { "Sync" }.to_owned())).await;
        assert_eq!((held.run.state, held.said().as_str()), (RunState::Held, ""));
        assert_eq!(held.pull().leaving, Leaving { leaving: 200, present: 600 });
        assert_eq!(csv.test.everything().await, before);
        let done = csv.go_on(&held.run).await;
        assert_eq!((done.end().as_str(), done.pull().counts.suspended), ("done", 200));
        csv.test.assert_lawful().await;
    }

    /// Whoever stays below a sync group by another way does not leave.
    async fn who_joins_another_sync_group_does_not_leave(database) {
        let csv = Csv::in_one_group(&database).await;
        let both = csv.pull(many(600, |_| "Sync;Next".to_owned())).await;
        assert_eq!(both.end(), "done");
        let provision = csv.pulls.provision();
        let groups = provision.groups(csv.test.id, &Narrow::All(vec![]), None, 10).await.unwrap();
        let ids: Vec<_> = groups.iter().map(|group| group.id).collect();
        let author = provision.operator();
        let run = provision.set_scope(&author, &csv.connection, Scope::Groups, &ids).await.unwrap();
        provision.work_off(run, |_| ()).await.unwrap();
        let moved = csv.pull(many(600, |n| if n < 300 { "Next" } else { "Sync" }.to_owned())).await;
        assert_eq!((moved.end().as_str(), moved.pull().leaving.leaving), ("done", 0));
        assert!(!csv.accounts().await.contains("suspended"));
    }

    /// An agreement, and a place in a file, count for one reading of it.
    async fn other_settings_void_an_agreement(database) {
        let csv = Csv::with(&database, |settings| settings.guard = Guard::default()).await;
        csv.pull(file("", &["a", "b", "c", "d"])).await;
        let held = csv.pull(file("", &["a", "b"])).await;
        assert!(held.end().starts_with("held: 2 of 4"), "{}", held.end());
        csv.upload(file("", &["a"])).await;
        let again = csv.go_on(&held.run).await;
        assert!(again.end().starts_with("held: 3 of 4"), "{}", again.end());
        csv.set(|settings| settings.encoding = Some("utf-8".to_owned())).await;
        let again = csv.go_on(&again.run).await;
        assert!(again.end().starts_with("held: 3 of 4"), "{}", again.end());
        let done = csv.go_on(&again.run).await;
        assert_eq!((done.end().as_str(), done.pull().counts.suspended), ("done", 3));
    }

    /// Rows that were applied before the settings changed are applied again.
    async fn a_run_that_is_read_otherwise_begins_anew(database) {
        let csv = Csv::on(&database).await;
        let rows: Vec<String> = (0..600).map(|n| format!("u{n:04},Cook")).collect();
        csv.upload(file("job title", &rows.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let run = csv.begin().await;
        assert!(csv.work_for(run.clone(), 5).await.is_none(), "it has come to its end");
        let run = csv.stored(&run).await;
        assert!(run.pulled().done > 0 && run.pulled().done < 600, "{run:?}");
        csv.set(|settings| {
            settings.columns = vec![Column { name: "job title".into(), meaning: "nickName".into() }];
        })
        .await;
        let done = csv.resume(&run).await;
        assert_eq!((done.end().as_str(), done.pull().done), ("done", 600));
        let cooks = csv.state().await.matches("\"nickName\": String(\"Cook\")").count();
        assert_eq!(cooks, 600);
    }

    /// Local people who would be picked up and shut out are people who lose their access.
    async fn local_people_count_for_the_guard(database) {
        for by in MatchBy::ALL {
            let database = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
            let csv = Csv::with(&database, |settings| {
                (settings.guard, settings.match_by) = (Guard::default(), *by);
            })
            .await;
            let names = ["a", "b", "c", "d"];
            for name in names {
                csv.test.local_person(name, json!({})).await;
            }
            let rows = names.map(|name| format!("{name},{name},no"));
            let held = csv.pull(file("externalId,active", &rows.each_ref().map(String::as_str))).await;
            assert!(held.end().starts_with("held: 4 of 4 people"), "{by}: {}", held.end());
            assert!(!csv.accounts().await.contains("suspended"), "{by}");
            let done = csv.go_on(&held.run).await;
            assert_eq!(done.end(), "done", "{by}");
            assert_eq!(csv.accounts().await.matches("suspended").count(), 4, "{by}");
        }
    }

    /// Who is on a row that cannot be applied is not missing.
    async fn nobody_is_missing_whose_name_is_in_the_file(database) {
        let csv = Csv::with(&database, |settings| settings.match_by = MatchBy::ExternalId).await;
        csv.pull(file("externalId", &["ann,e1", "bob,e2"])).await;
        let renumbered = csv.pull(file("externalId", &["ann,e9", "bob,e2"])).await;
        assert_eq!(renumbered.short(), "2 skipped ann");
        assert_eq!(csv.accounts().await, "ann active\nbob active");
    }

    /// Silence in the column lets nobody in who was shut out, and nobody new out.
    async fn an_empty_cell_changes_nobodys_access(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("active", &["ann,yes", "bob,no"])).await;
        csv.pull(file("active", &["ann,", "bob,", "cleo,"])).await;
        let accounts = csv.accounts().await;
        assert_eq!(accounts, "ann active\nbob suspended: disabled in the identity provider\ncleo active");
    }

    /// A file that used to end with a line break and does not any more was cut within its last cell.
    async fn a_last_row_without_an_end_is_a_cut_one(database) {
        let csv = Csv::on(&database).await;
        let text = file("", &["ann", "bob"]);
        csv.pull(&text).await;
        let cut = csv.pull(&text[..text.len() - 4]).await;
        assert!(cut.end().starts_with("failed: the last row of the file"), "{}", cut.end());
    }

    /// A source whose files never ended with one goes on as it is.
    async fn a_last_row_may_always_have_had_no_end(database) {
        let csv = Csv::on(&database).await;
        assert_eq!(csv.pull(file("", &["ann", "bob"]).trim_end()).await.end(), "done");
        assert_eq!(csv.pull(file("", &["ann"]).trim_end()).await.end(), "done");
    }

    /// Everybody new needs a password; who is here already does not, and nothing of it is kept in clear.
    async fn passwords_are_for_new_people(database) {
        let csv = Csv::with(&database, |settings| settings.passwords = Passwords::Required).await;
        let first = csv.pull(file("password,title", &["ann,canary-4711,", "bob,,"])).await;
        assert_eq!(first.short(), "2 created ann, 3 skipped bob");
        assert!(first.said().contains("password"), "{}", first.said());
        let second = csv.pull(file("password,title", &["ann,,Cook", "bob,canary-4712,"])).await;
        assert_eq!(second.short(), "2 updated ann, 3 created bob");
        let everything = csv.test.everything().await;
        assert!(!everything.contains("canary"), "{everything}");
        assert!(!format!("{first:?} {second:?}").contains("canary"));
    }
}
