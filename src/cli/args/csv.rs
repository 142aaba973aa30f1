//! What can be said about CSV files.

use std::path::PathBuf;

use super::standing::RunArg;
use super::{ConnectionArg, InstanceArg, limit, words};
use crate::directory::source::{MatchBy, Mode, Passwords};
use crate::pull::format::{Encoding, Separator};

/// Bring in people from CSV files.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum CsvCommand {
    /// Create a connection that is pulled from a CSV file.
    Create {
        /// The name of the connection, such as "HR".
        name: String,
        /// Take changes at once; otherwise it is a draft, which can be tested and run dry.
        #[arg(long)]
        enable: bool,
        #[command(flatten)]
        at: InstanceArg,
        #[command(flatten)]
        source: Box<SourceArgs>,
    },
    /// Set where the file is and how it is read; what is not named stays as it is.
    Set {
        #[command(flatten)]
        connection: ConnectionArg,
        #[command(flatten)]
        source: Box<SourceArgs>,
    },
    /// Show the settings of a source, its schedule and its last runs.
    Show(ConnectionArg),
    /// Upload a file as the next version of a document.
    Upload {
        /// The file; - reads the standard input.
        file: String,
        /// What to call the document; by default the name of the file.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// List the uploaded documents, each in its last ten versions.
    Documents {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Remove an uploaded document in all its versions.
    Remove {
        /// Its name.
        document: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Test a source step by step, without a change.
    Test(ConnectionArg),
    /// Show what the columns of the file mean, with the first rows.
    Columns(ConnectionArg),
    /// Say what a run would do, person by person, and take everything back.
    DryRun {
        #[command(flatten)]
        connection: ConnectionArg,
        /// Write the report into this file, as CSV.
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
    },
    /// Run now, and wait for the end.
    Run {
        #[command(flatten)]
        connection: ConnectionArg,
        /// Leave the run to a server, and do not wait.
        #[arg(long)]
        detach: bool,
    },
    /// List the runs of a connection.
    Runs {
        #[command(flatten)]
        connection: ConnectionArg,
        /// How many to list, up to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = limit())]
        limit: i64,
    },
    /// Show how far a run is, or what it came to.
    Status(RunArg),
    /// Print the report of a run: one line for each person that changed or was refused.
    Report {
        #[command(flatten)]
        run: RunArg,
        /// Write it into this file, as CSV.
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
    },
    /// Let a held run go on: the people it was held for lose their access.
    Continue(RunArg),
    /// Go on here with a run whose process has ended; a server does so by itself.
    Resume(RunArg),
    /// End a run; what it has applied stays.
    Cancel(RunArg),
    /// Forget the last run: the next one looks at every row, also if the file is the same.
    Reset(ConnectionArg),
    /// Set when a source is pulled, and show the next time.
    Schedule {
        #[command(flatten)]
        connection: ConnectionArg,
        /// A cron expression of five fields, such as "30 2 * * 1-5", or an interval, such as
        /// "every 6h".
        #[arg(long, value_name = "WHEN", required_unless_present = "off")]
        when: Option<String>,
        /// The time zone of the cron expression and of the window.
        #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "when")]
        zone: String,
        /// How many seconds later a run may begin, so that not all begin at once.
        #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "when")]
        jitter: u32,
        /// The time of day in which a run may begin, such as 22:00-06:00.
        #[arg(long, value_name = "FROM-UNTIL", requires = "when")]
        window: Option<String>,
        /// End the schedule.
        #[arg(long, conflicts_with = "when")]
        off: bool,
    },
    /// Write people as a CSV file that can be imported again.
    Export {
        /// Only the people of this connection, in the columns of its file; otherwise everybody.
        #[arg(value_name = "CONNECTION")]
        connection: Option<String>,
        /// The file; by default the standard output.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        at: InstanceArg,
    },
}

/// What is set about a source.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::cli) struct SourceArgs {
    /// The file is at this https address.
    #[arg(long, value_name = "URL", group = "place")]
    pub(in crate::cli) url: Option<String>,
    /// The file is in the folder that the operator's folder of files, in the part of the instance.
    #[arg(long, value_name = "PATH", group = "place")]
    pub(in crate::cli) file: Option<String>,
    /// The file is the newest version of this uploaded document.
    #[arg(long, value_name = "NAME", group = "place")]
    pub(in crate::cli) document: Option<String>,
    /// The user who may read the address.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    /// Read the password for the address from the standard input.
    #[arg(long, group = "stdin")]
    pub(in crate::cli) password_stdin: bool,
    /// Forget the password for the address.
    #[arg(long, conflicts_with = "password_stdin")]
    pub(in crate::cli) no_password: bool,
    /// The encoding of the file, or guess.
    #[arg(long, value_name = "ENCODING", value_parser = or_guess(Encoding::ALL, Encoding::word))]
    pub(in crate::cli) encoding: Option<String>,
    /// What separates the fields, or guess.
    #[arg(long, value_name = "SEPARATOR", value_parser = or_guess(Separator::ALL, Separator::word))]
    pub(in crate::cli) separator: Option<String>,
    /// What a column means: a path such as title, or groups, action, password, ignore; nothing to guess.
    #[arg(long, value_name = "NAME=MEANING")]
    pub(in crate::cli) column: Vec<String>,
    /// By what a row is matched with an account.
    #[arg(long = "match", value_parser = words(MatchBy::ALL, MatchBy::word))]
    pub(in crate::cli) match_by: Option<MatchBy>,
    /// What separates the groups in one cell.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) group_separator: Option<String>,
    /// What it means that somebody is not in the file.
    #[arg(long, value_parser = words(Mode::ALL, Mode::word))]
    pub(in crate::cli) mode: Option<Mode>,
    /// Whether people are given a password with the account.
    #[arg(long, value_parser = words(Passwords::ALL, Passwords::word))]
    pub(in crate::cli) passwords: Option<Passwords>,
    /// Read the password that people get who have none in the file from the standard input.
    #[arg(long, group = "stdin")]
    pub(in crate::cli) account_password_stdin: bool,
    /// Forget the password that people get who have none in the file.
    #[arg(long, conflicts_with = "account_password_stdin")]
    pub(in crate::cli) no_account_password: bool,
    /// How many people may lose their access in one run.
    #[arg(long, value_name = "COUNT")]
    pub(in crate::cli) guard_count: Option<i64>,
    /// Which share of the people may lose their access in one run, in percent.
    #[arg(long, value_name = "PERCENT")]
    pub(in crate::cli) guard_percent: Option<i64>,
}

fn or_guess<T: Copy>(
    all: &[T],
    word: fn(T) -> &'static str,
) -> clap::builder::PossibleValuesParser {
    let known = all.iter().map(|value| word(*value)).chain(["guess"]);
    clap::builder::PossibleValuesParser::new(known)
}
