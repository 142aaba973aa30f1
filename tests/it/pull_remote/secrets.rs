//! What is never said.

use std::error::Error;

use scimd::pull::remote::Remote;

use super::{CANARY, HEAD, NO_NAME, SHORT, as_user, fetch, limited};
use crate::support::https::{Answer, Https};

/// Whatever goes wrong, neither the password nor the query of an address is in what is said of it.
#[tokio::test]
async fn no_error_tells_a_secret() {
    let server = Https::start().await;
    let network = limited(&server, |limits| limits.idle = SHORT);
    let url = server.url(&format!("/people.csv?token={CANARY}"));
    let answers = [
        Answer::status(401),
        Answer::status(404),
        Answer::status(500),
        Answer::redirect(&format!("https://files.example.org/?token={CANARY}")),
        Answer::redirect(&format!("http://files.example.org/{CANARY}")),
        Answer::redirect(&format!("https://hr:{CANARY}@{}/", server.address)),
        Answer::redirect(&format!("/people.csv?token={CANARY}")),
        Answer::Cut(Vec::new()),
        Answer::Raw(format!("{CANARY}\r\n\r\n").into()),
        Answer::Raw(format!("{HEAD}Content-Length: {CANARY}\r\n\r\n").into()),
        Answer::Raw(format!("{HEAD}Content-Length: 50\r\n\r\n{CANARY}").into()),
        Answer::Stalled(Vec::new()),
    ];
    let mut said = Vec::new();
    for answer in answers {
        server.set(answer);
        let mut sample = Vec::new();
        let remote = as_user(&url, "hr", CANARY);
        let error = fetch(&remote, &network).await.unwrap_err();
        let stages = remote.probe(&network, &mut sample, 100).await;
        said.push(format!("{remote:?} {error:?} {stages:?} {error}"));
        said.push(serde_json::to_string(&stages).unwrap());
        let causes = std::iter::successors(error.source(), |error| (*error).source());
        said.extend(causes.map(|cause| format!("{cause} {cause:?}")));
    }
    for place in ["127.0.0.2:9", "localhost:1", NO_NAME] {
        let remote = as_user(&format!("https://{place}/?token={CANARY}"), "hr", CANARY);
        let error = fetch(&remote, &network).await.unwrap_err();
        said.push(format!("{error:?} {error} {:?}", remote.probe(&network, &mut vec![], 1).await));
    }
    let entered = [
        format!("https://hr:{CANARY}@example.org/"),
        format!("http://example.org/{CANARY}"),
        format!("https://[{CANARY}/"),
        format!("https://example.org/{CANARY} x"),
        format!("https://example.org/#{CANARY}"),
    ];
    for entered in entered {
        let error = Remote::parse(&entered, None, None).unwrap_err();
        said.push(format!("{error} {error:?}"));
    }
    assert!(said.len() > 30);
    for text in said {
        assert!(!text.contains(CANARY), "{text}");
    }
}
