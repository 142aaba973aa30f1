//! What can be said about fields, mappings and look-up tables.

use super::{ConnectionArg, InstanceArg, limit};
use crate::directory::mapping::Transform;

/// Manage the fields that an instance adds to its directory.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum FieldsCommand {
    /// List the fields: those that every instance has, and its own.
    List {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Define a text field, or give it another label.
    Define {
        /// The name of the field, such as `cost_centre`.
        field: String,
        /// What people call it; by default its name.
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Remove a field that no connection fills.
    Remove {
        /// The name of the field.
        field: String,
        #[command(flatten)]
        at: InstanceArg,
    },
}

/// Manage what fills the fields of a connection's accounts.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum MappingsCommand {
    /// Show the mapping of a connection.
    Show {
        #[command(flatten)]
        connection: ConnectionArg,
        /// This version of it, 0 for the default mapping; otherwise the one in force.
        #[arg(long, value_name = "NUMBER")]
        version: Option<i64>,
    },
    /// Say what fills a field.
    ///
    /// Of several sources and values, the first one that is not empty is taken, unless --join makes one
    /// of all. The transforms are done in the order of this help.
    Set(Box<SetArgs>),
    /// Fill a field no more: it can be edited from then on.
    Unset {
        #[command(flatten)]
        connection: ConnectionArg,
        /// The name of the field.
        field: String,
        #[command(flatten)]
        note: NoteArg,
    },
    /// Take a whole mapping from a file, as `mappings show --json` prints it.
    Load {
        #[command(flatten)]
        connection: ConnectionArg,
        /// A JSON file with the rows; - reads the standard input.
        file: String,
        #[command(flatten)]
        note: NoteArg,
    },
    /// Put the default mapping in force.
    Restore {
        #[command(flatten)]
        connection: ConnectionArg,
        #[command(flatten)]
        note: NoteArg,
    },
    /// List the versions of a mapping: who saved them, when and why.
    History {
        #[command(flatten)]
        connection: ConnectionArg,
        /// How many to list, the newest first.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
        limit: i64,
    },
    /// Say what is different between two versions; 0 is the default mapping.
    Diff {
        #[command(flatten)]
        connection: ConnectionArg,
        /// The one version.
        from: i64,
        /// The other version.
        to: i64,
    },
    /// Put an old version in force, as a new one.
    Rollback {
        #[command(flatten)]
        connection: ConnectionArg,
        /// The number of the old version; 0 is the default mapping.
        version: i64,
        #[command(flatten)]
        note: NoteArg,
    },
    /// Try a mapping out on real accounts; nothing is written.
    Preview {
        #[command(flatten)]
        connection: ConnectionArg,
        /// A JSON file with the rows, - for the standard input; otherwise the mapping in force.
        file: Option<String>,
        /// Only this account, by user name or id.
        #[arg(long, value_name = "USER")]
        account: Option<String>,
        /// How many accounts to look at, up to 500.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = preview_count())]
        limit: i64,
    },
    /// Fill the fields of all accounts of a connection anew.
    Apply(ConnectionArg),
}

/// What fills a field.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SetArgs {
    #[command(flatten)]
    pub(in crate::cli) connection: ConnectionArg,
    /// The name of the field.
    pub(in crate::cli) field: String,
    /// An attribute, such as title or emails[type eq "work"].value; several, the preferred one first.
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    pub(in crate::cli) from: Vec<String>,
    /// Take the blanks at both ends away.
    #[arg(long)]
    trim: bool,
    /// Make small letters.
    #[arg(long)]
    lower: bool,
    /// Take what this look-up table has for the value.
    #[arg(long, value_name = "TABLE")]
    lookup: Option<String>,
    /// Make one value of all, with this between them.
    #[arg(long, value_name = "SEPARATOR")]
    join: Option<String>,
    /// The value where there is none.
    #[arg(long, value_name = "TEXT")]
    default: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) note: NoteArg,
}

impl SetArgs {
    /// The transforms, in the order of the help.
    pub(in crate::cli) fn transforms(&self) -> Vec<Transform> {
        let lookup = self.lookup.clone().map(|table| Transform::Lookup { table });
        let join = self.join.clone().map(|separator| Transform::Join { separator });
        let default = self.default.clone().map(|text| Transform::Default { text });
        let all = [
            self.trim.then_some(Transform::Trim),
            self.lower.then_some(Transform::Lower),
            lookup,
            join,
            default,
        ];
        all.into_iter().flatten().collect()
    }
}

/// Why a mapping changes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NoteArg {
    /// Why, for the history of the mapping.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) note: Option<String>,
}

/// Manage look-up tables: what stands in the place of a value.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum LookupsCommand {
    /// List the look-up tables of an instance.
    List {
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Show the entries of a table.
    Show {
        /// The name of the table.
        table: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Put entries from a file into a table; those that are not in the file stay.
    Load {
        /// The name of the table, such as titles.
        table: String,
        /// A CSV file of two columns, value and result, without a header; - reads the standard input.
        file: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Set one entry.
    Set {
        /// The name of the table.
        table: String,
        /// What is looked up, in any case.
        value: String,
        /// What stands in its place.
        result: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// Remove one entry.
    Remove {
        /// The name of the table.
        table: String,
        /// What is looked up, in any case.
        value: String,
        #[command(flatten)]
        at: InstanceArg,
    },
    /// List the values that tables were asked for and do not have.
    Unmatched {
        /// How many to list.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = limit())]
        limit: i64,
        #[command(flatten)]
        at: InstanceArg,
    },
}

fn preview_count() -> impl clap::builder::TypedValueParser<Value = i64> {
    clap::value_parser!(i64).range(1..=crate::provision::mapping::PREVIEW_COUNT_MAX)
}
