//! The path from a record to its message allocates for the call, not for the record.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tidegate_sdk::__private::{Batch, handle};
use tidegate_sdk::bindings::tidegate::function::types::{Column, Headers};
use tidegate_sdk::{Function, Message, Record};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the promises that `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises that `dealloc` asks for.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the promises that `realloc` asks for.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[tidegate_sdk::function]
fn forward(record: Record) -> Message {
    record.forward()
}

#[tidegate_sdk::function]
fn borrow(record: Record) -> Message {
    record.with_value(record.key()).with_topic("other").with_timestamp(1).with_partition(0)
}

#[tidegate_sdk::function]
fn with_its_headers(record: Record) -> Message {
    record.forward().with_headers(record.headers()).add_header("via", record.key())
}

fn batch(records: usize) -> Batch {
    let column = |bytes: usize, n: usize| Column {
        lens: vec![i32::try_from(bytes).expect("short"); n],
        data: vec![b'x'; bytes * n],
    };
    Batch {
        topic: "test".to_owned(),
        partition: 0,
        offsets: (0..).take(records).collect(),
        timestamps: vec![0; records],
        attempts: vec![1; records],
        keys: column(16, records),
        values: column(100, records),
        headers: Headers { counts: vec![1; records], names: column(4, records), values: column(8, records) },
    }
}

fn allocations<F: Function>(records: usize) -> usize {
    let batch = batch(records);
    let before = ALLOCATIONS.get();
    let outcome = handle::<F>(batch);
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(outcome.sources.len(), records);
    allocations
}

#[test]
fn a_forwarded_record_allocates_nothing() {
    assert_eq!(allocations::<forward>(10), allocations::<forward>(1_000));
}

#[test]
fn borrowed_fields_only_grow_their_columns() {
    let few = allocations::<borrow>(10);
    let many = allocations::<borrow>(1_000);
    // The bytes of the topics double seven times on the way from 10 to 1,000 of them.
    assert!(many <= few + 7, "{few} and {many}");
}

#[test]
fn borrowed_headers_take_a_list_and_no_copies() {
    let few = allocations::<with_its_headers>(10);
    let many = allocations::<with_its_headers>(1_000);
    // The list of each message, which grows once by the header that is added, and the four columns of
    // headers, which double seven times on the way.
    assert!(many <= few + 2 * 990 + 4 * 7, "{few} and {many}");
}
