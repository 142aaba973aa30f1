//! People come, change, go and come again; managers, groups, actions.

use super::*;
use scimd::directory::hand::Act;

const BOTH: &str = "manager,groups";

both! {
    async fn people_come_change_go_and_come_again(database) {
        let csv = Csv::on(&database).await;
        let first = csv.pull(file("job title", &["ann,Cook", "bob,Clerk", "cleo,"])).await;
        assert_eq!(first.short(), "2 created ann, 3 created bob, 4 created cleo");
        assert_eq!(first.pull().checksum.unwrap().len(), 64);
        let second = csv.pull(file("job title", &["ann,Chef", "cleo,"])).await;
        assert_eq!(second.short(), "2 updated ann, - suspended bob");
        assert_eq!(second.items[0].detail.as_ref().unwrap()["after"]["title"], "Chef");
        assert_eq!((second.pull().counts.unchanged, second.pull().rows, second.pull().done), (1, 2, 2));
        assert_eq!(
            csv.accounts().await,
            "ann active\nbob suspended: missing from source\ncleo active"
        );
        let third = csv.pull(file("job title", &["ann,Chef", "cleo,", "bob,Clerk", "dora,"])).await;
        assert_eq!(third.short(), "4 reactivated bob, 5 created dora");
        csv.test.assert_lawful().await;
    }

    async fn what_is_unchanged_costs_no_write(database) {
        let csv = Csv::on(&database).await;
        let text = file(BOTH, &["ann,,Staff;Kitchen", "bob,ann,Staff", "cleo,bob,"]);
        csv.pull(&text).await;
        let before = csv.test.everything().await;
        let again = csv.run().await;
        assert_eq!(again.end(), "done");
        assert_eq!(again.pull().counts.unchanged, 0);
        assert!(again.pull().notes[0].contains("nothing was done"), "{again:?}");
        csv.reset().await;
        csv.test.advance(std::time::Duration::from_mins(1));
        let trail = csv.trail_of_all().await;
        let anew = csv.run().await;
        assert_eq!((anew.short().as_str(), anew.pull().counts.unchanged), ("", 3));
        assert_eq!(csv.trail_of_all().await, trail);
        assert_eq!(csv.test.everything().await, before);
    }

    async fn managers_are_named_by_user_name_before_or_behind(database) {
        let csv = Csv::on(&database).await;
        let okta = csv.test.okta().await;
        okta.user("otto").await;
        csv.pull(file("manager", &["ann,bob", "bob,CLEO", "cleo,", "dora,otto", "eve,nobody"])).await;
        assert_eq!(
            csv.accounts().await,
            "ann active < bob\nbob active < cleo\ncleo active\ndora active\neve active\n\
             otto active (another's)"
        );
        // Whoever is missing stays a manager, as whoever is disabled does.
        csv.pull(file("manager", &["ann,bob", "bob,cleo", "dora,ann", "eve,eve"])).await;
        let now = csv.accounts().await;
        assert!(now.contains("bob active < cleo\ncleo suspended: missing from source"), "{now}");
        assert!(now.contains("dora active < ann\neve active\n"), "{now}");
        csv.pull(file("manager", &["ann,bob", "bob,cleo", "cleo,", "dora,"])).await;
        let now = csv.accounts().await;
        assert!(now.contains("bob active < cleo\ncleo active\ndora active\n"), "{now}");
        csv.test.assert_lawful().await;
    }

    async fn groups_are_joined_and_left(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("groups", &["ann,Staff ; Köche", "bob,staff", "cleo,"])).await;
        assert_eq!(
            csv.accounts().await,
            "ann active in Köche & Staff\nbob active in Staff\ncleo active"
        );
        let moved = csv.pull(file("groups", &["ann,Staff", "bob,staff;KÖCHE", "cleo,"])).await;
        assert_eq!(
            csv.accounts().await,
            "ann active in Staff\nbob active in Köche & Staff\ncleo active"
        );
        // Whoever only moved is in the report too.
        assert_eq!(moved.short(), "2 updated ann, 3 updated bob");
        assert_eq!(moved.pull().counts.unchanged, 1);
        let detail = moved.items[0].detail.clone().unwrap();
        assert_eq!((&detail["before"]["groups"], &detail["after"]["groups"]), (
            &serde_json::json!(["Köche", "Staff"]), &serde_json::json!(["Staff"])));
        let rehearsed = csv.dry(file("groups", &["ann,", "bob,staff;KÖCHE", "cleo,"])).await;
        assert_eq!(rehearsed.short(), "2 updated ann");
        // A file without the column says nothing of groups.
        csv.reset().await;
        csv.pull(file("", &["ann", "bob", "cleo"])).await;
        assert_eq!(
            csv.accounts().await,
            "ann active in Staff\nbob active in Köche & Staff\ncleo active"
        );
    }

    async fn groups_can_have_a_separator_of_their_own(database) {
        let csv = Csv::with(&database, |settings| "|".clone_into(&mut settings.group_separator)).await;
        csv.pull(file("groups", &["ann,A;B|C"])).await;
        assert_eq!(csv.accounts().await, "ann active in A;B & C");
    }

    /// A group that somebody else has, or that cannot be: the person comes in all the same, and the report
    /// says what is lacking.
    async fn a_group_that_cannot_be_joined_is_reported(database) {
        let csv = Csv::on(&database).await;
        let okta = csv.test.okta().await;
        okta.group("Theirs", &[]).await;
        csv.test.local_group("Old").await;
        let long = "x".repeat(2_000);
        let rows = ["ann,Theirs;Ours;Old".to_owned(), format!("bob,{long}"), "cleo,Ours".to_owned()];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let pulled = csv.pull(file("groups", &rows)).await;
        assert_eq!(
            csv.accounts().await,
            "ann active in Old & Ours\nbob active\ncleo active in Ours"
        );
        let notes = pulled.pull().notes.join("\n") + &pulled.said();
        assert!(notes.contains("Theirs"), "{notes}");
        assert!(notes.contains("xxx"), "{notes}");
        csv.test.assert_lawful().await;
    }

    async fn a_delta_says_what_happens_to_each(database) {
        let csv = Csv::with(&database, |settings| settings.mode = Mode::Delta).await;
        csv.pull(file("action,groups", &["ann,,A", "bob,add,A", "cleo,Create,", "dora,,"])).await;
        let delta = file("action,groups", &[
            "ann,suspend,", "bob,DELETE,", "nobody,delete,", "stranger,suspend,", "eve,explode,", "fay,upsert,B",
        ]);
        let second = csv.pull(&delta).await;
        assert_eq!(
            second.lines(),
            "2 suspended ann\n3 deleted bob\n\
             5 skipped stranger: the row nobody of this name is here to be suspended\n\
             6 skipped eve: the action must be one of upsert (or add, update, nothing), suspend (or disable), \
             delete (or remove)\n7 created fay"
        );
        assert_eq!(
            csv.accounts().await,
            "ann suspended: disabled in the identity provider in A\ncleo active\ndora active\nfay active in B"
        );
        let third = csv.pull(file("action,groups", &["ann,,", "bob,,"])).await;
        assert_eq!(third.short(), "2 reactivated ann, 3 created bob");
        csv.test.assert_lawful().await;
    }

    async fn rows_that_cannot_be_used_say_why_and_their_people_stay(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("active", &["ann,yes", "bob,yes", "cleo,1", "dora,true", "eve,"])).await;
        let text = "username,first name,last name,email,active\n\
                    ann,Ann,,ann@example.com,yes\n\
                    bob,Bob,B,bob@example.com,perhaps\n\
                    cleo,Cleo,C,cleo@example.com,no\n\
                    dora,Dora,Test,dora@example.com,true\n\
                    eve,eve,Test,eve@example.com,\n";
        let text = text.replace("Dora", "D");
        let pulled = csv.pull(text).await;
        let said = pulled.lines();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("2 skipped ann: ") && lines[0].contains("name.familyName"), "{said}");
        assert!(lines[1].starts_with("3 skipped bob: the column \"active\" must be"), "{said}");
        assert_eq!(lines[2..], ["4 suspended cleo", "5 updated dora"], "{said}");
        assert_eq!(
            csv.accounts().await,
            "ann active\nbob active\ncleo suspended: disabled in the identity provider\ndora active\neve active"
        );
    }

    /// A row that does not say whom it is about may be about anybody.
    async fn nobody_is_missing_while_a_row_is_about_nobody_knows_whom(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("", &["ann", "bob", "cleo"])).await;
        let text = file("", &["ann", "cleo"]) + ",Bob,Test,bob@example.com\n";
        let pulled = csv.pull(text).await;
        assert_eq!(pulled.short(), "4 skipped ");
        assert_eq!(csv.accounts().await, "ann active\nbob active\ncleo active");
        assert!(pulled.pull().notes.iter().any(|note| note.contains('4')), "{pulled:?}");
        let few = file("", &["ann", "cleo"]) + "bob,Bob,Test\ndora,Dora,Test,dora@example.com\n";
        let pulled = csv.pull(few).await;
        assert!(pulled.short().contains("skipped"), "{pulled:?}");
        assert_eq!(csv.accounts().await, "ann active\nbob active\ncleo active\ndora active");
    }

    /// Whoever an administrator has shut out stays out, whatever the file says.
    async fn a_held_account_stays_out(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("job title", &["ann,Cook", "bob,"])).await;
        let ann = csv.test.any("ann").await.id.to_string();
        csv.test.act(&ann, Act::Hold).await;
        for text in [file("job title", &["ann,Chef", "bob,"]), file("job title", &["bob,"])] {
            csv.pull(text).await;
            assert_eq!(csv.test.standing("ann").await, "suspended: held by an administrator");
        }
        csv.pull(file("job title", &["ann,Baker", "bob,"])).await;
        assert_eq!(csv.accounts().await, "ann suspended: held by an administrator\nbob active");
        csv.test.act(&ann, Act::Release).await;
        assert_eq!(csv.test.standing("ann").await, "active");
        csv.test.assert_lawful().await;
    }

    /// What cannot be stored is a row error, never a run that comes back for ever.
    async fn odd_characters_are_stored_or_refused(database) {
        let csv = Csv::on(&database).await;
        let rows = "username,first name,last name,email,job title,groups\n\
            a\u{0}nn,Ann,Test,ann@example.com,x,G\n\
            bob,B\u{0}b,Test,bob@example.com,x,G\n\
            cleo,Cleo,Test,cleo@example.com,\"two\nlines \"\"quoted\"\", =1+1\",G\n\
            dora,Dora,Test,dora@example.com,\u{1f600}\u{202e},\u{1f600}\n\
            eve,Eve,Test,eve@example.com,=cmd|x,G\n\
            fay,Fay,Test,fay@example.com,\u{7},G\n\
            gus,Gus,Test,gus@example.com,x,G\nhans,H,Test,h@example.com,x,G\nida,I,Test,i@example.com,x,G\n";
        let pulled = csv.pull(rows).await;
        assert_eq!(pulled.run.state, scimd::store::runs::RunState::Done, "{pulled:?}");
        assert!(csv.accounts().await.contains("dora active in \u{1f600}\neve active in G"));
        let cleo = csv.test.any("cleo").await;
        assert_eq!(cleo.document["title"], "two\nlines \"quoted\", =1+1");
    }

    /// Columns are found by name, and named where their names say nothing.
    async fn columns_mean_what_is_set(database) {
        let set = |name: &str, meaning: &str| Column { name: name.to_owned(), meaning: meaning.to_owned() };
        let csv = Csv::with(&database, |settings| settings.columns = vec![
            set("Kürzel", "urn:nothing:at:all"), set("Kürzel", "userName"), set("Rufname", "name.givenName"), set("title", "ignore"),
        ]).await;
        let text = "kürzel;Rufname;Nachname;Mail;Title;Abteilung\n\
                    ann;Anna;Weiß;a@example.com;Dr.;Küche\n";
        let refused = csv.pull(text).await;
        assert!(refused.end().starts_with("failed: "), "{}", refused.end());
        csv.set(|settings| drop(settings.columns.remove(0))).await;
        let pulled = csv.run().await;
        assert_eq!(pulled.short(), "2 created ann");
        assert!(pulled.pull().notes.iter().any(|note| note.contains("\"Abteilung\"")), "{pulled:?}");
        let ann = csv.test.any("ann").await;
        assert_eq!((&ann.document["name"]["givenName"], ann.document.get("title")), (&"Anna".into(), None));
    }
}

impl Csv {
    /// How many events the trail has of each account.
    async fn trail_of_all(&self) -> Vec<usize> {
        let mut all = Vec::new();
        for account in self.test.accounts().await {
            all.push(self.test.trail(&account.id.to_string()).await.len());
        }
        all
    }
}
