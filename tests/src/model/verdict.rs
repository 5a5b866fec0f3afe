//! What the oracle found.

use std::fmt;

/// How often something was found, and the first few of it.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pub count: usize,
    pub examples: Vec<String>,
}

impl Findings {
    const EXAMPLES: usize = 5;

    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < Findings::EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// What was read, compared with what was due.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// How many messages were due.
    pub due: usize,
    /// Due and not there.
    pub lost: Findings,
    /// There again.
    pub repeated: Findings,
    /// For the first time, but after a later message of their key.
    pub disordered: Findings,
    /// There with other headers, another timestamp, in another partition, or dead letters with
    /// other coordinates.
    pub altered: Findings,
    /// There, though no record asked for them.
    pub unexpected: Findings,
}

impl Verdict {
    pub(super) fn new(due: usize) -> Verdict {
        let none = Findings::default;
        Verdict { due, lost: none(), repeated: none(), disordered: none(), altered: none(), unexpected: none() }
    }

    /// Exactly what was due.
    #[track_caller]
    pub fn assert_exact(&self) {
        assert!(self.repeated.count == 0 && self.holds(), "not exactly what was due: {self}");
    }

    /// Everything that was due, in order; repeats are allowed. For tests that kill something.
    #[track_caller]
    pub fn assert_at_least_once(&self) {
        assert!(self.holds(), "not at least what was due: {self}");
    }

    fn holds(&self) -> bool {
        [&self.lost, &self.disordered, &self.altered, &self.unexpected].iter().all(|findings| findings.count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("lost", &self.lost),
            ("repeated", &self.repeated),
            ("out of order", &self.disordered),
            ("altered", &self.altered),
            ("unexpected", &self.unexpected),
        ];
        write!(f, "{} due", self.due)?;
        for (name, findings) in kinds {
            write!(f, ", {} {name}", findings.count)?;
        }
        for (name, findings) in kinds {
            for example in &findings.examples {
                write!(f, "\n  {name}: {example}")?;
            }
        }
        Ok(())
    }
}
