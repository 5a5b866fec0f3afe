//! Decides whether an IP address is public. Functions may connect to other addresses only if the manifest
//! allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is a public address of the internet. Not public are: loopback, private networks, the
/// metadata services of clouds, all other addresses with a special purpose, and IPv6 addresses that contain
/// such an IPv4 address. A public address of this machine counts as public, because this function does not
/// know the addresses of the machine.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Follows IANA's registry of special-purpose addresses, and excludes special addresses of clouds.
fn is_public_v4(address: Ipv4Addr) -> bool {
    // This address is in a public range, but on Azure it is an agent on the host that returns secrets of the
    // machine.
    if address == Ipv4Addr::new(168, 63, 129, 16) {
        return false;
    }
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        // "This" network, private, loopback.
        (0 | 10 | 127, ..) => false,
        // Shared by providers and their customers (CGNAT).
        (100, 64..=127, _) => false,
        // Link-local, and with it the metadata services of clouds.
        (169, 254, _) => false,
        (172, 16..=31, _) | (192, 168, _) => false,
        // Protocol assignments, documentation, relays of 6to4.
        (192, 0, 0 | 2) | (192, 88, 99) => false,
        // Benchmarks, documentation.
        (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => false,
        // Multicast, reserved, broadcast.
        (224.., ..) => false,
        _ => true,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => is_public_v4(embedded(high, low)),
        // NAT64 and 6to4 addresses lead to the IPv4 address that they contain.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(embedded(high, low)),
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Teredo, benchmarks, ORCHID and other special purposes; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // All addresses that are assigned for the internet are in 2000::/3.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: bool, addresses: &[&str]) {
        for text in addresses {
            let address = text.parse().expect("an address");
            assert_eq!(is_public(address), expected, "{text}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        check(true, &["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1"]);
        check(true, &["169.253.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", "192.167.0.1", "11.0.0.1"]);
        check(true, &["168.63.129.15", "168.63.129.17"]);
        check(true, &["2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]);
        check(true, &["2002:808:808::1"]);
    }

    #[test]
    fn special_addresses_are_not_public() {
        check(
            false,
            &["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255"],
        );
        check(false, &["192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1"]);
        check(false, &["198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.1.1"]);
        check(false, &["240.0.0.1", "255.255.255.255", "192.88.99.1", "168.63.129.16"]);
        check(false, &["::", "::1", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "100::1"]);
        check(false, &["2001:db8::1", "3fff::1", "2001::1", "2001:2::1", "2001:10::1", "5f00::1", "64:ff9b:1::1"]);
        check(false, &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"]);
        check(
            false,
            &["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "::ffff:168.63.129.16", "2002:7f00:1::", "2002:a00:1::1"],
        );
    }
}
