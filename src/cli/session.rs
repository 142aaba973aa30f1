//! A command at work: the database, the use cases and where to print.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Error, Result, anyhow, bail};

use super::config::{DatabaseUrl, Settings};
use super::output::Output;
use super::{Cli, Outcome, vault};
use crate::clock::{Clock, Ids};
use crate::keys::Keyring;
use crate::keys::vault::Vault;
use crate::provision::{self, Provision};
use crate::pull::Pulls;
use crate::store::{Store, StoreError};

/// Whether a command may make a new database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It makes sense on an empty database.
    Create,
    /// It needs one that is there: a list in the wrong folder must not leave a database behind.
    Existing,
}

/// What a command needs.
pub(super) struct Session<'o> {
    pub(super) settings: Settings,
    pub(super) provision: Provision,
    pub(super) program: Program,
    pub(super) out: &'o mut Output,
}

impl<'o> Session<'o> {
    /// Opens the database, which may have to be there.
    pub(super) async fn open(
        settings: Settings,
        program: Program,
        out: &'o mut Output,
        access: Access,
    ) -> Result<Self> {
        if access == Access::Existing {
            require_file(&settings.database_url, &program)?;
        }
        let provision = Provision::new(open(&settings).await?, Clock::system(), Ids);
        Ok(Self { settings, provision, program, out })
    }

    /// What issues keys.
    pub(super) async fn keyring(&self) -> Result<Keyring> {
        let Provision { store, clock, ids, .. } = &self.provision;
        Ok(Keyring::open(store, clock.clone(), *ids).await?)
    }

    /// What works on the runs of sources.
    pub(super) fn pulls(&self) -> Result<Pulls> {
        vault::pulls(&self.settings, self.provision.clone())
    }

    /// What seals the passwords of sources; where one machine has all, its key is made when it is missing.
    pub(super) fn vault(&self) -> Result<Vault> {
        vault::open_or_make(&self.settings)
    }

    /// Closes the database.
    pub(super) async fn close(self) -> Result<Outcome> {
        self.provision.store.close().await;
        Ok(Outcome::Done)
    }
}

/// Opens the database of the configuration and brings its schema up to date.
pub(super) async fn open(settings: &Settings) -> Result<Store> {
    let url = &settings.database_url;
    let in_folder = url.file().filter(|file| file.starts_with(&settings.data_dir));
    if in_folder.is_some() {
        create_folder(&settings.data_dir).with_context(|| {
            let folder = settings.data_dir.display();
            format!("the data folder {folder} cannot be created: choose another with --data-dir")
        })?;
    }
    Store::open(url.expose(), settings.database_connections).await.map_err(|error| {
        let remedy = match &error {
            StoreError::Migration(_) => {
                "take the version of scimd that it was made with, or a newer one"
            }
            _ => "check database_url, and that the database can be reached and written",
        };
        anyhow!(error).context(format!("the database {url} cannot be opened; {remedy}"))
    })
}

/// Opens it for a server, which reads long lists from the standby if there is one.
pub(super) async fn open_to_serve(settings: &Settings) -> Result<Store> {
    let store = open(settings).await?;
    match &settings.database_read_url {
        Some(url) => {
            store.with_standby(url.expose(), settings.database_connections).with_context(|| {
                format!("database_read_url {url} is no address of a PostgreSQL database")
            })
        }
        None => Ok(store),
    }
}

/// The folder holds the secret that signs keys, so it is for this user alone.
fn create_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn require_file(url: &DatabaseUrl, program: &Program) -> Result<()> {
    let Some(file) = url.file().filter(|file| !file.exists()) else {
        return Ok(());
    };
    bail!(
        "there is no database {}: name the folder of another with --data-dir, or start one with \
         `{program} quickstart` or `{program} tenants create NAME`",
        file.display()
    )
}

/// A refusal in the words of its detail: protocol codes mean nothing to an operator.
pub(super) fn plain(error: provision::Error) -> Error {
    match error {
        provision::Error::Refused(refusal) | provision::Error::NoSeat(refusal) => {
            anyhow!(refusal.detail)
        }
        provision::Error::Store(error) => error.into(),
    }
}

/// The program as it was called, so that a hint can be copied and run.
#[derive(Debug, Clone)]
pub(super) struct Program(String);

impl Program {
    /// The program of this process, with the flags that lead to its database.
    pub(super) fn of_process(cli: &Cli) -> Self {
        let name = std::env::args_os().next();
        let mut call = vec![quoted(name.unwrap_or_else(|| OsString::from("scimd")))];
        let folders =
            [("--config", cli.config.as_deref()), ("--data-dir", cli.flags.data_dir.as_deref())];
        for (flag, path) in folders {
            if let Some(path) = path {
                call.extend([flag.to_owned(), quoted(path)]);
            }
        }
        if cli.flags.database_url.is_some() {
            // It may hold a password.
            call.extend(["--database-url", "…"].map(str::to_owned));
        }
        Self(call.join(" "))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A word as a shell reads it back.
pub(super) fn quoted(word: impl AsRef<std::ffi::OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./:@=,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
