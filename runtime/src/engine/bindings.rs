//! The contract as generated from the WIT. The world is that of the host: only the export counts;
//! what a component imports is checked against the linker.

/// The version of the contract that the bindings are made of.
///
/// Components of every patch of the same 0.x are taken on, those of newer patches too, because
/// wasmtime finds exports and imports by their names in this way. So a patch adds what a component may
/// leave out, and changes nothing that is there. A component that imports what this version does not
/// have yet is refused by the name of that import.
pub(super) const VERSION: &str = "0.1.0";

wasmtime::component::bindgen!({
    inline: "package tidegate:host; world runner { export tidegate:function/handler@0.1.0; }",
    path: "../wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use self::tidegate::function::types::{ColumnParam, ColumnResult, FailureKind, HeadersParam};
pub(super) use exports::tidegate::function::handler::{Batch, Outcome};
