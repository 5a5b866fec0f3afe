//! Judges a history. It knows the input and the manifest, and what the [books](super::books) say.
//!
//! | promise | how it is judged |
//! |---|---|
//! | nothing lost | whenever something is committed as done, all of its effects are there; in the end every record has them |
//! | nothing stale | for each key group and output partition the last effect is that of the group's last record there |
//! | order | within one grant and producer effects of a key group are in order |
//! | repeats | no record is tried that its owner knows to be committed as done; attempts are not forgotten |
//! | nothing stuck | [`watch`](super::watch) while it runs, [`finished`](World::finished) in the end |
//! | candidates and holds | [`trials`](super::trials) |
//! | nothing hidden | who stands still for long does not say `Running` |
//!
//! One exception, as at-least-once allows no better: a *stray* effect, of a request that was written
//! while its sender owned the partition and came to be appended when it did not any more. Such
//! effects count as effects of their record, but say nothing about order.

use std::collections::{BTreeMap, BTreeSet};

use super::books::{KeyGroup, Kind};
use super::function::Verdict;
use super::group::{Granted, Stored};
use super::load::{DEAD, Fate, TOPICS};
use super::time::ms;
use super::topics::Place;
use super::world::{Node, World};
use crate::manifest::{OnExhausted, Start};
use crate::trigger::progress::Progress;
use crate::trigger::status::State;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one; shrinking looks for the same one.
    pub promise: &'static str,
    pub text: String,
}

/// Where an effect is: a partition and the incarnation of its topic; `None`: what functions did beside messages.
type Where = Option<(Place, u32)>;

/// For each key group and place, by offset and number, its newest record with an effect there, and the record
/// of the last effect; and which effect was the last, of a record and at a place.
#[derive(Default)]
struct Ends {
    highest: BTreeMap<(KeyGroup, Where), (i64, usize)>,
    last: BTreeMap<(KeyGroup, Where), (i64, usize)>,
    last_of: BTreeMap<usize, usize>,
    last_at: BTreeMap<(KeyGroup, Where), usize>,
    /// The last message of a record that lies elsewhere than it should.
    misplaced: BTreeMap<usize, usize>,
}

impl Ends {
    fn add(&mut self, at: (KeyGroup, Where), here: (i64, usize), number: usize) {
        let high = self.highest.entry(at).or_insert(here);
        *high = here.max(*high);
        self.last.insert(at, here);
        self.last_of.insert(here.1, number);
        self.last_at.insert(at, number);
    }
}

impl World {
    pub fn violation(&mut self, promise: &'static str, text: String) {
        self.tell(|_| format!("VIOLATION of \"{promise}\": {text}"));
        self.violations.push(Violation { promise, text });
    }

    /// Where a record is, for people.
    pub(super) fn record(&self, id: usize) -> String {
        let place = self.books.pages[id]
            .found
            .map_or("nowhere".to_owned(), |found| format!("{}@{}", self.place(found.place), found.offset));
        format!("record {id} ({place}, {})", self.items[id])
    }

    /// A member is given partitions: from now on it can know what is committed for them.
    pub fn note_known(&mut self, member: u64, granted: &[Granted]) {
        for &Granted { place, .. } in granted {
            // What is behind the end speaks of another topic of that name.
            let end = self.topics[place.topic].log(place.partition).map_or(0, |log| log.end);
            let stored = self.group.committed(place).filter(|stored| stored.offset <= end);
            let known = stored.map_or(Progress::at(0), |stored| {
                Progress::decode(stored.offset, &stored.metadata).unwrap_or_else(|_| Progress::at(stored.offset))
            });
            self.books.know(member, place, known);
        }
    }

    /// A partition is begun, or gone on with.
    pub fn note_start(&mut self, place: Place, offset: i64) {
        self.books.begun(place, self.now());
        let fresh = self.group.committed(place).is_none();
        // Partitions that are added to a topic later are read from their beginning, if the group starts at
        // the end. Who comes after a topic was made anew cannot know that it was.
        let at_start = self.trigger.start != Start::Latest
            || self.topics[place.topic].incarnation > 1
            || place.partition < self.group.begun(place.topic);
        if fresh && at_start && self.trigger.start != Start::Earliest {
            self.books.started(place, offset);
        }
    }

    /// The function is called with a record.
    pub fn check_try(&mut self, node: usize, id: usize, attempt: u32, offset: i64) {
        let page = &self.books.pages[id];
        let Some(found) = page.found else { return };
        let failed = page.tries.iter().filter(|tried| tried.verdict != Verdict::Handled).count() as u32;
        let fate = self.items[id].fate;
        if found.offset != offset {
            let text = format!("{} is called as offset {offset}", self.record(id));
            self.violation("record", text);
        }
        if fate == Fate::Unreadable {
            let text = format!("the function is given {}", self.record(id));
            self.violation("record", text);
        }
        // A refused message counts as a failed attempt too.
        let is_first = self.topics[found.place.topic].incarnation == 1;
        if is_first && fate != Fate::TooLarge && attempt > failed + 1 {
            let text = format!("{} failed {failed} times, and is at attempt {attempt}", self.record(id));
            self.violation("attempts", text);
        }
        let same = is_first && found.incarnation == 1;
        let member = self.nodes[node].member.unwrap_or(0);
        let Some(known) = self.books.known(member, found.place).filter(|_| same) else { return };
        let done = offset < known.low || known.is_done(offset);
        let least = known.failed(offset).map_or(1, |failed| failed.attempts + 1);
        if done {
            let text = format!("{} is called although it is committed as done", self.record(id));
            self.violation("repeats", text);
        } else if attempt < least && !self.books.any_trial {
            let text = format!("{} is at attempt {attempt}; {} failed ones are committed", self.record(id), least - 1);
            self.violation("attempts", text);
        }
    }

    /// A commit may cross the deletion of its topic, and then says of another topic's records that they
    /// are done. So may an offset where to begin, which is committed then. Kafka cannot tell, and neither can a
    /// member.
    pub fn excuse_crossing(&mut self, stored: &Stored) {
        let topic = &self.topics[stored.place.topic];
        let Some(log) = topic.log(stored.place.partition) else { return };
        let was_beyond = topic.incarnation > 1 && stored.offset > log.end;
        if stored.incarnation != topic.incarnation || was_beyond {
            let ids: Vec<usize> = log.entries().iter().map(|entry| entry.id).collect();
            self.books.removed(&ids);
            self.group.crossed.insert(stored.place);
        }
    }

    /// A position is committed: what it says is done must be.
    pub fn check_commit(&mut self, stored: &Stored) {
        let now = self.now();
        let before = self.group.committed(stored.place).map_or(0, |before| before.offset);
        let progress = Progress::decode(stored.offset, &stored.metadata);
        let Ok(progress) = progress else {
            return self.violation("progress", format!("metadata {:?} cannot be read", stored.metadata));
        };
        // A commit may cross the deletion of its topic, and then speaks of records that are gone.
        let topic = &self.topics[stored.place.topic];
        let Some(log) = topic.log(stored.place.partition).filter(|_| topic.incarnation == 1) else { return };
        let entries = log.from(before.min(stored.offset)).iter();
        let done = entries.filter(|entry| entry.offset < progress.low || progress.is_done(entry.offset));
        let lost = done.map(|entry| entry.id).find(|&id| !self.books.is_settled(id, now));
        if let Some(id) = lost {
            let text = format!(
                "{} is committed as done ({} and {:?}), but not all of its effects are there",
                self.record(id),
                progress.low,
                progress.done
            );
            self.violation("nothing lost", text);
        }
    }

    /// Whether something waits for a person, as the manifest says.
    pub(super) fn may_pause(&self) -> bool {
        let now = self.now();
        let given_up = |id: usize| {
            let page = &self.books.pages[id];
            page.found.is_some() && !self.books.is_settled(id, now) && self.books.is_exhausted(id, now)
        };
        self.trigger.on_exhausted == OnExhausted::Pause && (0..self.items.len()).any(given_up)
    }

    /// Whether somebody has to publish another revision.
    fn is_paused(&self) -> bool {
        let paused = |node: &Node| node.alive && node.state() == Some(State::Paused);
        self.trigger.on_exhausted == OnExhausted::Pause && self.nodes.iter().any(paused)
    }

    /// Whether all is done, or stands still as the manifest says.
    pub fn finished(&self) -> bool {
        let alive = || self.nodes.iter().filter(|node| node.alive);
        if self.is_paused() {
            return true;
        }
        let well = |node: &Node| node.state() == Some(State::Running) || node.rests();
        self.open().is_none() && self.uncommitted().is_none() && alive().all(well)
    }

    /// Why it is not finished.
    pub fn unfinished(&self) -> String {
        let states: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| node.alive)
            .map(|node| format!("{} is {:?} ({})", node.name, node.state(), node.reason().unwrap_or_default()))
            .collect();
        let open = self.open().map(|id| format!("{} is not settled", self.record(id)));
        let uncommitted = self.uncommitted().map(|place| format!("{} is not committed to its end", self.place(place)));
        [open, uncommitted, Some(states.join(", "))].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// A record that is not settled.
    fn open(&self) -> Option<usize> {
        let now = self.now();
        (0..self.items.len()).find(|&id| !self.books.is_settled(id, now))
    }

    /// A partition whose progress does not say that all is done.
    fn uncommitted(&self) -> Option<Place> {
        for (topic, known) in self.topics.iter().enumerate().take(super::load::INPUTS) {
            for partition in 0..known.count() {
                let place = Place { topic, partition };
                let log = known.log(partition)?;
                let stored = self.group.committed(place);
                let progress = stored.and_then(|stored| Progress::decode(stored.offset, &stored.metadata).ok());
                let progress = progress.unwrap_or_default();
                let open = log.entries().iter().any(|entry| {
                    let page = &self.books.pages[entry.id];
                    let skipped = page.before_start || page.removed;
                    !skipped && entry.offset >= progress.low && !progress.is_done(entry.offset)
                });
                if open {
                    return Some(place);
                }
            }
        }
        None
    }

    /// What lies in the topics when all is over.
    pub fn judge(&mut self) {
        let ends = self.judge_order();
        self.judge_ends(&ends);
        self.judge_dead_letters();
    }

    /// The order of effects.
    fn judge_order(&mut self) -> Ends {
        let mut ends = Ends::default();
        // By who sent them: producer and grant.
        type Sender = (u64, Option<u64>);
        let mut in_order: BTreeMap<(Sender, KeyGroup, Where), (i64, usize)> = BTreeMap::new();
        let mut firsts = BTreeSet::new();
        let mut broken = Vec::new();
        for (number, effect) in self.books.effects.iter().enumerate() {
            let id = effect.emitted.id;
            // A message without a key lies anywhere, and at its repetition elsewhere.
            if effect.place.is_some() && self.items[id].key.is_none() {
                continue;
            }
            // The partition that it was for is gone, so it lies in another one, and later than it should.
            if effect.place.is_some() && effect.grant.is_none() {
                ends.misplaced.insert(id, number);
                continue;
            }
            let Some(group) = self.books.key_group(id) else { continue };
            let Some(found) = self.books.pages[id].found else { continue };
            let here = (found.offset, id);
            // Nobody could take it back; it is no harm where nothing newer lies before it.
            if effect.stray && ends.highest.get(&(group, effect.place)).is_some_and(|high| *high > here) {
                continue;
            }
            ends.add((group, effect.place), here, number);
            if matches!(effect.emitted.kind, Kind::Work { .. }) {
                continue;
            }
            let before = in_order.insert(((effect.producer, effect.grant), group, effect.place), here);
            // What is repeated goes back, and what came after it follows again.
            let is_first = firsts.insert((id, effect.place));
            if let Some(before) = before.filter(|before| is_first && *before > here) {
                broken.push((before.1, effect.emitted.clone(), effect.place));
            }
        }
        for (before, emitted, place) in broken.into_iter().take(3) {
            let place = place.map_or("work".to_owned(), |(place, _)| self.place(place));
            let text = format!("{emitted} follows {} in {place}, from the same owner", self.record(before));
            self.violation("order", text);
        }
        ends
    }

    /// Which effect of a key group is the last.
    fn judge_ends(&mut self, ends: &Ends) {
        // What stands still until another revision is published follows then.
        if self.has_paused || self.may_pause() || self.is_paused() {
            return;
        }
        let mut stale = Vec::new();
        for (at, &(_, last)) in &ends.last {
            let newest = ends.highest[at].1;
            // What is repeated ends where its topic is deleted meanwhile.
            let removed = self.books.pages[newest].removed;
            let misplaced = ends.misplaced.get(&newest).is_some_and(|&number| number > ends.last_at[at]);
            // The topic was made anew before the repetition went on, which it did in the new one.
            let is_gone = at.1.is_some_and(|(place, incarnation)| incarnation < self.topics[place.topic].incarnation);
            let misplaced = misplaced || is_gone && ends.last_of[&newest] > ends.last_at[at];
            if newest != last && !removed && !misplaced && !self.ended_elsewhere(ends, at, last, newest) {
                stale.push((last, newest, at.1));
            }
        }
        for (last, newest, place) in stale.into_iter().take(3) {
            let place = place.map_or("what functions did".to_owned(), |(place, _)| self.place(place));
            let text =
                format!("the last of its key in {place} is of {}, not of {}", self.record(last), self.record(newest));
            self.violation("nothing stale", text);
        }
    }

    /// A record that failed at some try may have ended differently when it was repeated: as a dead letter
    /// and then not, or the other way. What it did then may lie before what the one ahead of it did,
    /// because it lies elsewhere.
    fn ended_elsewhere(&self, ends: &Ends, at: &(KeyGroup, Where), last: usize, newest: usize) -> bool {
        let tries = |id: usize| &self.books.pages[id].tries;
        let letters = at.1.is_some_and(|(place, _)| place.topic == DEAD);
        let failed = tries(newest).iter().any(|tried| tried.verdict != Verdict::Handled);
        let repeated = tries(newest).last().is_some_and(|newest| {
            let follows = tries(last).last().is_none_or(|last| last.at <= newest.at);
            follows && letters == (newest.verdict == Verdict::Handled)
        });
        failed && (repeated || ends.last_of[&newest] > ends.last_at[at])
    }

    /// Only records that failed become dead letters, after as many attempts as the manifest says, and
    /// none twice from the same owner, unless it gave the partition back meanwhile: the group may give it to the
    /// same one before it knows of that.
    fn judge_dead_letters(&mut self) {
        let mut wrong = Vec::new();
        let mut last = BTreeMap::new();
        for effect in &self.books.effects {
            let Kind::DeadLetter { attempts, cause } = &effect.emitted.kind else { continue };
            let id = effect.emitted.id;
            let page = &self.books.pages[id];
            let failed: Vec<_> =
                page.tries.iter().filter(|tried| tried.verdict != Verdict::Handled && tried.at <= effect.at).collect();
            let retry = &self.trigger.retry;
            // Ages are kept in whole seconds.
            let slack = retry.max_backoff + ms(1_000);
            let aged = failed.first().is_some_and(|first| effect.at + slack >= first.at + retry.max_age);
            // What is committed may speak of a record that had the same offset before the topic was made anew.
            let aged = aged || page.found.is_some_and(|found| found.incarnation > 1);
            let deserved = match (self.items[id].fate, cause.as_str()) {
                (Fate::TooLarge, "output") | (Fate::Unreadable, "unreadable") => true,
                (_, "output" | "unreadable") => false,
                (_, "reject") => failed.iter().any(|tried| tried.verdict == Verdict::Reject),
                _ => *attempts >= retry.attempts.get() || aged,
            };
            if !deserved || failed.is_empty() && cause != "output" && cause != "unreadable" {
                wrong.push(format!("{} does not deserve it, {}", effect.emitted, self.record(id)));
            }
            let before = last.insert((id, effect.producer, effect.grant), effect.at);
            let began_anew =
                |before| page.found.is_some_and(|found| self.books.has_begun(found.place, before, effect.at));
            if before.is_some_and(|before| !began_anew(before)) {
                wrong.push(format!("{} is the second one from the same owner", effect.emitted));
            }
        }
        wrong.into_iter().take(3).for_each(|text| self.violation("dead letters", text));
        debug_assert_eq!(TOPICS[DEAD], "dead");
    }
}
