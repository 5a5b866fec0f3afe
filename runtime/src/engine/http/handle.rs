//! The start of a request. That of `wasmtime_wasi_http` never frees the options that it is given, so
//! an instance which sets some would soon have all the resources that it may have, and trap.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, FutureIncomingResponse, OutgoingRequest, RequestOptions,
};

use crate::engine::host::Host;

/// Where a guest starts a request, by the name that `wasmtime_wasi_http` gives it.
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Arguments = (Resource<OutgoingRequest>, Option<Resource<RequestOptions>>);
type Started = Result<Resource<FutureIncomingResponse>, ErrorCode>;

/// Replaces the start of a request, so that its options go with it.
pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.instance(HANDLER)?.func_wrap("handle", handle)
}

fn handle(mut store: StoreContextMut<'_, Host>, (request, options): Arguments) -> wasmtime::Result<(Started,)> {
    let host = store.data_mut();
    let given = options.as_ref().map(Resource::rep);
    let started = host.http().handle(request, options);
    if let Some(given) = given {
        host.table.delete(Resource::<RequestOptions>::new_own(given))?;
    }
    match started {
        Ok(started) => Ok((Ok(started),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
