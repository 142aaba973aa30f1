//! When a source is pulled.

/// When.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    /// x
    pub zone: String,
}
impl Schedule {
    /// x
    #[must_use]
    pub fn next_after(&self, _now: super::Timestamp, _seed: u64) -> Option<super::Timestamp> {
        None
    }
}
