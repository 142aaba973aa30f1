//! API keys: bearer tokens of connections, and of who reads the directory.
//!
//! A key is a JSON Web Token that names the key, its connection and its instance, so that one URL
//! serves all. A reader's key names no connection: it opens the directory of its instance, to be read. The signature keeps noise away from the database; what makes a token good is that its
//! SHA-256 stands in the key's row, which is neither revoked nor expired. The token itself is shown
//! once and kept nowhere.

pub mod vault;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{constant_time, digest};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Clock, Ids};
use crate::directory::{ConnectionId, InstanceId, KeyId, Timestamp, ids::hex};
use crate::store::audit::{self, Author, Category};
use crate::store::keys::{ApiKey, KeyAndConnection};
use crate::store::signing::{self, SigningKey};
use crate::store::{self, Store, StoreError, Tx};

/// The bytes of a token that are looked at; real ones have about 400.
pub const TOKEN_BYTES_MAX: usize = 2048;

/// What a token says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// The key.
    jti: Uuid,
    /// The connection; left out of a reader's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    /// What the key is for; left out of a connection's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// The instance.
    instance: Uuid,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

/// What a key is for that belongs to no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Reads the directory.
    Reader,
}

/// Whose key a token is. The two open different doors.
#[derive(Debug, Clone)]
pub enum Holder {
    /// A connection, which pushes or is pulled.
    Connection(Box<KeyAndConnection>),
    /// Who reads the directory.
    Reader(ApiKey),
}

impl Holder {
    fn key(&self) -> &ApiKey {
        match self {
            Self::Connection(found) => &found.key,
            Self::Reader(key) => key,
        }
    }
}

/// Why a token is not let in. Only who holds the real token learns that it is expired or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a key of this server.
    #[error("the API key is not valid")]
    Invalid,
    /// The key's time is over.
    #[error("the API key has expired")]
    Expired,
    /// An administrator revoked the key.
    #[error("the API key was revoked")]
    Revoked,
    /// The key could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that has just been issued, with the token that will never be seen again.
#[derive(Debug, Clone)]
pub struct Issued {
    /// What is kept.
    pub key: ApiKey,
    /// What the administrator pastes into the identity provider.
    pub token: String,
}

/// What an administrator decides about a new key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The instance.
    pub instance: InstanceId,
    /// The connection; without one, the key reads the directory and does nothing else.
    pub connection: Option<ConnectionId>,
    /// What to call it.
    pub name: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Issues and verifies keys.
#[derive(Clone)]
pub struct Keyring {
    signing: Arc<Vec<SigningKey>>,
    uses: Arc<Mutex<HashMap<(InstanceId, KeyId), Use>>>,
    clock: Clock,
    ids: Ids,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    at: Timestamp,
    from: Option<IpAddr>,
}

impl Keyring {
    /// Reads the signing secrets; the first process on a database makes one.
    pub async fn open(store: &Store, clock: Clock, ids: Ids) -> Result<Self, StoreError> {
        let mut tx = store.begin().await?;
        // Two replicas that start at once must not make two.
        tx.serialize_on(&["scimd signing keys".to_owned()]).await?;
        let mut keys = signing::list(&mut tx).await?;
        if keys.is_empty() {
            let key = SigningKey { id: ids.fresh(), secret: hex(&ids.random::<32>()) };
            signing::insert(&mut tx, &key, clock.now()).await?;
            keys.push(key);
        }
        tx.commit().await?;
        Ok(Self { signing: Arc::new(keys), uses: Arc::default(), clock, ids })
    }

    /// Issues a key.
    pub async fn issue(
        &self,
        tx: &mut Tx,
        author: &Author,
        new: NewKey,
    ) -> Result<Issued, StoreError> {
        let id = KeyId(self.ids.fresh());
        let created_at = self.clock.now();
        let claims = Claims {
            iss: "scimd".to_owned(),
            jti: id.0,
            sub: new.connection.map(|connection| connection.0),
            kind: new.connection.is_none().then_some(Kind::Reader),
            instance: new.instance.0,
            iat: created_at.0 / 1000,
            exp: new.expires_at.map(|time| time.0 / 1000),
        };
        let token = self.sign(&claims)?;
        let key = ApiKey {
            id,
            instance: new.instance,
            connection: new.connection,
            name: new.name,
            token_hash: token_hash(&token),
            created_at,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
            last_used_ip: None,
        };
        store::keys::insert(tx, &key).await?;
        record(tx, author, "key.issued", &key).await?;
        Ok(Issued { key, token })
    }

    /// Revokes a key at once.
    pub async fn revoke(
        &self,
        tx: &mut Tx,
        author: &Author,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        store::keys::revoke(tx, key.instance, key.id, self.clock.now()).await?;
        record(tx, author, "key.revoked", key).await
    }

    /// Issues a successor of a key, which itself goes on until `overlap_ends`, so that the change in
    /// the identity provider leaves no gap.
    pub async fn rotate(
        &self,
        tx: &mut Tx,
        author: &Author,
        key: &ApiKey,
        overlap_ends: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<Issued, StoreError> {
        let ends = key.expires_at.map_or(overlap_ends, |expiry| expiry.min(overlap_ends));
        store::keys::set_expiry(tx, key.instance, key.id, ends).await?;
        let mut old = key.clone();
        old.expires_at = Some(ends);
        record(tx, author, "key.expiry_set", &old).await?;
        let ApiKey { instance, connection, ref name, .. } = *key;
        self.issue(tx, author, NewKey { instance, connection, name: name.clone(), expires_at })
            .await
    }

    /// The instance that a token is for, if this server has signed it: whoever is asked for what it opens
    /// looks its key up first ([`Keyring::verify`]).
    pub fn instance_of(&self, token: &str) -> Result<InstanceId, KeyError> {
        let claims = self.read(token).ok_or(KeyError::Invalid)?;
        Ok(InstanceId(claims.instance))
    }

    /// Finds out which key a token is, and notes its use.
    pub async fn verify(
        &self,
        tx: &mut Tx,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<Holder, KeyError> {
        let claims = self.read(token).ok_or(KeyError::Invalid)?;
        let instance = InstanceId(claims.instance);
        let id = KeyId(claims.jti);
        let found = match (claims.sub, claims.kind) {
            (Some(_), None) => {
                let found = store::keys::find(tx, instance, id).await?;
                found.map(|found| Holder::Connection(Box::new(found)))
            }
            (None, Some(Kind::Reader)) => {
                store::keys::find_reader(tx, instance, id).await?.map(Holder::Reader)
            }
            _ => None,
        };
        let found = found.ok_or(KeyError::Invalid)?;
        let key = found.key();
        let hash = token_hash(token);
        let same =
            constant_time::verify_slices_are_equal(hash.as_bytes(), key.token_hash.as_bytes());
        if same.is_err() || key.connection.map(|connection| connection.0) != claims.sub {
            return Err(KeyError::Invalid);
        }
        let now = self.clock.now();
        if key.revoked_at.is_some() {
            return Err(KeyError::Revoked);
        }
        if key.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(KeyError::Expired);
        }
        self.uses().insert((instance, key.id), Use { at: now, from });
        Ok(found)
    }

    /// Keeps the uses since the last time: one write for each key, not for each request.
    pub async fn keep_uses(&self, store: &Store) -> Result<(), StoreError> {
        let mut uses: Vec<_> = std::mem::take(&mut *self.uses()).into_iter().collect();
        // In one order for all replicas, so that they wait for each other and not in a circle.
        uses.sort_unstable_by_key(|(key, _)| *key);
        if uses.is_empty() {
            return Ok(());
        }
        let mut tx = store.begin().await?;
        for ((instance, key), Use { at, from }) in uses {
            let ip = from.map(|ip| ip.to_string());
            store::keys::set_last_used(&mut tx, instance, key, at, ip.as_deref()).await?;
        }
        tx.commit().await
    }

    fn uses(&self) -> std::sync::MutexGuard<'_, HashMap<(InstanceId, KeyId), Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign(&self, claims: &Claims) -> Result<String, StoreError> {
        let corrupt =
            |reason: String| StoreError::Corrupt { column: "signing_keys.secret", reason };
        let key = self.signing.first().ok_or_else(|| corrupt("there is none".to_owned()))?;
        let header = Header { kid: Some(key.id.to_string()), ..Header::new(Algorithm::HS256) };
        let secret = EncodingKey::from_secret(key.secret.as_bytes());
        jsonwebtoken::encode(&header, claims, &secret).map_err(|error| corrupt(error.to_string()))
    }

    /// What a token with a good signature says.
    fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let id = jsonwebtoken::decode_header(token).ok()?.kid?.parse::<Uuid>().ok()?;
        let key = self.signing.iter().find(|key| key.id == id)?;
        let mut rules = Validation::new(Algorithm::HS256);
        // Expiry is read from the key's row, by the clock of the server.
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        let secret = DecodingKey::from_secret(key.secret.as_bytes());
        jsonwebtoken::decode::<Claims>(token, &secret, &rules).ok().map(|data| data.claims)
    }
}

async fn record(
    tx: &mut Tx,
    author: &Author,
    action: &str,
    key: &ApiKey,
) -> Result<(), StoreError> {
    let after = serde_json::to_value(key).ok();
    let event = author.event(Category::Keys, action, "key", key.id.0);
    audit::append(tx, key.instance, &[audit::Event { after, ..event }]).await
}

/// The form in which a token is kept: SHA-256, in hexadecimal. It needs no salt and no slow hash,
/// because a token carries 256 bits of a signature that nobody can guess.
fn token_hash(token: &str) -> String {
    hex(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}
