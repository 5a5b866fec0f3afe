//! What the compiler says to an author who got it wrong: it points at the author's word and says what
//! is expected. `errors/` holds a function for each mistake, and beside it what is said.
//!
//! After a change of a message: `TRYBUILD=overwrite cargo test -p tidegate-sdk --test errors`.

#[test]
fn errors_point_at_the_authors_word() {
    trybuild::TestCases::new().compile_fail("tests/errors/*.rs");
}
