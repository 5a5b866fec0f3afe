//! From a core module to a component, for languages whose compilers only make core modules.
//!
//! The module uses `wasi_snapshot_preview1`. An adapter of the wasmtime project translates that to WASI 0.2. The
//! module's exports have the canonical names of the contract.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The versions and texts of the contracts that a module may be built against.
const CONTRACTS: &[(&str, &str)] = &[("0.1.0", include_str!("../../../../wit/function.wit"))];
/// The other packages that a module may import. Each only needs packages before it.
const WASI: [(&str, &str); 3] = [
    ("io.wit", include_str!("../../../../wit/deps/io.wit")),
    ("clocks.wit", include_str!("../../../../wit/deps/clocks.wit")),
    ("http.wit", include_str!("../../../../wit/deps/http.wit")),
];
/// The world of a module in Go. A component imports only the part of it that its module imports.
const WORLD: &str = "package tidegate:go;

world module {
    import wasi:http/outgoing-handler@0.2.12;
    export tidegate:function/handler@VERSION;
}";
/// The export that initialises a module, once, before the first call.
const INITIALISE: &str = "_initialize";

/// Makes a component out of a module. The error says what is wrong with the module.
pub(super) fn of_core(mut module: Vec<u8>) -> Result<Vec<u8>, String> {
    let exports = exports(&module).map_err(|error| format!("the compiler made no module: {error}"))?;
    let has = |name: &str| exports.iter().any(|export| export == name);
    let Some((version, wit)) = CONTRACTS.iter().find(|(version, _)| has(&handler(version))) else {
        return Err("it exports no handler; register a function with tidegate.Handle in an init function".to_owned());
    };
    if !has(INITIALISE) {
        return Err(format!("it does not export {INITIALISE}: it is a command and not a library"));
    }
    encode(&mut module, version, wit).map_err(|error| format!("it makes no component: {error}"))
}

/// The export of a function by the contract of this version.
fn handler(version: &str) -> String {
    format!("tidegate:function/handler@{version}#handle")
}

fn encode(module: &mut Vec<u8>, version: &str, wit: &str) -> Result<Vec<u8>, String> {
    // The whole chain of causes.
    let whole = |error| format!("{error:#}");
    let mut resolve = Resolve::default();
    for (name, text) in WASI {
        resolve.push_str(name, text).map_err(whole)?;
    }
    resolve.push_str("function.wit", wit).map_err(whole)?;
    let package = resolve.push_str("go.wit", &WORLD.replace("VERSION", version)).map_err(whole)?;
    let world = resolve.select_world(&[package], None).map_err(whole)?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8, false).map_err(whole)?;
    let encoded =
        || ComponentEncoder::default().validate(true).module(module)?.adapter(ADAPTER_NAME, ADAPTER)?.encode();
    encoded().map_err(whole)
}

fn exports(module: &[u8]) -> wasmparser::Result<Vec<String>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(exports) = payload? {
            for export in exports {
                names.push(export?.name.to_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use wit_parser::{SizeAlign, Type, TypeDefKind};

    use super::*;

    #[test]
    fn what_is_no_function_is_refused() {
        let refused = |module: &[u8]| of_core(module.to_vec()).expect_err("not a function");
        assert!(refused(b"\0asm\x01\0\0\0").contains("tidegate.Handle"));
        assert!(refused(b"#!/bin/sh").contains("no module"));
    }

    #[test]
    fn the_contracts_are_those_of_their_versions() {
        for (version, wit) in CONTRACTS {
            assert!(wit.contains(&format!("package tidegate:function@{version};")), "{version}");
        }
    }

    /// The Go SDK lays its structs over what the host writes, by hand; its own tests hold them against
    /// the same file.
    #[test]
    fn the_layout_that_the_go_sdk_counts_on_is_that_of_the_contract() {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("function.wit", CONTRACTS[0].1).expect("valid");
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve).expect("plain types");
        let types = resolve.packages[package].interfaces["types"];
        let mut layout = String::new();
        for name in ["column", "headers", "batch", "failure", "outcome"] {
            let id = resolve.interfaces[types].types[name];
            let TypeDefKind::Record(record) = &resolve.types[id].kind else { panic!("{name} is a record") };
            let own = Type::Id(id);
            let (size, align) = (sizes.size(&own).size_wasm32(), sizes.align(&own).align_wasm32());
            let _ = writeln!(layout, "{name} size={size} align={align}");
            for (field, (offset, _)) in
                record.fields.iter().zip(sizes.field_offsets(record.fields.iter().map(|f| &f.ty)))
            {
                let _ = writeln!(layout, "  {} {}", field.name, offset.size_wasm32());
            }
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-go/internal/abi/layout.txt");
        let found = std::fs::read_to_string(&path).expect("the SDK says what it counts on");
        assert_eq!(found, layout, "{}", path.display());
    }
}
