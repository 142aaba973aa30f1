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
        &["accounts", "erase", "nobody"],
        &["accounts", "erase", "dee"],
        &["accounts", "delete", "dee"],
        &["accounts", "erase", "dee"],
        &["accounts", "erase", "dee", "--yes"],
        &["accounts", "erase", "dee", "--yes"],
        &["audit", "list", "--action", "account.erased"],
        &["audit", "list", "--since", "yesterday"],
        &["audit", "verify", "--noted", "1"],
    ] {
        let done = place.run(args);
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        write!(text, "{}{}", done.out, done.err).unwrap();
        writeln!(text, "({})\n", done.code.unwrap()).unwrap();
    }
    let left = place.json(&["accounts", "list"]);
    assert_eq!(left["accounts"].as_array().unwrap().len(), 0);
    // The trail is exported and proved, whatever was erased.
    let found = &place.json(&["audit", "verify"])["verified"];
    assert!(found["broken"].is_null() && found["erased"].as_i64().unwrap() > 0, "{found}");
    let noted = format!("{}:{}", found["links"], found["hash"].as_str().unwrap());
    assert_eq!(place.run(&["audit", "verify", "--noted", &noted]).code, Some(0));
    let lines = place.run(&["audit", "export"]).out;
    assert_eq!(lines.lines().count(), usize::try_from(found["links"].as_i64().unwrap()).unwrap());
    assert!(lines.contains("account.erased") && !lines.contains("dee@example.com"), "{lines}");
    // What people are is for this user alone.
    for args in [["audit", "export", "--output", "trail"], ["csv", "export", "--to", "people"]] {
        assert_eq!(place.run(&args).code, Some(0));
        let made = std::fs::metadata(place.0.path().join(args[3])).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o777, 0o600);
    }
    let rows = place.run(&["audit", "export", "--form", "csv", "--category", "Users"]).out;
    assert!(rows.starts_with("position,id,at,category,") && rows.contains("account.purged"));
    insta::assert_snapshot!("retention", masked(&text));
}
