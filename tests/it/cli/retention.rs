//! How long what was deleted is kept, and its removal by hand, at the command line.

use std::fmt::Write as _;

use super::place::{Place, masked};

#[tokio::test]
async fn what_was_deleted_is_removed_in_two_steps() {
    let place = Place::with_connection();
    for name in ["ann", "bob", "cho", "dee"] {
        let email = format!("{name}@example.com");
        place.json(&["accounts", "create", "--user-name", name, "--email", &email]);
    }
    place.json(&["accounts", "delete", "ann", "bob", "cho"]);
    let mut text = String::new();
    for args in [
        &["instances", "retention"] as &[&str],
        &["instances", "retention", "0"],
        &["instances", "retention", "7"],
        &["instances", "retention", "3650"],
        &["accounts", "purge"],
        &["accounts", "purge", "nobody"],
        &["accounts", "purge", "dee"],
        &["accounts", "purge", "ann"],
        &["accounts", "purge", "ann", "--count", "2", "--yes"],
        &["accounts", "purge", "ann", "--yes"],
        &["accounts", "purge", "ann", "--yes"],
        &["accounts", "purge", "--filter", "userName pr"],
        &["accounts", "purge", "--filter", "userName pr", "--yes"],
        &["accounts", "purge", "--filter", "userName pr", "--yes", "--count", "3"],
        &["accounts", "purge", "--filter", "userName pr", "--yes", "--count", "2"],
        &["accounts", "purge", "--filter", "userName pr"],
        &["accounts", "restore", "bob"],
    ] {
        let done = place.run(args);
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        write!(text, "{}{}", done.out, done.err).unwrap();
        writeln!(text, "({})\n", done.code.unwrap()).unwrap();
    }
    let left = place.json(&["accounts", "list"]);
    assert_eq!(left["accounts"].as_array().unwrap().len(), 1);
    insta::assert_snapshot!("retention", masked(&text));
}
