//! The request log at the command line: a server is watched, stopped, and asked what it saw.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::place::{Place, masked};

/// A text without what differs each time: how long a request took, and so the widths of its columns.
fn steady(text: &str) -> String {
    let mut shown = String::new();
    for line in masked(text).lines() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &&str| word.chars().all(|c| c.is_ascii_digit());
        match words.as_mut_slice() {
            [.., ms, "[id]"] if number(&&**ms) => *ms = "[ms]",
            ["ms", ms] => *ms = "[ms]",
            _ => {}
        }
        let in_columns = line.contains(" [id]") || line.contains("MS") || line.starts_with("ms ");
        writeln!(shown, "{}", if in_columns { words.join(" ") } else { line.to_owned() }).unwrap();
    }
    shown
}

#[tokio::test]
async fn what_a_server_saw_is_found_shown_and_tried_again() {
    let place = Place::with_connection();
    let mut server = place.start(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let address = server.address();
    let token = place.json(&["keys", "issue", "Okta"])["token"].as_str().unwrap().to_owned();
    let client = reqwest::Client::builder().build().unwrap();
    let ada = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ada@example.com", "title": "Countess", "password": "Enchantress",
    });
    let paths = [
        ("first", "/Users", Some(&ada)),
        ("second", "/Users", Some(&ada)),
        ("third", "/Users?filter=userName+eq+%22babbage%22", None),
    ];
    for (id, path, body) in paths {
        let url = format!("http://{address}/scim/v2{path}");
        let request = if body.is_some() { client.post(url) } else { client.get(url) };
        let request = request.bearer_auth(&token).header("x-request-id", id);
        let request = request.header("user-agent", "Okta SCIM Client 1.0.0");
        let body = body.map(Value::to_string).unwrap_or_default();
        assert!(request.body(body).send().await.unwrap().status().as_u16() < 500);
    }
    // Whoever stops the server waits until everything is written.
    assert!(server.terminate().success());

    let before = place.json(&["audit", "list"]);
    let mut text = String::new();
    for args in [
        &["requests", "list"] as &[&str],
        &["requests", "list", "--account", "ada@example.com", "--status", "4xx"],
        &["requests", "list", "--account", "Babbage"],
        &["requests", "list", "--request-id", "first", "--since", "1h", "--connection", "Okta"],
        &["requests", "list", "--status", "40x"],
        &["requests", "list", "--group", "Staff"],
        &["requests", "show", "first"],
        &["requests", "show", "nothing"],
        &["requests", "replay", "first"],
        &["requests", "replay", "first", "--dry-run"],
        &["requests", "replay", "third", "--dry-run"],
        &["requests", "tail", "--since", "1h", "--count", "2"],
        &["requests", "tail", "--since", "1h", "--status", "409", "--for", "0s"],
        &["instances", "requests"],
        &["instances", "requests", "91"],
        &["instances", "requests", "0"],
        &["instances", "requests", "30"],
    ] {
        let done = place.run(args);
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        write!(text, "{}{}", done.out, done.err).unwrap();
        writeln!(text, "({})\n", done.code.unwrap()).unwrap();
    }
    let connection = place.json(&["connections", "show", "Okta"]);
    let key = connection["connection"]["directory_key"].as_str().unwrap();
    let text = text.replace(&address, "[address]").replace(key, "[key]");
    insta::assert_snapshot!("requests", steady(&text));

    let listed = place.json(&["requests", "list"]);
    assert_eq!(listed["requests"].as_array().unwrap().len(), 3);
    assert_eq!((&listed["missed"], &listed["requests_days"]), (&json!(0), &json!(30)));
    let id = listed["requests"][2]["id"].as_str().unwrap();
    let shown = place.json(&["requests", "show", id]);
    assert_eq!(shown["request"]["events"][0]["action"], json!("account.created"));
    let again = place.json(&["requests", "replay", id, "--dry-run"]);
    assert_eq!(again["replayed"]["status"], json!(409));
    assert_eq!(again["replayed"]["left_out"], json!(["password"]));
    // Nothing but the two changes of the setting has happened meanwhile.
    let count = |events: &Value| events["events"].as_array().unwrap().len();
    assert_eq!(count(&place.json(&["audit", "list"])), count(&before) + 2);
}
