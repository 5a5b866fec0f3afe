//! What `allow-hosts` and `allow-networks` mean.

use super::super::{AllowedHost, Host, Network, Origin, Scheme};

#[track_caller]
fn entry(text: &str) -> AllowedHost {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn origin(text: &str) -> Origin {
    let entry = entry(text);
    assert!(!entry.is_wildcard, "{text}");
    entry.origin
}

#[test]
fn a_host_is_the_same_however_it_is_written() {
    let check = |text: &str, normal: &str| assert_eq!(entry(text).to_string(), normal, "{text}");
    check("https://api.example.com", "https://api.example.com");
    check("HTTPS://API.Example.COM:443/", "https://api.example.com");
    check("http://api.example.com.:80", "http://api.example.com");
    check("http://api.example.com:443", "http://api.example.com:443");
    check("https://bücher.example", "https://xn--bcher-kva.example");
    check("https://*.Example.com:8443", "https://*.example.com:8443");
    check("http://localhost:8080", "http://localhost:8080");
    check("http://my_service.internal", "http://my_service.internal");
    check("http://10.0.0.7:8080", "http://10.0.0.7:8080");
    check("http://0x7f.1", "http://127.0.0.1");
    check("http://2130706433", "http://127.0.0.1");
    check("http://[0:0::1]:80", "http://[::1]");
    check("http://[::ffff:10.0.0.7]:8080", "http://10.0.0.7:8080");
}

#[test]
fn an_entry_allows_its_scheme_host_and_port_and_nothing_else() {
    let allowed = entry("https://api.example.com");
    for asked in ["https://api.example.com", "https://API.EXAMPLE.COM.", "https://api.example.com:443"] {
        assert!(allowed.covers(&origin(asked)), "{asked}");
    }
    let others = [
        "http://api.example.com",
        "http://api.example.com:443",
        "https://api.example.com:8443",
        "https://example.com",
        "https://x.api.example.com",
        "https://api.example.com.evil.net",
        "https://apiexample.com",
        "https://1.1.1.1",
    ];
    for asked in others {
        assert!(!allowed.covers(&origin(asked)), "{asked}");
    }
}

#[test]
fn a_wildcard_allows_all_names_below_it() {
    let allowed = entry("https://*.example.com");
    for asked in ["https://a.example.com", "https://a.b.example.com", "https://x_y.example.com."] {
        assert!(allowed.covers(&origin(asked)), "{asked}");
    }
    for asked in ["https://example.com", "https://evilexample.com", "http://a.example.com", "https://a.example.com.net"]
    {
        assert!(!allowed.covers(&origin(asked)), "{asked}");
    }
}

#[test]
fn what_is_no_host_is_none() {
    let long = format!("{}.example", "a".repeat(64));
    for text in
        ["", ".", "..", "a..b", ".a", "a b", "a/b", "a@b", "a:b", "a%00b", "a!b", "*", "[::1", "1.2.3.4.5", &long]
    {
        assert_eq!(Host::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_network_has_the_addresses_that_begin_like_it() {
    let check = |network: &str, address: &str, expected: bool| {
        let network: Network = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
    };
    check("10.0.0.0/8", "10.255.0.1", true);
    check("10.0.0.0/8", "11.0.0.0", false);
    check("10.0.0.0/8", "a00::1", false);
    check("10.1.2.3", "10.1.2.3", true);
    check("10.1.2.3/32", "10.1.2.2", false);
    check("0.0.0.0/0", "169.254.169.254", true);
    check("0.0.0.0/0", "::1", false);
    check("fd00::/8", "fdff::1", true);
    check("fd00::/8", "fe80::1", false);
    check("::/0", "::1", true);
    check("::1", "::1", true);
}

#[test]
fn the_port_is_shown_if_it_is_not_that_of_the_scheme() {
    let host = || Host::parse("[::1]").unwrap();
    assert_eq!(Origin::new(Scheme::Http, host(), None).authority(), "[::1]");
    assert_eq!(Origin::new(Scheme::Https, host(), Some(80)).to_string(), "https://[::1]:80");
}
