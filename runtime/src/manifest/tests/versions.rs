//! Where components come from and how new ones take over.

use std::fs;
use std::path::PathBuf;

use super::super::{AbortIf, Errors, Manifest, load};
use super::{environment, read, with_trigger};

/// What becomes of a rollout that is written as `body`.
fn rollout(body: &str) -> Result<Manifest, Errors> {
    read(&format!("[function.f]\ncomponent = \"f.wasm\"\nrollout = {body}"))
}

#[track_caller]
fn abort_if(limits: &str) -> AbortIf {
    let manifest = rollout(&format!("{{ steps = [\"5%\"], abort-if = {limits} }}")).unwrap();
    manifest.functions["f"].rollout.as_ref().unwrap().abort_if
}

#[test]
fn only_the_limits_that_are_given_end_a_rollout_and_without_any_the_defaults_do() {
    assert_eq!(abort_if("{}"), AbortIf::default());
    let plain = rollout("{ steps = [\"5%\"] }").unwrap();
    assert_eq!(plain.functions["f"].rollout.as_ref().unwrap().abort_if, AbortIf::default());
    let slow = abort_if("{ latency = \"2x\" }");
    assert_eq!((slow.failure_rate, slow.traps), (None, None));
    assert_eq!(slow.latency.unwrap().hundredths(), 200);
}

#[test]
fn a_shadow_needs_no_steps() {
    for body in ["{ shadow = true }", "{ shadow = true, steps = [] }"] {
        let manifest = rollout(body).unwrap();
        let rollout = manifest.functions["f"].rollout.as_ref().unwrap();
        assert!(rollout.shadow && rollout.steps.is_empty());
    }
    assert!(rollout("{}").is_err());
}

#[test]
fn the_control_section_takes_the_only_cluster() {
    let text = format!("{}[control]\n", with_trigger("")).replace("cluster.main", "cluster.one");
    let control = read(&text.replace("[trigger.t]\n", "[trigger.t]\ncluster = \"one\"\n")).unwrap().control.unwrap();
    assert_eq!((&*control.cluster, control.topic.as_str(), &*control.fleet), ("one", "tidegate-control", "default"));
    assert!(read(&with_trigger("")).unwrap().control.is_none());
}

/// A manifest that requires signatures by a key with this text.
fn with_key(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key.pub"), text).unwrap();
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, "[function.f]\ncomponent = \"f.wasm\"\nrequire-signature = \"key.pub\"\n").unwrap();
    (folder, path)
}

#[test]
fn a_public_key_is_read_as_it_is_and_what_is_no_key_is_refused() {
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    for good in [format!("untrusted comment: a\n{KEY}"), format!("untrusted comment: a\r\n{KEY}\r\n\n")] {
        let (_folder, path) = with_key(&good);
        let manifest = load(&path, &environment).unwrap();
        assert_eq!(manifest.functions["f"].require_signature.as_deref(), Some(good.as_str()));
    }
    let check = |text: &str, why: &str| {
        let (_folder, path) = with_key(text);
        let errors = load(&path, &environment).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors.to_string().contains(why), "{errors}");
    };
    for bad in ["", KEY, "untrusted comment: a", "untrusted comment: a\nRWQf", &format!("a\n{KEY}")] {
        check(bad, "not a public key of minisign");
    }
    check(&format!("untrusted comment: a\n{KEY}\n{KEY}"), "not a public key of minisign");
    check(&format!("untrusted comment: a\n{}", KEY.repeat(2)), "not a public key of minisign");
    let secret = |number: &str| format!("untrusted comment: minisign secret key\n{number}{}", "A".repeat(204));
    check(&secret("RWRTY0Iy"), "this is the secret key of minisign");
    check(&secret("RWQAAEIy"), "this is the secret key of minisign");
    check(&format!("untrusted comment: a\n{KEY}\ntrusted comment: b\n{KEY}"), "this is a signature of minisign");
    check("-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", "a public key of cosign or OpenSSL");
    check("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "a key or a certificate in PEM");
    check(&"a".repeat(4097), "cannot read the public key: it is larger than 4 KiB");
}
