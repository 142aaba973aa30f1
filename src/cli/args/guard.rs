//! What can be said about the guard for pushes.

use clap::builder::RangedI64ValueParser;
use uuid::Uuid;

use super::{ConnectionArg, InstanceArg, Span, limit};
use crate::directory::guard::GUARD_COUNT_MAX;
use crate::provision::guard::HeldMark;

/// Look at what clients may lose by accident, and decide about what is held.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum GuardCommand {
    /// List the connections of an instance: their limits, what came through, what is held.
    List {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show what the guard holds for a connection, and whom it is about.
    Show(ShowGuardArgs),
    /// Let happen what is held: first without --yes, which changes nothing.
    ///
    /// It goes on page by page; if it is interrupted, say it again. The losses counted so far are forgotten.
    Apply(DecideArgs),
    /// Leave the directory as it is: first without --yes, which changes nothing.
    ///
    /// The client reads the directory as it is from then on. If it says the same again, it is counted anew.
    Discard(DecideArgs),
    /// Set how many losses come through before the rest is held.
    Set(LimitArgs),
}

/// Of what to show which part.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ShowGuardArgs {
    #[command(flatten)]
    pub(in crate::cli) connection: ConnectionArg,
    /// How many to list, up to 10000.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
    pub(in crate::cli) limit: i64,
    /// Begin behind this place: the next page.
    #[arg(long, value_name = "PLACE")]
    pub(in crate::cli) after: Option<HeldMark>,
    /// Write all of them to this file, as CSV, readable by nobody else.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["after", "limit"])]
    pub(in crate::cli) csv: Option<std::path::PathBuf>,
}

/// About what to decide.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DecideArgs {
    #[command(flatten)]
    pub(in crate::cli) connection: ConnectionArg,
    /// Only what is held of this account, or of this group and its members.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Option<Uuid>,
    /// Do it; without this, only say what would come of it.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

/// The limits to set; those that are not named stay.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LimitArgs {
    #[command(flatten)]
    pub(in crate::cli) connection: ConnectionArg,
    /// The people who may lose their access within the window; with 0, each is held.
    #[arg(long, value_name = "COUNT", value_parser = counts())]
    pub(in crate::cli) suspensions: Option<i64>,
    /// The accounts and groups that may be deleted within the window.
    #[arg(long, value_name = "COUNT", value_parser = counts())]
    pub(in crate::cli) deletions: Option<i64>,
    /// The members who may leave groups within the window.
    #[arg(long, value_name = "COUNT", value_parser = counts())]
    pub(in crate::cli) removals: Option<i64>,
    /// The share of the people, or of the memberships, that may be lost; 100 is no limit.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(i64).range(0..=100))]
    pub(in crate::cli) percent: Option<i64>,
    /// How far back losses count, as 30m, 24h or 7d; up to 30 days.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) window: Option<Span>,
    /// Count nothing and hold nothing more; what is held stays so until it is decided.
    #[arg(long)]
    pub(in crate::cli) off: bool,
    /// Count again.
    #[arg(long, conflicts_with = "off")]
    pub(in crate::cli) on: bool,
}

fn counts() -> RangedI64ValueParser<i64> {
    RangedI64ValueParser::new().range(0..=GUARD_COUNT_MAX)
}
