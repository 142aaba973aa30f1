//! Structured logs on standard error.

use std::io::{self, IsTerminal as _};

use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;

use super::config::{LogFormat, Origin, Settings};

/// What the database driver may say unless the filter names it: it would repeat every statement at
/// debug level, which `scimd::statement` does at trace level.
const DRIVER: &str = "sqlx=warn";

/// Begins to log. A command that does not serve is quiet unless somebody has set the level.
pub(super) fn start(settings: &Settings, serves: bool) -> Result<()> {
    let level = match settings.origin("log_level") {
        Origin::Default if !serves => "warn",
        _ => settings.log_level.as_str(),
    };
    let filter = EnvFilter::builder().parse(format!("{DRIVER},{level}"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would print to standard error, which panics when that is what has gone: a log collector
        // that ends must not take the requests with it.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let started = match settings.log_format {
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
        LogFormat::Text if io::stderr().is_terminal() => logs.try_init(),
        LogFormat::Text => logs.with_ansi(false).try_init(),
    };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))
}
