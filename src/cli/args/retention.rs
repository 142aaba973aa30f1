//! What can be said about what was deleted: how long it is kept, and what goes before.

use clap::builder::RangedI64ValueParser;

use super::InstanceArg;
use crate::directory::retention::{RETENTION_DAYS_MAX, RETENTION_DAYS_MIN};

/// How long an instance keeps what was deleted.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RetentionArgs {
    /// The days to set, from 1 to 3650; without them, those that are set are shown.
    #[arg(value_parser = days())]
    pub(in crate::cli) days: Option<i64>,
    /// Set them although the server would then remove at once what was deleted before.
    #[arg(long, requires = "days")]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Which deleted accounts to remove.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PurgeArgs {
    /// The user names or ids of the accounts; of several deleted ones of a name, the last.
    #[arg(value_name = "ACCOUNT", required_unless_present = "filter")]
    pub(in crate::cli) accounts: Vec<String>,
    /// All deleted accounts that this filter selects, as the protocol writes filters.
    #[arg(long, conflicts_with = "accounts")]
    pub(in crate::cli) filter: Option<String>,
    /// Do it; without this, only say who would go, and what with them.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    /// How many accounts they are: to be said with --yes if they are several.
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) count: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Whose data to erase.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct EraseArgs {
    /// The user name or id of the account; of one that was removed for good, the id.
    pub(in crate::cli) account: String,
    /// Do it; without this, only say how much would go.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// A parser of a number of days.
fn days() -> RangedI64ValueParser<i64> {
    RangedI64ValueParser::new().range(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX)
}
