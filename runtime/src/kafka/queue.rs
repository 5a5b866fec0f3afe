//! The client's queues, and the events on them.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as c;

use super::client::{Client, Error};
use super::error::{Code, OK, text};
use super::list::{List, Position, first_error};
use super::wake::{Bell, WakeEnd};

/// A queue of a client, which wakes the loop.
pub(super) struct Queue {
    pointer: NonNull<c::rd_kafka_queue_t>,
    /// Destroyed after the queue: destroying a client whose queues are held hangs.
    _client: Arc<Client>,
    /// Gone after the queue, whose threads ring it.
    bell: Box<Bell>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Takes over a queue and has it wake the loop.
    ///
    /// # Safety
    ///
    /// `pointer` is a queue of `client`, and the reference to it is the caller's to give away.
    pub(super) unsafe fn new(
        pointer: *mut c::rd_kafka_queue_t,
        client: Arc<Client>,
        wake: Arc<WakeEnd>,
    ) -> Result<Self, Error> {
        let pointer = NonNull::new(pointer).ok_or_else(|| Error::invalid("the client has no such queue"))?;
        let bell = Bell::new(wake);
        let address = ptr::from_ref(&*bell).cast_mut().cast();
        // SAFETY: the bell lives until the queue rings it no more.
        unsafe { c::rd_kafka_queue_cb_event_enable(pointer.as_ptr(), Some(Bell::ring), address) };
        Ok(Self { pointer, _client: client, bell })
    }

    pub(super) fn pointer(&self) -> *mut c::rd_kafka_queue_t {
        self.pointer.as_ptr()
    }

    /// The next event, waiting for it so long.
    pub(super) fn poll(&self, limit_ms: i32) -> Option<QueueEvent> {
        // SAFETY: the queue is ours.
        NonNull::new(unsafe { c::rd_kafka_queue_poll(self.pointer.as_ptr(), limit_ms) }).map(QueueEvent)
    }

    /// Whether it wakes the loop when it is no longer empty. What came while it did not has to be
    /// looked for.
    pub(super) fn set_wakes(&self, wakes: bool) {
        self.bell.set(wakes);
    }

    /// Ends the wake-ups for good.
    pub(super) fn wake_nobody(&self) {
        // SAFETY: the queue is ours. It calls back under its lock, which this takes, so that nobody
        // is at the bell when it returns.
        unsafe { c::rd_kafka_queue_cb_event_enable(self.pointer.as_ptr(), None, ptr::null_mut()) };
    }

    /// Takes up to `buffer.len()` messages without waiting and returns how many. The caller owns
    /// them. Some of them may be errors.
    pub(super) fn take(&self, buffer: &mut [*mut c::rd_kafka_message_t]) -> usize {
        // SAFETY: the buffer has room for as many messages as the call is told.
        let taken =
            unsafe { c::rd_kafka_consume_batch_queue(self.pointer.as_ptr(), 0, buffer.as_mut_ptr(), buffer.len()) };
        usize::try_from(taken).unwrap_or(0)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.wake_nobody();
        // SAFETY: the queue is ours and destroyed once.
        unsafe { c::rd_kafka_queue_destroy(self.pointer.as_ptr()) };
    }
}

/// An event of a queue. Ours until it is dropped.
pub(super) struct QueueEvent(NonNull<c::rd_kafka_event_t>);

impl QueueEvent {
    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event lives.
        unsafe { c::rd_kafka_event_type(self.0.as_ptr()) }
    }

    pub(super) fn code(&self) -> Code {
        // SAFETY: the event lives.
        unsafe { c::rd_kafka_event_error(self.0.as_ptr()) }
    }

    /// Its error with the reason that came with it.
    pub(super) fn error(&self) -> Result<(), Error> {
        let code = self.code();
        if code == OK {
            return Ok(());
        }
        let mut error = Error::from_code(code);
        // SAFETY: the event lives, and its string is copied.
        unsafe {
            let reason = text(c::rd_kafka_event_error_string(self.0.as_ptr()));
            if !reason.is_empty() {
                error.reason = reason;
            }
            // Other events have no such field, and less memory than it would lie in.
            if self.kind() == c::RD_KAFKA_EVENT_ERROR {
                error.fatal |= c::rd_kafka_event_error_is_fatal(self.0.as_ptr()) != 0;
            }
        }
        Err(error)
    }

    /// A line of the client's log: its level, its facility and its text.
    pub(super) fn line(&self) -> Option<(i32, String, String)> {
        let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event lives; its strings are copied.
        unsafe {
            if c::rd_kafka_event_log(self.0.as_ptr(), &raw mut facility, &raw mut line, &raw mut level) != 0 {
                return None;
            }
            Some((level, text(facility), text(line)))
        }
    }

    /// What was given to the client with the request that this is the answer to.
    pub(super) fn opaque(&self) -> u64 {
        // SAFETY: the event lives.
        unsafe { c::rd_kafka_event_opaque(self.0.as_ptr()) }.addr() as u64
    }

    /// The partitions it is about.
    pub(super) fn positions(&self) -> Vec<Position> {
        // SAFETY: the list belongs to the event and is copied.
        List::read(unsafe { c::rd_kafka_event_topic_partition_list(self.0.as_ptr()) })
    }

    /// The first partition it is about that failed.
    pub(super) fn partition_error(&self) -> Result<(), Error> {
        // SAFETY: the list belongs to the event, which lives.
        first_error(unsafe { c::rd_kafka_event_topic_partition_list(self.0.as_ptr()) })
    }

    /// The messages of a delivery report, in slices of up to `buffer.len()`.
    pub(super) fn reports(
        &self,
        buffer: &mut [*const c::rd_kafka_message_t],
        mut each: impl FnMut(&c::rd_kafka_message_t),
    ) {
        loop {
            // SAFETY: the buffer has room for as many messages as the call is told; they belong to
            // the event, which lives.
            let count = unsafe { c::rd_kafka_event_message_array(self.0.as_ptr(), buffer.as_mut_ptr(), buffer.len()) };
            if count == 0 {
                return;
            }
            for &message in &buffer[..count] {
                // SAFETY: as above.
                each(unsafe { &*message });
            }
        }
    }
}

impl Drop for QueueEvent {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}
