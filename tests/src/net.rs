//! Loopback ports and the smallest HTTP client that reads a health endpoint.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// A loopback port that nobody listens on and that this process has not given out before.
///
/// Not one of the kernel's ephemeral ports: a client that keeps dialling one of those while its
/// broker is down ends up connected to itself, and the broker cannot come back.
pub fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().expect("no panic while choosing a port");
    loop {
        let port = fastrand::u16(15_000..32_000);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}

/// Whether somebody accepts connections there.
pub fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

/// An answer to [`get`] or [`post`].
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// `GET path`. Blocking, one connection for each call, no chunked bodies.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// `POST path` with JSON. Otherwise like [`get`].
pub fn post(address: SocketAddr, path: &str, json: &str) -> io::Result<Response> {
    let length = json.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    exchange(address, &format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"))
}

fn exchange(address: SocketAddr, request: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP response"))
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_a_status_and_a_body() {
        let response = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nnot yet\n").expect("parses");
        assert_eq!((response.status, response.body.as_str()), (503, "not yet\n"));
        assert!(parse("SSH-2.0-x").is_none());
        assert!(parse("HTTP/1.1 abc\r\n\r\n").is_none());
    }

    #[test]
    fn ports_are_given_out_once() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
