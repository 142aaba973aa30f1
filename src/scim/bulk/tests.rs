//! The plan of a bulk request, worked off on a directory that is a map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::references::{self, Piece};
use super::{Done, Plan, Request, Work};
use crate::scim::schemas::Schemas;
use crate::scim::{ErrorKind, ScimError};

const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

fn plan(operations: &[Value], fail_on_errors: Option<usize>) -> Plan {
    let body = json!({
        "schemas": [BULK], "failOnErrors": fail_on_errors, "Operations": operations,
    });
    Plan::new(Request::read(Schemas::standard(), body).unwrap())
}

/// A POST of a group whose members are other groups of the request.
fn group(name: usize, members: &BTreeSet<usize>) -> Value {
    let members: Vec<_> =
        members.iter().map(|id| json!({ "value": format!("bulkId:{id}") })).collect();
    json!({
        "method": "POST", "path": "/Groups", "bulkId": name.to_string(),
        "data": { "displayName": name.to_string(), "members": members },
    })
}

fn posts(graph: &[(usize, BTreeSet<usize>)]) -> Vec<Value> {
    graph.iter().map(|(name, members)| group(*name, members)).collect()
}

/// Groups by their names; an id is `id-` and the name.
#[derive(Debug, Default)]
struct Directory {
    groups: BTreeMap<String, BTreeSet<String>>,
    /// What fails when somebody creates it.
    broken: BTreeSet<String>,
    steps: usize,
}

impl Directory {
    fn run(&mut self, plan: &mut Plan) {
        while let Some(step) = plan.next_step() {
            self.steps += 1;
            let outcome = match &step.work {
                Work::Create(body) => self.create(body),
                Work::Replace(id, _, body) => Ok(self.keep(id, body)),
                Work::Patch(id, _, body) => Ok(self.join(id, &body["Operations"][0]["value"])),
                Work::Delete(id, _) => {
                    self.groups.remove(id);
                    Ok(Done { id: id.clone(), tag: None })
                }
            };
            plan.settle(step.index, outcome);
        }
    }

    fn create(&mut self, body: &Value) -> Result<Done, ScimError> {
        let name = body["displayName"].as_str().unwrap();
        let id = format!("id-{name}");
        assert!(!self.groups.contains_key(&id), "{id} is created twice");
        if self.broken.contains(name) {
            return Err(ScimError::new(ErrorKind::Uniqueness, "taken"));
        }
        Ok(self.keep(&id, body))
    }

    fn keep(&mut self, id: &str, body: &Value) -> Done {
        self.groups.insert(id.to_owned(), BTreeSet::new());
        self.join(id, &body["members"])
    }

    fn join(&mut self, id: &str, members: &Value) -> Done {
        for member in members.as_array().into_iter().flatten() {
            let member = member["value"].as_str().unwrap().to_owned();
            assert!(self.groups.contains_key(&member), "{member} is no group yet");
            self.groups.get_mut(id).unwrap().insert(member);
        }
        Done { id: id.to_owned(), tag: Some("W/\"1\"".to_owned()) }
    }
}

fn statuses(response: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let answers = response["Operations"].as_array().unwrap().iter();
    answers.map(|answer| (text(&answer["bulkId"]), text(&answer["status"]))).collect()
}

/// Groups and who is in them, in the order in which they are sent.
fn any_graph() -> impl Strategy<Value = Vec<(usize, BTreeSet<usize>)>> {
    (1usize..9).prop_flat_map(|count| {
        let members = proptest::collection::btree_set(0..count, 0..count);
        proptest::collection::vec(members, count)
            .prop_map(|graph| graph.into_iter().enumerate().collect::<Vec<_>>())
            .prop_shuffle()
    })
}

proptest! {
    /// Whatever refers to what, in whatever order, circles and groups in themselves included: each
    /// group is created once, has exactly its members, and is answered in its place.
    #[test]
    fn every_graph_comes_about(graph in any_graph()) {
        let operations = posts(&graph);
        let (mut plan, mut directory) = (plan(&operations, None), Directory::default());
        directory.run(&mut plan);
        for (name, members) in &graph {
            let expected: BTreeSet<_> = members.iter().map(|id| format!("id-{id}")).collect();
            prop_assert_eq!(&directory.groups[&format!("id-{name}")], &expected);
        }
        let sent = graph.iter().map(|(name, _)| (name.to_string(), "201".to_owned()));
        let sent: Vec<_> = sent.collect();
        prop_assert_eq!(statuses(&plan.response("")), sent);
        prop_assert!(directory.steps < 2 * graph.len() + 1);
    }

    /// What is refused takes with it exactly what cannot be without it; nothing is created and
    /// denied.
    #[test]
    fn what_fails_takes_along_only_who_refers_to_it(
        graph in any_graph(), broken in proptest::collection::btree_set(0usize..9, 0..3),
    ) {
        let operations = posts(&graph);
        let mut plan = plan(&operations, None);
        let mut directory = Directory {
            broken: broken.iter().map(usize::to_string).collect(), ..Directory::default()
        };
        directory.run(&mut plan);
        let response = plan.response("");
        prop_assert_eq!(response["Operations"].as_array().unwrap().len(), graph.len());
        let answers = response["Operations"].as_array().unwrap();
        for ((name, members), answer) in graph.iter().zip(answers) {
            let exists = directory.groups.contains_key(&format!("id-{name}"));
            prop_assert_eq!(answer.get("location").is_some(), exists, "{}", answer);
            let whole = exists
                && members.iter().all(|id| directory.groups.contains_key(&format!("id-{id}")));
            prop_assert_eq!(answer["status"] == "201", whole, "{}", answer);
        }
    }

    /// After the last error that is allowed nothing begins, and what ran is answered.
    #[test]
    fn errors_are_counted(
        broken in proptest::collection::vec(any::<bool>(), 1..20), max in 1usize..4,
    ) {
        let operations: Vec<_> =
            (0..broken.len()).map(|name| group(name, &BTreeSet::new())).collect();
        let bad = broken.iter().enumerate().filter(|(_, broken)| **broken);
        let mut directory = Directory {
            broken: bad.map(|(name, _)| name.to_string()).collect(), ..Directory::default()
        };
        let mut plan = plan(&operations, Some(max));
        directory.run(&mut plan);
        let last = broken.iter().enumerate().filter(|(_, broken)| **broken).nth(max - 1);
        let due = last.map_or(broken.len(), |(index, _)| index + 1);
        prop_assert_eq!(statuses(&plan.response("")).len(), due);
    }
}

#[test]
fn a_circle_that_is_stopped_is_told() {
    let (a, b) = (BTreeSet::from([1]), BTreeSet::from([0]));
    let mut plan = plan(&[group(0, &a), group(1, &b), group(2, &BTreeSet::new())], Some(1));
    let mut directory =
        Directory { broken: BTreeSet::from(["1".to_owned()]), ..Directory::default() };
    directory.run(&mut plan);
    let response = plan.response("https://x");
    let answers = response["Operations"].as_array().unwrap();
    assert_eq!(statuses(&response)[..2], [("0".into(), "409".into()), ("1".into(), "409".into())]);
    assert_eq!(answers[0]["location"], "https://x/Groups/id-0");
    let detail = answers[0]["response"]["detail"].as_str().unwrap();
    assert!(detail.contains("was created") && detail.contains("failOnErrors"), "{detail}");
}

#[test]
fn what_is_stopped_is_answered() {
    let circle = [group(0, &BTreeSet::from([1])), group(1, &BTreeSet::from([0]))];
    let mut plan = plan(&circle, None);
    let first = plan.next_step().unwrap();
    plan.settle(first.index, Ok(Done { id: "id-0".to_owned(), tag: None }));
    assert_eq!(plan.next_step().unwrap().index, 1);
    plan.stop(&ScimError::new(ErrorKind::Unavailable { retry_after_s: 1 }, "too late"));
    assert!(plan.next_step().is_none());
    let response = plan.response("");
    assert_eq!(statuses(&response), [("0".into(), "503".into()), ("1".into(), "503".into())]);
    assert_eq!(response["Operations"][0]["location"], "/Groups/id-0");
    assert_eq!(response["Operations"][1].get("location"), None);
}

/// What is not a POST keeps its place among what concerns the same path, and sees what is complete.
#[test]
fn the_order_on_a_path_is_kept() {
    let patch = |path: &str, member: &str| {
        json!({
            "method": "PATCH", "path": path,
            "data": { "Operations": [{ "op": "add", "value": [{ "value": member }] }] },
        })
    };
    let operations = [
        patch("/Groups/id-old", "bulkId:1"),
        json!({ "method": "DELETE", "path": "/Groups/id-old" }),
        json!({ "method": "DELETE", "path": "/Groups/id-other" }),
        patch("/Groups/bulkId:0", "bulkId:0"),
        group(0, &BTreeSet::from([1])),
        group(1, &BTreeSet::from([0])),
    ];
    let mut plan = plan(&operations, None);
    let mut order = Vec::new();
    while let Some(step) = plan.next_step() {
        order.push(step.index);
        let id = match &step.work {
            Work::Create(body) => format!("id-{}", body["displayName"].as_str().unwrap()),
            Work::Replace(id, ..) | Work::Patch(id, ..) | Work::Delete(id, ..) => id.clone(),
        };
        plan.settle(step.index, Ok(Done { id, tag: None }));
    }
    // The circle begins with 4, which is completed as soon as 5 exists.
    assert_eq!(order, [2, 4, 5, 0, 1, 4, 3]);
}

#[test]
fn references_are_found_where_ids_are_due() {
    //  data                                                        with ids
    let cases = [
        (
            json!({ "members": [{ "value": "bulkId:a" }, { "value": "x" }] }),
            json!({ "members": [{ "value": "1" }, { "value": "x" }] }),
        ),
        (
            json!({ "members": [{ "value": "bulkId:?", "type": "User" }, "bulkId:?", "bulkId:a"] }),
            json!({ "members": ["1"] }),
        ),
        (
            json!({ "manager": { "value": "bulkId:a", "$ref": "../Users/bulkId:a" } }),
            json!({ "manager": { "value": "1", "$ref": "../Users/1" } }),
        ),
        (
            json!({ "x": 1, "manager": { "$ref": "https://h/Users/bulkId:?", "x": "A" } }),
            json!({ "x": 1 }),
        ),
        (json!({ "manager": "bulkId:?", "department": "D" }), json!({ "department": "D" })),
        // Not an id, but a text.
        (
            json!({ "title": "the bulkId:a", "path": "members[value eq \"bulkId:a\"]" }),
            json!({ "title": "the bulkId:a", "path": "members[value eq \"bulkId:a\"]" }),
        ),
    ];
    let id_of = |bulk_id: &str| (bulk_id == "a").then(|| "1".to_owned());
    for (data, expected) in cases {
        let resolved = references::resolve(data.clone(), Piece::Value, &mut { id_of });
        assert_eq!(resolved, Some(expected), "{data}");
        assert_eq!(references::find(data.clone(), Piece::Value, &mut |_| ()), data);
    }
}

#[test]
fn references_in_the_paths_of_a_patch_are_found() {
    //  path                                        with ids
    let cases = [
        (r#"members[value eq "bulkId:a"]"#, r#"members[value eq "1"]"#),
        (r#"members[value eq "bulkId:\u0061"]"#, r#"members[value eq "1"]"#),
        (
            r#"members[value eq "bulkId:a" or value eq "bulkId:a"].x"#,
            r#"members[value eq "1" or value eq "1"].x"#,
        ),
        (r#"members[display eq "\"bulkId:a\""]"#, r#"members[display eq "\"bulkId:a\""]"#),
        (r#"members[value eq "bulkId:a]"#, r#"members[value eq "bulkId:a]"#),
        ("bulkId:a", "bulkId:a"),
    ];
    for (path, expected) in cases {
        let message = |path: &str| json!({ "operations": [{ "Path": path, "value": "bulkId:a" }] });
        let mut expected = message(expected);
        expected["operations"][0]["value"] = json!("1");
        let id_of = &mut |_: &str| Some("1".to_owned());
        let resolved = references::resolve(message(path), Piece::Patch, id_of);
        assert_eq!(resolved, Some(expected), "{path}");
    }
}
