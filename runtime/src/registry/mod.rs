//! Where components come from, and the notice that there is a new one.

pub mod file;
