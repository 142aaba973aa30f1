//! Moving accounts from one directory to another at the command line.

use std::fmt::Write as _;

use super::place::{Place, masked};

#[test]
fn accounts_are_migrated_in_two_steps() {
    let place = Place::with_connection();
    let entra = place.json(&["connections", "create", "Entra Prod", "--kind", "entra", "--enable"]);
    let key = entra["connection"]["directory_key"].as_str().unwrap().to_owned();
    for name in ["ann", "bob", "cho", "'=dee"] {
        place.json(&["accounts", "create", "--user-name", name]);
    }
    place.write(
        "move.csv",
        "Target Directory;existing username;new username\n\
         Entra-Prod;ann;ann@new\nLocal;bob;cho\n;cho;bob\n;nobody;somebody\n",
    );
    place.write("strange.csv", "existing_username,new_username,manager\na,b,c\n");
    let mut text = String::new();
    for args in [
        &["accounts", "migrate", "none.csv"] as &[&str],
        &["accounts", "migrate", "strange.csv"],
        &["accounts", "migrate", "move.csv"],
        &["accounts", "migrate", "move.csv", "--yes"],
        &["accounts", "migrate", "move.csv", "--confirm", "Entra-Prod"],
        &["accounts", "migrate", "move.csv", "--confirm", "Entra-Prod=SAP"],
        &["accounts", "migrate", "move.csv", "--confirm", "Entra-Prod=entra prod", "--yes"],
        &[
            "accounts",
            "migrate",
            "move.csv",
            "--confirm",
            "Entra-Prod=entra prod",
            "--skip-errors",
            "--yes",
            "--report",
            "report.csv",
        ],
        &["runs", "list"],
        &["accounts", "show", "ann"],
        &["accounts", "suspend", "ann"],
        &["accounts", "reports", "ann"],
        &["accounts", "export"],
        &["accounts", "export", "--migration"],
        &["accounts", "export", "--migration", "--connection", "Entra Prod"],
        &["accounts", "export", "--migration", "--local", "local.csv"],
        &["accounts", "migrate", "local.csv", "--yes"],
    ] {
        let done = place.run(args);
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        write!(text, "{}{}", done.out, done.err).unwrap();
        writeln!(text, "({})\n", done.code.unwrap()).unwrap();
    }
    let report = std::fs::read_to_string(place.0.path().join("report.csv")).unwrap();
    write!(text, "{report}").unwrap();
    let migrated = place.json(&["accounts", "migrate", "local.csv"]);
    assert_eq!(migrated["migration"]["counts"]["unchanged"], 3);
    for file in ["report.csv", "local.csv"] {
        let made = std::fs::metadata(place.0.path().join(file)).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o777, 0o600);
    }
    // The columns are as wide as the key, which is as long in every run.
    insta::assert_snapshot!("migration", masked(&text.replace(&key, "entra-xxxxxxxxxxxx")));
}
