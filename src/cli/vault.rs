//! The key of the vault, and what works on sources with it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::config::Settings;
use crate::keys::vault::{VAULT_KEY_BYTES, Vault};
use crate::provision::Provision;
use crate::pull::Pulls;
use crate::pull::remote::{Limits, Network};

/// What works on the runs of sources, with the vault if its key is there.
pub(super) fn pulls(settings: &Settings, provision: Provision) -> Result<Pulls> {
    let network = Network {
        allowed: settings.pull_networks.clone(),
        ca_file: settings.pull_ca_file.clone(),
        limits: Limits::default(),
    };
    let vault = open(settings)?.map(Arc::new);
    Ok(Pulls::new(provision, vault, network, settings.files_dir.clone()))
}

fn open(settings: &Settings) -> Result<Option<Vault>> {
    let file = &settings.vault_key_file;
    match fs::read_to_string(file) {
        Ok(key) => {
            let vault = Vault::open_with(&key);
            Ok(Some(vault.with_context(|| format!("the file {}", file.display()))?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let file = file.display();
            Err(error).with_context(|| format!("vault_key_file {file} cannot be read"))
        }
    }
}

/// The vault; with the embedded database, whose one machine has everything, its key is made when it is
/// missing.
pub(super) fn open_or_make(settings: &Settings) -> Result<Vault> {
    if let Some(vault) = open(settings)? {
        return Ok(vault);
    }
    let file = &settings.vault_key_file;
    if settings.database_url.file().is_none() {
        bail!(
            "a password of a source is sealed with a key that all replicas share: write 32 random bytes \
             in base64 (`openssl rand -base64 32`) into {}, or name another file with vault_key_file",
            file.display()
        );
    }
    let mut key = [0; VAULT_KEY_BYTES];
    rand::fill(&mut key).ok().context("no random bytes are to be had")?;
    let key = STANDARD.encode(key);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut file| {
        file.write_all(key.as_bytes())?;
        file.sync_all()
    });
    match written {
        // Another command was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        written => written.with_context(|| format!("{} cannot be written", file.display()))?,
    }
    open(settings)?.context("the key of the vault has vanished again")
}
