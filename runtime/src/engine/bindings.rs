//! The contract as generated from the WIT. The world is that of the host: only the export counts;
//! what a component imports is checked against the linker.

wasmtime::component::bindgen!({
    inline: "package tidegate:host; world runner { export tidegate:function/handler@0.1.0; }",
    path: "../wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use self::tidegate::function::types::{ColumnParam, ColumnResult, FailureKind, HeadersParam};
pub(super) use exports::tidegate::function::handler::{Batch, Outcome};
