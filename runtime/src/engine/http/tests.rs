mod client;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::Uri;

use super::connect::allowed_addresses;
use super::failure::{Failure, code_of_body};
use super::*;
use crate::manifest;

/// A function with these additional keys in the manifest.
fn function(keys: &str) -> Arc<Function> {
    let text = format!("[function.f]\ncomponent = \"f.wasm\"\n{keys}");
    let manifest = manifest::parse(Path::new("tidegate.toml"), &text, &|_| None).expect("a good manifest");
    manifest.functions["f"].clone()
}

fn find(hosts: &str, url: &str) -> Option<usize> {
    let function = function(&format!("allow-hosts = {hosts}"));
    let origin = grants::origin(&url.parse::<Uri>().ok()?)?;
    grants::find(&function.http, &origin)
}

#[test]
fn a_request_is_allowed_by_the_entry_of_its_origin() {
    let hosts = r#"["https://api.example.com", "http://10.0.0.7:8080", "https://*.example.org", "http://[::1]"]"#;
    let check = |url: &str, expected: Option<usize>| assert_eq!(find(hosts, url), expected, "{url}");
    check("https://api.example.com/v1?x=1", Some(0));
    check("https://API.example.com.:443/", Some(0));
    check("https://api.example.com:/", Some(0));
    check("http://10.0.0.7:8080/x", Some(1));
    check("http://0xa.7:8080/x", Some(1));
    check("http://[::ffff:10.0.0.7]:8080/x", Some(1));
    check("https://a.b.example.org", Some(2));
    check("http://[::1]/", Some(3));
    check("http://[0:0:0:0:0:0:0:1]:80/", Some(3));
    check("http://api.example.com/", None);
    check("https://api.example.com:8443/", None);
    check("https://api.example.com:0/", None);
    check("https://example.org/", None);
    check("http://10.0.0.8:8080/x", None);
    check("http://10.0.0.7/x", None);
}

#[test]
fn misleading_urls_are_refused() {
    let hosts = r#"["https://api.example.com", "https://*.example.org"]"#;
    for url in [
        "https://api.example.com@evil.net/",
        "https://evil.net@api.example.com/",
        "https://me:pass@api.example.com/",
        "https://evil.net%2fx.example.org/",
        "https://evil.net%00.example.org/",
        "https://.example.org/",
        "https://a..example.org/",
        "ftp://api.example.com/",
    ] {
        assert_eq!(find(hosts, url), None, "{url}");
    }
}

#[test]
fn without_an_entry_nothing_is_allowed() {
    assert_eq!(find("[]", "https://example.com/"), None);
    assert_eq!(find("[]", "http://localhost/"), None);
}

#[track_caller]
fn check_addresses(host: &str, networks: &str, addresses: &[&str], expected: &[&str]) {
    let function = function(&format!("allow-hosts = [\"{host}\"]\nallow-networks = {networks}"));
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    let allowed = allowed_addresses(&function.http.allow_hosts[0], &function.http.allow_networks, &addresses);
    let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, expected, "{host} {networks}");
}

#[test]
fn a_name_may_resolve_to_public_addresses_and_to_allowed_networks() {
    let found = ["8.8.8.8:80", "10.1.2.3:80", "127.0.0.1:80", "169.254.169.254:80", "[::1]:80", "[fd00::1]:80"];
    check_addresses("http://a.example.com", "[]", &found, &["8.8.8.8:80"]);
    check_addresses("http://a.example.com", r#"["10.0.0.0/8"]"#, &found, &["8.8.8.8:80", "10.1.2.3:80"]);
    check_addresses("http://*.example.com", r#"["fd00::/8"]"#, &found, &["8.8.8.8:80", "[fd00::1]:80"]);
    check_addresses("http://a.example.com", "[]", &found[1..], &[]);
    check_addresses("http://a.example.com", "[]", &["[::ffff:10.1.2.3]:80", "[64:ff9b::7f00:1]:80"], &[]);
    check_addresses("http://a.example.com", r#"["10.1.2.3"]"#, &["[::ffff:10.1.2.3]:80"], &["[::ffff:10.1.2.3]:80"]);
}

#[test]
fn localhost_is_this_machine_and_an_address_is_itself() {
    let found = ["127.0.0.1:80", "[::1]:80", "10.1.2.3:80"];
    check_addresses("http://localhost", "[]", &found, &["127.0.0.1:80", "[::1]:80"]);
    check_addresses("http://*.my.localhost", "[]", &found, &[]);
    check_addresses("http://10.1.2.3", "[]", &["10.1.2.3:80"], &["10.1.2.3:80"]);
    check_addresses("http://10.1.2.3", "[]", &["10.1.2.4:80"], &[]);
}

#[test]
fn the_same_settings_share_a_client_and_counts_outlive_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let clients = Clients::default();
    let function_with = |keys: &str| function(keys);
    let first = clients.get(&function_with("allow-hosts = [\"http://a.example\"]")).expect("a client");
    let same =
        clients.get(&function_with("allow-hosts = [\"http://a.example\"]\ndeadline = \"2s\"")).expect("a client");
    assert!(Arc::ptr_eq(&first, &same));
    let other = clients.get(&function_with("allow-hosts = [\"http://b.example\"]")).expect("a client");
    assert!(!Arc::ptr_eq(&first, &other));
    let name = Name::new("f").expect("a name");
    clients.counts(&name).requests.add(3);
    drop((first, same, other));
    let again = clients.get(&function_with("allow-hosts = [\"http://b.example\"]")).expect("a client");
    assert_eq!(serde_json::to_value(&*clients.counts(&name)).expect("JSON")["requests"], 3);
    drop(again);
}

#[test]
fn a_failure_is_found_in_the_chain_of_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("outside")]
    struct Outside(#[source] std::io::Error);

    let failure = |error: std::io::Error| Failure::of_client_error(&Outside(error));
    assert_eq!(failure(std::io::Error::other("reset")), Failure::Ended);
    let own = Failure::RequestSize(5);
    assert_eq!(Failure::of_client_error(&own), own);
}

#[test]
fn every_failure_of_a_body_has_a_code() {
    for failure in [Failure::ResponseSize(5), Failure::Silence, Failure::Timeout, Failure::Ended, Failure::Protocol] {
        let code = code_of_body(&failure.clone().into());
        assert!(code.is_some(), "{failure:?}");
    }
}
