//! Signatures of components, as minisign makes them. Pure.
//!
//! A signature lies beside its component, under the name of the component with [`SUFFIX`] at its end. It is verified
//! over the whole content, before anything else looks at that. What the comments of a signature say does not matter.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature};

use crate::manifest::{Component, Manifest, Name, ObjectName};

/// What the name of a signature has at its end.
pub const SUFFIX: &str = ".minisig";
/// The most bytes of a signature. One of minisign has about 300.
pub const MOST_BYTES: u64 = 4 << 10;

/// A key that a component has to be signed with, and the function that requires it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    pub function: Name,
    /// The text of the file of the public key.
    pub key: String,
}

/// The keys of each component that has to be signed. If several functions use the same component, it has to be signed
/// for each of them that requires it.
pub fn required(manifest: &Manifest) -> BTreeMap<Component, Arc<[Required]>> {
    let mut required = BTreeMap::<_, Vec<Required>>::new();
    for function in manifest.functions.values() {
        if let Some(key) = &function.require_signature {
            let one = Required { function: function.name.clone(), key: key.clone() };
            required.entry(function.component.clone()).or_default().push(one);
        }
    }
    required.into_iter().map(|(component, required)| (component, required.into())).collect()
}

/// Where the signature of a file is.
pub fn beside_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Where the signature of an object is. `None`: the key of the object is too long to have one.
pub fn beside_object(name: &ObjectName) -> Option<ObjectName> {
    ObjectName::new(name.bucket(), &format!("{}{SUFFIX}", name.key())).ok()
}

/// The object whose signature this is, if it is one by its name.
pub fn signed_object(name: &ObjectName) -> Option<ObjectName> {
    ObjectName::new(name.bucket(), name.key().strip_suffix(SUFFIX)?).ok()
}

/// A content that may not be taken, because no signature fits: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsigned(String);

/// Verifies a content of a component. `signatures` are texts, the newest first; each key may fit another one. Returns
/// those that fit.
///
/// # Errors
///
/// [`Unsigned`], for the first key that no signature fits.
pub fn verify(
    component: &impl fmt::Display,
    required: &[Required],
    signatures: &[String],
    bytes: &[u8],
) -> Result<Vec<String>, Unsigned> {
    let mut fitting = Vec::new();
    for one in required {
        let mut first = None;
        let fits = signatures.iter().find(|signature| match fit(&one.key, signature, bytes) {
            Ok(()) => true,
            Err(unfit) => {
                first.get_or_insert(unfit);
                false
            }
        });
        match (fits, first) {
            (Some(signature), _) => fitting.push(signature.clone()),
            // What is said of the newest signature.
            (None, unfit) => return Err(explained(component, one, unfit.unwrap_or(Unfit::Missing))),
        }
    }
    fitting.dedup();
    Ok(fitting)
}

/// Why a signature does not fit.
#[derive(Debug)]
enum Unfit {
    Missing,
    /// It is not what minisign writes.
    Unreadable,
    /// It is by the key with this number.
    OtherKey(String),
    /// It was made of the content itself, as minisign did before version 0.8.
    Old,
    /// It was made of something else.
    OtherContent,
}

fn fit(key: &str, signature: &str, bytes: &[u8]) -> Result<(), Unfit> {
    let decoded = Signature::decode(signature).map_err(|_| Unfit::Unreadable)?;
    // A manifest has good keys only.
    let key = PublicKey::decode(key).map_err(|_| Unfit::OtherContent)?;
    key.verify(bytes, &decoded, false).map_err(|error| match error {
        Error::UnexpectedKeyId => Unfit::OtherKey(key_number(signature)),
        Error::UnexpectedAlgorithm | Error::UnsupportedAlgorithm | Error::UnsupportedLegacyMode => Unfit::Old,
        _ => Unfit::OtherContent,
    })
}

fn explained(component: &impl fmt::Display, required: &Required, unfit: Unfit) -> Unsigned {
    let (function, key) = (&required.function, key_number(&required.key));
    let sign = "sign it with `minisign -S`, and upload the signature before the component";
    Unsigned(match unfit {
        Unfit::Missing => format!(
            "there is no {component}{SUFFIX}, and the function {function} requires a signature by the key {key}: {sign}"
        ),
        Unfit::Unreadable => format!(
            "{component}{SUFFIX} is no signature of minisign, and the function {function} requires one by the key \
             {key}: {sign}"
        ),
        Unfit::OtherKey(other) => format!(
            "{component}{SUFFIX} is by the key {other}, and the function {function} requires {key}: sign the component \
             with that key, or change require-signature"
        ),
        Unfit::Old => format!(
            "{component}{SUFFIX} is of the form that minisign had before 0.8, and the function {function} requires a \
             hashed one by the key {key}: sign it without -l"
        ),
        Unfit::OtherContent => format!(
            "{component}{SUFFIX} is by the key {key}, which the function {function} requires, but of another content: \
             {sign}"
        ),
    })
}

/// The number of a key as minisign prints it, from the text of a public key or of a signature.
fn key_number(text: &str) -> String {
    let bytes = text.lines().nth(1).and_then(|line| STANDARD.decode(line.trim()).ok());
    let number = bytes.as_deref().and_then(|bytes| bytes.get(2..10)?.try_into().ok());
    number.map_or_else(|| "unknown".to_owned(), |number| format!("{:016X}", u64::from_le_bytes(number)))
}

#[cfg(test)]
#[path = "../../../tests/src/signer.rs"]
mod signer;

#[cfg(test)]
pub(super) mod tests {
    pub use super::signer::Signer;
    use super::*;

    impl Signer {
        /// What a function called `f` requires.
        pub fn required(&self) -> Required {
            Required { function: Name::new("f").expect("a name"), key: self.public_key() }
        }
    }

    #[track_caller]
    fn check(required: &[&Signer], signatures: &[&str], expected: Result<usize, &str>) {
        let required: Vec<_> = required.iter().map(|signer| signer.required()).collect();
        let signatures: Vec<_> = signatures.iter().map(|text| (*text).to_owned()).collect();
        match (verify(&"s3://b/f.wasm", &required, &signatures, b"content"), expected) {
            (Ok(fitting), Ok(many)) => assert_eq!(fitting.len(), many),
            (Err(Unsigned(reason)), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (found, expected) => panic!("{found:?}, and not {expected:?}"),
        }
    }

    #[test]
    fn a_content_is_taken_if_the_newest_signature_fits_or_an_older_one() {
        let (own, other) = (Signer::new(1), Signer::new(2));
        let (good, next) = (own.sign(b"content"), own.sign(b"next"));
        check(&[&own], &[&good], Ok(1));
        check(&[&own], &[&next, &other.sign(b"content"), "damaged", &good], Ok(1));
        check(&[&own], &[&good.replace('\n', "\r\n")], Ok(1));
        check(&[], &[], Ok(0));
    }

    #[test]
    fn a_component_of_several_functions_is_signed_for_each_of_them() {
        let (one, two) = (Signer::new(1), Signer::new(2));
        check(&[&one, &two], &[&one.sign(b"content"), &two.sign(b"content")], Ok(2));
        check(&[&one, &one], &[&one.sign(b"content")], Ok(1));
        check(&[&one, &two], &[&one.sign(b"content")], Err("is by the key"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_keys_and_what_to_do() {
        let (own, other) = (Signer::new(1), Signer::new(2));
        let good = own.sign(b"content");
        let number = key_number(&own.required().key);
        check(&[&own], &[], Err("there is no s3://b/f.wasm.minisig"));
        check(&[&own], &[], Err(&number));
        check(&[&own], &["damaged"], Err("is no signature of minisign"));
        check(&[&own], &[&good[..good.len() / 2]], Err("is no signature of minisign"));
        check(&[&own], &[&own.sign(b"next"), "damaged"], Err("of another content"));
        let foreign = other.sign(b"content");
        check(&[&own], &[&foreign], Err(&format!("is by the key {}", key_number(&foreign))));
        check(&[&own], &[&foreign], Err(&format!("requires {number}")));
        let changed = good.replace("trusted comment: of", "trusted comment: for");
        check(&[&own], &[&changed], Err("of another content"));
    }

    #[test]
    fn a_key_has_the_number_that_minisign_prints() {
        let text = "untrusted comment: a\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";
        assert_eq!(key_number(text), "E7620F1842B4E81F");
        assert_eq!(key_number("damaged"), "unknown");
    }

    #[test]
    fn a_signature_lies_beside_its_component() {
        let name = ObjectName::new("bucket", "functions/f.wasm").expect("a name");
        let signature = beside_object(&name).expect("a name");
        assert_eq!(signature.key(), "functions/f.wasm.minisig");
        assert_eq!(signed_object(&signature), Some(name.clone()));
        assert_eq!(signed_object(&name), None);
        assert_eq!(beside_object(&ObjectName::new("bucket", &"k".repeat(1020)).expect("a name")), None);
        assert_eq!(beside_file(Path::new("a/f.wasm")), Path::new("a/f.wasm.minisig"));
    }
}
