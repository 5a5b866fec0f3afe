//! The queues of a client, and the events on them.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as c;

use super::client::{Client, Error};
use super::error::{Code, OK, text};
use super::list::{List, Position, first_error};
use super::wake::{WakeCallback, WakeHandle};

/// A queue of a client. It wakes the loop when it is no longer empty.
pub(super) struct Queue {
    pointer: NonNull<c::rd_kafka_queue_t>,
    /// Dropped after the queue, because destroying a client hangs while one of its queues exists.
    _client: Arc<Client>,
    /// Dropped after the queue, because threads of the client call it.
    callback: Box<WakeCallback>,
}

// SAFETY: queues of librdkafka may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Takes ownership of a queue and lets it wake the loop.
    ///
    /// # Safety
    ///
    /// `pointer` is a queue of `client`, and the caller owns a reference to it, which it passes to this
    /// function.
    pub(super) unsafe fn new(
        pointer: *mut c::rd_kafka_queue_t,
        client: Arc<Client>,
        wake: Arc<WakeHandle>,
    ) -> Result<Self, Error> {
        let pointer = NonNull::new(pointer).ok_or_else(|| Error::invalid("the client has no such queue"))?;
        let callback = WakeCallback::new(wake);
        let address = ptr::from_ref(&*callback).cast_mut().cast();
        // SAFETY: the callback lives until the queue does not call it any more.
        unsafe { c::rd_kafka_queue_cb_event_enable(pointer.as_ptr(), Some(WakeCallback::call), address) };
        Ok(Self { pointer, _client: client, callback })
    }

    pub(super) fn pointer(&self) -> *mut c::rd_kafka_queue_t {
        self.pointer.as_ptr()
    }

    /// The next event. Waits for it for up to `limit_ms`.
    pub(super) fn poll(&self, limit_ms: i32) -> Option<QueueEvent> {
        // SAFETY: `self` owns the queue.
        NonNull::new(unsafe { c::rd_kafka_queue_poll(self.pointer.as_ptr(), limit_ms) }).map(QueueEvent)
    }

    /// Whether the queue wakes the loop when it is no longer empty. After turning this on again, the caller
    /// must poll for what arrived meanwhile.
    pub(super) fn set_wakes(&self, wakes: bool) {
        self.callback.set(wakes);
    }

    /// Stops the wake-ups permanently.
    pub(super) fn stop_waking(&self) {
        // SAFETY: `self` owns the queue. The queue runs the callback under its lock, and this call takes the
        // same lock. So no thread runs the callback when this call returns.
        unsafe { c::rd_kafka_queue_cb_event_enable(self.pointer.as_ptr(), None, ptr::null_mut()) };
    }

    /// Takes up to `buffer.len()` messages without waiting, and returns their number. The caller owns them.
    /// Some of them may be errors.
    pub(super) fn take(&self, buffer: &mut [*mut c::rd_kafka_message_t]) -> usize {
        // SAFETY: the buffer has room for `buffer.len()` messages.
        let taken =
            unsafe { c::rd_kafka_consume_batch_queue(self.pointer.as_ptr(), 0, buffer.as_mut_ptr(), buffer.len()) };
        usize::try_from(taken).unwrap_or(0)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.stop_waking();
        // SAFETY: `self` owns the queue, and it is destroyed once.
        unsafe { c::rd_kafka_queue_destroy(self.pointer.as_ptr()) };
    }
}

/// An event of a queue. It is destroyed when this is dropped.
pub(super) struct QueueEvent(NonNull<c::rd_kafka_event_t>);

impl QueueEvent {
    pub(super) fn pointer(&self) -> *mut c::rd_kafka_event_t {
        self.0.as_ptr()
    }

    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event lives.
        unsafe { c::rd_kafka_event_type(self.0.as_ptr()) }
    }

    pub(super) fn code(&self) -> Code {
        // SAFETY: the event lives.
        unsafe { c::rd_kafka_event_error(self.0.as_ptr()) }
    }

    /// The error of the event, with its own reason if it has one.
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
            // Other kinds of events do not have this field, and their memory may be too small for it.
            if self.kind() == c::RD_KAFKA_EVENT_ERROR {
                error.fatal |= c::rd_kafka_event_error_is_fatal(self.0.as_ptr()) != 0;
            }
        }
        Err(error)
    }

    /// A log line of the client: its level, facility and text.
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

    /// The opaque value that was passed with the request that this event answers.
    pub(super) fn opaque(&self) -> u64 {
        // SAFETY: the event lives.
        unsafe { c::rd_kafka_event_opaque(self.0.as_ptr()) }.addr() as u64
    }

    /// The partitions in the event.
    pub(super) fn positions(&self) -> Vec<Position> {
        // SAFETY: the list belongs to the event and is copied.
        List::read(unsafe { c::rd_kafka_event_topic_partition_list(self.0.as_ptr()) })
    }

    /// The error of the first partition in the event that failed.
    pub(super) fn partition_error(&self) -> Result<(), Error> {
        // SAFETY: the list belongs to the event, which lives.
        first_error(unsafe { c::rd_kafka_event_topic_partition_list(self.0.as_ptr()) })
    }

    /// Calls `each` with the messages of a delivery report. `buffer` is used to fetch several at a time.
    pub(super) fn reports(
        &self,
        buffer: &mut [*const c::rd_kafka_message_t],
        mut each: impl FnMut(&c::rd_kafka_message_t),
    ) {
        loop {
            // SAFETY: the buffer has room for `buffer.len()` messages; they belong to the event, which lives.
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
        // SAFETY: `self` owns the event, and it is destroyed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}
