use std::collections::{BTreeMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// One thing that happens; numbers choose among those that it can happen to.
#[derive(Debug, Clone)]
enum Event {
    /// A request of an instance comes.
    Enter(u128),
    /// One that gave its place back comes again.
    EnterAgain(u128),
    /// One that has a place ends.
    Leave(usize),
    /// The client of one that waited goes away; it may have been called meanwhile.
    GiveUp(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..6_u128).prop_map(Event::Enter),
        1 => (0..6_u128).prop_map(Event::EnterAgain),
        3 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::GiveUp),
    ]
}

/// What is expected of [`Shares`]: every request has a number, by which it is called.
struct Model {
    shares: Shares<u64>,
    next: u64,
    running: BTreeMap<u64, (InstanceId, Option<Ticket>)>,
    waiting: BTreeMap<u64, (InstanceId, Ticket)>,
    /// Instances that wait and hold nothing, with those that were served meanwhile.
    served: HashMap<InstanceId, HashSet<InstanceId>>,
}

fn instance(number: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(number))
}

impl Model {
    fn new(running_max: usize, waiting_max: usize) -> Self {
        Self {
            shares: Shares::new(Limits { running_max, waiting_max }),
            next: 0,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            served: HashMap::new(),
        }
    }

    fn held(&self, instance: InstanceId) -> usize {
        self.running.values().filter(|(holds, _)| *holds == instance).count()
    }

    fn queue(&self, instance: InstanceId) -> usize {
        self.waiting.values().filter(|(waits, _)| *waits == instance).count()
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Enter(number) => {
                let (instance, before) = (instance(number), self.queue(instance(number)));
                match self.shares.enter(instance, self.next) {
                    Entered::Now => self.runs(instance, None),
                    Entered::Later(ticket) => {
                        assert!(before < self.shares.limits.waiting_max, "the queue was full");
                        self.waits(instance, ticket);
                    }
                    Entered::Refused => assert!(before >= self.shares.limits.waiting_max),
                }
            }
            Event::EnterAgain(number) => {
                let instance = instance(number);
                match self.shares.enter_again(instance, self.next) {
                    None => self.runs(instance, None),
                    Some(ticket) => self.waits(instance, ticket),
                }
            }
            Event::Leave(choice) => {
                let Some((instance, _)) = take(&mut self.running, choice) else { return };
                let called = self.shares.leave(instance);
                self.called(&called);
            }
            Event::GiveUp(choice) => {
                let noticed = self.running.iter().filter_map(|(one, (instance, ticket))| {
                    ticket.map(|ticket| (*one, (*instance, ticket)))
                });
                let mut all: BTreeMap<_, _> =
                    noticed.chain(self.waiting.iter().map(|(one, at)| (*one, *at))).collect();
                let Some((instance, ticket)) = take(&mut all, choice) else { return };
                self.running.retain(|_, (_, has)| *has != Some(ticket));
                self.waiting.retain(|_, (_, has)| *has != ticket);
                let called = self.shares.give_up(instance, ticket);
                self.called(&called);
            }
        }
        self.next += 1;
        self.check();
    }

    fn waits(&mut self, instance: InstanceId, ticket: Ticket) {
        self.waiting.insert(self.next, (instance, ticket));
    }

    fn runs(&mut self, instance: InstanceId, ticket: Option<Ticket>) {
        self.running.insert(self.next, (instance, ticket));
        self.serves(instance);
    }

    fn called(&mut self, called: &[u64]) {
        for one in called {
            let (instance, ticket) = self.waiting.remove(one).unwrap();
            let first = self.waiting.iter().find(|(_, (waits, _))| *waits == instance);
            assert!(
                first.is_none_or(|(next, _)| next > one),
                "a request was overtaken by its like"
            );
            self.running.insert(*one, (instance, Some(ticket)));
            self.serves(instance);
        }
    }

    /// Whoever waits and holds nothing sees each other instance served once at most.
    fn serves(&mut self, instance: InstanceId) {
        self.served.remove(&instance);
        for (waits, served) in &mut self.served {
            assert!(served.insert(instance), "{waits} waits, {instance} is served twice");
        }
    }

    fn check(&mut self) {
        assert!(self.running.len() <= self.shares.limits.running_max, "too many run");
        assert_eq!(self.shares.running, self.running.len(), "places were lost");
        for number in 0..6 {
            let instance = instance(number);
            let (held, queue) = (self.held(instance), self.queue(instance));
            let share = self.shares.instances.get(&instance);
            let known = share.map_or((0, 0), |share| (share.running, share.waiting.len()));
            assert_eq!(known, (held, queue));
            assert_eq!(share.is_none(), held + queue == 0, "the idle are forgotten");
            let turns = self.shares.turns.iter().filter(|waits| **waits == instance).count();
            assert_eq!(turns, usize::from(queue > 0), "an instance has one turn");
            assert!(
                queue == 0 || !self.shares.may_run(instance),
                "a place is free, somebody waits"
            );
            if queue > 0 && held == 0 {
                self.served.entry(instance).or_default();
            } else {
                self.served.remove(&instance);
            }
        }
    }
}

fn take<T: Copy>(from: &mut BTreeMap<u64, T>, choice: usize) -> Option<T> {
    let chosen = *from.keys().nth(choice.checked_rem(from.len())?)?;
    from.remove(&chosen)
}

proptest! {
    /// Whatever comes and goes: no place is lost or given twice, none is free for somebody who waits, and
    /// nobody starves.
    #[test]
    fn places_are_shared(
        running_max in 1..12_usize,
        waiting_max in 0..5_usize,
        events in vec(event(), 0..400),
    ) {
        let mut model = Model::new(running_max, waiting_max);
        for event in &events {
            model.apply(event);
        }
        while !model.running.is_empty() {
            model.apply(&Event::Leave(0));
        }
        prop_assert!(model.waiting.is_empty(), "somebody waits for ever");
        prop_assert!(model.shares.instances.is_empty() && model.shares.turns.is_empty());
    }
}

/// How many places some instances get that want all they can have.
fn shared_among(running_max: usize, instances: u128) -> Vec<usize> {
    let mut shares = Shares::new(Limits { running_max, waiting_max: 1_000 });
    for _ in 0..running_max {
        for number in 0..instances {
            let _entered = shares.enter(instance(number), ());
        }
    }
    (0..instances).map(|number| shares.instances[&instance(number)].running).collect()
}

#[test]
fn some_places_stay_free_for_who_comes_next() {
    //  places instances  each of them
    let cases: [(usize, u128, &[usize]); 7] = [
        (1, 1, &[1]),
        (2, 1, &[1]),
        (4, 1, &[3]),
        (20, 1, &[15]),
        (20, 2, &[9, 8]),
        (20, 3, &[6, 6, 6]),
        (20, 6, &[3, 3, 3, 3, 3, 3]),
    ];
    for (places, instances, each) in cases {
        assert_eq!(shared_among(places, instances), each, "{places} among {instances}");
    }
}

#[test]
fn who_comes_takes_a_place_that_the_noisy_one_may_not_have() {
    let mut shares = Shares::new(Limits { running_max: 8, waiting_max: 1_000 });
    for _ in 0..1_000 {
        let _noise = shares.enter(instance(1), "noise");
    }
    for _ in 0..100 {
        assert_eq!(shares.enter(instance(2), "quiet"), Entered::Now);
        assert!(shares.leave(instance(2)).is_empty());
    }
}
