//! Calls of a real component, which is built here from a few instructions.

use std::path::Path;

use tokio::sync::mpsc;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function as Code, FunctionSection, GlobalSection,
    GlobalType, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;
use crate::manifest;
use crate::record::{OwnedRecord, Topics};

/// The addresses of the outcome, and of the lists of numbers in it, in the memory of the function.
const OUTCOME: i32 = 0x100;
const SOURCES: i32 = 0x200;
const VALUE_LENS: i32 = 0x204;
/// Offsets of lists in an outcome. Each list has an address, followed by its length.
const OUTCOME_SOURCES: u64 = 0;
const OUTCOME_VALUE_LENS: u64 = 56;
const OUTCOME_VALUE_DATA: u64 = 64;
/// The offset of the data of the values in a batch.
const BATCH_VALUE_DATA: u64 = 60;

/// A function that emits one message. Its value is the concatenation of the values of all records.
fn echo() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 64, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    let counter = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(counter, &ConstExpr::i32_const(0x1000));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("tidegate:function/handler@0.1.0#handle", ExportKind::Func, 0);
    exports.export("cabi_realloc", ExportKind::Func, 1);

    let at = |offset: u64| MemArg { offset, align: 2, target: MemArgTarget::Memory(0), ordering: None };
    let mut handle = Code::new([]);
    {
        let mut body = handle.instructions();
        let mut store = |place: u64, number: i32| {
            body.i32_const(OUTCOME).i32_const(number).i32_store(at(place));
        };
        store(OUTCOME_SOURCES, SOURCES);
        store(OUTCOME_SOURCES + 4, 1);
        store(OUTCOME_VALUE_LENS, VALUE_LENS);
        store(OUTCOME_VALUE_LENS + 4, 1);
        body.i32_const(VALUE_LENS).local_get(0).i32_load(at(BATCH_VALUE_DATA + 4)).i32_store(at(0));
        for word in [0, 4] {
            body.i32_const(OUTCOME).local_get(0).i32_load(at(BATCH_VALUE_DATA + word));
            body.i32_store(at(OUTCOME_VALUE_DATA + word));
        }
        body.i32_const(OUTCOME).end();
    }
    // Allocates memory upwards, aligned to 8 bytes, and never frees it.
    let mut realloc = Code::new([]);
    realloc
        .instructions()
        .global_get(0)
        .global_get(0)
        .local_get(3)
        .i32_add()
        .i32_const(7)
        .i32_add()
        .i32_const(-8)
        .i32_and()
        .global_set(0)
        .end();
    let mut code = CodeSection::new();
    code.function(&handle).function(&realloc);

    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports).section(&code);
    module.section(&DataSection::new());
    let mut module = module.finish();
    let mut resolve = Resolve::default();
    for (name, text) in [
        ("function.wit", include_str!("../../../wit/function.wit")),
        ("world.wit", "package test:echo; world echo { export tidegate:function/handler@0.1.0; }"),
    ] {
        let package = resolve.push_str(name, text).expect("WIT");
        if let Ok(world) = resolve.select_world(&[package], Some("echo")) {
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("embedded");
        }
    }
    ComponentEncoder::default().validate(true).module(&module).and_then(ComponentEncoder::encode).expect("a component")
}

/// A pool of the echo, and the receiver of its completions.
async fn pool() -> (Pool, mpsc::Receiver<Completion>) {
    let text = "[cluster.main]\nbrokers = \"localhost:9\"\n[function.f]\ncomponent = \"f.wasm\"\n\
                [trigger.t]\nfunction = \"f\"\ntopics = [\"in\"]\noutput = \"out\"\non-exhausted = \"skip\"\n";
    let manifest = manifest::parse(Path::new("tidegate.toml"), text, &|_| None).expect("a good manifest");
    let setup = Setup {
        function: manifest.functions["f"].clone(),
        trigger: manifest.triggers["t"].clone(),
        topics: Arc::new(Topics::new(Some("out"), &[], None)),
        isolated: false,
    };
    let engine = Engine::new(&Settings { cache: None, threads: 1 }).expect("an engine");
    let component = echo();
    let digest = Digest::of(&component);
    let compiled = engine.compile(component.into(), digest).await.expect("a function");
    let (sender, completions) = mpsc::channel(1);
    (Pool::warm(&engine, compiled, setup, sender).await.expect("it starts"), completions)
}

/// A call with one record, whose value has `value_bytes` bytes.
fn call(value_bytes: usize, outcome_bytes: usize) -> Call {
    let mut batch = Batch::new("in".into(), 0);
    batch.push(&OwnedRecord { value: Some(vec![b'x'; value_bytes]), ..OwnedRecord::default() }, 1);
    Call { id: 0, batch, expected: Duration::MAX, outcome_bytes }
}

#[tokio::test]
async fn an_outcome_may_take_what_its_call_was_granted_and_no_more() {
    let (mut pool, mut completions) = pool().await;
    let mut ended = async |call| {
        assert!(pool.free() > 0);
        pool.start(call);
        completions.recv().await.expect("it ends")
    };
    let whole = ended(call(5_000, MAX_OUTCOME_BYTES)).await;
    let outcome = whole.result.expect("an outcome");
    let message = outcome.messages().next().expect("a message").value;
    assert_eq!(message, crate::record::columns::Field::Bytes(&[b'x'; 5_000]));
    // The value, its length, and the index of its source.
    assert_eq!(whole.outcome_bytes, 5_000 + 4 + 4);

    let enough = ended(call(5_000, whole.outcome_bytes)).await;
    assert_eq!((enough.result.map(|checked| checked.len()), enough.outcome_bytes), (Ok(1), whole.outcome_bytes));

    let granted = whole.outcome_bytes - 1;
    let too_small = ended(call(5_000, granted)).await;
    assert_eq!(too_small.result.map(|checked| checked.len()), Err(CallError::OutcomeTooLarge { granted }));
    assert_eq!(too_small.outcome_bytes, 0);
    assert_eq!(too_small.batch.map(|batch| batch.len()), Some(1), "it can be called again");

    let again = ended(call(5_000, usize::MAX)).await;
    assert_eq!(again.outcome_bytes, whole.outcome_bytes, "the instance was replaced");
}
