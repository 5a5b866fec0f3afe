//! The Rust bindings of the contract, generated from the WIT. The world describes only what the host calls:
//! the export of the handler. The linker checks what a component imports.

/// The version of the contract from which the bindings are generated.
///
/// The engine accepts components of every patch version of the same 0.x, including newer patches, because
/// wasmtime matches the names of exports and imports in this way. So a patch version may only add things
/// that a component can leave out, and must not change what exists. If a component imports something that
/// this version does not have yet, it is refused, and the error names that import.
pub(super) const VERSION: &str = "0.1.0";

wasmtime::component::bindgen!({
    inline: "package tidegate:host; world runner { export tidegate:function/handler@0.1.0; }",
    path: "../wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use self::tidegate::function::types::{ColumnParam, ColumnResult, FailureKind, HeadersParam};
pub(super) use exports::tidegate::function::handler::{Batch, Outcome};
