//! What the [oracle](super::oracle) looks at while a history runs: is a healthy record held up, does a node
//! hide that it stands still, is there too much in memory?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::books::KeyGroup;
use super::load::{Fate, INPUTS};
use super::time::ms;
use super::topics::{Log, Place};
use super::world::{Event, World};
use crate::manifest::RetryPolicy;
use crate::trigger::progress::{MAX_METADATA, Progress};
use crate::trigger::status::State;

/// How long a healthy record may take while nothing disturbs its owner.
const HELD_UP: Duration = ms(30_000);
/// How long a node may stand still and say that it runs.
const HIDDEN: Duration = ms(40_000);
/// What of a commit's metadata is used, in bytes of what is encoded: base64 takes four characters for three, and
/// something is kept free.
const HEAD_BYTES: u64 = 40;
/// What a record that failed takes, beside its offset, and each offset and length of a range that is done.
const FAILED_BYTES: u64 = 8;
/// How long after it took effect a record is known to be done by who handled it.
const ACKNOWLEDGED: Duration = ms(500);
/// How often memory is weighed in cases that are about it.
const WEIGHS: Duration = ms(50);

/// How long a record may be tried. One for which the manifest allows more has used up its attempts by then.
pub fn retry_time(retry: &RetryPolicy) -> Duration {
    retry.max_age.min(ms(60_000))
}

/// A healthy record that is not handled.
struct Open {
    id: usize,
    node: usize,
    waits: Duration,
}

impl World {
    /// Once a second.
    pub fn watch(&mut self) {
        self.watch_memory();
        self.watch_shadows();
        let now = self.now();
        for seat in self.nodes.iter_mut().filter(|seat| seat.state() != Some(State::Running)) {
            seat.runs_since = now;
        }
        if self.may_pause() {
            self.has_paused = true;
            return;
        }
        self.watch_probes();
        let open = self.all_held_up();
        // It may have had to wait for its window, or for others to fit into a commit, until just now.
        let since =
            |place: &Place, id: usize| self.owed.get(place).filter(|owed| owed.0 == id).map_or(now, |owed| owed.1);
        let owed = open.iter().map(|(place, open)| (*place, (open.id, since(place, open.id)))).collect();
        self.owed = owed;
        let waits = |place: &Place, open: &Open| open.waits.min(now.saturating_sub(self.owed[place].1));
        let longest = open.iter().map(|(place, open)| (waits(place, open), open)).max_by_key(|(waits, _)| *waits);
        let Some((waits, &Open { id, node, .. })) = longest else { return };
        let seat = &self.nodes[node];
        // A producer that forgets a partition shows that when the next message is for it.
        let forgets = self.producers.values().any(|known| known.alive && known.forgets());
        let disturbed = self.disturbances > 0 || now < seat.undisturbed_since || forgets;
        let undisturbed = now.saturating_sub(seat.undisturbed_since);
        // While most records fail, single ones probe whether that is over, of each partition in its turn.
        let owned = seat.member.and_then(|member| self.members.get(&member)).map_or(0, |member| member.owned.len());
        let paused = self.books.place(id).map(|place| seat.probes.paused(place, owned, now.saturating_sub(waits)));
        let paused = paused.unwrap_or_default();
        if !disturbed && waits.min(undisturbed) > HELD_UP + paused {
            let text = format!("{} is held up for {waits:?} on {}; {}", self.record(id), seat.name, self.unfinished());
            return self.violation("nothing stuck", text);
        }
        let still = now.saturating_sub(self.books.last_progress.max(seat.awake_since).max(seat.runs_since)).min(waits);
        if still > HIDDEN && seat.state() == Some(State::Running) {
            let text = format!("{} stands still for {still:?} and says that it runs: {}", seat.name, self.record(id));
            self.violation("nothing hidden", text);
        }
    }

    /// For each partition the first healthy record that should have been handled by now.
    fn all_held_up(&self) -> Vec<(Place, Open)> {
        let failing = self.failing();
        let mut all = Vec::new();
        for (topic, known) in self.topics.iter().enumerate().take(INPUTS) {
            for partition in 0..known.count() {
                let place = Place { topic, partition };
                let open = known.log(partition).and_then(|log| self.held_up(place, log, &failing));
                all.extend(open.map(|open| (place, open)));
            }
        }
        all
    }

    /// The first healthy record of a partition that should have been handled by now.
    fn held_up(&self, place: Place, log: &Log, failing: &BTreeMap<KeyGroup, u32>) -> Option<Open> {
        let now = self.now();
        let window = self.trigger.window.records.get() as usize;
        let (node, since) = self.owner(place)?;
        let mut ill: BTreeSet<KeyGroup> = BTreeSet::new();
        // What retention removed is still in the window that it was fetched into, if a part of it waits there.
        let (removed, mut failed_ahead) = if log.start > 0 { self.removed(place) } else { (0, 0) };
        let (mut ahead, mut low) = (if failed_ahead > 0 { removed } else { 0 }, 0);
        for entry in log.entries() {
            let group = self.books.key_group(entry.id);
            let is_healthy = self.books.is_healthy(entry.id);
            if self.books.is_out_of_the_way(entry.id, now) {
                ahead += usize::from(ahead > 0);
                continue;
            }
            if ahead == 0 {
                low = entry.offset;
            }
            ahead += 1;
            if !is_healthy || group.is_some_and(|group| ill.contains(&group)) {
                failed_ahead += u64::from(!is_healthy);
                ill.extend(group);
                continue;
            }
            // Behind a record that waits a window has room for so many.
            if ahead * 2 >= window.max(2) || !self.fits_into_commit(ahead as u64, failed_ahead, log.end - low) {
                return None;
            }
            let produced = self.books.pages[entry.id].found.map_or(now, |found| found.at);
            let failed = group.and_then(|group| failing.get(&group)).copied().unwrap_or(0);
            let owed = retry_time(&self.trigger.retry) * failed;
            return Some(Open { id: entry.id, node, waits: now.saturating_sub(since.max(produced) + owed) });
        }
        None
    }

    /// Whether progress certainly fits into a commit, with so many records from the oldest open one on of which
    /// so many failed. One that is the oldest itself always may run.
    fn fits_into_commit(&self, records: u64, failed: u64, span: i64) -> bool {
        let mut metadata = MAX_METADATA;
        while metadata > self.cluster.metadata_limit {
            metadata /= 2;
        }
        let number = u64::from(64 - span.unsigned_abs().leading_zeros()).div_ceil(7).max(1);
        let most = (2 * records + failed) * number + FAILED_BYTES * failed + HEAD_BYTES;
        records <= 1 || most <= metadata as u64 / 4 * 3
    }

    /// How many records are not in a partition's log any more, and how many of them fail.
    fn removed(&self, place: Place) -> (usize, u64) {
        let pages = self.books.pages.iter().enumerate().filter(|(_, page)| page.removed && !page.before_start);
        let removed = || pages.clone().map(|(id, _)| id).filter(|&id| self.books.place(id) == Some(place));
        (removed().count(), removed().filter(|&id| !self.books.is_healthy(id)).count() as u64)
    }

    /// How many records of each key group fail. Those that fail one after another each have their time,
    /// also if they were removed from the log meanwhile.
    fn failing(&self) -> BTreeMap<KeyGroup, u32> {
        let ill = (0..self.items.len()).filter(|&id| !self.books.is_healthy(id));
        let mut failing = BTreeMap::new();
        for group in ill.filter_map(|id| self.books.key_group(id)) {
            *failing.entry(group).or_default() += 1;
        }
        failing
    }

    /// Which node owns a partition and can work, and since when that may be so.
    fn owner(&self, place: Place) -> Option<(usize, Duration)> {
        let now = self.now();
        let member = self.members.values().find(|member| member.owned.contains_key(&place))?;
        let seat = &self.nodes[member.node];
        let able = seat.alive && !seat.stopping && seat.frozen_until.max(seat.stalled_until) <= now;
        able.then_some((member.node, seat.awake_since))
    }

    /// A member gives partitions back, because it was told to at that time. Where nothing went wrong, what was
    /// done by then is committed: the next owner does not do it again.
    pub fn check_gives_back(&mut self, member: u64, since: Duration, places: &[Place]) {
        let may_repeat = self.cluster.metadata_limit < MAX_METADATA
            || self.may_pause()
            || self.items.iter().any(|item| item.fate == Fate::TooLarge);
        let Some(known) = self.members.get(&member) else { return };
        let is_calm = !known.lost && !known.commit_failed && known.commits.is_empty() && self.calm_since < since;
        if may_repeat || !is_calm || self.nodes[known.node].awake_since + ACKNOWLEDGED > since {
            return;
        }
        // By this very owner: it does again what the one before it did not commit.
        let done = |place: &Place, id: usize| {
            let page = &self.books.pages[id];
            let by_itself = known.owned.get(place).is_some_and(|fetcher| page.last_grant == Some(fetcher.grant));
            by_itself && self.books.is_settled(id, since) && page.last_effect + ACKNOWLEDGED < since
        };
        let mut repeated = None;
        for &place in places.iter().filter(|place| self.topics[place.topic].incarnation == 1) {
            let Some(log) = self.topics[place.topic].log(place.partition) else { continue };
            let stored = self.group.committed(place);
            let progress = stored.and_then(|stored| Progress::decode(stored.offset, &stored.metadata).ok());
            let progress = progress.unwrap_or_default();
            let mut open: BTreeSet<KeyGroup> = BTreeSet::new();
            for entry in log.entries().iter().filter(|entry| !self.books.pages[entry.id].before_start) {
                let group = self.books.key_group(entry.id);
                if !done(&place, entry.id) {
                    open.extend(group);
                } else if self.books.is_healthy(entry.id)
                    && group.is_some_and(|group| !open.contains(&group))
                    && entry.offset >= progress.low
                    && !progress.is_done(entry.offset)
                {
                    repeated = repeated.or(Some(entry.id));
                }
            }
        }
        if let Some(id) = repeated {
            let text = format!("{} is done and given back without a commit that says so", self.record(id));
            self.violation("repeats", text);
        }
    }

    /// Weighs what nodes hold, again and again as long as records come or are open.
    pub fn weigh(&mut self) {
        self.watch_memory();
        // Most happens at the beginning.
        let soon = if self.now() < ms(10_000) { WEIGHS } else { 10 * WEIGHS };
        self.after(soon, Event::Weigh);
    }

    fn watch_memory(&mut self) {
        let now = self.now();
        for node in 0..self.nodes.len() {
            let members: Vec<u64> =
                self.members.iter().filter(|(_, known)| known.node == node).map(|(&id, _)| id).collect();
            let owned: BTreeSet<Place> =
                members.iter().flat_map(|member| self.members[member].owned.keys().copied()).collect();
            let fetched: usize = members.iter().map(|&member| self.fetched_bytes(member)).sum();
            let producers = self.producers.values().filter(|known| known.node == node && known.alive);
            let outstanding: usize = producers.map(|known| known.outstanding_bytes).sum();
            let taken = self.books.held_bytes(node, now, |place| owned.contains(&place));
            let neighbours = self.nodes[node].neighbours.iter().map(|neighbour| neighbour.holds).sum::<u64>();
            let held = (fetched + outstanding + taken) as u64 + neighbours;
            // What is reserved for those who come late may be in use until it is given back.
            let late = neighbours.min(self.memory.budget_bytes / 8 * 3);
            if held > self.memory.budget_bytes + self.memory.slack_bytes + late {
                let text = format!(
                    "{} holds {fetched} fetched + {taken} taken + {outstanding} sent, and its neighbours {neighbours}, of {} \
                     bytes",
                    self.nodes[node].name, self.memory.budget_bytes,
                );
                self.violation("nothing grows", text);
            }
        }
    }
}
