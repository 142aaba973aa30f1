//! Pull: people and groups are fetched from where they are kept, on a schedule or on demand.
//!
//! A source only fetches and reads ([`source::Source`]); [`engine`] is what all sources share, and who may
//! enter, what is suspended and what is written is decided by the same use cases that a push goes
//! through.

pub mod columns;
pub mod csv_source;
pub mod engine;
pub mod export;
pub mod format;
pub mod migration;
pub mod people;
pub mod probe;
pub mod remote;
pub mod report;
pub mod source;
pub mod survey;
pub mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;

use self::csv_source::CsvSource;
use self::remote::Network;
use self::source::Stop;
use crate::directory::Connection;
use crate::keys::vault::{Purpose, Secret, Vault};
use crate::provision::pull::Puller;
use crate::provision::{self, Provision};
use crate::store::runs::{Run, RunState};

/// Everything that runs of sources need.
#[derive(Debug, Clone)]
pub struct Pulls {
    provision: Provision,
    vault: Option<Arc<Vault>>,
    network: Network,
    files_dir: Option<PathBuf>,
}

impl Pulls {
    /// Runs on a database. Without a vault, sources that have a password cannot be read; without a
    /// folder, those that are files of it.
    #[must_use]
    pub fn new(
        provision: Provision,
        vault: Option<Arc<Vault>>,
        network: Network,
        files_dir: Option<PathBuf>,
    ) -> Self {
        Self { provision, vault, network, files_dir }
    }

    /// The use cases.
    #[must_use]
    pub fn provision(&self) -> &Provision {
        &self.provision
    }

    /// Works on a run that the caller has taken, until it ends, is held, or is lost; `watch` is told how
    /// far it is. The run as it is then.
    pub async fn work_off(
        &self,
        run: Run,
        watch: &mut (dyn FnMut(&Run) + Send),
    ) -> provision::Result<Run> {
        let puller = self.provision.puller(&run).await?;
        let prepared = self.prepare(&puller);
        let (source, default_password) = match prepared {
            Ok(prepared) => prepared,
            Err(stop) => return puller.stop(&run, RunState::Failed, stop.reason).await,
        };
        let default_password = default_password.as_ref().map(Secret::expose);
        let id = run.id;
        let work = engine::run(&puller, &source, run, default_password, hash, watch);
        let done = Box::pin(work).await;
        match done {
            // Somebody else has taken it on, or has ended it.
            Err(provision::Error::Store(crate::store::StoreError::Stale)) => {
                let now = self.provision.run(puller.connection.instance, id).await?;
                now.ok_or(provision::Error::Store(crate::store::StoreError::Stale))
            }
            done => done,
        }
    }

    fn prepare(&self, puller: &Puller) -> Result<(CsvSource, Option<Secret>), Stop> {
        let source = &puller.source;
        let open = |purpose, sealed: Option<&String>| {
            sealed.map(|sealed| self.unseal(&puller.connection, purpose, sealed)).transpose()
        };
        let password = open(Purpose::Source, source.password.as_ref())?;
        let default_password = open(Purpose::Account, source.account_password.as_ref())?;
        let source = CsvSource {
            instance: puller.connection.instance,
            settings: source.settings.clone(),
            revision: source.revision,
            password,
            last: source.last.clone(),
            schemas: puller.caller().schemas.clone(),
            network: self.network.clone(),
            files_dir: self.files_dir.clone(),
            provision: self.provision.clone(),
        };
        Ok((source, default_password))
    }

    fn unseal(
        &self,
        connection: &Connection,
        purpose: Purpose,
        sealed: &str,
    ) -> Result<Secret, Stop> {
        let Some(vault) = &self.vault else {
            return Err(Stop::because(
                "a password is kept for this source, and scimd was started without the key of the \
                 vault: set vault_key_file to the file with which it was sealed",
            ));
        };
        vault.open(connection.instance, connection.id, purpose, sealed).map_err(Stop::because)
    }
}

/// What is kept of a password that a person is given: an Argon2id hash.
fn hash(password: &str) -> Option<String> {
    let hashed = Argon2::default().hash_password(password.as_bytes());
    hashed.map(|hash| hash.to_string()).ok()
}
