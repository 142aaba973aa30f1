//! What can be said about who may enter: scope, licence, runs and the administrator's hand.

use super::{ConnectionArg, InstanceArg, limit, words};
use crate::directory::SeatPolicy;
use crate::directory::ids::RunId;
use crate::directory::source::Outcome;

/// Whose people a connection brings in.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ScopeArgs {
    #[command(flatten)]
    pub(in crate::cli) connection: ConnectionArg,
    /// Everyone whom the connection pushes.
    #[arg(long, conflicts_with = "groups")]
    pub(in crate::cli) all: bool,
    /// Only the direct and nested members of this group, by name or id; can be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<String>,
    /// Only say who would leave and who would come back.
    #[arg(long)]
    pub(in crate::cli) preview: bool,
}

/// Look at and set the licence of an instance.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum LicenceCommand {
    /// Show the limit, the seats that are taken and who waits.
    Show {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Set the limit; who waits enters at once as far as seats are free.
    Set {
        /// How many people may be active at once.
        seats: i64,
        /// What happens to who comes when no seat is free: they wait, or are refused.
        #[arg(long, value_parser = words(SeatPolicy::ALL, SeatPolicy::word))]
        policy: Option<SeatPolicy>,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Take the limit away; everybody who waits enters.
    Unlimited {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// List who waits for a seat, in the order in which they will enter.
    Waiting {
        /// Only those who would enter with that many seats more.
        #[arg(long, value_name = "SEATS", value_parser = limit())]
        more: Option<i64>,
        /// How many to list, up to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
        limit: i64,
        #[command(flatten)]
        at: InstanceArg,
    },
}

/// Look at runs, and finish them.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum RunsCommand {
    /// List the latest runs of an instance.
    List {
        /// How many to list, up to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = limit())]
        limit: i64,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show a run.
    Show(RunArg),
    /// Show the report of a run: what became of whom, and what was left as it is.
    Report {
        #[command(flatten)]
        run: RunArg,
        /// Only lines of this outcome, such as skipped.
        #[arg(long, value_parser = words(Outcome::ALL, Outcome::word))]
        outcome: Option<Outcome>,
        /// How many lines to show, up to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
        limit: i64,
    },
    /// Go on with a run whose process has ended; a server does so by itself.
    Resume(RunArg),
}

/// Which run a command is about.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RunArg {
    /// The id of the run.
    pub(in crate::cli) run: RunId,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Which accounts an act is about.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ActArgs {
    /// The user names or ids of the accounts.
    #[arg(value_name = "ACCOUNT", required_unless_present = "filter")]
    pub(in crate::cli) accounts: Vec<String>,
    /// All accounts that this filter selects, as the protocol writes filters.
    #[arg(long, conflicts_with = "accounts")]
    pub(in crate::cli) filter: Option<String>,
    /// Only say what would become of whom.
    #[arg(long)]
    pub(in crate::cli) preview: bool,
    /// Do it for as many as the filter selects, without asking for a preview first.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Which account a question is about.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AccountArg {
    /// The user name or id of the account.
    pub(in crate::cli) account: String,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}
