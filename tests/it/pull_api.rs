//! `/pull/v1`: a system delivers its file and follows the run.

use std::io;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, request};
use futures_util::stream;
use scimd::directory::source::{Outcome, Place};
use scimd::directory::{Connection, ConnectionKind, ConnectionStatus, RunId, SourceSettings};
use scimd::http::{Settings, service};
use scimd::provision::documents::{DOCUMENT_BYTES_MAX, DOCUMENT_VERSIONS_MAX};
use scimd::provision::sources::SourceChange;
use scimd::pull::Pulls;
use scimd::pull::remote::Network;
use scimd::store::run_items::{self, Item};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::support::{Answer, Client, TestInstance, assert_refused, both, person, team};

/// A text that stands in files only.
const CANARY: &str = "canary-4711";

/// The SHA-256 of "userName\n", by another program.
const CHECKSUM: &str = "69cb8db4318f5382bacf3118712e6ad4ed879c6f768204d14bb766687caa72f5";

/// A file with these people: the user name and the title of each.
fn file(people: &[(&str, &str)]) -> String {
    let header = "userName,title,first name,last name,email,Notes\n".to_owned();
    people.iter().fold(header, |file, (name, title)| {
        file + &format!("{name},{title},Jo,Doe,jo@example.com,{CANARY}\n")
    })
}

/// A file with two people.
fn two() -> String {
    file(&[("ann@example.com", "Cook"), ("bob@example.com", "Clerk")])
}

/// The system that makes a file, with the key of its connection.
struct Maker {
    client: Client,
    connection: Connection,
}

impl TestInstance {
    /// A connection of this name whose file is a document.
    async fn maker(&self, name: &str) -> Maker {
        let connection = self.connection(ConnectionKind::Csv, name).await;
        let document = Place::Document { name: format!("{name}.csv") };
        self.place(&connection, document).await;
        self.maker_of(connection).await
    }

    async fn maker_of(&self, connection: Connection) -> Maker {
        let client = Client { app: self.app.clone(), token: self.token(&connection).await };
        Maker { client, connection }
    }

    async fn place(&self, connection: &Connection, place: Place) {
        let settings = SourceSettings::of(place);
        let change = SourceChange { settings: Some(settings), ..SourceChange::default() };
        let author = self.app.provision.operator();
        self.app.provision.set_source(&author, connection, change).await.unwrap();
    }

    async fn set_status(&self, connection: &Connection, status: ConnectionStatus) {
        let author = self.app.provision.operator();
        self.app.provision.set_connection_status(&author, connection, status).await.unwrap();
    }

    /// Does what a server's worker does with a run that nobody works on.
    async fn work_off(&self, run: &str) {
        let provision = &self.app.provision;
        let run = provision.run(self.id, RunId(run.parse().unwrap())).await.unwrap().unwrap();
        let run = provision.take_up(&run).await.unwrap();
        let pulls = Pulls::new(provision.clone(), None, Network::default(), None);
        pulls.work_off(run, &mut |_| ()).await.unwrap();
    }

    async fn versions(&self) -> Vec<i64> {
        let documents = self.app.provision.documents(self.id).await.unwrap();
        documents.iter().map(|document| document.version).collect()
    }
}

fn request(client: &Client, method: &str, path: &str) -> request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("/pull/v1{path}"))
        .header("host", "people.example.com")
        .header("authorization", format!("Bearer {}", client.token))
}

impl Maker {
    async fn upload(&self, file: impl Into<Body>) -> Answer {
        self.client.call(request(&self.client, "PUT", "/document").body(file.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.call(request(&self.client, "GET", path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.client.call(request(&self.client, "POST", path).body(body).unwrap()).await
    }

    /// Begins a run and gives its id.
    async fn begin(&self) -> String {
        let begun = self.post("/runs", None).await;
        assert_eq!(begun.status, 202, "{begun:?}");
        begun.text("/id")
    }

    /// What is answered as text, and its type.
    async fn text(&self, path: &str) -> (String, String) {
        let request = request(&self.client, "GET", path).body(Body::empty()).unwrap();
        let response = service(self.client.app.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (kind, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

/// A body of which nothing may be taken.
fn untouched() -> Body {
    Body::from_stream(stream::poll_fn(|_| -> Poll<Option<io::Result<Bytes>>> {
        panic!("something of the body was taken")
    }))
}

/// A body that breaks off.
fn broken() -> Body {
    let pieces = [
        Ok(Bytes::from_static(b"userName\nann")),
        Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    ];
    Body::from_stream(stream::iter(pieces))
}

both! {
    async fn a_file_is_delivered_and_its_run_followed(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let file = file(&[
            ("ann@example.com", "Cook"),
            ("=2+5@example.com", "Chef"),
            ("@x;=1", "Cook"),
            ("@X;=1", "Cook"),
        ]);
        let uploaded = maker.upload(file.clone()).await;
        assert_eq!(uploaded.status, 201, "{uploaded:?}");
        let (bytes, checksum) = (file.len(), uploaded.text("/checksum"));
        let now = "2027-01-15T08:00:00.000Z";
        let document = json!({
            "name": "HR.csv", "version": 1, "bytes": bytes, "checksum": checksum, "created": now,
        });
        assert_eq!(uploaded.body, document);

        let begun = maker.post("/runs", None).await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let id = begun.text("/id");
        let location = format!("http://people.example.com/pull/v1/runs/{id}");
        assert_eq!(begun.header("location"), location);
        let waiting = (begun.text("/state"), begun.text("/stage"), begun.at("/ended"));
        assert_eq!(waiting, ("open".to_owned(), "waiting".to_owned(), Value::Null));

        test.work_off(&id).await;
        let done = maker.get(&format!("/runs/{id}")).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(maker.get("/runs?limit=1").await.body, json!({ "runs": [done.body] }));
        let counts = json!({
            "created": 2, "updated": 0, "picked_up": 0, "asked": 0, "suspended": 0,
            "reactivated": 0, "blocked": 0, "deleted": 0, "skipped": 2, "unchanged": 0,
        });
        let expected = json!({
            "id": id, "state": "done", "stage": done.at("/stage"), "dry": false, "rows": 4, "done": 4,
            "counts": counts, "leaving": 0, "present": 0, "reason": null, "notes": done.at("/notes"),
            "checksum": checksum, "bytes": bytes, "started": now, "ended": now,
            "rows_per_s": null, "remaining_s": null,
        });
        assert_eq!(done.body, expected);
        assert_eq!(maker.client.count("/Users", "title eq \"Cook\"").await, 1);
        assert_the_report(&maker, &id).await;
    }

    async fn a_dry_run_changes_nothing(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        assert_eq!(maker.upload(two()).await.status, 201);
        let before = test.everything().await;
        for body in [json!({ "dryRun": true }), json!({ "dry": "yes" }), json!([])] {
            let refused = maker.post("/runs", Some(body)).await;
            assert_eq!(refused.status, 400, "{refused:?}");
        }
        let begun = maker.post("/runs", Some(json!({ "dry": true }))).await;
        assert_eq!((begun.status, begun.at("/dry")), (202, json!(true)), "{begun:?}");
        let id = begun.text("/id");
        test.work_off(&id).await;
        let done = maker.get(&format!("/runs/{id}")).await;
        assert_eq!((done.text("/state"), done.at("/counts/created")), ("done".to_owned(), json!(2)));
        assert_eq!(test.everything().await, before);
        assert_eq!(maker.get("/runs").await.at("/runs").as_array().unwrap().len(), 1);
    }

    async fn the_same_bytes_are_kept_once_and_ten_versions_at_most(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let first = maker.upload("version 1").await;
        let again = maker.upload("version 1").await;
        assert_eq!((first.status, again.status), (201, 200));
        assert_eq!(first.body, again.body);
        for version in 2..=11 {
            let uploaded = maker.upload(format!("version {version}")).await;
            assert_eq!((uploaded.status, uploaded.at("/version")), (201, json!(version)));
        }
        let versions: Vec<i64> = (2..=11).rev().collect();
        assert_eq!((versions.len(), DOCUMENT_VERSIONS_MAX), (10, 10));
        assert_eq!(test.versions().await, versions);
    }

    async fn large_files_are_kept_in_parts(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let piece = Bytes::from(vec![b'x'; 700_000]);
        let pieces = stream::iter((0..4).map(move |_| Ok::<_, io::Error>(piece.clone())));
        let uploaded = maker.upload(Body::from_stream(pieces)).await;
        assert_eq!((uploaded.status, uploaded.at("/bytes")), (201, json!(2_800_000)));
        let provision = &test.app.provision;
        let document = provision.document(test.id, "hr.CSV").await.unwrap().unwrap();
        let mut sizes = Vec::new();
        for position in 0..4 {
            let part = provision.document_part(test.id, &document, position).await.unwrap();
            sizes.push(part.map(|part| part.len()));
        }
        let last = 2_800_000 - (2 << 20);
        assert_eq!(sizes, [Some(1 << 20), Some(1 << 20), Some(last), None]);
    }

    async fn a_file_that_is_not_whole_is_not_kept(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let (digits, over) = ("0".repeat(64), (DOCUMENT_BYTES_MAX + 1).to_string());
        let file = || Body::from("userName\n");
        let cases: Vec<(&str, &str, &str, Body, u16, &str)> = vec![
            ("", "content-length", &over, untouched(), 413, "over the limit"),
            ("", "content-length", "1000", file(), 400, "did not arrive whole"),
            ("", "x-nothing", "", broken(), 400, "did not arrive whole"),
            ("", "x-nothing", "", Body::empty(), 400, "the body is empty"),
            (&digits, "x-nothing", "", file(), 400, "another one than it was announced"),
            ("abc", "x-nothing", "", untouched(), 400, "64 hexadecimal digits"),
            ("", "content-type", "multipart/form-data; boundary=x", untouched(), 415, "-T"),
            ("", "content-encoding", "gzip", untouched(), 415, "as it is"),
            ("", "content-range", "bytes 0-1/3", untouched(), 400, "send it whole"),
        ];
        for (sha256, header, value, body, status, why) in cases {
            let path = format!("/document?sha256={sha256}");
            let request = request(&maker.client, "PUT", &path).header(header, value);
            let refused = maker.client.call(request.body(body).unwrap()).await;
            assert_eq!(refused.status, status, "{why}: {refused:?}");
            assert_eq!(refused.header("content-type"), "application/scim+json");
            assert!(refused.text("/detail").contains(why), "{refused:?}");
        }
        assert_eq!(test.versions().await, [0; 0]);
        let path = format!("/document?sha256={}", CHECKSUM.to_uppercase());
        let kept = request(&maker.client, "PUT", &path).body(file()).unwrap();
        let kept = maker.client.call(kept).await;
        assert_eq!((kept.status, kept.text("/checksum")), (201, CHECKSUM.to_owned()));
    }

    async fn a_client_that_stalls_is_cut_off(database) {
        let short = Settings { request_timeout: Duration::from_secs(1), ..Settings::default() };
        let test = TestInstance::with(&database, short).await;
        let maker = test.maker("HR").await;
        let stalled = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let refused = assert_refused(&maker.upload(stalled).await, 400, "invalidSyntax");
        assert!(refused.contains("nothing more of the body came for 1 s"), "{refused}");
        assert_eq!(test.versions().await, [0; 0]);
    }

    async fn a_key_opens_the_runs_of_its_own_connection(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let id = maker.begin().await;
        let (colleague, neighbour) = (test.maker("Sales").await, test.neighbour().await);
        let stranger = neighbour.maker("HR").await;
        for other in [&colleague, &stranger] {
            for path in [format!("/runs/{id}"), format!("/runs/{id}/report")] {
                assert_refused(&other.get(&path).await, 404, "");
            }
            assert_refused(&other.post(&format!("/runs/{id}/cancel"), None).await, 404, "");
            assert_eq!(other.get("/runs").await.body, json!({ "runs": [] }));
        }
        for path in ["/runs/x", "/runs/00000000-0000-0000-0000-000000000000", "/nothing"] {
            assert_refused(&maker.get(path).await, 404, "");
        }
        for path in ["/runs?limit=0", "/runs?limit=x"] {
            assert_refused(&maker.get(path).await, 400, "invalidValue");
        }
        for query in ["from=-1", "from=x", "format=xml"] {
            let refused = maker.get(&format!("/runs/{id}/report?{query}")).await;
            assert_refused(&refused, 400, "invalidValue");
        }
        assert_eq!(maker.get(&format!("/runs/{id}")).await.text("/state"), "open");
        let nobody = Client { token: "x".to_owned(), ..maker.client.clone() };
        let request = request(&nobody, "GET", "/runs").body(Body::empty()).unwrap();
        assert_refused(&nobody.call(request).await, 401, "");
    }

    async fn the_keys_of_pushed_connections_are_refused(database) {
        let test = TestInstance::on(&database).await;
        let run = test.maker("HR").await.begin().await;
        for kind in [ConnectionKind::Okta, ConnectionKind::Entra, ConnectionKind::Scim] {
            let connection = test.connection(kind, &format!("{kind} test")).await;
            let maker = test.maker_of(connection).await;
            for answer in [
                maker.upload(untouched()).await,
                maker.post("/runs", None).await,
                maker.get("/runs").await,
                maker.get(&format!("/runs/{run}")).await,
                maker.get(&format!("/runs/{run}/report")).await,
                maker.post(&format!("/runs/{run}/cancel"), None).await,
            ] {
                let detail = assert_refused(&answer, 403, "");
                assert!(detail.contains(&format!("\"{kind} test\" is pushed")), "{detail}");
            }
        }
    }

    async fn a_pulled_connection_reads_and_does_not_write(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        assert_eq!(maker.upload(two()).await.status, 201);
        test.work_off(&maker.begin().await).await;
        let client = &maker.client;
        let found = client.find("/Users", "userName eq \"ann@example.com\"").await;
        let path = format!("/Users/{}", found.text("/Resources/0/id"));
        let title = json!([{ "op": "replace", "path": "title", "value": "X" }]);
        let ann = person("ann@example.com", json!({}));
        for answer in [
            client.post("/Users", person("cy@example.com", json!({}))).await,
            client.put(&path, ann.clone()).await,
            client.patch(&path, title).await,
            client.delete(&path).await,
            client.post("/Groups", team("Staff", &[])).await,
        ] {
            let detail = assert_refused(&answer, 403, "");
            assert!(detail.contains("\"HR\" is pulled"), "{detail}");
        }
        let bulk = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [{ "method": "POST", "path": "/Users", "bulkId": "1", "data": ann }],
        });
        let answer = client.post("/Bulk", bulk).await;
        assert_eq!(answer.at("/Operations/0/status"), "403", "{answer:?}");
        assert_eq!(client.get(&path).await.text("/title"), "Cook");
        assert_eq!(client.count("/Users", "userName pr").await, 2);
    }

    async fn what_is_possible_depends_on_the_connection(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let dry = || Some(json!({ "dry": true }));

        test.set_status(&maker.connection, ConnectionStatus::Draft).await;
        assert_eq!(maker.upload(two()).await.status, 201);
        let detail = assert_refused(&maker.post("/runs", None).await, 403, "");
        assert!(detail.contains("is draft: a dry run is possible"), "{detail}");
        let rehearsal = maker.post("/runs", dry()).await;
        assert_eq!(rehearsal.status, 202, "{rehearsal:?}");
        test.work_off(&rehearsal.text("/id")).await;

        test.set_status(&maker.connection, ConnectionStatus::Paused).await;
        assert_refused(&maker.upload(untouched()).await, 403, "");
        assert_refused(&maker.post("/runs", None).await, 403, "");
        assert_eq!(test.versions().await, [1]);

        test.set_status(&maker.connection, ConnectionStatus::Enabled).await;
        let url = "https://files.example.com/people.csv?token=secret".to_owned();
        test.place(&maker.connection, Place::Remote { url, user: None }).await;
        let detail = assert_refused(&maker.upload(untouched()).await, 409, "");
        assert!(detail.contains("https://files.example.com/people.csv;"), "{detail}");

        let bare = test.connection(ConnectionKind::Csv, "Bare").await;
        let bare = test.maker_of(bare).await;
        for answer in [bare.upload(untouched()).await, bare.post("/runs", dry()).await] {
            let detail = assert_refused(&answer, 409, "");
            assert!(detail.contains("\"Bare\" has no source yet"), "{detail}");
        }
    }

    async fn one_run_at_a_time_until_it_ends_or_is_cancelled(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        assert_eq!(maker.upload(two()).await.status, 201);
        let first = maker.begin().await;
        let detail = assert_refused(&maker.post("/runs", None).await, 409, "");
        assert!(detail.contains(&first), "{detail}");

        let cancel = format!("/runs/{first}/cancel");
        let cancelled = maker.post(&cancel, None).await;
        assert_eq!((cancelled.status, cancelled.text("/state")), (200, "cancelled".to_owned()));
        assert_eq!(cancelled.text("/reason"), "ended by HR");
        let detail = assert_refused(&maker.post(&cancel, None).await, 409, "");
        assert!(detail.contains("has ended already"), "{detail}");
        test.work_off(&maker.begin().await).await;
        assert_eq!(test.trail(&first).await.len(), 2);
    }

    async fn a_source_cannot_agree_to_its_own_suspensions(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        assert_eq!(maker.upload(two()).await.status, 201);
        test.work_off(&maker.begin().await).await;
        assert_eq!(maker.upload(file(&[("ann@example.com", "Cook")])).await.status, 201);
        let id = maker.begin().await;
        test.work_off(&id).await;
        let held = maker.get(&format!("/runs/{id}")).await;
        assert_eq!(held.text("/state"), "held", "{held:?}");
        assert_eq!((held.at("/leaving"), held.at("/present")), (json!(1), json!(2)));
        for word in ["continue", "approve"] {
            assert_refused(&maker.post(&format!("/runs/{id}/{word}"), None).await, 404, "");
        }
        let detail = assert_refused(&maker.post("/runs", None).await, 409, "");
        assert!(detail.contains("is held"), "{detail}");
        assert_eq!(maker.client.count("/Users", "active eq true").await, 2);
        let cancelled = maker.post(&format!("/runs/{id}/cancel"), None).await;
        assert_eq!(cancelled.text("/state"), "cancelled");
    }

    async fn a_long_report_comes_in_pages_and_as_one_file(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        let id = maker.begin().await;
        let item = |line| Item {
            outcome: Outcome::Skipped,
            line: Some(line),
            name: format!("p{line}"),
            account: None,
            detail: Some(json!({ "reason": "why" })),
        };
        let items: Vec<Item> = (1..=2_000).map(item).collect();
        let mut tx = test.app.provision.store.begin().await.unwrap();
        let run = RunId(id.parse().unwrap());
        run_items::append(&mut tx, test.id, run, 0, &items).await.unwrap();
        tx.commit().await.unwrap();

        let (mut from, mut seen) = (json!(0), 0);
        while !from.is_null() {
            let page = maker.get(&format!("/runs/{id}/report?from={from}")).await;
            seen += page.at("/lines").as_array().unwrap().len();
            from = page.at("/next");
        }
        assert_eq!(seen, 2_000);
        let (_, csv) = maker.text(&format!("/runs/{id}/report?format=csv&from=10")).await;
        let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
        assert_eq!((rows.len(), rows[1]), (1_991, "skipped,11,p11,,why"));
        assert_eq!(rows[1_990], "skipped,2000,p2000,,why");
    }

    async fn the_trail_has_neither_the_file_nor_the_key(database) {
        let test = TestInstance::on(&database).await;
        let maker = test.maker("HR").await;
        assert_eq!(maker.upload(two()).await.status, 201);
        let run = maker.begin().await;
        test.work_off(&run).await;
        let users = maker.client.get("/Users").await;
        let mut seen = Vec::new();
        for target in [
            test.id.to_string(),
            maker.connection.id.to_string(),
            run,
            users.text("/Resources/0/id"),
            users.text("/Resources/1/id"),
        ] {
            for event in test.trail(&target).await {
                let said = format!("{event:?}");
                assert!(!said.contains(CANARY) && !said.contains(&maker.client.token), "{said}");
                seen.push((event.action, event.key.is_some() && event.request_id.is_some()));
            }
        }
        for action in ["document.uploaded", "run.started"] {
            assert!(seen.contains(&(action.to_owned(), true)), "{seen:?}");
        }
        assert!(!database.raw_text().await.contains(&maker.client.token));
    }
}

/// Asserts that the report of the first test is told rightly, to programs and to people.
async fn assert_the_report(maker: &Maker, id: &str) {
    let report = maker.get(&format!("/runs/{id}/report")).await;
    assert_eq!((report.at("/from"), report.at("/next")), (json!(0), Value::Null));
    let lines = report.at("/lines");
    let first = json!({
        "outcome": "created", "line": 2, "name": "ann@example.com",
        "account": lines[0]["account"], "detail": null,
    });
    assert_eq!((&lines[0], lines.as_array().unwrap().len()), (&first, 4), "{lines}");
    let rest = maker.get(&format!("/runs/{id}/report?from=3")).await;
    assert_eq!(rest.at("/lines"), json!([lines[3]]));

    let (kind, text) = maker.text(&format!("/runs/{id}/report?format=csv")).await;
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    let account = |at: usize| lines[at]["account"].as_str().unwrap();
    assert_eq!(rows[0], "outcome,line,name,account,detail");
    assert_eq!(rows[1], format!("created,2,ann@example.com,{},", account(0)));
    assert_eq!(rows[2], format!("created,3,'=2+5@example.com,{},", account(1)));
    assert!(rows[3].starts_with("skipped,4,\"'@x;'=1\",,"), "{}", rows[3]);
    assert!(rows[4].starts_with("skipped,5,\"'@X;'=1\",,"), "{}", rows[4]);
    assert_eq!(rows.len(), 5);
}
