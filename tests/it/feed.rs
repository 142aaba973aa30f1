//! What an intranet reads: the directory as it is, and its changes, which make an equal directory of
//! whoever replays them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use scimd::directory::hand::Act;
use scimd::directory::mapping::{Row, Transform};
use scimd::directory::{ConnectionKind, Entering};
use scimd::provision::mapping::MappingChange;
use scimd::provision::settings::SettingsChange;
use serde_json::{Value, json};

use super::rules::World;
use super::rules_cost::assert_narrow;
use super::support::dice::Dice;
use super::support::mirror::{Mirror, Reader};
use super::support::rules::{counting, enrol, execute, fill, literal, series};
use super::support::{
    Client, Database, ENTERPRISE, Recorder, TestInstance, TestServer, assert_refused, both, person,
};

const DAY: Duration = Duration::from_hours(24);

/// The steps of a history.
const STEPS: usize = 60;

impl TestInstance {
    async fn seal(&self) {
        self.app.provision.seal_instance(self.id).await.unwrap();
    }
}

/// Beside what the world does: fields, groups that leave and enter the directory, and what is gone for good.
async fn meddle(world: &World, connection: usize, dice: &mut Dice) {
    let (test, connection) = world.place(connection);
    let provision = &test.app.provision;
    let author = provision.operator();
    match dice.below(6) {
        0 => {
            let name = format!("u{}", dice.below(6));
            let city = (!dice.once_in(3)).then(|| format!("City {}", dice.below(3)));
            let values = BTreeMap::from([("job_title".to_owned(), city)]);
            // Somebody may not be there, or the field may be her connection's.
            let _ = provision.set_local_fields(&author, test.id, &name, &values).await;
        }
        1 => {
            let mapped = if dice.once_in(2) { "userName" } else { "title" };
            let row = Row {
                field: "job_title".to_owned(),
                sources: vec![mapped.to_owned()],
                transforms: vec![Transform::Lower],
                read_only: false,
            };
            let change = MappingChange::Row(row);
            provision.save_mapping(&author, test.id, connection.id, change, None).await.unwrap();
            provision.remap(test.id, connection.id, &author).await.unwrap();
        }
        2 => {
            let change = MappingChange::Without("job_title".to_owned());
            let _ = provision.save_mapping(&author, test.id, connection.id, change, None).await;
            provision.remap(test.id, connection.id, &author).await.unwrap();
        }
        3 => {
            let (entering, pattern) = match dice.below(3) {
                0 => (Entering::All, None),
                1 => (Entering::None, None),
                _ => (Entering::Matching, Some("[12]".to_owned())),
            };
            let entering = Some(entering);
            let change = SettingsChange { entering, pattern, ..SettingsChange::default() };
            provision.set_connection_settings(&author, &connection, change).await.unwrap();
        }
        4 if dice.once_in(3) => {
            test.advance(DAY * 31);
            provision.purge_overdue().await.unwrap();
        }
        _ => {}
    }
}

/// Groups that nobody has seen, and events that are about neither people nor groups.
fn strange_events(database: &Database, test: &TestInstance) -> String {
    let fresh = if database.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    let (instance, series) = (literal(database, test.id), series(database, 5000));
    let learn = if database.is_postgres() { counting(database) } else { String::new() };
    format!(
        "INSERT INTO groups (instance_id, id, display_name, display_name_key, document, version, \
         created_at, modified_at) SELECT {instance}, {fresh}, 'Crew ' || n, 'crew ' || n, '{{}}', 1, 0, 0 \
         FROM {series}; \
         INSERT INTO audit_events (instance_id, id, at, category, action, actor, target_kind, target_id) \
         SELECT {instance}, {fresh}, 0, 'Settings', 'field.defined', 'cli', 'instance', {instance} \
         FROM {series}; {learn}"
    )
}

both! {
    /// Three copies: one reads from the beginning at random moments, one from a list in the middle, one all
    /// at once in the end. All come to what the directory says of itself, on both instances.
    async fn whoever_replays_the_changes_has_the_directory(database) {
        let root = TestInstance::on(&database).await;
        let mut seen = 0;
        for seed in 0..if database.is_postgres() { 3 } else { 6 } {
            let mut world = World::new(&root, seed).await;
            let mut dice = Dice(seed + 1000);
            let readers = [world.place(0).0.reader().await, world.place(2).0.reader().await];
            let mut from_list: Vec<Mirror> = Vec::new();
            let mut followers = [Mirror::default(), Mirror::default()];
            for step in 0..STEPS {
                world.step().await;
                if dice.once_in(2) {
                    let connection = dice.below(3);
                    meddle(&world, connection, &mut dice).await;
                }
                let at = dice.below(2);
                if dice.once_in(3) {
                    followers[at].poll(&readers[at], 1 + dice.below(20)).await;
                }
                if step == STEPS / 2 {
                    for reader in &readers {
                        from_list.push(Mirror::listed(reader, 1 + dice.below(5)).await);
                    }
                }
            }
            for (at, reader) in readers.iter().enumerate() {
                let test = world.place(at * 2).0;
                test.assert_lawful().await;
                let mut whole = Mirror::default();
                for (mirror, limit) in
                    [(&mut followers[at], 9), (&mut from_list[at], 4), (&mut whole, 1000)]
                {
                    mirror.catch_up(reader, limit).await;
                    mirror.assert_equals_directory(reader).await;
                    assert!(!mirror.poll(reader, 1).await);
                }
                seen += whole.memberships.len() * whole.groups.len() * whole.accounts.len();
                assert_eq!(followers[at].memberships, whole.memberships, "seed {seed}");
                assert_eq!(followers[at].cursor(), whole.cursor());
            }
        }
        assert!(seen > 0, "the histories leave nothing to compare");
    }

    /// While a server seals by itself and others write, two readers at their own pace.
    async fn readers_follow_a_server_that_is_written_to(database) {
        let test = TestInstance::on(&database).await;
        let server = TestServer::start(test.app.clone()).await;
        let (okta, entra) = (test.okta().await, test.entra().await);
        let reader = test.reader().await;
        let write = async |client: &Client, prefix: &str| {
            for number in 0..25 {
                let id = client.user(&format!("{prefix}{number}")).await;
                let group = client.group(&format!("{prefix} {number}"), &[&id]).await;
                client.set_active(&id, number % 2 == 0).await;
                if number % 5 == 0 {
                    assert_eq!(client.delete(&format!("/Groups/{group}")).await.status, 204);
                }
            }
        };
        let follow = async |limit: usize| {
            let mut mirror = Mirror::default();
            while mirror.accounts.len() < 50 || mirror.groups.len() != 40 {
                mirror.poll(&reader, limit).await;
                tokio::task::yield_now().await;
            }
            mirror
        };
        let ((), (), mut quick, mut slow) =
            tokio::join!(write(&okta, "o"), write(&entra, "e"), follow(100), follow(3));
        test.seal().await;
        for mirror in [&mut quick, &mut slow] {
            mirror.catch_up(&reader, 10).await;
            mirror.assert_equals_directory(&reader).await;
        }
        server.stop().await;
    }

    async fn a_person_is_shown_with_everything_that_an_intranet_needs_and_no_more(database) {
        let test = TestInstance::on(&database).await;
        let (connection, okta) = test.connected(ConnectionKind::Okta, "okta").await;
        let boss = okta.user("boss@example.com").await;
        let ann = okta.person("ann@example.com", json!({
            "externalId": "x1", "displayName": "Ann Lee", "title": "Cook", "password": "geheim",
            "nickName": "Annie", ENTERPRISE: { "manager": { "value": boss } },
        })).await;
        okta.set_active(&ann, false).await;
        let local = test.local_person("lou@example.com", json!({ "title": "Waiter" })).await;
        let values = BTreeMap::from([("job_title".to_owned(), Some("Head waiter".to_owned()))]);
        let author = test.app.provision.operator();
        test.app.provision.set_local_fields(&author, test.id, &local, &values).await.unwrap();
        let reader = test.reader().await;
        let shown = reader.read(&format!("/accounts/{ann}")).await;
        let mut rest = shown.clone();
        for name in ["id", "createdAt", "modifiedAt", "version"] {
            assert!(!rest.as_object_mut().unwrap().shift_remove(name).unwrap().is_null(), "{shown}");
        }
        assert_eq!(rest, json!({
            "userName": "ann@example.com", "displayName": "Ann Lee", "status": "suspended",
            "statusReason": "disabled in the identity provider", "directory": connection.directory_key,
            "externalId": "x1", "manager": boss,
            "fields": {
                "display_name": "Ann Lee", "job_title": "Cook", "manager": boss,
                "user_name": "ann@example.com",
            },
        }));
        assert!(!shown.to_string().contains("geheim") && !shown.to_string().contains("Annie"));
        let lou = reader.read(&format!("/accounts/{local}")).await;
        assert_eq!((&lou["directory"], &lou["fields"]["job_title"]), (&Value::Null, &json!("Head waiter")));
        let path = "/accounts?userName=ANN%40example.com";
        assert_eq!(reader.read(path).await["accounts"], json!([shown]));
        let names = async |path: &str| -> Vec<String> {
            let page = reader.read(path).await;
            let found = page["accounts"].as_array().unwrap().iter();
            found.map(|one| one["userName"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("/accounts?status=suspended").await, ["ann@example.com"]);
        let key = &connection.directory_key;
        let both = ["boss@example.com", "ann@example.com"];
        assert_eq!(names(&format!("/accounts?directory={key}")).await, both);
        assert_eq!(names("/accounts?directory=nobody").await, [""; 0]);
        assert_eq!(names(&format!("/accounts/{boss}/reports")).await, ["ann@example.com"]);
        assert_eq!(names(&format!("/accounts/{ann}/manager-chain")).await, ["boss@example.com"]);
    }

    async fn each_kind_of_key_opens_its_own_doors_and_its_own_instance(database) {
        let test = TestInstance::on(&database).await;
        let (neighbour, okta) = (test.neighbour().await, test.okta().await);
        let csv = test.client(ConnectionKind::Csv).await;
        let (ann, reader) = (okta.user("ann").await, test.reader().await);
        let staff = okta.group("Staff", &[&ann]).await;
        let strange = neighbour.reader().await;
        let as_client =
            Client { app: test.app.clone(), token: reader.token.clone() };
        for answer in [
            as_client.get("/Users").await,
            as_client.post("/Users", person("bob", json!({}))).await,
            as_client.get("/ServiceProviderConfig").await,
        ] {
            let detail = assert_refused(&answer, 403, "");
            assert!(detail.contains("/directory/v1"), "{detail}");
        }
        let pull = Request::builder().uri("/pull/v1/runs");
        let pull = pull.header("authorization", format!("Bearer {}", reader.token));
        assert_refused(&as_client.call(pull.body(Body::empty()).unwrap()).await, 403, "");
        for client in [&okta, &csv] {
            let other = Reader { app: test.app.clone(), token: client.token.clone() };
            for path in ["/accounts", "/changes", &format!("/accounts/{ann}")] {
                let detail = assert_refused(&other.get(path).await, 403, "");
                assert!(detail.contains("keys issue --reader"), "{detail}");
            }
        }
        let nobody = Reader { app: test.app.clone(), token: "x".to_owned() };
        assert_refused(&nobody.get("/accounts").await, 401, "");
        assert_eq!(reader.get(&format!("/accounts/{ann}")).await.status, 200);
        for path in [
            format!("/accounts/{ann}"), format!("/accounts/{ann}/groups"),
            format!("/accounts/{ann}/manager-chain"), format!("/accounts/{ann}/reports"),
            format!("/groups/{staff}"), format!("/groups/{staff}/members"),
        ] {
            assert_refused(&strange.get(&path).await, 404, "");
            assert_eq!(reader.get(&path).await.status, 200, "{path}");
        }
        for (path, name) in
            [("/accounts", "accounts"), ("/groups", "groups"), ("/memberships", "memberships")]
        {
            assert_eq!(strange.read(path).await[name], json!([]));
            assert_eq!(reader.read(path).await[name].as_array().unwrap().len(), 1);
        }
        test.seal().await;
        neighbour.seal().await;
        assert_eq!(strange.read("/changes").await["changes"], json!([]));
        let cursor = reader.read("/changes").await["next"].as_str().unwrap().to_owned();
        let detail =
            assert_refused(&strange.get(&format!("/changes?since={cursor}")).await, 400, "invalidCursor");
        assert!(detail.contains("since"), "{detail}");
    }

    async fn what_cannot_be_meant_is_refused(database) {
        let test = TestInstance::on(&database).await;
        let (reader, okta) = (test.reader().await, test.okta().await);
        let ann = okta.user("ann").await;
        for (path, word) in [
            ("/accounts?username=ann", "username"), ("/accounts?status=gone", "active, blocked, suspended"),
            ("/accounts?limit=0", "1 to 1000"), ("/accounts?limit=1001", "1 to 1000"),
            ("/accounts?after=x", "next"), ("/memberships?after=x", "next"),
            ("/changes?after=x", "since, limit"), ("/groups?displayname=x", "displayName"),
            (&format!("/accounts/{ann}?x=1"), "none"),
        ] {
            let detail = assert_refused(&reader.get(path).await, 400, "invalidValue");
            assert!(detail.contains(word), "{path}: {detail}");
        }
        for cursor in ["x", "AAAA", "%20", "%C3%A4"] {
            assert_refused(&reader.get(&format!("/changes?since={cursor}")).await, 400, "invalidCursor");
        }
        for path in ["/accounts/x", "/groups/x", &format!("/accounts/{}", ann.to_uppercase()), "/x"] {
            assert_refused(&reader.get(path).await, 404, "");
        }
        okta.delete(&format!("/Users/{ann}")).await;
        assert_refused(&reader.get(&format!("/accounts/{ann}")).await, 404, "");
        assert_eq!(reader.read("/accounts").await["accounts"], json!([]));
    }

    /// A backup is older than what a reader has seen: the place is not there, or it is another one.
    async fn a_cursor_of_a_history_that_is_gone_says_so(database) {
        let test = TestInstance::on(&database).await;
        let (reader, okta) = (test.reader().await, test.okta().await);
        okta.user("ann").await;
        test.seal().await;
        let seen = reader.read("/changes").await["next"].as_str().unwrap().to_owned();
        let path = format!("/changes?since={seen}");
        assert_eq!(reader.read(&path).await, json!({ "changes": [], "next": seen, "more": false }));
        let instance = literal(&database, test.id);
        let last = format!("instance_id = {instance} AND position = (SELECT position FROM audit_heads \
                            WHERE instance_id = {instance})");
        let other = if database.is_postgres() { "decode(repeat('00', 32), 'hex')" } else { "zeroblob(32)" };
        execute(&database, format!("UPDATE audit_links SET hash = {other} WHERE {last}")).await;
        let detail = assert_refused(&reader.get(&path).await, 410, "");
        assert!(detail.contains("read everything again"), "{detail}");
        execute(&database, format!("DELETE FROM audit_links WHERE {last}")).await;
        assert_refused(&reader.get(&path).await, 410, "");
    }

    async fn what_is_deleted_restored_and_purged_is_told_as_such(database) {
        let test = TestInstance::on(&database).await;
        let (reader, okta) = (test.reader().await, test.okta().await);
        let ann = okta.user("ann").await;
        let staff = okta.group("Staff", &[&ann]).await;
        let mut mirror = Mirror::default();
        let states = async |mirror: &mut Mirror| {
            test.seal().await;
            let part = reader.read(&format!("/changes?since={}", mirror.cursor())).await;
            mirror.catch_up(&reader, 1000).await;
            mirror.assert_equals_directory(&reader).await;
            let told = part["changes"].as_array().unwrap().iter();
            told.map(|one| one["state"].as_str().unwrap_or("membership").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(states(&mut mirror).await, ["live", "live", "membership"]);
        okta.delete(&format!("/Users/{ann}")).await;
        assert_eq!(states(&mut mirror).await, ["deleted"]);
        assert_eq!((mirror.members(&staff).len(), mirror.memberships.len()), (0, 1));
        test.act(&ann, Act::Restore).await;
        assert_eq!(states(&mut mirror).await, ["live"]);
        assert_eq!(mirror.members(&staff).len(), 1);
        test.act(&ann, Act::Delete).await;
        let provision = &test.app.provision;
        provision.purge(&provision.operator(), test.id, &[ann.parse().unwrap()]).await.unwrap();
        provision.erase(&provision.operator(), test.id, ann.parse().unwrap()).await.unwrap();
        assert_eq!(states(&mut mirror).await, ["purged"]);
        assert_eq!(mirror.memberships.len(), 0);
        okta.delete(&format!("/Groups/{staff}")).await;
        test.advance(DAY * 31);
        provision.purge_overdue().await.unwrap();
        assert_eq!(states(&mut mirror).await, ["purged"]);
    }

    /// With nothing new it is one look at the links; with news, it is as many statements for many as for few.
    async fn polling_is_cheap(database) {
        let test = TestInstance::on(&database).await;
        let (reader, okta) = (test.reader().await, test.okta().await);
        let mut mirror = Mirror::default();
        let crowd = async |from: usize, to: usize| {
            let mut ids = Vec::new();
            for number in from..to {
                ids.push(okta.user(&format!("u{number}")).await);
            }
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            okta.group(&format!("Group {from}"), &ids).await;
            test.seal().await;
        };
        crowd(0, 3).await;
        let connection = test.app.provision.connections(test.id).await.unwrap().remove(0);
        fill(&database, &connection, "many", 5000).await;
        enrol(&database, &okta.group("Many", &[]).await, "many").await;
        execute(&database, strange_events(&database, &test)).await;
        test.seal().await;
        let recorder = Recorder::start();
        let mut poll = async || {
            let _ = recorder.take();
            mirror.poll(&reader, 1000).await;
            recorder.take()
        };
        let few = poll().await;
        let nothing = poll().await;
        assert_eq!(nothing.len(), 1, "{nothing:?}");
        assert_eq!(nothing[0].rows, 1, "the link of the place itself: {nothing:?}");
        crowd(3, 120).await;
        let many = poll().await;
        assert_eq!(few.len(), many.len(), "{many:#?}");
        let all = few.iter().chain(&nothing).chain(&many).map(|one| one.sql.clone()).collect();
        assert_narrow(&database, &all).await;
        if database.is_postgres() {
            // It plans lists by how few rows the tables of a test have.
            return;
        }
        let _ = recorder.take();
        let list = async |path: &str| {
            reader.read(path).await;
            recorder.take().into_iter().map(|one| one.sql).collect::<Vec<_>>()
        };
        let group = mirror.groups.keys().next().unwrap().clone();
        let somebody = mirror.accounts.keys().next().unwrap().clone();
        let mut all = list(&format!("/groups/{group}/members?limit=1")).await;
        all.extend(list(&format!("/accounts/{somebody}/groups")).await);
        all.extend(list("/accounts?userName=u1").await);
        assert_narrow(&database, &all.into_iter().collect()).await;
    }
}
