//! What was measured: JSON for programs on standard output, a table for people on standard error.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use super::client::Tally;
use super::meter::Usage;

/// The figures of one workload or floor.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was run.
    pub(crate) name: String,
    /// What the server took meanwhile, if it was watched.
    pub(crate) usage: Option<Usage>,
    /// The speed as a share of that of other rows, by their names.
    pub(crate) ratios: BTreeMap<String, f64>,
    /// What only this workload has to say.
    pub(crate) extra: Map<String, Value>,
    /// The requests, or transactions, in a second.
    pub(crate) req_per_s: f64,
    connections: usize,
    requests: u64,
    seconds: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    errors: BTreeMap<String, u64>,
}

impl Row {
    /// The figures of what a tally counted in so much time.
    pub(crate) fn new(name: &str, connections: usize, tally: &Tally, time: Duration) -> Self {
        let times = &tally.latencies;
        let ms = |us: u64| Duration::from_micros(us).as_secs_f64() * 1000.0;
        let requests = times.len();
        let seconds = time.as_secs_f64();
        let failed = tally.errors.values().sum();
        let succeeded = Duration::from_secs(requests.saturating_sub(failed)).as_secs_f64();
        Self {
            name: name.to_owned(),
            usage: None,
            ratios: BTreeMap::new(),
            extra: Map::new(),
            req_per_s: if seconds > 0.0 { succeeded / seconds } else { 0.0 },
            connections,
            requests,
            seconds,
            p50_ms: ms(times.value_at_quantile(0.5)),
            p95_ms: ms(times.value_at_quantile(0.95)),
            p99_ms: ms(times.value_at_quantile(0.99)),
            max_ms: ms(times.max()),
            errors: tally.errors.clone(),
        }
    }

    /// How many requests failed.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Notes the speed as a share of that of a floor, or of another workload.
    pub(crate) fn compare(&mut self, with: &Self) {
        if with.req_per_s > 0.0 {
            self.ratios.insert(with.name.clone(), self.req_per_s / with.req_per_s);
        }
    }

    /// Writes the row as one line of JSON.
    pub(crate) fn print(&self) -> Result<()> {
        line(&self.json())
    }

    fn json(&self) -> Value {
        let usage = |figure: fn(&Usage) -> f64| self.usage.as_ref().map(figure).map(rounded);
        let ratios: Map<String, Value> = self
            .ratios
            .iter()
            .map(|(name, ratio)| (name.clone(), json!(rounded(*ratio))))
            .collect();
        let mut row = json!({
            "name": self.name,
            "connections": self.connections,
            "requests": self.requests,
            "seconds": rounded(self.seconds),
            "req_per_s": rounded(self.req_per_s),
            "p50_ms": rounded(self.p50_ms),
            "p95_ms": rounded(self.p95_ms),
            "p99_ms": rounded(self.p99_ms),
            "max_ms": rounded(self.max_ms),
            "errors": self.errors,
            "server_cpu_s": usage(|usage| usage.cpu_s),
            "server_peak_mib": usage(|usage| usage.peak_mib),
            "server_rss_mib": usage(|usage| usage.rss_mib),
            "ratios": ratios,
        });
        if let Some(row) = row.as_object_mut() {
            row.extend(self.extra.clone());
        }
        row
    }

    fn cells(&self) -> Vec<String> {
        let usage = |figure: fn(&Usage) -> f64| {
            self.usage
                .as_ref()
                .map(figure)
                .map_or_else(String::new, |figure| format!("{figure:.1}"))
        };
        let pairs = |(name, ratio): (&String, &f64)| format!("{:.0} % of {name}", ratio * 100.0);
        let ratios: Vec<String> = self.ratios.iter().map(pairs).collect();
        let mut cells = vec![self.name.clone(), self.connections.to_string()];
        cells.push(self.requests.to_string());
        cells.push(format!("{:.0}", self.req_per_s));
        let times = [self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms];
        cells.extend(times.map(|time| format!("{time:.2}")));
        cells.push(usage(|usage| usage.cpu_s));
        cells.push(usage(|usage| usage.peak_mib));
        cells.push(self.failed().to_string());
        cells.push(ratios.join("\n"));
        cells
    }
}

/// Writes one line of JSON.
pub(crate) fn line(json: &Value) -> Result<()> {
    writeln!(io::stdout(), "{json}").context("standard output")
}

/// Writes rows as a table, with what they have to say beyond it below.
pub(crate) fn table(rows: &[Row]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "workload", "conns", "requests", "req/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU s",
        "peak MiB", "errors", "speed",
    ]);
    for row in rows {
        table.add_row(row.cells());
    }
    for column in table.column_iter_mut().skip(1).take(10) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = io::stderr().lock();
    writeln!(out, "{table}").context("standard error")?;
    for row in rows {
        for (name, value) in &row.extra {
            writeln!(out, "{} {name}: {value}", row.name).context("standard error")?;
        }
        for (what, count) in &row.errors {
            writeln!(out, "{} {what}: {count} failed", row.name).context("standard error")?;
        }
    }
    Ok(())
}

/// Three decimals are enough, and more than the machine can repeat.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}
