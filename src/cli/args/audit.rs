//! What can be said about the audit trail.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;

use super::{InstanceArg, limit, words};
use crate::directory::ids::RunId;
use crate::provision::trail::Noted;
use crate::store::audit::Category;

/// Look at the audit trail.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// List events, the newest first.
    List {
        #[command(flatten)]
        wanted: WantedArgs,
        /// How many to list, up to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = limit())]
        limit: i64,
    },
    /// Write events to a file or to standard output, the oldest first.
    Export {
        #[command(flatten)]
        wanted: WantedArgs,
        /// How: jsonl has an object for each event, with its hash; csv is for spreadsheets.
        #[arg(long, default_value = "jsonl", value_parser = forms())]
        form: TrailForm,
        /// Where to; otherwise to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Prove that no event was changed, taken out or put in.
    ///
    /// Prints the position and the hash of the last event. Who notes them elsewhere, and says them
    /// with --noted next time, also knows that the trail was not made anew as a whole.
    Verify {
        /// What an earlier verification has printed.
        #[arg(long, value_name = "POSITION:HASH")]
        noted: Option<Noted>,
        #[command(flatten)]
        at: InstanceArg,
    },
}

/// Which events are wanted: those that fit everything that is said.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WantedArgs {
    /// About this person, by user name or id; of somebody who was purged, by id.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "group")]
    pub(in crate::cli) person: Option<String>,
    /// About this group, by name or id.
    #[arg(long)]
    pub(in crate::cli) group: Option<String>,
    /// Of this part of the product.
    #[arg(long, value_parser = words(Category::ALL, Category::word))]
    pub(in crate::cli) category: Option<Category>,
    /// What happened, such as account.created.
    #[arg(long)]
    pub(in crate::cli) action: Option<String>,
    /// Caused by this connection, by name or id.
    #[arg(long)]
    pub(in crate::cli) connection: Option<String>,
    /// Of this run.
    #[arg(long)]
    pub(in crate::cli) run: Option<RunId>,
    /// Of the request with this id, as the header of its answer says it.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) request: Option<String>,
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z, or 2h ago as 2h, 3d.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) until: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// The form of an exported trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum TrailForm {
    /// A JSON object on each line.
    JsonLines,
    /// Comma-separated values.
    Csv,
}

fn forms() -> impl clap::builder::TypedValueParser<Value = TrailForm> {
    clap::builder::PossibleValuesParser::new(["jsonl", "csv"]).map(|form| match form.as_str() {
        "csv" => TrailForm::Csv,
        _ => TrailForm::JsonLines,
    })
}
