//! Manifests that are taken, and what becomes of them.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::{environment, read, testdata, with_trigger};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn map<T, const N: usize>(pairs: [(&str, T); N]) -> BTreeMap<Name, Arc<T>> {
    pairs.map(|(key, value)| (name(key), Arc::new(value))).into()
}

fn share(basis_points: u16) -> Share {
    Share::of_basis_points(basis_points).unwrap()
}

fn default_registry() -> Registry {
    Registry {
        region: None,
        endpoint: None,
        path_style: false,
        queue: None,
        reconcile: Duration::from_secs(10),
        max_bytes: 64 << 20,
    }
}

/// The trigger `t` with all defaults.
fn default_trigger() -> Trigger {
    Trigger {
        name: name("t"),
        function: name("f"),
        cluster: name("main"),
        topics: vec!["in".to_owned()],
        output: None,
        output_cluster: name("main"),
        allow_topics: Vec::new(),
        dead_letters: Some("dead".to_owned()),
        on_exhausted: OnExhausted::DeadLetter,
        ordering: Ordering::Key,
        delivery: Delivery::AtLeastOnce,
        group: "tidegate-t".to_owned(),
        member: Member::Dynamic,
        start: Start::Earliest,
        instances: Instances { min: 1, max: count(8) },
        batch: BatchLimits { records: count(500), bytes: 256 << 10 },
        retry: RetryPolicy {
            attempts: count(5),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            max_age: Duration::from_secs(3600),
        },
        window: Window { records: count(10_000), bytes: 16 << 20 },
        commit_interval: Duration::from_millis(100),
        rebalance_drain: Duration::from_millis(100),
        message_drain: Duration::from_secs(30),
        drain: Duration::from_secs(10),
    }
}

#[test]
fn takes_the_sample_whose_values_are_the_defaults() {
    let manifest = load(&testdata().join("good/sample.toml"), &environment).unwrap();
    let expected = Trigger {
        name: name("orders"),
        function: name("enrich"),
        topics: vec!["orders".to_owned()],
        output: Some("orders-enriched".to_owned()),
        allow_topics: vec!["orders-audit".to_owned()],
        dead_letters: Some("orders-dead".to_owned()),
        group: "orders".to_owned(),
        ..default_trigger()
    };
    assert_eq!(*manifest.triggers["orders"], expected);
    assert_eq!(manifest.clusters["main"].brokers, "localhost:9092");
    let enrich = &manifest.functions["enrich"];
    let component = testdata().join("good/functions/enrich.wasm");
    assert_eq!(enrich.component, Component::File(component));
    assert_eq!(enrich.reuse, Reuse::Pooled { max_calls: NonZeroU64::new(10_000) });
    let rollout = Rollout {
        steps: vec![share(500), share(2_500)],
        bake: Duration::from_secs(120),
        min_records: 100,
        abort_if: AbortIf { failure_rate: Some(share(500)), traps: Some(NonZeroU64::MIN), latency: None },
        shadow: false,
    };
    assert_eq!(enrich.rollout, Some(rollout));
    assert_eq!(manifest.registry, default_registry());
    let control = Control { cluster: name("main"), topic: "tidegate-control".to_owned(), fleet: name("default") };
    assert_eq!(manifest.control, Some(control));
}

#[test]
fn fills_in_defaults() {
    let text = "[cluster.main]\nbrokers = \"localhost\"\n\
                [function.f]\ncomponent = \"f.wasm\"\n\
                [trigger.t]\nfunction = \"f\"\ntopics = [\"in\"]\ndead-letters = \"dead\"";
    let function = Function {
        name: name("f"),
        component: Component::File("f.wasm".into()),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        deadline: Duration::from_secs(1),
        memory_bytes: 64 << 20,
        reuse: Reuse::Pooled { max_calls: None },
        http: Http {
            allow_hosts: Vec::new(),
            allow_networks: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            max_request_bytes: 1 << 20,
            max_response_bytes: 16 << 20,
            connections: count(100),
        },
        folders: BTreeMap::new(),
        rollout: None,
        require_signature: None,
    };
    let cluster = Cluster { name: name("main"), brokers: "localhost".to_owned(), properties: BTreeMap::new() };
    let expected = Manifest {
        path: "tidegate.toml".into(),
        clusters: map([("main", cluster)]),
        functions: map([("f", function)]),
        triggers: map([("t", default_trigger())]),
        limits: Limits { buffered_bytes: 512 << 20 },
        admin: Admin { listen: "127.0.0.1:7070".parse().unwrap(), token: None },
        registry: default_registry(),
        control: None,
    };
    assert_eq!(read(text).unwrap(), expected);
}

#[test]
fn takes_every_value_that_is_given() {
    let path = testdata().join("good/everything.toml");
    let manifest = load(&path, &environment).unwrap();
    let enrich = Function {
        name: name("enrich-2"),
        component: Component::File("/opt/enrich.wasm".into()),
        env: texts([("GREETING", "hello world"), ("LITERAL", "${WHO}")]),
        secrets: [
            ("KEY".to_owned(), Secret::new("swordfish, expected nothing")),
            ("CERTIFICATE".to_owned(), Secret::new("first line\nsecond line")),
        ]
        .into(),
        deadline: Duration::from_secs(90),
        memory_bytes: 1 << 30,
        reuse: Reuse::Fresh,
        http: Http {
            allow_hosts: ["https://api.example.com", "http://10.0.0.7:8080", "https://*.example.org"]
                .map(|host| host.parse().unwrap())
                .to_vec(),
            allow_networks: ["10.0.0.0/8", "fd00::1"].map(|network| network.parse().unwrap()).to_vec(),
            connect_timeout: Duration::from_secs(1),
            first_byte_timeout: Duration::from_millis(500),
            timeout: Duration::from_secs(60),
            max_request_bytes: 2 << 10,
            max_response_bytes: 1 << 30,
            connections: count(7),
        },
        folders: BTreeMap::from([
            ("/".to_owned(), Folder { path: testdata().join("good/data"), is_writable: false }),
            ("/a/b".to_owned(), Folder { path: "/srv/scratch".into(), is_writable: true }),
            ("/c".to_owned(), Folder { path: testdata().join("good/c"), is_writable: false }),
        ]),
        rollout: Some(Rollout {
            steps: [50, 2_500, 9_999].map(share).to_vec(),
            bake: Duration::from_secs(7 * 24 * 3600),
            min_records: 0,
            abort_if: AbortIf {
                failure_rate: Some(share(5)),
                traps: NonZeroU64::new(3),
                latency: Multiple::of_hundredths(150),
            },
            shadow: true,
        }),
        require_signature: None,
    };
    let plain = Function {
        name: name("plain"),
        component: Component::Object(ObjectName::new("my.bucket-1", "path/plain.wasm?a%20b").unwrap()),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        deadline: Duration::from_secs(1),
        memory_bytes: 64 << 20,
        reuse: Reuse::Pooled { max_calls: NonZeroU64::new(3) },
        http: Http::default(),
        folders: BTreeMap::new(),
        rollout: None,
        require_signature: Some(std::fs::read_to_string(testdata().join("good/key.pub")).unwrap()),
    };
    let expected = Manifest {
        path,
        clusters: map([("in", cluster_in()), ("out", cluster_out())]),
        functions: map([("enrich-2", enrich), ("plain", plain)]),
        triggers: map([("orders", orders()), ("payments", payments())]),
        limits: Limits { buffered_bytes: 3 << 29 },
        admin: Admin { listen: "[::1]:8080".parse().unwrap(), token: Some(Secret::new("swordfish")) },
        registry: Registry {
            region: Some("RegionOne".to_owned()),
            endpoint: "http://localhost:9000/base".parse().ok(),
            path_style: true,
            queue: "https://sqs.eu-central-1.amazonaws.com/123456789012/tidegate".parse().ok(),
            reconcile: Duration::from_secs(3600),
            max_bytes: 1 << 30,
        },
        control: Some(Control { cluster: name("out"), topic: "nodes".to_owned(), fleet: name("blue") }),
    };
    assert_eq!(manifest, expected);
}

fn cluster_in() -> Cluster {
    Cluster {
        name: name("in"),
        brokers: "kafka-1:9092, SASL_SSL://kafka-2:9093".to_owned(),
        properties: texts([
            ("security.protocol", "sasl_ssl"),
            ("sasl.password", "swordfish, expected nothing"),
            ("session.timeout.ms", "6000"),
            ("socket.keepalive.enable", "true"),
            ("enable.idempotence", "true"),
        ]),
    }
}

fn cluster_out() -> Cluster {
    Cluster { name: name("out"), brokers: "elsewhere".to_owned(), properties: BTreeMap::new() }
}

fn orders() -> Trigger {
    Trigger {
        name: name("orders"),
        function: name("enrich-2"),
        cluster: name("in"),
        topics: vec!["orders".to_owned(), "orders.v2".to_owned()],
        output: Some("orders".to_owned()),
        output_cluster: name("out"),
        allow_topics: vec!["audit".to_owned(), "Audit_2".to_owned()],
        dead_letters: Some("dead".to_owned()),
        on_exhausted: OnExhausted::Pause,
        ordering: Ordering::Partition,
        delivery: Delivery::AtLeastOnce,
        group: "the orders".to_owned(),
        member: Member::Static,
        start: Start::Timestamp { millis: 1_769_817_600_250 },
        instances: Instances { min: 0, max: count(3) },
        batch: BatchLimits { records: count(7), bytes: 1 << 10 },
        retry: RetryPolicy {
            attempts: count(1),
            backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(2),
            max_age: Duration::from_secs(30 * 24 * 3600),
        },
        window: Window { records: count(7), bytes: 1500 },
        commit_interval: Duration::from_secs(1),
        rebalance_drain: Duration::ZERO,
        message_drain: Duration::from_secs(240),
        drain: Duration::from_secs(3600),
    }
}

fn payments() -> Trigger {
    Trigger {
        name: name("payments"),
        function: name("plain"),
        cluster: name("out"),
        topics: vec!["payments".to_owned()],
        output_cluster: name("out"),
        dead_letters: None,
        on_exhausted: OnExhausted::Skip,
        ordering: Ordering::None,
        group: "tidegate-payments".to_owned(),
        start: Start::Offsets([(0, 1234), (11, 99)].into()),
        ..default_trigger()
    }
}

#[test]
fn takes_an_empty_manifest() {
    let manifest = read("").unwrap();
    assert!(manifest.triggers.is_empty());
}

#[test]
fn takes_times_with_and_without_quotes() {
    let check = |start: &str, expected: Option<i64>| {
        let start_at =
            read(&with_trigger(&format!("start = {start}"))).ok().map(|manifest| manifest.triggers["t"].start.clone());
        assert_eq!(start_at, expected.map(|millis| Start::Timestamp { millis }), "{start}");
    };
    check("\"1970-01-01T00:00:00Z\"", Some(0));
    check("1970-01-01T00:00:01Z", Some(1000));
    check("\"1970-01-01T00:00:00+01:00\"", None);
    check("\"1970-01-01T00:00:00-01:00\"", Some(3_600_000));
    check("\"2024-02-29T12:00:00.999999Z\"", Some(1_709_208_000_999));
    check("\"2023-02-29T12:00:00Z\"", None);
    check("2026-01-31", None);
    check("\"2026-01-31 00:00:00\"", None);
    check("00:00:00", None);
}

#[test]
fn takes_names_by_their_rule() {
    for legal in ["a", "a1", "orders-v2", "a-", &"a".repeat(63)] {
        assert_eq!(&*Name::new(legal).unwrap(), legal);
    }
    for illegal in ["", "1a", "-a", "A", "a_b", "a.b", "ä", "a b", &"a".repeat(64)] {
        assert_eq!(Name::new(illegal), Err(InvalidName), "{illegal}");
    }
}

#[test]
fn two_clusters_may_have_a_topic_and_a_group_of_the_same_name() {
    let text = "[cluster.main]\nbrokers = \"one\"\n[cluster.other]\nbrokers = \"two\"\n\
                [function.f]\ncomponent = \"f.wasm\"\n\
                [trigger.a]\nfunction = \"f\"\ntopics = [\"x\"]\ngroup = \"g\"\n\
                output = { cluster = \"other\", topic = \"x\" }\non-exhausted = \"skip\"\n\
                [trigger.b]\nfunction = \"f\"\ncluster = \"other\"\ntopics = [\"x\"]\n\
                group = \"g\"\non-exhausted = \"skip\"";
    assert_eq!(read(text).unwrap().triggers.len(), 2);
}

#[test]
fn a_diamond_of_topics_is_no_cycle() {
    let trigger = |name: &str, reads: &str, writes: &str| {
        format!(
            "[trigger.{name}]\nfunction = \"f\"\ntopics = [{reads}]\nallow-topics = [{writes}]\n\
             on-exhausted = \"skip\"\n"
        )
    };
    let text = "[cluster.main]\nbrokers = \"one\"\n[function.f]\ncomponent = \"f\"\n".to_owned()
        + &trigger("a", "'start'", "'left', 'right', 'end'")
        + &trigger("b", "'left'", "'end'")
        + &trigger("c", "'right', 'start'", "'end', 'left'");
    assert_eq!(read(&text).unwrap().triggers.len(), 3);
}

#[test]
fn a_chain_of_thousands_of_triggers_is_followed_to_its_end() {
    let mut text = "[cluster.main]\nbrokers = \"one\"\n[function.f]\ncomponent = \"f\"\n".to_owned();
    for n in 0..5_000 {
        text += &format!(
            "[trigger.t{n}]\nfunction = \"f\"\ntopics = [\"{n}\"]\noutput = \"{}\"\n\
             on-exhausted = \"skip\"\n",
            n + 1
        );
    }
    assert_eq!(read(&text).unwrap().triggers.len(), 5_000);
    let closed = text.replace("output = \"5000\"", "output = \"0\"");
    assert_eq!(read(&closed).unwrap_err().len(), 1);
}

#[test]
fn an_equal_manifest_is_equal_and_a_changed_trigger_is_not() {
    let one = read(&with_trigger("drain = \"1s\"")).unwrap();
    let same = read(&with_trigger("drain = \"1000ms\" # the same")).unwrap();
    let changed = read(&with_trigger("drain = \"2s\"")).unwrap();
    assert_eq!(one, same);
    assert_ne!(one.triggers["t"], changed.triggers["t"]);
    assert_eq!(one.functions["f"], changed.functions["f"]);
}

#[test]
fn paths_start_at_the_folder_of_the_manifest() {
    let check = |manifest: &str, component: &str, expected: &str| {
        let text = format!("[function.f]\ncomponent = \"{component}\"");
        let manifest = parse(Path::new(manifest), &text, &environment).unwrap();
        assert_eq!(manifest.functions["f"].component, Component::File(PathBuf::from(expected)));
    };
    check("tidegate.toml", "a/b.wasm", "a/b.wasm");
    check("/etc/tidegate.toml", "a/b.wasm", "/etc/a/b.wasm");
    check("../x/tidegate.toml", "a.wasm", "../x/a.wasm");
    check("/etc/tidegate.toml", "/opt/b.wasm", "/opt/b.wasm");
}

#[test]
fn never_shows_a_secret() {
    let manifest = load(&testdata().join("good/everything.toml"), &environment).unwrap();
    let shown = format!("{manifest:?} {manifest:#?}");
    assert!(shown.contains("[secret]"));
    assert!(!shown.contains("swordfish"), "{shown}");
    assert!(!shown.contains("second line"), "{shown}");
    assert_eq!(manifest.functions["enrich-2"].secrets["KEY"].reveal(), "swordfish, expected nothing");
}
