//! Fields, mappings and look-up tables at the command line.

use std::fmt::Write as _;

use serde_json::json;

use super::place::{Place, masked};

#[tokio::test]
async fn mappings_are_changed_while_the_server_runs() {
    let place = Place::with_connection();
    place.write("titles.csv", "\u{feff}Clerk, JOB-1\n\"Head, Sales\",\"JOB \"\"2\"\"\"\n");
    place.write("three.csv", "a,b\na,b,c\n");
    place.write(
        "rows.json",
        &json!({ "rows": [
        { "field": "job_title", "sources": ["title"], "transforms": ["trim"] },
    ] })
        .to_string(),
    );
    place.write("typo.json", &json!([{ "field": "job_title", "source": ["title"] }]).to_string());

    let mut server = place.start(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let address = server.address();
    let token = place.json(&["keys", "issue", "Okta"])["token"].as_str().unwrap().to_owned();
    let client = reqwest::Client::builder().build().unwrap();
    for (name, title) in [("ann@example.com", "CLERK"), ("bob@example.com", "Chief")] {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name,
            "title": title, "userType": "Employee",
        });
        let url = format!("http://{address}/scim/v2/Users");
        let answer = client.post(url).bearer_auth(&token).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201);
    }

    let mut text = String::new();
    for command in [
        ["fields", "define", "badge", "--label", "Badge"].as_slice(),
        &["fields", "define", "badge", "--label", "Badge"],
        &["fields", "define", "Badge"],
        &["fields", "define", "email"],
        &["fields", "list"],
        &["mappings", "show", "Okta"],
        &["mappings", "set", "Okta", "badge", "--from", "userType", "nickName", "--lower"],
        &["mappings", "set", "Okta", "badge", "--from", "userType", "nickName", "--lower"],
        &["mappings", "set", "Okta", "badge", "--from", "badge"],
        &["mappings", "set", "Okta", "desk", "--from", "title"],
        &["mappings", "set", "Okta", "user_name", "--from", "title"],
        &[
            "mappings",
            "set",
            "Okta",
            "job_title",
            "--from",
            "title",
            "--trim",
            "--lookup",
            "titles",
            "--join",
            ", ",
            "--default",
            "Staff",
            "--note",
            "Titles by table",
        ],
        &["lookups", "load", "titles", "titles.csv"],
        &["lookups", "load", "titles", "titles.csv"],
        &["lookups", "load", "titles", "three.csv"],
        &["lookups", "list"],
        &["lookups", "show", "titles"],
        &["mappings", "preview", "Okta"],
        &["mappings", "preview", "Okta", "rows.json", "--account", "ann@example.com"],
        &["mappings", "preview", "Okta", "typo.json"],
        &["mappings", "apply", "Okta"],
        &["lookups", "unmatched"],
        &["lookups", "set", "titles", "CHIEF", "JOB-9"],
        &["lookups", "unmatched"],
        &["mappings", "apply", "Okta"],
        &["accounts", "set", "ann@example.com", "job_title=Boss"],
        &["accounts", "set", "ann@example.com", "work_phone"],
        &["mappings", "unset", "Okta", "work_phone"],
        &["accounts", "set", "ann@example.com", "work_phone=+41 1", "email="],
        &["mappings", "unset", "Okta", "email"],
        &["accounts", "set", "ann@example.com", "work_phone=+41 1", "email="],
        &["mappings", "load", "Okta", "rows.json"],
        &["mappings", "history", "Okta"],
        &["mappings", "diff", "Okta", "0", "2"],
        &["mappings", "rollback", "Okta", "2"],
        &["mappings", "rollback", "Okta", "17"],
        &["mappings", "show", "Okta", "--version", "1"],
        &["fields", "remove", "badge"],
        &["mappings", "restore", "Okta"],
        &["fields", "remove", "badge"],
        &["lookups", "remove", "titles", "clerk"],
        &["lookups", "remove", "titles", "clerk"],
    ] {
        let done = place.run(command);
        let (code, out) = (done.code.unwrap(), masked(&done.out));
        writeln!(text, "$ scimd {}\n{out}{}({code})\n", command.join(" "), done.err).unwrap();
    }
    assert_eq!(server.terminate().code(), Some(0));
    insta::assert_snapshot!("mapping", text);

    let shown = place.json(&["accounts", "show", "ann@example.com"]);
    let fields = shown["account"]["fields"].as_array().unwrap();
    let find = |name: &str| fields.iter().find(|one| one["field"] == name).unwrap();
    assert_eq!(find("job_title")["owner"], "Okta");
    assert_eq!(find("user_name")["value"], "ann@example.com");
    let mapping = place.json(&["mappings", "show", "Okta"]);
    place.write("again.json", &mapping.to_string());
    let again = place.json(&["mappings", "load", "Okta", "again.json"]);
    assert_eq!(again["saved"]["changes"], json!([]));
}
