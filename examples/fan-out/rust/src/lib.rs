//! A fan-out: a payment goes to the topic of its country, and a copy to the audit.

use serde::Deserialize;
use tidegate_sdk::{Error, Message, Record, Result};

/// What is looked at of a payment.
#[derive(Deserialize)]
struct Payment {
    country: String,
}

/// Answers a payment with two messages. Both are done, or the record is not.
#[tidegate_sdk::function]
pub fn fan_out(record: Record) -> Result<[Message; 2]> {
    let payment: Option<Payment> = record.json().ok();
    let country = payment.map(|payment| payment.country).unwrap_or_default();
    if country.is_empty() {
        return Err(Error::reject("the value is no payment with a country"));
    }
    let topic = topic_of(&country);
    let to_country = record.forward().with_topic(topic);
    let to_audit = record.forward().with_topic("payments-audit").add_header("sent-to", topic);
    Ok([to_country, to_audit])
}

/// The topics are listed here and in `allow-topics` of the manifest. Never make one up from what a
/// record says: a topic that is not allowed fails the whole call.
fn topic_of(country: &str) -> &'static str {
    match country {
        "DE" => "payments-de",
        "FR" => "payments-fr",
        _ => "payments-other",
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn a_payment_goes_to_its_country_and_to_the_audit() {
        let payment = testing::Record::new().value(r#"{"id": "p1", "country": "FR"}"#);
        let outcome = testing::run::<fan_out>([payment]);

        let topics: Vec<_> = outcome.messages.iter().map(|message| message.topic.as_deref()).collect();
        assert_eq!(topics, [Some("payments-fr"), Some("payments-audit")]);
        let sent_to = outcome.messages[1].header("sent-to").and_then(|header| header.value);
        assert_eq!(sent_to, Some(&b"payments-fr"[..]));
    }

    #[test]
    fn what_is_no_payment_is_rejected() {
        let outcome = testing::run::<fan_out>([testing::Record::new().value("no JSON")]);
        assert!(outcome.failures[0].error.is_reject());
    }
}
