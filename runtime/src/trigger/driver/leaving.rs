//! Joining the group, and the one way out of it.

use std::time::{Duration, Instant};

use super::{Driver, FIRST_PAUSE, Phase, Why};
use crate::kafka::{Broker as _, Clients};
use crate::trigger::health::Condition;
use crate::trigger::retreat::{Drains, Retreat, Step};

/// How long messages may take after the last call, when a trigger stops.
const LAST_MESSAGES: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// The longest pause before a client is built again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A client that lived so long was well: the next pause is the first one again.
const WELL: Duration = Duration::from_secs(60);

impl<C: Clients> Driver<C> {
    /// Makes a client. It joins the group when the topics are known to be there.
    pub(super) fn join(&mut self, now: Instant) {
        self.client += 1;
        self.joined = now;
        self.membership.reset();
        self.topology.reset(now);
        match self.clients.broker(self.flow.budget.grant_queue()) {
            Ok(broker) => {
                self.broker = Some(broker);
                self.phase = Phase::Joined;
            }
            Err(error) => self.part(Why::Broken(error.to_string()), now),
        }
    }

    /// The client is given up. To stop is the only reason that replaces another.
    pub(super) fn end(&mut self, reason: Why, now: Instant) {
        let trigger = &self.context.trigger;
        match &mut self.phase {
            Phase::Over => {}
            Phase::Apart { .. } => {
                if matches!(reason, Why::Stopped) {
                    self.part(reason, now);
                }
            }
            Phase::Leaving { why, .. } => {
                if matches!(reason, Why::Stopped) {
                    *why = reason;
                }
            }
            Phase::Joined => {
                let drains = match reason {
                    Why::Stopped => Drains { calls: trigger.drain, messages: trigger.drain + LAST_MESSAGES },
                    Why::Broken(_) => Drains { calls: Duration::ZERO, messages: Duration::ZERO },
                };
                self.phase = Phase::Leaving { why: reason, retreat: Retreat::new(drains, now), closing: None };
            }
        }
    }

    /// Goes on with the way out.
    pub(super) fn leave(&mut self, now: Instant) {
        loop {
            let work = self.under_way(false);
            let Phase::Leaving { retreat, closing, .. } = &mut self.phase else { return };
            if let Some(limit) = *closing {
                return self.close(limit, now);
            }
            let Some(step) = retreat.next(&work, now) else { break };
            match step {
                Step::DropCalls => self.flow.partitions.iter_mut().for_each(|assigned| assigned.drops_calls = true),
                Step::Purge => self.purge(now),
                Step::Commit => {
                    let number = self.commit(now);
                    if let Phase::Leaving { retreat, .. } = &mut self.phase {
                        retreat.commits(number, now);
                    }
                }
                Step::Done { committed } => {
                    if !committed {
                        tracing::warn!(
                            trigger = %self.context.trigger.name,
                            "the last commit was not confirmed: what was done since the one before may be repeated",
                        );
                    }
                    self.begin_to_close(now);
                }
            }
        }
        self.rebalance(now);
    }

    fn begin_to_close(&mut self, now: Instant) {
        self.flow.revoke_all();
        self.membership.hurry();
        // What the group still waits for is answered before it is left.
        self.rebalance(now);
        self.broker.iter_mut().for_each(|broker| broker.close());
        if let Phase::Leaving { closing, .. } = &mut self.phase {
            *closing = Some(now + CLOSE_LIMIT);
        }
    }

    fn close(&mut self, limit: Instant, now: Instant) {
        self.rebalance(now);
        let is_closed = self.broker.as_ref().is_none_or(|broker| broker.is_closed());
        if !is_closed && now < limit {
            return;
        }
        if !is_closed {
            tracing::warn!(trigger = %self.context.trigger.name, "the group could not be left in time");
        }
        let Phase::Leaving { why, .. } = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        self.part(why, now);
    }

    /// There is no client any more.
    pub(super) fn part(&mut self, why: Why, now: Instant) {
        self.flow.revoke_all();
        self.membership.reset();
        self.durability.forget_commits();
        self.topology.reset(now);
        self.broker = None;
        self.silent_group = None;
        let Why::Broken(reason) = why else {
            drop(self.flow.delivery.take());
            self.phase = Phase::Over;
            return;
        };
        if now.saturating_duration_since(self.joined) > WELL {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause;
        tracing::info!(trigger = %self.context.trigger.name, "the Kafka client is made anew in {pause:?}: {reason}");
        self.health.set(Condition::Restarting, reason, now);
        self.phase = Phase::Apart { until: now + pause };
        self.pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
