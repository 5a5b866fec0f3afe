//! Which of a trigger's revisions a record goes to. Ready records are kept by route, so that few ones for
//! a revision that is tried are found among many others.
//!
//! A [`Split`] decides by a hash alone, so all nodes agree without talking. The hash is XXH3 with 64 bits. Its seed,
//! the *salt*, is the first eight bytes of the candidate's SHA-256, read as a little-endian number:
//!
//! | record | hashed |
//! |---|---|
//! | with a key | the key, with the salt as the seed |
//! | without a key | partition and offset, with the hash of the topic as the seed |
//! | any, with `ordering = "partition"` | the partition, with the hash of the topic as the seed |
//!
//! The hash of the topic is that of its name, with the salt as its seed. Numbers are hashed as four (partition) and
//! eight (offset) little-endian bytes. The candidate gets the record if the remainder of the hash by 10,000 is below
//! the share in basis points. So a larger share keeps all keys of a smaller one, and another candidate gets other keys.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::manifest::{Ordering, Share};
use crate::record::revision::Digest;

/// Which lane the records of a key go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route(u8);

impl Route {
    pub const COUNT: usize = 2;
    /// To the revision that serves.
    pub const STABLE: Self = Self(0);
    /// To a revision that is tried on some of the keys.
    pub const CANARY: Self = Self(1);

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'a [u8]>,
}

/// The keys of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    salt: u64,
    basis_points: u64,
    /// All records of a partition go the same way.
    by_partition: bool,
}

impl Split {
    /// `ordering`: which records keep their order, and so go the same way.
    pub fn new(candidate: &Digest, share: Share, ordering: Ordering) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *candidate.bytes();
        Self {
            salt: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            basis_points: share.basis_points().into(),
            by_partition: ordering == Ordering::Partition,
        }
    }

    /// Which way a record goes.
    pub fn route(&self, source: Source<'_>) -> Route {
        let Source { topic, partition, offset, key } = source;
        let of_topic = || xxh3_64_with_seed(topic.as_bytes(), self.salt);
        let partition = partition.to_le_bytes();
        let hash = match key {
            _ if self.by_partition => xxh3_64_with_seed(&partition, of_topic()),
            Some(key) => xxh3_64_with_seed(key, self.salt),
            None => {
                let mut place = [0; 12];
                place[..4].copy_from_slice(&partition);
                place[4..].copy_from_slice(&offset.to_le_bytes());
                xxh3_64_with_seed(&place, of_topic())
            }
        };
        if hash % u64::from(Share::WHOLE) < self.basis_points { Route::CANARY } else { Route::STABLE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(basis_points: u16, ordering: Ordering) -> Split {
        let share = Share::of_basis_points(basis_points).expect("a share");
        Split::new(&Digest::of(b"candidate"), share, ordering)
    }

    fn source(offset: i64, key: Option<&[u8]>) -> Source<'_> {
        Source { topic: "orders", partition: 3, offset, key }
    }

    /// The smallest share in basis points with which a record goes to the candidate.
    fn threshold(ordering: Ordering, source: Source<'_>) -> u16 {
        let goes = |basis_points: &u16| split(*basis_points, ordering).route(source) == Route::CANARY;
        (1..=Share::WHOLE).find(goes).expect("the whole gets all")
    }

    /// Nodes of different builds serve side by side, so these never change.
    #[test]
    fn the_hash_is_fixed() {
        let check = |ordering, offset, key: Option<&[u8]>, expected| {
            assert_eq!(threshold(ordering, source(offset, key)), expected, "{ordering:?} {offset} {key:?}");
        };
        check(Ordering::Key, 7, Some(b"k1"), 139);
        check(Ordering::Key, 7, Some(b""), 4_097);
        check(Ordering::None, 7, Some(b"k1"), 139);
        check(Ordering::Key, 7, None, 4_229);
        check(Ordering::Key, 8, None, 1_639);
        check(Ordering::Partition, 7, Some(b"k1"), 1_328);
        check(Ordering::Partition, 8, None, 1_328);
    }

    #[test]
    fn a_larger_share_keeps_the_keys_of_a_smaller_one() {
        let keys: Vec<_> = (0..20_000).map(|key| format!("key-{key}")).collect();
        let of = |basis_points| {
            let split = split(basis_points, Ordering::Key);
            let goes = move |key: &&String| split.route(source(0, Some(key.as_bytes()))) == Route::CANARY;
            keys.iter().filter(goes).collect::<std::collections::BTreeSet<_>>()
        };
        let mut before = of(1);
        for (basis_points, about) in [(50, 100), (500, 1_000), (2_500, 5_000), (9_999, 20_000), (10_000, 20_000)] {
            let these = of(basis_points);
            assert!(these.is_superset(&before), "{basis_points}");
            assert!(these.len().abs_diff(about) <= about / 4, "{} of 20,000 with {basis_points}", these.len());
            before = these;
        }
        assert_eq!(before.len(), keys.len());
    }

    #[test]
    fn another_candidate_gets_other_keys() {
        let share = Share::of_basis_points(5_000).expect("a share");
        let [one, other] = [b"one", b"two"].map(|bytes| Split::new(&Digest::of(bytes), share, Ordering::Key));
        let differs =
            |key: &String| one.route(source(0, Some(key.as_bytes()))) != other.route(source(0, Some(key.as_bytes())));
        let differing = (0..1_000).map(|key| format!("{key}")).filter(differs).count();
        assert!((400..600).contains(&differing), "{differing}");
    }

    #[test]
    fn a_partition_in_order_goes_one_way() {
        let split = split(5_000, Ordering::Partition);
        let route = |offset: i64| split.route(source(offset, Some(&offset.to_le_bytes())));
        assert!((1..1_000).all(|offset| route(offset) == route(0)));
    }
}
