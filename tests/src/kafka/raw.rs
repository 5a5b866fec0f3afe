//! Headers as bytes. The client's safe accessor panics on a name that is not UTF-8, and its
//! builder takes none. The only unsafe code of the tests.

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
use rdkafka::bindings::{rd_kafka_header_add, rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_headers};
use rdkafka::message::{BorrowedMessage, OwnedHeaders};

type Header = (Vec<u8>, Option<Vec<u8>>);

/// The headers of a record that was read, in order.
#[allow(unsafe_code)]
pub(super) fn headers_of(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive, and the out pointer is ours; what it then points to belongs to
    // the message and lives as long as the borrow.
    if unsafe { rd_kafka_message_headers(message.ptr(), &mut headers) } != RD_KAFKA_RESP_ERR_NO_ERROR {
        return Vec::new(); // NOENT: it has none
    }
    let mut found = Vec::new();
    loop {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` is alive as above; the client checks the index and fills the out pointers.
        let error = unsafe { rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut size) };
        if error != RD_KAFKA_RESP_ERR_NO_ERROR {
            return found; // past the last
        }
        // SAFETY: the client ends a name with a zero byte and gives `size` readable bytes at
        // `value` unless that is null; both are copied here.
        let header = unsafe {
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
            (CStr::from_ptr(name).to_bytes().to_vec(), value)
        };
        found.push(header);
    }
}

/// Headers for a record to be produced.
#[allow(unsafe_code)]
pub(super) fn headers_from(headers: &[Header]) -> OwnedHeaders {
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    let native = ptr::from_ref(owned.as_borrowed()).cast_mut().cast::<rd_kafka_headers_t>();
    for (name, value) in headers {
        let (bytes, size) = match value {
            // An empty vector's pointer is not null, which the client takes for a null value.
            Some(value) => (value.as_ptr(), value.len()),
            None => (ptr::null(), 0),
        };
        // SAFETY: the list is ours alone and alive; the client copies the name and the value, whose
        // lengths are given.
        let error = unsafe {
            rd_kafka_header_add(
                native,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                bytes.cast(),
                size.cast_signed(),
            )
        };
        assert_eq!(error, RD_KAFKA_RESP_ERR_NO_ERROR, "a header can be added");
    }
    owned
}
