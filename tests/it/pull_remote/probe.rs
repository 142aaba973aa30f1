//! Testing a connection step by step.

use std::time::Duration;

use scimd::pull::remote::StageName;

use super::{CANARY, CSV, HEAD, as_user, failed, limited, open, remote};
use crate::support::https::{Answer, File, Https};

#[tokio::test]
async fn a_probe_tells_each_step_and_brings_the_beginning() {
    let server = Https::start().await;
    server.set(Answer::Guarded { user: "hr", password: CANARY, file: File::csv(CSV) });
    let remote = as_user(&server.url("/people.csv"), "hr", CANARY);
    let mut sample = b"old".to_vec();
    let stages = remote.probe(&open(&server), &mut sample, 8).await;
    assert_eq!(sample, b"userName");
    let port = server.address.port().to_string();
    let told = serde_json::to_string(&stages).unwrap().replace(&port, "PORT");
    let mut told: serde_json::Value = serde_json::from_str(&told).unwrap();
    for stage in told.as_array_mut().unwrap() {
        assert!(stage["durationMs"].take().is_u64());
    }
    assert_eq!(
        told,
        serde_json::json!([
            { "name": "dns", "durationMs": null, "outcome": { "ok": "127.0.0.1" } },
            { "name": "connect", "durationMs": null, "outcome": { "ok": "127.0.0.1:PORT" } },
            { "name": "tls", "durationMs": null,
              "outcome": { "ok": "TLS 1.3, the certificate is good for 127.0.0.1" } },
            { "name": "answer", "durationMs": null,
              "outcome": { "ok": "200 OK, text/csv; charset=utf-8, 34 bytes" } },
            { "name": "sample", "durationMs": null, "outcome": { "ok": "the first 8 bytes" } },
        ])
    );
    remote.probe(&open(&server), &mut sample, 1_000).await;
    assert_eq!(sample, CSV.as_bytes());
}

#[tokio::test]
async fn a_probe_stops_where_a_fetch_would() {
    let server = Https::start().await;
    let broken = format!("{HEAD}Content-Length: 50\r\n\r\na,b\n").into_bytes();
    let cases = [
        (Answer::status(401), StageName::Answer, 0),
        (Answer::status(404), StageName::Answer, 0),
        (Answer::redirect("https://files.example.org/"), StageName::Answer, 0),
        (Answer::Cut(Vec::new()), StageName::Answer, 0),
        (Answer::Stalled(Vec::new()), StageName::Answer, 0),
        (Answer::Raw(broken.clone()), StageName::Sample, 4),
        (Answer::Stalled(broken), StageName::Sample, 4),
    ];
    let network = limited(&server, |limits| limits.idle = Duration::from_secs(1));
    for (answer, stage, bytes) in cases {
        server.set(answer.clone());
        let mut sample = Vec::new();
        let stages = remote(&server.url("/")).probe(&network, &mut sample, 100).await;
        assert_eq!((failed(&stages), sample.len()), (stage, bytes), "{answer:?}");
    }
}
