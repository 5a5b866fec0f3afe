use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::manifest;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).expect("a text")
}

fn rust(name: &str, sdk: Sdk) -> Project<'_> {
    Project { name, language: Language::Rust, template: Template::Record, sdk }
}

#[track_caller]
fn check_refused(name: &str, reason: &str) {
    let folder = folder();
    let error = create(&rust(name, Sdk::Released), &folder.path().join("p")).expect_err(name).to_string();
    assert!(error.contains(reason), "{error}");
    assert!(!folder.path().join("p").exists(), "{name}");
}

#[test]
fn a_new_project_has_a_good_manifest_and_points_at_the_sdk() {
    let folder = folder();
    create(&rust("price-orders", Sdk::of_this_build(Language::Rust)), folder.path()).expect("made");
    let path = folder.path().join("tidegate.toml");
    let manifest = manifest::load(&path, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let function = &manifest.functions["price-orders"];
    assert_eq!(function.component, manifest::Component::File(folder.path().join("price-orders.wasm")));

    let cargo: toml::Table = text(folder.path().join("Cargo.toml")).parse().expect("good TOML");
    let sdk = cargo["dependencies"]["tidegate-sdk"]["path"].as_str().expect("a path");
    assert!(Path::new(sdk).is_absolute() && Path::new(sdk).join("src/lib.rs").is_file(), "{sdk}");
    assert!(cargo.contains_key("workspace"));
    for (path, _) in [("src/lib.rs", ()), ("README.md", ()), (".gitignore", ())] {
        assert!(!text(folder.path().join(path)).contains("{{"), "{path}");
    }
}

#[test]
fn a_released_sdk_is_a_version() {
    let folder = folder();
    create(&rust("a", Sdk::Released), folder.path()).expect("made");
    let cargo: toml::Table = text(folder.path().join("Cargo.toml")).parse().expect("good TOML");
    assert_eq!(cargo["dependencies"]["tidegate-sdk"].as_str(), Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_project_that_asks_by_http_may_and_has_answers() {
    for language in [Language::Rust, Language::Go] {
        let folder = folder();
        let project = Project { name: "price", language, template: Template::Http, sdk: Sdk::Released };
        create(&project, folder.path()).expect("made");
        let manifest = manifest::load(&folder.path().join("tidegate.toml"), &|_| None);
        let manifest = manifest.unwrap_or_else(|errors| panic!("{errors}"));
        let function = &manifest.functions["price"];
        assert_eq!(function.env["API"], "https://api.example.com");
        assert_eq!(function.http.allow_hosts[0].origin.to_string(), "https://api.example.com");
        let records = manifest.triggers["price"].batch.records.get();
        assert!(function.http.timeout * records < function.deadline, "a call may wait for all its records");
        assert!(text(folder.path().join("README.md")).contains("set API in tidegate.toml"));
        for case in ["known", "unknown", "trouble"] {
            assert!(
                text(folder.path().join(format!("cases/{case}.ndjson"))).contains("{\"http\": \"GET https://"),
                "{case}"
            );
        }
        if language == Language::Rust {
            let cargo = text(folder.path().join("Cargo.toml"));
            let sdk = format!("tidegate-sdk = {{ version = {:?}, features = [\"http\"] }}", env!("CARGO_PKG_VERSION"));
            assert!(cargo.contains(&sdk), "{cargo}");
        }
    }
}

#[test]
fn nothing_is_written_over() {
    let folder = folder();
    fs::write(folder.path().join("precious"), "").expect("written");
    let error = create(&rust("a", Sdk::Released), folder.path()).expect_err("not empty").to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn an_sdk_that_is_gone_is_named_with_what_to_do() {
    let (folder, gone) = (folder(), Path::new("/no/such/sdk-rust"));
    let error = create(&rust("a", Sdk::Checkout(gone.to_owned())), folder.path()).expect_err("gone").to_string();
    assert!(error.contains("/no/such/sdk-rust") && error.contains("--released"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn names_that_cargo_or_the_manifest_refuses_are_refused() {
    for name in ["", "Orders", "1st", "a_b", "a/b", "..", "\u{fc}ber", "-a", &"a".repeat(64)] {
        check_refused(name, "1 to 63 of a-z");
    }
    for name in ["test", "match", "core", "self", "proc-macro"] {
        check_refused(name, "keeps this word");
    }
    check_refused("tidegate-sdk", "the SDK");
}

#[test]
fn a_folder_without_a_project_is_refused() {
    let folder = folder();
    let error = build(folder.path(), None).expect_err("no project").to_string();
    assert!(error.contains("tidegate new NAME"), "{error}");
}

#[test]
fn a_component_is_replaced_as_a_whole_in_a_folder_that_is_made() {
    let folder = folder();
    let path = folder.path().join("deeper/a.wasm");
    replace(&path, b"old").expect("written");
    let reader = fs::File::open(&path).expect("opens");
    replace(&path, b"newer").expect("written");
    let metadata = fs::metadata(&path).expect("is there");
    assert_eq!(metadata.len(), 5);
    assert_ne!(metadata.ino(), reader.metadata().expect("still open").ino());
    assert_eq!(fs::read_dir(folder.path().join("deeper")).expect("a folder").count(), 1);
}

#[test]
fn a_pipe_is_not_read_to_see_whether_it_changes() {
    let folder = folder();
    let [pipe, file] = ["pipe", "file"].map(|name| folder.path().join(name));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts").success());
    fs::write(&file, "same").expect("written");
    assert!(!holds(&pipe, b"same"));
    assert!(holds(&file, b"same") && !holds(&file, b"other") && !holds(folder.path(), b"same"));
}
