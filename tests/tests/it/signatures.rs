//! Functions whose components have to be signed.

use std::fs;

use serde_json::Value;
use tidegate_tests::functions;
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::model::Model;
use tidegate_tests::node::{Layout, Node, replace};
use tidegate_tests::signer::Signer;

use crate::pipe::{PATIENCE, Pipe, READY, cluster, function_at};

/// Waits until the function's error says this.
#[track_caller]
fn wait_refused(node: &mut Node, why: &str) {
    node.wait_for(why, PATIENCE, |node| node.function("f")["error"].as_str().is_some_and(|error| error.contains(why)));
}

/// Waits until another revision than this one serves, and nothing is wrong with the newest.
#[track_caller]
fn wait_served(node: &mut Node, before: &Value) {
    node.wait_for("the next revision serves", PATIENCE, |node| {
        node.trigger("signed")["revision"] != *before && node.function("f")["error"].is_null()
    });
}

#[test]
fn only_what_is_signed_with_the_key_of_the_manifest_serves() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "signed", 1);
    let (own, other) = (Signer::new(1), Signer::new(2));
    let [copying, upper] = ["hostile", "uppercase"].map(functions::bytes);
    let mut node = Node::prepare("signed", Layout::File, "");
    let [component, signature, key] = ["f.wasm", "f.wasm.minisig", "f.pub"].map(|name| node.path(name));
    fs::write(&key, own.public_key()).expect("the key is written");
    fs::write(&component, &copying).expect("the component is written");
    let settings = format!("require-signature = \"{}\"", key.display());
    let manifest = [cluster(kafka, ""), function_at("f", &component, &settings), pipe.table("f", "")];
    node.write_manifest(&manifest.concat());
    node.start_again();
    wait_refused(&mut node, "there is no");
    assert!(node.trigger("signed")["revision"].is_null(), "what is not signed never serves");

    replace(&signature, own.sign(&copying).as_bytes());
    node.wait_ready(READY);
    let first = node.trigger("signed")["revision"].take();
    let mut sent = pipe.source.produce((0..20).map(|n| Record::of(format!("copy;{n}")).key("k")));
    pipe.output.reader().count(sent.len(), PATIENCE);

    replace(&signature, other.sign(&upper).as_bytes());
    replace(&component, &upper);
    wait_refused(&mut node, "is by the key");
    replace(&signature, own.sign(&copying).as_bytes());
    wait_refused(&mut node, "of another content");
    assert_eq!(node.trigger("signed")["revision"], first, "the last good one serves");
    sent.extend(pipe.source.produce((20..40).map(|n| Record::of(format!("copy;{n}")).key("k"))));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    Model::default().expect(&sent).check(&pipe.output.read_all(), &[]).assert_exact();

    replace(&signature, own.sign(&upper).as_bytes());
    wait_served(&mut node, &first);
    let second = node.trigger("signed")["revision"].take();
    replace(&signature, own.sign(&copying).as_bytes());
    replace(&component, &copying);
    wait_served(&mut node, &second);
    assert_eq!(node.trigger("signed")["revision"], first, "back to the first one");
    node.term_cleanly();
}
