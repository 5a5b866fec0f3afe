//! What a member commits, and how it leaves its group.

use super::brokers::{Condition, Request};
use super::group::{Ask, Stored};
use super::member::{Closing, Pending, error};
use super::time::ms;
use super::topics::Place;
use super::world::{Event, World};
use crate::kafka::Error;
use crate::kafka::broker::Event as Told;

impl World {
    /// In which incarnation of a topic a member fetches a partition.
    pub fn incarnation_of(&self, member: u64, place: Place) -> u32 {
        let fetcher = self.members.get(&member).and_then(|known| known.owned.get(&place));
        fetcher.map_or(self.topics[place.topic].incarnation, |fetcher| fetcher.incarnation)
    }

    /// The loop commits.
    pub fn commit(&mut self, member: u64, number: u64, positions: Vec<Stored>) {
        let broker = self.coordinator;
        let there = self.latency();
        let Some(known) = self.member(member) else { return };
        known.commits.insert(number, broker);
        let ask = Ask::Commit { id: known.id, generation: known.generation, number, positions: positions.clone() };
        self.tell(|world| {
            let parts: Vec<_> = positions
                .iter()
                .map(|stored| format!("{} {} {:?}", world.place(stored.place), stored.offset, stored.metadata))
                .collect();
            format!("{}: commits {}", world.who(member), parts.join(", "))
        });
        self.books.asked_to_commit(member, number, positions);
        if self.brokers[broker].condition == Condition::Dead {
            let soon = self.between(ms(1), ms(1_000));
            self.after(soon, Event::CommitEnds { member, number, result: Err("_WAIT_COORD") });
        } else {
            self.after(there, Event::Arrive { broker, request: Request::of_member(member, 0, ask) });
        }
    }

    pub fn commit_ended(&mut self, member: u64, number: u64, result: Result<(), &'static str>) {
        let Some(known) = self.member(member) else { return };
        if known.commits.remove(&number).is_none() {
            return;
        }
        known.events.push_back(Told::Committed { number, result: result.map_err(error) });
        known.commit_failed = result.is_err();
        let (node, closing) = (known.node, known.closing);
        self.tell(|world| match result {
            Ok(()) => format!("{}: commit {number} is done", world.who(member)),
            Err(error) => format!("{}: commit {number} fails: {error}", world.who(member)),
        });
        self.books.commit_ended(member, number, result.is_ok());
        self.wake(node);
        if closing == Closing::Asked {
            self.go_on_closing(member);
        }
    }

    /// The loop wants to leave the group.
    pub fn close(&mut self, member: u64) {
        let Some(known) = self.member(member) else { return };
        if known.closing != Closing::No {
            return;
        }
        let (node, owned) = (known.node, known.owned.keys().copied().collect::<Vec<Place>>());
        if let Some(since) = self.nodes[node].stopping_since {
            self.check_gives_back(member, since, &owned);
        }
        let Some(known) = self.member(member) else { return };
        known.closing = Closing::Asked;
        match known.pending {
            // No second event for what is to be given back already.
            Some(Pending::Revoke(_)) => {}
            _ if !owned.is_empty() => {
                let lost = known.lost;
                self.emit_revoked(member, owned, lost);
            }
            // Either answer ends it.
            Some(Pending::Assign(_)) => {}
            None => self.go_on_closing(member),
        }
    }

    pub fn go_on_closing(&mut self, member: u64) {
        let Some(known) = self.member(member) else { return };
        if known.closing != Closing::Asked || known.pending.is_some() || !known.commits.is_empty() {
            return;
        }
        known.closing = Closing::Leaving;
        match known.id {
            Some(id) => {
                self.ask(member, Ask::Leave { id });
                let patience = self.between(ms(1_000), ms(8_000));
                self.after(patience, Event::GiveUpLeaving { member });
            }
            None => self.closed(member),
        }
    }

    pub fn closed(&mut self, member: u64) {
        let Some(known) = self.member(member) else { return };
        if known.closing == Closing::Closed {
            return;
        }
        known.closing = Closing::Closed;
        known.events.clear();
        let node = known.node;
        self.tell(|world| format!("{}: has left the group", world.who(member)));
        self.wake(node);
    }

    /// The group denies a member access for a moment. Its client says so once.
    pub fn refuse_member(&mut self, node: usize) {
        let Some(member) = self.nodes[node].member else { return };
        let Some(known) = self.member(member) else { return };
        known.events.push_back(Told::Error(error("GROUP_AUTHORIZATION_FAILED")));
        self.wake(node);
    }

    /// The client breaks for good.
    pub fn break_member(&mut self, node: usize) {
        let Some(member) = self.nodes[node].member else { return };
        self.tell(|world| format!("{}: its consumer breaks", world.nodes[node].name));
        let Some(known) = self.member(member) else { return };
        known.events.push_back(Told::Error(Error { fatal: true, ..error("_FATAL") }));
        self.wake(node);
    }
}
