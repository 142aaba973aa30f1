//! What can be said about the request log.

use std::str::FromStr;

use clap::builder::RangedI64ValueParser;

use super::{InstanceArg, Span, limit};
use crate::directory::retention::REQUESTS_DAYS_MAX;

/// Look at the request log.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum RequestsCommand {
    /// List requests, the newest first.
    List {
        #[command(flatten)]
        wanted: ExchangeArgs,
        /// How many to list, up to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = limit())]
        limit: i64,
    },
    /// Print requests as they are answered, until it is stopped.
    ///
    /// A server keeps what it has answered within about a second. With --since, it begins with what is there
    /// already.
    Tail {
        #[command(flatten)]
        wanted: ExchangeArgs,
        /// End after so many requests.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
        /// End after this time, as 30s or 5m.
        #[arg(long = "for", value_name = "TIME")]
        span: Option<Span>,
    },
    /// Show a request: what was sent, what was answered, and what it left in the audit trail.
    Show(ExchangeArg),
    /// Say what a request would do if it came again now; nothing changes.
    ///
    /// It goes the road of the request, with the connection as it is set now, in a transaction that is given
    /// up. Passwords and other secrets are not in the log, so they are left out.
    Replay {
        #[command(flatten)]
        exchange: ExchangeArg,
        /// Change nothing. There is no other way: clients send again themselves.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which request a command is about.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExchangeArg {
    /// The id in the log, or the request id as the header of the answer says it.
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Which requests are wanted: those that fit everything that is said.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExchangeArgs {
    /// About this person, by user name or id: also in vain, and as a member that joined or left.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "group")]
    pub(in crate::cli) account: Option<String>,
    /// About this group, by name or id.
    #[arg(long)]
    pub(in crate::cli) group: Option<String>,
    /// Answered so: 404, or 4xx for all that begin with a 4.
    #[arg(long)]
    pub(in crate::cli) status: Option<StatusRange>,
    /// Of this connection, by name or id.
    #[arg(long)]
    pub(in crate::cli) connection: Option<String>,
    /// With this request id, as the header of the answer says it.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) request_id: Option<String>,
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z, or 2h ago as 2h, 3d.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Which statuses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct StatusRange {
    /// The least.
    pub(in crate::cli) least: i64,
    /// The most.
    pub(in crate::cli) most: i64,
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a status as 404, or a class of them as 4xx".to_owned();
        let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
        let (least, span) = match class {
            Some(digit) => (digit.parse::<i64>().map_err(|_| wrong())?.saturating_mul(100), 99),
            None => (text.parse().map_err(|_| wrong())?, 0),
        };
        (100..=599).contains(&least).then_some(Self { least, most: least + span }).ok_or_else(wrong)
    }
}

/// For how many days the request log is kept.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RequestDaysArgs {
    /// The days to set, up to 90; 0 keeps no log; without them, those that are set are shown.
    #[arg(value_parser = days())]
    pub(in crate::cli) days: Option<i64>,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

fn days() -> RangedI64ValueParser<i64> {
    RangedI64ValueParser::new().range(0..=REQUESTS_DAYS_MAX)
}

#[cfg(test)]
mod tests {
    use super::StatusRange;

    #[test]
    fn statuses_are_numbers_or_classes() {
        for (text, range) in [
            ("404", Some((404, 404))),
            ("4xx", Some((400, 499))),
            ("2XX", Some((200, 299))),
            ("40x", None),
            ("9xx", None),
            ("99", None),
            ("600", None),
            ("xx", None),
            ("", None),
        ] {
            let read = text.parse::<StatusRange>().ok();
            assert_eq!(read.map(|read| (read.least, read.most)), range, "{text}");
        }
    }
}
