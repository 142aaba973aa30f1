//! Files at an https address whose server fails in every way.

use std::time::Duration;

use super::*;
use crate::support::TestInstance;
use crate::support::https::{Answer, Certificate, File, Https};
use scimd::directory::source::Place;
use scimd::keys::vault::{Purpose, Secret};
use scimd::provision::sources::SourceChange;
use scimd::pull::remote::{Limits, Network};
use scimd::store::runs::RunState;

/// A text that stands in secrets only.
const CANARY: &str = "canary-4711";

fn network(server: &Https) -> Network {
    let limits = Limits {
        bytes_max: 4_096,
        total: Duration::from_secs(2),
        idle: Duration::from_millis(500),
        ..Limits::default()
    };
    Network {
        allowed: vec!["127.0.0.1/32".parse().unwrap()],
        ca_file: Some(server.ca_file()),
        limits,
    }
}

async fn at(database: &Database, server: &Https) -> Csv {
    let url = server.url(&format!("/people.csv?token={CANARY}"));
    let place = Place::Remote { url, user: Some("hr".to_owned()) };
    let test = TestInstance::on(database).await;
    let csv = Csv::of(test, network(server), |settings| settings.place = place).await;
    let secret = Secret::new(CANARY.to_owned());
    let (instance, id) = (csv.test.id, csv.connection.id);
    let sealed = crate::support::csv::vault().seal(instance, id, Purpose::Source, &secret).unwrap();
    csv.set_source(SourceChange { password: Some(Some(sealed)), ..SourceChange::default() }).await;
    csv
}

fn guarded(file: File) -> Answer {
    Answer::Guarded { user: "hr", password: CANARY, file }
}

/// What goes wrong, and a word of the reason.
fn faults() -> Vec<(&'static str, Answer, &'static str)> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n";
    let part = file("", &["ann"]);
    let raw = |text: String| text.into_bytes();
    vec![
        ("cut", Answer::Cut(raw(format!("{head}Content-Length: 900\r\n\r\n{part}"))), ""),
        (
            "cut chunks",
            Answer::Cut(raw(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n10\r\nusername,first n\r\n"
            ))),
            "",
        ),
        ("without a length", Answer::Cut(raw(format!("{head}\r\n{part}"))), ""),
        (
            "a page",
            Answer::File(File {
                content_type: "text/html",
                etag: None,
                last_modified: None,
                ..File::csv("<html>Sign in</html>")
            }),
            "page",
        ),
        ("elsewhere", Answer::redirect("https://127.0.0.2:1/people.csv"), ""),
        ("by http", Answer::redirect("http://127.0.0.1:1/people.csv"), ""),
        ("trickle", Answer::Stalled(raw(format!("{head}Content-Length: 900\r\n\r\nusername"))), ""),
        ("silence", Answer::Stalled(Vec::new()), ""),
        (
            "endless",
            Answer::Endless(raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n"))),
            "4096",
        ),
        ("401", Answer::status(401), "401"),
        ("404", Answer::status(404), "404"),
        ("500", Answer::status(500), "500"),
        ("empty", Answer::File(File { etag: None, last_modified: None, ..File::csv("") }), "empty"),
        (
            "other password",
            Answer::Guarded { user: "hr", password: "other", file: File::csv("x") },
            "401",
        ),
    ]
}

both! {
    async fn a_server_that_fails_costs_nobody_the_access(database) {
        let server = Https::start().await;
        let csv = at(&database, &server).await;
        for established in [false, true] {
            if established {
                server.set(guarded(File::csv(&file("", &["ann", "bob"]))));
                assert_eq!(csv.run().await.end(), "done");
            }
            let before = csv.test.everything().await;
            let last = csv.source().await.last;
            for (what, answer, reason) in faults() {
                server.set(answer);
                let pulled = csv.run().await;
                assert_eq!(pulled.run.state, RunState::Failed, "{what}: {}", pulled.end());
                assert!(pulled.end().contains(reason) && pulled.end().len() > 40, "{what}: {}", pulled.end());
                assert_eq!(csv.test.everything().await, before, "{what}");
                assert_eq!(csv.source().await.last, last, "{what}");
                assert!(!format!("{pulled:?}").contains(CANARY), "{what}: {pulled:?}");
            }
        }
        server.set(guarded(File::csv(&file("", &["ann", "bob"]))));
        assert_eq!(csv.run().await.end(), "done");
        let trail = csv.test.trail(&csv.connection.id.to_string()).await;
        assert!(!format!("{trail:?}").contains(CANARY), "{trail:?}");
        csv.test.assert_lawful().await;
    }

    async fn a_stranger_with_a_certificate_is_not_asked(database) {
        for certificate in [Certificate::OfStranger, Certificate::Expired, Certificate::Misnamed] {
            let database = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
            let server = Https::with(certificate).await;
            let csv = at(&database, &server).await;
            let pulled = csv.run().await;
            assert!(pulled.end().starts_with("failed: ") && pulled.end().contains("certificate"), "{}", pulled.end());
            assert!(server.requests().is_empty());
        }
    }

    async fn what_is_not_new_is_not_read_again(database) {
        let server = Https::start().await;
        let csv = at(&database, &server).await;
        server.set(guarded(File::csv(&file("", &["ann", "bob"]))));
        assert_eq!(csv.run().await.pull().counts.created, 2);
        let before = csv.test.everything().await;
        // The server says so, or only the bytes do.
        assert_eq!(csv.run().await.pull().counts.unchanged, 0);
        assert_eq!(server.last().header("if-none-match"), Some("\"one\""));
        server.set(guarded(File { etag: Some("\"two\""), last_modified: None, ..File::csv(&file("", &["ann", "bob"])) }));
        let pulled = csv.run().await;
        assert!(pulled.pull().notes[0].contains("nothing was done"), "{pulled:?}");
        assert_eq!(csv.test.everything().await, before);
        server.set(guarded(File { etag: Some("\"three\""), last_modified: None, ..File::csv(&file("", &["ann", "bob", "cleo"])) }));
        assert_eq!(csv.run().await.short(), "4 created cleo");
        // Another host is not told the password of this one.
        let other = Https::start().await;
        csv.set(|settings| settings.place = Place::Remote { url: other.url("/p.csv"), user: Some("hr".to_owned()) }).await;
        assert_eq!(csv.source().await.password, None);
        assert!(!database.raw_text().await.contains(&format!("\"{CANARY}\"")));
    }
}
