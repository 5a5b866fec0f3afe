//! Numbers of things, in words.

use std::fmt::Display;

/// `1 record`, `2 records`. For nouns whose plural ends in s.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular_and_all_else_is_plural() {
        assert_eq!([0_u64, 1, 2].map(|count| counted(count, "record")), ["0 records", "1 record", "2 records"]);
    }
}
