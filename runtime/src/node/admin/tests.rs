//! The admin API without a network: what it answers, what it says to the fleet, and whether its description is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::answers::DESCRIPTION;
use super::routes::{Audience, ROUTES};
use super::{Access, Admin};
use crate::manifest::Name;
use crate::node::overview::{FunctionView, Overview};
use crate::node::relay::fleet::View;
use crate::node::relay::message::{Abort, Message, Pause, Publication, Rollout};
use crate::node::steer::{Heard, Steer, Unsaid};
use crate::record::revision::{Digest, Origin};
use crate::trigger::Status;

/// A fleet that remembers what it was told.
#[derive(Default)]
struct Fleet {
    view: Option<View>,
    told: Mutex<Vec<Message>>,
}

impl Steer for Fleet {
    fn node(&self) -> &str {
        "n1"
    }

    fn view(&self) -> Option<View> {
        self.view.clone()
    }

    fn say(&self, message: Message) -> Result<(), Unsaid> {
        self.view.as_ref().ok_or(Unsaid::NoRelay)?;
        self.told.lock().expect("no panic").push(message);
        Ok(())
    }

    fn heard(&self) -> Heard {
        Heard::default()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn rollout() -> Rollout {
    let (digest, origin) = (Digest::of(b"new"), Origin::Version("v2".to_owned()));
    let from = "n2".to_owned();
    Rollout { digest, origin, published_ms: None, started_ms: 1, stage: 0, stage_started_ms: 1, promoted: false, from }
}

/// What a fleet with something of everything knows.
fn view() -> View {
    let abort = Abort {
        digest: Digest::of(b"bad"),
        origin: Origin::File,
        reason: "it traps".to_owned(),
        at_ms: 2,
        from: "n2".to_owned(),
        earlier: vec![Publication { digest: Digest::of(b"worse"), origin: Origin::Tag("e".to_owned()) }],
    };
    let pause = Pause { at_ms: 3, from: "me".to_owned(), reason: "work".to_owned() };
    View {
        aborts: [(name("f"), abort)].into(),
        rollouts: [(name("f"), rollout())].into(),
        pauses: [(name("other"), pause)].into(),
        ..View::default()
    }
}

fn overview() -> Overview {
    let revision = Digest::of(b"good").to_string();
    let function = FunctionView {
        component: "f.wasm".to_owned(),
        revision: Some(revision.clone()),
        origin: Some("file".to_owned()),
        published_ms: None,
        away: None,
        error: Some("it is no component".to_owned()),
        candidate: None,
        rollout: None,
        http: Arc::default(),
    };
    let status = Status { function: "f".to_owned(), revision: Some(revision), ..Status::default() };
    Overview {
        triggers: [("t".to_owned(), watch::channel(status).1)].into(),
        functions: [("f".to_owned(), function)].into(),
        started: true,
        ..Overview::default()
    }
}

fn admin(fleet: &Arc<Fleet>) -> Admin {
    let access = Access::new(([127, 0, 0, 1], 1).into(), None);
    Admin::new(access, watch::channel(overview()).1, fleet.clone())
}

fn in_a_fleet() -> Arc<Fleet> {
    Arc::new(Fleet { view: Some(view()), ..Fleet::default() })
}

async fn ask(admin: &Admin, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost:1");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    admin.answer(request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request")).await
}

async fn document(response: Response<Full<Bytes>>) -> Value {
    let body = response.into_body().collect().await.expect("it has a body").to_bytes();
    serde_json::from_slice(&body).expect("JSON")
}

#[track_caller]
fn no_problem(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what} is not as described: {found:#?}");
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn what_is_posted_is_told_to_the_fleet() {
    let fleet = in_a_fleet();
    let admin = admin(&fleet);
    let why = r#"{"reason": "because"}"#;
    for (path, body) in [
        ("/v1/triggers/t/pause", why),
        ("/v1/triggers/t/resume", ""),
        ("/v1/functions/f/rollout/promote", "{}"),
        ("/v1/functions/f/rollout/abort", why),
    ] {
        let response = ask(&admin, "POST", path, JSON, body).await;
        assert_eq!(response.status().as_u16(), 202, "{path}");
        no_problem(&misfits("Told", &document(response).await), path);
    }
    let told = fleet.told.lock().expect("no panic");
    let [pause, resume, promote, abort] = &told[..] else { panic!("{told:?}") };
    assert!(
        matches!(pause, Message::Pause { pause: Some(it), .. } if it.reason == "because" && it.from == "admin of n1")
    );
    assert_eq!(*resume, Message::Pause { trigger: name("t"), pause: None });
    assert!(
        matches!(promote, Message::Rollout { rollout: Some(it), .. } if it.promoted && it.digest == rollout().digest)
    );
    assert!(
        matches!(abort, Message::Abort { abort: Some(it), .. } if it.digest == rollout().digest && it.earlier.len() == 2)
    );
}

/// Who is asked, by which method, where, with which headers and body; the code and the kind of the answer.
type Refused<'a> = (&'a Arc<Fleet>, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test]
async fn what_is_refused_is_a_problem_and_tells_nobody() {
    let (fleet, alone) = (in_a_fleet(), Arc::new(Fleet::default()));
    let pause = "/v1/triggers/t/pause";
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(16 << 10));
    let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(1_001));
    let foreign = [("origin", "http://evil.example")];
    let cases: &[Refused<'_>] = &[
        (&fleet, "POST", "/v1/triggers/u/pause", &[], "", 404, "unknown-trigger"),
        (&fleet, "POST", "/v1/functions/g/rollout/abort", &[], "", 404, "unknown-function"),
        (&fleet, "GET", "/v1/functions/g/revisions", &[], "", 404, "unknown-function"),
        (&fleet, "GET", "/v2", &[], "", 404, "unknown-path"),
        (&fleet, "GET", pause, &[], "", 405, "wrong-method"),
        (&fleet, "DELETE", "/health", &[], "", 405, "wrong-method"),
        (&fleet, "POST", pause, &[], "{}", 415, "not-json"),
        (&fleet, "POST", pause, &[("content-type", "text/plain")], "{}", 415, "not-json"),
        (&fleet, "POST", pause, JSON, &large, 413, "too-large"),
        (&fleet, "POST", pause, JSON, &long, 400, "long-reason"),
        (&fleet, "POST", pause, JSON, "[", 400, "bad-body"),
        (&fleet, "POST", pause, JSON, r#"{"resaon": "x"}"#, 400, "bad-body"),
        (&fleet, "POST", "/v1/triggers/t/resume", JSON, r#"{"reason": "x"}"#, 400, "bad-body"),
        (&fleet, "POST", pause, &foreign, "", 403, "foreign-origin"),
        (&fleet, "GET", "http://evil.example/livez", &[], "", 421, "foreign-host"),
        (&alone, "POST", pause, &[], "", 409, "no-relay"),
        (&alone, "POST", "/v1/triggers/t/resume", &[], "", 409, "no-relay"),
        (&alone, "POST", "/v1/functions/f/rollout/promote", &[], "", 409, "no-relay"),
    ];
    for (fleet, method, path, headers, body, status, kind) in cases {
        let response = ask(&admin(fleet), method, path, headers, body).await;
        let what = format!("{method} {path} {headers:?}");
        assert_eq!(response.status().as_u16(), *status, "{what}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
        assert_eq!(response.headers().contains_key("allow"), *status == 405, "{what}");
        let problem = document(response).await;
        assert_eq!(
            (&problem["type"], &problem["status"]),
            (&json!(format!("/problems/{kind}")), &json!(status)),
            "{what}"
        );
        no_problem(&misfits("Problem", &problem), &what);
    }
    assert_eq!(*fleet.told.lock().expect("no panic"), []);
    let mut idle = view();
    idle.rollouts.clear();
    let idle = Arc::new(Fleet { view: Some(idle), ..Fleet::default() });
    let response = ask(&admin(&idle), "POST", "/v1/functions/f/rollout/promote", &[], "").await;
    assert_eq!(document(response).await["type"], "/problems/no-rollout");
}

#[tokio::test]
async fn without_a_token_only_probes_and_metrics_are_for_other_machines() {
    let access = Access::new(([0, 0, 0, 0], 1).into(), None);
    let admin = Admin::new(access, watch::channel(overview()).1, in_a_fleet());
    for route in ROUTES {
        let path = route.path.replace("{name}", "t");
        let code = ask(&admin, route.method, &path, &[], "").await.status().as_u16();
        assert_eq!(code == 403, route.audience == Audience::Trusted, "{path}: {code}");
    }
    let open: Vec<_> = ROUTES.iter().filter(|route| route.audience == Audience::Everybody).map(|it| it.path).collect();
    assert_eq!(open, ["/livez", "/readyz", "/metrics"]);
}

#[tokio::test]
async fn documents_are_as_described() {
    for fleet in [in_a_fleet(), Arc::new(Fleet::default())] {
        let admin = admin(&fleet);
        for (path, schema) in
            [("/v1/status", "Status"), ("/v1/functions/f/revisions", "Revisions"), ("/health", "Health")]
        {
            let document = document(ask(&admin, "GET", path, &[], "").await).await;
            no_problem(&misfits(schema, &document), path);
        }
    }
    let revisions = document(ask(&admin(&in_a_fleet()), "GET", "/v1/functions/f/revisions", &[], "").await).await;
    let states: Vec<_> =
        revisions["revisions"].as_array().into_iter().flatten().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["good", "refused", "rollout", "aborted", "aborted"]);
    assert_eq!(revisions["revisions"][0]["triggers"], json!(["t"]));
}

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).expect("JSON")
}

#[test]
fn the_description_has_the_routes_and_no_others() {
    let described = description();
    let paths = described["paths"].as_object().expect("paths");
    let methods =
        |path: &Value| path.as_object().into_iter().flatten().map(|(method, _)| method.clone()).collect::<Vec<_>>();
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            let is_open = item.as_object().into_iter().flatten().any(|(_, it)| it["security"] == json!([]));
            methods(item).into_iter().map(move |method| (path.clone(), method.to_uppercase(), is_open))
        })
        .collect();
    let routes = ROUTES.iter().map(|it| (it.path.to_owned(), it.method.to_owned(), it.audience == Audience::Everybody));
    assert_eq!(described, routes.collect());
}

#[test]
fn the_check_of_documents_finds_what_is_wrong() {
    assert_eq!(misfits("Told", &json!({ "told": true })), Vec::<String>::new());
    for bad in [json!({}), json!({ "told": 1 }), json!({ "told": true, "more": 1 }), json!([])] {
        assert_eq!(misfits("Told", &bad).len(), 1, "{bad}");
    }
}

/// What of a value is not as a schema of the description says. Knows the words that the description uses.
fn misfits(schema: &str, value: &Value) -> Vec<String> {
    let schemas = description()["components"]["schemas"].take();
    let mut found = Vec::new();
    fit(&schemas, &schemas[schema], value, schema, &mut found);
    found
}

fn fit(schemas: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        assert!(schemas[name].is_object(), "no schema {name}");
        return fit(schemas, &schemas[name], value, place, found);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let tries = choices.iter().map(|choice| {
            let mut tried = Vec::new();
            fit(schemas, choice, value, place, &mut tried);
            tried
        });
        found.extend(tries.min_by_key(Vec::len).unwrap_or_default());
        return;
    }
    let is_of = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the check does not know the type {other}"),
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if !kinds.iter().any(|kind| kind.as_str().is_none_or(is_of)) {
        return found.push(format!("{place} is {value}, not of type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|choices| !choices.contains(value)) {
        found.push(format!("{place} is {value}, not one of {}", schema["enum"]));
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        fit(schemas, &schema["items"], item, &format!("{place}[{at}]"), found);
    }
    let none = serde_json::Map::new();
    let fields = value.as_object().unwrap_or(&none);
    let known: BTreeMap<&String, &Value> = schema["properties"].as_object().into_iter().flatten().collect();
    for required in schema["required"].as_array().into_iter().flatten().filter(|_| value.is_object()) {
        if !fields.contains_key(required.as_str().unwrap_or_default()) {
            found.push(format!("{place} has no {required}"));
        }
    }
    for (name, field) in fields {
        match (known.get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => fit(schemas, schema, field, &format!("{place}.{name}"), found),
            (None, Value::Bool(false)) => found.push(format!("{place} has {name}, which is not described")),
            (None, schema) => fit(schemas, schema, field, &format!("{place}.{name}"), found),
        }
    }
}
