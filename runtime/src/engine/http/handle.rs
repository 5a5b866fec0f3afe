//! Replaces the function that starts a request. The one of `wasmtime_wasi_http` never frees the options of a
//! request. So an instance that sets options would soon reach its limit of resources and trap.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, FutureIncomingResponse, OutgoingRequest, RequestOptions,
};

/// The interface with this function, with the version that `wasmtime_wasi_http` uses.
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Arguments = (Resource<OutgoingRequest>, Option<Resource<RequestOptions>>);
type Started = Result<Resource<FutureIncomingResponse>, ErrorCode>;

/// Replaces the function with one that also frees the options.
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
