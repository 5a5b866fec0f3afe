//! What a check found, and how it is shown. Pure.

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Good,
    /// It works, but less well than it could.
    Warning,
    /// It cannot work like that.
    Wrong,
    /// It could not be found out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was looked at, and what was seen.
    pub text: String,
    /// What to do: a command, or the statement of a policy.
    pub remedy: Option<String>,
}

impl Finding {
    pub fn good(text: impl Into<String>) -> Self {
        Self { level: Level::Good, text: text.into(), remedy: None }
    }

    pub fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::good(text) }
    }

    pub fn wrong(text: impl Into<String>) -> Self {
        Self { level: Level::Wrong, ..Self::good(text) }
    }

    pub fn unknown(text: impl Into<String>) -> Self {
        Self { level: Level::Unknown, ..Self::good(text) }
    }

    /// The same with what to do about it.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Its lines, for people.
    pub fn lines(&self) -> Vec<String> {
        let word = match self.level {
            Level::Good => "ok      ",
            Level::Warning => "warning ",
            Level::Wrong => "WRONG   ",
            Level::Unknown => "unknown ",
        };
        let mut lines = vec![format!("{word}{}", self.text)];
        lines.extend(self.remedy.iter().flat_map(|remedy| remedy.lines()).map(|line| format!("          {line}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_under_its_finding() {
        let finding = Finding::wrong("bucket b: it is not there").remedy("one\ntwo");
        assert_eq!(finding.lines(), ["WRONG   bucket b: it is not there", "          one", "          two"]);
    }
}
