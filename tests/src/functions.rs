//! Built guest components.

use std::path::PathBuf;

use crate::place;

/// The component of a crate of ours, as `uppercase`, `orders`, `hostile` or `raw-outcomes`.
///
/// They are built by `make test` before the tests run; this only finds them.
#[track_caller]
pub fn component(name: &str) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    let path = place::target().join("wasm32-wasip2/release").join(file);
    assert!(
        path.is_file(),
        "{} is missing: run `make test`, or build it with\n\n    cargo build --release --target wasm32-wasip2 -p {name}\n",
        path.display(),
    );
    path
}

/// The bytes of [`component`].
#[track_caller]
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(component(name)).expect("a component that exists can be read")
}
