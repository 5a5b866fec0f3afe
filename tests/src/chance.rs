//! Seeded chance, so that a failed run can be run again.

use fastrand::Rng;

/// The seed of this run: `TIDEGATE_TEST_SEED`, or a new one. Printed, so that it stands in the
/// output of a test that fails.
///
/// Call it once in a test and hand the value on.
pub fn seed() -> u64 {
    let seed = match std::env::var("TIDEGATE_TEST_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("TIDEGATE_TEST_SEED is not a number: {text}")),
        Err(_) => fastrand::u64(..),
    };
    println!("seed: run again with TIDEGATE_TEST_SEED={seed}");
    seed
}

/// Chance from [`seed`].
pub fn seeded() -> Rng {
    Rng::with_seed(seed())
}

/// A suffix that keeps the topics and groups of parallel and earlier tests apart. Not seeded: two
/// runs with one seed may share a broker.
pub fn suffix() -> String {
    format!("{:08x}", fastrand::u32(..))
}
