//! A fair share for each instance: whoever asks for too much waits, and nobody waits for him.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::future::join_all;
use scimd::directory::ConnectionKind;
use scimd::http::{Place, Settings};
use scimd::store::waist::StillTable;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::support::{Answer, Client, TestInstance, assert_refused, both, person};

/// The requests that a noisy instance sends at once.
const NOISE: usize = 300;

/// The places of the server, of which one instance gets `HELD` at most.
const PLACES: usize = 8;
const HELD: usize = 6;

/// The requests of one instance that wait at most.
const WAITING: usize = 20;

fn settings() -> Settings {
    Settings { requests_running_max: PLACES, requests_waiting_max: WAITING, ..Settings::default() }
}

/// Takes all places that the instance can have.
async fn hold_places(test: &TestInstance) -> Vec<Place> {
    let mut places = Vec::new();
    for _ in 0..HELD {
        places.push(test.app.fair.enter(test.id).await.unwrap());
    }
    places
}

/// Creates many people at once.
fn make_noise(client: &Client, prefix: &str) -> JoinSet<Answer> {
    let mut noise = JoinSet::new();
    for number in 0..NOISE {
        let (client, name) = (client.clone(), format!("{prefix}{number}@example.com"));
        noise.spawn(async move { client.post("/Users", person(&name, json!({}))).await });
    }
    noise
}

/// Waits for the requests that are refused; all others have places or wait for one.
async fn refused(crowd: &mut JoinSet<Answer>) {
    for _ in 0..NOISE - WAITING {
        let answer = crowd.join_next().await.unwrap().unwrap();
        let detail = assert_refused(&answer, 429, "");
        assert!(
            detail.contains("20 requests") && detail.contains("requests_waiting_max"),
            "{detail}"
        );
        assert_eq!(answer.header("retry-after").parse::<u32>(), Ok(5));
    }
}

both! {
    async fn a_noisy_instance_does_not_slow_a_quiet_one(database) {
        let test = TestInstance::with(&database, settings()).await;
        let neighbour = test.neighbour().await;
        let (noisy, quiet) = (test.okta().await, neighbour.okta().await);
        let pulled = test.client(ConnectionKind::Csv).await;
        let (reader, other) = (test.reader().await, neighbour.reader().await);
        quiet.user("ann@example.com").await;

        let places = hold_places(&test).await;
        let mut crowd = make_noise(&noisy, "noise");
        refused(&mut crowd).await;
        // All keys of the instance are at one door.
        assert_refused(&noisy.get("/ServiceProviderConfig").await, 429, "");
        assert_refused(&reader.get("/accounts").await, 429, "");
        let runs = request(&pulled, "GET", "/pull/v1/runs", Body::empty());
        assert_refused(&pulled.call(runs).await, 429, "");
        // Noise that is no key of the server goes no further than its signature.
        let stranger = Client { token: format!("{}x", noisy.token), ..noisy.clone() };
        assert_refused(&stranger.get("/Users").await, 401, "");

        for _ in 0..20 {
            assert_eq!(quiet.find("/Users", "userName eq \"ann@example.com\"").await.status, 200);
            assert_eq!(other.get("/accounts").await.status, 200);
        }
        for answer in join_all((0..WAITING).map(|_| quiet.get("/Users"))).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        for path in ["/healthz", "/readyz", "/openapi.json"] {
            let asked = Request::builder().uri(path).body(Body::empty()).unwrap();
            assert_eq!(quiet.call(asked).await.status, 200, "{path}");
        }

        drop(places);
        let mut kept = 0;
        while let Some(answer) = crowd.join_next().await {
            assert_eq!(answer.unwrap().status, 201);
            kept += 1;
        }
        assert_eq!(kept, WAITING);
    }

    async fn places_come_back_from_whoever_waits_no_longer(database) {
        let impatient = Settings { request_timeout: Duration::from_secs(2), ..settings() };
        let test = TestInstance::with(&database, impatient).await;
        let noisy = test.okta().await;
        let places = hold_places(&test).await;
        // The clients hang up.
        let mut crowd = make_noise(&noisy, "gone");
        refused(&mut crowd).await;
        crowd.shutdown().await;
        // The time is over.
        let mut crowd = make_noise(&noisy, "late");
        refused(&mut crowd).await;
        while let Some(answer) = crowd.join_next().await {
            assert_refused(&answer.unwrap(), 503, "");
        }
        drop(places);
        noisy.user("ann@example.com").await;
        let places = hold_places(&test).await;
        drop(places);
    }

    async fn a_place_comes_back_from_whoever_is_cut_off(database) {
        let one = Settings {
            requests_running_max: 1,
            requests_waiting_max: 0,
            ..Settings::default()
        };
        let test = TestInstance::with(&database, one).await;
        let okta = test.okta().await;
        let mut still = test.app.provision.store.begin().await.unwrap();
        still.hold_still(StillTable::Accounts).await.unwrap();
        let stuck = tokio::spawn({
            let okta = okta.clone();
            async move { okta.user("ann@example.com").await }
        });
        while let Ok(place) = test.app.fair.enter(test.id).await {
            drop(place);
            tokio::task::yield_now().await;
        }
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        assert_eq!(okta.get("/Users").await.status, 200);
        still.rollback().await;
        // An answer that says what was wrong gives it back as well.
        assert_eq!(okta.get("/Users/nobody").await.status, 404);
        assert_eq!(okta.get("/Users").await.status, 200);
    }

    async fn a_body_that_comes_slowly_holds_no_place(database) {
        let one = Settings { requests_running_max: 1, ..Settings::default() };
        let test = TestInstance::with(&database, one).await;
        let okta = test.okta().await;
        let (send, parts) = mpsc::channel::<io::Result<Bytes>>(1);
        let parts = futures_util::stream::unfold(parts, async |mut parts| {
            parts.recv().await.map(|part| (part, parts))
        });
        let slowly = request(&okta, "POST", "/scim/v2/Users", Body::from_stream(parts));
        let slow = tokio::spawn({
            let okta = okta.clone();
            async move { okta.call(slowly).await }
        });
        let body = person("slow@example.com", json!({})).to_string();
        let (start, rest) = body.split_at(20);
        send.send(Ok(start.to_owned().into())).await.unwrap();
        okta.user("quick@example.com").await;
        send.send(Ok(rest.to_owned().into())).await.unwrap();
        drop(send);
        assert_eq!(slow.await.unwrap().status, 201);
    }
}

fn request(client: &Client, method: &str, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "people.example.com")
        .header("authorization", format!("Bearer {}", client.token));
    request.body(body).unwrap()
}

#[tokio::test]
async fn many_clients_of_one_instance_are_not_refused() {
    let database = super::support::Database::sqlite();
    let test = TestInstance::on(&database).await;
    let okta = test.okta().await;
    let found = join_all((0..256).map(|_| okta.get("/Users"))).await;
    assert!(found.iter().all(|answer| answer.status == 200));
    assert_eq!(found[0].at("/totalResults"), json!(0));
}
