//! A relay before a broker that counts the requests through it, by their API key.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tidegate_tests::net;

/// Requests by API key, as in the protocol guide of Apache Kafka.
pub type Counts = BTreeMap<u16, u64>;

pub struct Relay {
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Relay {
    /// Listens, and relays to a broker that need not be up yet.
    pub fn start(broker: SocketAddr) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        let listener = TcpListener::bind(address).expect("the port is free");
        let counts = Arc::new(Mutex::default());
        let relay = Self { address, counts: Arc::clone(&counts) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                // A client whose broker is away tries again.
                let _ = relay_one(client, broker, counts);
            }
        });
        relay
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().expect("nobody panicked").clone()
    }
}

fn relay_one(client: TcpStream, broker: SocketAddr, counts: Arc<Mutex<Counts>>) -> io::Result<()> {
    let broker = TcpStream::connect(broker)?;
    for stream in [&client, &broker] {
        stream.set_nodelay(true)?;
    }
    let (mut requests, mut answers) = (client.try_clone()?, broker.try_clone()?);
    let (mut client, mut broker) = (client, broker);
    thread::Builder::new().stack_size(128 << 10).spawn(move || drop(io::copy(&mut answers, &mut client)))?;
    thread::Builder::new().stack_size(128 << 10).spawn(move || {
        // A frame: its length, then the API key.
        let (mut head, mut rest) = ([0; 6], Vec::new());
        while requests.read_exact(&mut head).is_ok() {
            let [a, b, c, d, key @ ..] = head;
            rest.resize(u32::from_be_bytes([a, b, c, d]) as usize - 2, 0);
            *counts.lock().expect("nobody panicked").entry(u16::from_be_bytes(key)).or_default() += 1;
            if requests.read_exact(&mut rest).and_then(|()| broker.write_all(&[&head[..], &rest].concat())).is_err() {
                break;
            }
        }
        let _ = broker.shutdown(std::net::Shutdown::Both);
    })?;
    Ok(())
}
