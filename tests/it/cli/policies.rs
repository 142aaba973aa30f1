//! The policies of a connection at the command line, and what administrators decide there.

use std::fmt::Write as _;

use scimd::clock::{Clock, Ids};
use scimd::http::{App, Settings};
use scimd::store::Store;
use serde_json::json;

use super::place::{Place, masked};
use crate::support::{Client, person, team};

impl Place {
    /// A client with a key of this connection, on the database of the place.
    pub(super) async fn client(&self, connection: &str) -> Client {
        let token = self.json(&["keys", "issue", connection])["token"].as_str().unwrap().to_owned();
        let url = format!("sqlite://{}", self.0.path().join("scimd-data/scimd.db").display());
        let store = Store::open(&url, 2).await.unwrap();
        let app = App::new(store, Clock::system(), Ids, Settings::default()).await.unwrap();
        Client { app, token }
    }

    pub(super) fn shell(&self, text: &mut String, args: &[&str]) {
        let done = self.run(args);
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        write!(text, "{}{}", done.out, done.err).unwrap();
        writeln!(text, "({})\n", done.code.unwrap()).unwrap();
    }
}

#[tokio::test]
async fn policies_are_set_tried_and_decided_about() {
    let place = Place::with_connection();
    let okta = place.client("Okta").await;
    for name in ["ann", "bob", "root"] {
        place.json(&["accounts", "create", "--user-name", name]);
    }
    place.json(&["groups", "create", "--display-name", "Staff"]);
    place.write("people.txt", "\u{feff}ANN\r\n\r\nnew\nroot\n");
    let mut text = String::new();
    for args in [
        &["accounts", "protect", "root"] as &[&str],
        &["accounts", "unprotect", "root"],
        &["accounts", "list", "--protected"],
        &["connections", "set", "Okta", "--pick-up", "with_approval", "--required", "title"],
        &["connections", "set", "Okta", "--required", "tittle"],
        &["connections", "set", "Okta", "--pattern", "("],
        &["connections", "set", "Okta", "--incomplete", "keep", "--pattern", "^Intranet"],
        &["connections", "pick-up-report", "Okta", "people.txt"],
        &["connections", "pick-up-report", "Okta"],
        &["connections", "pick-up-report", "Okta", "missing.txt"],
    ] {
        place.shell(&mut text, args);
    }
    for name in ["ann", "bob"] {
        assert_eq!(okta.post("/Users", person(name, json!({}))).await.status, 201);
    }
    let cho = okta.user("cho").await;
    assert_eq!(okta.post("/Groups", team("Staff", &[&cho])).await.status, 201);
    let inner = okta.group("Intranet Inner", &[&cho]).await;
    let outer = okta.group("VPN", &[&inner]).await;
    let join = json!([{ "op": "add", "path": "members", "value": [{ "value": outer }] }]);
    assert_eq!(okta.patch(&format!("/Groups/{inner}"), join).await.status, 200);
    let waiting = place.json(&["approvals", "list"]);
    let id = |name: &str| {
        let listed = waiting["approvals"].as_array().unwrap().iter();
        let found = listed.clone().find(|asked| asked["name"] == name).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let (ann, bob) = (id("ann"), id("bob"));
    for args in [
        &["approvals", "list"] as &[&str],
        &["approvals", "show", &id("Staff")],
        &["approvals", "refuse", &ann],
        &["approvals", "accept", &ann, &bob],
        &["approvals", "reopen", &ann],
        &["approvals", "accept", "--all", "Okta"],
        &["approvals", "accept", "--all", "Okta", "--yes"],
        &["approvals", "list", "--state", "accepted", "--limit", "1"],
        &["approvals", "accept"],
        &["accounts", "list", "--incomplete"],
        &["groups", "list"],
        &["groups", "list", "--all"],
        &["groups", "show", "VPN"],
        &["groups", "members", "VPN"],
        &["groups", "members", "VPN", "--effective"],
        &["connections", "groups-preview", "Okta", "--pattern", "VPN|Staff"],
        &["connections", "show", "Okta"],
    ] {
        place.shell(&mut text, args);
    }
    let key = place.json(&["connections", "show", "Okta"])["connection"]["directory_key"].clone();
    let text = masked(&text).replace(key.as_str().unwrap(), "okta-[end of id]");
    insta::assert_snapshot!("policies", text);
}
