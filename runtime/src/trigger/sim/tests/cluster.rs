//! The cluster by itself.
