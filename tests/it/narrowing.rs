//! Whatever the database narrows by its indexes, the answer is what the filter selects.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use scimd::scim::filter;
use scimd::scim::habits::Habits;
use scimd::scim::schema::ResourceType;
use scimd::scim::schemas::Schemas;
use serde_json::{Value, json};

use super::support::{Answer, Client, TestInstance, both};

/// The filters that are tried for each kind of resource.
const FILTERS: usize = 250;

both! {
    async fn a_filter_selects_the_same_with_and_without_indexes(database) {
        let client = TestInstance::on(&database).await.okta().await;
        let (users, groups) = populate(&client).await;
        let schemas = Schemas::standard();
        for (kind, ids) in [(&schemas.user, &groups), (&schemas.group, &users)] {
            let all = client.get(&format!("{}?count=1000", kind.endpoint)).await;
            let mut runner = TestRunner::default();
            let mut selected = 0;
            for _ in 0..FILTERS {
                let filter = any_filter(kind, ids).new_tree(&mut runner).unwrap().current();
                selected += check(&client, kind, &all, &filter).await;
            }
            assert!(selected > FILTERS / 4, "filters that select nothing show nothing: {selected}");
        }
    }
}

/// Holds an answer of the server against the filter itself; how many resources it selected.
async fn check(client: &Client, kind: &ResourceType, all: &Answer, filter: &str) -> usize {
    let parsed = filter::parse(filter, &Habits::LENIENT).unwrap();
    let condition = filter::resolve(kind, &[], &parsed).unwrap();
    let resources = all.body["Resources"].as_array().unwrap();
    let id = |resource: &Value| resource["id"].as_str().unwrap().to_owned();
    let wanted: BTreeSet<String> = resources
        .iter()
        .filter(|resource| condition.matches(resource.as_object().unwrap()))
        .map(id)
        .collect();
    let answer = client.find(kind.endpoint, filter).await;
    let found: BTreeSet<String> =
        answer.body["Resources"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(found, wanted, "{filter}");
    assert_eq!(answer.at("/totalResults"), json!(wanted.len()), "{filter}");
    wanted.len()
}

/// People and groups with few distinct values, so that filters hit.
async fn populate(client: &Client) -> (Vec<String>, Vec<String>) {
    let mut users = Vec::new();
    for n in 0..24 {
        let mut user = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": format!("User{n}"),
            "active": n % 3 != 0,
        });
        if n % 2 == 0 {
            user["displayName"] = json!(["Ann", "ANN", "Bob"][n % 3]);
            user["emails"] = json!([
                { "type": "work", "value": format!("U{}@x.org", n % 5) },
                { "type": "home", "value": format!("h{}@x.org", n % 4), "primary": true },
            ]);
        }
        if n % 4 == 0 {
            user["externalId"] = json!(format!("E{}", n % 8));
        }
        let created = client.post("/Users", user).await;
        users.push(created.text("/id"));
    }
    let mut groups = Vec::new();
    for n in 0..6_usize {
        let members: Vec<&str> = users.iter().skip(n).step_by(n + 2).map(String::as_str).collect();
        groups.push(client.group(&format!("Group{n}"), &members).await);
    }
    client.delete(&format!("/Users/{}", users[4])).await;
    client.delete(&format!("/Groups/{}", groups[1])).await;
    (users, groups)
}

fn any_filter(kind: &'static ResourceType, ids: &[String]) -> BoxedStrategy<String> {
    let id = proptest::sample::select(ids.to_vec());
    let text = prop_oneof![
        (0..26_u8).prop_map(|n| format!("uSER{n}")),
        proptest::sample::select(vec!["ann", "Bob", "group2", "E0", "e4", "", "x"])
            .prop_map(str::to_owned),
        (0..6_u8).prop_map(|n| format!("u{n}@X.org")),
        (0..6_u8).prop_map(|n| format!("h{n}@x.org")),
        id.clone(),
    ];
    let names: Vec<&str> = match kind.name {
        "User" => vec![
            "userName",
            "displayName",
            "externalId",
            "id",
            "emails",
            "emails.value",
            "emails.type",
        ],
        _ => vec!["displayName", "externalId", "id"],
    };
    let related = if kind.name == "User" { "groups" } else { "members" };
    let compare = (
        proptest::sample::select(names.clone()),
        prop_oneof![6 => Just("eq"), 1 => Just("ne"), 1 => Just("sw"), 1 => Just("co"), 1 => Just("ge")],
        text.clone(),
    );
    let compare = compare.prop_map(|(name, op, text)| format!("{name} {op} \"{text}\""));
    let present = proptest::sample::select(names).prop_map(|name| format!("{name} pr"));
    let member = id.prop_map(move |id| format!("{related}.value eq \"{id}\""));
    let mut leaves = vec![compare.boxed(), present.boxed(), member.boxed()];
    if kind.name == "User" {
        leaves.push(any::<bool>().prop_map(|flag| format!("active eq {flag}")).boxed());
        leaves.push((0..6_u8).prop_map(|n| format!("emails[value eq \"u{n}@X.org\"]")).boxed());
        let inside = (proptest::sample::select(vec!["work", "home"]), text, any::<bool>());
        leaves.push(
            inside
                .prop_map(|(kind, text, both)| {
                    let glue = if both { "and" } else { "or" };
                    format!("emails[type eq \"{kind}\" {glue} value eq \"{text}\"]")
                })
                .boxed(),
        );
    }
    let leaf = proptest::strategy::Union::new(leaves);
    leaf.prop_recursive(3, 8, 3, |inner| {
        let many = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            many.clone().prop_map(|parts| format!("({})", parts.join(" and "))),
            many.prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    })
    .boxed()
}
