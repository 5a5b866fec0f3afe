//! Limits the length of the method, scheme, authority and path of a request. `wasmtime_wasi_http` stores them
//! without a limit.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method, OutgoingRequest, Scheme};

use super::TYPES;

/// The maximum length of a method or scheme that `wasi:http` does not define.
const MAX_WORD_BYTES: usize = 64;
/// Enough for a name of 253 bytes and a port.
const MAX_AUTHORITY_BYTES: usize = 300;
/// Most servers accept less.
const MAX_PATH_BYTES: usize = 16 << 10;

/// `Err`: the value was refused.
type Set = Result<(), ()>;
type Request = Resource<OutgoingRequest>;

/// Replaces the setters, so that they refuse values that are too long in the same way as invalid ones.
pub(super) fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]outgoing-request.set-method", set_method::<T>)?;
    types.func_wrap("[method]outgoing-request.set-scheme", set_scheme::<T>)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority::<T>)?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", set_path::<T>)
}

fn set_method<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, method): (Request, Method),
) -> wasmtime::Result<(Set,)> {
    if matches!(&method, Method::Other(name) if name.len() > MAX_WORD_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_method(request, method)?,))
}

fn set_scheme<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, scheme): (Request, Option<Scheme>),
) -> wasmtime::Result<(Set,)> {
    if matches!(&scheme, Some(Scheme::Other(name)) if name.len() > MAX_WORD_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_scheme(request, scheme)?,))
}

fn set_authority<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, authority): (Request, Option<String>),
) -> wasmtime::Result<(Set,)> {
    if authority.as_ref().is_some_and(|authority| authority.len() > MAX_AUTHORITY_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_authority(request, authority)?,))
}

fn set_path<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, path): (Request, Option<String>),
) -> wasmtime::Result<(Set,)> {
    if path.as_ref().is_some_and(|path| path.len() > MAX_PATH_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_path_with_query(request, path)?,))
}
