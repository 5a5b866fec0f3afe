//! The thread that follows the topic.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::{Absent, Beginning, Notice, Settings, Unfit, WRITES, Write};
use crate::kafka::Partition;
use crate::kafka::broker::{Acknowledgement, Batching, Refusal, Sink as _};
use crate::kafka::cleanup::{Compaction, compaction};
use crate::kafka::create::{Created, create_topic_with};
use crate::kafka::describe::{Describer, Description, TopicId};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::list::BEGINNING;
use crate::kafka::scan::{Found, Isolation, Scan};
use crate::kafka::sink::KafkaSink;
use crate::kafka::wake::{Wake, WakeHandle, block_until};
use crate::manifest::Cluster;
use crate::record::outcome::Timestamp;
use crate::record::{Message, Record as _};

/// The settings of a topic that is created.
const TOPIC_SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    // A new node reads the topic whole, so it is compacted often. It is small, so that costs little.
    ("min.cleanable.dirty.ratio", "0.1"),
    ("segment.ms", "3600000"),
    // How long a deletion can be read. A node that was away for longer learns it by reading from the beginning.
    ("delete.retention.ms", "86400000"),
];

/// The time-out of a write, in the client's own setting.
const DELIVERY_MS: &str = "10000";
/// How long a broker waits for new records before it answers a fetch request.
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// How often the brokers are asked whether the topic is still the same one.
const LOOK: Duration = Duration::from_secs(10);
/// How often they are asked while something is wrong.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a question may take until the first one was answered.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How long a request may take that blocks this thread.
const BLOCKING_LIMIT: Duration = Duration::from_secs(2);
/// How long creating the topic may take.
const CREATION_LIMIT: Duration = Duration::from_secs(10);
/// How soon creating the topic is tried again.
const CREATE_AGAIN: Duration = Duration::from_secs(10);
/// If a write was acknowledged and no record is read in this time, the client has lost track of the partition.
const UNSEEN_LIMIT: Duration = Duration::from_secs(30);

const PARTITION: Partition = Partition { topic: 0, number: 0 };

/// Follows the topic until one of the channels is closed, or no client can be created.
pub(super) fn run(settings: Settings, writes: mpsc::Receiver<Write>, notices: &mpsc::Sender<Notice>) {
    let ended = Follower::new(settings, writes, notices.clone()).and_then(Follower::follow);
    if let Err(error) = ended {
        // This fails only if nobody listens any more.
        let _ = notices.blocking_send(Notice::Trouble(error));
    }
}

/// What ended a wait.
enum Woken {
    /// A client has something, a notice can be handed over, or the time has come.
    Work,
    Write(Write),
    /// Nobody uses the topic any more.
    Over,
}

/// The topic that is read.
struct Reading {
    topic: Description,
    /// Caught up when all records before this offset were read. `None`: when the client reports the end.
    goal: Option<i64>,
    caught_up: bool,
    /// The topic did not exist when it was looked for last.
    is_gone: bool,
    /// Whether it was checked that the topic is compacted.
    checked: bool,
}

struct Follower {
    settings: Settings,
    cluster_of_sink: Cluster,
    topics: [String; 1],
    wake: Wake,
    handle: Arc<WakeHandle>,
    writes: mpsc::Receiver<Write>,
    notices: mpsc::Sender<Notice>,
    /// Notices that are not handed over yet. Records are read only while this is empty.
    out: VecDeque<Notice>,
    describer: Describer,
    /// Whether the brokers have described the topic once. The broker of `tidegate dev` never does.
    can_describe: bool,
    scan: Scan,
    sink: KafkaSink,
    /// A new producer is needed as soon as this one has nothing outstanding.
    sink_is_worn: bool,
    reading: Option<Reading>,
    last_look: Option<Instant>,
    next_look: Instant,
    next_creation: Instant,
    /// When a write was acknowledged, if no record was read since then.
    unseen_since: Option<Instant>,
    /// The record at the next offset was deleted, or the client failed to read.
    lost_track: bool,
    read_trouble: Option<Error>,
    write_trouble: Option<Error>,
    reported: Option<ErrorKind>,
}

impl Follower {
    fn new(settings: Settings, writes: mpsc::Receiver<Write>, notices: mpsc::Sender<Notice>) -> Result<Self, Error> {
        let (wake, handle) = Wake::new();
        let topics = [settings.topic.clone()];
        let mut cluster_of_sink = (*settings.cluster).clone();
        // The other names of these properties would override them.
        for other in ["delivery.timeout.ms", "queue.buffering.max.ms"] {
            cluster_of_sink.properties.remove(other);
        }
        for (key, value) in [("message.timeout.ms", DELIVERY_MS), ("linger.ms", "1")] {
            cluster_of_sink.properties.insert(key.to_owned(), value.to_owned());
        }
        let scan = new_scan(&settings, &topics, &handle)?;
        let now = Instant::now();
        Ok(Self {
            describer: Describer::new(scan.client(), &handle)?,
            can_describe: false,
            sink: new_sink(&cluster_of_sink, &settings, &topics, &handle)?,
            scan,
            settings,
            cluster_of_sink,
            topics,
            wake,
            handle,
            writes,
            notices,
            out: VecDeque::new(),
            sink_is_worn: false,
            reading: None,
            last_look: None,
            next_look: now,
            next_creation: now,
            unseen_since: None,
            lost_track: false,
            read_trouble: None,
            write_trouble: None,
            reported: None,
        })
    }

    /// Runs until nobody uses the topic any more. An error means that a client cannot be created.
    fn follow(mut self) -> Result<(), Error> {
        loop {
            if !self.turn()? {
                return Ok(());
            }
            match self.wait() {
                Woken::Work => {}
                Woken::Write(write) => self.send(&write),
                Woken::Over => return Ok(()),
            }
        }
    }

    /// Does all that can be done now. False: nobody uses the topic any more.
    fn turn(&mut self) -> Result<bool, Error> {
        self.renew_sink()?;
        while self.has_room() {
            match self.writes.try_recv() {
                Ok(write) => self.send(&write),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
        self.take_acknowledgements();
        if let Some(answer) = self.describer.answer() {
            self.answered(answer)?;
        }
        while self.hand_over() && self.read() > 0 {}
        if self.scan.connection_error().is_some() {
            self.look_soon();
        }
        self.check_track()?;
        self.check_compaction();
        self.report();
        self.hand_over();
        if !self.describer.is_waiting() && Instant::now() >= self.next_look {
            self.last_look = Some(Instant::now());
            let limit = if self.can_describe { ANSWER_LIMIT } else { FIRST_ANSWER_LIMIT };
            self.describer.ask(&self.settings.topic, limit)?;
        }
        Ok(!self.notices.is_closed())
    }

    fn wait(&mut self) -> Woken {
        let mut until = Instant::now() + LOOK;
        if !self.describer.is_waiting() {
            until = until.min(self.next_look);
        }
        let (has_room, has_notice) = (self.has_room(), !self.out.is_empty());
        let (wake, writes, notices) = (&self.wake, &mut self.writes, &self.notices);
        let woken = block_until(until, async {
            tokio::select! {
                () = wake.wait() => Woken::Work,
                write = writes.recv(), if has_room => write.map_or(Woken::Over, Woken::Write),
                room = notices.reserve(), if has_notice => room.map_or(Woken::Over, |_| Woken::Work),
                () = notices.closed() => Woken::Over,
            }
        });
        woken.unwrap_or(Woken::Work)
    }

    fn has_room(&self) -> bool {
        !self.sink_is_worn && self.sink.outstanding() < WRITES
    }

    fn send(&mut self, write: &Write) {
        let message = Message {
            topic: 0,
            partition: Some(PARTITION.number),
            timestamp: Timestamp::Now,
            key: Some(&write.key),
            value: write.value.as_deref(),
            headers: 0..0,
            token: write.token,
        };
        self.sink.send(&[message], &[]);
    }

    fn take_acknowledgements(&mut self) {
        let mut all = Vec::new();
        self.sink.acknowledgements(&mut |acknowledgement| all.push(acknowledgement));
        for Acknowledgement { token, result } in all {
            let result = result.map_err(|refusal| match refusal {
                Refusal::ForGood(error) | Refusal::WithOthers(error) | Refusal::ForNow(error) => error,
                Refusal::Following => Error::new(ErrorKind::Other, "an earlier record was refused"),
            });
            match &result {
                Ok(()) => {
                    self.write_trouble = None;
                    self.unseen_since.get_or_insert_with(Instant::now);
                }
                Err(error) => {
                    // A time-out is over when the brokers answer again. Other errors may be those of the producer.
                    self.sink_is_worn |= !error.kind.is_unavailable() && error.kind != ErrorKind::TooLarge;
                    if error.kind != ErrorKind::TooLarge {
                        self.write_trouble = Some(error.clone());
                    }
                    self.look_soon();
                }
            }
            self.out.push_back(Notice::Written { token, result });
        }
    }

    fn renew_sink(&mut self) -> Result<(), Error> {
        if self.sink_is_worn && self.sink.outstanding() == 0 {
            self.sink = new_sink(&self.cluster_of_sink, &self.settings, &self.topics, &self.handle)?;
            self.sink_is_worn = false;
        }
        Ok(())
    }

    fn answered(&mut self, answer: Result<Description, Error>) -> Result<(), Error> {
        self.can_describe |= answer.is_ok();
        let answer = match answer {
            Err(error) if !self.can_describe && error.kind != ErrorKind::UnknownTopic => self.ask_for_metadata(),
            answer => answer,
        };
        let now = Instant::now();
        self.next_look = now + LOOK;
        match answer {
            Ok(topic) => {
                self.read_trouble = None;
                match &self.reading {
                    Some(reading) if topic.id.is_another(reading.topic.id) => self.begin(topic, Beginning::New)?,
                    Some(reading) if reading.is_gone => self.begin(topic, Beginning::Same)?,
                    Some(_) => {}
                    None => self.begin(topic, Beginning::Same)?,
                }
            }
            Err(error) => {
                self.next_look = now + LOOK_AGAIN;
                let is_missing = error.kind == ErrorKind::UnknownTopic;
                let why = self.scan.connection_error().filter(|_| error.kind.is_unavailable()).unwrap_or(error);
                self.read_trouble = Some(why);
                if is_missing {
                    self.missing(now);
                }
            }
        }
        Ok(())
    }

    /// Asks what the topic is by a request that every broker knows. Its answer does not contain the id.
    fn ask_for_metadata(&self) -> Result<Description, Error> {
        let partitions = self.scan.partitions(&self.settings.topic, BLOCKING_LIMIT)??;
        Ok(Description { id: TopicId::UNKNOWN, partitions: usize::try_from(partitions).unwrap_or(0) })
    }

    fn missing(&mut self, now: Instant) {
        let topic = &self.settings.topic;
        if let Some(reading) = &mut self.reading {
            reading.is_gone = true;
        }
        self.read_trouble = Some(Error::new(ErrorKind::UnknownTopic, format!("topic {topic} does not exist")));
        if self.settings.absent == Absent::Wait || now < self.next_creation {
            return;
        }
        self.next_creation = now + CREATE_AGAIN;
        let creation = create_topic_with(&self.settings.cluster, topic, 1, TOPIC_SETTINGS, CREATION_LIMIT);
        match block_until(now + CREATION_LIMIT, creation) {
            Some(Ok(Created::Now)) => {
                tracing::info!(topic, "created the topic, with 1 partition and compaction");
                (self.read_trouble, self.next_look) = (None, now);
            }
            Some(Ok(Created::Before)) => (self.read_trouble, self.next_look) = (None, now + LOOK_AGAIN / 4),
            Some(Ok(Created::Unsupported)) | None => {}
            Some(Err(error)) => {
                let reason = format!("topic {topic} does not exist and cannot be created: {}", error.reason);
                self.read_trouble = Some(Error { reason, ..error });
            }
        }
    }

    /// Reads the topic from its beginning, with a new client, because the old one still has records.
    fn begin(&mut self, topic: Description, beginning: Beginning) -> Result<(), Error> {
        if self.reading.is_some() {
            self.scan = new_scan(&self.settings, &self.topics, &self.handle)?;
            self.describer = Describer::new(self.scan.client(), &self.handle)?;
        }
        self.scan.start(PARTITION, BEGINNING)?;
        let is_known = self.reading.as_ref().is_some_and(|reading| !topic.id.is_another(reading.topic.id));
        if topic.partitions > 1 && !is_known {
            self.out.push_back(Notice::Unfit(Unfit::Partitions(topic.partitions)));
        }
        // What a producer knows about the old topic may not fit the new one.
        self.sink_is_worn |= beginning == Beginning::New;
        (self.unseen_since, self.lost_track) = (None, false);
        self.out.push_back(Notice::Begin(beginning));
        let range = self.scan.reader().range(&self.settings.topic, PARTITION.number, BLOCKING_LIMIT);
        let goal = range.as_ref().ok().map(|range| range.end);
        let caught_up = range.is_ok_and(|range| range.is_empty());
        if caught_up {
            self.out.push_back(Notice::CaughtUp);
        }
        self.reading = Some(Reading { topic, goal, caught_up, is_gone: false, checked: is_known });
        Ok(())
    }

    /// Takes records from the client and returns the number of items.
    fn read(&mut self) -> usize {
        let Some(reading) = &mut self.reading else { return 0 };
        let (out, unseen_since, lost_track) = (&mut self.out, &mut self.unseen_since, &mut self.lost_track);
        let mut failed = false;
        let taken = self.scan.take(|_, found| {
            let end = match found {
                Found::Record(record) => {
                    *unseen_since = None;
                    let copy = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                    out.push_back(Notice::Record { key: copy(record.key()), value: copy(record.value()) });
                    reading.goal.is_some_and(|goal| record.offset() + 1 >= goal)
                }
                Found::End(_) => true,
                Found::Deleted => {
                    *lost_track = true;
                    false
                }
                // The client itself tries again, or a look finds out what is wrong.
                Found::Failed(_) => {
                    failed = true;
                    false
                }
            };
            if end && !reading.caught_up {
                reading.caught_up = true;
                out.push_back(Notice::CaughtUp);
            }
        });
        if failed {
            self.look_soon();
        }
        taken
    }

    /// Begins again if the client has lost track of the partition.
    fn check_track(&mut self) -> Result<(), Error> {
        let is_unseen = self.unseen_since.is_some_and(|since| since.elapsed() >= UNSEEN_LIMIT);
        let Some(reading) = self.reading.as_ref().filter(|_| self.lost_track || is_unseen) else { return Ok(()) };
        if reading.is_gone || self.read_trouble.is_some() || !self.out.is_empty() {
            return Ok(());
        }
        let topic = reading.topic;
        if is_unseen {
            tracing::warn!(topic = self.settings.topic, "reading the topic again: records were written but not read");
        }
        // If the topic is another one, the next look begins again.
        self.begin(topic, Beginning::Same)?;
        self.look_soon();
        Ok(())
    }

    fn check_compaction(&mut self) {
        let Some(reading) = self.reading.as_mut().filter(|reading| reading.caught_up && !reading.checked) else {
            return;
        };
        reading.checked = true;
        let end = Instant::now() + 2 * BLOCKING_LIMIT;
        match block_until(end, compaction(&self.settings.cluster, &self.settings.topic, BLOCKING_LIMIT)) {
            Some(Ok(Compaction::Off)) => self.out.push_back(Notice::Unfit(Unfit::NotCompacted)),
            Some(Ok(Compaction::On | Compaction::Unknown)) => {}
            Some(Err(error)) => {
                tracing::debug!(topic = self.settings.topic, "cannot read the topic's settings: {error}")
            }
            None => {}
        }
    }

    /// Reports the beginning and the end of trouble.
    fn report(&mut self) {
        let trouble = self.read_trouble.as_ref().or(self.write_trouble.as_ref());
        let kind = trouble.map(|error| error.kind);
        if kind == self.reported {
            return;
        }
        self.reported = kind;
        self.out.push_back(trouble.map_or(Notice::Fine, |error| Notice::Trouble(error.clone())));
    }

    /// Hands over as many notices as the receiver has room for. True: no notice is left.
    fn hand_over(&mut self) -> bool {
        while let Some(notice) = self.out.pop_front() {
            match self.notices.try_send(notice) {
                Ok(()) => {}
                Err(TrySendError::Full(notice)) => {
                    self.out.push_front(notice);
                    return false;
                }
                Err(TrySendError::Closed(_)) => {}
            }
        }
        true
    }

    fn look_soon(&mut self) {
        let soon = self.last_look.map_or_else(Instant::now, |last| last + LOOK_AGAIN);
        self.next_look = self.next_look.min(soon);
    }
}

fn new_scan(settings: &Settings, topics: &[String], handle: &Arc<WakeHandle>) -> Result<Scan, Error> {
    Scan::with(&settings.cluster, &settings.node, topics, Isolation::Uncommitted, FETCH_WAIT, handle)
}

fn new_sink(
    cluster: &Cluster,
    settings: &Settings,
    topics: &[String],
    handle: &Arc<WakeHandle>,
) -> Result<KafkaSink, Error> {
    KafkaSink::new(cluster, "notices", &settings.node, topics, Batching::Separate, handle)
}
