//! A TCP proxy on the loopback interface that treats connections as a test says.
//!
//! It knows nothing of what goes through it. What is said of answers holds for protocols in which
//! the client speaks first.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use crate::net;

/// How often a thread that waits for the other side looks whether it still should.
const PAUSE: Duration = Duration::from_millis(20);

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Bytes pass.
    Pass,
    /// Nobody listens. A connection that is there already is reset.
    Refuse,
    /// It is reset: a new one as soon as it is accepted.
    Reset,
    /// A black hole: it is accepted and what comes is thrown away, so that nobody gets an answer. It
    /// is reset when another conduct begins and bytes were lost.
    Swallow,
    /// An answer begins so much later.
    Delay(Duration),
    /// It is closed after so many more bytes of answers, heads included.
    Truncate(usize),
}

/// A proxy. Dropping it resets its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Of connections to come.
    conduct: Conduct,
    listens: bool,
    ended: bool,
    accepted: usize,
    links: Vec<Arc<Link>>,
}

impl Proxy {
    /// Listens, and passes everything to an address where nobody need listen yet.
    pub fn start(target: SocketAddr) -> Proxy {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        let listener = TcpListener::bind(address).expect("the port is free");
        let (conduct, links) = (Conduct::Pass, Vec::new());
        let state = State { conduct, listens: true, ended: false, accepted: 0, links };
        let shared = Arc::new(Shared { target, state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        thread::spawn(move || accepting.accept(address, listener));
        Proxy { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Such as `http://127.0.0.1:1234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that were ever accepted.
    pub fn connections(&self) -> usize {
        self.shared.lock().accepted
    }

    /// From now on treats all connections so, those that are there and new ones.
    pub fn set_all(&self, conduct: Conduct) {
        self.set_new(conduct);
        let mut links = std::mem::take(&mut self.shared.lock().links);
        links.retain(|link| link.set(conduct));
        self.shared.lock().links.append(&mut links);
    }

    /// From now on treats new connections so.
    pub fn set_new(&self, conduct: Conduct) {
        let mut state = self.shared.lock();
        state.conduct = conduct;
        self.shared.changed.notify_all();
        let listens = conduct != Conduct::Refuse;
        let settled = self.shared.changed.wait_while(state, |state| state.listens != listens);
        drop(settled.expect("no panic while holding the state"));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        for link in state.links.drain(..) {
            link.set(Conduct::Reset);
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while holding the state")
    }

    fn accept(&self, address: SocketAddr, listener: TcpListener) {
        let mut listening = Some(listener);
        loop {
            let client = listening.as_ref().and_then(accept_soon);
            let mut state = self.lock();
            if state.ended {
                return;
            }
            if state.conduct == Conduct::Refuse {
                listening = None;
                state.listens = false;
                self.changed.notify_all();
                let refuses = |state: &mut State| state.conduct == Conduct::Refuse && !state.ended;
                drop(self.changed.wait_while(state, refuses).expect("no panic while holding the state"));
                continue;
            }
            if listening.is_none() {
                listening = Some(TcpListener::bind(address).expect("the port is still free"));
                state.listens = true;
                self.changed.notify_all();
            }
            if let Some(client) = client {
                state.accepted += 1;
                state.links.retain(|link| !link.lock().closed);
                let link = Link::start(client, self.target, state.conduct);
                state.links.extend(link);
            }
        }
    }
}

/// A connection that came in within [`PAUSE`].
fn accept_soon(listener: &TcpListener) -> Option<TcpStream> {
    let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE.subsec_nanos().into() };
    let came = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&pause)).is_ok_and(|ready| ready > 0);
    came.then(|| listener.accept().ok().map(|(client, _)| client)).flatten()
}

/// A connection with a client, and the one for it with the target. Each way has a thread.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    /// None: a black hole from the start, for which the target need not be there.
    server: Option<TcpStream>,
    state: Mutex<LinkState>,
    changed: Condvar,
}

#[derive(Debug)]
struct LinkState {
    conduct: Conduct,
    /// Something was said that is not answered yet.
    asked: bool,
    /// Bytes of answers since the conduct began.
    answered: usize,
    /// The client cannot go on, because bytes were thrown away.
    lost: bool,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

impl Link {
    fn start(client: TcpStream, target: SocketAddr, conduct: Conduct) -> Option<Arc<Link>> {
        let server = match conduct {
            Conduct::Reset | Conduct::Swallow => None,
            _ => Some(TcpStream::connect(target)),
        };
        let reset = conduct == Conduct::Reset || server.as_ref().is_some_and(Result::is_err);
        let state = LinkState { conduct, asked: false, answered: 0, lost: false, closed: false };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let link = Arc::new(Link { client, server: server.and_then(Result::ok), state, changed });
        if reset {
            link.reset(&mut link.lock());
            return None;
        }
        for stream in [Some(&link.client), link.server.as_ref()].into_iter().flatten() {
            stream.set_nodelay(true).expect("an option of every connection");
            stream.set_write_timeout(Some(PAUSE)).expect("an option of every connection");
        }
        let (requests, answers) = (link.clone(), link.clone());
        thread::spawn(move || requests.pump(Way::Request));
        thread::spawn(move || answers.pump(Way::Answer));
        Some(link)
    }

    /// Whether it goes on.
    fn set(&self, conduct: Conduct) -> bool {
        let mut state = self.lock();
        state.conduct = conduct;
        state.answered = 0;
        let ends = matches!(conduct, Conduct::Refuse | Conduct::Reset);
        // One that never had a server is of no use either.
        if ends || conduct != Conduct::Swallow && (state.lost || self.server.is_none()) {
            self.reset(&mut state);
        }
        self.changed.notify_all();
        !state.closed
    }

    /// The reset is sent when the last owner drops the connection: the threads end soon. Until then
    /// the client must not see an orderly end.
    fn reset(&self, state: &mut LinkState) {
        state.closed = true;
        let _ = set_socket_linger(&self.client, Some(Duration::ZERO));
        let _ = self.client.shutdown(Shutdown::Read);
        if let Some(server) = &self.server {
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().expect("no panic while holding the state")
    }

    fn pump(&self, way: Way) {
        let (mut from, to) = match (way, &self.server) {
            (Way::Request, server) => (&self.client, server.as_ref()),
            (Way::Answer, Some(server)) => (server, Some(&self.client)),
            (Way::Answer, None) => return,
        };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let passes = self.admit(way, count);
            if let Some(to) = to
                && self.write(to, &buffer[..passes]).is_err()
            {
                break;
            }
            if way == Way::Answer {
                self.truncate();
            }
        }
        let mut state = self.lock();
        match state.conduct {
            _ if state.closed => {}
            // Nor does anybody see an end of it.
            Conduct::Swallow if way == Way::Answer => state.lost = true,
            _ => {
                state.closed = way == Way::Answer || to.is_none();
                let _ = to.map(|to| to.shutdown(Shutdown::Write));
            }
        }
    }

    /// How many of so many bytes pass, after waiting as long as they are to wait.
    fn admit(&self, way: Way, count: usize) -> usize {
        let mut state = self.lock();
        if way == Way::Request {
            state.asked = true;
        } else if let Conduct::Delay(delay) = state.conduct
            && std::mem::take(&mut state.asked)
        {
            let same = |state: &mut LinkState| !state.closed && state.conduct == Conduct::Delay(delay);
            let waited = self.changed.wait_timeout_while(state, delay, same);
            state = waited.expect("no panic while holding the state").0;
        }
        let passes = match state.conduct {
            Conduct::Swallow => {
                state.lost = true;
                0
            }
            Conduct::Truncate(limit) if way == Way::Answer => count.min(limit.saturating_sub(state.answered)),
            _ => count,
        };
        // Before they are written: whoever has read them may begin another conduct at once.
        if way == Way::Answer {
            state.answered += passes;
        }
        passes
    }

    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                // Whoever is to read does not: the connection may have been ended meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.lock().closed {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes the client's side if it has been told all that it is to be told.
    fn truncate(&self) {
        let mut state = self.lock();
        if let Conduct::Truncate(limit) = state.conduct
            && state.answered >= limit
            && !state.closed
        {
            state.closed = true;
            let _ = self.client.shutdown(Shutdown::Both);
            let _ = self.server.as_ref().map(|server| server.shutdown(Shutdown::Both));
        }
    }
}
