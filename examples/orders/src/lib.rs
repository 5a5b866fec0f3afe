//! Typed JSON: an order comes in, the order and what it costs in all goes out.
//!
//! Amounts are in the smallest unit of the currency (cents), as whole numbers, because money does
//! not go into floating point.

use serde::{Deserialize, Serialize};
use tidegate_sdk::{Error, Result};

/// An order, as the shop writes it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Order {
    /// Identifies it.
    pub id: String,
    /// Price of one piece, in the smallest unit of the currency.
    pub amount: u64,
    /// How many pieces; one, if not said.
    #[serde(default = "one")]
    pub quantity: u64,
    /// Of both amounts.
    pub currency: Currency,
}

/// What the shop takes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// United States dollar.
    Usd,
}

/// The order, and what it costs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Priced {
    /// As it came.
    #[serde(flatten)]
    pub order: Order,
    /// Value added tax contained in the total.
    pub tax: u64,
    /// What is to be paid.
    pub total: u64,
}

/// Prices an order. An order of nothing is dropped; one that overflows is rejected, and so is, by
/// the typed form, whatever is no order.
#[tidegate_sdk::function(json)]
pub fn price(order: Order) -> Result<Option<Priced>> {
    if order.quantity == 0 {
        return Ok(None);
    }
    let overflow = || Error::reject(format_args!("order {} costs more than there is", order.id));
    let net = order.amount.checked_mul(order.quantity).ok_or_else(overflow)?;
    let tax = net.checked_mul(tax_percent(order.currency)).ok_or_else(overflow)? / 100;
    let total = net.checked_add(tax).ok_or_else(overflow)?;
    Ok(Some(Priced { order, tax, total }))
}

fn tax_percent(currency: Currency) -> u64 {
    match currency {
        Currency::Eur => 19,
        Currency::Gbp => 20,
        Currency::Usd => 0,
    }
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn an_order_is_priced() {
        let order = Order { id: "a1".into(), amount: 500, quantity: 3, currency: Currency::Eur };
        let priced = price(order.clone());
        assert_eq!(priced, Ok(Some(Priced { order, tax: 285, total: 1785 })));
    }

    #[test]
    fn a_message_keeps_key_and_headers_and_has_the_total() {
        let record = testing::Record::new()
            .key("a1")
            .header("trace", "abc")
            .value(r#"{"id": "a1", "amount": 500, "currency": "GBP"}"#);
        let outcome = testing::run::<price>([record]);

        let message = &outcome.messages[0];
        let expected = r#"{"id":"a1","amount":500,"quantity":1,"currency":"GBP","tax":100,"total":600}"#;
        assert_eq!(message.value_str(), expected);
        assert_eq!(message.key_str(), "a1");
        assert_eq!(message.header("trace"), Some(&b"abc"[..]));
    }

    #[test]
    fn what_is_no_order_is_rejected_with_the_place() {
        let record = |value| testing::Record::new().value(value);
        let outcome = testing::run::<price>([
            record(r#"{"id": "a1", "currency": "EUR"}"#),
            record(r#"{"id": "a1", "amount": 5, "currency": "DM"}"#),
            record("no JSON"),
            testing::Record::new(),
        ]);

        assert!(outcome.messages.is_empty());
        assert!(outcome.failures.iter().all(|failure| failure.error.is_reject()));
        let reasons: Vec<&str> = outcome.failures.iter().map(|failure| failure.error.reason()).collect();
        let expected = [
            "bad JSON in the value: missing field `amount` at line 1 column 31",
            "bad JSON in the value: unknown variant `DM`, expected one of `EUR`, `GBP`, `USD` at line 1 column 42",
            "bad JSON in the value: expected ident at line 1 column 2",
            "the value is null, not JSON",
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn an_order_of_nothing_is_dropped_and_one_that_overflows_is_rejected() {
        let order = |amount, quantity| Order { id: "a1".into(), amount, quantity, currency: Currency::Usd };
        assert_eq!(price(order(5, 0)), Ok(None));
        assert!(price(order(u64::MAX, 2)).is_err_and(|error| error.is_reject()));
    }
}
