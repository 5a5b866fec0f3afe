//! `src/bindings.rs` is what wit-bindgen makes of `wit/`.
//!
//! After a change there: `UPDATE_BINDINGS=1 cargo test -p tidegate-sdk --test bindings`.

use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

#[test]
fn the_bindings_are_those_of_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = generate(&root.join("../wit"));
    let path = root.join("src/bindings.rs");
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        std::fs::write(&path, &expected).expect("src/bindings.rs can be written");
    }
    let found = std::fs::read_to_string(&path).expect("src/bindings.rs is there");
    assert!(found == expected, "wit/ has changed: write src/bindings.rs anew, with UPDATE_BINDINGS=1");
}

fn generate(wit: &Path) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).expect("wit/ is valid");
    let world = resolve.select_world(&[package], Some("function")).expect("the world is there");
    let options = wit_bindgen_rust::Opts {
        format: true,
        pub_export_macro: true,
        default_bindings_module: Some("tidegate_sdk::__private::bindings".to_owned()),
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("wit-bindgen knows all of it");
    let (_, bindings) = files.iter().next().expect("there is one file");
    String::from_utf8(bindings.to_vec()).expect("Rust is UTF-8")
}
