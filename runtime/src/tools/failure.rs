//! Why a tool ended without doing what it was told to do.

use std::fmt::Display;

/// Why a tool failed. The command line turns it into an exit code.
pub enum Failure {
    /// Something went wrong. Exit code 1.
    Failed(anyhow::Error),
    /// What the user wrote is wrong. The text says so and is printed as it is. Exit code 2.
    Usage(String),
}

impl Failure {
    /// What the user wrote is wrong.
    pub fn usage(text: impl Display) -> Self {
        Self::Usage(format!("error: {text}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
