//! Reads manifests, and the files of secrets and public keys. All are text of limited size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest manifest. One with a thousand triggers has a quarter of this.
const MANIFEST_BYTES: u64 = 1 << 20;

/// The largest secret. In practice the largest ones are certificate chains of a few KiB.
const SECRET_BYTES: u64 = 64 << 10;

/// The largest file of a public key. One of minisign has about 120 bytes.
const PUBLIC_KEY_BYTES: u64 = 4 << 10;

/// Reads a manifest. The error says why that fails, and what to do if there is none.
pub(super) fn manifest(path: &Path) -> Result<String, String> {
    text(path, MANIFEST_BYTES).map_err(|why| {
        let remedy = match path.try_exists() {
            Ok(false) => "; --manifest FILE names another, `tidegate new NAME` makes a project",
            _ => "",
        };
        format!("cannot read the manifest {}: {why}{remedy}", path.display())
    })
}

/// Reads a secret without the line break at its end, which editors and `echo` add. The error says why that fails.
pub(super) fn secret(path: &Path) -> Result<String, String> {
    let mut text = text(path, SECRET_BYTES)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Reads a public key. The error says why that fails.
pub(super) fn public_key(path: &Path) -> Result<String, String> {
    text(path, PUBLIC_KEY_BYTES)
}

fn text(path: &Path, limit: u64) -> Result<String, String> {
    let bytes = bytes(path, limit + 1).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} KiB", limit >> 10));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        format!("line {line} is not UTF-8")
    })
}

fn bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
