//! Who a row is about: names, names of the source's own, and accounts that are not the connection's.

use super::*;
use scimd::directory::PickUp;
use scimd::provision::Decision;
use scimd::store::claims::Wanted;
use serde_json::json;

const BY_ID: &str = "externalId";

impl Csv {
    async fn by_id(database: &Database) -> Self {
        Self::with(database, |settings| settings.match_by = MatchBy::ExternalId).await
    }

    async fn decide(&self, decision: Decision) {
        let provision = self.pulls.provision();
        let asked = provision.approvals(self.test.id, &Wanted::default(), None, 10).await.unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        provision.decide(&provision.operator(), self.test.id, asked[0].id, decision).await.unwrap();
    }
}

both! {
    async fn user_names_are_matched_in_any_case(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("", &["Ann", "JÜRGEN"])).await;
        csv.pull(file("", &["ann", "Jürgen"])).await;
        assert_eq!(csv.accounts().await, "Jürgen active\nann active");
    }

    async fn people_can_be_renamed_if_the_source_names_them_otherwise(database) {
        let csv = Csv::by_id(&database).await;
        csv.pull(file(BY_ID, &["ann,1", "bob,2", "cleo,3"])).await;
        let id = csv.test.any("ann").await.id;
        let pulled = csv.pull(file(BY_ID, &["anna,1", "bob,2", "cleo,3"])).await;
        assert_eq!(pulled.short(), "2 updated anna");
        assert_eq!(csv.test.any("anna").await.id, id);
        // A new person under the old name is another one.
        csv.pull(file(BY_ID, &["anna,1", "bob,2", "cleo,3", "ann,4"])).await;
        assert_ne!(csv.test.any("ann").await.id, id);
        // A name that is taken is refused for the one, and the others go on.
        let pulled = csv.pull(file(BY_ID, &["anna,1", "anna,2", "cleo,3", "ann,4", "dora,5"])).await;
        assert_eq!(pulled.short(), "3 skipped anna, 6 created dora");
        assert_eq!(csv.accounts().await, "ann active\nanna active\nbob active\ncleo active\ndora active");
        csv.test.assert_lawful().await;
    }

    /// Names that move along from one to the next, in the order of the file and against it.
    async fn names_can_move_on_within_a_file(database) {
        let csv = Csv::by_id(&database).await;
        csv.pull(file(BY_ID, &["ann,1", "bob,2", "cleo,3"])).await;
        csv.pull(file(BY_ID, &["dora,3", "cleo,2", "bob,1"])).await;
        let names = |name: &str| { let csv = &csv; let name = name.to_owned(); async move { csv.test.any(&name).await.external_id } };
        assert_eq!(names("bob").await.as_deref(), Some("1"));
        csv.pull(file(BY_ID, &["cleo,1", "dora,2", "eve,3"])).await;
        csv.reset().await;
        csv.run().await;
        csv.reset().await;
        csv.run().await;
        assert_eq!((names("cleo").await, names("eve").await), (Some("1".into()), Some("3".into())));
    }

    async fn whoever_is_twice_in_a_file_is_left_alone(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("job title", &["ann,Cook", "bob,Cook", "cleo,Cook"])).await;
        let pulled = csv.pull(file("job title", &["ann,A", "ANN,B", "bob,B", "dora,A", "cleo,Cook", "dora,B", " ann ,C"])).await;
        let twice = "the person is on the lines";
        let left = "all of them are left out until one is left";
        assert_eq!(
            pulled.lines(),
            format!(
                "2 skipped ann: {twice} 2, 3, 8: {left}\n3 skipped ANN: {twice} 2, 3, 8: {left}\n\
                 4 updated bob\n5 skipped dora: {twice} 5, 7: {left}\n7 skipped dora: {twice} 5, 7: {left}\n\
                 8 skipped ann: {twice} 2, 3, 8: {left}"
            )
        );
        assert_eq!(csv.accounts().await, "ann active\nbob active\ncleo active");
        assert_eq!(csv.test.any("ann").await.document["title"], "Cook");
    }

    async fn what_is_not_the_connections_is_left_alone(database) {
        let csv = Csv::on(&database).await;
        let provision = csv.pulls.provision();
        csv.test.okta().await.user("otto").await;
        let root = csv.test.local_person("root", json!({})).await;
        provision.set_protected(&provision.operator(), csv.test.id, root.parse().unwrap(), true).await.unwrap();
        csv.test.local_person("lisa", json!({ "title": "Cook" })).await;
        let before = csv.accounts().await;
        csv.pick_up(PickUp::Never).await;
        let pulled = csv.pull(file("", &["otto", "root", "lisa", "ann", "bob", "cleo"])).await;
        assert_eq!(
            pulled.short(),
            "2 skipped otto, 3 skipped root, 4 skipped lisa, 5 created ann, 6 created bob, 7 created cleo"
        );
        let said = pulled.said();
        for words in ["another connection", "protected", "\"never\""] {
            assert!(said.contains(words), "{said}");
        }
        let missing = csv.pull(file("", &["ann", "bob", "cleo", "dora"])).await;
        assert_eq!(missing.short(), "5 created dora");
        assert_eq!(csv.accounts().await, format!("ann active\nbob active\ncleo active\ndora active\n{before}"));
        csv.test.assert_lawful().await;
    }

    async fn local_people_are_picked_up_by_name(database) {
        for by in MatchBy::ALL {
            let database = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
            let csv = Csv::with(&database, |settings| settings.match_by = *by).await;
            csv.test.local_person("lisa", json!({ "title": "Cook" })).await;
            let pulled = csv.pull(file("externalId,groups", &["Lisa,1,G", "ann,2,G"])).await;
            assert_eq!(pulled.lines(), "2 picked_up Lisa\n3 created ann", "{by}");
            assert_eq!(csv.accounts().await, "Lisa active in G\nann active in G");
            csv.pull(file("externalId,groups", &["ann,2,G"])).await;
            assert_eq!(csv.test.standing("Lisa").await, "suspended: missing from source");
        }
    }

    /// Until an administrator has agreed, the Local account is as it was, in whichever way it was found.
    async fn local_people_are_asked_for(database) {
        for by in MatchBy::ALL {
            let database = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
            let csv = Csv::with(&database, |settings| settings.match_by = *by).await;
            csv.test.local_person("lisa", json!({ "title": "Cook" })).await;
            csv.pick_up(PickUp::WithApproval).await;
            let text = file("externalId,groups", &["lisa,1,G", "ann,2,G"]);
            let pulled = csv.pull(&text).await;
            assert_eq!(pulled.lines(), "2 asked lisa\n3 created ann", "{by}");
            assert_eq!(csv.accounts().await, "ann active in G\nlisa active (Local)", "{by}");
            // It is asked once, and a refusal stands.
            csv.reset().await;
            let again = csv.run().await;
            assert!(again.short() == "2 asked lisa" || again.short().is_empty(), "{by}: {}", again.said());
            csv.decide(Decision::Refuse).await;
            csv.reset().await;
            let refused = csv.run().await;
            assert_eq!(refused.short(), "2 skipped lisa", "{by}");
            assert!(refused.said().contains("refused"), "{by}: {}", refused.said());
            csv.decide(Decision::Reopen).await;
            csv.decide(Decision::Accept).await;
            csv.reset().await;
            csv.run().await;
            assert_eq!(csv.accounts().await, "ann active in G\nlisa active in G", "{by}");
            csv.test.assert_lawful().await;
        }
    }
}
