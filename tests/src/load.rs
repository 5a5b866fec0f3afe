//! A steady stream of numbered records, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::kafka::{Record, Stored, Topic, acknowledging_producer};

const TICK: Duration = Duration::from_millis(2);

/// A running load. It goes on through an outage of the broker: records wait in the client, and
/// all of them are acknowledged in the end, each once.
#[derive(Debug)]
pub struct Load {
    sent: Arc<AtomicU64>,
    stop: SyncSender<()>,
    thread: JoinHandle<Vec<Stored>>,
}

impl Load {
    /// Sends `make(0)`, `make(1)`, … at that rate.
    pub fn start(topic: &Topic, per_second: u32, make: impl FnMut(u64) -> Record + Send + 'static) -> Load {
        let (stop, stopped) = mpsc::sync_channel(1);
        let sent = Arc::new(AtomicU64::new(0));
        let (topic, counter) = (topic.clone(), Arc::clone(&sent));
        let thread = thread::spawn(move || run(&topic, per_second, make, &counter, &stopped));
        Load { sent, stop, thread }
    }

    /// How many records have been handed to the client.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it without insisting on acknowledgements. What it brought to the topic is there to
    /// be read: after an outage librdkafka may leave the records of a partition behind for good.
    #[track_caller]
    pub fn cut(self) {
        let Load { stop, thread, .. } = self;
        // The thread notices that nobody can stop it any more.
        drop(stop);
        thread.join().expect("the load ends well");
    }

    /// Ends it, waits for all acknowledgements and returns the records with their places.
    #[track_caller]
    pub fn stop(self) -> Vec<Stored> {
        // The thread is gone only if it panicked, which `join` tells.
        let _ = self.stop.send(());
        self.thread.join().expect("the load ends well")
    }
}

fn run(
    topic: &Topic,
    per_second: u32,
    mut make: impl FnMut(u64) -> Record,
    sent: &AtomicU64,
    stopped: &mpsc::Receiver<()>,
) -> Vec<Stored> {
    let mut producer = acknowledging_producer(topic);
    let start = Instant::now();
    let mut number = 0;
    let told = loop {
        match stopped.recv_timeout(TICK) {
            Ok(()) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let due = start.elapsed().as_millis() * u128::from(per_second) / 1000;
        while u128::from(number) < due {
            producer.send(make(number));
            number += 1;
        }
        producer.poll();
        sent.store(number, Ordering::Relaxed);
    };
    if told {
        return producer.finish(Duration::from_secs(60));
    }
    producer.give_up(Duration::from_secs(10));
    Vec::new()
}
