//! Sources: where people are fetched from. What is common to all pulls knows nothing else of them.

use std::future::Future;

use crate::directory::LastPull;
use crate::provision::pull::Line;

/// Where the people of a connection are fetched from.
///
/// A source fetches and reads. It decides nothing: who is matched, what is written, who is missing and
/// when a run stops is the same for all sources.
pub trait Source: Send + Sync {
    /// What it brings.
    type People: People;

    /// Fetches everybody, or finds out that nothing is new since the last complete run.
    fn fetch(
        &self,
        last: Option<&LastPull>,
    ) -> impl Future<Output = Result<Fetched<Self::People>, Stop>> + Send;
}

/// What a source brought.
#[derive(Debug)]
pub enum Fetched<P> {
    /// Nothing is new.
    Unchanged,
    /// Everybody.
    People(P),
}

/// People who were fetched: they can be read from the beginning as often as needed, and are the same each
/// time.
pub trait People: Send + Sync + 'static {
    /// What the next run is compared with, were this one complete.
    fn seen(&self) -> LastPull;

    /// What an administrator should know about what was fetched.
    fn notes(&self) -> Vec<String>;

    /// The bytes that were fetched.
    fn bytes(&self) -> i64;

    /// Reads all lines from the beginning and hands each over, until `each` says that it wants no more. It
    /// blocks.
    fn read(&self, each: &mut dyn FnMut(Line) -> bool) -> Result<(), Stop>;
}

/// Why a run stops: nothing that it has not done yet may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What is wrong, and what to do.
    pub reason: String,
}

impl Stop {
    /// For a reason.
    #[expect(clippy::needless_pass_by_value, reason = "errors are mapped with it")]
    pub fn because(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}
