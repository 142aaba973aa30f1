//! The load tool: every workload runs without an error, and says so in JSON.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::support::Database;
use crate::support::process::Process;

const WORKLOADS: [&str; 13] = [
    "create",
    "get",
    "look-up",
    "walk-index",
    "walk-cursor",
    "put",
    "patch-active",
    "patch-entra",
    "member-10",
    "member-30",
    "group-get-30",
    "entra-cycle",
    "okta-import",
];

/// The tool. Cargo builds examples with the tests only where nobody names a test, so it is asked to; what
/// is built already costs nothing.
async fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--offline",
        "--example",
        "load",
        "--manifest-path",
    ]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    build.arg("--target-dir").arg(profile.parent().unwrap());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().await.unwrap().success(), "examples/load does not build");
    profile.join("examples").join("load")
}

/// What the tool prints, line by line.
async fn load(arguments: &[&str]) -> Vec<Value> {
    let mut tool = Command::new(program().await);
    let output = tool.args(arguments).stdin(Stdio::null()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_measured(row: &Value, requests_min: u64) {
    assert_eq!(row["errors"], serde_json::json!({}), "{row}");
    assert!(row["requests"].as_u64().unwrap() >= requests_min, "{row}");
    assert!(row["req_per_s"].as_f64().unwrap() > 0.0, "{row}");
    assert!(row["max_ms"].as_f64() >= row["p50_ms"].as_f64(), "{row}");
}

#[tokio::test]
async fn every_workload_runs_without_an_error() {
    let database = Database::sqlite();
    let server = Process::serve(&database).await;
    let key = database.folder.path().join("key");
    std::fs::write(&key, token(&database).await).unwrap();
    let state = database.folder.path().join("state");
    let (key, state, pid) =
        (key.to_str().unwrap(), state.to_str().unwrap(), server.id().to_string());
    let mut arguments = vec!["run", "--url", &server.base, "--key-file", key, "--state", state];
    arguments.extend([
        "--server-pid",
        &pid,
        "--connections",
        "4",
        "--requests",
        "40",
        "--workload",
    ]);
    arguments.extend(WORKLOADS);
    let rows = load(&arguments).await;
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, WORKLOADS);
    for row in &rows {
        // A walk ends with the people, whatever is left of the requests.
        assert_measured(row, 40);
        assert!(row["server_cpu_s"].as_f64().is_some(), "{row}");
        assert!(row["server_peak_mib"].as_f64().unwrap() > 1.0, "{row}");
    }
    assert!(rows[3]["last_pages_p50_ms"].as_f64().unwrap() > 0.0, "{}", rows[3]);

    // A later run finds what this one has left.
    let mut arguments = vec!["run", "--url", &server.base, "--key-file", key, "--state", state];
    arguments.extend(["--connections", "1", "--requests", "5", "--workload", "get", "create"]);
    for row in load(&arguments).await {
        assert_measured(&row, 5);
    }
    server.kill().await;
}

/// A key for a connection whose guard holds nothing.
async fn token(database: &Database) -> String {
    scimd(database, &["tenants", "create", "Example"]).await;
    scimd(database, &["instances", "create", "production"]).await;
    scimd(database, &["connections", "create", "Push", "--kind", "scim", "--enable"]).await;
    scimd(database, &["guard", "set", "Push", "--off"]).await;
    let issued = scimd(database, &["keys", "issue", "Push"]).await;
    issued["token"].as_str().unwrap().to_owned()
}

async fn scimd(database: &Database, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_scimd"))
        .args(arguments)
        .args(["--json", "--database-url", &database.url])
        .current_dir(database.folder.path())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn floors_are_measured() {
    let rows = load(&["floor", "database", "--connections", "4", "--seconds", "1"]).await;
    assert_eq!(rows.len(), 6, "{rows:?}");
    for row in rows.iter().chain(&load(&["floor", "http", "--seconds", "1"]).await) {
        assert_measured(row, 1);
    }
}

#[tokio::test]
async fn quiet_instances_are_measured_beside_a_noisy_one() {
    let scimd = env!("CARGO_BIN_EXE_scimd");
    let mut arguments = vec!["noisy", "--scimd", scimd, "--quiet", "3", "--rate", "10"];
    arguments.extend(["--noisy-connections", "2", "--seconds", "1"]);
    let rows = load(&arguments).await;
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["quiet-alone", "quiet-beside-noisy", "noisy"]);
    for row in &rows[..2] {
        assert_measured(row, 3);
        // What was due is either sent or told.
        let sent = row["requests"].as_u64().unwrap();
        assert_eq!(sent + row["requests_not_sent_in_time"].as_u64().unwrap(), 30, "{row}");
    }
}
