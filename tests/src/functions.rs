//! Built guest components.

use std::path::PathBuf;

use crate::place;

/// The component of a crate of ours, as `uppercase`, `orders`, `hostile` or `raw-outcomes`, or of a
/// module in Go, as `gopher`.
///
/// They are built by `make test` before the tests run; this only finds them.
#[track_caller]
pub fn component(name: &str) -> PathBuf {
    let folder = place::target().join("wasm32-wasip2/release");
    // Cargo spells it its own way.
    let paths = [name.to_owned(), name.replace('-', "_")].map(|name| folder.join(format!("{name}.wasm")));
    let found = paths.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: run `make functions go-functions`"))
}

/// The bytes of [`component`].
#[track_caller]
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(component(name)).expect("a component that exists can be read")
}
