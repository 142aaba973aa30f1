//! How many exchanges that went well the request log takes of a second, and of whom.

use std::collections::HashMap;

use crate::directory::InstanceId;

/// The exchanges of an instance, among those that went well, that are kept of a second at most: what an
/// identity provider sends of its own accord fits in, and the log of an import does not cost more than the
/// import. What failed is kept beside them.
pub const REQUESTS_KEPT_PER_SECOND_MAX: usize = 100;

/// The same of all instances of a process together: where many are busy at once, the log is not to keep their
/// writes waiting.
pub const REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX: usize = 500;

/// What was taken since the second began.
#[derive(Debug, Default)]
pub(super) struct Budget {
    of: HashMap<InstanceId, usize>,
    in_all: usize,
}

impl Budget {
    /// Takes one more of an instance if it has fewer than are left for all. So those that are busy at the same
    /// time have equal parts, and a part is left for who comes later.
    pub(super) fn takes(&mut self, instance: InstanceId) -> bool {
        let left = REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX.saturating_sub(self.in_all);
        let own = self.of.entry(instance).or_default();
        let has_room = *own < left.min(REQUESTS_KEPT_PER_SECOND_MAX);
        if has_room {
            *own += 1;
            self.in_all += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(count: u128) -> Vec<InstanceId> {
        (0..count).map(|id| InstanceId(uuid::Uuid::from_u128(id))).collect()
    }

    /// What is taken of each if all ask for so many in turns.
    fn taken(budget: &mut Budget, instances: &[InstanceId], each: usize) -> Vec<usize> {
        let mut taken = vec![0; instances.len()];
        for _ in 0..each {
            for (instance, taken) in instances.iter().zip(&mut taken) {
                *taken += usize::from(budget.takes(*instance));
            }
        }
        taken
    }

    #[test]
    fn one_instance_has_its_limit() {
        assert_eq!(taken(&mut Budget::default(), &instances(1), 1_000), [100]);
        assert_eq!(taken(&mut Budget::default(), &instances(3), 1_000), [100, 100, 100]);
    }

    #[test]
    fn many_share_the_limit_of_all_and_who_asks_for_little_has_it() {
        for busy in [5, 20, 60, 200] {
            let (mut budget, all) = (Budget::default(), instances(busy + 1));
            let (quiet, busy) = all.split_last().unwrap();
            let shares = taken(&mut budget, busy, 1_000);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1 && *least >= 1, "{shares:?}");
            let little = REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX / all.len() / 2;
            assert_eq!(taken(&mut budget, &[*quiet], little), [little], "beside {shares:?}");
            assert!(shares.iter().sum::<usize>() + little <= REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX);
        }
    }

    #[test]
    fn there_is_an_end_for_everybody() {
        let shares = taken(&mut Budget::default(), &instances(2_000), 10);
        assert_eq!(shares.iter().sum::<usize>(), REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX);
    }
}
