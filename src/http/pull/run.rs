//! A run as the system sees it that makes the file.

use serde_json::{Value, json};

use crate::directory::Timestamp;
use crate::directory::source::Stage;
use crate::store::runs::{Run, RunState};

/// A run as JSON.
pub(super) fn shown(run: &Run, now: Timestamp) -> Value {
    let pull = run.pull.clone().unwrap_or_default();
    let pace = Pace::of(run, now);
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

/// How fast a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// The rows that it has done in a second, on average since it began.
    rows_per_s: i64,
    /// The seconds that the other rows will take, rounded up.
    remaining_s: i64,
}

impl Pace {
    /// The pace of a run that is applying rows; before that and behind it nothing can be said.
    fn of(run: &Run, now: Timestamp) -> Option<Self> {
        let pull = run.pull.as_ref().filter(|pull| pull.stage == Stage::Applying)?;
        let ms = now.0.saturating_sub(run.started_at.0);
        if run.state != RunState::Open || pull.done <= 0 || ms <= 0 {
            return None;
        }
        let left = pull.rows.saturating_sub(pull.done).max(0);
        let whole = i128::from(left) * i128::from(ms);
        let per = i128::from(pull.done) * 1000;
        Some(Self {
            rows_per_s: pull.done.saturating_mul(1000) / ms,
            remaining_s: i64::try_from((whole + per - 1) / per).unwrap_or(i64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{ConnectionId, InstanceId, Pull, RunId};
    use crate::store::runs::RunKind;
    use uuid::Uuid;

    fn run(state: RunState, at: Stage, rows: i64, done: i64) -> Run {
        Run {
            id: RunId(Uuid::nil()),
            instance: InstanceId(Uuid::nil()),
            kind: RunKind::Pull,
            connection: ConnectionId(Uuid::nil()),
            state,
            author: "test".to_owned(),
            checkpoint: None,
            seen: 0,
            changed: 0,
            leased_until: Timestamp(0),
            holder: None,
            pull: Some(Pull { stage: at, rows, done, ..Pull::default() }),
            started_at: Timestamp(1000),
            ended_at: None,
        }
    }

    #[test]
    fn the_pace_is_told_only_while_rows_are_applied() {
        //  state, stage, rows, done, clock; rows per second and the seconds that remain
        let cases = [
            (RunState::Open, Stage::Applying, 1000, 250, 3000, Some((125, 6))),
            (RunState::Open, Stage::Applying, 1000, 1, 3000, Some((0, 1998))),
            (RunState::Open, Stage::Applying, 1000, 999, 3000, Some((499, 1))),
            (RunState::Open, Stage::Applying, 1000, 1000, 3000, Some((500, 0))),
            (RunState::Open, Stage::Applying, i64::MAX, 1, i64::MAX, Some((0, i64::MAX))),
            (RunState::Open, Stage::Applying, 1000, 0, 3000, None),
            (RunState::Open, Stage::Applying, 1000, 250, 1000, None), // the clock stands
            (RunState::Open, Stage::Applying, 1000, 250, 0, None),    // the clock was set back
            (RunState::Open, Stage::Checking, 1000, 250, 3000, None),
            (RunState::Open, Stage::Suspending, 1000, 1000, 3000, None),
            (RunState::Held, Stage::Applying, 1000, 250, 3000, None),
            (RunState::Done, Stage::Applying, 1000, 1000, 3000, None),
        ];
        for (state, stage, rows, done, now, expected) in cases {
            let pace = Pace::of(&run(state, stage, rows, done), Timestamp(now));
            let pace = pace.map(|pace| (pace.rows_per_s, pace.remaining_s));
            assert_eq!(pace, expected, "{state} {stage}, {done} of {rows} at {now}");
        }
    }
}
