//! The tools of a function's author, from a new project to a tested component. None of this runs in
//! production.
//!
//! - [`toolchain`]: new projects, and components built by the language's own tools
//! - [`invoke`]: records through a component, without a broker
//! - [`golden`]: golden cases, which say what a function makes of records
//! - [`dev`]: all of it on save, on an embedded broker
//! - [`capability`]: what a component needs from its host, in words

pub mod capability;
pub mod dev;
pub mod golden;
pub mod invoke;
pub mod toolchain;
