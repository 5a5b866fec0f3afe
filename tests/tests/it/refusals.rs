//! Components that are built for another node than this one. What is refused, and in which words, is
//! the same for the author and for the node.

use std::fs;

use serde_json::Value;
use tidegate_tests::functions;
use tidegate_tests::node::{Layout, Node};

use crate::author::{HOW_TO_BUILD, folder, lines, succeeds, text, tidegate};
use crate::pipe::PATIENCE;

/// A real component in which one text stands for another. They are equally long, so that it is as
/// valid as before.
#[track_caller]
fn patched(patches: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = functions::bytes("uppercase");
    for (from, to) in patches {
        assert_eq!(from.len(), to.len());
        let places: Vec<usize> =
            (0..bytes.len()).filter(|&place| bytes[place..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "{from:?} is not in the component");
        for place in places {
            bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

/// As an SDK of this version of the contract would have built it.
#[track_caller]
fn of_version(version: &str) -> Vec<u8> {
    let names = ["handler", "types"].map(|name| format!("tidegate:function/{name}"));
    let [handler, types] = names.map(|name| (format!("{name}@0.1.0"), format!("{name}@{version}")));
    patched(&[(&handler.0, &handler.1), (&types.0, &types.1)])
}

/// Runs `tidegate` on the component, which it must refuse, and gives the reason.
#[track_caller]
fn refused(component: &[u8], command: &str, arguments: &[&str]) -> String {
    let folder = folder();
    fs::write(folder.path().join("function.wasm"), component).expect("written");
    let output = tidegate(folder.path(), &[&[command, "function.wasm"], arguments].concat());
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command}: {errors}");
    let reason = errors.strip_prefix("error: function.wasm: ").and_then(|errors| errors.strip_suffix('\n'));
    reason.unwrap_or_else(|| panic!("{command}: {errors}")).to_owned()
}

/// What a node reports of the component once it has looked at it. It needs no broker for that.
#[track_caller]
fn reported(name: &str, component: &[u8]) -> Value {
    let manifest = "[cluster.main]\nbrokers = \"localhost:9\"\n[function.foreign]\ncomponent = \"function.wasm\"\n\
                    [trigger.any]\nfunction = \"foreign\"\ntopics = [\"in\"]\noutput = \"out\"\non-exhausted = \"skip\"\n";
    let mut node = Node::prepare(name, Layout::File, manifest);
    fs::write(node.path("function.wasm"), component).expect("written");
    node.start_again();
    let is_decided = |report: &Value| report["error"].is_string() || report["revision"].is_string();
    node.wait_for("the component is taken on or refused", PATIENCE, |node| is_decided(&node.function("foreign")));
    node.function("foreign")
}

#[test]
fn a_component_of_another_patch_of_the_contract_is_a_function() {
    let component = of_version("0.1.7");
    let folder = folder();
    fs::write(folder.path().join("function.wasm"), &component).expect("written");
    let facts = succeeds(folder.path(), &["inspect", "function.wasm", "--json"]);
    let facts: Value = serde_json::from_str(&facts).expect("JSON");
    assert_eq!(facts["contract"], "0.1.7");
    let outcomes = lines(&succeeds(folder.path(), &["invoke", "function.wasm", "--value", "hello"]));
    assert_eq!(outcomes[0]["messages"][0]["value"], "HELLO");
    let report = reported("other-patch", &component);
    assert_eq!((&report["error"], &report["revision"]), (&Value::Null, &facts["sha256"]));
}

#[test]
fn a_component_of_another_version_of_the_contract_is_refused_everywhere_in_the_same_words() {
    for version in ["0.2.0", "1.1.0"] {
        let component = of_version(version);
        let reason = format!(
            "it is built for another version of the contract: it exports tidegate:function/handler@{version}, and \
             this tidegate knows 0.1.x; run the tidegate of its SDK, or take the SDK of this tidegate and \
             {HOW_TO_BUILD}"
        );
        assert_eq!(refused(&component, "inspect", &[]), reason);
        assert_eq!(refused(&component, "invoke", &["--value", "x"]), reason);
        let report = reported("other-version", &component);
        assert_eq!((&report["error"], &report["revision"]), (&Value::from(reason), &Value::Null));
    }
}

#[test]
fn an_import_that_is_not_granted_is_named_with_what_to_do_about_it() {
    let component = patched(&[("wasi:cli/environment", "acme:cli/environment")]);
    let folder = folder();
    fs::write(folder.path().join("function.wasm"), &component).expect("written");
    // It is a function: another node may grant more.
    let inspected = tidegate(folder.path(), &["inspect", "function.wasm", "--json"]);
    assert_eq!(inspected.status.code(), Some(0), "{}", text(&inspected.stderr));
    let facts: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    let imports = facts["imports"].as_array().expect("a list");
    let import = imports.iter().filter_map(Value::as_str).find(|name| name.starts_with("acme:")).expect("imported");

    let what = "it imports what it is not granted: ";
    let remedy = format!(
        "; a function may import cli, clocks, filesystem, http, io, random and sockets of WASI 0.2, and nothing else \
         (HTTP comes with the feature `http` of tidegate-sdk, or the package `wasihttp` of sdk-go): leave out the \
         dependency that brings it in, and {HOW_TO_BUILD}"
    );
    let warning = format!("warning: a node will refuse it: {what}{import}{remedy}\n");
    assert_eq!(text(&inspected.stderr), warning);
    let reason = refused(&component, "invoke", &["--value", "x"]);
    // Between them wasmtime says in its own words which function of it is missing.
    let named = reason.strip_prefix(what).and_then(|reason| reason.strip_suffix(&remedy));
    assert!(named.is_some_and(|named| named.contains(&format!("`{import}`"))), "{reason}");
    let report = reported("ungranted", &component);
    assert_eq!((&report["error"], &report["revision"]), (&Value::from(reason), &Value::Null));
}

#[test]
fn a_handler_that_cannot_be_called_is_refused_by_its_name() {
    // A name in a component begins with its length.
    let component = patched(&[("\u{6}handle", "\u{6}handel")]);
    let reason = format!(
        "its export tidegate:function/handler@0.1.0 has another shape than that of the contract: instance export \
         `tidegate:function/handler@0.1.0` does not have export `handle`; take the SDK of this tidegate and \
         {HOW_TO_BUILD}"
    );
    assert_eq!(refused(&component, "invoke", &["--value", "x"]), reason);
    let report = reported("other-shape", &component);
    assert_eq!((&report["error"], &report["revision"]), (&Value::from(reason), &Value::Null));
}
