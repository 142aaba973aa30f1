//! Suites of others, from the Python package index, against a live server.

use std::path::Path;
use std::process::Stdio;

use scimd::directory::ConnectionKind;

use super::support::database::environment;
use super::support::{Database, TestInstance, TestServer, both};

both! {
    async fn outside_suites_find_nothing(database) {
        assert_nothing_found(&database, "judge", "/scim/v2").await;
    }

    async fn the_server_does_what_its_description_says(database) {
        assert_nothing_found(&database, "description", "/openapi.json").await;
    }
}

async fn assert_nothing_found(database: &Database, judge: &str, path: &str) {
    let test = TestInstance::on(database).await;
    let connection = test.connection(ConnectionKind::Scim, "judge").await;
    let token = test.token(&connection).await;
    let server = TestServer::start(test.app.clone()).await;
    let judges = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/run");
    let verdict = tokio::process::Command::new(judges)
        .args([judge, &format!("{}{path}", server.base), &token])
        // The same values in each run, unless somebody wants others.
        .env("JUDGES_SEED", environment("JUDGES_SEED").unwrap_or_else(|| "1".to_owned()))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&verdict.stdout);
    let warned = String::from_utf8_lossy(&verdict.stderr);
    assert!(verdict.status.success(), "{said}\n{warned}");
    server.stop().await;
}
