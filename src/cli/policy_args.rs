//! What can be said on the command line about the policies of connections. The comments are the help.

use super::args::{ConnectionArg, InstanceArg, PageArgs, words};
use crate::directory::{
    ApprovalId, ApprovalState, DeleteAfter, Entering, Incomplete, PickUp, Profile, Recreate,
};

/// What to set about a connection.
#[derive(Debug, clap::Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArg,
    /// What happens when it writes to an account or group that is Local.
    ///
    /// `by_user_name`: it is picked up if the user name, or the name of the group, is the same.
    /// `with_approval`: the client sees a success, and an administrator decides. `never`: it is refused.
    #[arg(long, value_name = "POLICY", value_parser = words(PickUp::ALL, PickUp::word))]
    pub(super) pick_up: Option<PickUp>,
    /// Which of its groups enter the directory; matching needs a pattern.
    #[arg(long, value_name = "WHICH", value_parser = words(Entering::ALL, Entering::word))]
    pub(super) entering: Option<Entering>,
    /// A regular expression for the names of the groups that enter.
    ///
    /// It may match anywhere in the name: write ^ and $ for its beginning and end, (?i) in front to
    /// ignore case. Look-around and back references are not known: a name is matched in linear time.
    #[arg(long, value_name = "REGEX")]
    pub(super) pattern: Option<String>,
    /// The attributes that every account needs besides userName, as name.familyName,emails.value
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    pub(super) required: Option<Vec<String>>,
    /// What happens to an account without one of them: refuse the request, or keep and list it.
    #[arg(long, value_name = "WHAT", value_parser = words(Incomplete::ALL, Incomplete::word))]
    pub(super) incomplete: Option<Incomplete>,
    /// What happens when it creates somebody again whom it has deleted.
    ///
    /// `new`: somebody new comes, with a new id. `same_id`: the deleted account comes back while it is kept,
    /// with its id and groups, if the user name or the external id is the same; not where names are given
    /// to other people. What an administrator has deleted never comes back in this way.
    #[arg(long, value_name = "AS", value_parser = words(Recreate::ALL, Recreate::word))]
    pub(super) recreate: Option<Recreate>,
    /// After how many days people whom it keeps suspended are deleted: from 1 to 3650, or never.
    ///
    /// It counts from the day on which they were disabled, left the sync groups or were missing, and anew
    /// whenever they were in between.
    #[arg(long, value_name = "DAYS")]
    pub(super) delete_after_days: Option<DeleteAfter>,
    /// Set it although people would then be deleted at once.
    #[arg(long, requires = "delete_after_days")]
    pub(super) yes: bool,
    /// Whose habits it follows.
    #[arg(long, value_parser = words(Profile::ALL, Profile::word))]
    pub(super) profile: Option<Profile>,
}

/// What to report about.
#[derive(Debug, clap::Args)]
pub(super) struct PickUpReportArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArg,
    /// A file with user names, one per line; - reads the standard input.
    pub(super) file: Option<String>,
    #[command(flatten)]
    pub(super) page: PageArgs,
}

/// Which setting to try.
#[derive(Debug, clap::Args)]
pub(super) struct PreviewArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArg,
    /// Which groups would enter.
    #[arg(long, value_name = "WHICH", default_value = "matching",
        value_parser = words(Entering::ALL, Entering::word))]
    pub(super) entering: Entering,
    /// The regular expression, as `connections set` takes it.
    #[arg(long, value_name = "REGEX")]
    pub(super) pattern: Option<String>,
}

/// Whose members to list.
#[derive(Debug, clap::Args)]
pub(super) struct MembersArgs {
    /// The name or id of the group.
    pub(super) group: String,
    /// All people who belong to it, also through nested groups, with a way that leads to them.
    #[arg(long)]
    pub(super) effective: bool,
    #[command(flatten)]
    pub(super) page: PageArgs,
    #[command(flatten)]
    pub(super) at: InstanceArg,
}

/// Decide what connections may pick up.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ApprovalsCommand {
    /// List what connections have asked for, in the order of asking.
    List {
        /// Only what this connection has asked for, by name, id or directory key.
        #[arg(long)]
        connection: Option<String>,
        /// What has become of it.
        #[arg(long, default_value = "waiting",
            value_parser = words(ApprovalState::ALL, ApprovalState::word))]
        state: ApprovalState,
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show what a connection would make of an account or group.
    Show {
        /// The id of the approval.
        approval: ApprovalId,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Let the connection pick up, with all that its client has said meanwhile.
    Accept(WhichArgs),
    /// Keep it Local; the client is told so from now on.
    Refuse(WhichArgs),
    /// Ask again about what was refused, or about what has another name now.
    Reopen(WhichArgs),
}

/// Which approvals to decide about.
#[derive(Debug, clap::Args)]
pub(super) struct WhichArgs {
    /// The ids of the approvals.
    #[arg(required_unless_present = "all")]
    pub(super) approvals: Vec<ApprovalId>,
    /// All of a connection, by its name, id or directory key; says how many, and decides with --yes.
    #[arg(long, value_name = "CONNECTION", conflicts_with = "approvals")]
    pub(super) all: Option<String>,
    /// Decide about all of them.
    #[arg(long, requires = "all")]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) at: InstanceArg,
}
