//! What was found out about tokens lately, so that not every request asks the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Holder;
use crate::store::Store;

/// For how long a server goes on with what it knows of a key and its connection. A revocation by another
/// process is seen after this time at the latest; one by the same process is seen at once.
pub const KEY_KNOWN_MS_MAX: u64 = 1000;

/// The tokens that are remembered at most.
pub const KEYS_KNOWN_MAX: usize = 10_000;

/// The SHA-256 of a token.
pub(super) type Digest = [u8; 32];

/// Holders by their tokens.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Digest, Entry>>);

#[derive(Debug)]
struct Entry {
    holder: Arc<Holder>,
    read: Reading,
}

/// When something was read: after so many changes of settings by this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    at: Instant,
    changes: u64,
}

impl Reading {
    /// A reading that begins now. What is changed while it goes on makes it old.
    pub(super) fn begin(store: &Store) -> Self {
        Self { at: Instant::now(), changes: store.settings_changes() }
    }

    fn is_fresh(self, store: &Store) -> bool {
        self.changes == store.settings_changes()
            && self.at.elapsed() < Duration::from_millis(KEY_KNOWN_MS_MAX)
    }
}

impl Known {
    /// Whose token this is, if that was read a moment ago.
    pub(super) fn find(&self, digest: &Digest, store: &Store) -> Option<Arc<Holder>> {
        let entries = self.entries();
        let entry = entries.get(digest).filter(|entry| entry.read.is_fresh(store))?;
        Some(Arc::clone(&entry.holder))
    }

    /// Remembers whose token this is. If there is no room, what is old makes way, or else everything.
    pub(super) fn keep(&self, digest: Digest, holder: Arc<Holder>, read: Reading, store: &Store) {
        let mut entries = self.entries();
        if entries.len() >= KEYS_KNOWN_MAX {
            entries.retain(|_, entry| entry.read.is_fresh(store));
        }
        if entries.len() >= KEYS_KNOWN_MAX {
            entries.clear();
        }
        entries.insert(digest, Entry { holder, read });
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
