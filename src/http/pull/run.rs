//! A run as the system sees it that makes the file.

use serde_json::{Value, json};

use crate::directory::Timestamp;
use crate::store::runs::Run;

/// A run as JSON.
pub(super) fn shown(run: &Run, now: Timestamp) -> Value {
    let pull = run.pulled();
    let pace = run.pace(now);
    json!({
        "id": run.id,
        "state": run.state,
        "stage": pull.stage,
        "dry": pull.dry,
        "rows": pull.rows,
        "done": pull.done,
        "counts": pull.counts,
        "leaving": pull.leaving.leaving,
        "present": pull.leaving.present,
        "reason": pull.reason,
        "notes": pull.notes,
        "checksum": pull.checksum,
        "bytes": pull.bytes,
        "started": run.started_at,
        "ended": run.ended_at,
        "rows_per_s": pace.map(|pace| pace.rows_per_s),
        "remaining_s": pace.map(|pace| pace.remaining_s),
    })
}
