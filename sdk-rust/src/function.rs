//! From the function that an author writes to the handler that the runtime calls.

use serde::Serialize;

use crate::bindings::tidegate::function::types as wire;
use crate::columns::Columns;
use crate::{Batch, Error, Message, Outcome, Record};

/// A function as the runtime calls it. Implemented by [`function`](macro@crate::function) on a type
/// with the name of the function, which is what [`testing::run`](crate::testing::run) takes.
pub trait Function {
    /// Handles the records of a batch.
    fn call(batch: Batch<'_>, outcome: &mut Outcome);
}

/// Calls a function with a batch as it came.
pub fn handle<F: Function>(batch: wire::Batch) -> wire::Outcome {
    #[cfg(all(feature = "log", target_arch = "wasm32"))]
    crate::logging::set_up();
    let columns = Columns::new(batch);
    let batch = Batch::new(&columns);
    let mut outcome = Outcome::new(batch);
    F::call(batch, &mut outcome);
    outcome.finish()
}

/// What a function of a record may return.
///
/// | type | meaning |
/// |---|---|
/// | `()` | handled, no message |
/// | [`Message`] | one message |
/// | [`Json<T>`](Json) | one message with a value in JSON |
/// | `Option` of these | perhaps a message |
/// | `Vec` or array of these | any number of messages, in this order |
/// | `Result` of any of the above | or a failure: [`Error`], or what converts into it |
#[diagnostic::on_unimplemented(
    message = "a function cannot return `{Self}`",
    label = "not something a function returns",
    note = "it returns `()`, `Message`, `Json<T>`, an `Option`, `Vec` or array of these, or a `Result` of any of them",
    note = "with `#[tidegate_sdk::function(json)]` it may also return what serde serialises"
)]
pub trait IntoOutcome {
    /// Adds to the outcome what it says of this record.
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome);
}

impl IntoOutcome for () {
    #[inline]
    fn into_outcome(self, _record: Record<'_>, _outcome: &mut Outcome) {}
}

impl IntoOutcome for Message<'_> {
    #[inline]
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome) {
        outcome.emit(record, self);
    }
}

impl<T: IntoOutcome> IntoOutcome for Option<T> {
    #[inline]
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome) {
        if let Some(answer) = self {
            answer.into_outcome(record, outcome);
        }
    }
}

impl<T: IntoOutcome> IntoOutcome for Vec<T> {
    #[inline]
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome) {
        for answer in self {
            answer.into_outcome(record, outcome);
        }
    }
}

impl<T: IntoOutcome, const N: usize> IntoOutcome for [T; N] {
    #[inline]
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome) {
        for answer in self {
            answer.into_outcome(record, outcome);
        }
    }
}

impl<T: IntoOutcome, E: Into<Error>> IntoOutcome for Result<T, E> {
    #[inline]
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome) {
        match self {
            Ok(answer) => answer.into_outcome(record, outcome),
            Err(error) => outcome.fail(record, error),
        }
    }
}

/// The record with this, written as JSON, for its value. What has no form in JSON (a map whose keys
/// are not strings) is a reject.
///
/// A function marked `#[tidegate_sdk::function(json)]` returns the bare type instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoOutcome for Json<T> {
    #[inline]
    fn into_outcome(self, record: Record<'_>, outcome: &mut Outcome) {
        record.with_json(&self.0).into_outcome(record, outcome);
    }
}

/// What a function of a batch may return: nothing, or an error that fails every record.
#[diagnostic::on_unimplemented(
    message = "a function of a batch cannot return `{Self}`",
    label = "not something a function of a batch returns",
    note = "it returns `()` or `Result<()>`; its messages go to the outcome"
)]
pub trait BatchAnswer {
    /// Adds to the outcome what it says of the batch.
    fn into_outcome(self, batch: Batch<'_>, outcome: &mut Outcome);
}

impl BatchAnswer for () {
    #[inline]
    fn into_outcome(self, _batch: Batch<'_>, _outcome: &mut Outcome) {}
}

impl<E: Into<Error>> BatchAnswer for Result<(), E> {
    #[inline]
    fn into_outcome(self, batch: Batch<'_>, outcome: &mut Outcome) {
        if let Err(error) = self {
            let error = error.into();
            // A record that the function failed by itself keeps its own error: the first one counts.
            batch.into_iter().for_each(|record| outcome.fail(record, error.clone()));
        }
    }
}
