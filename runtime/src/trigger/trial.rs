//! A revision that is tried beside the one that serves: which records it gets, and how the two do.

use std::fmt;

use super::route::Split;
use super::status::{CandidateStatus, ShadowTally, Tally};
use crate::manifest::{Ordering, Share};
use crate::record::revision::Digest;

/// How a candidate gets records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It gets copies of calls, and what it sends goes nowhere.
    Shadow,
    /// It gets the records of a share of the keys, and the revision that serves does not get them.
    Share(Share),
}

/// As a status shows it: `shadow`, or the share.
impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow => f.write_str("shadow"),
            Self::Share(share) => share.fmt(f),
        }
    }
}

/// The trial of a candidate.
#[derive(Debug)]
pub struct Trial {
    candidate: Digest,
    ordering: Ordering,
    stage: u32,
    manner: Manner,
    /// `None`: it gets no keys.
    split: Option<Split>,
    /// How both revisions do, since the stage began.
    pub of_candidate: Tally,
    pub of_stable: Tally,
    /// How their outcomes compare, if it is a shadow.
    pub shadow: Option<ShadowTally>,
}

impl Trial {
    pub fn new(candidate: Digest, ordering: Ordering, stage: u32, manner: Manner) -> Self {
        let split = match manner {
            Manner::Shadow => None,
            Manner::Share(share) => Some(Split::new(&candidate, share, ordering)),
        };
        let shadow = (manner == Manner::Shadow).then(ShadowTally::default);
        let (of_candidate, of_stable) = (Tally::default(), Tally::default());
        Self { candidate, ordering, stage, manner, split, of_candidate, of_stable, shadow }
    }

    /// Another stage begins, and all counts anew.
    pub fn steer(&mut self, stage: u32, manner: Manner) {
        *self = Self::new(self.candidate, self.ordering, stage, manner);
    }

    /// The keys of the candidate, if it gets any.
    pub fn split(&self) -> Option<&Split> {
        self.split.as_ref()
    }

    /// For the outside.
    pub fn status(&self) -> CandidateStatus {
        CandidateStatus {
            revision: self.candidate.to_string(),
            stage: self.stage,
            manner: self.manner.to_string(),
            candidate: self.of_candidate,
            stable: self.of_stable,
            shadow: self.shadow.clone(),
        }
    }
}
