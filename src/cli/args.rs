//! What can be said on the command line. The comments are the help.

mod audit;
mod csv;
mod guard;
mod mapping;
mod migration;
mod requests;
mod retention;
mod standing;
mod undo;

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use uuid::Uuid;

use super::policy_args::{
    ApprovalsCommand, MembersArgs, PickUpReportArgs, PreviewArgs, SettingsArgs,
};
use super::session::Access;
use crate::directory::{ConnectionKind, Profile};
use crate::scim::definition::Holder;
use crate::scim::schemas::Password;

pub(super) use audit::{AuditCommand, TrailForm, WantedArgs};
pub(super) use csv::{CsvCommand, SourceArgs};
pub(super) use guard::{DecideArgs, GuardCommand, LimitArgs, ShowGuardArgs};
pub(super) use mapping::{FieldsCommand, LookupsCommand, MappingsCommand, SetArgs};
pub(super) use migration::{ExportArgs, MigrateArgs};
pub(super) use requests::{ExchangeArg, ExchangeArgs, RequestDaysArgs, RequestsCommand};
pub(super) use retention::{EraseArgs, PurgeArgs, RetentionArgs};
pub(super) use standing::{AccountArg, ActArgs, LicenceCommand, RunArg, RunsCommand, ScopeArgs};
pub(super) use undo::{UndoArgs, UndoCommand};

/// The longest time that a key can be given: ten years.
const SPAN_DAYS_MAX: i64 = 3_650;

/// The rows of a list at most.
const LIMIT_MAX: i64 = 10_000;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Try scimd: make a database with two connections and their keys, and serve it.
    ///
    /// Creates a tenant, an instance and two connections, prints the base URL and the API key of
    /// each, and serves. Started again, it serves what is there; the keys are not shown again.
    Quickstart,

    /// Serve, in production.
    Serve,

    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Manage tenants: customer organisations.
    #[command(subcommand)]
    Tenants(TenantsCommand),

    /// Manage instances: the intranet directories of a tenant.
    #[command(subcommand)]
    Instances(InstancesCommand),

    /// Manage connections: the sources of an instance, such as an Okta app.
    #[command(subcommand)]
    Connections(ConnectionsCommand),

    /// Manage API keys: what connections, and readers of the directory, sign in with.
    #[command(subcommand)]
    Keys(KeysCommand),

    /// Manage the schemas that an instance defines itself: attributes of its own.
    #[command(subcommand)]
    Schemas(SchemasCommand),

    /// Manage the fields of the directory that an instance adds.
    #[command(subcommand)]
    Fields(FieldsCommand),

    /// Manage mappings: what fills the fields of a connection's accounts.
    #[command(subcommand)]
    Mappings(MappingsCommand),

    /// Manage look-up tables, by which a mapping puts one text in the place of another.
    #[command(subcommand)]
    Lookups(LookupsCommand),

    /// Look at accounts, the people of an instance, and act on them.
    #[command(subcommand, visible_alias = "account")]
    Accounts(AccountsCommand),

    /// Look at and set the licence of an instance: how many people may be active at once.
    #[command(subcommand)]
    Licence(LicenceCommand),

    /// Bring in people from CSV files.
    #[command(subcommand)]
    Csv(CsvCommand),

    /// Look at runs: work that goes through all people of an instance.
    #[command(subcommand)]
    Runs(RunsCommand),

    /// Take back what happened to one person, in one run, or by one connection.
    #[command(subcommand)]
    Undo(UndoCommand),

    /// Look at the audit trail: who changed what, when and why.
    #[command(subcommand)]
    Audit(AuditCommand),

    /// Look at the request log: what connections asked, and what they were answered.
    #[command(subcommand)]
    Requests(RequestsCommand),

    /// Look at the groups of an instance.
    #[command(subcommand)]
    Groups(GroupsCommand),

    /// Decide what connections may pick up, where they have to ask.
    #[command(subcommand)]
    Approvals(ApprovalsCommand),

    /// Decide what becomes of losses that clients have pushed beyond their limits.
    #[command(subcommand)]
    Guard(GuardCommand),
}

/// Look at the configuration.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the effective configuration without secrets, and where each value came from.
    Show,
}

/// Manage tenants.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TenantsCommand {
    /// Create a tenant.
    Create {
        /// The name of the tenant.
        name: String,
    },
    /// List the tenants.
    List,
    /// Show a tenant and its instances.
    Show {
        /// The name or id of the tenant.
        tenant: String,
    },
}

impl TenantsCommand {
    /// The first command on a new database creates a tenant.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Create { .. } => Access::Create,
            Self::List | Self::Show { .. } => Access::Existing,
        }
    }
}

/// Manage instances.
#[derive(Debug, clap::Subcommand)]
pub(super) enum InstancesCommand {
    /// Create an instance.
    Create {
        /// The name of the instance, such as production.
        name: String,
        /// The name or id of its tenant; not needed if there is only one.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// List the instances.
    List {
        /// Only those of this tenant, by name or id.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Show an instance and its connections.
    Show {
        /// The name or id of the instance, or TENANT/NAME.
        #[arg(value_name = "INSTANCE")]
        name: String,
    },
    /// Show or set for how many days what was deleted is kept; then the server removes it for good.
    Retention(RetentionArgs),
    /// Show or set for how many days the request log is kept.
    Requests(RequestDaysArgs),
}

/// Which instance a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct InstanceArg {
    /// The name or id of the instance, or TENANT/NAME; not needed if there is only one.
    #[arg(long, value_name = "INSTANCE")]
    pub(super) instance: Option<String>,
}

/// Manage connections.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConnectionsCommand {
    /// Create a connection.
    Create {
        /// The name of the connection, such as "Okta".
        name: String,
        /// What it is connected to.
        #[arg(long, value_parser = words(ConnectionKind::ALL, ConnectionKind::word))]
        kind: ConnectionKind,
        /// Whose habits it follows; by default those of its kind.
        #[arg(long, value_parser = words(Profile::ALL, Profile::word))]
        profile: Option<Profile>,
        /// Take changes at once; otherwise it is a draft, which can only be read and tested.
        #[arg(long)]
        enable: bool,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// List the connections of an instance.
    List {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show a connection, its base URL and its keys.
    Show(ConnectionArg),
    /// Let a connection take changes.
    Enable(ConnectionArg),
    /// Put off the changes of a connection: clients are told to send them again later.
    Pause(ConnectionArg),
    /// Say whose people a connection brings in: everyone's, or the members of sync groups.
    Scope(ScopeArgs),
    /// Set what a connection picks up, requires and brings into the directory.
    ///
    /// What is not named stays as it is. Groups and accounts that the connection has are looked at again
    /// where the setting makes a difference to them.
    Set(SettingsArgs),
    /// Say what the first push of people would do: before the connection is enabled.
    ///
    /// With a file of user names, one per line, each of them is looked up: would the account be created,
    /// picked up, wait for approval, be refused, is it protected, or another connection's? Without one,
    /// all Local accounts and groups are listed with what the policy means for them.
    PickUpReport(PickUpReportArgs),
    /// Say which groups would enter the directory under a setting, without changing it.
    GroupsPreview(PreviewArgs),
}

/// Which connection a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectionArg {
    /// The name, id or directory key of the connection.
    pub(super) connection: String,
    #[command(flatten)]
    pub(super) at: InstanceArg,
}

/// Manage API keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum KeysCommand {
    /// Issue a key and print its token, once.
    Issue {
        /// The name, id or directory key of the connection.
        #[arg(required_unless_present = "reader")]
        connection: Option<String>,
        /// Issue a key that reads the directory at /directory/v1 and does nothing else.
        #[arg(long, conflicts_with = "connection")]
        reader: bool,
        #[command(flatten)]
        at: InstanceArg,
        /// What to call the key; by default the day of issue.
        #[arg(long)]
        name: Option<String>,
        /// When the key ends by itself, as 90d; by default never.
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Span>,
    },
    /// List the keys of an instance, also those that have ended.
    List {
        /// Only those of this connection, by name, id or directory key.
        #[arg(long)]
        connection: Option<String>,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Revoke a key at once.
    Revoke(KeyArg),
    /// Issue the successor of a key, which goes on for a while, and print its token, once.
    Rotate {
        #[command(flatten)]
        key: KeyArg,
        /// How long the old key goes on, as 30m, 12h or 7d.
        #[arg(long, value_name = "TIME", default_value = "7d")]
        overlap: Span,
        /// When the new key ends by itself, as 90d; by default never.
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Span>,
    },
}

/// Which key a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArg {
    /// The id of the key, or its name if only one live key has it.
    pub(super) key: String,
    #[command(flatten)]
    pub(super) at: InstanceArg,
}

/// Manage schemas.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SchemasCommand {
    /// List the schemas of an instance: its own, and those that every instance has.
    List {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show a definition, as `schemas define` reads it.
    Show {
        /// The URN of the schema.
        urn: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Define a schema, or define one differently.
    ///
    /// The file is JSON as RFC 7643 §7 has it: id, name, description and attributes. An attribute that
    /// is there already keeps its type and whether it is multi-valued. Data that identity providers
    /// have sent under the URN before stays as it is until they send it again.
    Define(DefineArgs),
    /// Remove a schema; the data under its URN stays.
    Remove {
        /// The URN of the schema.
        urn: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Say whether Users have the attribute password, of which nothing is ever kept.
    Password {
        /// Whether clients may send one.
        #[arg(value_parser = words(Password::ALL, Password::word))]
        password: Password,
        #[command(flatten)]
        at: InstanceArg,
    },
}

/// What to define.
#[derive(Debug, clap::Args)]
pub(super) struct DefineArgs {
    /// A file with the definition; - reads the standard input.
    pub(super) file: String,
    /// What has the attributes; by default what the URN ends with.
    #[arg(long = "for", value_name = "TYPE", value_parser = words(Holder::ALL, Holder::word))]
    pub(super) resource_type: Option<Holder>,
    #[command(flatten)]
    pub(super) at: InstanceArg,
}

/// Look at accounts.
#[derive(Debug, clap::Subcommand)]
pub(super) enum AccountsCommand {
    /// List the accounts of an instance in the order of their creation.
    List {
        /// Only those without some of the attributes that their connection requires.
        #[arg(long)]
        incomplete: bool,
        /// Only those that are out of reach of every connection.
        #[arg(long)]
        protected: bool,
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show an account: status, connection, manager, groups and document.
    Show {
        /// The user name or id of the account.
        account: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Create a Local account: a person whom the intranet knows before any identity provider does.
    Create {
        #[command(flatten)]
        person: Person,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Say why a person may enter or not: every rule, who brought it about, what would change it.
    Why(AccountArg),
    /// List who reports to a person.
    Reports(AccountArg),
    /// List the managers of a person, the nearest first.
    Managers(AccountArg),
    /// List whose reference to a manager waits, and why.
    Unlinked {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Keep people out until released, whatever their source says.
    Hold(ActArgs),
    /// End a hold.
    Release(ActArgs),
    /// Keep people out until their source's next word.
    Suspend(ActArgs),
    /// Let people in until their source's next word.
    Reactivate(ActArgs),
    /// Delete accounts; they can be restored.
    Delete(ActArgs),
    /// Bring deleted accounts back with their ids, groups and managers.
    Restore(ActArgs),
    /// Remove deleted accounts for good, before their time: first without --yes, which changes nothing.
    Purge(PurgeArgs),
    /// Erase what the audit trail, the reports and the request log say of somebody who was deleted.
    ///
    /// Removes the account for good, too, if it is still there. The events stay, without what they said, and
    /// `audit verify` still holds. In two steps: without --yes it only says how much would go.
    Erase(EraseArgs),
    /// Take accounts from their connection.
    MakeLocal(ActArgs),
    /// Write fields of an account that its connection does not fill.
    Set {
        /// The user name or id of the account.
        account: String,
        /// The name of a field and its value; no value removes it.
        #[arg(value_name = "FIELD=VALUE", required = true)]
        fields: Vec<String>,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Put a Local account out of reach of every connection, so that somebody can always get in.
    Protect(AccountArg),
    /// End the protection of an account; the last protected one that is active keeps it.
    Unprotect(AccountArg),
    /// Give accounts other names and other directories by a file: first without --yes, which changes
    /// nothing.
    ///
    /// Ids stay, so groups, managers and content stay linked, and an old name still finds its account. With
    /// --yes everything is done by one run, which a server goes on with if it is interrupted.
    Migrate(MigrateArgs),
    /// Write the accounts into a file that `accounts migrate` reads.
    Export(ExportArgs),
}

/// What is known of a new account.
#[derive(Debug, clap::Args)]
pub(super) struct Person {
    /// The name the person signs in with.
    #[arg(long)]
    pub(super) user_name: String,
    /// The name to show.
    #[arg(long)]
    pub(super) display_name: Option<String>,
    /// The first name.
    #[arg(long)]
    pub(super) given_name: Option<String>,
    /// The last name.
    #[arg(long)]
    pub(super) family_name: Option<String>,
    /// The e-mail address at work.
    #[arg(long)]
    pub(super) email: Option<String>,
}

/// Look at groups.
#[derive(Debug, clap::Subcommand)]
pub(super) enum GroupsCommand {
    /// List the groups of the directory in the order of their creation.
    List {
        /// Also those that their connection keeps out of the directory.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show a group and its members.
    Show {
        /// The name or id of the group.
        group: String,
        /// How many members to show.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
        members: i64,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// List the members of a group: the direct ones, or all people who belong to it.
    Members(MembersArgs),
    /// Create a Local group: one that the intranet knows before any identity provider does.
    Create {
        /// The name of the group.
        #[arg(long)]
        display_name: String,
        #[command(flatten)]
        at: InstanceArg,
    },
}

/// Which part of a list to show.
#[derive(Debug, clap::Args)]
pub(super) struct PageArgs {
    /// How many to list, up to 10000.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
    pub(super) limit: i64,
    /// Begin behind the one with this id: the next page.
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<Uuid>,
}

/// A length of time, as `30m`, `12h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its milliseconds.
    pub(super) ms: i64,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit_s = match text.get(digits.len()..).unwrap_or_default() {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            "w" => 7 * 24 * 60 * 60,
            _ => return Err("write a number and a unit, as 30m, 12h or 7d".to_owned()),
        };
        let most_ms = SPAN_DAYS_MAX * 24 * 60 * 60 * 1000;
        let count: i64 = digits
            .parse()
            .map_err(|_| "write a whole number and a unit, as 30m, 12h or 7d".to_owned())?;
        let ms = count.checked_mul(unit_s * 1000);
        match ms.filter(|ms| (0..=most_ms).contains(ms)) {
            Some(ms) => Ok(Self { ms }),
            None => Err(format!("must be from 0s to {SPAN_DAYS_MAX}d")),
        }
    }
}

/// A parser of the words of an enumeration.
pub(super) fn words<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    word: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|&value| word(value))).try_map(move |text| {
        all.iter().copied().find(|&value| word(value) == text).ok_or("is not one of the words")
    })
}

pub(super) fn limit() -> impl TypedValueParser<Value = i64> {
    clap::value_parser!(i64).range(1..=LIMIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn spans_are_a_number_and_a_unit() {
        let cases = [
            ("0s", Some(0)),
            ("30m", Some(1_800_000)),
            ("12h", Some(43_200_000)),
            ("7d", Some(604_800_000)),
            ("1w", Some(604_800_000)),
            ("3650d", Some(315_360_000_000)),
            ("3651d", None),
            ("9223372036854775807w", None),
            ("", None),
            ("7", None),
            ("d", None),
            ("-1d", None),
            ("1.5h", None),
            ("7 d", None),
        ];
        for (text, ms) in cases {
            let span = text.parse::<Span>().ok();
            assert_eq!(span.map(|span| span.ms), ms, "{text}");
        }
    }
}
