//! Where components are: files of this node, and objects in S3.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a component is. It prints as it is written in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// A file. In a manifest a relative path was joined to the folder of the manifest.
    File(PathBuf),
    /// An object in S3, or in a store that speaks the same protocol.
    Object(ObjectName),
}

impl Component {
    /// The same component, with a relative path joined to `folder`.
    pub(super) fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Object(object) => Self::Object(object),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object(object) => object.fmt(f),
        }
    }
}

/// Reads a path or `s3://bucket/key`. A relative path stays relative.
impl FromStr for Component {
    type Err = InvalidComponent;

    fn from_str(text: &str) -> Result<Self, InvalidComponent> {
        let is_object = text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("s3:"));
        if is_object || text.contains("://") {
            return text.parse().map(Self::Object);
        }
        if text.is_empty() || text.contains('\0') {
            return Err(InvalidComponent::Path);
        }
        Ok(Self::File(text.into()))
    }
}

/// The name of an object in S3. It prints as `s3://bucket/key`.
///
/// The bucket has a [name that AWS allows][bucket]: 3 to 63 of `a-z`, `0-9`, `.` and `-`. It begins and ends with a
/// letter or digit, has no two dots in a row, and is not written like an IPv4 address.
///
/// The key has 1 to 1024 bytes and does not end in `/`, because such keys stand for folders. It is taken as it is
/// written: `?`, `#` and `%` have no meaning.
///
/// ```
/// use tidegate::manifest::ObjectName;
///
/// let object: ObjectName = "s3://functions/eu/enrich.wasm".parse()?;
/// assert_eq!((object.bucket(), object.key()), ("functions", "eu/enrich.wasm"));
/// # Ok::<(), tidegate::manifest::InvalidComponent>(())
/// ```
///
/// [bucket]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    bucket: String,
    key: String,
}

impl ObjectName {
    /// The most bytes in a key.
    pub const MAX_KEY_BYTES: usize = 1024;

    /// Makes a name of a bucket and a key.
    ///
    /// # Errors
    ///
    /// The rule that bucket or key break.
    pub fn new(bucket: &str, key: &str) -> Result<Self, InvalidComponent> {
        if !is_bucket(bucket) {
            return Err(InvalidComponent::Bucket);
        }
        if key.is_empty() {
            return Err(InvalidComponent::NoKey);
        }
        if key.len() > Self::MAX_KEY_BYTES {
            return Err(InvalidComponent::LongKey);
        }
        if key.ends_with('/') {
            return Err(InvalidComponent::Folder);
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key in the bucket.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Reads `s3://bucket/key`.
impl FromStr for ObjectName {
    type Err = InvalidComponent;

    fn from_str(text: &str) -> Result<Self, InvalidComponent> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidComponent::Scheme)?;
        if !scheme.eq_ignore_ascii_case("s3") {
            return Err(InvalidComponent::Scheme);
        }
        let name = rest.strip_prefix("//").ok_or(InvalidComponent::Slashes)?;
        if scheme != "s3" {
            return Err(InvalidComponent::Capital);
        }
        let (bucket, key) = name.split_once('/').unwrap_or((name, ""));
        Self::new(bucket, key)
    }
}

fn is_bucket(name: &str) -> bool {
    let letter_or_digit = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let legal = |b: u8| letter_or_digit(&b) || b == b'.' || b == b'-';
    let (first, last) = (name.as_bytes().first(), name.as_bytes().last());
    (3..=63).contains(&name.len())
        && name.bytes().all(legal)
        && first.is_some_and(letter_or_digit)
        && last.is_some_and(letter_or_digit)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// Why a text says no place of a component, and what is expected instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidComponent {
    #[error("invalid path, expected the path of a file, relative to the folder of the manifest")]
    Path,
    #[error(
        "a component cannot be taken from there, expected the path of a file, or an object in S3 such as \
         \"s3://bucket/path/name.wasm\""
    )]
    Scheme,
    #[error("a scheme with a capital letter, expected \"s3://\"")]
    Capital,
    #[error("a scheme without its slashes, expected \"s3://\"; write \"./\" before the path of a file")]
    Slashes,
    #[error(
        "invalid name of a bucket, expected 3 to 63 of a-z, 0-9, '.' and '-', a letter or digit at both ends, no two \
         dots in a row, and no IP address"
    )]
    Bucket,
    #[error("a bucket without a key, expected both such as in \"s3://bucket/path/name.wasm\"")]
    NoKey,
    #[error("a key that ends in '/', expected the key of an object such as in \"s3://bucket/path/name.wasm\"")]
    Folder,
    #[error("a key that is too long, expected at most 1024 bytes")]
    LongKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_bucket_and_a_key_as_they_are_written() {
        let check = |text: &str, bucket: &str, key: &str| {
            let object: ObjectName = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((object.bucket(), object.key()), (bucket, key), "{text}");
            assert_eq!(object.to_string(), text);
            assert_eq!(text.parse(), Ok(Component::Object(object)));
        };
        check("s3://abc/a", "abc", "a");
        check("s3://my.bucket-1/path/to/enrich.wasm", "my.bucket-1", "path/to/enrich.wasm");
        check("s3://bucket/a?versionId=1#x", "bucket", "a?versionId=1#x");
        check("s3://bucket/a%20b c", "bucket", "a%20b c");
        check("s3://bucket//a", "bucket", "/a");
        check("s3://bucket/s3://ä", "bucket", "s3://ä");
        check(&format!("s3://{}/{}", "b".repeat(63), "k".repeat(1024)), &"b".repeat(63), &"k".repeat(1024));
    }

    #[test]
    fn what_is_no_object_is_refused_by_the_rule_that_it_breaks() {
        use InvalidComponent::{Bucket, Capital, Folder, LongKey, NoKey, Path, Scheme, Slashes};
        let check = |text: &str, why: InvalidComponent| assert_eq!(text.parse::<Component>(), Err(why), "{text}");
        check("", Path);
        check("a\0b", Path);
        check("https://bucket.s3.amazonaws.com/a", Scheme);
        check("file:///a.wasm", Scheme);
        check("://", Scheme);
        check("S3://bucket/a", Capital);
        check("s3:/bucket/a", Slashes);
        check("S3:bucket", Slashes);
        check("s3://bucket", NoKey);
        check("s3://bucket/", NoKey);
        check("s3://bucket/a/", Folder);
        check(&format!("s3://bucket/{}ä", "k".repeat(1023)), LongKey);
        for bucket in ["", "ab", "Bucket", "b_cket", "-bucket", "bucket-", ".bucket", "a..b", "10.0.0.7", "bücket"] {
            check(&format!("s3://{bucket}/a"), Bucket);
        }
        check(&format!("s3://{}/a", "b".repeat(64)), Bucket);
    }

    #[test]
    fn a_path_is_one_whatever_else_is_in_it() {
        for path in ["a.wasm", "/opt/a:b.wasm", "s3/a.wasm", "s", "ä", "./s3:a"] {
            assert_eq!(path.parse(), Ok(Component::File(path.into())), "{path}");
            assert_eq!(Component::File(path.into()).to_string(), path);
        }
    }
}
