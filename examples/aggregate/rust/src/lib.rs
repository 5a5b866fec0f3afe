//! An aggregate: the numbers of a batch become one message for each key, with their count and sum.
//!
//! A batch is what was there when an instance became free: from one record up to the limits in the
//! manifest. It never waits to fill, so it is no time window, and who reads the totals has to add
//! them up further. It makes fewer messages out of many, most where most is needed: under load.
//!
//! A total is a message of one record, the last that it counts. No record of the batch is done before it is
//! acknowledged, so nothing is missing in the totals; after a crash some records are counted again.

use std::collections::HashMap;

use serde::Serialize;
use tidegate_sdk::{Batch, Error, Outcome, Record, Result};

/// What goes out for a key.
#[derive(Serialize)]
pub struct Total {
    count: u64,
    sum: i64,
}

/// The totals since the last failure, each with the last record that it counts.
type Totals<'a> = HashMap<&'a [u8], (Total, Record<'a>)>;

/// Adds the records up. One without a key or a number is rejected, and the others of its key behind it
/// are called again then, with what was answered for them thrown away. So no total reaches across it.
#[tidegate_sdk::function]
pub fn aggregate(batch: Batch, outcome: &mut Outcome) -> Result<()> {
    let mut totals = Totals::new();
    for record in batch {
        match number(record) {
            Ok((key, number)) => {
                let (total, last) = totals.entry(key).or_insert((Total { count: 0, sum: 0 }, record));
                total.count += 1;
                total.sum += i64::from(number);
                *last = record;
            }
            Err(error) => {
                outcome.fail(record, error);
                emit(&mut totals, outcome)?;
            }
        }
    }
    emit(&mut totals, outcome)
}

/// The key of a record and its number: of 32 bits, so that no sum is too large.
fn number(record: Record<'_>) -> Result<(&[u8], i32)> {
    let key = record.key().ok_or_else(|| Error::reject("the record has no key to add it up under"))?;
    let number = record.value_str().ok().and_then(|text| text.parse().ok());
    Ok((key, number.ok_or_else(|| Error::reject("the value is no whole number of 32 bits"))?))
}

/// Emits the totals and forgets them. The SDK puts them into the order of their records.
fn emit(totals: &mut Totals, outcome: &mut Outcome) -> Result<()> {
    for (_, (total, last)) in totals.drain() {
        outcome.emit(last, last.with_json(&total)?.without_headers());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    fn run(records: &[(&str, &str)]) -> Vec<(usize, String)> {
        let records = records.iter().map(|&(key, value)| testing::Record::new().key(key).value(value));
        let messages = testing::run::<aggregate>(records).messages;
        messages.iter().map(|message| (message.record, message.value_str().to_owned())).collect()
    }

    #[test]
    fn each_key_has_one_total_at_its_last_record() {
        let totals = run(&[("a", "1"), ("b", "10"), ("a", "-3")]);
        assert_eq!(totals, [(1, r#"{"count":1,"sum":10}"#.to_owned()), (2, r#"{"count":2,"sum":-2}"#.to_owned())]);
    }

    #[test]
    fn no_total_reaches_across_a_failure() {
        let totals = run(&[("a", "1"), ("a", "two"), ("a", "3")]);
        assert_eq!(totals, [(0, r#"{"count":1,"sum":1}"#.to_owned()), (2, r#"{"count":1,"sum":3}"#.to_owned())]);
    }
}
