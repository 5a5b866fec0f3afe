//! What the simple driver does with records.

use std::sync::Arc;
use std::time::Duration;

use super::{Mutant, PIPELINE, Part, Toy};
use crate::engine::{Call, CallError, Completion, MAX_OUTCOME_BYTES};
use crate::kafka::{Acknowledgement, Broker, Partition, Sink, Taken};
use crate::record::batch::Batch;
use crate::record::columns::Field;
use crate::record::outcome::{Cause, Timestamp};
use crate::record::{Header, Message, OwnedRecord, Record};
use crate::trigger::clock::Now;
use crate::trigger::progress::Failed;
use crate::trigger::retry::{self, Verdict};

impl Toy {
    pub(super) fn acknowledge(&mut self, now: Now) {
        let mut came = Vec::new();
        self.sink.acknowledgements(&mut |acknowledgement| came.push(acknowledgement));
        let mut refused = false;
        for Acknowledgement { token, result } in came {
            self.silent_since = Some(now.instant);
            let Some((partition, offset)) = self.tokens.remove(&token) else { continue };
            if let Err(refusal) = result {
                self.in_trouble(now, format!("{refusal:?}"));
                refused = true;
                continue;
            }
            let Some(part) = self.owned.get_mut(&partition) else { continue };
            part.sent.iter_mut().filter(|(sent, _)| *sent == offset).for_each(|(_, open)| *open -= 1);
            part.advance();
        }
        if refused {
            self.replace_sink();
        }
    }

    pub(super) fn take(&mut self) -> bool {
        if self.owned.values().map(|part| part.queue.len()).sum::<usize>() > 50 {
            return false;
        }
        let owned = &mut self.owned;
        let taken = self.broker.take(20, |partition, taken| {
            if let (Taken::Record(record), Some(part)) = (taken, owned.get_mut(&partition)) {
                let mut copy = OwnedRecord::copy_of(&record);
                if record.defect().is_some() {
                    copy.headers.push((b"defect".to_vec(), None));
                }
                part.queue.push_back(copy);
            }
        });
        taken > 0
    }

    /// Calls the function with the next record.
    pub(super) fn call(&mut self, now: Now) -> bool {
        let idle = self.running.is_none() && self.revoking.is_none() && self.stopping.is_none();
        let waits = self.owned.values().any(|part| part.due.is_some_and(|due| now.instant < due));
        if !idle || waits || self.tokens.len() >= PIPELINE || self.invoker.as_mut().is_none_or(|i| i.free() == 0) {
            return false;
        }
        let ready = self.owned.iter().find(|(_, part)| !part.queue.is_empty());
        let Some(partition) = ready.map(|(&partition, _)| partition) else { return false };
        let topic: Arc<str> = self.topic(partition).into();
        let id = self.number();
        let Some(part) = self.owned.get_mut(&partition) else { return false };
        let record = part.queue[0].clone();
        let failed = part.failed.get(&record.offset).copied();
        if record.headers.iter().any(|(name, _)| name == b"defect") {
            self.bury(partition, 1, "unreadable");
            return true;
        }
        let mut batch = Batch::new(topic, partition.number);
        batch.push(&record, failed.map_or(0, |failed| failed.attempts) + 1);
        self.running = Some((id, partition, record.offset));
        if let Some(invoker) = &mut self.invoker {
            invoker.start(Call { id, batch, expected: Duration::ZERO, outcome_bytes: MAX_OUTCOME_BYTES });
        }
        false
    }

    pub(super) fn complete(&mut self, completion: Completion, now: Now) {
        let Some((_, partition, offset)) = self.running.take_if(|(id, ..)| *id == completion.id) else { return };
        let Some(part) = self.owned.get_mut(&partition) else { return };
        let cause = match &completion.result {
            Ok(checked) => checked.failures().first().map(|(_, fault)| fault.cause),
            Err(CallError::Fault(fault)) => Some(fault.cause),
            Err(CallError::NoInstance(_) | CallError::OutcomeTooLarge { .. } | CallError::Bug) => return,
        };
        let Some(cause) = cause else { return self.handled(partition, completion) };
        let before = part.failed.get(&offset).copied();
        let since_unix_s = before.map_or(now.unix_s(), |failed| failed.since_unix_s);
        let attempts = before.map_or(0, |failed| failed.attempts) + 1;
        part.failed.insert(offset, Failed { offset, attempts, since_unix_s, due_unix_s: 0 });
        part.dirty = true;
        let policy = &self.parts.context.trigger.retry;
        let age = Duration::from_secs(now.unix_s() - since_unix_s);
        match retry::judge(policy, attempts, age, 0.5) {
            _ if cause == Cause::Reject => self.bury(partition, attempts, "reject"),
            _ if self.mutant == Mutant::DropsRetries => {
                part.queue.pop_front();
                part.sent.push_back((offset, 0));
                part.advance();
            }
            Verdict::Again { after } => part.due = Some(now.instant + after),
            Verdict::Exhausted => self.bury(partition, attempts, cause.name()),
        }
    }

    fn handled(&mut self, partition: Partition, completion: Completion) {
        let (Ok(checked), Some(batch)) = (completion.result, completion.batch) else { return };
        let record = batch.record(0);
        let mut tokens = Vec::new();
        for message in checked.messages() {
            let value = match message.value {
                Field::Bytes(value) => Some(value),
                _ => record.value(),
            };
            let token = self.number();
            tokens.push(token);
            let message = Message {
                topic: message.topic,
                partition: None,
                timestamp: Timestamp::Now,
                key: record.key(),
                value,
                headers: 0..0,
                token,
            };
            self.sink.send(&[message], &[]);
        }
        self.sent(partition, record.offset(), tokens);
    }

    fn bury(&mut self, partition: Partition, attempts: u32, cause: &str) {
        let Some(record) = self.owned.get(&partition).and_then(|part| part.queue.front()).cloned() else { return };
        let token = self.number();
        let attempts = attempts.to_string();
        let headers = [
            Header { name: b"tidegate-attempts", value: Some(attempts.as_bytes()) },
            Header { name: b"tidegate-cause", value: Some(cause.as_bytes()) },
        ];
        let message = Message {
            topic: self.parts.context.topics.dead_letters().expect("plain cases have dead letters"),
            partition: None,
            timestamp: Timestamp::Now,
            key: record.key(),
            value: record.value(),
            headers: 0..2,
            token,
        };
        self.sink.send(&[message], &headers);
        self.sent(partition, record.offset, vec![token]);
    }

    /// The first record of a partition has these messages under way.
    fn sent(&mut self, partition: Partition, offset: i64, tokens: Vec<u64>) {
        let Some(part) = self.owned.get_mut(&partition) else { return };
        part.queue.pop_front();
        part.due = None;
        part.sent.push_back((offset, tokens.len()));
        part.advance();
        if self.mutant == Mutant::CommitsBeforeAcknowledged {
            part.dirty = true;
        }
        self.tokens.extend(tokens.into_iter().map(|token| (token, (partition, offset))));
    }
}

impl Part {
    fn advance(&mut self) {
        while self.sent.front().is_some_and(|(_, open)| *open == 0) {
            let Some((offset, _)) = self.sent.pop_front() else { return };
            self.low = offset + 1;
            self.dirty = true;
            self.failed.remove(&offset);
        }
    }
}
