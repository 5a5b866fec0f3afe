//! What the author of a function works with, from a new project to a component that is tested. None
//! of it runs in production.
//!
//! - [`toolchain`]: new projects, and components built by the language's own tools
//! - [`invoke`]: records through a component, without a broker
//! - [`golden`]: golden cases, which say what a function makes of records
//! - [`dev`]: all of it on save, on an embedded broker
//! - [`capability`]: what a component asks of its host, in words

pub mod capability;
pub mod dev;
pub mod golden;
pub mod invoke;
pub mod toolchain;
