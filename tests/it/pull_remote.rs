//! Fetching files over https: from good servers, from bad ones, and from where nobody may go.

mod probe;
mod secrets;

use std::time::Duration;

use scimd::keys::vault::Secret;
use scimd::pull::remote::{
    Fault, FetchError, Fetched, Limits, Network, Outcome, REDIRECTS_MAX, Remote, Stage, StageName,
    TlsFault, Validators,
};

use crate::support::https::{Answer, Certificate, File, Https};

const CSV: &str = "userName,mail\nada,ada@example.org\n";

/// Its SHA-256, by another program.
const CSV_SHA256: &str = "f2df7d43099c42739f4cdd23c1a8b8352e5501f67031ce4f58f3b507a1f8001b";

/// A text that stands in secrets only.
const CANARY: &str = "canary-4711";

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n";

/// The network of an operator who allows 127.0.0.1 and trusts the authority of a server.
fn open(server: &Https) -> Network {
    Network {
        allowed: vec!["127.0.0.1/32".parse().unwrap()],
        ca_file: Some(server.ca_file()),
        limits: Limits::default(),
    }
}

fn limited(server: &Https, change: impl FnOnce(&mut Limits)) -> Network {
    let mut network = open(server);
    change(&mut network.limits);
    network
}

/// A name that no name service is asked for: a label has 63 characters at most.
const NO_NAME: &str = "a-label-of-more-characters-than-any-name-service-in-the-world-takes.invalid";

const SHORT: Duration = Duration::from_millis(200);

fn remote(url: &str) -> Remote {
    Remote::parse(url, None, None).unwrap()
}

fn as_user(url: &str, user: &str, password: &str) -> Remote {
    Remote::parse(url, Some(user.to_owned()), Some(Secret::new(password.to_owned()))).unwrap()
}

async fn fetch(remote: &Remote, network: &Network) -> Result<(Fetched, Vec<u8>), FetchError> {
    fetch_newer(remote, network, &Validators::default()).await
}

async fn fetch_newer(
    remote: &Remote,
    network: &Network,
    validators: &Validators,
) -> Result<(Fetched, Vec<u8>), FetchError> {
    let mut into = Vec::new();
    let fetched = remote.fetch(network, validators, &mut into, |_| {}).await?;
    Ok((fetched, into))
}

/// The fault of a fetch from a server that answers so.
async fn fault(server: &Https, answer: Answer) -> Fault {
    server.set(answer);
    fetch(&remote(&server.url("/people.csv")), &open(server)).await.unwrap_err().fault
}

#[tokio::test]
async fn a_file_comes_whole_with_what_the_server_says_of_it() {
    let server = Https::start().await;
    server.set(Answer::csv(CSV));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.csv");
    let (network, url) = (open(&server), server.url("/people.csv?token=1"));
    let (told, written) = (std::sync::mpsc::channel(), path.clone());
    // The engine runs fetches as tasks.
    let fetching = tokio::spawn(async move {
        let mut into = tokio::fs::File::create(written).await.unwrap();
        let progress = move |bytes| told.0.send(bytes).unwrap();
        remote(&url).fetch(&network, &Validators::default(), &mut into, progress).await
    });
    let fetched = fetching.await.unwrap().unwrap();
    let expected = Fetched::File {
        bytes: CSV.len() as u64,
        sha256: CSV_SHA256.to_owned(),
        content_type: Some("text/csv; charset=utf-8".to_owned()),
        validators: Validators {
            etag: Some("\"one\"".to_owned()),
            last_modified: Some("Tue, 01 Sep 2026 06:00:00 GMT".to_owned()),
        },
    };
    assert_eq!(fetched, expected);
    assert_eq!(std::fs::read_to_string(path).unwrap(), CSV);
    assert_eq!(told.1.iter().last(), Some(CSV.len() as u64));
    let asked = server.last();
    assert_eq!(asked.path, "/people.csv?token=1");
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    for absent in ["authorization", "cookie", "if-none-match", "if-modified-since", "referer"] {
        assert_eq!(asked.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let server = Https::start().await;
    let network = open(&server);
    let remote = remote(&server.url("/people.csv"));
    //  etag             last-modified                           asks for
    let files = [
        (Some("\"one\""), None, ["if-none-match"].as_slice()),
        (None, Some("Tue, 01 Sep 2026 06:00:00 GMT"), &["if-modified-since"]),
        (
            Some("\"one\""),
            Some("Tue, 01 Sep 2026 06:00:00 GMT"),
            &["if-none-match", "if-modified-since"],
        ),
    ];
    for (etag, last_modified, asked) in files {
        server.set(Answer::File(File { etag, last_modified, ..File::csv(CSV) }));
        let (fetched, _) = fetch(&remote, &network).await.unwrap();
        let Fetched::File { validators, .. } = fetched else { panic!("{fetched:?}") };
        let again = fetch_newer(&remote, &network, &validators).await.unwrap();
        assert_eq!(again, (Fetched::Unchanged, Vec::new()));
        for header in asked {
            assert!(server.last().header(header).is_some(), "{header}");
        }

        let newer = File { etag: Some("\"two\""), last_modified: None, ..File::csv("new") };
        server.set(Answer::File(newer));
        let (fetched, body) = fetch_newer(&remote, &network, &validators).await.unwrap();
        assert!(matches!(fetched, Fetched::File { bytes: 3, .. }), "{fetched:?}");
        assert_eq!(body, b"new");
    }
    // What can be no header asks for nothing.
    let strange = Validators { etag: Some("a\nb".to_owned()), last_modified: None };
    assert!(matches!(
        fetch_newer(&remote, &network, &strange).await,
        Ok((Fetched::File { .. }, _))
    ));
    // An answer to a question that nobody asked.
    assert!(matches!(fault(&server, Answer::status(304)).await, Fault::Status { status: 304 }));
}

#[tokio::test]
async fn a_page_in_place_of_a_file_is_named_and_not_refused() {
    let server = Https::start().await;
    let page = File { content_type: "text/html", ..File::csv("<!doctype html><h1>Log in</h1>") };
    server.set(Answer::File(page));
    let (fetched, _) = fetch(&remote(&server.url("/")), &open(&server)).await.unwrap();
    let Fetched::File { content_type, .. } = fetched else { panic!("{fetched:?}") };
    assert_eq!(content_type.as_deref(), Some("text/html"));
}

#[tokio::test]
async fn a_password_is_sent_and_what_becomes_of_it_is_told() {
    let server = Https::start().await;
    let network = open(&server);
    let file = File::csv(CSV);
    server.set(Answer::Guarded { user: "hr", password: "p:\u{e4}ss", file });
    let url = server.url("/people.csv");
    let (_, body) = fetch(&as_user(&url, "hr", "p:\u{e4}ss"), &network).await.unwrap();
    assert_eq!(body, CSV.as_bytes());
    let wrong = fetch(&as_user(&url, "hr", "wrong"), &network).await.unwrap_err();
    assert!(matches!(wrong.fault, Fault::PasswordRefused), "{wrong}");
    let nobody = fetch(&remote(&url), &network).await.unwrap_err();
    assert!(matches!(nobody.fault, Fault::PasswordWanted), "{nobody}");
}

#[tokio::test]
async fn statuses_say_what_to_do_and_whether_to_try_again() {
    let server = Https::start().await;
    //  status, passes, words of the message
    let cases = [
        (400, false, "status 400"),
        (401, false, "enter a user name"),
        (403, false, "(403)"),
        (404, false, "check the path"),
        (410, false, "(410)"),
        (418, false, "status 418"),
        (204, false, "status 204"),
        (206, false, "status 206"),
        (300, false, "status 300"),
        (302, false, "status 302"),
        (408, true, "try again later"),
        (429, true, "fetch less often"),
        (500, true, "(500)"),
        (502, true, "(502)"),
        (503, true, "(503)"),
    ];
    let remote = remote(&server.url("/people.csv?token=canary-4711"));
    for (status, passes, words) in cases {
        server.set(Answer::status(status));
        let error = fetch(&remote, &open(&server)).await.unwrap_err();
        assert_eq!(error.is_passing(), passes, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.at, server.url("/people.csv"));
    }
    let wait = Answer::Status(429, "Retry-After", "120".to_owned());
    let wait = fault(&server, wait).await;
    let Fault::Busy { status: 429, wait } = wait else { panic!("{wait}") };
    assert_eq!(wait, Some(Duration::from_mins(2)));
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_and_port_only() {
    let server = Https::start().await;
    let other = Https::start().await;
    let network = Network {
        allowed: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        ..open(&server)
    };
    let start = server.url("/start");
    let remote = as_user(&start, "hr", "secret");
    server.set(Answer::Guarded { user: "hr", password: "secret", file: File::csv(CSV) });
    for to in ["/people.csv?day=1#top", "people.csv", &server.url("/people.csv")] {
        server.set_at("/start", Answer::redirect(to));
        let (_, body) = fetch(&remote, &network).await.unwrap();
        assert_eq!(body, CSV.as_bytes(), "{to}");
        assert!(server.last().path.starts_with("/people.csv"), "{to}");
    }

    let before = server.requests().len();
    let localhost = format!("localhost:{}", server.address.port());
    let elsewhere = [
        (other.url("/people.csv?token=1"), other.address.to_string()),
        (format!("https://{localhost}/"), localhost),
        ("//files.example.org/x".to_owned(), "files.example.org".to_owned()),
    ];
    for (to, named) in &elsewhere {
        server.set_at("/start", Answer::redirect(to));
        let error = fetch(&remote, &network).await.unwrap_err();
        assert!(
            matches!(&error.fault, Fault::RedirectedElsewhere { to } if to == named),
            "{error}"
        );
    }
    let plain = server.url("/people.csv").replace("https", "http");
    for to in [plain.as_str(), "file:///etc/passwd"] {
        server.set_at("/start", Answer::redirect(to));
        let error = fetch(&remote, &network).await.unwrap_err();
        assert!(matches!(error.fault, Fault::RedirectedUnsafely { .. }), "{error}");
    }
    for to in ["https://[", &format!("https://a:b@{}/", server.address)] {
        server.set_at("/start", Answer::redirect(to));
        let error = fetch(&remote, &network).await.unwrap_err();
        assert!(matches!(error.fault, Fault::RedirectUnreadable), "{error}");
    }
    let asked = &server.requests()[before..];
    assert!(asked.iter().all(|request| request.path == "/start"), "{asked:?}");
    // All of this came from one task, so what it had connected to would have been accepted by now.
    fetch(&self::remote(&other.url("/")), &open(&other)).await.unwrap();
    assert_eq!((other.connections(), other.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = Https::start().await;
    let circle = fault(&server, Answer::redirect("/people.csv")).await;
    assert!(matches!(circle, Fault::TooManyRedirects), "{circle}");
    assert_eq!(server.requests().len(), REDIRECTS_MAX + 1);
    for hop in 0..REDIRECTS_MAX {
        server.set_at(&format!("/{hop}"), Answer::redirect(&format!("/{}", hop + 1)));
    }
    server.set_at(&format!("/{REDIRECTS_MAX}"), Answer::csv(CSV));
    assert!(fetch(&remote(&server.url("/0")), &open(&server)).await.is_ok());
}

#[tokio::test]
async fn a_file_that_breaks_off_is_not_taken_for_a_whole_one() {
    let server = Https::start().await;
    let of = |rest: &str| format!("{HEAD}{rest}").into_bytes();
    let short = of("Content-Length: 50\r\n\r\na,b\n1,2\n");
    let chunks = of("Transfer-Encoding: chunked\r\n\r\n8\r\na,b\n1,2\n\r\n");
    //  answer, the length that was announced
    let cases = [
        (Answer::Raw(short.clone()), Some(50)),
        (Answer::Cut(short), Some(50)),
        (Answer::Raw(chunks.clone()), None),
        (Answer::Cut(chunks.clone()), None),
        (Answer::Raw([chunks.as_slice(), b"zz\r\nno chunk\r\n"].concat()), None),
        // Ended by the end of the connection, which TLS can tell from a cut one.
        (Answer::Cut(of("Connection: close\r\n\r\na,b\n1,2\n")), None),
    ];
    for (answer, length) in cases {
        let fault = fault(&server, answer.clone()).await;
        let Fault::Truncated { bytes: 8, announced } = fault else { panic!("{answer:?}: {fault}") };
        assert_eq!(announced, length, "{answer:?}");
        assert!(fault.is_passing());
    }
    let whole = Answer::Raw(of("Connection: close\r\n\r\na,b\n1,2\n"));
    server.set(whole);
    assert!(fetch(&remote(&server.url("/")), &open(&server)).await.is_ok());
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_something_else_is_told_of() {
    let server = Https::start().await;
    for answer in [
        Answer::Raw(Vec::new()),
        Answer::Cut(Vec::new()),
        Answer::Raw(b"HTTP/1.1 200".to_vec()),
        Answer::Raw(b"220 mail.example.org ESMTP\r\n\r\n".to_vec()),
    ] {
        let fault = fault(&server, answer.clone()).await;
        assert!(matches!(fault, Fault::NoAnswer { .. }), "{answer:?}: {fault}");
        assert!(fault.is_passing());
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_before_or_while_it_comes() {
    let server = Https::start().await;
    let network = limited(&server, |limits| limits.bytes_max = CSV.len() as u64);
    let remote = remote(&server.url("/people.csv"));
    server.set(Answer::csv(CSV));
    assert!(fetch(&remote, &network).await.is_ok());

    let mut into = Vec::new();
    server.set(Answer::csv(&format!("{CSV}.")));
    let announced = remote.fetch(&network, &Validators::default(), &mut into, |_| {}).await;
    assert!(matches!(announced.unwrap_err().fault, Fault::TooLarge { .. }));
    assert!(into.is_empty());

    server.set(Answer::Endless(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").into_bytes()));
    let network = limited(&server, |limits| limits.bytes_max = 100_000);
    let endless = remote.fetch(&network, &Validators::default(), &mut into, |_| {}).await;
    let error = endless.unwrap_err();
    assert!(matches!(error.fault, Fault::TooLarge { limit: 100_000 }), "{error}");
    assert!(error.to_string().contains("100000 bytes"), "{error}");
    assert!(into.len() <= 100_000);
}

#[tokio::test]
async fn a_compressed_file_is_refused() {
    let server = Https::start().await;
    let answer = format!("{HEAD}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\u{1f}x");
    assert!(matches!(fault(&server, Answer::Raw(answer.into())).await, Fault::Compressed));
    let answer = format!("{HEAD}Content-Encoding: Identity\r\nContent-Length: 2\r\n\r\nab");
    server.set(Answer::Raw(answer.into()));
    assert!(fetch(&remote(&server.url("/")), &open(&server)).await.is_ok());
}

#[tokio::test]
async fn silence_and_slowness_have_their_limits() {
    let server = Https::start().await;
    let remote = remote(&server.url("/people.csv"));
    let begun = format!("{HEAD}Content-Length: 50\r\n\r\na,b\n").into_bytes();
    for answer in [Answer::Stalled(Vec::new()), Answer::Stalled(begun.clone())] {
        server.set(answer);
        let network = limited(&server, |limits| limits.idle = SHORT);
        let silent = fetch(&remote, &network).await.unwrap_err();
        assert!(matches!(silent.fault, Fault::Silent { limit: SHORT }), "{silent}");
        assert!(silent.is_passing() && silent.to_string().contains("200ms"), "{silent}");

        let network = limited(&server, |limits| limits.total = SHORT);
        let slow = fetch(&remote, &network).await.unwrap_err();
        assert!(matches!(slow.fault, Fault::TooSlow { limit: SHORT }), "{slow}");
        assert!(slow.is_passing());
    }
    // A server that always sends something is ended by the limit of the whole.
    server.set(Answer::Endless(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").into_bytes()));
    let network = limited(&server, |limits| limits.total = SHORT);
    let mut nowhere = tokio::io::sink();
    let slow = remote.fetch(&network, &Validators::default(), &mut nowhere, |_| {}).await;
    assert!(matches!(slow.unwrap_err().fault, Fault::TooSlow { .. }));
}

#[tokio::test]
async fn a_listener_that_says_no_hello_is_given_up() {
    let server = Https::start().await;
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", deaf.local_addr().unwrap());
    let network = limited(&server, |limits| limits.connect = SHORT);
    let error = fetch(&remote(&url), &network).await.unwrap_err();
    assert!(matches!(error.fault, Fault::ConnectTimeout { limit: SHORT }), "{error}");
    let stages = remote(&url).probe(&network, &mut Vec::new(), 100).await;
    assert_eq!(failed(&stages), StageName::Tls);
    drop(deaf);
    let network = open(&server);
    let error = fetch(&remote(&url), &network).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Unreachable { .. }), "{error}");
    assert!(error.is_passing());
    let stages = remote(&url).probe(&network, &mut Vec::new(), 100).await;
    assert_eq!(failed(&stages), StageName::Connect);
}

#[tokio::test]
async fn servers_must_prove_who_they_are() {
    let cases = [
        (Certificate::OfStranger, TlsFault::UnknownIssuer),
        (Certificate::OfNamesake, TlsFault::UnknownIssuer),
        (Certificate::Expired, TlsFault::Expired),
        (Certificate::Misnamed, TlsFault::WrongName),
    ];
    for (certificate, expected) in cases {
        let server = Https::with(certificate).await;
        let remote = as_user(&server.url("/people.csv"), "hr", CANARY);
        let error = fetch(&remote, &open(&server)).await.unwrap_err();
        assert!(matches!(&error.fault, Fault::Tls(fault) if *fault == expected), "{error}");
        assert!(!error.is_passing());
        let stages = remote.probe(&open(&server), &mut Vec::new(), 100).await;
        assert_eq!(failed(&stages), StageName::Tls);
        assert!(server.requests().is_empty(), "{certificate:?}");
    }
    let server = Https::start().await;
    let distrusting = Network { ca_file: None, ..open(&server) };
    let error = fetch(&remote(&server.url("/")), &distrusting).await.unwrap_err();
    assert!(!error.is_passing() && server.requests().is_empty(), "{error}");
}

#[tokio::test]
async fn a_file_of_authorities_that_is_none_is_named() {
    let server = Https::start().await;
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for path in [empty, folder.path().join("absent.pem")] {
        let network = Network { ca_file: Some(path.clone()), ..open(&server) };
        let error = fetch(&remote(&server.url("/")), &network).await.unwrap_err();
        assert!(matches!(&error.fault, Fault::CaFile { path: named, .. } if *named == path));
        assert!(error.to_string().contains("PEM"), "{error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_network_of_the_operator_is_out_of_reach() {
    let server = Https::start().await;
    let port = server.address.port();
    let closed = Network { allowed: Vec::new(), ..open(&server) };
    // Every system resolves localhost to 127.0.0.1, to ::1, or to both.
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "169.254.169.254",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[fd00::1]",
        "[fe80::1]",
        "100.64.0.1",
        "224.0.0.1",
        "192.0.2.1",
    ];
    for host in hosts {
        let remote = as_user(&format!("https://{host}:{port}/people.csv"), "hr", CANARY);
        let error = fetch(&remote, &closed).await.unwrap_err();
        assert!(matches!(error.fault, Fault::AddressRefused { .. }), "{host}: {error}");
        assert!(!error.is_passing() && error.to_string().contains("operator"), "{error}");
        let stages = remote.probe(&closed, &mut Vec::new(), 100).await;
        assert_eq!((failed(&stages), stages.len()), (StageName::Dns, 1), "{host}");
    }
    // One connection is let through and is the first that the server sees.
    fetch(&remote(&server.url("/")), &open(&server)).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_allowed_address_is_reached_by_number_and_by_name() {
    let server = Https::start().await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "LocalHost"] {
        let remote = remote(&format!("https://{host}:{port}/people.csv"));
        assert!(fetch(&remote, &open(&server)).await.is_ok(), "{host}");
    }
    // The mapped form is the same address, although the certificate does not have it.
    let mapped = remote(&format!("https://[::ffff:127.0.0.1]:{port}/"));
    let error = fetch(&mapped, &open(&server)).await.unwrap_err();
    assert!(!matches!(error.fault, Fault::AddressRefused { .. }), "{error}");
    let unknown = remote(&format!("https://{NO_NAME}/"));
    let error = fetch(&unknown, &open(&server)).await.unwrap_err();
    assert!(matches!(error.fault, Fault::UnknownHost { .. }) && error.is_passing(), "{error}");
}

/// The stage at which a probe failed, which is the last.
fn failed(stages: &[Stage]) -> StageName {
    let (last, before) = stages.split_last().unwrap();
    assert!(matches!(last.outcome, Outcome::Failed(_)) && last.hint.is_some(), "{stages:?}");
    assert!(before.iter().all(|stage| matches!(stage.outcome, Outcome::Ok(_))), "{stages:?}");
    last.name
}
