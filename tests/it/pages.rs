//! Pages of queries: their order, by index and by cursor, while people come and go (RFC 7644 §3.4.2,
//! RFC 9865).

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::support::{Answer, Client, Recorder, TestInstance, assert_refused, both};

const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Four people; Dora has nothing but her name. An hour lies between them.
async fn four_people(test: &TestInstance, client: &Client) {
    let people = [
        (
            "carl",
            json!({ "displayName": "b", "externalId": "2", "active": false,
            "name": { "familyName": "Zed" }, "emails": [
                { "value": "a@x.example" }, { "value": "y@x.example", "primary": true },
            ], "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "q" } }),
        ),
        (
            "ANN",
            json!({ "displayName": "C", "externalId": "1", "name": { "familyName": "young" },
            "emails": [{ "value": "z@x.example" }] }),
        ),
        ("dora", json!({})),
        (
            "bob",
            json!({ "displayName": "a", "externalId": "B", "name": { "familyName": "Abel" },
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "P" } }),
        ),
    ];
    for (name, attributes) in people {
        client.person(name, attributes).await;
        test.advance(Duration::from_hours(1));
    }
}

/// The first letters of the names on a page, in order.
fn letters(page: &Answer) -> String {
    let resources = page.at("/Resources");
    let name =
        |one: &Value| one["userName"].as_str().or(one["displayName"].as_str()).map(str::to_owned);
    let names = resources.as_array().unwrap().iter().filter_map(name);
    names.map(|name| name[..1].to_lowercase()).collect()
}

/// The ids on a page.
fn ids(page: &Answer) -> Vec<String> {
    let resources = page.at("/Resources");
    resources.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// How a walk turns its pages.
#[derive(Debug, Clone, Copy)]
enum Way {
    Index,
    Cursor,
}

/// Where a walk stands.
struct Walk<'c> {
    client: &'c Client,
    path: String,
    way: Way,
    next: Option<String>,
}

impl<'c> Walk<'c> {
    fn new(client: &'c Client, path: &str, way: Way) -> Self {
        let first = match way {
            Way::Index => "startIndex=1".to_owned(),
            Way::Cursor => "cursor=".to_owned(),
        };
        Self { client, path: path.to_owned(), way, next: Some(first) }
    }

    /// The next page; `None` behind the last one.
    async fn page(&mut self) -> Option<Answer> {
        let answer = self.client.get(&format!("{}&{}", self.path, self.next.take()?)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.next = match self.way {
            Way::Index => {
                let read = answer.at("/startIndex").as_u64().unwrap()
                    + answer.at("/itemsPerPage").as_u64().unwrap();
                let total = answer.at("/totalResults").as_u64().unwrap();
                (read <= total).then(|| format!("startIndex={read}"))
            }
            Way::Cursor => {
                assert_eq!(answer.at("/startIndex"), Value::Null);
                let next = answer.at("/nextCursor");
                next.as_str().map(|cursor| format!("cursor={cursor}"))
            }
        };
        Some(answer)
    }
}

both! {
    async fn people_come_in_the_order_that_is_asked_for(database) {
        let test = TestInstance::on(&database).await;
        let client = test.entra().await;
        four_people(&test, &client).await;
        let department = format!("{ENTERPRISE}:department");
        //  sortBy          ascending  descending
        let cases = [
            ("userName", "abcd", "dcba"),
            ("USERNAME", "abcd", "dcba"),
            // Without a value: last, and first when it descends.
            ("displayName", "bcad", "dacb"),
            // Case-exact: `B` stands behind the digits.
            ("externalId", "acbd", "dbca"),
            ("name.familyName", "bacd", "dcab"),
            // The primary address counts, or else the first one.
            ("emails", "cadb", "bdac"),
            ("emails.value", "cadb", "bdac"),
            ("active", "cadb", "bdac"),
            ("meta.created", "cadb", "bdac"),
            ("meta.lastModified", "cadb", "bdac"),
            (department.as_str(), "bcad", "dacb"),
        ];
        for (by, ascending, descending) in cases {
            for (order, expected) in [("", ascending), ("ascending", ascending), ("Descending", descending)] {
                let query = format!("/Users?sortBy={by}&sortOrder={order}");
                let whole = client.get(&query).await;
                assert_eq!(letters(&whole), expected, "{query}");
                // Cut into pages, by index and by cursor, with and without a filter that no index tells.
                for filter in ["", "&filter=userName%20co%20%22%22", "&filter=not%20(title%20pr)"] {
                    for way in [Way::Index, Way::Cursor] {
                        let path = format!("{query}&count=1{filter}");
                        let (mut walk, mut seen) = (Walk::new(&client, &path, way), String::new());
                        while let Some(page) = walk.page().await {
                            assert_eq!(page.at("/totalResults"), 4, "{path}");
                            seen += &letters(&page);
                        }
                        assert_eq!(seen, expected, "{way:?} {path}");
                    }
                }
                // From the middle, without a walk before it.
                let middle = client.get(&format!("{query}&startIndex=2&count=2&attributes=userName")).await;
                assert_eq!(letters(&middle), expected[1..3], "{query}");
            }
        }
        for by in ["shoeSize", "name", "password", "emails[type eq \"work\"]", "urn:x:y:z", "a.b.c"] {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("sortBy", by).finish();
            let answer = client.get(&format!("/Users?{query}")).await;
            assert!(assert_refused(&answer, 400, "invalidValue").contains("sortBy"), "{by}");
        }
        let answer = client.get("/Users?sortBy=userName&sortOrder=upwards").await;
        assert!(assert_refused(&answer, 400, "invalidValue").contains("sortOrder"));
    }

    /// Nobody who is there all the while is missed or comes twice, whatever comes and goes meanwhile.
    async fn a_walk_meets_everybody_once(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let queries = [
            "/Users?count=3",
            "/Users?count=3&sortBy=userName",
            "/Users?count=3&sortBy=displayName&sortOrder=descending",
            "/Users?count=3&sortBy=title",
            "/Users?count=3&filter=not%20(title%20eq%20%22x%22)",
            "/Users?count=3&filter=active%20eq%20true&sortBy=externalId",
        ];
        for (round, query) in queries.into_iter().enumerate() {
            for way in [Way::Index, Way::Cursor] {
                let mut alive = BTreeSet::new();
                for number in 0..14 {
                    let name = format!("{way:?}{round}{number:02}");
                    let attributes = if number % 3 == 0 { json!({}) } else {
                        json!({ "displayName": name, "title": name, "externalId": name })
                    };
                    alive.insert(client.person(&name, attributes).await);
                }
                let (mut walk, mut seen) = (Walk::new(&client, query, way), Vec::new());
                let mut turn = 0;
                while let Some(page) = walk.page().await {
                    seen.extend(ids(&page));
                    // One who was seen goes, and one who was not; somebody new comes.
                    let gone = [seen.get(turn).cloned(), alive.iter().find(|id| !seen.contains(*id)).cloned()];
                    for id in gone.into_iter().flatten() {
                        if alive.remove(&id) {
                            assert_eq!(client.delete(&format!("/Users/{id}")).await.status, 204);
                        }
                    }
                    if turn < 3 {
                        client.user(&format!("{way:?}{round}new{turn}")).await;
                    }
                    turn += 1;
                    assert!(turn < 20, "{way:?} {query}: the walk does not end");
                }
                let once: BTreeSet<_> = seen.iter().cloned().collect();
                assert_eq!(once.len(), seen.len(), "{way:?} {query}: somebody came twice");
                let missed: Vec<_> = alive.difference(&once).collect();
                assert!(missed.is_empty(), "{way:?} {query}: {missed:?}");
                let all = client.get("/Users?count=1000").await;
                for id in ids(&all) {
                    client.delete(&format!("/Users/{id}")).await;
                }
            }
        }
    }

    async fn the_last_page_costs_what_the_second_one_costs(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for number in 0..60 {
            client.user(&format!("u{number:02}")).await;
        }
        for query in ["/Users?count=5", "/Users?count=5&sortBy=userName", "/Users?count=5&filter=active%20eq%20true"] {
            for way in [Way::Index, Way::Cursor] {
                let recorder = Recorder::start();
                let mut costs = Vec::new();
                let mut walk = Walk::new(&client, query, way);
                while walk.page().await.is_some() {
                    let statements = recorder.take().into_iter();
                    // How many marks of earlier pages there are to forget differs between the first pages.
                    let cost: Vec<_> = statements.filter(|one| !one.sql.starts_with("DELETE")).collect();
                    costs.push(cost);
                }
                assert_eq!(costs.len(), 12, "{way:?} {query}");
                for page in &costs[2..11] {
                    assert_eq!(*page, costs[1], "{way:?} {query}");
                }
                let later = costs[1..].iter().flatten();
                assert!(!later.into_iter().any(|one| one.sql.contains("COUNT")), "{way:?} {query}");
            }
        }
    }

    async fn a_cursor_is_good_for_its_own_query_and_an_hour(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let other = test.entra().await;
        for number in 0..5 {
            client.user(&format!("u{number}")).await;
        }
        let first = client.get("/Users?cursor&count=2").await;
        assert_eq!((first.at("/totalResults"), first.at("/itemsPerPage")), (json!(5), json!(2)));
        let cursor = first.text("/nextCursor");
        let page = client.get(&format!("/Users?cursor={cursor}&count=3")).await;
        assert_eq!((ids(&page).len(), page.at("/nextCursor")), (3, Value::Null), "the size may change");
        let refused = [
            format!("/Users?cursor={cursor}&sortBy=userName"),
            format!("/Users?cursor={cursor}&filter=userName%20pr"),
            format!("/Groups?cursor={cursor}"),
            format!("/?cursor={cursor}"),
            format!("/Users?cursor={}", &cursor[1..]),
            format!("/Users?cursor={cursor}x"),
            "/Users?cursor=1".to_owned(),
            "/Users?cursor=%00%ff".to_owned(),
        ];
        for path in refused {
            assert_refused(&client.get(&path).await, 400, "invalidCursor");
        }
        assert_refused(&other.get(&format!("/Users?cursor={cursor}")).await, 400, "invalidCursor");
        for count in ["-1", "x", "1.5"] {
            let answer = client.get(&format!("/Users?cursor=&count={count}")).await;
            assert_refused(&answer, 400, "invalidCount");
        }
        let both = client.get(&format!("/Users?cursor={cursor}&startIndex=2")).await;
        assert_refused(&both, 400, "invalidValue");
        test.advance(Duration::from_hours(1));
        assert_eq!(client.get(&format!("/Users?cursor={cursor}")).await.status, 200);
        test.advance(Duration::from_millis(1));
        let late = client.get(&format!("/Users?cursor={cursor}")).await;
        assert_refused(&late, 400, "expiredCursor");
    }

    /// A cursor can be read and written by anybody who tries; it can do no more than lead astray.
    async fn a_cursor_that_was_made_up_does_no_harm(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for number in 0..3 {
            client.person(&format!("u{number}"), json!({ "displayName": "x" })).await;
        }
        for by in ["userName", "displayName", "meta.created", "title"] {
            let path = format!("/Users?sortBy={by}&count=1");
            let first = client.get(&format!("{path}&cursor=")).await;
            let cursor = BASE64_URL_SAFE_NO_PAD.decode(first.text("/nextCursor")).unwrap();
            let cursor: Value = serde_json::from_slice(&cursor).unwrap();
            for key in [json!(1), json!(1.5), json!(-1e300), json!("a\u{0}b"), json!("x"), Value::Null] {
                let mut made_up = cursor.clone();
                made_up["a"][0]["k"] = key;
                made_up["t"] = json!(u64::MAX);
                made_up["c"] = json!(u64::MAX);
                let made_up = BASE64_URL_SAFE_NO_PAD.encode(made_up.to_string());
                let answer = client.get(&format!("{path}&cursor={made_up}")).await;
                assert!(matches!(answer.status, 200 | 400), "{by}: {answer:?}");
            }
        }
    }

    async fn a_search_finds_what_a_get_finds(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        four_people(&test, &client).await;
        client.group("Bakers", &[]).await;
        let search = |parameters: Value| {
            let mut body = parameters;
            body["schemas"] = json!([SEARCH]);
            body
        };
        let query = json!({ "filter": "displayName pr", "sortBy": "displayName", "sortOrder": "descending",
            "startIndex": 2, "count": 2, "attributes": ["displayName", "name.familyName"] });
        let got = client.get("/Users?filter=displayName%20pr&sortBy=displayName&sortOrder=descending\
            &startIndex=2&count=2&attributes=displayName,name.familyName").await;
        assert_eq!(client.post("/Users/.search", search(query)).await.body, got.body);
        assert_eq!(letters(&got), "ba");

        // All types together: in the order of types, or in the order that is asked for.
        let everything = client.post("/.search", search(json!({}))).await;
        assert_eq!(letters(&everything), "cadbb");
        assert_eq!(client.get("/").await.body, everything.body);
        assert_eq!(everything.at("/Resources/4/meta/resourceType"), "Group");
        //  filter                                   sortBy         found
        let cases = [
            ("displayName pr", Some("displayName"), "bcba"),
            ("userName sw \"b\"", None, "b"),
            ("not (userName pr)", None, "b"),
            ("members pr or userName eq \"ann\"", None, "a"),
            ("meta.resourceType eq \"Group\"", None, "b"),
            ("meta.resourceType eq \"User\" and displayName pr", None, "cab"),
            ("userName eq \"ANN\" or displayName eq \"bakers\"", None, "ab"),
        ];
        for (filter, sort_by, expected) in cases {
            for way in [Way::Index, Way::Cursor] {
                let mut path = form_urlencoded::Serializer::new("/?count=2&x=".to_owned());
                path.append_pair("filter", filter);
                if let Some(by) = sort_by {
                    path.append_pair("sortBy", by);
                }
                let path = path.finish();
                let (mut walk, mut seen) = (Walk::new(&client, &path, way), String::new());
                while let Some(page) = walk.page().await {
                    assert_eq!(page.at("/totalResults"), expected.len(), "{filter}");
                    seen += &letters(&page);
                }
                assert_eq!(seen, expected, "{way:?} {filter}");
            }
        }
        let jump = client.get("/?sortBy=displayName&startIndex=2&count=2").await;
        assert_eq!(letters(&jump), "cb");
        assert_refused(&client.get("/?filter=shoeSize%20pr").await, 400, "invalidFilter");
        assert_refused(&client.get("/?startIndex=20000").await, 400, "tooMany");
        for wrong in [json!([]), json!({}), json!({ "schemas": ["urn:x:y:z"] })] {
            assert_refused(&client.post("/.search", wrong).await, 400, "invalidSyntax");
        }
        for wrong in [json!({ "filter": {} }), json!({ "count": true }), json!({ "attributes": [1] })] {
            assert_refused(&client.post("/Users/.search", search(wrong)).await, 400, "invalidValue");
        }
        assert_refused(&client.get("/Users/.search").await, 405, "");
        let hidden = client.post("/Users/.search", search(json!({ "filter": "password eq \"x\"" }))).await;
        assert_refused(&hidden, 400, "invalidFilter");
    }

    /// The places of a walk that is over lead nobody astray.
    async fn a_walk_that_is_over_leaves_nothing_behind(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let mut people = Vec::new();
        for number in 0..4 {
            people.push(client.user(&format!("m{number}")).await);
        }
        for start in [1, 3] {
            client.get(&format!("/Users?startIndex={start}&count=2")).await;
        }
        for gone in &people[..2] {
            client.delete(&format!("/Users/{gone}")).await;
        }
        let first = client.get("/Users?startIndex=1&count=2").await;
        assert_eq!((ids(&first), first.at("/totalResults")), (people[2..].to_vec(), json!(2)));
        let behind = client.get("/Users?startIndex=3&count=2").await;
        assert_eq!((ids(&behind).len(), behind.at("/totalResults")), (0, json!(2)));
    }

    /// A page in the middle of nowhere, and pages that are asked for twice.
    async fn a_page_may_be_asked_for_again(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        for number in 0..9 {
            client.user(&format!("u{number}")).await;
        }
        let page = |start: u64| {
            let client = client.clone();
            async move { client.get(&format!("/Users?startIndex={start}&count=3")).await }
        };
        let (first, second) = (page(1).await, page(4).await);
        assert_eq!(client.delete(&format!("/Users/{}", ids(&first)[0])).await.status, 204);
        let again = page(4).await;
        assert_eq!(ids(&again), ids(&second), "a lost answer is asked for again");
        assert_eq!(ids(&page(7).await).len(), 3);
        // A new walk counts anew.
        assert_eq!(page(1).await.at("/totalResults"), 8);
        assert_eq!(client.get("/Users?startIndex=1&count=3&filter=userName%20eq%20%22%22").await.at("/totalResults"), 0);
    }
}
