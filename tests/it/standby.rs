//! A hot standby answers the later pages of walks, and nothing that somebody's next step rests on.

use std::time::{Duration, Instant};

use scimd::http::Settings;
use scimd::store::{Reached, Store};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::Mutex;

use super::support::proxy::Cable;
use super::support::{Client, Database, TestInstance};

/// There is one standby for all tests, and only one test at a time may hold it up.
static TURN: Mutex<()> = Mutex::const_new(());

/// How far a server has come.
const REACHED: &str = "SELECT CAST(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN \
                       pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, '0/0') AS BIGINT)";

/// Both servers, as somebody who looks after them.
struct Servers {
    primary: PgConnection,
    standby: PgConnection,
}

impl Servers {
    async fn of(database: &Database) -> Self {
        let mut servers = Self {
            primary: PgConnection::connect(&database.url).await.unwrap(),
            standby: PgConnection::connect(&database.standby_url()).await.unwrap(),
        };
        // A test that failed may have left it held up.
        servers.go_on().await;
        servers
    }

    /// Waits until the standby has all that is committed now.
    async fn catch_up(&mut self) {
        let wanted: i64 = sqlx::query_scalar(REACHED).fetch_one(&mut self.primary).await.unwrap();
        let since = Instant::now();
        while self.standby_reached().await < wanted {
            assert!(since.elapsed() < Duration::from_secs(30), "the standby does not follow");
        }
    }

    /// Keeps the standby as it is.
    async fn hold(&mut self) {
        self.standby.execute(sqlx::raw_sql("SELECT pg_wal_replay_pause()")).await.unwrap();
        let state = "SELECT pg_get_wal_replay_pause_state()";
        while sqlx::query_scalar::<_, String>(state).fetch_one(&mut self.standby).await.unwrap()
            != "paused"
        {}
    }

    async fn go_on(&mut self) {
        self.standby.execute(sqlx::raw_sql("SELECT pg_wal_replay_resume()")).await.unwrap();
    }

    async fn standby_reached(&mut self) -> i64 {
        sqlx::query_scalar(REACHED).fetch_one(&mut self.standby).await.unwrap()
    }
}

async fn with_standby(database: &Database, url: &str) -> TestInstance {
    let store: Store = database.open().await.with_standby(url, 4).unwrap();
    TestInstance::over(store, Settings::default()).await
}

/// Waits until a server has a connection to its standby.
async fn reaches_standby(test: &TestInstance) {
    let since = Instant::now();
    while test.app.provision.store.read_far(Reached(0)).await.unwrap().is_none() {
        assert!(since.elapsed() < Duration::from_secs(30), "the standby is not reached");
        tokio::task::yield_now().await;
    }
}

/// A walk through everybody, two at a time, by cursor or by index.
struct Walk<'c> {
    client: &'c Client,
    by_cursor: bool,
    met: Vec<String>,
    next: Option<String>,
}

impl<'c> Walk<'c> {
    fn begin(client: &'c Client, by_cursor: bool) -> Self {
        let next = if by_cursor { "cursor=" } else { "startIndex=1" };
        Self { client, by_cursor, met: Vec::new(), next: Some(next.to_owned()) }
    }

    async fn page(&mut self) {
        let Some(place) = self.next.take() else { return };
        let page = self.client.get(&format!("/Users?count=2&{place}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let found = page.at("/Resources").as_array().cloned().unwrap_or_default();
        self.met.extend(found.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        self.next = match (self.by_cursor, page.at("/nextCursor").as_str()) {
            (true, cursor) => cursor.map(|cursor| format!("cursor={cursor}")),
            (false, _) if found.is_empty() => None,
            (false, _) => Some(format!("startIndex={}", self.met.len() + 1)),
        };
    }

    async fn end(mut self) -> Vec<String> {
        while self.next.is_some() {
            self.page().await;
        }
        self.met
    }
}

async fn people(client: &Client, names: &str, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..count {
        all.push(client.user(&format!("{names}{number}@example.com")).await);
    }
    all
}

#[tokio::test]
async fn later_pages_of_a_walk_come_from_the_standby_and_look_ups_never_do() {
    let Some(database) = Database::postgres().await else { return };
    let _turn = TURN.lock().await;
    let mut servers = Servers::of(&database).await;
    let test = with_standby(&database, &database.standby_url()).await;
    reaches_standby(&test).await;
    let okta = test.okta().await;
    for by_cursor in [true, false] {
        let mut all = people(&okta, &format!("early-{by_cursor}"), 6).await;
        servers.catch_up().await;
        let mut walk = Walk::begin(&okta, by_cursor);
        walk.page().await;
        servers.catch_up().await;
        servers.hold().await;
        // What happens now, the standby does not know; so the last page shows that it is it that answers.
        let gone = all.pop().unwrap();
        assert_eq!(okta.delete(&format!("/Users/{gone}")).await.status, 204);
        let name = format!("late-{by_cursor}@example.com");
        let late = okta.user(&name).await;
        let met = walk.end().await;
        assert_eq!(met.iter().filter(|id| **id == gone).count(), 1, "the primary was asked");
        assert!(!met.contains(&late));
        assert!(all.iter().all(|id| met.contains(id)));
        // Whoever asks for somebody gets what is true now.
        assert_eq!(okta.get(&format!("/Users/{gone}")).await.status, 404);
        assert_eq!(okta.get(&format!("/Users/{late}")).await.status, 200);
        let found = okta.find("/Users", &format!("userName eq \"{name}\"")).await;
        assert_eq!(found.at("/totalResults"), json!(1));
        // A walk that begins now begins with what is true now, and the standby is not there yet.
        let met = Walk::begin(&okta, by_cursor).end().await;
        assert!(met.contains(&late) && !met.contains(&gone));
        servers.go_on().await;
        for id in all.iter().chain([&late]) {
            okta.delete(&format!("/Users/{id}")).await;
        }
    }
}

#[tokio::test]
async fn later_pages_of_a_readers_lists_come_from_the_standby_where_it_has_come_so_far() {
    let Some(database) = Database::postgres().await else { return };
    let _turn = TURN.lock().await;
    let mut servers = Servers::of(&database).await;
    let test = with_standby(&database, &database.standby_url()).await;
    reaches_standby(&test).await;
    let (okta, reader) = (test.okta().await, test.reader().await);
    let all = people(&okta, "early", 4).await;
    let members: Vec<&str> = all.iter().map(String::as_str).collect();
    let group = okta.group("Team", &members).await;
    servers.catch_up().await;
    let page = async |path: &str, after: &Value| {
        let after = after.as_str().map(|place| format!("&after={place}")).unwrap_or_default();
        let answer = reader.get(&format!("{path}?limit=2{after}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let accounts = page("/accounts", &Value::Null).await;
    let memberships = page("/memberships", &Value::Null).await;
    servers.catch_up().await;
    servers.hold().await;
    assert_eq!(okta.delete(&format!("/Users/{}", all[3])).await.status, 204);
    assert!(okta.delete(&format!("/Groups/{group}")).await.status < 300);
    let rest = page("/accounts", &accounts["next"]).await;
    assert_eq!(rest["accounts"][1]["id"], json!(all[3]), "{rest}");
    assert_eq!(
        page("/memberships", &memberships["next"]).await["memberships"].as_array().unwrap().len(),
        2
    );
    assert_eq!(reader.get(&format!("/accounts/{}", all[3])).await.status, 404);
    // A list that begins now: the standby has not come so far.
    let accounts = page("/accounts", &Value::Null).await;
    let rest = page("/accounts", &accounts["next"]).await;
    assert_eq!(rest["accounts"].as_array().unwrap().len(), 1, "{rest}");
    servers.go_on().await;
    let strange = reader.get("/accounts?after=01900000-0000-7000-8000-000000000002~x").await;
    assert_eq!(strange.status, 400);
}

#[tokio::test]
async fn without_its_standby_a_server_does_everything_by_itself() {
    // Nobody listens there; and a server that has none of the tables.
    for listens in [false, true] {
        let Some(database) = Database::postgres().await else { return };
        let standby = database.standby_url();
        let (server, _) = standby.split_once("options=").unwrap();
        let url = if listens {
            format!("{server}options=-csearch_path%3Dnowhere")
        } else {
            "postgres://scimd@127.0.0.1:1/scimd".to_owned()
        };
        let test = with_standby(&database, &url).await;
        let okta = test.okta().await;
        let all = people(&okta, "user", 5).await;
        for by_cursor in [true, false] {
            assert_eq!(Walk::begin(&okta, by_cursor).end().await, all);
        }
        assert_eq!(okta.delete(&format!("/Users/{}", all[0])).await.status, 204);
    }
}

#[tokio::test]
async fn a_standby_that_goes_in_the_middle_of_a_walk_is_not_missed() {
    let Some(database) = Database::postgres().await else { return };
    let _turn = TURN.lock().await;
    let mut servers = Servers::of(&database).await;
    let direct = database.standby_url();
    let (scheme, rest) = direct.split_once('@').unwrap();
    let (server, path) = rest.split_once('/').unwrap();
    let cable = Cable::to(server.to_owned()).await;
    let test = with_standby(&database, &format!("{scheme}@{}/{path}", cable.address)).await;
    reaches_standby(&test).await;
    let okta = test.okta().await;
    let all = people(&okta, "user", 6).await;
    for by_cursor in [true, false] {
        let mut walk = Walk::begin(&okta, by_cursor);
        walk.page().await;
        servers.catch_up().await;
        walk.page().await;
        cable.cut();
        assert_eq!(walk.end().await, all);
    }
}
