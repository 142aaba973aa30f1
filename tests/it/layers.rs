//! The layers of the house: who may name whom.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and the modules of scimd that it may name. `clock` is where time and ids come from.
const LAYERS: &[(&str, &[&str])] = &[
    ("scim", &[]),
    ("directory", &[]),
    ("clock", &["directory"]),
    ("store", &["scim", "directory", "clock"]),
    ("keys", &["store", "scim", "directory", "clock"]),
    ("provision", &["store", "scim", "directory", "clock"]),
    ("pull", &["provision", "keys", "store", "scim", "directory", "clock"]),
    ("http", &["pull", "provision", "keys", "store", "scim", "directory", "clock"]),
    ("cli", &["pull", "provision", "keys", "store", "scim", "directory", "clock"]),
];

/// Libraries that only some modules may name.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("rusqlite", &["store"]),
    ("axum", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("tokio", &["store", "provision", "pull", "http", "cli"]),
    ("clap", &["cli"]),
    ("csv", &["pull", "cli"]),
    ("encoding_rs", &["pull"]),
    ("reqwest", &["pull"]),
    ("anyhow", &["cli"]),
];

/// What a source of `module` names against the rules.
fn violations(module: &str, source: &str) -> Vec<String> {
    let allowed = LAYERS.iter().find(|(name, _)| *name == module).unwrap().1;
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut found = Vec::new();
    for (other, _) in LAYERS {
        if *other != module && !allowed.contains(other) && names(&code, "crate::", other) {
            found.push(format!("{module} names crate::{other}"));
        }
    }
    for (library, users) in LIBRARIES {
        let named = names(&code, "use ", library) || code.contains(&format!("{library}::"));
        if named && !users.contains(&module) && !code.contains(&format!("_{library}::")) {
            found.push(format!("{module} names {library}"));
        }
    }
    found
}

/// Whether the code has `prefix` and then `name` as a whole word, also in a list of imports.
fn names(code: &str, prefix: &str, name: &str) -> bool {
    code.match_indices(prefix).any(|(at, _)| {
        let rest = &code[at + prefix.len()..];
        let listed = rest.strip_prefix('{').and_then(|list| list.split(';').next());
        let words = listed.unwrap_or(rest).split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let count = if listed.is_some() { usize::MAX } else { 1 };
        words.filter(|word| !word.is_empty()).take(count).any(|word| word == name)
    })
}

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_module_names_one_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut looked_at = 0;
    for path in sources(&src) {
        let below = path.strip_prefix(&src).unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let found = violations(module, &fs::read_to_string(&path).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", below.display());
        looked_at += 1;
    }
    assert!(looked_at > 40, "only {looked_at} sources were looked at");
}

#[test]
fn every_module_has_its_place() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut placed: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    placed.sort_unstable();
    assert_eq!(modules, placed);
}

#[test]
fn an_upward_import_fails() {
    let cases = [
        ("scim", "use crate::store::Tx;"),
        ("directory", "fn f(tx: &mut crate::store::Tx) {}"),
        ("store", "use crate::{\n    directory::Account,\n    provision::Caller,\n};"),
        ("provision", "use crate::http::App;"),
        ("http", "use crate::cli;"),
        ("cli", "use crate::http::serve;"),
        ("directory", "use sqlx::Row;"),
        ("provision", "let query = sqlx::query(\"\");"),
        ("keys", "use axum::body::Body;"),
    ];
    for (module, source) in cases {
        assert_eq!(violations(module, source).len(), 1, "{module}: {source}");
    }
    assert!(violations("provision", "use crate::store::{accounts, Tx};").is_empty());
    assert!(violations("http", "// crate::cli starts this\nuse crate::scim::fold;").is_empty());
}

/// Only the waist (with what is below it) and the migrations may name a driver; rows are read next to it.
#[test]
fn the_drivers_are_named_in_the_waist_alone() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let named: Vec<String> = sources(&store)
        .iter()
        .filter(|path| {
            let source = fs::read_to_string(path).unwrap();
            ["sqlx::sqlite", "sqlx::postgres", "rusqlite::"]
                .iter()
                .any(|driver| source.contains(driver))
        })
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut named: Vec<&str> = named.iter().map(String::as_str).collect();
    named.sort_unstable();
    assert_eq!(named, ["postgres.rs", "row.rs", "sqlite.rs", "standby.rs", "waist.rs"]);
}
