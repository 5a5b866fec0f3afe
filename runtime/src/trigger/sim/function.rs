//! The function of a simulated trigger: instances that take their time, and answer what the load
//! says about each record.
//!
//! Its outcomes pass the same check as those of a real component. A revision may be broken: it asks
//! for a retry whatever it gets, or has another [`Flaw`]. Instances may be refused for a while. Not modelled: deadlines and
//! memory (to a driver they are traps), calls that vanish.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::books::{Effect, Emitted, Kind, Try};
use super::load::{Fate, TOPICS, id_of};
use super::time::ms;
use super::trials::Flaw;
use super::world::{Event, Shared, Spot, World, lock};
use crate::engine::{Call, CallError, Completion, Invoker};
use crate::record::Topics;
use crate::record::outcome::{Cause, Checked, Fault, Outcome};
use crate::record::revision::Digest;

/// A build of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    pub number: u32,
    pub flaw: Flaw,
}

impl Revision {
    pub fn digest(self) -> Digest {
        Digest::of(self.to_string().as_bytes())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}{}", self.number, self.flaw)
    }
}

pub struct SimInvoker {
    pub world: Shared,
    pub node: usize,
    pub revision: Revision,
    pub most: usize,
    pub topics: Arc<Topics>,
    pub running: Arc<AtomicUsize>,
}

/// The end of a call that runs.
pub struct Ending {
    incarnation: u32,
    completion: Completion,
    running: Arc<AtomicUsize>,
    /// The records that the function did its work for.
    worked: Vec<(usize, u32, Option<u64>)>,
    member: Option<u64>,
}

/// What the function makes of a record at some try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Handled,
    Retry,
    Reject,
    Trap,
}

fn verdict(id: usize, fate: Fate, attempt: u32, revision: Revision) -> Verdict {
    match revision.flaw {
        Flaw::Retries => return Verdict::Retry,
        Flaw::Rejects if id.is_multiple_of(2) => return Verdict::Reject,
        Flaw::Traps if id.is_multiple_of(5) => return Verdict::Trap,
        _ => {}
    }
    match fate {
        Fate::RetryUntil(tries) if attempt < tries => Verdict::Retry,
        Fate::TrapUntil(tries) if attempt < tries => Verdict::Trap,
        Fate::AlwaysRetry => Verdict::Retry,
        Fate::Reject => Verdict::Reject,
        Fate::Trap => Verdict::Trap,
        Fate::Ok | Fate::RetryUntil(_) | Fate::TrapUntil(_) | Fate::TooLarge | Fate::Unreadable => Verdict::Handled,
    }
}

impl Invoker for SimInvoker {
    fn free(&mut self) -> usize {
        self.most.saturating_sub(self.running.load(Ordering::Relaxed))
    }

    fn start(&mut self, call: Call) {
        let free = self.free();
        let mut world = lock(&self.world);
        if world.breaks(self.node, Spot::Call) {
            drop(world);
            panic!("planted: a call breaks the loop");
        }
        if free == 0 {
            world.violation("invoker protocol", "a call starts although no instance is free".to_owned());
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        world.call(self, call);
    }

    fn shrink(&mut self) {}
}

impl World {
    fn call(&mut self, invoker: &SimInvoker, call: Call) {
        let node = invoker.node;
        let ids: Vec<usize> =
            call.batch.records().map(|record| record.value().and_then(id_of).unwrap_or(usize::MAX)).collect();
        if ids.iter().any(|&id| id >= self.items.len()) {
            return self.violation("call", "a record of a call is not one of the load".to_owned());
        }
        self.tell(|world| {
            let name = &world.nodes[node].name;
            let (topic, number) = (call.batch.topic(), call.batch.partition());
            let tries: Vec<_> =
                ids.iter().zip(call.batch.attempts()).map(|(id, attempt)| format!("{id}#{attempt}")).collect();
            format!("{name}: {} called with {} of {topic}/{number}", invoker.revision, tries.join(" "))
        });
        let is_shadow = self.check_lane(node, invoker.revision, &ids, &call);
        let refused = self.nodes[node].instances_refused_until > self.now() || invoker.revision.flaw == Flaw::NoStart;
        let (result, time, worked, outcome_bytes) = if refused {
            (Err(CallError::NoInstance("no memory".to_owned())), ms(1), Vec::new(), 0)
        } else {
            self.run(invoker, is_shadow, &ids, &call)
        };
        let started = self.chance(2).then_some(ms(1));
        let ending = Ending {
            incarnation: self.nodes[node].incarnation,
            completion: Completion {
                id: call.id,
                batch: Some(call.batch),
                result,
                started,
                elapsed: time,
                outcome_bytes,
            },
            running: invoker.running.clone(),
            worked,
            member: self.nodes[node].member,
        };
        self.after(time, Event::CallEnds { node, ending: Box::new(ending) });
    }

    /// What the function does with the records of a call, and how long it takes.
    #[allow(clippy::type_complexity)] // the parts of an ending
    fn run(
        &mut self,
        invoker: &SimInvoker,
        is_shadow: bool,
        ids: &[usize],
        call: &Call,
    ) -> (Result<Checked, CallError>, Duration, Vec<(usize, u32, Option<u64>)>, usize) {
        let items = self.items.clone();
        let is_alone = ids.len() == 1 && invoker.running.load(Ordering::Relaxed) == 1;
        let is_probe = is_alone && self.nodes[invoker.node].says("most-fail");
        let mut time = self.between(Duration::from_micros(50), ms(2));
        let mut outcome = Outcome::default();
        let (mut worked, mut trapped) = (Vec::new(), false);
        for (index, (&id, &attempt)) in ids.iter().zip(call.batch.attempts()).enumerate() {
            let item = &items[id];
            time += item.takes;
            let verdict = verdict(id, item.fate, attempt, invoker.revision);
            let grant = self.believes(invoker.node, id);
            if !is_shadow {
                self.note_try(invoker, id, attempt, verdict, (call.batch.offsets()[index], is_probe));
            }
            let reason = match verdict {
                Verdict::Trap => {
                    trapped = true;
                    continue;
                }
                Verdict::Handled => {
                    worked.extend((!is_shadow).then_some((id, attempt, grant)));
                    None
                }
                Verdict::Retry => Some(Fault::new(Cause::Retry, "later")),
                Verdict::Reject => Some(Fault::new(Cause::Reject, "never")),
            };
            // One that fails may have emitted something before it failed.
            let emits = reason.is_none() || id % 2 == 0;
            outcome.failures.extend(reason.map(|fault| (index as u32, fault)));
            for (number, &topic) in item.messages.iter().enumerate().filter(|_| emits) {
                let copied = if item.copied { item.padding } else { 0 };
                let value = format!("{id} {number} {attempt} {}", ".".repeat(copied));
                outcome.sources.push(index as u32);
                outcome.topics.push(Some(TOPICS[topic].as_bytes()));
                outcome.values.push(Some(value.as_bytes()));
            }
        }
        if self.cluster.slow_calls && self.chance(2) {
            // A neighbour on the machine, a slow answer of somebody else.
            time += self.between(ms(100), ms(3_000));
        }
        if trapped {
            let fault = Fault::new(Cause::Trap, "broken");
            return (Err(CallError::Fault(fault)), time, Vec::new(), 0);
        }
        if is_shadow {
            Self::mark_shadow(&mut outcome);
        }
        let outcome_bytes = outcome.values.data.len() * self.memory.outcome_weight;
        if outcome_bytes > call.outcome_bytes {
            return (Err(CallError::OutcomeTooLarge { granted: call.outcome_bytes }), time, Vec::new(), 0);
        }
        let checked = outcome.check(ids.len(), &invoker.topics).and_then(|checked| checked.check_size(&call.batch));
        (checked.map_err(CallError::Fault), time, worked, outcome_bytes)
    }

    /// A revision whose outcomes count is called with a record.
    fn note_try(
        &mut self,
        invoker: &SimInvoker,
        id: usize,
        attempt: u32,
        verdict: Verdict,
        (offset, is_probe): (i64, bool),
    ) {
        self.check_try(invoker.node, id, attempt, offset);
        let at = self.now();
        self.books.tried(id, Try { at, attempt, verdict, revision: invoker.revision.number });
        if let Some(place) = self.books.place(id) {
            let handled = verdict == Verdict::Handled;
            self.nodes[invoker.node].probes.tried((id, place), is_probe, handled, at);
        }
    }

    /// A call ended. What the function did for its records is done, whoever wants to know.
    pub fn call_ends(&mut self, node: usize, ending: Ending) {
        let Ending { incarnation, completion, running, worked, member } = ending;
        if self.nodes[node].incarnation != incarnation || !self.nodes[node].alive {
            return;
        }
        running.fetch_sub(1, Ordering::Relaxed);
        let same_member = self.nodes[node].member == member;
        for (id, attempt, grant) in worked {
            let source = self.books.place(id);
            let owns = same_member
                && self.believes(node, id) == grant
                && source.and_then(|source| self.group.grant(source)) == grant;
            self.books.took_effect(Effect {
                at: self.now(),
                emitted: Emitted { id, kind: Kind::Work { attempt } },
                place: None,
                producer: 0,
                grant,
                stray: grant.is_some() && !owns,
            });
        }
        let Some(completions) = self.nodes[node].completions.clone() else { return };
        if completions.try_send(completion).is_err() && !completions.is_closed() {
            self.violation("invoker protocol", "the channel for completions is full".to_owned());
        }
        self.wake(node);
    }
}
