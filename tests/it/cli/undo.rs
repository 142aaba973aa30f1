//! Taking back what happened, at the command line.

use std::fmt::Write as _;

use super::place::{Place, masked};

#[tokio::test]
async fn what_happened_is_taken_back_after_a_look() {
    let place = Place::with_connection();
    for name in ["ann", "bob"] {
        let email = format!("{name}@example.com");
        place.json(&["accounts", "create", "--user-name", name, "--email", &email]);
    }
    place.json(&["accounts", "hold", "bob"]);
    place.json(&["accounts", "delete", "ann"]);
    let mut text = String::new();
    let mut said = |args: &[&str]| {
        let done = place.run(args);
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        write!(text, "{}{}", done.out, done.err).unwrap();
        writeln!(text, "({})\n", done.code.unwrap()).unwrap();
    };
    for args in [
        &["undo", "account", "nobody", "--since", "1h"] as &[&str],
        &["undo", "account", "ann", "--since", "yesterday"],
        &["undo", "account", "ann"],
        &["undo", "connection", "Entra", "--since", "1h"],
        &["undo", "connection", "Okta", "--since", "1h"],
        &["undo", "run", "01999999-0000-7000-8000-000000000000"],
        &["undo", "account", "bob", "--since", "1h"],
    ] {
        said(args);
    }
    // She was created an hour ago, too: only what came since is taken back.
    let trail = place.json(&["audit", "list", "--person", "ann", "--action", "account.deleted"]);
    let since = trail["events"][0]["at"].as_str().unwrap();
    said(&["undo", "account", "ann", "--since", since]);
    said(&["undo", "account", "ann", "--since", since, "--yes"]);
    said(&["accounts", "list"]);
    let run = place.json(&["runs", "list"])["runs"][0]["id"].as_str().unwrap().to_owned();
    said(&["runs", "report", &run]);
    said(&["undo", "run", &run]);
    said(&["undo", "run", &run, "--yes"]);
    said(&["accounts", "show", "ann"]);
    said(&["runs", "report", &run, "--outcome", "skipped"]);
    let preview = place.json(&["undo", "account", "bob", "--since", "1h"]);
    assert_eq!((&preview["preview"], &preview["would"]["deleted"]), (&true.into(), &1.into()));
    insta::assert_snapshot!("undo", masked(&text));
}
