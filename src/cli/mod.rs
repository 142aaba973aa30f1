//! The front door for operators.
//!
//! Every command opens the same database as the server, by the same configuration, also while the
//! server runs. The commands that serve only prepare it here and hand an [`Outcome::Serve`] to the
//! program, because this front door knows nothing of the other one, [`http`](crate::http).

mod accounts;
mod acts;
mod approvals;
mod args;
mod audit;
pub mod config;
mod connections;
mod csv;
mod fields;
mod groups;
mod guard;
mod input;
mod keys;
mod licence;
mod logs;
mod lookups;
mod mappings;
mod migrate;
mod output;
mod policies;
mod policy_args;
mod pulls;
mod quickstart;
mod requests;
mod retention;
mod runs;
mod schemas;
mod scope;
mod session;
mod stop;
mod tenants;
mod undo;
mod vault;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args as _, CommandFactory as _, FromArgMatches as _};
use tokio::net::TcpListener;

use args::Command;
use config::{Layer, Settings};
use session::{Access, Program, Session};

use crate::clock::{Clock, Ids};
use crate::provision::Provision;
use crate::pull::Pulls;
use crate::scim::discovery::SCIM_PATH;
use crate::store::Store;

pub use output::{Form, Output};
pub use stop::Signals;

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "scimd",
    version,
    about = "A SCIM 2.0 provisioning server for an intranet's people directory",
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,

    /// Read the configuration from this TOML file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Configuration",
        display_order = 0,
        help = "Read the configuration from this TOML file [env: SCIMD_CONFIG]"
    )]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Layer,
}

/// What is left to do after a command.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing.
    Done,
    /// To serve.
    Serve(Box<Serving>),
}

/// Everything that a server needs.
#[derive(Debug)]
pub struct Serving {
    /// The configuration.
    pub settings: Settings,
    /// The open database.
    pub store: Store,
    /// What works on the runs of sources.
    pub pulls: Pulls,
    /// The socket, bound already.
    pub listener: TcpListener,
}

/// The parser of the command line, with its help complete.
///
/// All configuration keys are accepted everywhere, as the file and the environment are; the help of
/// a command shows only those that make a difference to it.
#[must_use]
pub fn command() -> clap::Command {
    let of_server = || {
        let keys = config::describe(Layer::augment_args(clap::Command::new("scimd")));
        let keys: Vec<_> = keys.get_arguments().cloned().collect();
        keys.into_iter().map(|arg| arg.hide(false))
    };
    config::describe(Cli::command())
        .mut_subcommand("quickstart", |command| command.args(of_server()))
        .mut_subcommand("serve", |command| command.args(of_server()))
        .mut_subcommand("config", |command| {
            command.mut_subcommand("show", |command| command.args(of_server()))
        })
}

/// Reads the command line of the process; ends it with code 2 if it cannot be understood.
#[must_use]
pub fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

impl Cli {
    /// The form in which the command answers.
    #[must_use]
    pub fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }

    /// Does what the command says.
    pub async fn run(self, out: &mut Output) -> Result<Outcome> {
        let program = Program::of_process(&self);
        let settings = config::load(self.flags, self.config)?;
        let serves = matches!(self.command, Command::Serve | Command::Quickstart);
        logs::start(&settings, serves)?;
        match self.command {
            Command::Serve => {
                let listener = bind(settings.listen, &program, "serve").await?;
                let store = session::open_to_serve(&settings).await?;
                Outcome::serve(settings, store, listener)
            }
            Command::Quickstart => {
                let listener = bind(settings.listen, &program, "quickstart").await?;
                let store = session::open_to_serve(&settings).await?;
                let address = listener.local_addr()?;
                quickstart::prepare(&settings, &store, &program, address, out).await?;
                Outcome::serve(settings, store, listener)
            }
            Command::Config(args::ConfigCommand::Show) => {
                show(&settings, out)?;
                Ok(Outcome::Done)
            }
            command => {
                let access = match &command {
                    Command::Tenants(command) => command.access(),
                    _ => Access::Existing,
                };
                let mut session = Session::open(settings, program, out, access).await?;
                operate(&mut session, command).await?;
                session.close().await
            }
        }
    }
}

impl Outcome {
    fn serve(settings: Settings, store: Store, listener: TcpListener) -> Result<Self> {
        let provision = Provision::new(store.clone(), Clock::system(), Ids);
        let pulls = vault::pulls(&settings, provision)?;
        Ok(Self::Serve(Box::new(Serving { settings, store, pulls, listener })))
    }
}

/// Does what a command says to a database.
async fn operate(session: &mut Session<'_>, command: Command) -> Result<()> {
    match command {
        // These were done before a database was opened.
        Command::Serve | Command::Quickstart | Command::Config(_) => Ok(()),
        Command::Tenants(command) => tenants::run_tenants(session, command).await,
        Command::Instances(command) => tenants::run_instances(session, command).await,
        Command::Connections(command) => connections::run(session, command).await,
        Command::Keys(command) => keys::run(session, command).await,
        Command::Schemas(command) => schemas::run(session, command).await,
        Command::Licence(command) => licence::run(session, command).await,
        Command::Csv(command) => csv::run(session, command).await,
        Command::Runs(command) => runs::run(session, command).await,
        Command::Fields(command) => fields::run(session, command).await,
        Command::Mappings(command) => mappings::run(session, command).await,
        Command::Lookups(command) => lookups::run(session, command).await,
        Command::Accounts(command) => accounts::run(session, command).await,
        Command::Audit(command) => audit::run(session, command).await,
        Command::Guard(command) => guard::run(session, command).await,
        Command::Undo(command) => undo::run(session, command).await,
        Command::Requests(command) => requests::run(session, command).await,
        Command::Groups(command) => groups::run(session, command).await,
        Command::Approvals(command) => approvals::run(session, command).await,
    }
}

/// Takes the port before anything else happens: a busy one must not cost the only showing of a key.
async fn bind(address: SocketAddr, program: &Program, command: &str) -> Result<TcpListener> {
    use std::io::ErrorKind;
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024));
                format!(
                    "{address} is in use by another program, perhaps another scimd: stop that one, \
                     or take another port with `{program} {command} --listen {other}`"
                )
            }
            ErrorKind::PermissionDenied => {
                format!("{address} may not be used by this user: take a port from 1024 on")
            }
            ErrorKind::AddrNotAvailable => {
                format!("{address} is no address of this machine: take one that is, or 0.0.0.0")
            }
            _ => format!("{address} cannot be used"),
        };
        anyhow!(error).context(remedy)
    })
}

/// The address under which the server on `listen` is reached.
fn base_url(settings: &Settings, listen: SocketAddr) -> String {
    let address = settings.public_url.clone().unwrap_or_else(|| {
        if listen.ip().is_unspecified() {
            format!("http://localhost:{}", listen.port())
        } else {
            format!("http://{listen}")
        }
    });
    address + SCIM_PATH
}

fn show(settings: &Settings, out: &mut Output) -> Result<()> {
    let json = settings.entries().map(|entry| {
        let source = entry.origin.to_string();
        let value = serde_json::json!({ "value": entry.value, "source": source });
        (entry.key.to_owned(), value)
    });
    out.show(&serde_json::Value::Object(json.collect()), |text| {
        let rows = settings
            .entries()
            .map(|entry| vec![entry.key.to_owned(), entry.text(), entry.origin.to_string()]);
        text.table(&["KEY", "VALUE", "SOURCE"], rows)
    })
    .context("the configuration cannot be printed")
}
