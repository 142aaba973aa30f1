//! Conformance suites of others, from the Python package index, against a live server.

use std::path::Path;
use std::process::Stdio;

use scimd::directory::ConnectionKind;

use super::support::database::environment;
use super::support::{TestInstance, TestServer, both};

both! {
    async fn outside_suites_find_nothing(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Scim, "judge").await;
        let token = test.token(&connection).await;
        let server = TestServer::start(test.app.clone()).await;
        let judges = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/run");
        let verdict = tokio::process::Command::new(judges)
            .arg(format!("{}/scim/v2", server.base))
            .arg(token)
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
}
