//! `sdk-go/internal/bindings` is what wit-bindgen makes of `wit/deps`.
//!
//! After a change there: `UPDATE_BINDINGS=1 cargo test -p tidegate-tests --test it bindings_go`. The
//! generator formats with gofmt.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tidegate_tests::place;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// What the Go SDK imports. The handler that it exports is written by hand.
const WORLD: &str = "package tidegate:sdk-go;

world http {
    import wasi:http/outgoing-handler@0.2.12;
    import wasi:io/poll@0.2.12;
    import wasi:clocks/monotonic-clock@0.2.12;
}";
/// The packages, in the order of their needs.
const PACKAGES: [&str; 3] = ["io.wit", "clocks.wit", "http.wit"];
const INTERNAL: &str = "github.com/tidegate/tidegate/sdk-go/internal";

#[test]
fn the_bindings_of_the_go_sdk_are_those_of_wasi_http() {
    let folder = place::repository().join("sdk-go/internal/bindings");
    let expected = generate(&place::repository().join("wit/deps"));
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        write(&folder, &expected);
    }
    let stale = |(name, text): &(&String, &String)| fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text);
    let stale: Vec<_> = expected.iter().filter(stale).map(|(name, _)| name).collect();
    assert!(stale.is_empty(), "{stale:?} are not as generated: write them anew, with UPDATE_BINDINGS=1");
    let packages = fs::read_dir(&folder).expect("the bindings are there").count();
    assert_eq!(packages * 2, expected.len(), "{} has packages that are not generated", folder.display());
}

/// The texts of the files, by their names.
fn generate(wit: &Path) -> BTreeMap<String, String> {
    let mut resolve = Resolve::default();
    for name in PACKAGES {
        let text = fs::read_to_string(wit.join(name)).expect("a package of WASI");
        resolve.push_str(name, &text).expect("it is valid");
    }
    let package = resolve.push_str("http.wit", WORLD).expect("it is valid");
    let world = resolve.select_world(&[package], None).expect("there is one");
    let options = wit_bindgen_go::Opts { pkg_name: Some(format!("{INTERNAL}/bindings")), ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("wit-bindgen knows all of it");
    let imports = files.iter().filter_map(|(name, text)| Some((name.strip_prefix("imports/")?, text)));
    imports.map(|(name, text)| (name.to_owned(), adapted(std::str::from_utf8(text).expect("text")))).collect()
}

/// As it lies in the SDK: beside the runtime that it needs, and such that `go vet` does not take
/// addresses in the linear memory for mistakes.
fn adapted(text: &str) -> String {
    text.replace(&format!("{INTERNAL}/bindings/imports/"), &format!("{INTERNAL}/bindings/"))
        .replace("go.bytecodealliance.org/pkg/wit/", &format!("{INTERNAL}/wit/"))
        .replace("unsafe.Pointer(uintptr(", "unsafe.Add(unsafe.Pointer(nil), uintptr(")
        .replace("unsafe.Pointer(returnArea)", "unsafe.Add(unsafe.Pointer(nil), returnArea)")
}

fn write(folder: &Path, files: &BTreeMap<String, String>) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }
}
