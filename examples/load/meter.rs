//! What a process takes of the machine: CPU seconds and memory, as Linux counts them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The clock ticks in a second of `/proc/PID/stat`, the same on every Linux.
const TICKS_PER_S: f64 = 100.0;

const KIB_PER_MIB: f64 = 1024.0;

/// Reads the figures of one process.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    folder: PathBuf,
}

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct Reading {
    meter: Meter,
    cpu_s: f64,
}

/// What a process has taken during a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// The CPU time, in seconds of one core.
    pub(crate) cpu_s: f64,
    /// The most memory that it had, in MiB.
    pub(crate) peak_mib: f64,
    /// The memory that it had at the end, in MiB.
    pub(crate) rss_mib: f64,
}

impl Meter {
    /// Of the process with this id.
    pub(crate) fn new(pid: u32) -> Self {
        Self { folder: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// Begins a measurement.
    pub(crate) fn begin(&self) -> Result<Reading> {
        // Starts the peak anew, where it is allowed; elsewhere it is that since the process began.
        let _ = fs::write(self.folder.join("clear_refs"), "5");
        Ok(Reading { meter: self.clone(), cpu_s: self.cpu_s()? })
    }

    /// What the process takes now, without a measurement before.
    pub(crate) fn now(&self) -> Result<Usage> {
        let (peak_mib, rss_mib) = (self.memory_mib("VmHWM:")?, self.memory_mib("VmRSS:")?);
        Ok(Usage { cpu_s: self.cpu_s()?, peak_mib, rss_mib })
    }

    fn cpu_s(&self) -> Result<f64> {
        let stat = self.file("stat")?;
        // The name may have spaces; utime and stime are the 12th and 13th words behind it.
        let (_, words) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
        let times = words.split_ascii_whitespace().skip(11).take(2);
        let ticks: Result<Vec<u32>, _> = times.map(str::parse).collect();
        let ticks: u32 = ticks.context("the times in /proc/PID/stat")?.iter().sum();
        Ok(f64::from(ticks) / TICKS_PER_S)
    }

    fn memory_mib(&self, name: &str) -> Result<f64> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).map(str::parse::<f64>);
        let kib = kib.with_context(|| format!("no {name} in /proc/PID/status"))?;
        Ok(kib.with_context(|| format!("{name} in /proc/PID/status"))? / KIB_PER_MIB)
    }

    fn file(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("{} of the server", path.display()))
    }
}

impl Reading {
    /// Ends the measurement.
    pub(crate) fn end(self) -> Result<Usage> {
        let usage = self.meter.now()?;
        Ok(Usage { cpu_s: usage.cpu_s - self.cpu_s, ..usage })
    }
}
