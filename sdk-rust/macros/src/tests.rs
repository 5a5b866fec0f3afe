//! What the attribute says to an author who got it wrong, and what it writes for one who did not.

use proc_macro2::TokenStream;

use crate::expand;

fn tokens(source: &str) -> TokenStream {
    source.parse().expect("the source of a test is Rust")
}

/// The error, which must name `expected`.
#[track_caller]
fn refused(arguments: &str, item: &str, expected: &str) {
    match expand::function(tokens(arguments), tokens(item)) {
        Ok(_) => panic!("accepted: {item}"),
        Err(error) => assert!(error.to_string().contains(expected), "{item}: {error}"),
    }
}

#[track_caller]
fn written(arguments: &str, item: &str) -> String {
    match expand::function(tokens(arguments), tokens(item)) {
        Ok(written) => written.to_string().replace(' ', ""),
        Err(error) => panic!("{item}: {error}"),
    }
}

#[test]
fn wrong_parameters_are_told_what_is_expected() {
    let expected = "takes `record: Record`, or `batch: Batch, outcome: &mut Outcome`";
    for parameters in [
        "",
        "record: &Record",
        "order: Order",
        "record: Record, outcome: &mut Outcome",
        "batch: Batch",
        "batch: Batch, outcome: Outcome",
        "batch: Batch, outcome: &Outcome",
        "batch: Batch, outcome: &mut Outcome, record: Record",
        "outcome: &mut Outcome, batch: Batch",
    ] {
        refused("", &format!("fn f({parameters}) {{}}"), expected);
    }
}

#[test]
fn wrong_json_parameters_are_told_what_is_expected() {
    for parameters in ["", "record: Record", "record: Record, order: Order", "a: A, b: B", "a: A, r: Record, b: B"] {
        refused("json", &format!("fn f({parameters}) {{}}"), "a type that serde reads");
    }
}

#[test]
fn a_typed_value_without_json_is_told_of_json() {
    refused("", "fn f(order: Order) -> Priced {}", "#[tidegate_sdk::function(json)]");
}

#[test]
fn what_cannot_be_called_plainly_is_refused() {
    refused("", "unsafe fn f(record: Record) {}", "not unsafe");
    refused("", "fn f<T: From<u8>>(record: Record) -> T {}", "no type parameters");
    refused("", "fn f<const N: usize>(record: Record) {}", "no type parameters");
    refused("", "fn f(&self, record: Record) {}", "not a method");
    refused("", "struct Function;", "goes on a function");
}

#[test]
fn an_unknown_argument_is_told_what_is_expected() {
    let expected = "expected nothing, `json`, or `concurrent = 64` here";
    for arguments in ["xml", "json, yaml", "json = true", "\"json\"", "concurrent", "concurrent = many", "json 64"] {
        refused(arguments, "async fn f(record: Record) {}", expected);
    }
    refused("concurrent = 0", "async fn f(record: Record) {}", "at least 1");
    refused("concurrent = -1", "async fn f(record: Record) {}", "at least 1");
}

#[test]
#[cfg(not(feature = "async"))]
fn an_async_function_is_told_of_the_feature() {
    refused("", "async fn f(record: Record) {}", "features = [\"http\"]");
}

#[test]
fn only_async_functions_of_records_overlap() {
    refused("concurrent = 8", "fn f(record: Record) {}", "for an `async fn`");
    #[cfg(feature = "async")]
    refused("concurrent = 8", "async fn f(batch: Batch, outcome: &mut Outcome) {}", "says itself what overlaps");
}

#[test]
#[cfg(feature = "async")]
fn async_functions_are_waited_for_and_their_lifetimes_spelled_out() {
    for (source, expected) in [
        ("async fn f(r: Record) -> Result<Option<Message>> {}", "(r:Record<'_>)->Result<Option<Message<'_>>>"),
        ("async fn f(r: tidegate_sdk::Record) -> [Message; 2] {}", "(r:tidegate_sdk::Record<'_>)->[Message<'_>;2]"),
        ("async fn f(b: Batch, o: &mut Outcome) -> Result<()> {}", "(b:Batch<'_>,o:&mutOutcome)->Result<()>"),
        ("async fn f<'a>(r: Record<'a>) -> Vec<Message<'a>> {}", "(r:Record<'a>)->Vec<Message<'a>>"),
        ("async fn f(r: Record) {}", "block_on(async{forrecordinbatch{letanswer=f(record).await;"),
    ] {
        let written = written("", source);
        assert!(written.contains(expected), "{source}: {written}");
    }
    let json = written("json, concurrent = 8", "async fn f(m: Message, r: Record) -> Priced {}");
    assert!(json.contains("asyncfnf(m:Message,r:Record<'_>)->Priced"), "{json}");
    assert!(json.contains("overlap(batch,8usize,async|record|{matchrecord.json::<Message>()"), "{json}");
}

#[test]
fn lifetimes_paths_and_visibility_are_the_authors() {
    let source = "pub(crate) fn f<'a>(r: tidegate_sdk::Record<'a>) -> tidegate_sdk::Message<'a> { r.forward() }";
    let written = written("", source);
    assert!(written.contains("pub(crate)fnf<'a>"), "{written}");
    assert!(written.contains("pub(crate)structf{}"), "{written}");
}

#[test]
fn json_answers_are_wrapped_where_they_stand() {
    let json = |output: &str| written("json", &format!("fn f(order: Order) -> {output} {{}}"));
    for (output, expected) in [
        ("Priced", "Json(answer)"),
        ("Result<Priced>", "answer.map(|answer|::tidegate_sdk::Json(answer))"),
        ("core::result::Result<Priced, E>", "answer.map(|answer|::tidegate_sdk::Json(answer))"),
        ("Result<Option<P>>", "answer.map(|answer|answer.map(|answer|::tidegate_sdk::Json(answer)))"),
        ("Vec<Priced>", "answer.into_iter().map(|answer|::tidegate_sdk::Json(answer)).collect"),
        ("HashMap<String, u64>", "Json(answer)"),
        ("()", "into_outcome(answer,record"),
        ("Result<()>", "into_outcome(answer,record"),
        ("Result<Option<Message>>", "into_outcome(answer,record"),
        ("Json<Vec<u64>>", "into_outcome(answer,record"),
    ] {
        let written = json(output);
        assert!(written.contains(expected), "{output}: {written}");
    }
    let both = written("json", "fn f(order: Order, record: Record) {}");
    assert!(both.contains("letanswer=f(value,record);"), "{both}");
}
