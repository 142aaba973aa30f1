//! Groups with more members than an answer holds: the same text, with little memory.

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt as _;
use scimd::directory::MemberId;
use scimd::http::service;
use scimd::provision::HELD_MEMBERS_MAX;
use scimd::scim::project::Projection;
use scimd::scim::schemas::Schemas;
use scimd::scim::version::tag;
use scimd::store::exchanges::{From, Wanted};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::support::rules::{counting, execute, literal};
use super::support::{Client, Database, Recorder, TestInstance, both};

const BASE: &str = "http://people.example.com/scim/v2";

/// More than two pages beyond what an answer holds.
const LARGE: i64 = HELD_MEMBERS_MAX + 2_345;

/// Puts this many people more into a group, as rows of the database.
async fn fill(database: &Database, group: &str, name: &str, members: i64) {
    let (series, id) = if database.is_postgres() {
        (format!("generate_series(1, {members}) AS s(n)"), "gen_random_uuid()")
    } else {
        let series = format!(
            "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {members}) \
             SELECT n FROM s)"
        );
        (series, "randomblob(16)")
    };
    let group = literal(database, group);
    let statements = format!(
        "INSERT INTO accounts (instance_id, id, connection_id, user_name, user_name_key, active, \
         status, document, version, created_at, modified_at) \
         SELECT g.instance_id, {id}, g.connection_id, '{name}' || n, '{name}' || n, TRUE, \
         'active', '{{}}', 1, 0, 0 FROM groups g, {series} WHERE g.id = {group}; \
         INSERT INTO memberships (instance_id, group_id, member_id, member_kind) \
         SELECT a.instance_id, {group}, a.id, 'account' FROM accounts a \
         WHERE substr(a.user_name, 1, {}) = '{name}'",
        name.len()
    );
    execute(database, statements).await;
    // PostgreSQL chooses how to join by what it knows of the rows, and learns it from time to time.
    execute(database, counting(database)).await;
}

fn request(client: &Client, method: &str, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(format!("/scim/v2{path}"))
        .header("host", "people.example.com")
        .header("authorization", format!("Bearer {}", client.token));
    request.body(body).unwrap()
}

/// The text of an answer, and its entity tag.
async fn text(client: &Client, method: &str, path: &str, body: Option<Value>) -> (String, String) {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = request(client, method, path, body);
    let response = service(client.app.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    let etag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (String::from_utf8(bytes.to_vec()).unwrap(), etag.unwrap_or_default())
}

/// A group as it must be shown, made of what a reader is told of its members.
async fn whole(test: &TestInstance, client: &Client, group: &str) -> Map<String, Value> {
    let shell = client.get(&format!("/Groups/{group}?excludedAttributes=members")).await;
    let Value::Object(mut document) = shell.body else { panic!("no group") };
    let path = format!("/groups/{group}/members");
    let (members, _) = test.reader().await.all(&path, "members", 1_000).await;
    let mut ids: Vec<(MemberId, &str)> = members
        .iter()
        .map(|member| {
            let name = if member["kind"] == "group" { "Group" } else { "User" };
            (member["id"].as_str().unwrap().parse().unwrap(), name)
        })
        .collect();
    ids.sort_unstable();
    let member = |(id, name): &(MemberId, &str)| json!({ "value": id, "$ref": format!("{BASE}/{name}s/{id}"), "type": name });
    let mut meta = document.shift_remove("meta").unwrap();
    document.insert("members".to_owned(), ids.iter().map(member).collect());
    let version = meta["version"].as_str().unwrap().trim_start_matches("W/").trim_matches('"');
    let shown: Vec<MemberId> = ids.iter().map(|(id, _)| *id).collect();
    meta["version"] = tag(version.parse().unwrap(), &shown).into();
    document.insert("meta".to_owned(), meta);
    document
}

/// A page as it must be shown.
fn page(groups: &[Value]) -> String {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": groups.len(),
        "startIndex": 1,
        "itemsPerPage": groups.len(),
        "Resources": groups,
    })
    .to_string()
}

/// Holds what is shown of a group with each of some projections against what must be.
async fn compare_projections(client: &Client, group: &str, whole: &Map<String, Value>) {
    let kind = &Schemas::standard().group;
    for (only, without) in [
        (Some("members"), None),
        (Some("members.value"), None),
        (Some("displayName,members.$ref"), None),
        (Some("members.display"), None),
        (None, Some("members.value")),
        (None, Some("members.type,displayName")),
        (None, Some("members")),
    ] {
        let query = only.map(|only| format!("attributes={only}"));
        let query = query.or(without.map(|list| format!("excludedAttributes={list}")));
        let path = format!("/Groups/{group}?{}", query.unwrap());
        let (shown, _) = text(client, "GET", &path, None).await;
        let mut expected = whole.clone();
        if without == Some("members") {
            // What is not read is not in the tag either.
            expected["meta"]["version"] = client.get(&path).await.at("/meta/version");
        }
        let expected = Projection::read(kind, only, without).apply(kind, expected);
        let expected = Value::Object(expected).to_string();
        assert!(shown == expected, "{path}");
    }
}

both! {
    async fn a_group_reads_the_same_in_one_piece_and_streamed(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let recorder = Recorder::start();
        for (name, members) in [
            ("None", 0),
            ("Some", 3),
            ("Full", HELD_MEMBERS_MAX - 1),
            ("Over", HELD_MEMBERS_MAX),
            ("Large", LARGE),
        ] {
            let nested = okta.group(&format!("{name} below"), &[]).await;
            let group = okta.group(name, &[&nested]).await;
            if members > 0 {
                fill(&database, &group, name, members).await;
            }
            let expected = whole(&test, &okta, &group).await;
            let count = expected["members"].as_array().unwrap().len();
            assert_eq!(i64::try_from(count), Ok(members + 1));
            let _ = recorder.take();
            let path = format!("/Groups/{group}");
            let (shown, etag) = text(&okta, "GET", &path, None).await;
            let most = recorder.take().into_iter().map(|statement| statement.rows).max();
            assert!(most.unwrap() <= HELD_MEMBERS_MAX.unsigned_abs() + 1, "{name}: {most:?}");
            let written = Value::Object(expected.clone()).to_string();
            assert!(shown == written, "{name}");
            assert_eq!(expected["meta"]["version"], etag);
            let known = [("if-none-match", etag.as_str())];
            assert_eq!(okta.send_with("GET", &path, &known, None).await.status, 304, "{name}");
            compare_projections(&okta, &group, &expected).await;
        }
    }

    async fn a_page_of_groups_reads_the_same_in_one_piece_and_streamed(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let mut groups = Vec::new();
        for (name, members) in [("A", 3), ("B", LARGE), ("C", 0), ("D", 2_000), ("E", LARGE)] {
            let group = okta.group(name, &[]).await;
            if members > 0 {
                fill(&database, &group, name, members).await;
            }
            groups.push(Value::Object(whole(&test, &okta, &group).await));
        }
        assert!(text(&okta, "GET", "/Groups", None).await.0 == page(&groups));
        let search = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "sortBy": "displayName",
            "sortOrder": "descending",
        });
        groups.reverse();
        assert!(text(&okta, "POST", "/Groups/.search", Some(search)).await.0 == page(&groups));
    }

    async fn members_that_a_client_cannot_see_stay_unseen(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let group = okta.group("Large", &[]).await;
        fill(&database, &group, "Large", LARGE).await;
        let path = format!("/Groups/{group}");
        let before = okta.get(&path).await;
        let members = before.at("/members").as_array().unwrap().clone();
        // The first and the last of all, and one in the middle of a page.
        let hidden = [0, 6_500, members.len() - 1].map(|place| members[place]["value"].clone());
        let ids = hidden.each_ref().map(|id| literal(&database, id.as_str().unwrap()));
        let [protected, held, deleted] = ids;
        execute(&database, format!(
            "UPDATE accounts SET protected = TRUE WHERE id = {protected}; \
             UPDATE memberships SET removal_held_at = 1 WHERE member_id = {held}; \
             UPDATE accounts SET deleted_at = 1 WHERE id = {deleted}"
        )).await;
        let after = okta.get(&path).await;
        let left: Vec<Value> =
            members.into_iter().filter(|member| !hidden.contains(&member["value"])).collect();
        assert!(after.at("/members") == Value::Array(left));
        assert_ne!(after.header("etag"), before.header("etag"));
    }

    async fn the_request_log_does_not_hold_what_is_streamed(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let group = okta.group("Large", &[]).await;
        fill(&database, &group, "Large", LARGE).await;
        assert_eq!(okta.get(&format!("/Groups/{group}")).await.status, 200);
        assert_eq!(okta.get("/Groups").await.status, 200);
        test.app.requests.settle(&test.app.provision).await;
        let from = From::After(uuid::Uuid::nil());
        let log = test.app.provision.exchanges(test.id, &Wanted::default(), from, 10).await;
        let mut answers = Vec::new();
        for exchange in log.unwrap().iter().skip(1) {
            let shown = test.app.provision.exchange(test.id, exchange.id).await.unwrap().unwrap();
            answers.push(shown.whole.answer.text.unwrap_or_default());
        }
        assert_eq!(answers.len(), 2);
        assert!(answers[0].contains(&group) && answers[0].contains("streamed"), "{answers:?}");
        assert!(answers[1].contains("streamed"), "{answers:?}");
    }

    async fn an_answer_that_cannot_be_finished_has_no_end(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let group = okta.group("Large", &[]).await;
        fill(&database, &group, "Large", LARGE).await;
        let request = request(&okta, "GET", &format!("/Groups/{group}"), Body::empty());
        let response = service(okta.app.clone()).oneshot(request).await.unwrap();
        let mut parts = response.into_body().into_data_stream();
        assert!(parts.next().await.unwrap().unwrap().starts_with(b"{"));
        test.app.provision.store.close().await;
        assert!(parts.next().await.unwrap().is_err());
    }
}
