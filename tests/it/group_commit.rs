//! Writers who wait together on SQLite are made durable together, and each is kept whole or not at all.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use scimd::clock::Ids;
use scimd::directory::{TenantId, Timestamp};
use scimd::store::row::Count;
use scimd::store::tenants::{self, Tenant};
use scimd::store::{Sql, Store, StoreError, Tx};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::support::Database;

async fn insert(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    let tenant =
        Tenant { id: TenantId(Ids.fresh()), name: name.to_owned(), created_at: Timestamp(0) };
    tenants::insert(tx, &tenant, name).await
}

async fn names(store: &Store) -> Vec<String> {
    let mut tx = store.read().await.unwrap();
    let tenants = tenants::list(&mut tx).await.unwrap();
    tenants.into_iter().map(|tenant| tenant.name).collect()
}

/// Lets a future go on until it has to wait for others.
async fn asked<F: Future>(mut future: std::pin::Pin<&mut F>) {
    std::future::poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn who_waits_is_kept_with_who_wrote_and_nobody_is_told_before() {
    let database = Database::sqlite();
    let store = database.open().await;
    let mut first = store.begin_small().await.unwrap();
    insert(&mut first, "first").await.unwrap();

    let mut second = pin!(store.begin_small());
    asked(second.as_mut()).await;
    let mut third = pin!(store.begin_small());
    asked(third.as_mut()).await;
    let mut first = pin!(first.commit());
    asked(first.as_mut()).await;

    // The turn goes on before anything is on the disk: other connections see nothing of it yet.
    let mut second = second.await.unwrap();
    assert!(names(&store).await.is_empty());
    asked(first.as_mut()).await;
    // What the first has written is there for the second; that he gives up takes nothing from the others.
    assert!(matches!(insert(&mut second, "first").await, Err(StoreError::Conflict)));
    insert(&mut second, "second").await.unwrap();
    drop(second);

    let mut third = third.await.unwrap();
    insert(&mut third, "third").await.unwrap();
    asked(first.as_mut()).await;
    third.commit().await.unwrap();
    first.await.unwrap();
    assert_eq!(names(&store).await, ["first", "third"]);
}

#[tokio::test]
async fn who_hangs_up_while_he_waits_or_writes_hinders_nobody() {
    let database = Database::sqlite();
    let store = database.open().await;
    for round in 0..20 {
        let mut first = store.begin_small().await.unwrap();
        insert(&mut first, &format!("first {round}")).await.unwrap();
        {
            let mut impatient = pin!(store.begin_small());
            asked(impatient.as_mut()).await;
        }
        first.commit().await.unwrap();
        let mut second = store.begin_small().await.unwrap();
        {
            // In the middle of a statement, unless it is fast.
            let mut writing = pin!(insert(&mut second, "second"));
            std::future::poll_fn(|context| {
                let _begun = writing.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
        drop(second);
    }
    assert_eq!(names(&store).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_of_writers_is_kept_or_refused_each_for_himself() {
    const WRITERS: usize = 64;
    let database = Database::sqlite();
    let store = database.open().await;
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(WRITERS));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, barrier) = (store.clone(), barrier.clone());
            writers.spawn(async move {
                barrier.wait().await;
                let mut tx = store.begin_small().await.unwrap();
                // Two writers each want one name; one in four gives up.
                let name = format!("{round}-{}", writer / 2);
                let wrote = insert(&mut tx, &name).await;
                if writer % 4 == 3 {
                    tx.rollback().await;
                    return None;
                }
                match wrote {
                    Ok(()) => tx.commit().await.ok().map(|()| name),
                    Err(StoreError::Conflict) => None,
                    Err(error) => panic!("{error}"),
                }
            });
        }
        let mut kept: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
        kept.sort_unstable();
        let start = format!("{round}-");
        let mut there: Vec<String> =
            names(&store).await.into_iter().filter(|name| name.starts_with(&start)).collect();
        there.sort_unstable();
        assert_eq!(there, kept, "round {round}");
    }
    store.close().await;
    assert!(matches!(store.begin().await, Err(StoreError::Unavailable(_))));
}

/// A batch of many rows takes as long as it takes: what others have written before is on the disk then.
#[tokio::test]
async fn nobody_who_has_written_waits_for_the_end_of_a_long_write() {
    let database = Database::sqlite();
    let store = database.open().await;
    let mut small = store.begin_small().await.unwrap();
    insert(&mut small, "small").await.unwrap();
    let mut long = pin!(store.begin());
    asked(long.as_mut()).await;
    small.commit().await.unwrap();
    let mut long = long.await.unwrap();
    assert_eq!(names(&store).await, ["small"]);

    // Behind it others may share its commit: it is there already. Who gives up takes nothing from it.
    let mut quitter = pin!(store.begin_small());
    asked(quitter.as_mut()).await;
    let mut next = pin!(store.begin_small());
    asked(next.as_mut()).await;
    insert(&mut long, "long").await.unwrap();
    let mut long = pin!(long.commit());
    asked(long.as_mut()).await;
    let mut quitter = quitter.await.unwrap();
    assert_eq!(names(&store).await, ["small"]);
    insert(&mut quitter, "quitter").await.unwrap();
    quitter.rollback().await;
    let mut next = next.await.unwrap();
    insert(&mut next, "next").await.unwrap();
    next.commit().await.unwrap();
    long.await.unwrap();
    assert_eq!(names(&store).await, ["small", "long", "next"]);
}

/// SQLite ends a transaction by itself when the disk is full. Who writes behind that must not commit in its place.
#[tokio::test]
async fn who_has_lost_his_transaction_is_not_told_that_it_is_kept() {
    let database = Database::sqlite();
    let store = database.open().await;
    let mut lost = store.begin().await.unwrap();
    insert(&mut lost, "lost").await.unwrap();
    lost.execute(Sql::new("ROLLBACK")).await.unwrap();
    let mut next = pin!(store.begin_small());
    asked(next.as_mut()).await;
    let mut lost = pin!(lost.commit());
    asked(lost.as_mut()).await;
    let mut next = next.await.unwrap();
    assert!(lost.await.is_err());
    insert(&mut next, "next").await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(names(&store).await, ["next"]);
}

/// The command line writes too: it waits for the lock of the file, and a server whose writers never rest must
/// leave it some time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_process_gets_its_turn_while_writers_never_rest() {
    const OURS: usize = 5;
    let database = Database::sqlite();
    let (server, other) = (database.open().await, database.open().await);
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..32 {
        let (server, ended) = (server.clone(), ended.clone());
        writers.spawn(async move {
            let mut written = 0;
            while !ended.load(Ordering::Relaxed) {
                let mut tx = server.begin_small().await.unwrap();
                insert(&mut tx, &format!("{writer}-{written}")).await.unwrap();
                tx.commit().await.unwrap();
                written += 1;
            }
            written
        });
    }
    for number in 0..OURS {
        let mut tx = other.begin().await.unwrap();
        insert(&mut tx, &format!("other {number}")).await.unwrap();
        tx.commit().await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let written: usize = writers.join_all().await.into_iter().sum();
    assert_eq!(names(&server).await.len(), written + OURS);
}

/// Numbers up to a limit: as long as one likes.
const COUNT: &str = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) \
                     SELECT COUNT(*) AS n FROM numbers";

/// What is read turns out to be long and is done by another thread, from the beginning.
#[tokio::test]
async fn a_long_read_takes_nothing_from_the_transaction_it_is_in() {
    let database = Database::sqlite();
    let store = database.open().await;
    let mut tx = store.begin_small().await.unwrap();
    insert(&mut tx, "before").await.unwrap();
    for limit in [10, 300_000, 10] {
        let count = tx.fetch_optional::<Count>(Sql::new(COUNT).bind(limit)).await.unwrap();
        assert_eq!(count.unwrap().0, limit);
    }
    insert(&mut tx, "after").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&store).await, ["before", "after"]);
}

/// A client that hangs up leaves nobody at work for it, and its place to others. The runtime of a test ends with the last
/// of its threads.
#[tokio::test]
async fn who_hangs_up_while_he_reads_leaves_nothing_running() {
    let database = Database::sqlite();
    let store = Store::open(&database.url, 1).await.unwrap();
    for _ in 0..20 {
        let mut tx = store.read().await.unwrap();
        {
            let endless = Sql::new(COUNT).bind(i64::MAX);
            let mut reading = pin!(tx.fetch_optional::<Count>(endless));
            asked(reading.as_mut()).await;
        }
        drop(tx);
        assert!(names(&store).await.is_empty());
    }
    store.close().await;
}

/// As many tenants as there are numbers up to a limit.
const MANY: &str = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) \
                    INSERT INTO tenants (id, name, name_key, created_at) \
                    SELECT randomblob(16), 'long ' || n, 'long ' || n, 0 FROM numbers";

/// A batch that nobody waits for any more is not kept, and who writes next waits for its end.
#[tokio::test]
async fn who_hangs_up_in_a_long_write_hinders_nobody() {
    let database = Database::sqlite();
    let store = database.open().await;
    for round in 0..5 {
        let mut long = store.begin().await.unwrap();
        {
            let mut writing = pin!(long.execute(Sql::new(MANY).bind(50_000)));
            asked(writing.as_mut()).await;
        }
        let mut next = pin!(store.begin_small());
        asked(next.as_mut()).await;
        drop(long);
        let mut next = next.await.unwrap();
        insert(&mut next, &format!("next {round}")).await.unwrap();
        next.commit().await.unwrap();
    }
    assert_eq!(names(&store).await.len(), 5);
}
