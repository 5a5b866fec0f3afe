//! The attribute of `tidegate-sdk`. Use it from there: `#[tidegate_sdk::function]`.
#![warn(missing_docs)]

use proc_macro::TokenStream;

mod expand;
mod signature;
#[cfg(test)]
mod tests;

/// Makes a function the one that Tidegate calls.
///
/// | written | takes | returns |
/// |---|---|---|
/// | `function` | `Record` | what implements `IntoOutcome`: `()`, `Message`, `Option`, `Vec` or `Result` of them |
/// | `function` | `Batch`, `&mut Outcome` | `()` or `Result<()>` |
/// | `function(json)` | a type that serde reads, perhaps also `Record` | as the first, with a type that serde writes in the place of `Message` |
///
/// An `async fn` of any of these is run to its end, if `tidegate-sdk` has the feature `async` or
/// `http`. With `concurrent = 64` beside the others, so many records of different keys are handled at a
/// time; those of one key are still handled one after another.
///
/// The function stays as it is and can be called like any other. For wasm the crate also exports
/// it as the handler of a component, so a crate has one such function: a second does not compile.
///
/// See the documentation of the `tidegate_sdk` crate for examples.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // In place of a function that is wrong stands the error alone: with the function, rustc would add
    // what it has to say about lifetimes.
    expand::function(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
