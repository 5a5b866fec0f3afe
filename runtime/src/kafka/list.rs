//! Lists of partitions in the form that librdkafka uses.

use std::ffi::CString;
use std::ptr::NonNull;

use rdkafka::bindings as c;

use super::error::{Error, OK, text};

/// Means that a partition has no offset.
pub(super) const NO_OFFSET: i64 = -1_001;
/// Means the beginning of a partition.
pub(super) const BEGINNING: i64 = -2;
/// Means the end of a partition.
pub(super) const END: i64 = -1;

/// An offset in a partition, with the metadata that is committed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub topic: String,
    pub partition: i32,
    /// `None`: nothing is committed, or the position does not matter.
    pub offset: Option<i64>,
    pub metadata: String,
}

impl Position {
    pub fn of(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition, offset: None, metadata: String::new() }
    }
}

/// A list in the memory of librdkafka.
pub(super) struct List {
    pointer: NonNull<c::rd_kafka_topic_partition_list_t>,
}

// SAFETY: the list is plain memory, and no other code points to it; librdkafka keeps no reference to it after
// a call.
unsafe impl Send for List {}

impl List {
    pub(super) fn new(positions: &[Position]) -> Result<Self, Error> {
        // SAFETY: this only allocates. If there is no memory, librdkafka aborts the process.
        let pointer = unsafe { c::rd_kafka_topic_partition_list_new(positions.len() as i32) };
        let list = Self { pointer: NonNull::new(pointer).ok_or_else(|| Error::invalid("out of memory"))? };
        for position in positions {
            let topic = CString::new(position.topic.as_str()).map_err(Error::invalid)?;
            // SAFETY: the list belongs to `list`, and the element does not move before the next `add`. Its
            // metadata is allocated by malloc, because librdkafka frees it.
            unsafe {
                let element = &mut *c::rd_kafka_topic_partition_list_add(pointer, topic.as_ptr(), position.partition);
                element.offset = position.offset.unwrap_or(NO_OFFSET);
                let metadata = position.metadata.as_bytes();
                if !metadata.is_empty() {
                    let copy = libc::malloc(metadata.len());
                    if copy.is_null() {
                        return Err(Error::invalid("out of memory"));
                    }
                    std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
                    element.metadata = copy;
                    element.metadata_size = metadata.len();
                }
            }
        }
        Ok(list)
    }

    /// Copies a list that belongs to another object, such as an event.
    pub(super) fn read(pointer: *const c::rd_kafka_topic_partition_list_t) -> Vec<Position> {
        elements(pointer).iter().map(position).collect()
    }

    pub(super) fn pointer(&self) -> *mut c::rd_kafka_topic_partition_list_t {
        self.pointer.as_ptr()
    }

    /// Replaces each offset by the result of `offset`.
    pub(super) fn set_offsets(&self, offset: impl Fn(i64) -> i64) {
        // SAFETY: the list belongs to `self`, and `elems` points to `cnt` elements.
        unsafe {
            let list = &mut *self.pointer();
            for place in 0..list.cnt as usize {
                let element = &mut *list.elems.add(place);
                element.offset = offset(element.offset);
            }
        }
    }

    /// The positions after librdkafka has filled them in. If partitions failed, the error of the first one.
    pub(super) fn positions(&self) -> Result<Vec<Position>, Error> {
        first_error(self.pointer())?;
        Ok(Self::read(self.pointer()))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list belongs to `self` and is destroyed once.
        unsafe { c::rd_kafka_topic_partition_list_destroy(self.pointer.as_ptr()) }
    }
}

/// The error of the first partition of a list that failed. The error names the partition.
pub(super) fn first_error(pointer: *const c::rd_kafka_topic_partition_list_t) -> Result<(), Error> {
    match elements(pointer).iter().find(|element| element.err != OK) {
        None => Ok(()),
        Some(element) => {
            let mut error = Error::from_code(element.err);
            error.reason = format!("{} of {}/{}", error.reason, text(element.topic), element.partition);
            Err(error)
        }
    }
}

fn elements<'a>(pointer: *const c::rd_kafka_topic_partition_list_t) -> &'a [c::rd_kafka_topic_partition_t] {
    // SAFETY: a null list, or one with `cnt` 0, has no elements; otherwise `elems` points to `cnt` elements. The
    // callers do not keep the slice.
    unsafe {
        match pointer.as_ref() {
            Some(list) if list.cnt > 0 => std::slice::from_raw_parts(list.elems, list.cnt as usize),
            _ => &[],
        }
    }
}

fn position(element: &c::rd_kafka_topic_partition_t) -> Position {
    let metadata = if element.metadata.is_null() {
        String::new()
    } else {
        // SAFETY: metadata is `metadata_size` bytes long.
        let bytes = unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) };
        String::from_utf8_lossy(bytes).into_owned()
    };
    Position {
        topic: text(element.topic),
        partition: element.partition,
        offset: (element.offset >= 0).then_some(element.offset),
        metadata,
    }
}
