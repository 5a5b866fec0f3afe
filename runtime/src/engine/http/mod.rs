//! HTTP requests of functions, through `wasi:http`. This is the only access to the network that a guest has.
//! By default no request is allowed. Every request is checked against `allow-hosts`, and every address to
//! which a connection is opened against `allow-networks`. Redirects are not followed: a guest that follows
//! one makes a new request, which is checked too.
//!
//! All instances of a function share one client, and so its connections and limits. A request is a task on
//! the guests' runtime. It ends when the resources of its instance are dropped, so a dropped call leaves no
//! request running. A request that waits blocks no thread; only name lookups use a few blocking threads.
//!
//! Limits: `http.connections` limits requests and connections. The manifest also limits the size of bodies
//! and all times; the deadline of the call limits the times as well. Constants in this module, in `client`
//! and in `setters` limit request lines, headers, the data that is read ahead, and the requests of one
//! instance. If the instance ends before the body of a request is complete, the connection is closed, so
//! that the server does not take the part for a complete request. Proxy settings in the environment are
//! ignored. Nothing is cached, decompressed or retried, with one exception: a request is sent again if its
//! connection was closed before any byte of the request was sent.

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
mod refusing;
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
use connect::{Backend, look_up};
pub use counts::{HttpCounts, HttpSnapshot};
pub use dialer::{HttpDialer, HttpStream};
pub use failure::Failure;
pub use grants::target;

use crate::manifest::{Function, Name, Scheme};

/// The interface with the types of HTTP and the function that returns the error code of a stream, with the
/// version that `wasmtime_wasi_http` uses.
const TYPES: &str = "wasi:http/types@0.2.12";
/// How many requests of one instance may run or wait at once; further ones fail. Each takes up to seven of
/// the resources that an instance may have: three to send a body, and four to read the response.
const MAX_REQUESTS: usize = 500;
/// The maximum size of headers in memory, both for those that a guest creates and for those it receives.
pub(super) const MAX_FIELDS_BYTES: usize = 32 << 10;
/// How many bytes of a request body a guest can write at once. Up to two such chunks are buffered between
/// the guest and the connection.
const CHUNK_BYTES: usize = 8 << 10;
/// How long before the deadline of a call its requests time out, so that the function has time to handle
/// the error.
const MARGIN: Duration = Duration::from_millis(50);

/// Adds `wasi:http`, also for functions that may not make any request: many components import it and never
/// use it.
pub(super) fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    setters::add_to_linker(linker)?;
    handle::add_to_linker(linker)?;
    // The function of that crate does not know the errors of the crate's own bodies.
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
    /// Replaces the network, if it is set.
    dialer: Option<Arc<dyn HttpDialer>>,
    functions: Mutex<HashMap<Name, Entry>>,
    /// Empty until the certificates could be read.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// The client lives as long as the instances that use it. The counts stay when it is dropped.
#[derive(Default)]
struct Entry {
    counts: Arc<HttpCounts>,
    client: Weak<Client>,
}

impl Clients {
    /// Clients that send all requests to this dialer.
    pub(super) fn through(dialer: Arc<dyn HttpDialer>) -> Self {
        Self { dialer: Some(dialer), ..Self::default() }
    }

    /// The client of a function. If the settings of a function change, it gets a new client.
    pub(super) fn get(&self, function: &Function) -> Result<Arc<Client>, String> {
        let backend = self.backend(function)?;
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = functions.entry(function.name.clone()).or_default();
        if let Some(client) = entry.client.upgrade().filter(|client| *client.policy == function.http) {
            return Ok(client);
        }
        let client = Arc::new(Client::new(function, backend, entry.counts.clone()));
        entry.client = Arc::downgrade(&client);
        Ok(client)
    }

    /// A client for a function all of whose requests are refused. It counts for nobody.
    pub(super) fn isolated(function: &Function) -> Arc<Client> {
        Arc::new(Client::new(function, Backend::Dialer(Arc::new(refusing::Refusing)), Arc::default()))
    }

    fn backend(&self, function: &Function) -> Result<Backend, String> {
        if let Some(dialer) = &self.dialer {
            return Ok(Backend::Dialer(dialer.clone()));
        }
        let wants_tls = function.http.allow_hosts.iter().any(|entry| entry.origin.scheme == Scheme::Https);
        let tls = if wants_tls { Some(self.tls()?) } else { None };
        Ok(Backend::Network { tls, look_up })
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

/// Handles the requests of one instance.
pub(super) struct Hooks {
    client: Arc<Client>,
    /// One permit for each request that this instance may have at once.
    permits: Arc<Semaphore>,
    caller: Caller,
}

/// What a request needs to know about the instance that makes it.
#[derive(Clone)]
struct Caller {
    /// Whether the instance was dropped.
    instance_dropped: Arc<AtomicBool>,
    /// Shortly before the deadline of the call. `None`: the instance is starting.
    deadline: Option<Instant>,
}

impl Hooks {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let caller = Caller { instance_dropped: Arc::default(), deadline: None };
        Self { client, permits: Arc::new(Semaphore::new(MAX_REQUESTS)), caller }
    }

    /// A call begins that may take up to `limit`.
    pub(super) fn begin_call(&mut self, limit: Duration) {
        self.caller.deadline = Some(Instant::now() + limit - MARGIN.min(limit / 10));
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.caller.instance_dropped.store(true, Ordering::Release);
    }
}

type ResponseFuture = dyn Future<Output = Result<(hyper::Response<WasiBody>, Box<BodyFuture>), Error>> + Send;
type BodyFuture = dyn Future<Output = Result<(), Error>> + Send;

impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: hyper::Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<BodyFuture>,
    ) -> Box<ResponseFuture> {
        let (client, caller) = (self.client.clone(), self.caller.clone());
        // Requests are admitted here and not in the future, because the future may be dropped before it runs.
        let begun = self.permits.clone().try_acquire_owned().map(|permit| (permit, client.admit(request)));
        Box::new(async move {
            let (permit, admitted) = begun.map_err(|_| Error::ConnectionLimitReached)?;
            let timed = client.send(admitted, options, caller).await?;
            let limit_body = async move {
                let _permit = permit;
                timed.download_limit.end_at(timed.deadline).await;
                Ok(())
            };
            Ok((timed.response, Box::new(limit_body) as Box<BodyFuture>))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}
