//! What cannot be done: said before anything changes, or left out when its turn has come.

use scimd::directory::hand::Act;
use scimd::directory::migration::{Directories, Line, Meaning};
use scimd::provision::Error;
use scimd::provision::migration::{MIGRATION_LINES_MAX, Migration};
use serde_json::json;

use super::{Town, file, told};
use crate::support::both;

fn refusal<T: std::fmt::Debug>(done: Result<T, Error>) -> String {
    match done {
        Err(Error::Refused(refusal)) => refusal.detail,
        done => panic!("{done:?}"),
    }
}

both! {
    async fn every_line_says_what_is_wrong_with_it(database) {
        let town = Town::on(&database).await;
        let test = &town.test;
        for name in ["ann", "bob", "cho", "dee", "fay", "gus"] {
            town.from.user(name).await;
        }
        test.local_person("root", json!({})).await;
        test.local_person("gone", json!({})).await;
        let provision = &test.app.provision;
        let root = test.any("root").await.id;
        provision.set_protected(&provision.operator(), test.id, root, true).await.unwrap();
        test.act(&test.any("gone").await.id.to_string(), Act::Delete).await;
        town.migrate(&["gus,gil,"]).await;
        let before = test.everything().await;
        let long = "x".repeat(513);
        let lines = [
            "nobody,x1,", "gone,x2,", "root,x3,", "ann,bob,", "cho,x4,", "CHO,x5,", "dee,x6,SAP",
            "fay,gone,", ",x7,", "gus,x8,", "gus,gil,", &format!("dee,{long},"), "bob\nbob,x,y,z",
        ];
        let found = town.told(file(&lines)).await;
        let expected = [
            "2 error: no account has this user name",
            "3 error: the account is deleted: restore it first",
            "4 error: the account is protected: end its protection first",
            "5 error: the new user name belongs to \"bob\", who does not give it away",
            "6 error: the lines 6 and 7 are about the same account: keep one of them",
            "7 error: the lines 6 and 7 are about the same account: keep one of them",
            "8 error: no directory is called \"SAP\": write the name or the directory key of a connection, or Local",
            &format!("9 renamed to {}", town.okta.directory_key),
            "10 error: existing_username is empty: it says whose line it is",
            "11 error: no account has this user name; it is a former name of \"gil\"",
            &format!("12 unchanged to {}", town.okta.directory_key),
            "13 error: new_username must have at most 512 characters",
        ];
        assert_eq!(found[..12], expected);
        assert!(found[12].contains("error: ") && found.len() == 14, "{found:?}");
        assert_eq!(test.everything().await, before, "to look changes nothing");
        // The lines without errors can be done; those with are in the report.
        let plan = town.plan(file(&lines)).await;
        let run = town.begin(&plan).await.unwrap();
        let run = town.work_off(run).await;
        assert_eq!((run.changed, town.left_out(&run).await.len()), (1, 12));
        assert!(town.people().await.contains("gone@okta"));
    }

    async fn a_directory_that_is_only_alike_is_confirmed_first(database) {
        let town = Town::on(&database).await;
        town.from.user("ann").await;
        let lines = file(&["ann,,entra-prod"]);
        let plan = town.plan(lines.clone()).await;
        assert_eq!(plan.proposals.len(), 1);
        let proposal = &plan.proposals[0];
        assert_eq!((proposal.written.as_str(), proposal.name.as_str(), proposal.lines), ("entra-prod", "Entra Prod", 1));
        assert_eq!(proposal.meant, town.entra.directory_key);
        let why = refusal(town.begin(&plan).await);
        assert!(why.contains("\"entra-prod\"") && why.contains("\"Entra Prod\""), "{why}");
        let provision = &town.test.app.provision;
        let confirmed = |meant: &str| {
            let confirmed = vec![("Entra-Prod".to_owned(), meant.to_owned())];
            Migration { confirmed, ..lines.clone() }
        };
        let why = refusal(provision.plan_migration(town.test.id, confirmed("SAP")).await);
        assert!(why.contains("\"SAP\""), "{why}");
        let plan = town.plan(confirmed(&town.entra.directory_key)).await;
        assert_eq!(told(&plan), [format!("2 assigned to {}", town.entra.directory_key)]);
        // A target for those that name none.
        let none = Migration { target: Some("local".to_owned()), ..file(&["ann,,"]) };
        assert_eq!(town.told(none).await, ["2 assigned to Local"]);
        assert!(matches!(Directories::of(&[]).meaning("Local"), Meaning::Exactly(_)));
    }

    /// Between the look and the deed others go on working.
    async fn what_is_no_longer_possible_is_left_out(database) {
        let town = Town::on(&database).await;
        let test = &town.test;
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cho", "dee", "fay", "gus", "hal"] {
            ids.push(town.from.user(name).await);
        }
        let local = test.local_person("lea", json!({})).await;
        let lines = ["ann,x1,", "bob,x2,", "cho,x3,", "dee,fay,", "fay,dee,", "gus,x4,", "hal,x5,Entra Prod", "lea,x6,"];
        let plan = town.plan(file(&lines)).await;
        town.from.user("x1").await;
        test.act(&ids[1], Act::Delete).await;
        let rename = json!([{ "op": "replace", "path": "userName", "value": "chow" }]);
        town.from.change(&format!("/Users/{}", ids[2]), rename).await;
        test.act(&ids[4], Act::Delete).await;
        let provision = &test.app.provision;
        provision.set_protected(&provision.operator(), test.id, local.parse().unwrap(), true).await.unwrap();
        let run = town.begin(&plan).await.unwrap();
        let why = refusal(town.begin(&plan).await);
        assert!(why.contains("another migration"), "{why}");
        let run = town.work_off(run).await;
        assert_eq!(run.changed, 2);
        let mut left_out = town.left_out(&run).await;
        left_out.sort();
        assert_eq!(left_out, [
            "2 ann: userName \"x1\" belongs to another account of this instance",
            "3 bob: the account was deleted meanwhile",
            "4 cho: the account was renamed meanwhile: it is \"chow\"",
            "5 dee: it is part of a circle of names that cannot be handed on: the account was deleted meanwhile",
            "6 fay: it is part of a circle of names that cannot be handed on: the account was deleted meanwhile",
            "9 lea: the account was protected meanwhile",
        ]);
        assert_eq!(town.people().await, "ann@okta chow@okta dee@okta x4@okta x5@entra lea@local x1@okta");
        test.assert_lawful().await;
        // It has ended, so another one can begin.
        let run = town.migrate(&["x4,x7,"]).await;
        assert_eq!(run.changed, 1);
    }

    async fn a_file_that_is_too_long_is_refused(database) {
        let town = Town::on(&database).await;
        let line = Line { line: 2, existing: "a".to_owned(), new: None, target: None, bad: None };
        let wanted = Migration { lines: vec![line; MIGRATION_LINES_MAX + 1], ..Migration::default() };
        let why = refusal(town.test.app.provision.plan_migration(town.test.id, wanted).await);
        assert!(why.contains("1000001") && why.contains("1000000"), "{why}");
    }
}
