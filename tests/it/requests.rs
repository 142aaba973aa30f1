//! The request log: what is in it, what never is, and that no push notices it.

use std::time::Duration;

use axum::body::Body;
use scimd::clock::{Clock, Ids};
use scimd::directory::hand::Act;
use scimd::directory::{AccountId, RequestDays};
use scimd::http::{REQUESTS_KEPT_PER_SECOND_MAX, Settings};
use scimd::provision::Provision;
use scimd::provision::requests::replay::Replayed;
use scimd::provision::requests::{EXCHANGE_BODY_BYTES_MAX, Shown, from_time, name_key};
use scimd::scim::definition::{Holder, parse};
use scimd::store::audit::search;
use scimd::store::exchanges::{About, Exchange, From, Wanted};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};

use super::support::rules::{active, execute, join};
use super::support::{
    Answer, Client, Database, PATCH_OP, TestInstance, TestServer, both, person, raw, request,
};

/// What must be in no row.
const CANARY: &str = "c4n4ry";

impl TestInstance {
    /// What is wanted of the log, once everything is written, the oldest first.
    async fn request_log(&self, wanted: Wanted) -> Vec<Exchange> {
        self.app.requests.settle(&self.app.provision).await;
        let oldest = From::After(uuid::Uuid::nil());
        self.app.provision.exchanges(self.id, &wanted, oldest, 10_000).await.unwrap()
    }

    async fn log_lines(&self, wanted: Wanted) -> Vec<String> {
        let line = |one: &Exchange| format!("{} {} {}", one.method, kind(&one.path), one.status);
        self.request_log(wanted).await.iter().map(line).collect()
    }

    async fn whole(&self, exchange: &Exchange) -> Shown {
        self.app.provision.exchange(self.id, exchange.id).await.unwrap().unwrap()
    }

    async fn keep_requests_for(&self, days: i64) {
        let provision = &self.app.provision;
        let days = RequestDays::parse(days).unwrap();
        provision.set_request_days(&provision.operator(), self.id, days).await.unwrap();
    }

    async fn replay(&self, exchange: &Exchange) -> Result<Replayed, String> {
        let base = "http://people.example.com/scim/v2";
        let replayed = self.app.provision.replay(self.id, exchange.id, base).await;
        replayed.map_err(|error| error.to_string())
    }

    /// Everything that a request could change.
    async fn whole_state(&self) -> String {
        let wanted = search::Wanted::default();
        let events = self.app.provision.trail(self.id, &wanted, search::From::OLDEST, 10_000);
        format!("{}\n{:?}", self.everything().await, events.await.unwrap())
    }
}

fn all() -> Wanted {
    Wanted::default()
}

fn about(id: Option<&str>, name: Option<&str>) -> Wanted {
    let id = id.map(|id| id.parse().unwrap());
    Wanted { about: Some(About { id, name_key: name.map(name_key) }), ..all() }
}

fn status(least: i64, most: i64) -> Wanted {
    Wanted { status: Some((least, most)), ..all() }
}

/// A path without ids.
fn kind(path: &str) -> String {
    let part = |part: &str| if part.len() == 36 { "*".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// All texts of the log, whatever their columns.
async fn texts(database: &Database) -> String {
    let columns = [
        "client",
        "request_id",
        "method",
        "path",
        "query",
        "if_match",
        "scim_type",
        "target_kind",
        "name_key",
        "request_body",
        "answer_body",
    ];
    let columns = columns.map(|column| format!("COALESCE({column}, '')")).join(" || ' ' || ");
    let sql = AssertSqlSafe(format!("SELECT {columns} FROM exchanges"));
    let rows: Vec<String> = if database.is_postgres() {
        let mut link = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut link).await.unwrap()
    } else {
        let mut link = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut link).await.unwrap()
    };
    rows.join("\n")
}

both! {
    async fn every_exchange_is_found(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let ann = okta.user("Ann@example.com").await;
        let staff = okta.group("Staff", &[]).await;
        let group = format!("/Groups/{staff}");
        assert_eq!(okta.patch(&group, join(&ann)).await.status, 200);
        assert_eq!(okta.find("/Users", "userName eq \"ANN@example.com\"").await.status, 200);
        assert_eq!(okta.post("/Users", person("ann@example.com", json!({}))).await.status, 409);
        assert_eq!(okta.get(&format!("/Users/{staff}")).await.status, 404);
        assert_eq!(okta.get("/ServiceProviderConfig").await.status, 200);
        let search = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "filter": "userName eq \"bob\"",
        });
        assert_eq!(okta.post("/Users/.search", search).await.status, 200);
        assert_eq!(okta.put("/Users", json!({})).await.status, 405);
        let stranger = Client { token: "wrong".to_owned(), ..okta.clone() };
        assert_eq!(stranger.get("/Users").await.status, 401);
        assert_eq!(okta.delete(&group).await.status, 204);

        let everything = [
            "POST /Users 201",
            "POST /Groups 201",
            "PATCH /Groups/* 200",
            "GET /Users 200",
            "POST /Users 409",
            "GET /Users/* 404",
            "GET /ServiceProviderConfig 200",
            "POST /Users/.search 200",
            "DELETE /Groups/* 204",
        ];
        assert_eq!(test.log_lines(all()).await, everything);
        let of_ann = ["POST /Users 201", "PATCH /Groups/* 200"];
        assert_eq!(test.log_lines(about(Some(&ann), None)).await, of_ann);
        let named = ["POST /Users 201", "GET /Users 200", "POST /Users 409"];
        assert_eq!(test.log_lines(about(None, Some("ANN@EXAMPLE.COM"))).await, named);
        assert_eq!(test.log_lines(about(None, Some("bob"))).await, ["POST /Users/.search 200"]);
        let both = test.log_lines(about(Some(&ann), Some("ann@example.com"))).await;
        assert_eq!(both.len(), 4, "{both:?}");
        let of_staff = ["POST /Groups 201", "PATCH /Groups/* 200", "GET /Users/* 404", "DELETE /Groups/* 204"];
        assert_eq!(test.log_lines(about(Some(&staff), None)).await, of_staff);
        assert_eq!(test.log_lines(status(400, 499)).await, ["POST /Users 409", "GET /Users/* 404"]);
        assert_eq!(test.log_lines(status(404, 404)).await, ["GET /Users/* 404"]);
        assert_eq!(test.log_lines(status(200, 299)).await.len(), 7);
        let late = Wanted { since: Some(test.app.provision.clock.now().plus_ms(1)), ..all() };
        assert!(test.request_log(late).await.is_empty());
        // The pages of a walk from the newest on, and what a tail reads.
        let newest = From::Before(uuid::Uuid::max());
        let provision = &test.app.provision;
        let first = provision.exchanges(test.id, &all(), newest, 4).await.unwrap();
        let rest = From::Before(first.last().unwrap().id.0);
        let rest = provision.exchanges(test.id, &all(), rest, 100).await.unwrap();
        assert_eq!((first.len(), rest.len()), (4, 5));
        let ago = from_time(scimd::directory::Timestamp(0));
        assert_eq!(provision.exchanges(test.id, &all(), ago, 100).await.unwrap().len(), 9);
    }

    async fn an_exchange_is_shown_with_what_it_caused(database) {
        let test = TestInstance::on(&database).await;
        let entra = test.entra().await;
        let headers = [("x-request-id", "push-1"), ("user-agent", "Azure AD"), ("if-match", "*")];
        let body = person("ann", json!({ "title": "Cook" }));
        let answer = entra.send_with("POST", "/Users?attributes=title", &headers, Some(body.clone())).await;
        assert_eq!(answer.status, 201);
        let found = test.request_log(Wanted { request_id: Some("push-1".to_owned()), ..all() }).await;
        let shown = test.whole(&found[0]).await;
        let exchange = &shown.whole.exchange;
        assert_eq!(exchange.query.as_deref(), Some("attributes=title"));
        assert_eq!(exchange.client.as_deref(), Some("Azure AD"));
        assert_eq!(exchange.if_match.as_deref(), Some("*"));
        assert_eq!(exchange.target_kind.as_deref(), Some("account"));
        assert_eq!(exchange.target.unwrap().to_string(), answer.text("/id"));
        assert_eq!(exchange.at, test.app.provision.clock.now());
        let sent: Value = serde_json::from_str(shown.whole.request.text.as_deref().unwrap()).unwrap();
        let answered: Value = serde_json::from_str(shown.whole.answer.text.as_deref().unwrap()).unwrap();
        assert_eq!((&sent, &answered), (&body, &answer.body));
        assert_eq!(shown.whole.request.bytes, i64::try_from(body.to_string().len()).unwrap());
        let actions: Vec<&str> = shown.events.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["account.created"]);
        // The same id of a request of another connection is another request.
        let okta = test.okta().await;
        assert_eq!(okta.send_with("POST", "/Users", &headers[..2], Some(person("bob", json!({})))).await.status, 201);
        assert_eq!(test.request_log(all()).await.len(), 2);
        assert_eq!(test.whole(&found[0]).await.events.len(), 1);
        // And nobody else's.
        let neighbour = test.neighbour().await;
        let theirs = neighbour.app.provision.exchange(neighbour.id, found[0].id).await.unwrap();
        assert!(theirs.is_none());
        assert!(neighbour.request_log(all()).await.is_empty());
        assert_eq!(neighbour.replay(&found[0]).await.unwrap_err(), format!(
            "404: there is no exchange with the id \"{}\"", found[0].id
        ));
    }

    async fn no_secret_is_ever_kept(database) {
        let test = TestInstance::on(&database).await;
        let schema = parse(&json!({ "id": "urn:example:2.0:User", "attributes": [
            { "name": "pin", "mutability": "writeOnly" },
            { "name": "cards", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value" }, { "name": "code", "returned": "never" },
            ] },
        ] })).unwrap();
        let provision = &test.app.provision;
        provision.define_schema(&provision.operator(), test.id, Holder::User, schema).await.unwrap();
        let client = test.entra().await;
        let own = json!({ "pin": CANARY, "cards": [{ "value": "shown", "code": CANARY }] });
        let secret = json!({ "password": CANARY, "urn:example:2.0:User": own });
        let ann = client.person("ann", secret.clone()).await;
        let path = format!("/Users/{ann}");
        assert_eq!(client.put(&path, person("ann", secret.clone())).await.status, 200);
        for operations in [
            json!([{ "op": "replace", "path": "password", "value": CANARY }]),
            json!([{ "op": "Replace", "value": { "password": CANARY, "title": "Cook" } }]),
            json!([{ "op": "add", "path": "urn:example:2.0:User:pin", "value": CANARY }]),
            json!([{ "op": "add", "path": "urn:example:2.0:User", "value": { "pin": CANARY } }]),
            json!([{ "op": "add", "value": { "urn:example:2.0:User:pin": CANARY } }]),
            json!([{ "op": "add", "path": "urn:example:2.0:User:cards", "value": [{ "code": CANARY }] }]),
            json!([{ "op": "remove", "path": format!("urn:example:2.0:User:cards[code eq \"{CANARY}\"]") }]),
            json!([{ "op": "nonsense", "path": "password", "value": CANARY }]),
        ] {
            client.patch(&path, operations).await;
        }
        let bulk = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [
            { "method": "POST", "path": "/Users", "bulkId": "1", "data": person("bob", secret) },
            { "method": "PATCH", "path": path, "data": { "schemas": [PATCH_OP], "Operations": [
                { "op": "add", "path": "password", "value": CANARY },
            ] } },
        ] });
        assert_eq!(client.post("/Bulk", bulk).await.status, 200);
        client.find("/Users", &format!("password eq \"{CANARY}\"")).await;
        client.find("/Users", &format!("urn:example:2.0:User:cards[code eq \"{CANARY}\"]")).await;
        client.find("/Users", &format!("password {CANARY}")).await;
        client.get(&format!("/Users?access_token={CANARY}")).await;
        client.post("/Users/.search", json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "filter": format!("password sw \"{CANARY}\""),
        })).await;
        let broken = format!("{{\"userName\": \"cho\", \"password\": \"{CANARY}\"").into_bytes();
        assert_eq!(raw(&client, "POST", "/Users", broken).await.status, 400);
        assert!(test.request_log(all()).await.len() > 15);
        let kept = texts(&database).await;
        assert!(kept.contains("(hidden)") && kept.contains("Cook") && kept.contains("shown"), "{kept}");
        let place = kept.find(CANARY).map(|at| &kept[at.saturating_sub(300)..at]);
        assert_eq!(place, None);
        assert!(!kept.contains(&client.token));
    }

    async fn what_has_no_room_is_counted_and_no_push_is_lost(database) {
        let settings = Settings { requests_queue_max: 2, ..Settings::default() };
        let test = TestInstance::with(&database, settings).await;
        let client = test.okta().await;
        for number in 0..5 {
            client.user(&format!("user{number}")).await;
        }
        assert_eq!(test.request_log(all()).await.len(), 2);
        assert_eq!(test.app.provision.missed_exchanges(test.id).await.unwrap(), 3);
        // There is room again, and the count is of this instance.
        client.user("another").await;
        assert_eq!(test.request_log(all()).await.len(), 3);
        assert_eq!(test.app.provision.missed_exchanges(test.id).await.unwrap(), 3);
        let neighbour = test.neighbour().await;
        assert_eq!(neighbour.app.provision.missed_exchanges(neighbour.id).await.unwrap(), 0);
        assert_eq!(client.count("/Users", "userName pr").await, 6);
    }

    async fn large_bodies_do_not_fill_the_memory(database) {
        let settings = Settings { requests_queue_bytes_max: 20_000, ..Settings::default() };
        let test = TestInstance::with(&database, settings).await;
        let client = test.okta().await;
        client.person("big", json!({ "title": "x".repeat(15_000) })).await;
        client.user("small").await;
        assert_eq!(test.log_lines(all()).await, ["POST /Users 201"]);
        assert_eq!(test.app.provision.missed_exchanges(test.id).await.unwrap(), 1);
    }

    /// A database that cannot be written loses lines of the log, which are counted, and nothing else.
    async fn what_cannot_be_written_is_counted(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        client.user("ann").await;
        execute(&database, "ALTER TABLE exchanges RENAME TO elsewhere".to_owned()).await;
        test.app.requests.settle(&test.app.provision).await;
        client.user("bob").await;
        execute(&database, "ALTER TABLE elsewhere RENAME TO exchanges".to_owned()).await;
        assert_eq!(test.log_lines(all()).await, ["POST /Users 201"]);
        assert_eq!(test.app.provision.missed_exchanges(test.id).await.unwrap(), 1);
    }

    async fn the_log_has_an_end(database) {
        const DAY: Duration = Duration::from_hours(24);
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let (client, other) = (test.okta().await, neighbour.okta().await);
        neighbour.keep_requests_for(90).await;
        client.user("old").await;
        other.user("old").await;
        test.advance(DAY * 3);
        client.user("new").await;
        let provision = &test.app.provision;
        assert_eq!(test.request_log(all()).await.len(), 2);
        test.advance(DAY * 4);
        assert_eq!(provision.purge_exchanges().await.unwrap(), 0);
        test.advance(Duration::from_millis(1));
        assert_eq!(provision.purge_exchanges().await.unwrap(), 1);
        assert_eq!(test.log_lines(about(None, Some("new"))).await, ["POST /Users 201"]);
        test.keep_requests_for(2).await;
        assert_eq!(provision.purge_exchanges().await.unwrap(), 1);
        assert!(test.request_log(all()).await.is_empty());
        assert_eq!(neighbour.request_log(all()).await.len(), 1);
    }

    async fn an_instance_can_do_without(database) {
        let test = TestInstance::on(&database).await;
        let neighbour = test.neighbour().await;
        let client = test.okta().await;
        client.user("ann").await;
        assert_eq!(test.request_log(all()).await.len(), 1);
        test.keep_requests_for(0).await;
        client.user("bob").await;
        neighbour.okta().await.user("cho").await;
        assert_eq!(test.request_log(all()).await.len(), 1, "what was there waits for its removal");
        assert_eq!(neighbour.request_log(all()).await.len(), 1);
        assert_eq!(test.app.provision.purge_exchanges().await.unwrap(), 1);
        assert!(test.request_log(all()).await.is_empty());
        let events = test.trail(&test.id.to_string()).await;
        let set: Vec<_> = events.iter().filter(|event| event.action == "instance.requests_set").collect();
        assert_eq!(set.len(), 1);
        assert_eq!(set[0].before, Some(json!({ "requestsDays": 7 })));
        assert_eq!(set[0].after, Some(json!({ "requestsDays": 0 })));
    }

    async fn who_is_erased_is_erased_here_too(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.person("ann.canary", json!({ "title": CANARY })).await;
        let bob = client.person("bob", json!({ "title": "Cook" })).await;
        client.find("/Users", "userName eq \"Ann.Canary\"").await;
        client.post("/Users", person("ann.canary", json!({ "title": CANARY }))).await;
        client.get(&format!("/Users/{ann}")).await;
        let members = json!([{ "value": ann, "display": CANARY }]);
        let group = json!({ "displayName": "Staff", "members": members,
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"] });
        assert_eq!(client.post("/Groups", group).await.status, 201);
        client.patch(&format!("/Users/{ann}"), active(false)).await;
        assert_eq!(client.delete(&format!("/Users/{ann}")).await.status, 204);
        assert_eq!(test.request_log(all()).await.len(), 8);
        assert!(texts(&database).await.contains(CANARY));
        let provision = &test.app.provision;
        let id: AccountId = ann.parse().unwrap();
        let erased = provision.erase(&provision.operator(), test.id, id).await.unwrap();
        assert_eq!(erased.exchanges, 6, "all that had a body or a query");
        let kept = texts(&database).await;
        assert!(!kept.contains(CANARY) && !kept.contains("ann.canary"), "{kept}");
        // That something happened is still there, and everybody else.
        assert_eq!(test.request_log(all()).await.len(), 8);
        let created = test.request_log(about(Some(&ann), None)).await;
        let shown = test.whole(&created[0]).await;
        assert!(shown.whole.exchange.erased_at.is_some() && shown.whole.request.text.is_none());
        assert!(test.replay(&created[0]).await.unwrap_err().contains("was erased"));
        let of_bob = test.request_log(about(Some(&bob), None)).await;
        assert!(test.whole(&of_bob[0]).await.whole.request.text.is_some());
    }

    async fn who_is_purged_is_erased_here_too(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.person("ann", json!({ "title": CANARY })).await;
        test.act(&ann, Act::Delete).await;
        assert_eq!(test.request_log(all()).await.len(), 1);
        let provision = &test.app.provision;
        let purged = provision.purge(&provision.operator(), test.id, &[ann.parse().unwrap()]).await;
        assert_eq!(purged.unwrap().len(), 1);
        assert!(!texts(&database).await.contains(CANARY));
    }

    async fn a_dry_run_changes_nothing_and_says_what_the_request_does(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let ann = client.person("ann", json!({ "title": "Cook" })).await;
        let staff = client.group("Staff", &[]).await;
        let (user, group) = (format!("/Users/{ann}"), format!("/Groups/{staff}"));
        let requests = [
            ("POST", "/Users".to_owned(), Some(person("bob", json!({ "password": "secret" })))),
            ("POST", "/Users".to_owned(), Some(person("ann", json!({})))),
            ("GET", user.clone(), None),
            ("PUT", user.clone(), Some(person("ann", json!({ "title": "Baker" })))),
            ("PATCH", user.clone(), Some(json!({ "schemas": [PATCH_OP], "Operations": active(false) }))),
            ("PATCH", group.clone(), Some(json!({ "schemas": [PATCH_OP], "Operations": join(&ann) }))),
            ("PATCH", group.clone(), Some(json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "x" }] }))),
            ("DELETE", group.clone(), None),
            ("GET", group, None),
            ("DELETE", user, None),
        ];
        for (method, path, body) in requests {
            // First in vain, by a connection that is paused; then dry, then for real.
            execute(&database, "UPDATE connections SET status = 'paused'".to_owned()).await;
            client.send(method, &path, body.clone()).await;
            execute(&database, "UPDATE connections SET status = 'enabled'".to_owned()).await;
            let exchange = test.request_log(all()).await.pop().unwrap();
            let before = test.whole_state().await;
            let dry = test.replay(&exchange).await.unwrap();
            assert_eq!(test.whole_state().await, before, "{method} {path}");
            let real = client.send(method, &path, body).await;
            assert_eq!(dry.status, real.status, "{method} {path}: {dry:?}");
            let real_exchange = test.request_log(all()).await.pop().unwrap();
            let real_events = test.whole(&real_exchange).await.events;
            assert_eq!(said(&dry.events), said(&real_events), "{method} {path}");
            assert_eq!(dry.left_out, if path == "/Users" && real.status == 201 { vec!["password"] } else { vec![] });
            assert_same(dry.answer.unwrap_or_default(), &real);
        }
    }

    async fn what_cannot_be_replayed_is_refused_with_the_reason(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        let refused = [
            ("POST", "/Bulk", json!({}).to_string(), "not queries, discovery or Bulk"),
            ("GET", "/Users", String::new(), "not queries, discovery or Bulk"),
            ("GET", "/Schemas", String::new(), "not queries, discovery or Bulk"),
            ("POST", "/Users", "{".to_owned(), "no JSON"),
            (
                "POST",
                "/Users",
                person("ann", json!({ "title": "x".repeat(EXCHANGE_BODY_BYTES_MAX) })).to_string(),
                "too long",
            ),
        ];
        for (method, path, body, reason) in refused {
            raw(&client, method, path, body.into_bytes()).await;
            let exchange = test.request_log(all()).await.pop().unwrap();
            let error = test.replay(&exchange).await.unwrap_err();
            assert!(error.contains(reason), "{method} {path}: {error}");
        }
        let ann = client.user("bob").await;
        let password = json!([{ "op": "add", "path": "password", "value": "secret" }]);
        client.patch(&format!("/Users/{ann}"), password).await;
        let exchange = test.request_log(all()).await.pop().unwrap();
        assert!(test.replay(&exchange).await.unwrap_err().contains("everything that it sent was masked"));
    }

    async fn a_big_body_is_cut(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        // A character of two bytes stands on the limit.
        let title = "\u{e9}".repeat(EXCHANGE_BODY_BYTES_MAX);
        client.person("ann", json!({ "title": title })).await;
        let exchange = test.request_log(all()).await.pop().unwrap();
        let shown = test.whole(&exchange).await;
        for body in [&shown.whole.request, &shown.whole.answer] {
            let kept = body.text.as_ref().unwrap().len();
            assert!(body.cut && kept <= EXCHANGE_BODY_BYTES_MAX && kept > EXCHANGE_BODY_BYTES_MAX - 4);
            assert!(body.bytes > 2 * i64::try_from(EXCHANGE_BODY_BYTES_MAX).unwrap());
        }
        assert_eq!(exchange.target_kind.as_deref(), Some("account"));
        assert!(exchange.target.is_some());
    }

    async fn who_hangs_up_is_in_the_log(database) {
        let test = TestInstance::on(&database).await;
        let client = test.okta().await;
        // Nothing more comes of the body once the server has asked for it.
        let (asked, mut told) = tokio::sync::mpsc::channel::<()>(1);
        let body = futures_util::stream::poll_fn(move |_| {
            let _first = asked.try_send(());
            std::task::Poll::<Option<Result<axum::body::Bytes, std::io::Error>>>::Pending
        });
        let request = request(&client, "POST", "/Users").body(Body::from_stream(body)).unwrap();
        tokio::select! {
            answer = client.call(request) => panic!("{answer:?}"),
            _ = told.recv() => {}
        }
        assert_eq!(test.log_lines(all()).await, ["POST /Users 499"]);
    }

    /// An import must not cost more to log than to do; what failed is what people look for.
    async fn of_what_goes_well_a_hundred_in_a_second_are_kept(database) {
        let test = TestInstance::on(&database).await;
        let (client, neighbour) = (test.okta().await, test.neighbour().await);
        let neighbours = neighbour.okta().await;
        for _ in 0..REQUESTS_KEPT_PER_SECOND_MAX + 7 {
            client.get("/Users?count=0").await;
        }
        client.get("/Users/nobody").await;
        neighbours.get("/Users").await;
        let kept = test.request_log(all()).await;
        assert_eq!(kept.len(), REQUESTS_KEPT_PER_SECOND_MAX + 1);
        assert_eq!(kept.last().unwrap().status, 404);
        assert_eq!(test.app.provision.missed_exchanges(test.id).await.unwrap(), 7);
        assert_eq!(neighbour.request_log(all()).await.len(), 1);
        // The log was written, and another second begins.
        client.get("/Users").await;
        assert_eq!(test.request_log(all()).await.len(), REQUESTS_KEPT_PER_SECOND_MAX + 2);
    }

    async fn a_server_that_stops_writes_what_waits(database) {
        let test = TestInstance::on(&database).await;
        let token = test.okta().await.token;
        let server = TestServer::start(test.app.clone()).await;
        let client = reqwest::Client::builder().build().unwrap();
        for number in 0..250 {
            let url = format!("{}/scim/v2/Users/nobody-{number}", server.base);
            let sent = client.get(url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(sent.status().as_u16(), 404);
        }
        server.stop().await;
        let provision = Provision::new(database.open().await, Clock::system(), Ids);
        let oldest = From::After(uuid::Uuid::nil());
        let kept = provision.exchanges(test.id, &all(), oldest, 1_000).await.unwrap();
        assert_eq!(kept.len(), 250);
    }
}

/// What events say, without what differs each time.
fn said(events: &[scimd::store::audit::Event]) -> Vec<Value> {
    let said = |event: &scimd::store::audit::Event| {
        json!([event.action, event.target_kind, event.actor, event.rule, event.before.is_some()])
    };
    events.iter().map(said).collect()
}

/// Two answers are the same but for ids, times and versions.
fn assert_same(mut dry: Value, real: &Answer) {
    let mut real = real.body.clone();
    for answer in [&mut dry, &mut real] {
        if let Value::Object(members) = answer {
            members.retain(|name, _| !["id", "meta"].contains(&name.as_str()));
        }
    }
    assert_eq!(dry, real);
}
