//! Every form of a function, through the attribute and as a test of an author's would call it.

use serde::{Deserialize, Serialize};
use tidegate_sdk::{Batch, Error, Message, OrReject, Outcome, Record, Result, testing};

fn values(outcome: &testing::Outcome) -> Vec<&str> {
    outcome.messages.iter().map(testing::Message::value_str).collect()
}

fn records<const N: usize>(values: [&str; N]) -> [testing::Record; N] {
    values.map(|value| testing::Record::new().key("k").value(value))
}

/// Functions of a record, one for each thing that they may return.
mod record {
    use super::*;

    #[tidegate_sdk::function]
    fn nothing(_record: Record) {}

    #[tidegate_sdk::function]
    fn message(record: Record) -> Message {
        record.with_value("new")
    }

    #[tidegate_sdk::function]
    fn perhaps(record: Record) -> Option<Message> {
        (record.value() != Some(b"a")).then(|| record.forward())
    }

    #[tidegate_sdk::function]
    fn several(record: Record) -> Vec<Message> {
        (0..record.index()).map(|n| record.with_value(n.to_string())).collect()
    }

    #[tidegate_sdk::function]
    fn array(record: Record) -> Result<[Message; 2]> {
        Ok([record.forward(), Message::new("second")])
    }

    #[tidegate_sdk::function]
    fn only_failing(record: Record) -> Result<()> {
        record.value_str()?.parse::<u32>()?;
        Ok(())
    }

    #[tidegate_sdk::function]
    fn result(record: Record) -> Result<Option<Message>> {
        let number: u32 = record.value_str()?.parse().or_reject()?;
        Ok((number > 0).then(|| record.with_value(number.to_string())))
    }

    /// An error of the author's own, converted by the answer itself.
    #[tidegate_sdk::function]
    fn foreign_error(record: Record) -> core::result::Result<Vec<Message>, std::num::ParseIntError> {
        let number: u32 = record.value_str().unwrap_or_default().parse()?;
        Ok(vec![record.with_value(number.to_string()); 2])
    }

    #[tidegate_sdk::function]
    fn named_lifetime<'a>(record: Record<'a>) -> Message<'a> {
        record.forward()
    }

    #[test]
    fn each_answer_becomes_its_messages() {
        let run = |outcome: testing::Outcome| values(&outcome).join(" ");
        assert_eq!(run(testing::run::<nothing>(records(["a", "b", "c"]))), "");
        assert_eq!(run(testing::run::<message>(records(["a", "b", "c"]))), "new new new");
        assert_eq!(run(testing::run::<perhaps>(records(["a", "b", "c"]))), "b c");
        assert_eq!(run(testing::run::<several>(records(["a", "b", "c"]))), "0 0 1");
        assert_eq!(run(testing::run::<array>(records(["a", "b"]))), "a second b second");
        assert_eq!(run(testing::run::<named_lifetime>(records(["a"]))), "a");
    }

    #[test]
    fn errors_fail_their_record_and_no_other() {
        let outcome = testing::run::<result>(records(["1", "x", "0", "2"]));
        assert_eq!(values(&outcome), ["1", "2"]);
        assert_eq!(outcome.messages[1].record, 3);
        let error = Error::reject("invalid digit found in string");
        assert_eq!(outcome.failures, [testing::Failure { record: 1, error }]);

        let retry = Error::retry("invalid digit found in string");
        assert_eq!(testing::run::<only_failing>(records(["1", "x"])).failures[0].error, retry);
        assert_eq!(testing::run::<foreign_error>(records(["1", "x"])).failures[0].error, retry);
    }

    #[test]
    fn a_function_stays_a_plain_function() {
        let source = testing::Record::new().key("k").value("v");
        assert_eq!(message(source.view()), source.view().with_value("new"));
        assert_ne!(message(source.view()), source.view().with_value("old"));
        assert_eq!(result(source.view()), Err(Error::reject("invalid digit found in string")));
        nothing(source.view());
    }
}

mod batch {
    use super::*;

    /// Of each key the last value only: messages out of order, for some of the records.
    #[tidegate_sdk::function]
    fn last_of_key(batch: Batch, outcome: &mut Outcome) {
        let mut seen = std::collections::HashSet::new();
        for record in batch.iter().rev().filter(|record| seen.insert(record.key())) {
            outcome.emit(record, record.forward());
        }
    }

    #[tidegate_sdk::function]
    fn all_or_nothing(batch: Batch, outcome: &mut Outcome) -> Result<()> {
        for record in batch {
            outcome.emit(record, record.forward());
            if record.value() == Some(b"bad") {
                outcome.fail(record, Error::reject("bad by itself"));
                return Err(Error::retry("one was bad"));
            }
        }
        Ok(())
    }

    #[test]
    fn messages_come_in_the_order_of_the_records() {
        let keyed = |key, value| testing::Record::new().key(key).value(value);
        let outcome = testing::run::<last_of_key>([keyed("a", "1"), keyed("b", "2"), keyed("a", "3"), keyed("c", "4")]);
        assert_eq!(values(&outcome), ["2", "3", "4"]);
    }

    #[test]
    fn an_error_fails_every_record_that_did_not_fail_by_itself() {
        let outcome = testing::run::<all_or_nothing>(records(["a", "bad", "c"]));
        assert_eq!(values(&outcome), [""; 0]);
        let reasons: Vec<_> = outcome.failures.iter().map(|failure| failure.error.reason()).collect();
        assert_eq!(reasons, ["one was bad", "bad by itself", "one was bad"]);
        assert_eq!(values(&testing::run::<all_or_nothing>(records(["a", "b"]))), ["a", "b"]);
    }
}

mod json {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Order {
        amount: u32,
    }

    /// One that borrows from the record.
    #[derive(Debug, Deserialize)]
    struct Named<'a> {
        name: &'a str,
    }

    #[derive(Debug, PartialEq, Serialize)]
    struct Total {
        total: u32,
    }

    #[tidegate_sdk::function(json)]
    fn bare(order: Order) -> Total {
        Total { total: order.amount * 2 }
    }

    #[tidegate_sdk::function(json)]
    fn fallible(order: Order, record: Record) -> Result<Option<Total>> {
        match order.amount {
            0 => Ok(None),
            13 => Err(Error::retry(format_args!("attempt {}", record.attempt()))),
            amount => Ok(Some(Total { total: amount })),
        }
    }

    #[tidegate_sdk::function(json)]
    fn several(Order { amount }: Order) -> Result<Vec<Total>> {
        Ok((0..amount).map(|total| Total { total }).collect())
    }

    #[tidegate_sdk::function(json)]
    fn only_checked(_order: Order) -> Result<()> {
        Ok(())
    }

    #[tidegate_sdk::function(json)]
    fn by_hand(order: Order, record: Record) -> Result<Message> {
        Ok(record.with_json(&order.amount)?.with_topic("amounts"))
    }

    #[tidegate_sdk::function(json)]
    fn borrowing(named: Named) -> tidegate_sdk::Json<Vec<&str>> {
        tidegate_sdk::Json(vec![named.name])
    }

    #[tidegate_sdk::function(json)]
    fn no_json(order: Order) -> std::collections::BTreeMap<Vec<u32>, u32> {
        [(vec![order.amount], 1)].into()
    }

    #[test]
    fn answers_become_values() {
        let orders = || records([r#"{"amount": 3}"#, r#"{"amount": 0}"#]);
        let outcome = testing::run::<bare>(orders());
        assert_eq!(values(&outcome), [r#"{"total":6}"#, r#"{"total":0}"#]);
        assert_eq!(outcome.messages[0].key_str(), "k");
        assert_eq!(values(&testing::run::<fallible>(orders())), [r#"{"total":3}"#]);
        let three = [r#"{"total":0}"#, r#"{"total":1}"#, r#"{"total":2}"#];
        assert_eq!(values(&testing::run::<several>(orders())), three);
        assert_eq!(values(&testing::run::<only_checked>(orders())), [""; 0]);
        let outcome = testing::run::<by_hand>(orders());
        assert_eq!((values(&outcome)[0], outcome.messages[0].topic.as_deref()), ("3", Some("amounts")));
        assert_eq!(values(&testing::run::<borrowing>(records([r#"{"name": "n"}"#]))), [r#"["n"]"#]);
        assert_eq!(bare(Order { amount: 4 }), Total { total: 8 });
    }

    #[test]
    fn what_is_not_such_json_is_rejected_with_the_place() {
        let source = records([r#"{"amount": -1}"#, "", "{\n", r#"{"amount": 13}"#]);
        let null = testing::Record::new().attempt(5);
        let outcome = testing::run::<fallible>(source.into_iter().chain([null]));
        let errors: Vec<Error> = outcome.failures.into_iter().map(|failure| failure.error).collect();
        let expected = [
            Error::reject("bad JSON in the value: invalid value: integer `-1`, expected u32 at line 1 column 13"),
            Error::reject("bad JSON in the value: EOF while parsing a value at line 1 column 0"),
            Error::reject("bad JSON in the value: EOF while parsing an object at line 2 column 0"),
            Error::retry("attempt 1"),
            Error::reject("the value is null, not JSON"),
        ];
        assert_eq!(errors, expected);
    }

    #[test]
    fn an_answer_without_a_form_in_json_is_rejected() {
        let outcome = testing::run::<no_json>(records([r#"{"amount": 3}"#]));
        let expected = Error::reject("the value cannot be written as JSON: key must be a string");
        assert_eq!(outcome.failures[0].error, expected);
    }
}

/// The names that the attribute uses are no trouble as names of functions.
mod names {
    use super::*;

    #[tidegate_sdk::function]
    fn record(record: Record) -> Message {
        record.forward()
    }

    #[tidegate_sdk::function]
    fn outcome(batch: Batch, outcome: &mut Outcome) {
        outcome.emit(batch.get(0).expect("one record"), Message::new("from outcome"));
    }

    #[tidegate_sdk::function(json)]
    fn answer(value: u32, record: Record) -> Result<u32> {
        Ok(value + record.attempt())
    }

    #[test]
    fn any_name_will_do() {
        assert_eq!(values(&testing::run::<record>(records(["1"]))), ["1"]);
        assert_eq!(values(&testing::run::<outcome>(records(["1"]))), ["from outcome"]);
        assert_eq!(values(&testing::run::<answer>(records(["1"]))), ["2"]);
    }
}

/// The test harness itself.
mod harness {
    use super::*;

    #[tidegate_sdk::function]
    fn forward(record: Record) -> Message {
        record.forward()
    }

    #[tidegate_sdk::function]
    fn changed(record: Record) -> Message {
        let message = record.with_key(b"\xff").without_value().with_timestamp(2).with_partition(1).with_topic("t");
        message.add_header("added", "x")
    }

    fn source() -> testing::Record {
        testing::Record::new().key("").value(b"\x00\xff").timestamp(1).header(b"\xfe", None::<&str>).header("", "v")
    }

    #[tidegate_sdk::function]
    fn texts(record: Record) -> Result<Message> {
        record.with_json(record.json::<Vec<&str>>()?.join("<").as_str())
    }

    #[test]
    fn json_goes_in_and_comes_out() {
        let outcome = testing::run::<texts>([testing::Record::new().json(&["a", "b"])]);
        assert_eq!(outcome.messages[0].value_str(), r#""a<b""#);
        assert_eq!(outcome.messages[0].json::<String>(), "a<b");
    }

    #[test]
    fn a_message_is_shown_as_it_would_be_produced() {
        let message = &testing::run::<forward>([source()]).messages[0];
        let expected = testing::Message {
            record: 0,
            topic: None,
            partition: None,
            timestamp: Some(1),
            key: Some(Vec::new()),
            value: Some(b"\x00\xff".to_vec()),
            headers: vec![(b"\xfe".to_vec(), None), (Vec::new(), Some(b"v".to_vec()))],
        };
        assert_eq!(message, &expected);

        let message = &testing::run::<changed>([testing::Record::new(), source()]).messages[1];
        let expected = testing::Message {
            record: 1,
            topic: Some("t".to_owned()),
            partition: Some(1),
            timestamp: Some(2),
            key: Some(b"\xff".to_vec()),
            value: None,
            headers: [expected.headers, vec![(b"added".to_vec(), Some(b"x".to_vec()))]].concat(),
        };
        assert_eq!(message, &expected);
        assert!(
            format!("{message:?}").contains(r#"key: "\xff", value: null, headers: [("\xfe", null)"#),
            "{message:?}"
        );
    }

    #[test]
    fn records_get_offsets_of_their_own() {
        let source = testing::Record::new().topic("t").partition(2).offset(40);
        assert_eq!((source.view().topic(), source.view().partition(), source.view().offset()), ("t", 2, 40));
        #[tidegate_sdk::function]
        fn offsets(record: Record) -> Message {
            record.with_value(record.offset().to_string())
        }
        let records = [testing::Record::new(), testing::Record::new(), testing::Record::new().offset(9)];
        assert_eq!(values(&testing::run::<offsets>(records)), ["0", "1", "9"]);
    }

    #[test]
    #[should_panic(expected = "of one partition")]
    fn records_of_two_partitions_are_no_batch() {
        testing::run::<forward>([testing::Record::new(), testing::Record::new().partition(1)]);
    }
}
