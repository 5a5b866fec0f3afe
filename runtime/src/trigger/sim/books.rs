//! What happened: where each record of the load lies, every try of the function, every effect, what
//! each member knows to be committed. The [oracle](super::oracle) judges by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::function::Verdict;
use super::group::Stored;
use super::load::{Fate, Item};
use super::topics::Place;
use crate::manifest::{OnExhausted, Ordering, RetryPolicy, Trigger};
use crate::trigger::progress::Progress;

/// What came of a record.
#[derive(Clone, Debug)]
pub struct Emitted {
    pub id: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// The message of this number, of the try of this number.
    Message {
        index: usize,
        attempt: u32,
    },
    DeadLetter {
        attempts: u32,
        cause: String,
    },
    /// What the function did beside its messages.
    Work {
        attempt: u32,
    },
}

impl fmt::Display for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Message { index, attempt } => write!(f, "message {index} of record {} (try {attempt})", self.id),
            Kind::DeadLetter { attempts, cause } => {
                write!(f, "dead letter of record {} ({cause}, {attempts} tries)", self.id)
            }
            Kind::Work { attempt } => write!(f, "work for record {} (try {attempt})", self.id),
        }
    }
}

/// Something that a record did to the world.
#[derive(Clone, Debug)]
pub struct Effect {
    pub at: Duration,
    pub emitted: Emitted,
    /// The partition that it was appended to, and which incarnation of the topic. `None`: it is work.
    pub place: Option<(Place, u32)>,
    pub producer: u64,
    /// Under which grant the sender owned the record's partition. `None`: it did not.
    pub grant: Option<u64>,
    /// It was out of the sender's hands when the sender lost the partition.
    pub stray: bool,
}

/// A try of the function at a record.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    pub at: Duration,
    /// Its number, as far as who called knows of others.
    pub attempt: u32,
    pub verdict: Verdict,
    /// The number of the revision.
    pub revision: u32,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub place: Place,
    pub incarnation: u32,
    pub offset: i64,
    pub at: Duration,
}

/// What is known of a record.
#[derive(Default)]
pub struct Page {
    pub found: Option<Found>,
    /// It was never produced, or is not in the topic any more.
    pub removed: bool,
    /// It lay in the topic before the group began, and the manifest says to start behind it.
    pub before_start: bool,
    pub tries: Vec<Try>,
    /// Which of its messages were appended.
    seen: BTreeSet<usize>,
    pub dead_letters: u32,
    worked: bool,
    /// When it took effect last, and under which grant its partition was owned then by who handled it.
    pub last_effect: Duration,
    pub last_grant: Option<u64>,
}

/// Records that keep their order among each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyGroup {
    place: Place,
    incarnation: u32,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Key(u32),
    Partition,
    Record(usize),
}

pub struct Books {
    pub pages: Vec<Page>,
    pub effects: Vec<Effect>,
    /// Effects that nobody could take back.
    pub strays: u64,
    fates: Vec<Fate>,
    keys: Vec<Option<u32>>,
    messages: Vec<usize>,
    ordering: Ordering,
    on_exhausted: OnExhausted,
    retry: RetryPolicy,
    /// When an owner began with a partition.
    begun: BTreeMap<Place, Vec<Duration>>,
    /// What a member knows to be committed.
    known: BTreeMap<(u64, Place), Progress>,
    commits: BTreeMap<(u64, u64), Vec<Stored>>,
    /// What nodes took and did not finish, in bytes.
    held: BTreeMap<(usize, usize), usize>,
    /// When something was finished last.
    pub last_progress: Duration,
    /// Numbers of revisions that were tried and never served: what they give up is not given up.
    pub on_trial: BTreeSet<u32>,
    /// Some revision was tried at some time.
    pub any_trial: bool,
}

impl Books {
    pub fn new(items: &[Item], trigger: &Trigger) -> Self {
        Self {
            pages: items.iter().map(|_| Page::default()).collect(),
            effects: Vec::new(),
            strays: 0,
            fates: items.iter().map(|item| item.fate).collect(),
            keys: items.iter().map(|item| item.key).collect(),
            messages: items.iter().map(|item| item.messages.len()).collect(),
            ordering: trigger.ordering,
            on_exhausted: trigger.on_exhausted,
            retry: trigger.retry,
            begun: BTreeMap::new(),
            known: BTreeMap::new(),
            commits: BTreeMap::new(),
            held: BTreeMap::new(),
            last_progress: Duration::ZERO,
            on_trial: BTreeSet::new(),
            any_trial: false,
        }
    }

    pub fn produced(&mut self, id: usize, found: Found) {
        self.pages[id].found = Some(found);
    }

    pub fn never_produced(&mut self, id: usize) {
        self.pages[id].removed = true;
    }

    /// Records were removed by retention, or with their topic.
    pub fn removed(&mut self, ids: &[usize]) {
        ids.iter().for_each(|&id| self.pages[id].removed = true);
    }

    pub fn place(&self, id: usize) -> Option<Place> {
        self.pages[id].found.map(|found| found.place)
    }

    pub fn key_group(&self, id: usize) -> Option<KeyGroup> {
        let Found { place, incarnation, .. } = self.pages[id].found?;
        let of = match (self.ordering, self.keys[id]) {
            (Ordering::Partition, _) => Of::Partition,
            (Ordering::Key, Some(key)) => Of::Key(key),
            (Ordering::Key | Ordering::None, _) => Of::Record(id),
        };
        Some(KeyGroup { place, incarnation, of })
    }

    pub fn tried(&mut self, id: usize, tried: Try) {
        self.pages[id].tries.push(tried);
    }

    pub fn took_effect(&mut self, effect: Effect) {
        let page = &mut self.pages[effect.emitted.id];
        match effect.emitted.kind {
            Kind::Message { index, .. } => drop(page.seen.insert(index)),
            Kind::DeadLetter { .. } => page.dead_letters += 1,
            Kind::Work { .. } => page.worked = true,
        }
        (page.last_effect, page.last_grant) = (effect.at, effect.grant);
        self.strays += u64::from(effect.stray);
        self.last_progress = effect.at;
        self.effects.push(effect);
    }

    /// A record was tried so often, or for so long, that it may be given up.
    pub fn is_exhausted(&self, id: usize, now: Duration) -> bool {
        self.is_exhausted_by(id, &self.pages[id].tries, now)
    }

    /// Such tries of a record are so many, or the first of them is so long ago, that it may be given up.
    fn is_exhausted_by(&self, id: usize, tries: &[Try], now: Duration) -> bool {
        let counts = |tried: &&Try| tried.verdict != Verdict::Handled && !self.on_trial.contains(&tried.revision);
        let failed: Vec<&Try> = tries.iter().filter(counts).collect();
        // Ages are kept in whole seconds.
        let slack = self.retry.max_backoff + Duration::from_secs(1);
        let aged = failed.first().is_some_and(|first| now + slack >= first.at + self.retry.max_age);
        matches!(self.fates[id], Fate::Unreadable | Fate::TooLarge)
            || failed.iter().any(|tried| tried.verdict == Verdict::Reject)
            || failed.len() >= self.retry.attempts.get() as usize
            || aged
    }

    /// The record has all the effects that it is to have, or needs none.
    pub fn is_settled(&self, id: usize, now: Duration) -> bool {
        self.has_its_effects(id) || self.on_exhausted == OnExhausted::Skip && self.is_exhausted(id, now)
    }

    /// Nobody works at it any more. Where little of the progress fits into a commit, the next owner may know nothing
    /// of earlier tries, and has all of them before it again.
    pub fn is_out_of_the_way(&self, id: usize, now: Duration) -> bool {
        let tries = &self.pages[id].tries;
        let anew = tries.iter().rposition(|tried| tried.attempt == 1).unwrap_or(0);
        let is_skipped = || self.on_exhausted == OnExhausted::Skip && self.is_exhausted_by(id, &tries[anew..], now);
        self.has_its_effects(id) || is_skipped()
    }

    fn has_its_effects(&self, id: usize) -> bool {
        let page = &self.pages[id];
        let is_left_out = page.removed || page.before_start || page.dead_letters > 0;
        is_left_out || page.seen.len() == self.messages[id] && (page.worked || !page.seen.is_empty())
    }

    /// It failed at some try, so a candidate may have given it up.
    pub fn has_failed(&self, id: usize) -> bool {
        self.pages[id].tries.iter().any(|tried| tried.verdict != Verdict::Handled)
    }

    /// It should be handled at its first try.
    pub fn is_healthy(&self, id: usize) -> bool {
        self.fates[id] == Fate::Ok && self.pages[id].tries.iter().all(|tried| tried.verdict == Verdict::Handled)
    }

    /// The group begins with a partition at this offset, and the manifest lets it leave out what is
    /// below. It does so again until something is committed.
    pub fn started(&mut self, place: Place, offset: i64) {
        for page in &mut self.pages {
            page.before_start |= page.found.is_some_and(|found| found.place == place && found.offset < offset);
        }
    }

    /// An owner begins with a partition, or begins again.
    pub fn begun(&mut self, place: Place, now: Duration) {
        self.begun.entry(place).or_default().push(now);
    }

    /// Whether an owner of a partition began with it between these times.
    pub fn has_begun(&self, place: Place, since: Duration, until: Duration) -> bool {
        self.begun.get(&place).is_some_and(|times| times.iter().any(|&at| since < at && at <= until))
    }

    pub fn know(&mut self, member: u64, place: Place, progress: Progress) {
        self.known.insert((member, place), progress);
    }

    pub fn known(&self, member: u64, place: Place) -> Option<&Progress> {
        self.known.get(&(member, place))
    }

    pub fn asked_to_commit(&mut self, member: u64, number: u64, positions: Vec<Stored>) {
        self.commits.insert((member, number), positions);
    }

    /// From a commit that was confirmed on its member knows what is done.
    pub fn commit_ended(&mut self, member: u64, number: u64, done: bool) {
        let positions = self.commits.remove(&(member, number)).unwrap_or_default();
        for stored in positions.into_iter().filter(|_| done) {
            let progress = Progress::decode(stored.offset, &stored.metadata);
            self.known.insert((member, stored.place), progress.unwrap_or_else(|_| Progress::at(stored.offset)));
        }
    }

    /// A node takes records: which ones, and their bytes.
    pub fn taken(&mut self, node: usize, records: impl Iterator<Item = (usize, usize)>) {
        self.held.extend(records.map(|(id, bytes)| ((node, id), bytes)));
    }

    /// A node lets go of what it took of a partition: it is read again.
    pub fn let_go(&mut self, node: usize, place: Place) {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|&(holder, id), _| holder != node || self.place(id) != Some(place));
        self.held = held;
    }

    /// Bytes of the records that a node took, still owns, and that are not finished.
    pub fn held_bytes(&mut self, node: usize, now: Duration, owns: impl Fn(Place) -> bool) -> usize {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|&(holder, id), _| {
            holder != node || !self.is_settled(id, now) && self.place(id).is_some_and(&owns)
        });
        let bytes = held.range((node, 0)..(node + 1, 0)).map(|(_, bytes)| bytes).sum();
        self.held = held;
        bytes
    }
}
