//! The oracle notices what is wrong in fabricated data. An oracle that finds nothing proves
//! nothing.

use super::*;

fn stored(partition: i32, offset: i64, record: Record) -> Stored {
    Stored { topic: "t".into(), partition, offset, record: record.timestamp(offset) }
}

/// Three keys in two partitions; every tenth record is rejected.
fn sent() -> Vec<Stored> {
    (0..60)
        .map(|n| {
            let value = if n % 10 == 3 { format!("reject;{n}") } else { format!("ok;{n}") };
            let (key, partition) = [("a", 0), ("b", 1), ("c", 1)][n % 3];
            stored(partition, n.try_into().expect("small"), Record::of(value).key(key).header("h", "v"))
        })
        .collect()
}

/// What a faultless runtime makes of [`sent`].
fn results() -> (Vec<Stored>, Vec<Stored>) {
    let (mut outputs, mut dead) = (Vec::new(), Vec::new());
    for source in sent() {
        let mut result = source.clone();
        match fate(source.record.value.as_deref(), 5) {
            Fate::Messages(values) => {
                result.record.value = values.into_iter().next();
                outputs.push(result);
            }
            _ => {
                result.record = result
                    .record
                    .header("tidegate-partition", source.partition.to_string())
                    .header("tidegate-offset", source.offset.to_string());
                dead.push(result);
            }
        }
    }
    (outputs, dead)
}

#[track_caller]
fn check(change: impl FnOnce(&mut Vec<Stored>, &mut Vec<Stored>), expected: [usize; 5]) {
    let (mut outputs, mut dead) = results();
    change(&mut outputs, &mut dead);
    let verdict = Model::default().expect(&sent()).check(&outputs, &dead);
    let found = [&verdict.lost, &verdict.repeated, &verdict.disordered, &verdict.altered, &verdict.unexpected];
    assert_eq!(
        found.map(|findings| findings.count),
        expected,
        "lost, repeated, disordered, altered, unexpected: {verdict}"
    );
}

#[test]
fn a_faultless_run_is_exact() {
    check(|_, _| {}, [0, 0, 0, 0, 0]);
    let (outputs, dead) = results();
    let due = Model::default().expect(&sent());
    assert_eq!((due.outputs(), due.dead_letters()), (54, 6));
    due.check(&outputs, &dead).assert_exact();
}

#[test]
fn order_between_keys_does_not_matter() {
    check(|outputs, _| outputs.sort_by(|one, other| one.record.key.cmp(&other.record.key)), [0, 0, 0, 0, 0]);
}

#[test]
fn a_lost_message_is_noticed() {
    check(|outputs, _| drop(outputs.remove(20)), [1, 0, 0, 0, 0]);
    check(|_, dead| drop(dead.remove(2)), [1, 0, 0, 0, 0]);
    check(|outputs, dead| (outputs.clear(), dead.clear()).0, [60, 0, 0, 0, 0]);
}

#[test]
fn a_repeated_message_is_noticed() {
    check(|outputs, _| outputs.push(outputs[20].clone()), [0, 1, 0, 0, 0]);
    check(|_, dead| dead.push(dead[0].clone()), [0, 1, 0, 0, 0]);
}

#[test]
fn a_replay_in_order_is_repeats_only() {
    check(
        |outputs, _| {
            let replay = outputs[10..20].to_vec();
            outputs.splice(20..20, replay);
        },
        [0, 10, 0, 0, 0],
    );
}

#[test]
fn two_messages_of_a_key_in_the_wrong_order_are_noticed() {
    check(|outputs, _| outputs.swap(0, 3), [0, 0, 1, 0, 0]);
}

#[test]
fn a_message_that_nobody_asked_for_is_noticed() {
    check(|outputs, _| outputs.push(stored(0, 99, Record::of("done:99").key("a"))), [0, 0, 0, 0, 1]);
    // A dead letter that should have been a message.
    check(|outputs, dead| dead.push(outputs.remove(0)), [1, 0, 0, 0, 1]);
}

#[test]
fn a_changed_message_is_noticed() {
    check(|outputs, _| outputs[0].record.headers.clear(), [0, 0, 0, 1, 0]);
    check(|outputs, _| outputs[0].record.headers[0].1 = None, [0, 0, 0, 1, 0]);
    check(|outputs, _| outputs[1].record.timestamp = Some(-1), [0, 0, 0, 1, 0]);
    check(|outputs, _| outputs[0].partition = 1, [0, 0, 0, 1, 0]);
    check(|_, dead| dead[0].record.headers.truncate(2), [0, 0, 0, 1, 0]);
    check(|_, dead| dead[0].record.key = None, [1, 0, 0, 0, 1]);
}

#[test]
fn null_and_empty_are_two_things() {
    let sent = [stored(0, 0, Record::null().key("k")), stored(0, 1, Record::of("").key("k"))];
    let due = Model::default().expect(&sent);
    due.check(&sent, &[]).assert_exact();
    let verdict = due.check(&[sent[0].clone(), sent[0].clone()], &[]);
    assert_eq!((verdict.lost.count, verdict.repeated.count), (1, 1), "{verdict}");
}

#[test]
#[should_panic(expected = "1 lost")]
fn a_verdict_with_a_loss_does_not_pass_as_at_least_once() {
    let (mut outputs, dead) = results();
    outputs.remove(0);
    Model::default().expect(&sent()).check(&outputs, &dead).assert_at_least_once();
}
