//! What is exported can be imported: nothing changes, or exactly what was edited.

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use scimd::pull::export::Exporter;

/// The directories that are tried.
const CASES: usize = 12;

/// The cells of a person: title, department, groups.
type Person = (String, String, Vec<String>);

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        3 => "[a-zäöü=+@-][a-zA-Zäöüß,;|'\"= \t\n]{0,12}[a-zé\"]",
        1 => Just("=HYPERLINK(\"x\")".to_owned()),
        1 => Just("a\r\n\"b\"".to_owned()),
    ]
}

fn people() -> impl Strategy<Value = Vec<Person>> {
    let group = prop::sample::select(vec!["Köche", "=Sum", "A, B", "\"Q\"", "plain"]);
    let groups = prop::collection::btree_set(group.prop_map(str::to_owned), 0..3);
    let person =
        (text(), text(), groups).prop_map(|(a, b, groups)| (a, b, groups.into_iter().collect()));
    prop::collection::vec(person, 4..12)
}

fn write(people: &[Person], delimiter: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    writer
        .write_record([
            "username",
            "first name",
            "last name",
            "email",
            "job title",
            "department",
            "manager",
            "groups",
        ])
        .unwrap();
    for (n, (title, department, groups)) in people.iter().enumerate() {
        let (name, manager) = (format!("ü{n}"), format!("ü{}", n / 2));
        let groups = groups.join(";");
        writer
            .write_record([
                &name,
                "Ü",
                "\"T\"",
                "a@example.com",
                title,
                department,
                &manager,
                &groups,
            ])
            .unwrap();
    }
    writer.into_inner().unwrap()
}

impl Csv {
    async fn export(&self) -> Vec<u8> {
        let provision = self.pulls.provision();
        let (schemas, source) =
            (provision.current_schemas(self.test.id).await.unwrap(), self.source().await);
        let mut into = Vec::new();
        let mut exporter = Exporter::begin(&mut into, schemas, Some(&source)).unwrap();
        let connection = Some(self.connection.id);
        let people = provision.people(self.test.id, connection, None, 10_000).await.unwrap();
        for (account, groups) in people.iter().filter(|(account, _)| account.in_source) {
            exporter.write(account, groups).unwrap();
        }
        exporter.end().unwrap();
        into
    }
}

both! {
    async fn what_is_exported_can_be_imported(database) {
        let mut runner = TestRunner::deterministic();
        for case in 0..CASES {
            let database = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
            let before = people().new_tree(&mut runner).unwrap().current();
            let after = people().new_tree(&mut runner).unwrap().current();
            let delimiter = [b',', b';', b'\t'][case % 3];
            let csv = Csv::on(&database).await;
            let pulled = csv.pull(write(&before, delimiter)).await;
            assert_eq!(pulled.pull().counts.created, i64::try_from(before.len()).unwrap(), "{before:?}: {}", pulled.said());
            let state = csv.test.everything().await;
            let exported = csv.export().await;
            csv.reset().await;
            let again = csv.pull(&exported).await;
            assert_eq!((again.end().as_str(), again.said().as_str()), ("done", ""), "{before:?}");
            assert_eq!(csv.test.everything().await, state, "{before:?}");
            // Some rows of the export give way to others, and the directory is as if they had come first.
            csv.pull(write(&after, delimiter)).await;
            csv.pull(&exported).await;
            if after.len() <= before.len() {
                let fresh = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
                let fresh = Csv::on(&fresh).await;
                fresh.pull(&exported).await;
                assert_eq!(csv.state().await, fresh.state().await, "{before:?} {after:?}");
            }
        }
    }

    /// In a delta, who is suspended is exported as somebody who is.
    async fn an_exported_delta_changes_nobody(database) {
        let csv = Csv::with(&database, |settings| settings.mode = Mode::Delta).await;
        csv.pull(file("action", &["ann,", "bob,"])).await;
        csv.pull(file("action", &["bob,suspend", "cleo,"])).await;
        let before = csv.accounts().await;
        let again = csv.pull(csv.export().await).await;
        assert_eq!((again.said().as_str(), csv.accounts().await), ("", before));
    }
}
