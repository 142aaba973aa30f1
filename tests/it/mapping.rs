//! What identity providers send becomes fields of the directory, by the mapping of each connection.

use std::collections::BTreeMap;

use scimd::directory::mapping::{Effective, Row, Transform};
use scimd::directory::{Account, Connection, ConnectionId, ConnectionKind};
use scimd::provision::mapping::{MappingChange, Saved};
use scimd::scim::definition::{Holder, parse};
use scimd::store::lookups::Entry;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::statements::Recorder;
use super::support::{Client, ENTERPRISE, TestInstance, both, person};

const HR: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

fn row(field: &str, sources: &[&str], transforms: Vec<Transform>) -> Row {
    let sources = sources.iter().map(|&source| source.to_owned()).collect();
    Row { field: field.to_owned(), sources, transforms, read_only: false }
}

fn by_table() -> Vec<Transform> {
    vec![Transform::Lookup { table: "titles".to_owned() }]
}

fn entry(value: &str, result: &str) -> Entry {
    Entry { value: value.to_owned(), result: result.to_owned() }
}

fn written(fields: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    let value = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    fields.iter().map(|(field, text)| ((*field).to_owned(), value(text))).collect()
}

impl TestInstance {
    /// A connection named Okta and its client.
    async fn with_okta(&self) -> (Connection, Client) {
        let connection = self.connection(ConnectionKind::Okta, "Okta").await;
        let token = self.token(&connection).await;
        (connection, Client { app: self.app.clone(), token })
    }

    async fn field(&self, name: &str) {
        let author = self.app.provision.operator();
        self.app.provision.define_field(&author, self.id, name, name).await.unwrap();
    }

    async fn save(&self, id: ConnectionId, change: MappingChange) -> Result<Saved, String> {
        let author = self.app.provision.operator();
        let saved = self.app.provision.save_mapping(&author, self.id, id, change, None).await;
        saved.map_err(|error| error.to_string())
    }

    async fn set_row(&self, id: ConnectionId, row: Row) -> Saved {
        self.save(id, MappingChange::Row(row)).await.unwrap()
    }

    async fn entries(&self, entries: &[(&str, &str)]) {
        let entries = entries.iter().map(|(value, result)| entry(value, result)).collect();
        let author = self.app.provision.operator();
        self.app.provision.load_lookup(&author, self.id, "titles", entries).await.unwrap();
    }

    /// How many of the connection's accounts another evaluation changes.
    async fn remap(&self, id: ConnectionId) -> i64 {
        let author = self.app.provision.operator();
        self.app.provision.remap(self.id, id, &author).await.unwrap().changed
    }

    async fn account_named(&self, user_name: &str) -> Account {
        self.app.provision.account(self.id, user_name).await.unwrap().unwrap().0
    }

    /// What the mapping made of an account.
    async fn mapped(&self, user_name: &str) -> Value {
        self.account_named(user_name).await.fields.into()
    }

    async fn shown(&self, user_name: &str) -> BTreeMap<String, Effective> {
        let account = self.account_named(user_name).await;
        let shown = self.app.provision.directory_fields(self.id, &account).await.unwrap();
        shown.into_iter().map(|one| (one.field.clone(), one)).collect()
    }

    async fn unmatched(&self) -> Vec<(String, i64)> {
        let found = self.app.provision.unmatched(self.id, 100).await.unwrap();
        found
            .into_iter()
            .map(|one| (format!("{}:{}", one.table, one.value), one.accounts))
            .collect()
    }

    async fn write_fields(&self, user_name: &str, fields: &[(&str, &str)]) -> Result<(), String> {
        let (author, values) = (self.app.provision.operator(), written(fields));
        let set = self.app.provision.set_local_fields(&author, self.id, user_name, &values).await;
        set.map(drop).map_err(|error| error.to_string())
    }
}

/// A person with everything that the default mapping reads.
fn ann() -> Value {
    json!({
        "displayName": "Ann Lee", "title": "Clerk",
        "name": { "givenName": "Ann", "familyName": "Lee" },
        "emails": [
            { "value": "ann@home.example", "type": "home" },
            { "value": "ann@example.com", "type": "work", "primary": true },
        ],
        "phoneNumbers": [
            { "value": "+41 1", "type": "mobile" }, { "value": "+41 2", "type": "work" },
        ],
        ENTERPRISE: { "manager": { "value": "boss@example.com" }, "department": "Sales" },
    })
}

both! {
    async fn the_default_mapping_fills_the_fields_of_every_instance(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        let recorder = Recorder::start();
        let id = client.person("ann@example.com", ann()).await;
        let expected = json!({
            "user_name": "ann@example.com", "display_name": "Ann Lee", "given_name": "Ann",
            "family_name": "Lee", "email": "ann@example.com", "work_phone": "+41 2",
            "mobile_phone": "+41 1", "manager": "boss@example.com", "job_title": "Clerk",
        });
        assert_eq!(test.mapped("ann@example.com").await, expected);
        // Without a primary address that at work counts, or else any.
        let change = json!([
            { "op": "replace", "path": "emails", "value": [
                { "value": "a@x.example", "type": "other" }, { "value": "b@x.example", "type": "work" },
            ] },
            { "op": "remove", "path": "title" },
        ]);
        assert_eq!(client.patch(&format!("/Users/{id}"), change).await.status, 200);
        let mapped = test.mapped("ann@example.com").await;
        assert_eq!((&mapped["email"], &mapped["job_title"]), (&json!("b@x.example"), &Value::Null));
        // It costs no statement.
        let mut statements = recorder.take().into_iter();
        let about = ["mappings", "lookups", "lookup_misses"];
        assert!(!statements.any(|one| about.iter().any(|table| one.sql.contains(table))));
        // Local people have it too, and what administrators write counts for more.
        test.local_person("lea@example.com", json!({ "title": "Cook" })).await;
        assert_eq!(test.mapped("lea@example.com").await["job_title"], "Cook");
        test.write_fields("lea@example.com", &[("job_title", "Chef"), ("email", "lea@x")]).await.unwrap();
        let shown = test.shown("lea@example.com").await;
        assert_eq!(shown["job_title"].value.as_deref(), Some("Chef"));
        assert!(!shown["job_title"].mapped);
        // The first four rows stay.
        let refused = test.save(okta.id, MappingChange::Row(row("user_name", &["title"], vec![]))).await;
        assert!(refused.unwrap_err().contains("user_name is always filled from userName"));
        let refused = test.save(okta.id, MappingChange::Without("given_name".to_owned())).await;
        assert!(refused.unwrap_err().contains("always filled"));
    }

    async fn any_attribute_fills_any_field(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        for field in ["badge", "town", "phones", "grade"] {
            test.field(field).await;
        }
        let badge = row("badge", &[&format!("{HR}:badge")], vec![]);
        let refused = test.save(okta.id, MappingChange::Row(badge.clone())).await.unwrap_err();
        assert!(refused.contains(&format!("the field badge: no schema of the instance defines {HR}:badge")));
        assert!(refused.contains(ENTERPRISE), "{refused}");
        let refused = test.save(okta.id, MappingChange::Row(row("desk", &["title"], vec![]))).await;
        assert!(refused.unwrap_err().contains("define it first, or take one of email"));
        let schema = parse(&json!({ "id": HR, "attributes": [
            { "name": "badge" }, { "name": "pin", "mutability": "writeOnly" },
            { "name": "grades", "type": "integer", "multiValued": true },
        ] })).unwrap();
        let author = test.app.provision.operator();
        let provision = &test.app.provision;
        provision.define_schema(&author, test.id, Holder::User, schema).await.unwrap();
        let pin = MappingChange::Row(row("badge", &[&format!("{HR}:pin")], vec![]));
        assert!(test.save(okta.id, pin).await.unwrap_err().contains("never returned"));
        test.set_row(okta.id, badge).await;
        let town = ["addresses[type eq \"work\" and primary eq true].locality"];
        test.set_row(okta.id, row("town", &town, vec![])).await;
        let join = Transform::Join { separator: " / ".to_owned() };
        test.set_row(okta.id, row("phones", &["phoneNumbers.value"], vec![join.clone()])).await;
        test.set_row(okta.id, row("grade", &[&format!("{HR}:grades")], vec![join])).await;
        let lower = vec![Transform::Trim, Transform::Lower];
        test.set_row(okta.id, row("email", &["emails.value"], lower)).await;
        let staff = Transform::Default { text: "Staff".to_owned() };
        test.set_row(okta.id, row("job_title", &["title", "userType"], vec![staff])).await;
        let id = client.person("ann@example.com", json!({
            "emails": [{ "value": " Ann@Example.COM ", "type": "work" }],
            "phoneNumbers": [{ "value": "1" }, { "value": "2" }],
            "addresses": [
                { "locality": "Bern", "type": "home" },
                { "locality": "Basel", "type": "work", "primary": true },
            ],
            HR: { "badge": "B-7", "grades": [3, 4] },
        })).await;
        assert_eq!(test.mapped("ann@example.com").await, json!({
            "user_name": "ann@example.com", "email": "ann@example.com", "town": "Basel",
            "phones": "1 / 2", "badge": "B-7", "grade": "3 / 4", "job_title": "Staff",
        }));
        let change = json!([{ "op": "add", "path": "userType", "value": "Guest" }]);
        assert_eq!(client.patch(&format!("/Users/{id}"), change).await.status, 200);
        assert_eq!(test.mapped("ann@example.com").await["job_title"], "Guest");
        // A field that is filled stays; a schema that goes leaves no value behind.
        let refused = provision.remove_field(&author, test.id, "badge").await.unwrap_err();
        assert!(refused.to_string().contains("filled by \"Okta\""), "{refused}");
        provision.remove_schema(&author, test.id, HR).await.unwrap();
        assert_eq!(test.remap(okta.id).await, 1);
        assert_eq!(test.mapped("ann@example.com").await["badge"], Value::Null);
        // Other rows can change although that path is unknown now.
        test.set_row(okta.id, row("town", &["locale"], vec![])).await;
        test.save(okta.id, MappingChange::Without("badge".to_owned())).await.unwrap();
        provision.remove_field(&author, test.id, "badge").await.unwrap();
        let names: Vec<_> = provision.fields(test.id).await.unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["grade", "phones", "town"]);
    }

    async fn what_a_table_lacks_is_listed_until_it_has_it(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        test.entries(&[("Clerk", "JOB-1"), ("Straße", "JOB-2")]).await;
        test.set_row(okta.id, row("job_title", &["title"], by_table())).await;
        for (name, title) in [("a@x", " CLERK"), ("b@x", "Chief "), ("c@x", "chief"), ("d@x", "STRASSE")] {
            client.person(name, json!({ "title": title })).await;
        }
        let title = |value: &Value| value["job_title"].clone();
        assert_eq!(title(&test.mapped("a@x").await), "JOB-1");
        assert_eq!(title(&test.mapped("d@x").await), "JOB-2");
        assert_eq!(title(&test.mapped("b@x").await), Value::Null);
        assert_eq!(test.unmatched().await, [("titles:Chief".to_owned(), 2)]);
        // The table gets it: the list heals at once, the people when they are evaluated again.
        test.entries(&[("CHIEF", "JOB-9")]).await;
        assert_eq!(test.unmatched().await, []);
        assert_eq!(title(&test.mapped("b@x").await), Value::Null);
        assert_eq!(test.remap(okta.id).await, 2);
        assert_eq!(title(&test.mapped("b@x").await), "JOB-9");
        assert_eq!(test.remap(okta.id).await, 0);
        // The table loses it again.
        let author = test.app.provision.operator();
        let provision = &test.app.provision;
        provision.remove_lookup(&author, test.id, "titles", "chief").await.unwrap();
        assert_eq!(test.remap(okta.id).await, 2);
        assert_eq!(test.unmatched().await, [("titles:Chief".to_owned(), 2)]);
        // Who has another value, or is gone, is no longer counted.
        let b = test.account_named("b@x").await.id;
        let change = json!([{ "op": "replace", "path": "title", "value": "Clerk" }]);
        assert_eq!(client.patch(&format!("/Users/{b}"), change).await.status, 200);
        assert_eq!(test.unmatched().await, [("titles:chief".to_owned(), 1)]);
        let c = test.account_named("c@x").await.id;
        assert_eq!(client.delete(&format!("/Users/{c}")).await.status, 204);
        assert_eq!(test.unmatched().await, []);
        // A row that asks no table forgets what it missed.
        client.person("e@x", json!({ "title": "Cook" })).await;
        assert_eq!(test.unmatched().await.len(), 1);
        test.save(okta.id, MappingChange::Default).await.unwrap();
        test.remap(okta.id).await;
        assert_eq!(test.unmatched().await, []);
    }

    /// More values than are noted when they are missed.
    async fn every_value_is_looked_up(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        let names: Vec<_> = (0..150).map(|n| format!("r{n}")).collect();
        test.entries(&names.iter().map(|name| (name.as_str(), "x")).collect::<Vec<_>>()).await;
        let all = vec![
            Transform::Lookup { table: "titles".to_owned() },
            Transform::Join { separator: String::new() },
        ];
        test.set_row(okta.id, row("job_title", &["roles.value"], all)).await;
        let roles = |start: &str| -> Value {
            names.iter().map(|name| json!({ "value": format!("{start}{name}") })).collect()
        };
        client.person("ann@example.com", json!({ "roles": roles("") })).await;
        assert_eq!(test.mapped("ann@example.com").await["job_title"], "x".repeat(150));
        assert_eq!(test.unmatched().await, []);
        client.person("bob@example.com", json!({ "roles": roles("no ") })).await;
        assert_eq!(test.unmatched().await.len(), 100);
        // What no table can have is not on the list.
        let long = json!({ "roles": [{ "value": "x".repeat(513) }] });
        client.person("eve@example.com", long).await;
        assert_eq!(test.unmatched().await.len(), 100);
    }

    async fn tables_refuse_what_does_not_fit(database) {
        let test = TestInstance::on(&database).await;
        let provision = &test.app.provision;
        let author = provision.operator();
        let long = "x".repeat(513);
        for (table, entries, why) in [
            ("Titles", vec![entry("a", "b")], "cannot be the name"),
            ("titles", vec![entry("a", " ")], "1 to 1000 characters"),
            ("titles", vec![entry("", "b")], "1 to 1000 characters"),
            ("titles", vec![entry(&long, "b")], "512"),
            ("titles", vec![entry("a", "1"), entry("A", "2")], "is there twice"),
        ] {
            let refused = provision.load_lookup(&author, test.id, table, entries).await.unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert_eq!(provision.lookup_tables(test.id).await.unwrap(), []);
        // Two batches, and an audit row for each.
        let many = || (0..600).map(|n| entry(&format!("t{n}"), "J")).collect();
        let loaded = provision.load_lookup(&author, test.id, "titles", many()).await.unwrap();
        assert_eq!((loaded.added, loaded.changed), (600, 0));
        let loaded = provision.load_lookup(&author, test.id, "titles", many()).await.unwrap();
        assert_eq!((loaded.added, loaded.changed), (0, 0));
        let loaded = provision.load_lookup(&author, test.id, "titles", vec![entry("T1", "K")]).await;
        assert_eq!(loaded.unwrap().changed, 1);
        assert_eq!(provision.lookup_entries(test.id, "titles").await.unwrap().len(), 600);
        let trail = test.trail(&test.id.to_string()).await;
        let loads = trail.iter().filter(|event| event.action == "lookup.loaded").count();
        assert_eq!(loads, 3);
    }

    async fn versions_are_compared_and_taken_back(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        let provision = &test.app.provision;
        let one = test.set_row(okta.id, row("job_title", &["userType"], vec![])).await;
        assert_eq!(one.version, 1);
        assert_eq!(one.changes, ["job_title is from userType; it was from title"]);
        let again = test.set_row(okta.id, row("job_title", &["userType"], vec![])).await;
        assert_eq!((again.version, again.changes.len()), (1, 0));
        test.save(okta.id, MappingChange::Without("manager".to_owned())).await.unwrap();
        client.person("ann@example.com", ann()).await;
        assert_eq!(test.mapped("ann@example.com").await.get("manager"), None);
        let back = test.save(okta.id, MappingChange::Version(1)).await.unwrap();
        assert_eq!(back.version, 3);
        assert_eq!(back.changes.len(), 1);
        let differences = async |from, to| {
            provision.mapping_differences(test.id, okta.id, from, to).await.unwrap()
        };
        assert_eq!(differences(1, 3).await, Vec::<String>::new());
        assert_eq!(differences(0, 2).await.len(), 2);
        let restored = test.save(okta.id, MappingChange::Version(0)).await.unwrap();
        assert_eq!(restored.version, 4);
        let history = provision.mapping_history(test.id, okta.id, 10).await.unwrap();
        let notes: Vec<_> = history.iter().map(|one| (one.version, one.note.as_str())).collect();
        assert_eq!(notes, [
            (4, "rolled back to version 0"), (3, "rolled back to version 1"),
            (2, "removed manager"), (1, "set job_title"),
        ]);
        assert!(history.iter().all(|one| one.author == "cli" && one.created_at.0 == 1_800_000_000_000));
        let refused = test.save(okta.id, MappingChange::Version(9)).await.unwrap_err();
        assert!(refused.contains("no version 9; there are 0, the default mapping, to 4"));
        let trail = test.trail(&okta.id.to_string()).await;
        let saved: Vec<_> = trail.iter().filter(|event| event.action == "mapping.saved").collect();
        assert_eq!(saved.len(), 4);
        assert_eq!(saved[0].before, Some(json!({ "version": 0, "rows": [
            { "field": "job_title", "sources": ["title"], "transforms": [], "read_only": false },
        ] })));
        assert_eq!(saved[0].after.as_ref().unwrap()["rows"][0]["sources"], json!(["userType"]));
    }

    async fn a_preview_writes_nothing(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        client.person("ann@example.com", ann()).await;
        client.person("bob@example.com", json!({})).await;
        test.local_person("lea@example.com", json!({ "title": "Cook" })).await;
        let before = test.everything().await;
        let rows = || Some(vec![row("job_title", &["title"], by_table())]);
        let provision = &test.app.provision;
        let preview = provision.preview_mapping(test.id, okta.id, rows(), None, 100).await.unwrap();
        assert_eq!(preview.unmatched, [("titles".to_owned(), "Clerk".to_owned())]);
        let names: Vec<_> = preview.accounts.iter().map(|one| one.user_name.as_str()).collect();
        assert_eq!(names, ["ann@example.com", "bob@example.com"]);
        // All other rows are left out of the candidate.
        let mut gone: Vec<_> = preview.accounts[0].changes.iter().map(|one| one.field.as_str()).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["email", "job_title", "manager", "mobile_phone", "work_phone"]);
        assert!(preview.accounts[0].changes.iter().all(|one| one.before.is_some() && one.after.is_none()));
        assert_eq!(preview.accounts[1].changes, []);
        let one = provision.preview_mapping(test.id, okta.id, None, Some("BOB@example.com"), 1).await;
        assert_eq!(one.unwrap().accounts.len(), 1);
        for stranger in ["lea@example.com", "nobody"] {
            let refused = provision.preview_mapping(test.id, okta.id, None, Some(stranger), 1).await;
            assert!(refused.unwrap_err().to_string().contains("has no account"));
        }
        let unknown = Some(vec![row("job_title", &["titel"], vec![])]);
        let refused = provision.preview_mapping(test.id, okta.id, unknown, None, 1).await;
        assert!(refused.unwrap_err().to_string().contains("defines titel"));
        assert_eq!(test.everything().await, before);
        assert_eq!(test.unmatched().await, []);
        assert_eq!(provision.mapping(test.id, okta.id, None).await.unwrap().0, 0);
    }

    async fn people_follow_a_new_mapping_page_by_page(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        let operations: Vec<_> = (0..1001).map(|n| json!({
            "method": "POST", "path": "/Users", "bulkId": format!("b{n}"),
            "data": person(&format!("p{n}"), json!({ "title": "Clerk" })),
        })).collect();
        for operations in operations.chunks(500) {
            let body = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
                "Operations": operations,
            });
            assert_eq!(client.post("/Bulk", body).await.status, 200);
        }
        test.local_person("lea@example.com", json!({ "title": "Cook" })).await;
        let saved = test.save(okta.id, MappingChange::Without("job_title".to_owned())).await;
        assert_eq!(saved.unwrap().version, 1);
        // Nothing happens to those who are there, until somebody writes them.
        assert_eq!(test.mapped("p7").await["job_title"], "Clerk");
        let (p7, version) = (test.account_named("p7").await.id, test.account_named("p8").await.version);
        let change = json!([{ "op": "add", "path": "nickName", "value": "Seven" }]);
        assert_eq!(client.patch(&format!("/Users/{p7}"), change).await.status, 200);
        assert_eq!(test.mapped("p7").await.get("job_title"), None);
        let author = test.app.provision.operator();
        let done = test.app.provision.remap(test.id, okta.id, &author).await.unwrap();
        assert_eq!((done.seen, done.changed), (1001, 1000));
        let p8 = test.account_named("p8").await;
        assert_eq!(p8.fields.get("job_title"), None);
        assert_eq!(p8.version, version + 1);
        let trail = test.trail(&p8.id.to_string()).await;
        let last = trail.last().unwrap();
        assert_eq!(last.action, "account.remapped");
        assert_eq!(last.before, Some(json!({ "fields": { "job_title": "Clerk" } })));
        assert_eq!(last.after, Some(json!({ "fields": {} })));
        assert_eq!(test.mapped("lea@example.com").await["job_title"], "Cook");
        assert_eq!(test.remap(okta.id).await, 0);
    }

    async fn a_local_edit_of_what_a_connection_fills_is_refused_with_its_name(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        test.field("badge").await;
        client.person("ann@example.com", ann()).await;
        // Also where the source has no value.
        client.person("bob@example.com", json!({})).await;
        for (field, name) in [("job_title", "ann@example.com"), ("work_phone", "bob@example.com"),
            ("user_name", "bob@example.com")] {
            let refused = test.write_fields(name, &[("badge", "B"), (field, "X")]).await.unwrap_err();
            let expected = format!("{field} of {name} belongs to the connection \"Okta\"");
            assert!(refused.contains(&expected), "{refused}");
        }
        assert_eq!(test.shown("ann@example.com").await["badge"].value, None);
        test.write_fields("ann@example.com", &[("badge", "B-1")]).await.unwrap();
        let shown = test.shown("ann@example.com").await;
        assert_eq!(shown["badge"].value.as_deref(), Some("B-1"));
        assert_eq!((shown["badge"].mapped, shown["job_title"].mapped), (false, true));
        // What the connection does not fill any more can be edited, and counts at once.
        test.save(okta.id, MappingChange::Without("job_title".to_owned())).await.unwrap();
        assert_eq!(test.shown("ann@example.com").await["job_title"].value.as_deref(), Some("Clerk"));
        test.write_fields("ann@example.com", &[("job_title", "Boss")]).await.unwrap();
        assert_eq!(test.shown("ann@example.com").await["job_title"].value.as_deref(), Some("Boss"));
        // What it fills again is its own again.
        test.save(okta.id, MappingChange::Default).await.unwrap();
        assert_eq!(test.shown("ann@example.com").await["job_title"].value.as_deref(), Some("Clerk"));
        // Removing, repeating, and what cannot be.
        test.write_fields("ann@example.com", &[("badge", "")]).await.unwrap();
        assert_eq!(test.shown("ann@example.com").await["badge"].value, None);
        let version = test.account_named("ann@example.com").await.version;
        test.write_fields("ann@example.com", &[("badge", "")]).await.unwrap();
        assert_eq!(test.account_named("ann@example.com").await.version, version);
        let long = "x".repeat(1001);
        for (field, value, why) in [("desk", "1", "there is no field"), ("badge", &long, "1000")] {
            let refused = test.write_fields("ann@example.com", &[(field, value)]).await.unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        test.local_person("lea@example.com", json!({})).await;
        let refused = test.write_fields("lea@example.com", &[("user_name", "x")]).await.unwrap_err();
        assert!(refused.contains("signs in with"), "{refused}");
        let id = test.account_named("ann@example.com").await.id.to_string();
        let trail = test.trail(&id).await;
        let set: Vec<_> = trail.iter().filter(|event| event.action == "account.fields_set").collect();
        assert_eq!(set.len(), 3);
        assert_eq!(set[0].after, Some(json!({ "fields": { "badge": "B-1" } })));
        // A person who is picked up keeps what the connection does not fill.
        test.write_fields("lea@example.com", &[("badge", "L-1"), ("job_title", "Cook")]).await.unwrap();
        client.person("LEA@example.com", json!({ "title": "Chef" })).await;
        let shown = test.shown("lea@example.com").await;
        assert_eq!(shown["badge"].value.as_deref(), Some("L-1"));
        assert_eq!(shown["job_title"].value.as_deref(), Some("Chef"));
    }

    async fn instances_do_not_reach_each_other(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        let other = test.neighbour().await;
        let (theirs, their_client) = other.with_okta().await;
        test.field("badge").await;
        test.entries(&[("Clerk", "JOB-1")]).await;
        test.set_row(okta.id, row("job_title", &["title"], by_table())).await;
        let refused = other.save(theirs.id, MappingChange::Row(row("badge", &["title"], vec![]))).await;
        assert!(refused.unwrap_err().contains("there is no field \"badge\""));
        other.set_row(theirs.id, row("job_title", &["title"], by_table())).await;
        client.person("ann@example.com", json!({ "title": "Clerk" })).await;
        their_client.person("ann@example.com", json!({ "title": "Clerk" })).await;
        assert_eq!(test.mapped("ann@example.com").await["job_title"], "JOB-1");
        assert_eq!(other.mapped("ann@example.com").await.get("job_title"), None);
        assert_eq!(test.unmatched().await, []);
        assert_eq!(other.unmatched().await, [("titles:Clerk".to_owned(), 1)]);
        assert_eq!(other.app.provision.lookup_entries(other.id, "titles").await.unwrap(), []);
        // A connection of the other instance is none of this one.
        let refused = test.save(theirs.id, MappingChange::Default).await.unwrap_err();
        assert!(refused.contains("has no connection"), "{refused}");
        let author = test.app.provision.operator();
        let provision = &test.app.provision;
        assert!(provision.mapping(test.id, theirs.id, None).await.is_err());
        assert!(provision.remap(test.id, theirs.id, &author).await.is_err());
        assert!(provision.preview_mapping(test.id, theirs.id, None, None, 5).await.is_err());
        assert_eq!(provision.mapping_history(test.id, theirs.id, 5).await.unwrap(), []);
        assert!(provision.remove_field(&author, other.id, "badge").await.is_err());
        assert!(provision.remove_lookup(&author, other.id, "titles", "Clerk").await.is_err());
    }

    /// A person who is written while everybody is evaluated again has the newest mapping, and no change of
    /// the person is lost.
    async fn writing_and_evaluating_at_once_end_in_one_state(database) {
        let test = TestInstance::on(&database).await;
        let (okta, client) = test.with_okta().await;
        let id = client.user("ann@example.com").await;
        for round in 0..20 {
            let word = format!("round {round}");
            let default = Transform::Default { text: word.clone() };
            test.set_row(okta.id, row("job_title", &["title"], vec![default])).await;
            let barrier = Barrier::new(2);
            let write = async {
                barrier.wait().await;
                let change = json!([{ "op": "add", "path": "nickName", "value": word }]);
                client.patch(&format!("/Users/{id}"), change).await.status
            };
            let evaluate = async {
                barrier.wait().await;
                test.remap(okta.id).await
            };
            let (status, _) = tokio::join!(write, evaluate);
            assert_eq!(status, 200);
            let account = test.account_named("ann@example.com").await;
            assert_eq!(account.fields["job_title"], word.as_str());
            assert_eq!(account.document["nickName"], word.as_str());
        }
    }

    async fn two_who_save_at_once_make_two_versions(database) {
        let test = TestInstance::on(&database).await;
        let (okta, _) = test.with_okta().await;
        for round in 0..10 {
            let barrier = Barrier::new(2);
            let save = async |field: &str| {
                barrier.wait().await;
                let join = Transform::Join { separator: round.to_string() };
                test.set_row(okta.id, row(field, &["title"], vec![join])).await.version
            };
            let (one, other) = tokio::join!(save("job_title"), save("work_phone"));
            assert_eq!(one.abs_diff(other), 1);
            assert_eq!(one.max(other), (round + 1) * 2);
            let (_, mapping) = test.app.provision.mapping(test.id, okta.id, None).await.unwrap();
            for field in ["job_title", "work_phone"] {
                let row = mapping.row(field).unwrap();
                assert_eq!(row.transforms, [Transform::Join { separator: round.to_string() }]);
            }
        }
    }
}
