use super::*;
use crate::record::columns::{Column, HeaderColumns};
use crate::record::outcome::Outcome;
use crate::record::{Header, Message, OwnedRecord, Record, Topics};

fn topics() -> Topics {
    Topics::new(Some("out"), &[], None)
}

fn batch(records: &[OwnedRecord]) -> Batch {
    let mut batch = Batch::new("t".into(), 0);
    records.iter().for_each(|record| batch.push(record, 1));
    batch
}

fn of_value(bytes: usize) -> OwnedRecord {
    OwnedRecord { value: Some(vec![0; bytes]), ..OwnedRecord::default() }
}

fn check(outcome: Outcome, batch: &Batch) -> Result<Checked, Fault> {
    outcome.check(batch.len(), &topics()).and_then(|checked| checked.check_size(batch))
}

#[track_caller]
fn refused(outcome: Outcome, batch: &Batch) -> String {
    let fault = check(outcome, batch).expect_err("it is too large");
    assert_eq!(fault.cause, Cause::BadOutcome);
    fault.reason
}

/// Many messages of one record, with or without headers of their own.
fn many(messages: usize) -> Outcome {
    Outcome { sources: vec![0; messages], ..Outcome::default() }
}

#[test]
fn messages_of_one_record_count_though_there_are_no_more_than_records() {
    let mut records = vec![of_value(255_000)];
    records.resize(500, OwnedRecord::default());
    let batch = batch(&records);
    let reason = refused(many(500), &batch);
    assert_eq!(
        reason,
        "500 messages of 122 MiB in all, with what they have of their records; at most 64 MiB are allowed"
    );
    assert!(check(many(260), &batch).is_ok(), "63 MiB");
}

#[test]
fn a_header_weighs_more_than_its_content() {
    let record = OwnedRecord { headers: vec![(Vec::new(), None); 50_000], ..of_value(1) };
    let inherited = refused(many(3_000), &batch(&[record]));
    assert!(inherited.starts_with("3000 messages of 4579 MiB"), "{inherited}");

    let own = |headers: usize| HeaderColumns {
        counts: vec![headers as i32],
        names: Column { lens: vec![0; headers], data: Vec::new() },
        values: Column { lens: vec![-1; headers], data: Vec::new() },
    };
    let outcome = |headers| Outcome { headers: own(headers), ..many(1) };
    let batch = batch(&[OwnedRecord::default()]);
    assert!(refused(outcome(8_000_000), &batch).starts_with("1 message of 245 MiB"));
    assert!(check(outcome(2_000_000), &batch).is_ok(), "62 MiB");
}

#[test]
fn a_batch_may_be_forwarded_however_large_it_is() {
    let batch = batch(&[of_value(40 << 20), of_value(40 << 20)]);
    let forwarded = || Outcome { sources: vec![0, 1], ..Outcome::default() };
    assert!(check(forwarded(), &batch).is_ok());
    let added = Outcome { keys: Column { lens: vec![1, 0], data: vec![0] }, ..forwarded() };
    assert!(refused(added, &batch).ends_with("at most 80 MiB are allowed"));
}

#[test]
fn what_is_too_large_by_far_is_refused() {
    let batch = batch(&[of_value(1 << 20)]);
    assert!(check(many(60), &batch).is_ok());
    refused(many(70), &batch);
    refused(many(1 << 20), &batch);
    assert_eq!(check(many(2_000_000), &batch).expect_err("too many").cause, Cause::BadOutcome);
}

/// The bound that saves adding up says nothing that adding up would not say, and delivery counts the same.
#[test]
fn the_size_is_what_the_messages_weigh_when_they_are_produced() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..5_000 {
        let bytes = |rng: &mut fastrand::Rng| rng.bool().then(|| vec![0; rng.usize(..9)]);
        let headers =
            |rng: &mut fastrand::Rng| (0..rng.usize(..3)).map(|_| (vec![0; rng.usize(..4)], bytes(rng))).collect();
        let records: Vec<OwnedRecord> = (0..rng.usize(1..6))
            .map(|_| OwnedRecord {
                key: bytes(&mut rng),
                value: bytes(&mut rng),
                headers: headers(&mut rng),
                ..OwnedRecord::default()
            })
            .collect();
        let batch = batch(&records);
        let mut sources: Vec<u32> = (0..rng.usize(..9)).map(|_| rng.u32(..records.len() as u32)).collect();
        sources.sort_unstable();
        let mut column = |lowest: i32| {
            let lens: Vec<i32> = sources.iter().map(|_| rng.i32(lowest..6)).collect();
            Column { data: vec![0; lens.iter().map(|&length| length.max(0) as usize).sum()], lens }
        };
        let (keys, values) = (column(-2), column(-2));
        let names = column(0);
        let headers = HeaderColumns {
            counts: sources.iter().map(|_| 1).collect(),
            values: Column { lens: vec![-1; sources.len()], data: Vec::new() },
            names,
        };
        let headers = if rng.bool() { headers } else { HeaderColumns::default() };
        let outcome = Outcome { sources, keys, values, headers, ..Outcome::default() };
        let checked = outcome.check(records.len(), &topics()).expect("keeps the contract");
        let mut total = 0;
        for resolved in checked.resolved(&batch) {
            let headers: Vec<Header<'_>> = resolved.headers.collect();
            let message = Message {
                topic: 0,
                partition: None,
                timestamp: resolved.timestamp,
                key: resolved.key,
                value: resolved.value,
                headers: 0..headers.len(),
                token: 0,
            };
            assert_eq!(resolved.bytes, message.bytes(&headers));
            if resolved.inherits_headers {
                assert!(headers.into_iter().eq(Record::headers(&records[resolved.source])));
            }
            total += resolved.bytes;
        }
        for limit in [total.saturating_sub(1), total, total + 200] {
            assert!(!checked.is_surely_within(limit, &batch) || total <= limit);
        }
    }
}
