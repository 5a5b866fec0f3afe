//! Addresses of brokers in the form that librdkafka takes: `host:port`, several separated by commas.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cluster, Name};

/// The port where none is given.
const PORT: u16 = 9092;

/// A broker's address, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    host: String,
    port: u16,
}

/// Reads addresses. `None`: one of them cannot be an address.
pub(super) fn addresses(text: &str) -> Option<BTreeSet<Address>> {
    text.split(',').map(address).collect()
}

fn address(broker: &str) -> Option<Address> {
    let broker = broker.trim();
    let host = broker.rsplit_once("://").map_or(broker, |(_, host)| host);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (host, PORT),
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    (is_host && port > 0).then(|| Address { host: host.to_ascii_lowercase(), port })
}

impl Cluster {
    /// A cluster that no manifest declares, with the addresses of its brokers. `None`: one of them cannot be
    /// an address.
    #[must_use]
    pub fn at(brokers: &str) -> Option<Self> {
        let name = Name("brokers".into());
        addresses(brokers).map(|_| Self { name, brokers: brokers.trim().to_owned(), properties: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        for good in ["kafka:9092", "kafka", "a:1,b:2", "PLAINTEXT://a:1", "[::1]:9092", "127.0.0.1:9092, b:2"] {
            assert!(Cluster::at(good).is_some(), "{good}");
        }
        for bad in ["", "kafka:", "kafka:port", ":9092", "a:1,,b:2", "a b", "kafka:99999", "kafka:0"] {
            assert!(Cluster::at(bad).is_none(), "{bad}");
        }
        assert_eq!(addresses("KAFKA, b:1,b:1"), addresses("b:1,SSL://kafka:9092"));
    }
}
