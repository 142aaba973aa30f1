//! What a query finds, in which order, and how much of it is shown (RFC 7644 §3.4.2 and §3.9).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Client, TestInstance, assert_refused, both};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const DIRECTORY: &str = "urn:ietf:params:scim:schemas:extension:scimd:2.0:User";
const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// The ids of Ann, Bob and Carol, who were created in this order, an hour apart: Ann, at
/// 2027-01-15T08:00:00Z, with all kinds of attributes, Carol with nothing but a name.
async fn three_people(test: &TestInstance, client: &Client) -> [String; 3] {
    let ann = json!({
        "schemas": [CORE, ENTERPRISE],
        "userName": "Ann@Example.com",
        "externalId": "EXT-a",
        "displayName": "Ann Lee",
        "title": "Engineer",
        "active": true,
        "profileUrl": "https://Example.com/Ann",
        "name": { "givenName": "Ann", "familyName": "Lee" },
        "emails": [
            { "type": "work", "value": "ann@work.example", "primary": true },
            { "type": "home", "value": "ann@home.example" },
        ],
        "phoneNumbers": [{ "type": "work", "value": "+1 (555) 0100" }],
        "roles": [{ "value": "admin", "primary": "True", "type": "app" }],
        ENTERPRISE: { "employeeNumber": 7, "department": "Platform", "manager": "bob@example.com" },
    });
    let bob = json!({
        "schemas": [CORE, ENTERPRISE],
        "userName": "bob@example.com",
        "active": "False",
        "emails": [{ "type": "work", "value": "bob@work.example" }],
        ENTERPRISE: { "department": "Design \"Two\"" },
    });
    let carol = json!({ "schemas": [CORE], "userName": "carol@other.net" });
    let mut ids = Vec::new();
    for person in [ann, bob, carol] {
        let created = client.post("/Users", person).await;
        assert_eq!(created.status, 201, "{created:?}");
        ids.push(created.text("/id"));
        test.advance(Duration::from_hours(1));
    }
    ids.try_into().unwrap()
}

/// The first letters of the user names that a filter finds, in the order of the answer.
async fn found(client: &Client, filter: &str) -> String {
    let answer = client.find("/Users", filter).await;
    assert_eq!(answer.status, 200, "{filter}: {answer:?}");
    let names = column(&answer, "userName");
    assert_eq!(answer.at("/totalResults"), names.len(), "{filter}");
    let letters = names.iter().map(|name| name[..1].to_lowercase());
    letters.collect()
}

fn column(answer: &Answer, name: &str) -> Vec<String> {
    let resources = answer.at("/Resources");
    let values = resources.as_array().unwrap().iter();
    values.map(|one| one[name].as_str().unwrap().to_owned()).collect()
}

both! {
    #[expect(clippy::too_many_lines, reason = "one table")]
    async fn every_operator_works_on_every_kind_of_attribute(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let [ann, bob, carol] = three_people(&test, &client).await;
        let staff = client.group("Staff", &[&ann, &carol]).await;
        let cases = [
            // Text, without regard to case.
            ("userName eq \"ann@example.com\"", "a"),
            ("USERNAME EQ \"ANN@EXAMPLE.COM\"", "a"),
            ("userName ne \"ANN@example.com\"", "bc"),
            ("userName co \"@EXAMPLE\"", "ab"),
            ("userName sw \"BOB\"", "b"),
            ("userName ew \".NET\"", "c"),
            ("userName gt \"BOB@example.com\"", "c"),
            ("userName ge \"BOB@example.com\"", "bc"),
            ("userName lt \"BOB@example.com\"", "a"),
            ("userName le \"BOB@example.com\"", "ab"),
            ("title pr", "a"),
            ("not (title pr)", "bc"),
            ("not(title pr)", "bc"),
            ("displayName eq \"ann lee\"", "a"),
            ("name.familyName eq \"LEE\"", "a"),
            ("name pr", "a"),
            ("userName eq \"nobody\"", ""),
            // Text that regards case.
            ("externalId eq \"EXT-a\"", "a"),
            ("externalId eq \"ext-a\"", ""),
            ("externalId sw \"EXT\"", "a"),
            ("externalId sw \"ext\"", ""),
            ("externalId ne \"ext-a\"", "abc"),
            ("externalId pr", "a"),
            ("profileUrl eq \"https://Example.com/Ann\"", "a"),
            // Booleans, also as text.
            ("active eq true", "ac"),
            ("active eq false", "b"),
            ("active eq \"True\"", "ac"),
            ("active eq \"False\"", "b"),
            ("active eq False", "b"),
            ("active ne true", "b"),
            // Complex and multi-valued attributes.
            ("emails eq \"ANN@home.example\"", "a"),
            ("emails co \"@work.\"", "ab"),
            ("emails.value ew \"@home.example\"", "a"),
            ("emails.type eq \"work\"", "ab"),
            ("emails[type eq \"work\" and value ew \"@work.example\"]", "ab"),
            ("emails[type eq \"home\" and value eq \"ann@work.example\"]", ""),
            ("emails.type eq \"home\" and emails.value eq \"ann@work.example\"", "a"),
            ("emails[type eq \"home\"].value eq \"ann@home.example\"", "a"),
            ("emails[type eq \"work\"].value eq \"ann@home.example\"", ""),
            ("emails[not (type eq \"work\")]", "a"),
            ("emails[type eq \"home\" or value sw \"bob\"]", "ab"),
            ("emails[primary eq true]", "a"),
            ("emails[primary eq \"True\"]", "a"),
            ("emails.primary eq true", "a"),
            ("emails pr", "ab"),
            ("not (emails pr)", "c"),
            ("phoneNumbers.value eq \"+1 (555) 0100\"", "a"),
            ("roles[primary eq \"True\"]", "a"),
            ("roles[primary eq \"True\"].value eq \"admin\"", "a"),
            ("roles[primary eq \"False\"]", ""),
            // Extensions, in any case.
            ("urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"ann\"", "a"),
            ("URN:ietf:params:SCIM:schemas:core:2.0:user:USERNAME sw \"ann\"", "a"),
            ("E:department eq \"platform\"", "a"),
            ("E:department eq \"Design \\\"Two\\\"\"", "b"),
            ("E:employeeNumber eq \"7\"", "a"),
            ("E:manager pr", "a"),
            // Times, as times: other zones, other precision.
            ("meta.created eq \"2027-01-15T10:00:00+02:00\"", "a"),
            ("meta.created gt \"2027-01-15T08:30:00Z\"", "bc"),
            ("meta.created ge \"2027-01-15T09:00:00.000Z\"", "bc"),
            ("meta.created lt \"2027-01-15T09:00:00Z\"", "a"),
            ("meta.lastModified le \"2027-01-15T09:00:00Z\"", "ab"),
            ("meta.resourceType eq \"User\"", "abc"),
            // Logic.
            ("title pr or userName sw \"bob\" and active eq true", "a"),
            ("userName sw \"bob\" or title pr and active eq true", "ab"),
            ("(title pr or userName sw \"bob\") and active eq true", "a"),
            ("not (title pr or userName sw \"bob\")", "c"),
            ("title pr and not (active eq false)", "a"),
            ("Title PR AND NOT (Active EQ False)", "a"),
            // Values without quotes.
            ("userName eq ann@example.com", "a"),
            ("externalId eq EXT-a and active eq true", "a"),
            ("emails[value eq bob@work.example]", "b"),
        ];
        for (filter, expected) in cases {
            let filter = filter.replace("E:", &format!("{ENTERPRISE}:"));
            assert_eq!(found(&client, &filter).await, expected, "{filter}");
        }
        let with_ids = [
            (format!("id eq \"{ann}\""), "a"),
            (format!("id eq \"{}\"", ann.to_uppercase()), ""),
            (format!("id eq {ann}"), "a"),
            (format!("id ne \"{ann}\""), "bc"),
            (format!("id eq \"{bob}\" or id eq \"{carol}\""), "bc"),
            (format!("groups eq \"{staff}\""), "ac"),
            (format!("groups.value eq \"{staff}\""), "ac"),
            (format!("groups[value eq \"{staff}\"]"), "ac"),
            (format!("not (groups.value eq \"{staff}\")"), "b"),
            ("groups.display eq \"STAFF\"".to_owned(), "ac"),
            ("groups pr".to_owned(), "ac"),
            (format!("{DIRECTORY}:status eq \"suspended\""), "b"),
            (format!("{ENTERPRISE}:manager eq \"bob@example.com\""), "a"),
            (format!("id eq \"{ann}\" and {ENTERPRISE}:manager eq \"{carol}\""), ""),
        ];
        for (filter, expected) in &with_ids {
            assert_eq!(found(&client, filter).await, *expected, "{filter}");
        }
    }

    async fn groups_are_found_by_name_and_by_member(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let [ann, bob, _] = three_people(&test, &client).await;
        let staff = client.group("Staff", &[&ann, &bob]).await;
        client.group("Guests", &[]).await;
        client.group("All", &[&staff]).await;
        let cases = [
            ("displayName eq \"STAFF\"".to_owned(), vec!["Staff"]),
            ("DisplayName eq staff".to_owned(), vec!["Staff"]),
            ("displayName ne \"staff\"".to_owned(), vec!["Guests", "All"]),
            ("displayName co \"s\"".to_owned(), vec!["Staff", "Guests"]),
            (format!("members eq \"{ann}\""), vec!["Staff"]),
            (format!("members.value eq \"{bob}\""), vec!["Staff"]),
            (format!("members[value eq \"{bob}\"]"), vec!["Staff"]),
            (format!("members eq \"{staff}\""), vec!["All"]),
            (format!("id eq \"{staff}\" and members eq \"{ann}\""), vec!["Staff"]),
            (format!("displayName eq \"All\" and members eq \"{ann}\""), vec![]),
            ("members pr".to_owned(), vec!["Staff", "All"]),
            ("not (members pr)".to_owned(), vec!["Guests"]),
        ];
        for (filter, expected) in cases {
            let answer = client.find("/Groups", &filter).await;
            assert_eq!(answer.status, 200, "{filter}: {answer:?}");
            assert_eq!(column(&answer, "displayName"), expected, "{filter}");
        }
    }

    async fn a_person_is_found_once_however_often_she_matches(database) {
        let client = TestInstance::on(&database).await.entra().await;
        let body = json!({
            "schemas": [CORE], "userName": "twin@example.com", "emails": [
                { "type": "work", "value": "twin@example.com" },
                { "type": "home", "value": "TWIN@example.com" },
            ],
        });
        let twin = client.post("/Users", body).await.text("/id");
        for name in ["One", "Two"] {
            client.group(name, &[&twin]).await;
        }
        for filter in [
            "emails.value eq \"twin@example.com\"",
            "emails[type eq \"work\"].value eq \"twin@example.com\"",
            "emails eq \"twin@example.com\" or userName eq \"twin@example.com\"",
            "groups pr",
        ] {
            assert_eq!(found(&client, filter).await, "t", "{filter}");
        }
    }

    async fn a_filter_may_be_encoded_in_any_way_and_come_with_unknown_parameters(database) {
        let client = TestInstance::on(&database).await.okta().await;
        client.user("ann+1@example.com").await;
        for query in [
            "filter=userName%20eq%20%22ann%2B1@example.com%22",
            "filter=userName+eq+%22ann%2B1@example.com%22",
            "filter=userName+eq+ann%2b1%40example.com",
            "Filter=userName%09eq%20%20%22ann%2b1@example.com%22&aadOptscim062020",
            "aadOptscim062020&filter=userName+eq+%22ANN%2b1@example.com%22&x=%ff&sortBy=&=&&",
            "filter=userName+pr&sortBy=userName&sortOrder=descending",
            "filter=",
            "filter=%20",
        ] {
            let answer = client.get(&format!("/Users?{query}")).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            assert_eq!(answer.at("/totalResults"), 1, "{query}");
        }
        for query in ["filter=userName+eq+%22none%22", "filter=id+eq+%22none%22"] {
            let answer = client.get(&format!("/Users?{query}")).await;
            let expected = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": [],
            });
            assert_eq!((answer.status, answer.body), (200, expected), "{query}");
        }
    }

    async fn pages_say_truly_what_they_hold(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for number in 0..5 {
            client.user(&format!("u{number}@example.com")).await;
        }
        //  query                          startIndex items
        let cases = [
            ("", 1, "01234"),
            ("startIndex=1&count=2", 1, "01"),
            ("startIndex=4&count=2", 4, "34"),
            ("startIndex=5&count=2", 5, "4"),
            ("startIndex=6&count=2", 6, ""),
            ("startIndex=1000000&count=2", 1_000_000, ""),
            ("count=0", 1, ""),
            ("startIndex=0", 1, "01234"),
            ("startIndex=-3&count=1", 1, "0"),
            ("count=-1", 1, ""),
            ("STARTINDEX=3&Count=1", 3, "2"),
            ("startIndex=&count=", 1, "01234"),
            ("startIndex=2&count=2&filter=userName+ne+%22u1@example.com%22", 2, "23"),
        ];
        for (query, start_index, expected) in cases {
            let answer = client.get(&format!("/Users?{query}")).await;
            let total = if query.contains("filter") { 4 } else { 5 };
            let names = column(&answer, "userName");
            let numbers: String = names.iter().map(|name| &name[1..2]).collect();
            assert_eq!(numbers, expected, "{query}");
            assert_eq!(answer.at("/totalResults"), total, "{query}");
            assert_eq!(answer.at("/startIndex"), start_index, "{query}");
            assert_eq!(answer.at("/itemsPerPage"), names.len(), "{query}");
        }
    }

    async fn a_page_has_a_hundred_people_or_a_thousand_at_most(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let author = test.app.provision.operator();
        for number in 0..1001 {
            let Value::Object(person) = json!(
                { "userName": format!("u{number}") }
            ) else { unreachable!() };
            test.app.provision.create_local_account(test.id, &author, person).await.unwrap();
        }
        for (query, items) in [("", 100), ("count=101", 101), ("count=5000", 1000)] {
            let answer = client.get(&format!("/Users?{query}&attributes=userName")).await;
            assert_eq!(answer.at("/totalResults"), 1001, "{query}");
            assert_eq!(answer.at("/itemsPerPage"), items, "{query}");
            assert_eq!(column(&answer, "userName").len(), items, "{query}");
        }
        let (mut seen, mut start_index) = (Vec::new(), 1);
        while seen.len() < 1001 {
            let page = client.get(&format!("/Users?startIndex={start_index}&count=300")).await;
            let names = column(&page, "userName");
            assert!(!names.is_empty(), "no page at {start_index}");
            // A change between two pages must not move anybody.
            let moved = client.put(&format!("/Users/{}", page.text("/Resources/0/id")), json!({
                "schemas": [CORE], "userName": names[0], "title": "Moved",
            })).await;
            assert_eq!(moved.status, 200, "{moved:?}");
            start_index += names.len();
            seen.extend(names);
        }
        let expected: Vec<String> = (0..1001).map(|number| format!("u{number}")).collect();
        assert_eq!(seen, expected);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 1001);
    }

    async fn only_what_was_asked_for_is_shown(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        let [ann, ..] = three_people(&test, &client).await;
        let department = format!("/{ENTERPRISE}/department");
        let manager = format!("/{ENTERPRISE}/manager");
        let encoded = ENTERPRISE.replace(':', "%3A");
        let (department, manager) = (department.as_str(), manager.as_str());
        let cases = [
            (
                "attributes=userName".to_owned(), vec!["/userName"],
                vec!["/emails", "/active", "/meta", "/externalId", department],
            ),
            ("attributes=id".to_owned(), vec!["/id", "/schemas"], vec!["/userName", "/meta"]),
            (
                "Attributes=USERNAME,%20emails.VALUE".to_owned(),
                vec!["/userName", "/emails/0/value", "/emails/1/value"],
                vec!["/emails/0/type", "/title"],
            ),
            (
                "attributes=name.givenName".to_owned(), vec!["/name/givenName"],
                vec!["/name/familyName", "/userName"],
            ),
            (format!("attributes={ENTERPRISE}"), vec![department, manager], vec!["/userName"]),
            (
                format!("attributes={encoded}%3Adepartment"), vec![department],
                vec![manager, "/userName"],
            ),
            (format!("attributes={CORE}:userName"), vec!["/userName"], vec!["/title"]),
            (format!("attributes={DIRECTORY}"), vec![], vec!["/title", department]),
            (
                "attributes=meta.created".to_owned(), vec!["/meta/created"],
                vec!["/meta/location", "/userName"],
            ),
            ("attributes=shoeSize".to_owned(), vec!["/id"], vec!["/userName"]),
            (
                "excludedAttributes=emails,title".to_owned(),
                vec!["/userName", "/name/givenName", department], vec!["/emails", "/title"],
            ),
            (
                "excludedAttributes=emails.type,name.familyName".to_owned(),
                vec!["/emails/0/value", "/name/givenName"],
                vec!["/emails/0/type", "/name/familyName"],
            ),
            (
                format!("excludedAttributes={ENTERPRISE}"), vec!["/userName"],
                vec![department, manager],
            ),
            (format!("excludedAttributes={ENTERPRISE}:manager"), vec![department], vec![manager]),
            (
                "excludedAttributes=id,schemas,shoeSize".to_owned(),
                vec!["/id", "/schemas", "/title"], vec![],
            ),
        ];
        for (query, shown, hidden) in cases {
            let shows = |resource: &Value, way: &str| {
                assert_eq!(resource["id"], json!(ann), "{way} {query}");
                for pointer in &shown {
                    assert!(
                        resource.pointer(pointer).is_some(),
                        "{way} {query}: no {pointer}: {resource}",
                    );
                }
                for pointer in &hidden {
                    assert!(
                        resource.pointer(pointer).is_none(), "{way} {query}: {pointer}: {resource}",
                    );
                }
            };
            let path = format!("/Users/{ann}?{query}");
            shows(&client.get(&path).await.body, "GET");
            let list = client.get(&format!("/Users?filter=id+eq+{ann}&{query}")).await;
            shows(&list.at("/Resources/0"), "list");
            let title = json!([{ "op": "replace", "path": "title", "value": query }]);
            let patched = client.patch(&path, title).await;
            assert_eq!(patched.status, 200, "{query}");
            shows(&patched.body, "PATCH");
            let whole = client.get(&format!("/Users/{ann}")).await;
            shows(&client.put(&path, whole.body).await.body, "PUT");
        }
    }

    async fn a_created_person_has_an_address_whatever_is_shown_of_her(database) {
        let client = TestInstance::on(&database).await.entra().await;
        for (number, query) in ["attributes=userName", "attributes=id", "excludedAttributes=meta"]
            .into_iter()
            .enumerate()
        {
            let name = format!("u{number}");
            let body = json!({ "schemas": [CORE], "userName": name, "title": "Cook" });
            let created = client.post(&format!("/Users?{query}"), body).await;
            assert_eq!((created.status, created.at("/meta")), (201, Value::Null), "{query}");
            assert_eq!(created.at("/title").is_null(), query.starts_with('a'), "{query}");
            let id = created.text("/id");
            assert!(created.header("location").ends_with(&format!("/Users/{id}")), "{query}");
        }
    }

    async fn members_can_be_left_out_of_every_answer(database) {
        let client = TestInstance::on(&database).await.entra().await;
        let ann = client.user("ann@example.com").await;
        let group = client.group("Staff", &[&ann]).await;
        let one = format!("/Groups/{group}");
        let whole = client.get(&one).await;
        assert_eq!(whole.at("/members/0/value"), json!(ann));
        for query in [
            "excludedAttributes=members", "attributes=displayName", "excludedattributes=MEMBERS",
        ] {
            let rename = json!([{ "op": "replace", "path": "displayName", "value": query }]);
            let answers = [
                client.get(&format!("{one}?{query}")).await.body,
                client.get(&format!("/Groups?{query}")).await.at("/Resources/0"),
                client.get(
                    &format!("/Groups?filter=members+eq+{ann}&{query}"),
                ).await.at("/Resources/0"),
                client.patch(&format!("{one}?{query}"), rename).await.body,
                client.put(&format!("{one}?{query}"), whole.body.clone()).await.body,
            ];
            for answer in answers {
                assert_eq!(answer["id"], json!(group), "{query}");
                assert!(answer.get("members").is_none(), "{query}: {answer}");
            }
        }
        let part = client.get(&format!("{one}?attributes=members.value")).await;
        assert_eq!(part.at("/members"), json!([{ "value": ann }]));
    }

    async fn a_filter_that_cannot_be_right_is_refused(database) {
        let client = TestInstance::on(&database).await.entra().await;
        client.user("ann@example.com").await;
        for filter in [
            "userName", "userName eq", "eq \"x\"", "userName eq \"x", "userName is \"x\"",
            "userName eq \"x\" and",
            "and", "or userName pr", "not userName pr", "(userName pr", "userName pr)", "()", "[]",
            "userName pr pr",
            "userName eq \"x\" userName eq \"y\"", "emails[type eq \"work\"", "emails[]",
            "emails type eq \"work\"]",
            "userName eq \"\\x\"", "userName eq \"\\ud800\"",
            "userName eq \"x\"; DROP TABLE accounts", "user name pr",
            "userName eq \"a\" xor title pr", "emails[type eq \"work\"].value", "1 eq 1",
            "\"userName\" eq \"x\"",
            "shoeSize eq 43", "name.shoeSize pr", "emails[shoeSize eq 1]", "shoeSize pr",
            "not (shoeSize pr)",
            "userName eq \"x\" or shoeSize pr", "password eq \"secret\"", "active gt true",
            "active co \"tr\"",
            "active eq \"maybe\"", "meta.created gt \"yesterday\"", "meta.created gt 5", "*",
            "' or 1=1 --",
        ] {
            let answer = client.find("/Users", filter).await;
            assert_refused(&answer, 400, "invalidFilter");
        }
        for filter in ["userName eq \"x\"", "emails.value pr", "members[shoe eq 1]", "members eq"] {
            assert_refused(&client.find("/Groups", filter).await, 400, "invalidFilter");
        }
        let named = client.find("/Users", "title pr and shoeSize eq 43").await;
        assert!(assert_refused(&named, 400, "invalidFilter").contains("shoeSize"));
    }
}
