//! Enriching: an order gets its customer, whom another service knows.
//!
//! What the service answers is remembered for a minute, by this instance and nobody else: each instance,
//! here and on other nodes, asks for itself. So an order may get a customer as it was a minute ago, another
//! order of the same moment as it is now, and a customer is asked for at most once a minute by each of them.
//! What an instance knows goes with it: at a trap or a deadline, with a new revision, after a while without
//! calls. It saves requests; that an answer is there is never counted on.

mod cache;

use std::cell::RefCell;
use std::env;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_sdk::http::{self, ErrorKind};
use tidegate_sdk::{Error, Result};

use cache::Cache;

/// Most customers that are remembered. With the longest answer that the manifest allows they take 16 MiB.
const MOST: usize = 1_000;
/// How old what is remembered may be.
const AGE: Duration = Duration::from_secs(60);

/// Who is asked, as the manifest says. Read once by each instance.
static API: LazyLock<String> = LazyLock::new(|| {
    let api = env::var("API").ok().filter(|api| !api.is_empty());
    api.unwrap_or_else(|| "http://localhost:8080".into())
});

thread_local! {
    /// An instance has one thread.
    static CUSTOMERS: RefCell<Cache<Customer>> = RefCell::new(Cache::new(MOST, AGE));
}

/// An order, as the shop writes it. What is missing is left to [`enrich`], which says it in our words.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Order {
    id: String,
    /// The customer's id.
    customer: String,
    /// In cents.
    amount: Option<u64>,
}

/// A customer, as the service knows them. What else it says of them is left out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Customer {
    id: String,
    name: String,
    city: String,
}

/// The order with its customer.
#[derive(Serialize)]
pub struct Enriched {
    id: String,
    amount: u64,
    customer: Customer,
}

/// Answers an order with its customer. One that is no order, or of nobody, is rejected: it goes to the dead
/// letters. After any other trouble with the service the record is tried again.
#[tidegate_sdk::function(json)]
pub async fn enrich(order: Order) -> Result<Enriched> {
    let Order { id, customer, amount } = order;
    if id.is_empty() {
        return Err(Error::reject("the order has no id"));
    }
    let Some(amount) = amount else {
        return Err(Error::reject(format_args!("order {id} has no amount")));
    };
    if !is_id(&customer) {
        return Err(Error::reject(format_args!("order {id} is of no customer")));
    }
    Ok(Enriched { id, amount, customer: known(&customer).await? })
}

/// Whether it is an id. What else it might be does not get into a URL.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The customer as remembered, or else as the service says now. An answer is as old as its question.
async fn known(id: &str) -> Result<Customer> {
    let now = Instant::now();
    if let Some(customer) = CUSTOMERS.with_borrow_mut(|customers| customers.get(id, now)) {
        return Ok(customer);
    }
    let customer = ask(id).await?;
    CUSTOMERS.with_borrow_mut(|customers| customers.put(id, customer.clone(), now));
    Ok(customer)
}

async fn ask(id: &str) -> Result<Customer> {
    let response = http::get(format!("{}/customers/{id}", *API)).await.map_err(|error| no_answer(id, &error))?;
    match response.status() {
        200 => {
            let body = response.bytes().await.map_err(|error| no_answer(id, &error))?;
            let customer = serde_json::from_slice(&body).ok().filter(|customer| is_complete(customer, id));
            customer.ok_or_else(|| Error::retry(format_args!("customer {id}: the answer is not this customer")))
        }
        404 => Err(Error::reject(format_args!("customer {id}: nobody knows them"))),
        status => Err(Error::retry(format_args!("customer {id}: the answer has status {status}"))),
    }
}

/// Whether it is the customer that was asked for, with all that an order is to get.
fn is_complete(customer: &Customer, id: &str) -> bool {
    customer.id == id && !customer.name.is_empty() && !customer.city.is_empty()
}

/// What the dead letter would say. The log says exactly what happened.
fn no_answer(id: &str, error: &http::Error) -> Error {
    eprintln!("customer {id}: {error}");
    let in_time = if error.kind() == ErrorKind::Timeout { " in time" } else { "" };
    Error::retry(format_args!("customer {id}: no answer{in_time}"))
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing::http::{Answer, Answers, answer};
    use tidegate_sdk::testing::{Outcome, Record, run};

    use super::*;

    /// A service that knows customer 7, and is down for customer 9.
    fn service() -> Answers {
        answer(|request| match request.url.rsplit('/').next() {
            Some("7") => Answer::new(200).body(r#"{"id": "7", "name": "Ada", "city": "London"}"#),
            Some("9") => Answer::failed(ErrorKind::Timeout),
            _ => Answer::new(404),
        })
    }

    fn orders_of(customers: &[&str]) -> Outcome {
        let order = |customer| format!(r#"{{"id": "a", "customer": "{customer}", "amount": 500}}"#);
        run::<enrich>(customers.iter().map(|customer| Record::new().value(order(customer))))
    }

    #[test]
    fn a_customer_is_asked_for_once() {
        let service = service();
        let outcome = orders_of(&["7", "7"]);

        let expected = r#"{"id":"a","amount":500,"customer":{"id":"7","name":"Ada","city":"London"}}"#;
        assert!(outcome.messages.iter().all(|message| message.value_str() == expected));
        let urls: Vec<String> = service.requests().into_iter().map(|request| request.url).collect();
        assert_eq!(urls, ["http://localhost:8080/customers/7"]);
    }

    #[test]
    fn trouble_is_tried_again_and_an_order_of_nobody_is_rejected() {
        let service = service();
        let outcome = orders_of(&["9", "8", "../7"]);

        let errors: Vec<Error> = outcome.failures.into_iter().map(|failure| failure.error).collect();
        let expected = [
            Error::retry("customer 9: no answer in time"),
            Error::reject("customer 8: nobody knows them"),
            Error::reject("order a is of no customer"),
        ];
        assert_eq!((errors, service.requests().len()), (expected.to_vec(), 2));
    }
}
