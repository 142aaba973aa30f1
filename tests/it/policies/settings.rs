//! Required attributes, groups that enter, members of members, and the settings for them.

use scimd::directory::{Entering, Incomplete, Profile};
use scimd::store::query::Narrow;

use super::*;
use crate::support::ENTERPRISE;

fn required(paths: &[&str], incomplete: Incomplete) -> SettingsChange {
    SettingsChange {
        required: Some(paths.iter().map(|&path| path.to_owned()).collect()),
        incomplete: Some(incomplete),
        ..SettingsChange::default()
    }
}

fn matching(pattern: &str) -> SettingsChange {
    SettingsChange { pattern: Some(pattern.to_owned()), ..SettingsChange::default() }
}

async fn incomplete(test: &TestInstance) -> Vec<String> {
    let listed =
        test.app.provision.accounts(test.id, &Narrow::Incomplete, None, 100).await.unwrap();
    listed.into_iter().map(|account| account.user_name).collect()
}

async fn entered(test: &TestInstance) -> Vec<String> {
    let listed = test.app.provision.groups(test.id, &Narrow::Entered, None, 100).await.unwrap();
    listed.into_iter().map(|group| group.display_name).collect()
}

both! {
    async fn what_a_strict_connection_misses_is_named(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::ByUserName).await;
        let department = format!("{ENTERPRISE}:department");
        let paths = ["NAME.familyname", "emails.value", &department, "username", "emails.value"];
        let set = test.set(&okta.connection, required(&paths, Incomplete::Refuse)).await.unwrap();
        let spelled = ["userName", "name.familyName", "emails.value", &department];
        assert_eq!(set.connection.settings.required, spelled);
        let client = &okta.client;
        let some = json!({ "name": { "familyName": " " }, ENTERPRISE: { "department": "IT" } });
        let told = assert_refused(&client.post("/Users", person("ann", some)).await, 400, "invalidValue");
        assert!(told.contains("name.familyName, emails.value"), "{told}");
        assert!(!told.contains("department") && told.contains("\"Okta\""), "{told}");
        let all = || json!({
            "name": { "familyName": "Ek" }, "emails": [{ "value": "a@x" }],
            ENTERPRISE: { "department": "IT" },
        });
        let id = client.person("ann", all()).await;
        let path = format!("/Users/{id}");
        let take = json!([{ "op": "remove", "path": "emails" }]);
        assert_refused(&client.patch(&path, take.clone()).await, 400, "invalidValue");
        assert_refused(&client.put(&path, person("ann", json!({}))).await, 400, "invalidValue");
        // Letting people go always works, however little the client sends.
        let off = client.put(&path, person("ann", json!({ "active": false }))).await;
        assert_eq!((off.status, off.at("/active")), (200, json!(false)));
        assert_eq!(incomplete(&test).await, ["ann"]);
        let on = json!([{ "op": "replace", "path": "active", "value": true }]);
        assert_refused(&client.patch(&path, on).await, 400, "invalidValue");
        assert_eq!(client.put(&path, person("ann", all())).await.status, 200);
        assert_eq!(incomplete(&test).await, [""; 0]);
        for bad in ["nonsense", "id", "groups", "name.nonsense", "urn:x:y"] {
            let told = detail(test.set(&okta.connection, required(&[bad], Incomplete::Keep)).await);
            assert!(told.contains(bad), "{told}");
        }
    }

    async fn what_a_lenient_connection_misses_is_listed_until_it_comes(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::ByUserName).await;
        let ann = okta.client.user("ann").await;
        okta.client.person("bob", json!({ "title": "Cook" })).await;
        test.local_person("local", json!({})).await;
        let set = test.set(&okta.connection, required(&["title"], Incomplete::Keep)).await.unwrap();
        assert_eq!(set.accounts, 1);
        assert_eq!(incomplete(&test).await, ["ann"]);
        okta.client.user("cho").await;
        assert_eq!(incomplete(&test).await, ["ann", "cho"]);
        let cho = test.account("cho").await;
        assert_eq!((cho.missing, cho.status.word()), (vec!["title".to_owned()], "active"));
        let title = json!([{ "op": "add", "path": "title", "value": "Cook" }]);
        assert_eq!(okta.client.patch(&format!("/Users/{ann}"), title).await.status, 200);
        assert_eq!(incomplete(&test).await, ["cho"]);
        let trail = test.trail(&cho.id.to_string()).await;
        assert_eq!(trail[0].after.as_ref().unwrap()["missing"], json!(["title"]));
        let set = test.set(&okta.connection, required(&[], Incomplete::Keep)).await.unwrap();
        assert_eq!((set.accounts, set.connection.settings.required), (1, vec!["userName".to_owned()]));
        assert_eq!(incomplete(&test).await, [""; 0]);
    }

    async fn groups_enter_by_name_and_are_judged_again_when_the_setting_changes(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::ByUserName).await;
        let (client, connection) = (&okta.client, &okta.connection);
        let ann = client.user("ann").await;
        let staff = client.group("Intranet Staff", &[&ann]).await;
        client.group("VPN", &[&ann]).await;
        test.local_group("Local").await;
        let preview = test.app.provision.preview_entering(connection, Entering::Matching, Some("^Intranet"));
        let preview = preview.await.unwrap();
        assert_eq!((preview.groups, preview.entering, preview.leaving, preview.coming), (2, 1, 1, 0));
        assert_eq!(entered(&test).await.len(), 3, "a preview changes nothing");
        assert_eq!(test.set(connection, matching("^Intranet")).await.unwrap().groups, 1);
        assert_eq!(entered(&test).await, ["Intranet Staff", "Local"]);
        assert_eq!(test.set(connection, matching("^Intranet")).await.unwrap().groups, 0);
        // The client has all of its groups, whether they enter or not.
        assert_eq!(client.count("/Groups", "displayName pr").await, 3);
        let rename = json!([{ "op": "replace", "path": "displayName", "value": "Staff" }]);
        assert_eq!(client.patch(&format!("/Groups/{staff}"), rename).await.status, 200);
        client.group("Intranet Guests", &[]).await;
        assert_eq!(entered(&test).await, ["Local", "Intranet Guests"]);
        // Picking up asks the rule too.
        assert_eq!(client.post("/Groups", team("LOCAL", &[])).await.status, 201);
        assert_eq!(entered(&test).await, ["Intranet Guests"]);
        let set = |entering| SettingsChange { entering: Some(entering), ..SettingsChange::default() };
        assert_eq!(test.set(connection, set(Entering::None)).await.unwrap().groups, 1);
        assert_eq!(entered(&test).await, [""; 0]);
        assert_eq!(test.set(connection, set(Entering::All)).await.unwrap().groups, 4);
        let actions = test.actions(&staff).await;
        assert_eq!(actions.last().unwrap(), "group.entered");
        for (change, reason) in [
            (matching("("), "unclosed group"),
            (set(Entering::Matching), "needs a pattern"),
            (SettingsChange { pattern: Some("x".to_owned()), ..set(Entering::None) }, "matching"),
        ] {
            let told = detail(test.set(connection, change).await);
            assert!(told.contains(reason), "{told}");
        }
    }

    async fn members_of_members_are_found_and_circles_survived(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let (ann, bob, cho) =
            (client.user("ann").await, client.user("bob").await, client.user("cho").await);
        let inner = client.group("Inner", &[&ann, &bob]).await;
        let middle = client.group("Middle", &[&inner, &bob]).await;
        let outer = client.group("Outer", &[&middle, &cho]).await;
        let join = |id: &str| json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
        let provision = &test.app.provision;
        let found = provision.group(test.id, "Outer", 0).await.unwrap().unwrap().0;
        assert_eq!(provision.circle_of(test.id, &found).await.unwrap(), None);
        assert_eq!(client.patch(&format!("/Groups/{inner}"), join(&outer)).await.status, 200);
        for limit in [1, 2, 10] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = provision.effective_members(test.id, &found, after, limit).await.unwrap();
                assert_eq!(page.total, 3);
                all.extend(page.members.into_iter().map(|one| (one.user_name, one.path.join(">"))));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let told: Vec<_> = all.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
            let all = [("ann", "Outer>Middle>Inner"), ("bob", "Outer>Middle"), ("cho", "Outer")];
            assert_eq!(told, all, "{limit}");
        }
        let circle = provision.circle_of(test.id, &found).await.unwrap().unwrap();
        assert_eq!(circle, ["Outer", "Middle", "Inner", "Outer"]);
        assert_eq!(client.delete(&format!("/Groups/{middle}")).await.status, 204);
        let left = provision.effective_members(test.id, &found, None, 10).await.unwrap();
        assert_eq!((left.total, left.members[0].user_name.as_str()), (1, "cho"));
        // A group cannot belong to itself.
        assert_eq!(client.patch(&format!("/Groups/{outer}"), join(&outer)).await.status, 200);
        assert_eq!(client.members(&outer).await, [cho.as_str()]);
        assert!(test.actions(&outer).await.contains(&"group.members_unknown".to_owned()));
        let strict = test.actor(ConnectionKind::Scim, "Strict", PickUp::ByUserName).await;
        let change = SettingsChange { profile: Some(Profile::Generic), ..SettingsChange::default() };
        test.set(&strict.connection, change).await.unwrap();
        let own = strict.client.group("Own", &[]).await;
        let answer = strict.client.patch(&format!("/Groups/{own}"), join(&own)).await;
        assert!(assert_refused(&answer, 400, "invalidValue").contains("itself"));
    }

    async fn a_change_of_settings_has_a_row_in_the_trail(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::Never).await;
        let set = SettingsChange { pick_up: Some(PickUp::Never), ..SettingsChange::default() };
        test.set(&okta.connection, set).await.unwrap();
        let trail = test.trail(&okta.connection.id.to_string()).await;
        let set: Vec<_> =
            trail.iter().filter(|event| event.action == "connection.settings_set").collect();
        assert_eq!(set.len(), 1, "what changes nothing has none");
        assert_eq!(set[0].before, Some(json!({ "pick_up": "by_user_name" })));
        assert_eq!(set[0].after, Some(json!({ "pick_up": "never" })));
    }
}
