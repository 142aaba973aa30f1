//! What can be said about moving accounts from one directory to another.

use std::path::PathBuf;

use super::InstanceArg;

/// Which accounts move, and where to.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct MigrateArgs {
    /// A CSV file, as `accounts export --migration` writes it; - reads the standard input.
    pub(in crate::cli) file: String,
    /// The directory of the lines that name none: the name or directory key of a connection, or Local;
    /// without it, they stay where they are.
    #[arg(long, value_name = "DIRECTORY")]
    pub(in crate::cli) target: Option<String>,
    /// What the name of a directory in the file means, where it is only close to one that there is; for each
    /// such name once.
    #[arg(long, value_name = "WRITTEN=DIRECTORY")]
    pub(in crate::cli) confirm: Vec<String>,
    /// Write the report into this file, as CSV.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) report: Option<PathBuf>,
    /// Leave lines with errors out; without this, nothing is done if there is one.
    #[arg(long)]
    pub(in crate::cli) skip_errors: bool,
    /// Do it; without this, only say what each line would come to.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}

/// Which accounts to export.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArgs {
    /// The file; - writes to the standard output.
    #[arg(default_value = "-")]
    pub(in crate::cli) file: String,
    /// As a file that `accounts migrate` reads: user names and directories, nothing else.
    #[arg(long)]
    pub(in crate::cli) migration: bool,
    /// Only the accounts of this connection, by name, id or directory key.
    #[arg(long, conflicts_with = "local")]
    pub(in crate::cli) connection: Option<String>,
    /// Only the accounts of no connection.
    #[arg(long)]
    pub(in crate::cli) local: bool,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}
