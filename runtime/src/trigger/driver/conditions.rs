//! Keeps an eye on topics, the group and instances, and tells what is wrong.

use std::time::{Duration, Instant};

use super::{Answer, Driver, Phase, SHRINK, Why};
use crate::kafka::{Broker as _, Clients, Error, Metadata, Position, Sink as _};
use crate::trigger::health::{Condition, News, SHOWN};
use crate::trigger::lane::Lane;
use crate::trigger::measures::Lag;
use crate::trigger::partitions::Assigned;
use crate::trigger::route::Route;
use crate::trigger::topology::Side;

/// How long a broker may take to answer about topics.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// How long a group may say nothing.
const NO_ASSIGNMENT: Duration = Duration::from_secs(20);

impl<C: Clients> Driver<C> {
    /// The brokers have told about topics.
    pub(super) fn informed(&mut self, side: Side, result: Result<Metadata, Error>, now: Instant) {
        let consequence = self.topology.answered(side, result, &mut self.health, now);
        if let (Some(outputs), Some(sink)) = (self.topology.outputs(), self.flow.delivery.sink_mut()) {
            sink.update(outputs);
        }
        if let Some(topics) = consequence.subscribe
            && matches!(self.phase, Phase::Joined)
            && let Some(broker) = &mut self.broker
        {
            // The newer protocol (KIP-848) tells a member without partitions nothing.
            if self.context.cluster.properties.get("group.protocol").is_none_or(|protocol| protocol != "consumer") {
                self.silent_group.get_or_insert(now);
            }
            if let Err(error) = broker.subscribe(&topics) {
                self.end(Why::Broken(format!("cannot subscribe: {error}")), now);
            }
        }
        if let Some(reason) = consequence.producer_lost {
            self.replace_producer(&reason, now);
        }
    }

    /// The group does not take this node, or the brokers do not.
    pub(super) fn refused(&mut self, reason: String, now: Instant) {
        self.refused = Some(now);
        self.health.set(Condition::GroupRefused, reason, now);
    }

    /// The group takes this node as a member.
    pub(super) fn accepted(&mut self, now: Instant) {
        self.refused = None;
        self.health.clear(Condition::GroupRefused, now);
    }

    /// The group's coordinator was asked, because it refused this node. An answer is no membership, but a
    /// client that is not let in tries again every few seconds and is refused again.
    pub(super) fn heard_from_group(&mut self, result: &Result<(), Error>, now: Instant) {
        let is_old = self.refused.is_some_and(|refused| now.saturating_duration_since(refused) >= SHOWN);
        if result.is_ok() && is_old {
            self.accepted(now);
        }
    }

    /// Keeps an eye on topics, instances and what is shown.
    pub(super) fn look_around(&mut self, now: Instant) {
        self.watch_outputs(now);
        let (health, flow) = (&mut self.health, &mut self.flow);
        let no_instance = flow.lanes.live().find_map(|(route, lane)| {
            let why = lane.obstacle()?;
            Some(format!("no instance of {} can be started: {why}", whose(route)))
        });
        health.put(Condition::NoInstance, no_instance, now);
        let most_fail = flow.lanes.live().find(|(_, lane)| lane.breaker.is_open());
        let most_fail = most_fail.map(|(route, _)| match route {
            Route::CANARY => "most records of the candidate fail; probing with single ones".to_owned(),
            _ => "most records fail; probing with single ones".to_owned(),
        });
        health.put(Condition::MostFail, most_fail, now);
        let silent = self.silent_group.filter(|since| now.saturating_duration_since(*since) >= NO_ASSIGNMENT);
        let group = &self.context.trigger.group;
        let no_assignment = silent.map(|since| {
            let seconds = now.saturating_duration_since(since).as_secs();
            format!("group {group} has assigned nothing for {seconds} s, not even that there is nothing")
        });
        health.put(Condition::NoAssignment, no_assignment, now);
        if now >= self.next_shrink {
            self.next_shrink = now + SHRINK;
            flow.lanes.live_mut().for_each(Lane::shrink);
        }
        if self.lags.is_due(now)
            && let Some(broker) = &self.broker
        {
            let lag = |it: &Assigned<_>| {
                let records = broker.end(it.partition)?.saturating_sub(it.window.low());
                let (topic, partition) = (it.topic.clone(), it.partition.number);
                Some(Lag { topic, partition, records: u64::try_from(records).unwrap_or_default() })
            };
            let measures = flow.lanes.measured();
            measures.set_lags(flow.partitions.iter().filter_map(lag));
            measures.hold(flow.budget.held_bytes());
        }
        let trigger = &self.context.trigger.name;
        health.pass_time(now, |news| match news {
            News::Began { condition, reason } => tracing::warn!(%trigger, condition = condition.code(), "{reason}"),
            News::Ended { condition, lasted } => {
                tracing::info!(%trigger, condition = condition.code(), "over, after {} s", lasted.as_secs());
            }
        });
    }

    pub(super) fn ask_about_topics(&mut self, now: Instant) {
        let (Some(broker), Some(sink)) = (&mut self.broker, self.flow.delivery.sink()) else { return };
        if !matches!(self.phase, Phase::Joined) || !self.topology.asks(now) {
            return;
        }
        let (client, topics) = (self.client, self.context.trigger.topics.clone());
        let answer = self.answer.clone();
        // An idle member is told nothing when its group is well again.
        let asks_group = self.refused.is_some();
        broker.ask(Box::new(move |reader| {
            let result = reader.metadata(&topics, PROBE_LIMIT);
            let _ = answer.try_send(Answer::Topics { client, side: Side::Inputs, result });
            if asks_group {
                let result = reader.committed(&[Position::of(&topics[0], 0)], PROBE_LIMIT).map(drop);
                let _ = answer.try_send(Answer::Group { client, result });
            }
        }));
        let answer = self.answer.clone();
        sink.ask(Box::new(move |result| {
            let _ = answer.try_send(Answer::Topics { client, side: Side::Outputs, result });
        }));
    }
}

/// Of which of the two revisions something is said.
fn whose(route: Route) -> &'static str {
    match route {
        Route::CANARY => "the candidate",
        _ => "the function",
    }
}
