//! Converts single messages to the arguments of librdkafka's produce functions.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use rdkafka::bindings as c;

use super::error::Code;
use crate::record::{Header, Message};

pub(super) fn is_plain(message: &Message<'_>) -> bool {
    message.headers.is_empty() && message.timestamp.milliseconds().is_none()
}

pub(super) fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

fn memory(bytes: Option<&[u8]>) -> c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = raw(bytes);
    c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size }
}

/// The tagged arguments of `rd_kafka_produceva`.
pub(super) struct Fields {
    list: [c::rd_kafka_vu_t; 8],
    /// Whether the last argument, the headers, is used.
    has_headers: bool,
}

impl Fields {
    /// The arguments for messages of one partition.
    pub(super) fn to(topic: *mut c::rd_kafka_topic_t, partition: i32) -> Self {
        use c::rd_kafka_vtype_t as Kind;
        // SAFETY: zero is a valid tag (`RD_KAFKA_VTYPE_END`) and a valid value of every member.
        let mut list: [c::rd_kafka_vu_t; 8] = unsafe { std::mem::zeroed() };
        for (field, kind) in list.iter_mut().zip([
            Kind::RD_KAFKA_VTYPE_RKT,
            Kind::RD_KAFKA_VTYPE_PARTITION,
            Kind::RD_KAFKA_VTYPE_MSGFLAGS,
            Kind::RD_KAFKA_VTYPE_KEY,
            Kind::RD_KAFKA_VTYPE_VALUE,
            Kind::RD_KAFKA_VTYPE_OPAQUE,
            Kind::RD_KAFKA_VTYPE_TIMESTAMP,
            Kind::RD_KAFKA_VTYPE_HEADERS,
        ]) {
            field.vtype = kind;
        }
        list[0].u.rkt = topic;
        list[1].u.i32_ = partition;
        list[2].u.i = c::RD_KAFKA_MSG_F_COPY;
        Self { list, has_headers: false }
    }

    /// Fills in a message. The message and the headers must live until [`Fields::produce`].
    pub(super) fn fill(&mut self, message: &Message<'_>, headers: Option<NonNull<c::rd_kafka_headers_t>>) {
        self.list[3].u.mem = memory(message.key);
        self.list[4].u.mem = memory(message.value);
        self.list[5].u.ptr = ptr::without_provenance_mut(message.token as usize);
        // For 0, the client sets the time of producing.
        self.list[6].u.i64_ = message.timestamp.milliseconds().unwrap_or(0);
        self.has_headers = headers.is_some();
        if let Some(headers) = headers {
            self.list[7].u.headers = headers.as_ptr();
        }
    }

    /// Produces the message. If that succeeds, the client owns the headers. If it fails, the caller still owns
    /// them.
    ///
    /// # Safety
    ///
    /// The client lives, and so does everything that was filled in.
    pub(super) unsafe fn produce(&self, client: *mut c::rd_kafka_t) -> Result<(), Code> {
        // SAFETY: the caller guarantees it; keys and values are copied.
        unsafe {
            let error = c::rd_kafka_produceva(client, self.list.as_ptr(), self.count());
            if error.is_null() {
                return Ok(());
            }
            let code = c::rd_kafka_error_code(error);
            c::rd_kafka_error_destroy(error);
            Err(code)
        }
    }

    /// Destroys the headers of a message that was not produced.
    ///
    /// # Safety
    ///
    /// The message was not produced, and this is called once for it.
    pub(super) unsafe fn destroy_headers(&mut self) {
        if std::mem::take(&mut self.has_headers) {
            // SAFETY: the caller guarantees that the client does not own the headers.
            unsafe { c::rd_kafka_headers_destroy(self.list[7].u.headers) }
        }
    }

    fn count(&self) -> usize {
        self.list.len() - usize::from(!self.has_headers)
    }
}

/// Converts headers to an object of librdkafka. It must be passed to the client or destroyed.
pub(super) fn native_headers(headers: &[Header<'_>]) -> Option<NonNull<c::rd_kafka_headers_t>> {
    if headers.is_empty() {
        return None;
    }
    // SAFETY: names and values are copied with their lengths; a null value stays null.
    unsafe {
        let native = NonNull::new(c::rd_kafka_headers_new(headers.len()))?;
        for header in headers {
            let (value, length) = raw(header.value);
            c::rd_kafka_header_add(
                native.as_ptr(),
                header.name.as_ptr().cast(),
                header.name.len() as isize,
                value,
                length as isize,
            );
        }
        Some(native)
    }
}
