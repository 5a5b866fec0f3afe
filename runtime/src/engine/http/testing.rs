//! Requests without a guest, for tests of dialers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::{Request, Response};
use wasmtime_wasi_http::{WasiBody, WasiHttpHooks as _};

use super::connect::Backend;
use super::{Caller, Client, Failure, Hooks, HttpCounts, HttpDialer};
use crate::manifest::Function;

/// One instance of a function.
pub(crate) struct Guest {
    client: Arc<Client>,
    hooks: Hooks,
    pub(crate) counts: Arc<HttpCounts>,
}

impl Guest {
    pub(crate) fn new(function: &Function, dialer: Arc<dyn HttpDialer>) -> Self {
        let counts = Arc::<HttpCounts>::default();
        let client = Arc::new(Client::new(function, Backend::Dialer(dialer), counts.clone()));
        Self { hooks: Hooks::new(client.clone()), client, counts }
    }

    /// Sends a request and returns the head of the response. The body may still be on its way.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Response<WasiBody>, Failure>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let admitted = self.client.admit(boxed(request));
        let caller = Caller { instance_dropped: Arc::default(), deadline: None };
        self.client.send(admitted, None, caller).await.map(|answer| answer.response)
    }

    /// Makes a request as a guest does: this call admits the request, and the future sends it.
    pub(crate) fn start<B>(
        &mut self,
        request: Request<B>,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let asking = Pin::from(self.hooks.send_request(boxed(request), None, Box::new(async { Ok(()) })));
        Box::pin(async move {
            let (response, _) = asking.await.map_err(|error| error.to_string())?;
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok(body.to_bytes())
        })
    }
}

fn boxed<B>(request: Request<B>) -> Request<WasiBody>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    request.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}
