//! Signs as minisign does, for tests. The unit tests of the runtime use this file too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// A pair of keys.
pub struct Signer {
    keys: Ed25519KeyPair,
    number: u64,
}

impl Signer {
    /// The pair with this number: always the same one.
    pub fn new(number: u8) -> Self {
        let keys = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a seed of 32 bytes");
        Self { keys, number: number.into() }
    }

    /// The file of the public key.
    pub fn public_key(&self) -> String {
        let key = [b"Ed", &self.number.to_le_bytes()[..], self.keys.public_key().as_ref()].concat();
        format!("untrusted comment: minisign public key {:016X}\n{}\n", self.number, STANDARD.encode(key))
    }

    /// The file of a signature.
    pub fn sign(&self, content: &[u8]) -> String {
        let comment = "of a test";
        let signature = self.keys.sign(blake2b_simd::blake2b(content).as_bytes());
        let first = [b"ED", &self.number.to_le_bytes()[..], signature.as_ref()].concat();
        let second = self.keys.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        format!(
            "untrusted comment: a signature\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode(first),
            STANDARD.encode(second)
        )
    }
}
