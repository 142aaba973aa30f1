//! What the guard holds, at the command line: shown, decided, and its limits.

use std::fmt::Write as _;

use super::place::{Place, masked};

#[tokio::test]
async fn what_is_held_is_shown_and_decided_in_two_steps() {
    let place = Place::with_connection();
    let mut text = String::new();
    for args in [
        &["guard", "set", "Okta", "--suspensions", "1", "--removals", "0", "--window", "90m"]
            as &[&str],
        &["guard", "set", "Okta", "--window", "90s"],
        &["guard", "set", "Okta", "--window", "31d"],
        &["guard", "set", "Okta", "--percent", "101"],
        &["guard", "show", "Okta"],
    ] {
        place.shell(&mut text, args);
    }
    let okta = place.client("Okta").await;
    let mut people = Vec::new();
    for name in ["ann", "bob", "cho", "=dee"] {
        people.push(okta.user(name).await);
    }
    let staff = okta.group("Staff", &[&people[0], &people[1]]).await;
    for id in &people {
        okta.set_active(id, false).await;
    }
    okta.leave(&staff, &people[1]).await;
    for args in [
        &["guard", "list"] as &[&str],
        &["guard", "show", "Okta"],
        &["guard", "show", "Okta", "--limit", "2"],
        &["guard", "show", "Okta", "--after", "nowhere"],
        &["guard", "show", "Okta", "--csv", "held.csv"],
        &["accounts", "why", "bob"],
        &["guard", "apply", "Okta"],
        &["guard", "discard", "Okta", "--id", &people[2]],
        &["guard", "discard", "Okta", "--id", &people[2], "--yes"],
        &["guard", "apply", "Okta", "--yes"],
        &["guard", "apply", "Okta", "--yes"],
        &["guard", "list"],
        &["guard", "set", "Okta", "--off"],
        &["guard", "apply", "Nobody"],
    ] {
        place.shell(&mut text, args);
    }
    let file = place.0.path().join("held.csv");
    let written = std::fs::read_to_string(&file).unwrap();
    writeln!(text, "held.csv:\n{written}").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "readable by others: {mode:o}");
    }
    insta::assert_snapshot!("guard", masked(&text));
    let state = place.json(&["guard", "show", "Okta"]);
    assert_eq!(state["guard"]["people"]["suspended"], 3);
    assert_eq!(state["changes"], serde_json::json!([]));
}
