//! The start of a request. That of `wasmtime_wasi_http` never frees the options that it is given, so
//! an instance which sets some would soon have all the resources that it may have, and trap.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, FutureIncomingResponse, OutgoingRequest, RequestOptions,
};

/// Where a guest starts a request, by the name that `wasmtime_wasi_http` gives it.
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Arguments = (Resource<OutgoingRequest>, Option<Resource<RequestOptions>>);
type Started = Result<Resource<FutureIncomingResponse>, ErrorCode>;

/// Replaces the start of a request, so that its options go with it.
pub(super) fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(HANDLER)?.func_wrap("handle", handle::<T>)
}

fn handle<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, options): Arguments,
) -> wasmtime::Result<(Started,)> {
    let mut http = store.data_mut().http();
    let given = options.as_ref().map(Resource::rep);
    let started = http.handle(request, options);
    if let Some(given) = given {
        http.table.delete(Resource::<RequestOptions>::new_own(given))?;
    }
    match started {
        Ok(started) => Ok((Ok(started),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
