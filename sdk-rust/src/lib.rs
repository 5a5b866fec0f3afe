//! Write [Tidegate](https://github.com/tidegate/tidegate) functions in Rust.
//!
//! A function takes records of a Kafka topic and answers with messages. It is an ordinary Rust
//! function with an attribute:
//!
//! ```
//! use tidegate_sdk::{Message, Record, Result};
//!
//! /// Answers a record with itself, the letters a to z of its value in upper case. All other bytes stay,
//! /// and so does a record without a value.
//! #[tidegate_sdk::function]
//! fn shout(record: Record) -> Result<Message> {
//!     Ok(record.with_value(record.value().map(<[u8]>::to_ascii_uppercase)))
//! }
//! ```
//!
//! Its crate is a `cdylib` and depends on `tidegate-sdk`; `cargo build --release --target
//! wasm32-wasip2` makes the component that Tidegate runs. One crate holds one function.
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! tidegate-sdk = "0.1"
//! ```
//!
//! # What a function takes
//!
//! A [`Record`] at a time, as above: what suits nearly every function. Records of different keys
//! are handled side by side by several instances, those of one key one after another.
//!
//! **Typed JSON.** With `function(json)` the value is read into a type of yours, and what you return
//! becomes the value of the message; key, headers and timestamp stay as they are in the record. A
//! value that is not such JSON is rejected, with the place of the mistake in the reason. The record
//! itself comes along as a second parameter, if you want it.
//!
//! ```
//! use tidegate_sdk::{Record, Result};
//!
//! #[derive(serde::Deserialize)]
//! struct Order { amount: u64, price: u64 }
//!
//! #[derive(serde::Serialize)]
//! struct Priced { total: u64, attempt: u32 }
//!
//! #[tidegate_sdk::function(json)]
//! fn price(order: Order, record: Record) -> Result<Option<Priced>> {
//!     let total = order.amount * order.price;
//!     Ok((total > 0).then_some(Priced { total, attempt: record.attempt() }))
//! }
//! ```
//!
//! **A batch.** Where many records together are cheaper than each alone (one request for all of
//! them, say), take the [`Batch`] and fill the [`Outcome`]. Every record that is not failed counts
//! as handled. An error that the function returns fails every record of the batch that was not failed
//! by itself. [`Batch`] says what runs again when some of it fails.
//!
//! ```
//! use tidegate_sdk::{Batch, Error, Outcome, Result};
//!
//! # fn look_up(keys: &[&[u8]]) -> std::io::Result<Vec<Option<String>>> { Ok(vec![None; keys.len()]) }
//! #[tidegate_sdk::function]
//! fn look_up_all(batch: Batch, outcome: &mut Outcome) -> Result<()> {
//!     let keys: Vec<&[u8]> = batch.iter().map(|record| record.key().unwrap_or_default()).collect();
//!     let names = look_up(&keys)?;
//!     for (record, name) in batch.iter().zip(names) {
//!         match name {
//!             Some(name) => outcome.emit(record, record.with_value(name)),
//!             None => outcome.fail(record, Error::reject("no such customer")),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What a function returns
//!
//! `()`, a [`Message`], `Option<Message>`, `Vec<Message>`, or a `Result` of one of these (all of
//! them are listed at [`IntoOutcome`]); with `function(json)` the same with a type of yours in the
//! place of `Message`. The attribute reads the return type as it is written, so spell out `Option`
//! and `Vec` there rather than hiding them in an alias. For an array as the value, return
//! `Json<Vec<T>>`.
//!
//! ```
//! # use tidegate_sdk::{Message, Record};
//! #[tidegate_sdk::function]
//! fn words(record: Record) -> Vec<Message> {
//!     let words = record.value().unwrap_or_default().split(|&byte| byte == b' ');
//!     words.map(|word| record.with_value(word)).collect()
//! }
//! ```
//!
//! [`Record::forward`] and its kin make a message that is the record over again but for what you
//! set; what you do not set is not even copied.
//!
//! # Async functions
//!
//! An `async fn` of any of these forms is run to its end too, with the feature `async` or `http`. It is
//! for what waits, which is HTTP; nothing else runs meanwhile, so there is no gain in it otherwise.
//!
//! Records are handled one after another, unless you say how many may be handled at a time:
//!
#![cfg_attr(feature = "async", doc = "```")]
#![cfg_attr(not(feature = "async"), doc = "```ignore")]
//! use tidegate_sdk::{Message, Record, Result};
//!
//! # async fn translate(text: &str) -> std::io::Result<String> { Ok(text.to_owned()) }
//! #[tidegate_sdk::function(concurrent = 64)]
//! async fn translated(record: Record) -> Result<Message> {
//!     Ok(record.with_value(translate(record.value_str()?).await?))
//! }
//! ```
//!
//! Then up to 64 records of a call are under way at once: those of different keys, and those without a
//! key. Those of one key are still handled in their order, one after another, and messages leave in the
//! order of the records. It is yours to say because only you know whether that is enough: for a trigger
//! with `ordering = "partition"`, where what you do elsewhere has to happen in the order of all records,
//! leave `concurrent` out. A function of a batch says itself what it waits for together.
//!
//! [wstd](https://docs.rs/wstd) runs them in a component, so its timers may be waited for as well.
//!
//! # HTTP
//!
//! With the feature `http` a function asks other services, as far as the manifest allows it:
//!
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use tidegate_sdk::{Message, Record, Result, http};
//!
//! #[tidegate_sdk::function(concurrent = 64)]
//! async fn enrich(record: Record) -> Result<Message> {
//!     let url = format!("https://api.example.com/customers/{}", http::escape(record.key_str()?));
//!     let response = http::get(url).await?.error_for_status()?;
//!     Ok(record.with_value(response.bytes().await?))
//! }
//! ```
//!
//! ```toml
//! [dependencies]
//! tidegate-sdk = { version = "0.1", features = ["http"] }
//! ```
//!
//! See the module `http` for requests, time-outs and failures, and `testing::http` for tests.
//!
//! # Failures
//!
//! `?` fails the record with a retry, [`OrReject::or_reject`] and [`Error::reject`] with a reject:
//! see [`Error`], and [`Batch`] for what else runs again then. A panic traps: its message goes to the log, the instance is dropped and a new one
//! takes over, and the record at fault is retried, as for [`Error::retry`]. Since it costs an
//! instance, fail with an error where you can foresee it.
//!
//! # Logs
//!
//! `println!` and `eprintln!` write to the log of the runtime, each line with the trigger, revision and
//! record it belongs to, at the level `INFO`.
//!
//! With the feature `log`, so does the crate [log](https://docs.rs/log), at the level of what is said:
//! nothing is to be set up, and `log::warn!("no price of {item}")` becomes the line
//! `WARN orders: no price of tea`. What is said by the crate `tracing` comes along if that has its
//! feature `log`. From which level on is the operator's to say, with `tidegate run --log
//! info,function=debug`: the function is told, and writes nothing that nobody would read. The variable
//! `RUST_LOG` in its environment leaves more out, also by module: `"warn,orders::price=debug"`. In a
//! test on the host the logger is left to you.
//!
//! A logger of your own has its lines logged at their level if they begin with it, as in
//! `level=WARN no price of tea`.
//!
//! # Configuration, state
//!
//! Settings and secrets are environment variables: `std::env::var`. There are no threads, no sockets,
//! and no files but those in folders that the manifest gives.
//!
//! An instance handles one call after another, so a `static` with a `OnceLock` or `LazyLock` keeps
//! what is dear to set up. It is a cache and no more: instances come and go, and the records of a
//! key need not meet the same one.
//!
//! # Tests
//!
//! The attribute leaves the function as it is, to be called and tested on your own machine with
//! `cargo test`: see [`testing`].
#![warn(missing_docs)]

/// The contract of `wit/function.wit` as Rust types, and the macro that exports a handler.
///
/// Written by wit-bindgen ahead of time, by `tests/bindings.rs`, and not by its macro in each
/// build: an author's first build takes 9 seconds instead of 36.
#[doc(hidden)]
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unsafe_code, unused_qualifications)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, clippy::unwrap_used)]
pub mod bindings;
mod columns;
mod error;
#[cfg(feature = "async")]
mod executor;
mod function;
#[cfg(feature = "http")]
pub mod http;
#[cfg(all(feature = "log", any(target_arch = "wasm32", test)))]
mod logging;
mod message;
mod outcome;
mod record;
pub mod testing;

pub use error::{Error, OrReject, Result};
pub use function::{Function, IntoOutcome, Json};
pub use message::{Field, HeaderName, Message, MessageHeader};
pub use outcome::Outcome;
pub use record::{Batch, Header, Headers, Record, Records};
pub use tidegate_sdk_macros::function;

/// What the attribute writes into the author's crate. Not for people; it may change at any time.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::bindings::export;
    pub use crate::bindings::exports::tidegate::function::handler::Guest;
    pub use crate::bindings::tidegate::function::types::{Batch, Outcome};
    #[cfg(feature = "async")]
    pub use crate::executor::{block_on, overlap};
    pub use crate::function::{BatchAnswer, handle};
}

/// The example of the README, for the compiler to read.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// The attribute names this crate as its users do; so do its own tests.
#[cfg(test)]
extern crate self as tidegate_sdk;
#[cfg(test)]
mod tests;
