//! The vault: secrets of sources, sealed with a key that is not in the database.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::directory::{ConnectionId, InstanceId};

/// The bytes of a vault's key.
pub const VAULT_KEY_BYTES: usize = 32;

/// What a sealed text begins with: the form in which it was sealed.
const FORM: &str = "v1.";

const NONCE_BYTES: usize = 12;

/// Seals and opens secrets (AES-256-GCM). A sealed text belongs to one place: moved to another
/// connection, it does not open.
pub struct Vault {
    key: RandomizedNonceKey,
}

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The password for the source.
    Source,
    /// The password that new people get.
    Account,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a vault does not work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VaultError {
    /// The key is no key.
    #[error(
        "the key must be {VAULT_KEY_BYTES} random bytes in base64: make one with `openssl rand -base64 32`"
    )]
    Key,
    /// The text was sealed with another key, for another place, or was changed.
    #[error(
        "the password that is kept for this source cannot be opened: the key of the vault is not the \
         one with which it was sealed; start scimd with that key, or set the password again"
    )]
    Sealed,
}

impl Vault {
    /// A vault with a key in base64.
    pub fn open_with(key: &str) -> Result<Self, VaultError> {
        let bytes = STANDARD.decode(key.trim()).map_err(|_| VaultError::Key)?;
        if bytes.len() != VAULT_KEY_BYTES {
            return Err(VaultError::Key);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| VaultError::Key)?;
        Ok(Self { key })
    }

    /// Seals a secret for a place.
    pub fn seal(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        purpose: Purpose,
        secret: &Secret,
    ) -> Result<String, VaultError> {
        let mut sealed = secret.0.clone().into_bytes();
        let aad = Aad::from(place(instance, connection, purpose));
        let nonce = self.key.seal_in_place_append_tag(aad, &mut sealed);
        let nonce = nonce.map_err(|_| VaultError::Key)?;
        let mut text = nonce.as_ref().to_vec();
        text.extend(sealed);
        Ok(format!("{FORM}{}", STANDARD.encode(text)))
    }

    /// Opens what was sealed for this place.
    pub fn open(
        &self,
        instance: InstanceId,
        connection: ConnectionId,
        purpose: Purpose,
        sealed: &str,
    ) -> Result<Secret, VaultError> {
        let text = sealed.strip_prefix(FORM).ok_or(VaultError::Sealed)?;
        let mut bytes = STANDARD.decode(text).map_err(|_| VaultError::Sealed)?;
        if bytes.len() < NONCE_BYTES {
            return Err(VaultError::Sealed);
        }
        let mut sealed = bytes.split_off(NONCE_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| VaultError::Sealed)?;
        let aad = Aad::from(place(instance, connection, purpose));
        let opened = self.key.open_in_place(nonce, aad, &mut sealed);
        let opened = opened.map_err(|_| VaultError::Sealed)?;
        String::from_utf8(opened.to_vec()).map(Secret).map_err(|_| VaultError::Sealed)
    }
}

fn place(instance: InstanceId, connection: ConnectionId, purpose: Purpose) -> Vec<u8> {
    let purpose: &[u8] = match purpose {
        Purpose::Source => b"source",
        Purpose::Account => b"account",
    };
    let id = |id: Uuid| *id.as_bytes();
    [&id(instance.0), &id(connection.0), purpose].concat()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Secret {
    /// A secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for who has to use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault::open_with(&STANDARD.encode([byte; VAULT_KEY_BYTES])).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let [here, there] = [1, 2].map(|n| ConnectionId(Uuid::from_u128(n)));
        let instance = InstanceId(Uuid::from_u128(3));
        let secret = Secret::new("canary-4711".to_owned());
        let sealed = vault(1).seal(instance, here, Purpose::Source, &secret).unwrap();
        assert!(!sealed.contains("canary"));
        let open = |vault: Vault, connection, purpose, sealed: &str| {
            vault.open(instance, connection, purpose, sealed)
        };
        assert_eq!(open(vault(1), here, Purpose::Source, &sealed), Ok(secret.clone()));
        let changed = sealed.replace(|c: char| c.is_ascii_lowercase(), "a");
        for wrong in [
            open(vault(2), here, Purpose::Source, &sealed),
            open(vault(1), there, Purpose::Source, &sealed),
            open(vault(1), here, Purpose::Account, &sealed),
            open(vault(1), here, Purpose::Source, &changed),
            open(vault(1), here, Purpose::Source, "v1."),
            open(vault(1), here, Purpose::Source, ""),
        ] {
            assert_eq!(wrong, Err(VaultError::Sealed));
        }
        let again = vault(1).seal(instance, here, Purpose::Source, &secret).unwrap();
        assert_ne!(again, sealed, "each time with another nonce");
        assert_eq!(format!("{secret:?} {:?}", vault(1)), "Secret Vault");
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for key in ["", "short", "####", &STANDARD.encode([0; 31])] {
            assert_eq!(Vault::open_with(key).err(), Some(VaultError::Key), "{key}");
        }
        assert!(Vault::open_with(&format!("{}\n", STANDARD.encode([0; 32]))).is_ok());
    }
}
