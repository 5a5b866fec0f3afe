//! Typed JSON: an order comes in, the order and what it costs in all goes out.
//!
//! Amounts are in the smallest unit of the currency (cents), as whole numbers, because money does
//! not go into floating point.

use serde::{Deserialize, Serialize};
use tidegate_sdk::{Error, Result};

/// An order, as the shop writes it. What is missing is left to [`price`], which says it in our words.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Order {
    /// Identifies it.
    pub id: String,
    /// Price of one piece, in the smallest unit of the currency.
    pub amount: u64,
    /// How many pieces; one, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
    /// Of all amounts.
    pub currency: String,
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

/// Beyond it an amount or a quantity is a mistake. It also keeps the products within 64 bits.
const LIMIT: u64 = 100_000_000;

/// Prices an order. An order of nothing is dropped. One that cannot be right is rejected: it goes to the
/// dead letters with this reason. What is no such JSON never gets here and goes there too, with the place
/// of the mistake.
#[tidegate_sdk::function(json)]
pub fn price(order: Order) -> Result<Option<Priced>> {
    if order.id.is_empty() {
        return Err(Error::reject("the order has no id"));
    }
    if order.amount == 0 {
        return Err(Error::reject(format_args!("order {} has no amount", order.id)));
    }
    let quantity = order.quantity.unwrap_or(1);
    if quantity == 0 {
        return Ok(None);
    }
    if order.amount > LIMIT || quantity > LIMIT {
        return Err(Error::reject(format_args!("order {} is too large", order.id)));
    }
    let net = order.amount * quantity;
    let tax = net * tax_percent(&order)? / 100;
    Ok(Some(Priced { order, tax, total: net + tax }))
}

fn tax_percent(order: &Order) -> Result<u64> {
    match order.currency.as_str() {
        "EUR" => Ok(19),
        "GBP" => Ok(20),
        "USD" => Ok(0),
        "" => Err(Error::reject(format_args!("order {} has no currency", order.id))),
        other => Err(Error::reject(format_args!("order {} is in {other}, which the shop does not take", order.id))),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn an_order_is_priced() {
        let order = Order { id: "a1".into(), amount: 500, quantity: Some(3), currency: "EUR".into() };
        let priced = price(order.clone());
        assert_eq!(priced, Ok(Some(Priced { order, tax: 285, total: 1785 })));
    }

    #[test]
    fn what_is_no_such_json_is_rejected_with_the_place() {
        let record = |value| testing::Record::new().value(value);
        let outcome = testing::run::<price>([
            record(r#"{"id": "a1", "amount": "five"}"#),
            record("no JSON"),
            testing::Record::new(),
        ]);

        assert!(outcome.messages.is_empty());
        assert!(outcome.failures.iter().all(|failure| failure.error.is_reject()));
        let reasons: Vec<&str> = outcome.failures.iter().map(|failure| failure.error.reason()).collect();
        let expected = [
            "bad JSON in the value: invalid type: string \"five\", expected u64 at line 1 column 29",
            "bad JSON in the value: expected ident at line 1 column 2",
            "the value is null, not JSON",
        ];
        assert_eq!(reasons, expected);
    }
}
