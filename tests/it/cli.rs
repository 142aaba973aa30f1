//! The command line: the real program, in a folder of its own, with an environment of its own.

mod guard;
mod mapping;
mod migration;
mod place;
mod policies;
mod reader;
mod requests;
mod retention;
mod undo;

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use place::{Place, masked};
use scimd::keys::KEY_KNOWN_MS_MAX;

/// The arguments and the environment of a call.
type Call = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// Calls that fail.
const FAILURES: &[Call] = &[
    (&["config", "show", "--config", "missing.toml"], &[]),
    (&["config", "show", "--config", "unknown.toml"], &[]),
    (&["config", "show", "--config", "strange.toml"], &[]),
    (&["config", "show", "--config", "type.toml"], &[]),
    (&["config", "show", "--config", "open.toml"], &[]),
    (&["config", "show"], &[("SCIMD_CONFIG", "range.toml")]),
    (&["config", "show"], &[("SCIMD_PUBLIK_URL", "https://people.example.com")]),
    (&["config", "show"], &[("SCIMD_XYZ", "1")]),
    (&["config", "show"], &[("SCIMD_LISTEN", "8080")]),
    (&["config", "show"], &[("SCIMD_PUBLIC_URL", "https://people_dev.example.com")]),
    (&["config", "show"], &[("SCIMD_DATABASE_URL", "mysql://scimd:geheim@db/people")]),
    (&["config", "show"], &[("SCIMD_DATABASE_READ_URL", "postgres://scimd:geheim@db/people")]),
    (&["serve", "--public-url", "https://people.example.com/scim/v2"], &[]),
    (&["serve", "--public-url", "people.example.com"], &[]),
    (&["serve", "--log-level", "a=b=c"], &[]),
    (&["serve", "--listen", "8080"], &[]),
    (&["serve", "--data-dir", "unknown.toml/data"], &[]),
    (&["keys", "issue", "Okt"], &[]),
    (&["keys", "issue", "Okta", "--expires-in", "90"], &[]),
    (&["keys", "revoke", "first"], &[]),
    (&["connections", "create", "Okta", "--kind", "okta"], &[]),
    (&["connections", "create", "x", "--kind", "ldap"], &[]),
    (&["tenants", "create", " "], &[]),
    (&["tenants", "show", "Globex"], &[]),
    (&["instances", "show", "staging"], &[]),
    (&["accounts", "show", "nobody"], &[]),
    (&["accounts", "list", "--limit", "10001"], &[]),
    (&["accounts", "create", "--user-name", ""], &[]),
    (&["groups", "show", "nobody"], &[]),
    (&["accounts", "list", "--data-dir", "elsewhere"], &[]),
    (&["quickstart", "--listen", "127.0.0.1:0"], &[]),
    (&["accounts"], &[]),
];

/// The lines of a quickstart that are tokens.
fn tokens(printed: &[String]) -> Vec<&str> {
    let is_token = |line: &&str| line.starts_with("eyJ") && line.matches('.').count() == 2;
    printed.iter().map(String::as_str).filter(is_token).collect()
}

/// The request that a `curl` line makes.
fn request(curl: &str) -> reqwest::RequestBuilder {
    let mut words = shell_words(curl).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"));
    let (mut headers, mut body, mut url) = (Vec::new(), None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-sS" => {}
            "-H" => headers.push(words.next().unwrap()),
            "-d" => body = words.next(),
            _ => url = Some(word),
        }
    }
    let client = reqwest::Client::builder().build().unwrap();
    let mut request = client.post(url.unwrap()).body(body.unwrap());
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request
}

/// Splits a line at the spaces that do not stand between single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        words.last_mut().unwrap().push_str(pieces.next().unwrap());
        words.extend(pieces.map(str::to_owned));
    }
    words
}

async fn status(address: &str, token: &str) -> u16 {
    let client = reqwest::Client::builder().build().unwrap();
    let url = format!("http://{address}/scim/v2/Users");
    let answer = client.get(url).bearer_auth(token).send().await.unwrap();
    answer.status().as_u16()
}

/// Asks until the answer is this status: a server knows within a moment what another process has changed.
async fn becomes(expected: u16, ask: impl AsyncFn() -> u16) {
    let begun = std::time::Instant::now();
    let patience = std::time::Duration::from_millis(5 * KEY_KNOWN_MS_MAX);
    loop {
        let status = ask().await;
        if status == expected {
            return;
        }
        assert!(begun.elapsed() < patience, "{status} and not {expected} after {patience:?}");
    }
}

#[test]
fn every_command_has_its_help() {
    fn collect(command: &clap::Command, path: &[&str], all: &mut Vec<Vec<String>>) {
        all.push(path.iter().copied().map(str::to_owned).collect());
        for command in command.get_subcommands() {
            collect(command, &[path, &[command.get_name()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    collect(&scimd::cli::command(), &[], &mut all);
    assert!(all.len() > 25, "{all:?}");
    let place = Place::new();
    let mut text = String::new();
    for path in all {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let done = place.run(&args);
        assert_eq!(done.code, Some(0), "{args:?}");
        writeln!(text, "$ scimd {}\n{}", args.join(" "), done.out).unwrap();
    }
    insta::assert_snapshot!("help", text);
}

#[test]
fn errors_say_what_to_do_next() {
    let place = Place::with_connection();
    place.write("unknown.toml", "listn = \"127.0.0.1:80\"\n");
    place.write("strange.toml", "log_level = \"info\"\nxyz = 1\n");
    place.write("type.toml", "log_level = \"info\"\nlisten = 8080\n");
    place.write("open.toml", "database_url = \"postgres://scimd:geheim@db/people\n");
    place.write("range.toml", "database_connections = 0\n");
    let mut text = String::new();
    for (args, environment) in FAILURES {
        let done = place.run_in(args, environment);
        for (name, value) in *environment {
            write!(text, "{name}={value} ").unwrap();
        }
        writeln!(text, "$ scimd {}", args.join(" ")).unwrap();
        let error = done.err.lines().take_while(|line| !line.is_empty());
        let error: Vec<&str> = error.collect();
        writeln!(text, "{} ({})\n", error.join("\n"), done.code.unwrap()).unwrap();
        assert!(done.out.is_empty(), "{args:?}: {}", done.out);
        assert!(!done.err.contains("geheim"), "{args:?}: {}", done.err);
    }
    insta::assert_snapshot!("errors", masked(&text));
}

#[test]
fn with_several_instances_one_must_be_named() {
    let place = Place::with_connection();
    place.json(&["tenants", "create", "Globex"]);
    place.json(&["instances", "create", "production", "--tenant", "globex"]);
    let none = place.run(&["connections", "list"]);
    assert_eq!(
        (none.code, none.err.as_str()),
        (
            Some(1),
            "error: there are several instances; say which with --instance: Acme/production, \
             Globex/production\n"
        )
    );
    let both = place.run(&["connections", "list", "--instance", "production"]);
    assert_eq!(
        both.err,
        "error: several instances are named \"production\": take its id, or one of \
         Acme/production, Globex/production\n"
    );
    let acme = place.json(&["connections", "list", "--instance", "acme/PRODUCTION"]);
    assert_eq!(acme["connections"][0]["name"], "Okta");
    let instances = place.json(&["instances", "list", "--tenant", "Globex"]);
    let id = instances["instances"][0]["id"].as_str().unwrap();
    let globex = place.json(&["connections", "list", "--instance", id]);
    assert_eq!(globex["connections"], serde_json::json!([]));
}

#[test]
fn flags_win_over_environment_over_file() {
    let place = Place::new();
    place.write(
        "scimd.toml",
        "listen = \"127.0.0.1:1\"\nrequest_timeout_s = 10\ndata_dir = \"from-file\"\n\
         trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\"]\n",
    );
    let environment = [
        ("SCIMD_CONFIG", "scimd.toml"),
        ("SCIMD_LISTEN", "127.0.0.1:2"),
        ("SCIMD_REQUEST_TIMEOUT_S", "20"),
        ("SCIMD_PUBLIC_URL", ""),
        ("SCIMD_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    let args = ["--listen", "127.0.0.1:3", "config", "show"];
    let shown = place.run_in(&args, &environment);
    assert_eq!(shown.err, "");
    insta::assert_snapshot!("config_show", shown.out);
    let args = ["config", "show", "--listen", "127.0.0.1:4", "--json"];
    let shown: Value = serde_json::from_str(&place.run_in(&args, &environment).out).unwrap();
    assert_eq!(
        shown["listen"],
        serde_json::json!({ "value": "127.0.0.1:4", "source": "flag --listen" })
    );
    assert_eq!(shown["public_url"]["value"], Value::Null);
}

#[test]
fn no_password_is_ever_printed() {
    let place = Place::new();
    // Whoever answers like this is no database; so the error comes at once.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let rude = std::thread::spawn(move || drop(listener.accept()));
    let url = format!("postgres://scimd:geheim@127.0.0.1:{port}/people");
    let environment = [("SCIMD_DATABASE_URL", url.as_str()), ("SCIMD_LOG_LEVEL", "trace")];
    let shown = place.run_in(&["config", "show", "--json"], &environment);
    let failed = place.run_in(&["tenants", "list"], &environment);
    rude.join().unwrap();
    let by_flag = ["--database-url", &url, "config", "show"];
    let by_flag = place.run(&by_flag);
    for done in [&shown, &failed, &by_flag] {
        assert!(!format!("{done:?}").contains("geheim"), "{done:?}");
        assert!(format!("{done:?}").contains("postgres://scimd:***@127.0.0.1:"), "{done:?}");
    }
    assert_eq!(failed.code, Some(1));
    let start = "error: the database postgres://scimd:***@127.0.0.1:";
    assert!(failed.err.lines().any(|line| line.starts_with(start)), "{}", failed.err);
}

#[tokio::test]
async fn keys_live_and_end_while_the_server_runs() {
    let place = Place::with_connection();
    let mut server = place.start(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let address = server.address();
    let token = |issued: &Value| issued["token"].as_str().unwrap().to_owned();
    let states = || {
        let keys = place.json(&["keys", "list", "--connection", "okta"])["keys"].clone();
        let states = keys.as_array().unwrap().iter();
        states.map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let first = place.json(&["keys", "issue", "Okta", "--name", "first", "--expires-in", "90d"]);
    assert_eq!(first["key"]["name"], "first");
    assert!(first["key"]["expires_at"].is_string());
    assert_eq!(status(&address, &token(&first)).await, 200);

    // The old key ends by the overlap, not by its own later expiry.
    let second = place.json(&["keys", "rotate", "first", "--overlap", "0s"]);
    assert_eq!(second["old"]["id"], first["key"]["id"]);
    becomes(401, async || status(&address, &token(&first)).await).await;
    assert_eq!(status(&address, &token(&second)).await, 200);
    assert_eq!(states(), ["expired", "live"]);

    let third = place.json(&["keys", "rotate", "first"]);
    assert_eq!(status(&address, &token(&second)).await, 200);
    assert_eq!(status(&address, &token(&third)).await, 200);

    let id = second["key"]["id"].as_str().unwrap();
    place.json(&["keys", "revoke", id]);
    becomes(401, async || status(&address, &token(&second)).await).await;
    assert_eq!(states(), ["expired", "revoked", "live"]);
    let again = place.run(&["keys", "rotate", id]);
    assert!(again.err.contains("has ended"), "{}", again.err);

    let shown = place.run(&["keys", "issue", "Okta"]).out;
    let last: Vec<&str> = shown.lines().rev().take(3).collect();
    assert!(last[0].starts_with("eyJ") && last[1].is_empty());
    assert_eq!(last[2], "This is the token. It is not shown again:");
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_quickstart_shows_its_keys_once_and_keeps_its_data() {
    let place = Place::new();
    let (server, printed) = place.quickstart();
    assert_eq!(tokens(&printed).len(), 2, "{printed:?}");
    let curl = printed.iter().find(|line| line.starts_with("curl ")).unwrap();
    let answer = request(curl).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    assert_eq!(server.terminate().code(), Some(0));

    let (server, again) = place.quickstart();
    assert_eq!(tokens(&again), Vec::<&str>::new());
    let hint = again.iter().filter(|line| line.ends_with("scimd keys issue Okta"));
    assert_eq!(hint.count(), 1, "{again:?}");
    let answer = request(curl).send();
    // The second server has a port of its own; the first one's is closed.
    assert!(answer.await.is_err());
    assert_eq!(place.json(&["accounts", "list"])["accounts"][0]["user_name"], "ada@example.com");
    drop(server);

    let keys = place.json(&["keys", "list"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let dir = std::fs::metadata(place.0.path().join("scimd-data")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&dir.permissions());
    assert_eq!(mode & 0o077, 0, "the secrets are for this user alone");
}

#[test]
fn a_half_made_quickstart_is_finished_by_the_next() {
    let place = Place::new();
    place.json(&["tenants", "create", "Example"]);
    place.json(&["instances", "create", "production"]);
    place.json(&["connections", "create", "Okta", "--kind", "okta", "--enable"]);
    place.json(&["keys", "issue", "Okta"]);
    let (_server, printed) = place.quickstart();
    assert_eq!(tokens(&printed).len(), 1, "the key of Entra: {printed:?}");
    let tenants = place.json(&["tenants", "list"]);
    assert_eq!(tenants["tenants"].as_array().unwrap().len(), 1);
}

#[test]
fn a_busy_port_does_not_cost_the_keys() {
    let place = Place::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let failed = place.run(&["quickstart", "--listen", &address]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""));
    let start = format!("error: {address} is in use by another program");
    assert!(failed.err.starts_with(&start), "{}", failed.err);
    assert!(failed.err.contains("`scimd quickstart --listen 127.0.0.1:"));
    let (_server, printed) = place.quickstart();
    assert_eq!(tokens(&printed).len(), 2);
}

#[test]
fn a_server_ends_cleanly_when_it_is_told_to() {
    let place = Place::new();
    let mut server = place.start(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let address = server.address();
    // A client that keeps its connection open does not hold the server up.
    let _idle = TcpStream::connect(address).unwrap();
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn people_and_groups_are_listed_and_shown() {
    let place = Place::with_connection();
    let mut text = String::new();
    let commands: &[&[&str]] = &[
        &[
            "accounts",
            "create",
            "--user-name",
            "ada@example.com",
            "--display-name",
            "Ada \u{1b}[2J",
            "--given-name",
            "Ada",
            "--family-name",
            "Lovelace",
            "--email",
            "ada@example.com",
        ],
        &["accounts", "create", "--user-name", "bob"],
        &["groups", "create", "--display-name", "Staff"],
        &["accounts", "list"],
        &["accounts", "list", "--limit", "1"],
        &["accounts", "show", "ADA@example.com"],
        &["groups", "list"],
        &["groups", "show", "staff"],
        &["instances", "show", "production"],
        &["tenants", "show", "Acme"],
        &["connections", "pause", "okta"],
        &["connections", "enable", "okta"],
        &["connections", "enable", "okta"],
    ];
    for command in commands {
        writeln!(text, "$ scimd {}\n{}", command.join(" "), place.text(command)).unwrap();
    }
    // The end of a directory key is the end of an id.
    let key = place.json(&["connections", "show", "Okta"])["connection"]["directory_key"].clone();
    let text = text.replace(key.as_str().unwrap(), "okta-[end of id]");
    insta::assert_snapshot!("directory", text.replace('\u{1b}', "\\e"));

    let first = place.json(&["accounts", "list", "--limit", "1"]);
    assert_eq!(first["next"], first["accounts"][0]["id"]);
    let after = first["next"].as_str().unwrap();
    let second = place.json(&["accounts", "list", "--limit", "1", "--after", after]);
    assert_eq!(second["accounts"][0]["user_name"], "bob");
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn schemas_are_defined_while_the_server_runs() {
    let place = Place::with_connection();
    let urn = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
    place.write(
        "acme.json",
        &serde_json::json!({ "id": urn, "name": "Acme", "attributes": [
            { "name": "badge", "uniqueness": "server" },
            { "name": "cars", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value" },
            ] },
        ] })
        .to_string(),
    );
    place.write(
        "more.json",
        &place.definition("acme.json", |definition| {
            definition["attributes"][0]["description"] = "On the card".into();
            definition["attributes"][1] = serde_json::json!({ "name": "desk", "type": "integer" });
        }),
    );
    place.write(
        "typed.json",
        &place.definition("acme.json", |definition| {
            definition["attributes"][0] = serde_json::json!({ "name": "badge", "type": "integer" });
        }),
    );
    place.write(
        "nameless.json",
        &place.definition("acme.json", |definition| {
            definition["id"] = "urn:acme:2.0:Badge".into();
        }),
    );
    place.write(
        "read-only.json",
        &place.definition("acme.json", |definition| {
            definition["attributes"][0]["mutability"] = "readOnly".into();
        }),
    );
    place.write("broken.json", "{ \"id\": ");

    let mut server = place.start(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let address = server.address();
    let token = place.json(&["keys", "issue", "Okta"])["token"].as_str().unwrap().to_owned();
    let known = async || {
        let client = reqwest::Client::builder().build().unwrap();
        let schema = format!("http://{address}/scim/v2/Schemas/{urn}");
        let answer = client.get(schema).bearer_auth(&token).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(known().await, 404);
    let mut text = String::new();
    let mut run = |command: &[&str]| {
        let done = place.run(command);
        let code = done.code.unwrap();
        let out = masked(&done.out);
        writeln!(text, "$ scimd {}\n{out}{}({code})\n", command.join(" "), done.err).unwrap();
    };
    run(&["schemas", "define", "acme.json"]);
    becomes(200, &known).await;
    for command in [
        ["schemas", "define", "acme.json"].as_slice(),
        &["schemas", "define", "more.json"],
        &["schemas", "define", "typed.json"],
        &["schemas", "define", "acme.json", "--for", "Group"],
        &["schemas", "define", "nameless.json"],
        &["schemas", "define", "nameless.json", "--for", "Group"],
        &["schemas", "define", "read-only.json"],
        &["schemas", "define", "broken.json"],
        &["schemas", "define", "missing.json"],
        &["schemas", "define", "-"],
        &["schemas", "list"],
        &["schemas", "show", urn],
        &["schemas", "show", "urn:x"],
        &["schemas", "password", "absent"],
        &["schemas", "password", "absent"],
        &["schemas", "password", "accepted"],
        &["schemas", "remove", urn],
        &["schemas", "remove", urn],
    ] {
        run(command);
    }
    becomes(404, &known).await;
    assert_eq!(server.terminate().code(), Some(0));
    insta::assert_snapshot!("schemas", text);
}
