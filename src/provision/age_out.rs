//! People whom their connection keeps suspended are deleted in the end, where it is set so.
//!
//! Identity providers disable whom they let go and delete late or never. The deletion is the same as one
//! by the connection itself: it can be restored, and the connection can bring the person back.

use super::resource::Resource as _;
use super::users::Users;
use super::{Caller, Provision, Result, transact};
use crate::directory::{Connection, ConnectionId, ConnectionStatus, DeleteAfter, InstanceId};
use crate::store::audit::Author;
use crate::store::{Tx, connections, instances, schemas, seats};

/// The accounts that are deleted in one transaction: each takes several statements.
const BATCH: i64 = 50;

/// The batches of one connection before the next has its turn.
const TURN_BATCHES: usize = 50;

/// Whose name the audit trail has for what a server deletes, and the rule by which it does.
const JOB: &str = "retention";
const RULE: &str = "delete_after_days";

impl Provision {
    /// Deletes whom the source has kept suspended for as long as the connection says, on all instances; how
    /// many that were. What fails for one connection is tried again the next time.
    pub async fn age_out(&self) -> Result<usize> {
        let instances = instances::list(&mut self.store.read().await?).await?;
        let mut deleted = 0;
        for instance in instances {
            let connections = connections::list(&mut self.store.read().await?, instance.id).await?;
            for connection in connections {
                match self.age_out_of(&connection).await {
                    Ok(done) => deleted += done,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            instance = %instance.id,
                            connection = connection.name,
                            "whoever was suspended for long could not be deleted; it is tried again"
                        );
                    }
                }
            }
        }
        Ok(deleted)
    }

    /// How many people of a connection would be deleted at once if it were set so.
    pub async fn count_aged(&self, connection: &Connection, end: DeleteAfter) -> Result<i64> {
        let Some(since) = end.cutoff(self.clock.now()) else { return Ok(0) };
        let mut tx = self.store.read().await?;
        let (instance, id) = (connection.instance, connection.id);
        Ok(seats::count_long_suspended(&mut tx, instance, id, since).await?)
    }

    async fn age_out_of(&self, connection: &Connection) -> Result<usize> {
        let (instance, id) = (connection.instance, connection.id);
        // Most of the time there is nothing to do: a look does not keep writers waiting.
        if self.count_aged(connection, connection.settings.delete_after_days).await? == 0 {
            return Ok(0);
        }
        let mut deleted = 0;
        for _ in 0..TURN_BATCHES {
            let author = Author { name: JOB.to_owned(), rule: Some(RULE), ..self.operator() };
            let done = transact!(self.store, Some(instance), |tx| {
                batch(&mut tx, &author, instance, id).await
            })?;
            if done == 0 {
                break;
            }
            deleted += done;
        }
        Ok(deleted)
    }
}

/// Deletes one batch, as the settings are now. A connection that cannot say that somebody is back loses
/// nobody.
async fn batch(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<usize> {
    let Some(connection) = connections::find(tx, instance, connection).await? else {
        return Ok(0);
    };
    let end = connection.settings.delete_after_days.cutoff(author.at);
    let Some(since) = end.filter(|_| connection.status == ConnectionStatus::Enabled) else {
        return Ok(0);
    };
    let due = seats::long_suspended(tx, instance, connection.id, since, BATCH).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let caller = Caller::of(connection, schemas::of_instance(tx, instance).await?);
    let count = due.len();
    for account in due {
        Users::delete(tx, &caller, author, account).await?;
    }
    Ok(count)
}
