//! Time and ids, as values that a test can decide.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use uuid::Uuid;

use crate::directory::Timestamp;

/// Where time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of the machine, cut to milliseconds: what both databases keep.
    #[must_use]
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that asks the machine"
        )]
        Self(Arc::new(|| Timestamp(jiff::Timestamp::now().as_millisecond())))
    }

    /// A clock that a test sets.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Where ids come from: `UUIDv7`, so that the order of ids is the order of creation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ids;

impl Ids {
    /// A new id, greater than all that this process made before.
    #[must_use]
    pub fn fresh(self) -> Uuid {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
        Uuid::now_v7()
    }

    /// Bytes that nobody can guess.
    ///
    /// # Panics
    ///
    /// If the operating system has none.
    #[must_use]
    pub fn random<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        #[expect(
            clippy::expect_used,
            reason = "without randomness no secret is safe: better not to go on"
        )]
        rand::fill(&mut bytes).expect("the operating system gives random bytes");
        bytes
    }
}
