//! What a function may rely on in an instance: its memory, what it leaves behind between two calls, its
//! log, its clock, chance.

use std::time::SystemTime;

use serde_json::{Value, json};
use tidegate_tests::functions;

use crate::author::{folder, lines, succeeds};
use crate::invoke::{Asked, ONE_BY_ONE};

/// What `gopher` tells as JSON.
#[track_caller]
fn told(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn memory_of_go_stays_flat_over_a_million_records() {
    const RECORDS: usize = 1_000_000;
    const EARLY: usize = 100_000;
    // What Go takes of the memory grows in steps of 4 MiB, what is in use hardly.
    const ALLOWANCES: [(&str, u64); 2] = [("sys-bytes", 5 << 20), ("in-use-bytes", 64 << 10)];
    let record = |n: usize| {
        let value = if n == EARLY || n == RECORDS - 1 { "memory" } else { "litter:8" };
        json!({ "key": format!("k{}", n % 1_000), "value": value })
    };
    let asked = Asked { component: "gopher", flags: &["--batch", "512"], ..Asked::default() };
    let output = asked.output((0..RECORDS).map(record));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), RECORDS);
    let [early, late] = [EARLY, RECORDS - 1].map(|n| {
        let answer = told(answers[n]);
        let figures = told(answer["messages"][0]["value"].as_str().expect("figures"));
        assert_eq!(figures["records"], json!(n + 1), "all of them met one instance");
        figures
    });
    let number = |figures: &Value, name: &str| figures[name].as_u64().expect("a number");
    for (size, allowance) in ALLOWANCES {
        let (before, after) = (number(&early, size), number(&late, size));
        assert!(after <= before + allowance, "{size} grew: {early}, {late}");
    }
    // There was garbage, or else nothing was shown.
    let [first, last] = [&early, &late].map(|figures| number(figures, "collections"));
    assert!(first > 0 && last > first, "the collector runs all the while: {early}, {late}");
}

#[test]
fn what_go_leaves_behind_is_frozen_until_a_later_call_waits() {
    let asked = Asked { component: "gopher", flags: ONE_BY_ONE, ..Asked::default() };
    let answered = asked.values(&["leave", "left", "sleep:20;x", "left"]);
    let texts = answered.texts();
    let [at_first, frozen, later] = [0, 1, 3].map(|call| told(texts[call]));
    assert_eq!(at_first["fired"], false);
    assert!(at_first["turns"].as_u64() > Some(0), "it is in the midst of its work: {at_first}");
    // Its timer was due before this call ended, and the call waited for nothing.
    assert_eq!(frozen, at_first);
    assert_eq!(texts[2], "done:x");
    assert_eq!(later["fired"], true);
    assert!(later["turns"].as_u64() > frozen["turns"].as_u64(), "{later} after {frozen}");
}

#[test]
fn lines_of_go_are_logged_with_the_coordinates_of_their_record() {
    let keys = "[cluster.main]\nbrokers = \"localhost:9\"\n\
                [trigger.watch]\nfunction = \"asked\"\ntopics = [\"knocks\"]\noutput = \"heard\"\n\
                on-exhausted = \"skip\"\n";
    let flags = &["--batch", "1", "--log", "info", "--log-format", "json"];
    let record =
        |offset: i64, value: &str| json!({ "topic": "knocks", "partition": 3, "offset": offset, "value": value });
    let asked = Asked { component: "gopher", keys, flags, ..Asked::default() };
    let answered = asked.records([record(41, "log:plain"), record(47, "slog:levelled")].into_iter());
    assert_eq!(answered.texts(), ["log:plain", "slog:levelled"]);

    let component = functions::component("gopher");
    let facts = succeeds(folder().path(), &["inspect", component.to_str().expect("text"), "--json"]);
    let sha256 = told(&facts)["sha256"].as_str().expect("a digest").to_owned();
    let logged: Vec<Value> = lines(&answered.log).into_iter().filter(|line| line["target"] == "function").collect();
    let said: Vec<[&Value; 2]> = logged.iter().map(|line| [&line["level"], &line["message"]]).collect();
    // The first is printed to standard output, too.
    let plain = [&json!("INFO"), &json!("plain")];
    let levelled = "levelled record.topic=knocks record.partition=3 record.offset=47";
    assert_eq!(said, [plain, plain, [&json!("WARN"), &json!(levelled)]]);
    for (line, offset) in logged.iter().zip([41, 41, 47]) {
        let place = ["trigger", "function", "topic", "partition", "offset"].map(|field| &line[field]);
        let expected = [json!("watch"), json!("asked"), json!("knocks"), json!(3), json!(offset)];
        assert_eq!(place, expected.each_ref(), "{line}");
        let revision = line["revision"].as_str().expect("a revision");
        assert!(!revision.is_empty() && sha256.starts_with(revision), "{revision} is not {sha256}");
    }
}

#[test]
fn chance_differs_from_instance_to_instance_in_rust() {
    check_chance("hostile");
}

#[test]
fn chance_differs_from_instance_to_instance_in_go() {
    check_chance("gopher");
}

#[track_caller]
fn check_chance(component: &str) {
    let asked = Asked { component, flags: ONE_BY_ONE, ..Asked::default() };
    let [first, second] = [(); 2].map(|()| asked.values(&["random"]));
    let numbers = [&first, &second].map(|answered| answered.texts()[0]);
    assert!(numbers.iter().all(|number| u64::from_str_radix(number, 16).is_ok()), "{numbers:?}");
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn the_clock_of_an_instance_is_that_of_the_machine_in_rust() {
    check_clock("hostile");
}

#[test]
fn the_clock_of_an_instance_is_that_of_the_machine_in_go() {
    check_clock("gopher");
}

#[track_caller]
fn check_clock(component: &str) {
    let now_ms = || SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis();
    let begin_ms = now_ms();
    let answered = Asked { component, flags: ONE_BY_ONE, ..Asked::default() }.values(&["now"]);
    let end_ms = now_ms();
    let told_ms: u128 = answered.texts()[0].parse().expect("milliseconds");
    assert!((begin_ms..=end_ms).contains(&told_ms), "{told_ms} is not from {begin_ms} to {end_ms}");
}
