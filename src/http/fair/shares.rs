//! Who works and who waits, without a clock and without tasks.
//!
//! A request takes a place if one is free, and if its instance does not hold more than
//! [`HELD_FOR_EACH_FREE_MAX`] times as many as would be left: dynamic thresholds, as switches share their
//! buffers. One instance alone can take three quarters of all places, two three sevenths each, and so on:
//! some are always free for who comes next, and nothing has to be known of the instances that there are.
//! An instance that holds none takes the last one too. The others wait, each instance in a queue of its
//! own, and when a place is given back the instances have their turns one after the other.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::directory::InstanceId;

/// How many places an instance may hold for each that stays free.
const HELD_FOR_EACH_FREE_MAX: usize = 3;

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The requests that have a place at most.
    pub(super) running_max: usize,
    /// The requests of one instance that wait at most.
    pub(super) waiting_max: usize,
}

/// What becomes of a request that asks for a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It has one.
    Now,
    /// It waits, and is known by this ticket.
    Later(Ticket),
    /// Too many requests of its instance wait already.
    Refused,
}

/// The number of a request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The places, who holds them and who waits for them. Each request that waits leaves a `W`, by which it is
/// called.
#[derive(Debug)]
pub(super) struct Shares<W> {
    limits: Limits,
    running: usize,
    tickets: u64,
    /// Instances with requests that run or wait.
    instances: HashMap<InstanceId, Share<W>>,
    /// Instances with requests that wait, in the order of their turns.
    turns: VecDeque<InstanceId>,
}

#[derive(Debug)]
struct Share<W> {
    running: usize,
    waiting: VecDeque<(Ticket, W)>,
}

impl<W> Default for Share<W> {
    fn default() -> Self {
        Self { running: 0, waiting: VecDeque::new() }
    }
}

impl<W> Shares<W> {
    /// Places that nobody holds.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: Limits { running_max: limits.running_max.max(1), ..limits },
            running: 0,
            tickets: 0,
            instances: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Takes a place, or waits for one if the queue of the instance is not full.
    pub(super) fn enter(&mut self, instance: InstanceId, waiter: W) -> Entered {
        let waiting = self.instances.get(&instance).map_or(0, |share| share.waiting.len());
        if !self.may_run(instance) && waiting >= self.limits.waiting_max {
            return Entered::Refused;
        }
        self.enter_again(instance, waiter).map_or(Entered::Now, Entered::Later)
    }

    /// Takes a place, or waits for one however many wait: then it is known by the ticket.
    pub(super) fn enter_again(&mut self, instance: InstanceId, waiter: W) -> Option<Ticket> {
        let free = self.may_run(instance);
        let share = self.instances.entry(instance).or_default();
        // Who may run while others of the instance wait does not exist: they would not be waiting.
        if free {
            share.running += 1;
            self.running += 1;
            return None;
        }
        if share.waiting.is_empty() {
            self.turns.push_back(instance);
        }
        self.tickets += 1;
        share.waiting.push_back((Ticket(self.tickets), waiter));
        Some(Ticket(self.tickets))
    }

    /// Gives a place back; those whose turn has come, who have places from now on.
    pub(super) fn leave(&mut self, instance: InstanceId) -> Vec<W> {
        if let Entry::Occupied(mut share) = self.instances.entry(instance)
            && share.get().running > 0
        {
            share.get_mut().running -= 1;
            self.running -= 1;
            if share.get().running == 0 && share.get().waiting.is_empty() {
                share.remove();
            }
        }
        self.call()
    }

    /// Forgets a request that waits for nobody any more. If it was called already, its place is given back.
    pub(super) fn give_up(&mut self, instance: InstanceId, ticket: Ticket) -> Vec<W> {
        let Entry::Occupied(mut share) = self.instances.entry(instance) else { return Vec::new() };
        let waiting = &mut share.get_mut().waiting;
        let Some(place) = waiting.iter().position(|(waits, _)| *waits == ticket) else {
            return self.leave(instance);
        };
        waiting.remove(place);
        if waiting.is_empty() {
            self.turns.retain(|waits| *waits != instance);
            if share.get().running == 0 {
                share.remove();
            }
        }
        Vec::new()
    }

    /// Gives free places to those who wait for them, one to an instance before it is the next one's turn.
    /// Instances that hold too much keep their turn.
    fn call(&mut self) -> Vec<W> {
        let mut called = Vec::new();
        while let Some(turn) = self.turns.iter().position(|instance| self.may_run(*instance)) {
            let Some(instance) = self.turns.remove(turn) else { break };
            let Some(share) = self.instances.get_mut(&instance) else { continue };
            let Some((_, waiter)) = share.waiting.pop_front() else { continue };
            share.running += 1;
            self.running += 1;
            if !share.waiting.is_empty() {
                self.turns.push_back(instance);
            }
            called.push(waiter);
        }
        called
    }

    /// Whether an instance may take one more place.
    fn may_run(&self, instance: InstanceId) -> bool {
        let held = self.instances.get(&instance).map_or(0, |share| share.running);
        match self.limits.running_max.saturating_sub(self.running) {
            0 => false,
            _ if held == 0 => true,
            free => held < HELD_FOR_EACH_FREE_MAX.saturating_mul(free - 1),
        }
    }
}

#[cfg(test)]
mod tests;
