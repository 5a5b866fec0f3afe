//! Requests without a guest, for tests of what stands in for the network.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::{Request, Response};
use wasmtime_wasi_http::{WasiBody, WasiHttpHooks as _};

use super::connect::Reach;
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
        let client = Arc::new(Client::new(function, Reach::Other(dialer), counts.clone()));
        Self { hooks: Hooks::new(client.clone()), client, counts }
    }

    /// The head of the answer to a request, and a body that is still to come.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Response<WasiBody>, Failure>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let admitted = self.client.admit(boxed(request));
        let caller = Caller { gone: Arc::default(), deadline: None };
        self.client.send(admitted, None, caller).await.map(|answer| answer.response)
    }

    /// Makes a request as a guest does: it is made now, and sent when the future runs.
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
