//! HTTP that functions do, by `wasi:http`. The only way out of a guest, and closed unless the
//! manifest opens it: every request is held against `allow-hosts`, every address that is connected
//! to against `allow-networks`. A redirect is an answer like others; who follows it asks anew.
//!
//! All instances of a function share a client, and so its connections and limits. A request is a
//! task on the guests' runtime that ends with the resources of its instance, so a call that is
//! dropped leaves nothing under way. Waiting costs no thread; only names are looked up on a few.
//!
//! Bounded: requests and connections by `http.connections`, bodies and times by the manifest, times
//! also by the deadline of the call; first lines, heads, what is read ahead, and the requests of one
//! instance by constants here, in `client` and in `setters`. A body that the end of its instance cut
//! short breaks the connection: nobody takes a part of a request for all of it. No proxy of the
//! environment is used, nothing is cached, decompressed or tried again, except on a connection that
//! was closed before anything of the request was sent.

mod address;
mod body;
mod client;
mod connect;
mod counts;
mod dialer;
mod failure;
mod grants;
mod handle;
mod refusals;
mod setters;
mod slot;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::io::error::Error as IoError;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, WasiHttpView};

pub(super) use client::Client;
use connect::{Reach, look_up};
pub use counts::HttpCounts;
pub use dialer::{HttpDialer, HttpStream};
pub use failure::Failure;
pub use grants::target;

use crate::manifest::{Function, Name, Scheme};

/// Where a guest asks what an error of a stream was, by the name that `wasmtime_wasi_http` gives it.
const TYPES: &str = "wasi:http/types@0.2.12";
/// Requests of one instance that may be under way, or wait, at once; further ones fail. Each takes up
/// to seven of the resources that an instance may have: three to send a body, four to read another.
const MAX_REQUESTS: usize = 500;
/// Most bytes of a head, whether a guest makes or receives it, as they lie in memory.
pub(super) const MAX_FIELDS_BYTES: usize = 32 << 10;
/// Most bytes of a request's body that a guest writes at once. Two of them may lie between guest and
/// connection.
const CHUNK_BYTES: usize = 8 << 10;
/// How long before its deadline a call is told that its requests took too long, so that it can still
/// say so itself.
const MARGIN: Duration = Duration::from_millis(50);

/// Gives guests `wasi:http`, whether or not anything is allowed: many components import it and never
/// use it.
pub(super) fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    setters::add_to_linker(linker)?;
    handle::add_to_linker(linker)?;
    // The function of that crate does not know the errors that its own bodies end in.
    linker.instance(TYPES)?.func_wrap("http-error-code", error_code::<T>)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn error_code<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (error,): (Resource<IoError>,),
) -> wasmtime::Result<(Option<ErrorCode>,)> {
    let error = store.data_mut().http().table.get(&error)?;
    let code = match error.downcast_ref::<Error>() {
        Some(error) => failure::code_of_body(error),
        None => error.downcast_ref::<ErrorCode>().cloned(),
    };
    Ok((code,))
}

/// The clients of all functions.
#[derive(Default)]
pub(super) struct Clients {
    /// What stands in for the network. None: nothing does.
    dialer: Option<Arc<dyn HttpDialer>>,
    functions: Mutex<HashMap<Name, Entry>>,
    /// Kept once it could be read.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// Numbers stay when the client goes, with its last instance.
#[derive(Default)]
struct Entry {
    counts: Arc<HttpCounts>,
    client: Weak<Client>,
}

impl Clients {
    /// Clients that ask this dialer and nobody else.
    pub(super) fn through(dialer: Arc<dyn HttpDialer>) -> Self {
        Self { dialer: Some(dialer), ..Self::default() }
    }

    /// The client of a function. Those with the same settings share one.
    pub(super) fn get(&self, function: &Function) -> Result<Arc<Client>, String> {
        let reach = self.reach(function)?;
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = functions.entry(function.name.clone()).or_default();
        if let Some(client) = entry.client.upgrade().filter(|client| *client.policy == function.http) {
            return Ok(client);
        }
        let client = Arc::new(Client::new(function, reach, entry.counts.clone()));
        entry.client = Arc::downgrade(&client);
        Ok(client)
    }

    fn reach(&self, function: &Function) -> Result<Reach, String> {
        if let Some(dialer) = &self.dialer {
            return Ok(Reach::Other(dialer.clone()));
        }
        let wants_tls = function.http.allow_hosts.iter().any(|entry| entry.origin.scheme == Scheme::Https);
        let tls = if wants_tls { Some(self.tls()?) } else { None };
        Ok(Reach::Network { tls, look_up })
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        match self.tls.get() {
            Some(tls) => Ok(tls.clone()),
            None => tls::config().map(|tls| self.tls.get_or_init(|| tls).clone()),
        }
    }

    pub(super) fn counts(&self, function: &Name) -> Arc<HttpCounts> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        functions.entry(function.clone()).or_default().counts.clone()
    }
}

/// What `wasi:http` of one instance does with a request.
pub(super) struct Hooks {
    client: Arc<Client>,
    /// One for each request of this instance that may be under way.
    room: Arc<Semaphore>,
    caller: Caller,
}

/// What a request has to know of the instance that makes it.
#[derive(Clone)]
struct Caller {
    /// Whether there is no such instance any more.
    gone: Arc<AtomicBool>,
    /// When its call is over, or nearly so. None: it was not called yet.
    deadline: Option<Instant>,
}

impl Hooks {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let caller = Caller { gone: Arc::default(), deadline: None };
        Self { client, room: Arc::new(Semaphore::new(MAX_REQUESTS)), caller }
    }

    /// A call begins that may take so long.
    pub(super) fn begin_call(&mut self, limit: Duration) {
        self.caller.deadline = Some(Instant::now() + limit - MARGIN.min(limit / 10));
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.caller.gone.store(true, Ordering::Release);
    }
}

type Answering = dyn Future<Output = Result<(hyper::Response<WasiBody>, Box<Watching>), Error>> + Send;
type Watching = dyn Future<Output = Result<(), Error>> + Send;

impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: hyper::Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<Watching>,
    ) -> Box<Answering> {
        let (client, caller) = (self.client.clone(), self.caller.clone());
        // Not in the future, which may be dropped before it runs.
        let begun = self.room.clone().try_acquire_owned().map(|room| (room, client.admit(request)));
        Box::new(async move {
            let (room, admitted) = begun.map_err(|_| Error::ConnectionLimitReached)?;
            let answer = client.send(admitted, options, caller).await?;
            let watching = async move {
                let _room = room;
                answer.watch.until(answer.deadline).await;
                Ok(())
            };
            Ok((answer.response, Box::new(watching) as Box<Watching>))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}
