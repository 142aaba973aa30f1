//! Keys that read the directory, at the command line.

use super::place::Place;

#[test]
fn a_reader_gets_a_key_that_belongs_to_no_connection() {
    let place = Place::with_connection();
    place.json(&["keys", "issue", "Okta", "--name", "okta"]);
    let issued = place.run(&["keys", "issue", "--reader", "--name", "intranet"]).out;
    assert!(issued.starts_with("Key \"intranet\" that reads the directory was issued"), "{issued}");
    let listed = place.json(&["keys", "list"])["keys"].clone();
    assert!(listed[0]["connection"].is_string() && listed[1]["connection"].is_null(), "{listed}");
    let table = place.run(&["keys", "list"]).out;
    assert!(table.contains("intranet  (reader)"), "{table}");
    let successor = place.json(&["keys", "rotate", "intranet", "--overlap", "0s"]);
    assert!(successor["key"]["connection"].is_null(), "{successor}");
    place.json(&["keys", "revoke", successor["key"]["id"].as_str().unwrap()]);
    let ended = place.run(&["keys", "rotate", successor["old"]["id"].as_str().unwrap()]);
    assert!(ended.err.contains("keys issue --reader"), "{}", ended.err);
    for args in [&["keys", "issue"] as &[&str], &["keys", "issue", "Okta", "--reader"]] {
        let refused = place.run(args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains("keys issue"), "{}", refused.err);
    }
}
