//! Hosts and networks that a function may ask by HTTP, as they are written and compared.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// How a URL begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// The word in a URL.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host: an address, or a name in lower case in the form that DNS takes, without a dot at its end. Two spellings of
/// one host are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Reads the host of a URL. `None`: there can be no such host.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match url::Host::parse(text).ok()? {
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
                let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal);
                (name.len() <= 253 && name.split('.').all(label)).then(|| Self::Name(name.to_owned()))
            }
            url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            url::Host::Ipv6(address) => Some(Self::Address(IpAddr::V6(address).to_canonical())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The server of a URL: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

impl Origin {
    /// Makes an origin. Without a port it gets the port of the scheme.
    #[must_use]
    pub fn new(scheme: Scheme, host: Host, port: Option<u16>) -> Self {
        Self { scheme, host, port: port.unwrap_or(scheme.default_port()) }
    }

    /// The host, with the port if it is not that of the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.word(), self.authority())
    }
}

/// An entry of `allow-hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// The origin that is allowed.
    pub origin: Origin,
    /// Allows all names that end in a dot and the name of the host, and not the host itself.
    pub is_wildcard: bool,
}

impl AllowedHost {
    /// Whether this entry allows an origin.
    #[must_use]
    pub fn covers(&self, asked: &Origin) -> bool {
        let Self { origin, is_wildcard } = self;
        if asked.scheme != origin.scheme || asked.port != origin.port {
            return false;
        }
        match (&origin.host, &asked.host) {
            (Host::Name(end), Host::Name(name)) if *is_wildcard => {
                name.strip_suffix(end.as_str()).is_some_and(|start| start.ends_with('.'))
            }
            (allowed, asked) => !is_wildcard && allowed == asked,
        }
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = if self.is_wildcard { "*." } else { "" };
        write!(f, "{}://{start}{}", self.origin.scheme.word(), self.origin.authority())
    }
}

/// Why a text is not an entry, and what is expected instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEntry(&'static str);

const NO_SCHEME: InvalidEntry =
    InvalidEntry("a host without a scheme, expected \"https://\" or \"http://\" before the host");
const OTHER_SCHEME: InvalidEntry = InvalidEntry("another scheme than HTTP, expected \"https://\" or \"http://\"");
const USER: InvalidEntry =
    InvalidEntry("a host with a user, expected scheme, host and port only: a password belongs in `secrets`");
const PATH: InvalidEntry =
    InvalidEntry("a host with a path or query, expected scheme, host and port only: all paths of a host are allowed");
const PORT: InvalidEntry = InvalidEntry("a port that cannot be, expected a number from 1 to 65535");
const STAR: InvalidEntry =
    InvalidEntry("a '*' that stands for no names, expected it as the whole first part: \"https://*.example.com\"");
const WIDE: InvalidEntry =
    InvalidEntry("a '*' for too much, expected two parts or more behind it: \"https://*.example.com\"");
const HOST: InvalidEntry =
    InvalidEntry("an invalid host, expected a name or an IP address such as in \"https://api.example.com\"");
const NETWORK: InvalidEntry =
    InvalidEntry("an invalid network, expected an address and the length of its prefix such as \"10.0.0.0/8\"");
const PREFIX: InvalidEntry =
    InvalidEntry("a network with more than its prefix, expected zeros behind it, such as \"10.0.0.0/8\"");

impl FromStr for AllowedHost {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        let (scheme, rest) = text.split_once("://").ok_or(NO_SCHEME)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(OTHER_SCHEME),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(PATH);
        }
        if rest.contains('@') {
            return Err(USER);
        }
        let (host, port) = split_port(rest)?;
        let below = host.strip_prefix("*.");
        if below.unwrap_or(host).contains('*') {
            return Err(STAR);
        }
        let host = Host::parse(below.unwrap_or(host)).ok_or(HOST)?;
        if below.is_some() {
            match &host {
                Host::Name(name) if name.contains('.') => {}
                Host::Name(_) => return Err(WIDE),
                Host::Address(_) => return Err(STAR),
            }
        }
        Ok(Self { origin: Origin::new(scheme, host, port), is_wildcard: below.is_some() })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), InvalidEntry> {
    let behind_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text[behind_brackets..].rfind(':').map(|at| at + behind_brackets) else {
        return Ok((text, None));
    };
    let port = text[colon + 1..].parse().ok().filter(|port| *port > 0 && !text[colon + 1..].starts_with('+'));
    Ok((&text[..colon], Some(port.ok_or(PORT)?)))
}

/// The addresses that begin with one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                masked(address, self.prefix) == self.address
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(start, end)| (start, Some(end)));
        let address: IpAddr = address.parse().map_err(|_| NETWORK)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| NETWORK)?,
            Some(_) => return Err(NETWORK),
        };
        if prefix > most {
            return Err(NETWORK);
        }
        if masked(address, prefix) != address {
            return Err(PREFIX);
        }
        Ok(Self { address, prefix })
    }
}

/// The address with zeros after the prefix.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
