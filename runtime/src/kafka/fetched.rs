//! Fetched records, in the buffers of the Kafka client or copied out of them.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as c;

use super::client::Client;
use super::error::{Code, Error, OK};
use crate::record::{Header, OwnedRecord, Record};

/// A fetched record. `InPlace` keeps the buffer of the whole fetch response alive (up to
/// `fetch.message.max.bytes`). So a record that is kept for long is [detached](Record::detach).
pub enum Fetched {
    InPlace(InPlace),
    Detached(Box<Detached>),
}

/// A record that was copied out of the client's buffers.
pub struct Detached {
    pub record: OwnedRecord,
    /// See [`Record::defect`].
    pub defect: Option<String>,
}

impl Fetched {
    /// Takes ownership of a message without an error. If the client cannot read the headers of the message,
    /// the record is copied without headers and gets a [defect](Record::defect).
    ///
    /// # Safety
    ///
    /// `message` is a live message of `client`, and no other code destroys it.
    pub(super) unsafe fn new(message: NonNull<c::rd_kafka_message_t>, client: Arc<Client>) -> Self {
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives; the headers belong to it and live as long.
        let code = unsafe { c::rd_kafka_message_headers(message.as_ptr(), &raw mut headers) };
        let headers = if code == OK { headers } else { ptr::null_mut() };
        let in_place = InPlace { message, headers, _client: client };
        match header_defect(code) {
            None => Self::InPlace(in_place),
            Some(defect) => Self::Detached(Box::new(Detached {
                record: OwnedRecord::copy_of(&in_place),
                defect: Some(format!("the Kafka client cannot read the record's headers: {defect}")),
            })),
        }
    }
}

/// What is wrong with the headers of a message, derived from the result of reading them.
fn header_defect(code: Code) -> Option<String> {
    match code {
        OK | Code::RD_KAFKA_RESP_ERR__NOENT => None,
        // This is a fixed limit of librdkafka.
        Code::RD_KAFKA_RESP_ERR__BAD_MSG => Some("there are more than 100,000".to_owned()),
        code => Some(format!("they are damaged, {}", Error::from_code(code))),
    }
}

/// A message in the memory of librdkafka.
pub struct InPlace {
    message: NonNull<c::rd_kafka_message_t>,
    /// Null: the message has no headers. They are read once, because librdkafka parses the message at each
    /// request if it has no headers.
    headers: *mut c::rd_kafka_headers_t,
    /// Keeps the client alive, which owns the memory of the message.
    _client: Arc<Client>,
}

// SAFETY: any thread may read and destroy a message of librdkafka, but only one thread at a time. `InPlace` is
// not Sync, so `&InPlace` is never shared between threads.
unsafe impl Send for InPlace {}

impl InPlace {
    fn message(&self) -> &c::rd_kafka_message_t {
        // SAFETY: the message lives until `self` is dropped.
        unsafe { self.message.as_ref() }
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        // SAFETY: `self` owns the message, and it is destroyed once, while the client lives.
        unsafe { c::rd_kafka_message_destroy(self.message.as_ptr()) }
    }
}

/// # Safety
///
/// `pointer` is null or points to `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(pointer: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller guarantees it. A null pointer means no bytes, which is different from empty bytes.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast(), length) })
}

impl Record for InPlace {
    fn offset(&self) -> i64 {
        self.message().offset
    }

    fn timestamp_ms(&self) -> Option<i64> {
        // SAFETY: the message lives; a null pointer for the type of the timestamp is allowed.
        let timestamp = unsafe { c::rd_kafka_message_timestamp(self.message(), ptr::null_mut()) };
        (timestamp >= 0).then_some(timestamp)
    }

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: the key lies in the message's buffer.
        unsafe { bytes(self.message().key, self.message().key_len) }
    }

    fn value(&self) -> Option<&[u8]> {
        // SAFETY: the value lies in the message's buffer.
        unsafe { bytes(self.message().payload, self.message().len) }
    }

    fn header(&self, index: usize) -> Option<Header<'_>> {
        if self.headers.is_null() {
            return None;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers belong to the message and live as long as it; a name ends in a null
        // byte; a value is null or `length` bytes long.
        unsafe {
            if c::rd_kafka_header_get_all(self.headers, index, &raw mut name, &raw mut value, &raw mut length) != OK {
                return None;
            }
            Some(Header { name: CStr::from_ptr(name).to_bytes(), value: bytes(value, length) })
        }
    }
}

impl From<OwnedRecord> for Fetched {
    fn from(record: OwnedRecord) -> Self {
        Self::Detached(Box::new(Detached { record, defect: None }))
    }
}

impl Record for Fetched {
    fn detach(&mut self) {
        if let Self::InPlace(record) = self {
            *self = OwnedRecord::copy_of(record).into();
        }
    }

    fn defect(&self) -> Option<&str> {
        match self {
            Self::InPlace(_) => None,
            Self::Detached(detached) => detached.defect.as_deref(),
        }
    }

    fn offset(&self) -> i64 {
        match self {
            Self::InPlace(record) => record.offset(),
            Self::Detached(detached) => detached.record.offset(),
        }
    }

    fn timestamp_ms(&self) -> Option<i64> {
        match self {
            Self::InPlace(record) => record.timestamp_ms(),
            Self::Detached(detached) => detached.record.timestamp_ms(),
        }
    }

    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::InPlace(record) => record.key(),
            Self::Detached(detached) => detached.record.key(),
        }
    }

    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::InPlace(record) => record.value(),
            Self::Detached(detached) => detached.record.value(),
        }
    }

    fn header(&self, index: usize) -> Option<Header<'_>> {
        match self {
            Self::InPlace(record) => record.header(index),
            Self::Detached(detached) => detached.record.header(index),
        }
    }
}
