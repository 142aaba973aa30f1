//! The connections to SQLite that read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::sqlite::{File, Handle, Length, Session};
use crate::store::StoreError;

/// The connections that read.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    file: File,
    /// Those that nobody uses just now. The last one that was used comes first: it remembers most.
    idle: Mutex<Vec<Handle>>,
    places: Arc<Semaphore>,
    places_max: u32,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) session: Session,
    shelf: Arc<Shelf>,
    _place: OwnedSemaphorePermit,
}

impl Readers {
    /// None yet, and never more than that many.
    pub(super) fn of(file: File, connections_max: u32) -> Self {
        let places_max = connections_max.max(1);
        let places = usize::try_from(places_max).unwrap_or(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        Self(Arc::new(Shelf { file, idle: Mutex::default(), places, places_max }))
    }

    /// One of them, after waiting for it if all are in use.
    pub(super) async fn take(&self, patience: Duration) -> Result<Reader, StoreError> {
        let Self(readers) = self.clone();
        let place = Arc::clone(&readers.places).acquire_owned();
        let place = tokio::time::timeout(patience, place)
            .await
            .map_err(|_late| sqlx::Error::PoolTimedOut)?
            .map_err(|_closed| sqlx::Error::PoolClosed)?;
        let idle = readers.idle().pop();
        let handle = match idle {
            Some(handle) => handle,
            None => readers.file.open("PRAGMA query_only = ON").await?,
        };
        let session = Session::over(handle, Length::Any);
        Ok(Reader { session, shelf: readers, _place: place })
    }

    /// Waits until nobody uses one any more, and closes them.
    pub(super) async fn close(&self) {
        let _all = self.0.places.acquire_many(self.0.places_max).await;
        self.0.places.close();
        self.0.idle().clear();
    }
}

impl Reader {
    /// Begins a transaction, which ends when the connection is given back.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        self.session.say_here(&["BEGIN"]).await
    }
}

impl Shelf {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Handle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(handle) = self.session.end() {
            self.shelf.idle().push(handle);
        }
    }
}
