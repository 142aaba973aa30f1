//! What can be said about taking back what happened.

use super::InstanceArg;
use crate::directory::ids::RunId;

/// Take back what happened, as far as nobody has changed it since.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum UndoCommand {
    /// What happened to one person since a time: the account, and the groups joined and left.
    Account {
        /// The user name or id of the account; a deleted one, too.
        account: String,
        #[command(flatten)]
        since: SinceArg,
        #[command(flatten)]
        how: UndoArgs,
    },
    /// What one run did, a pull or a job.
    ///
    /// An undo is a run, too: to take it back, name it here.
    Run {
        /// The id of the run.
        run: RunId,
        #[command(flatten)]
        how: UndoArgs,
    },
    /// What one connection did since a time, by pushes and by pulls.
    ///
    /// Pause the connection first, or it will say the same again.
    Connection {
        /// The name or id of the connection.
        connection: String,
        #[command(flatten)]
        since: SinceArg,
        #[command(flatten)]
        how: UndoArgs,
    },
}

/// Since when.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SinceArg {
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z, or 2h ago as 2h, 3d.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: String,
}

/// How something is taken back.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UndoArgs {
    /// Do it; without this, only say what would change.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) at: InstanceArg,
}
