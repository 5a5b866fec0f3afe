//! How far a new revision of a function has come: whether it serves everything, is tried on a share of the
//! keys, or must not serve. Pure: time is an argument.
//!
//! What the relay says decides, so all nodes do the same without talking: a revision begins its rollout when
//! some node said so, is in the stage that was said last, and is withdrawn when anybody said that. Each node
//! sums up how the candidate does on all of them, and says what follows. If several say the same, nothing
//! else happens than if one does.
//!
//! ```text
//! published ─▶ [shadow] ─▶ steps[0] ─▶ steps[1] … ─▶ promoted
//!                  └───────────┴───────────┴─▶ withdrawn
//! ```

use super::relay::message::Rollout as State;
use super::shared::Fleet;
use crate::manifest::{AbortIf, Name, Rollout};
use crate::record::revision::{Digest, Origin};
use crate::trigger::{CandidateStatus, Manner, Tally};

/// A build of a function, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub digest: Digest,
    pub origin: Origin,
    /// When it was published, in milliseconds since 1970, if its source tells that.
    pub published_ms: Option<i64>,
    /// It is newer than all that has served here.
    pub is_new: bool,
    /// A newer content is being compiled.
    pub is_outdated: bool,
}

/// What may become of a build.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    /// It may serve everything.
    All,
    /// It gets some of the records, beside the one that serves.
    Trial { stage: u32, manner: Manner },
    /// It waits until the fleet is known, or until an older one is compiled.
    Waits,
    /// Its rollout is to be announced. Then it begins, on all nodes.
    Begins,
    /// It must not serve, and why.
    Withdrawn(String),
}

/// What to do with the builds of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// For each build, the newest first.
    pub courses: Vec<Course>,
    /// The build whose rollout is to be announced.
    pub begins: Option<usize>,
    /// None of the builds may serve everything: an older one than this is needed.
    pub older_than: Option<usize>,
}

/// Whether there are older builds than those that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// One is being compiled.
    Comes,
    /// The source may have one.
    May,
    /// The source has none that can serve.
    No,
}

/// What follows from how a candidate does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing yet.
    Stays,
    /// The next stage begins.
    Advances,
    /// It serves everything from now on.
    IsPromoted,
    /// It is withdrawn, and why.
    IsWithdrawn(String),
}

/// The stages of a rollout.
fn stages(settings: &Rollout) -> impl Iterator<Item = Manner> {
    settings.shadow.then_some(Manner::Shadow).into_iter().chain(settings.steps.iter().copied().map(Manner::Share))
}

/// How many stages there are before everything.
pub fn stage_count(settings: &Rollout) -> usize {
    stages(settings).count()
}

/// What to do with the builds of a function, the newest first.
pub fn plan(function: &Name, settings: Option<&Rollout>, builds: &[Known], fleet: &Fleet, older: Older) -> Plan {
    let course = |build: &Known| course(function, settings, build, builds, fleet, older);
    let mut courses: Vec<_> = builds.iter().map(course).collect();
    let begins = courses.iter().position(|course| *course == Course::Begins);
    let serves = |courses: &[Course]| courses.contains(&Course::All);
    // There is nothing to go back to.
    if older == Older::No && !serves(&courses) {
        for course in courses.iter_mut().filter(|course| !matches!(course, Course::Withdrawn(_))) {
            *course = Course::All;
        }
    }
    let is_lacking =
        older == Older::May && !courses.is_empty() && !serves(&courses) && !courses.contains(&Course::Waits);
    Plan { begins, older_than: is_lacking.then(|| courses.len() - 1), courses }
}

/// What may become of one of the builds.
fn course(
    function: &Name,
    settings: Option<&Rollout>,
    build: &Known,
    builds: &[Known],
    fleet: &Fleet,
    older: Older,
) -> Course {
    let Known { digest, ref origin, is_new, .. } = *build;
    if let Some(reason) = fleet.aborted(function, digest, origin) {
        return Course::Withdrawn(reason.to_owned());
    }
    let Some(settings) = settings else { return Course::All };
    match fleet.rollout(function, digest, origin) {
        Some(rollout) => stage(settings, rollout),
        // It served before the rollout of another one.
        None if !is_new => Course::All,
        None if older == Older::Comes => Course::Waits,
        // The first one of all.
        None if builds.iter().all(|other| other.digest == digest) => Course::All,
        None if fleet.is_known && !is_behind(function, build, fleet) => Course::Begins,
        None => Course::Waits,
    }
}

/// Whether something newer was published, which this node may not have compiled or heard of yet.
fn is_behind(function: &Name, build: &Known, fleet: &Fleet) -> bool {
    let announced = fleet.view.rollouts.get(function).and_then(|rollout| rollout.published_ms);
    build.is_outdated || build.published_ms.zip(announced).is_some_and(|(own, announced)| own < announced)
}

/// What a build may have whose rollout was announced.
fn stage(settings: &Rollout, rollout: &State) -> Course {
    if rollout.promoted {
        return Course::All;
    }
    // The manifest may have fewer stages than it had when that was said.
    let manner = stages(settings).nth(rollout.stage as usize).or_else(|| stages(settings).last());
    manner.map_or(Course::All, |manner| Course::Trial { stage: rollout.stage, manner })
}

/// What all nodes counted in a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub candidate: Tally,
    pub stable: Tally,
}

impl Sums {
    /// Of those statuses that are of this candidate in this stage.
    pub fn of<'a>(statuses: impl Iterator<Item = &'a CandidateStatus>, digest: Digest, stage: u32) -> Self {
        let revision = digest.to_string();
        let of_stage = statuses.filter(|status| status.revision == revision && status.stage == stage);
        of_stage.fold(Self::default(), |mut sums, status| {
            sums.candidate += status.candidate;
            sums.stable += status.stable;
            sums
        })
    }
}

/// What follows from how the candidate does in its stage.
pub fn judge(settings: &Rollout, rollout: &State, sums: &Sums, now_ms: i64) -> Judgement {
    if rollout.promoted {
        return Judgement::Stays;
    }
    if let Some(reason) = broken(&settings.abort_if, settings.min_records, sums) {
        return Judgement::IsWithdrawn(reason);
    }
    let bake = i64::try_from(settings.bake.as_millis()).unwrap_or(i64::MAX);
    let is_baked = now_ms.saturating_sub(rollout.stage_started_ms) >= bake;
    if !is_baked || sums.candidate.records < settings.min_records {
        Judgement::Stays
    } else if (rollout.stage as usize) + 1 < stage_count(settings) {
        Judgement::Advances
    } else {
        Judgement::IsPromoted
    }
}

/// The limit that is reached, if one is.
fn broken(limits: &AbortIf, min_records: u64, sums: &Sums) -> Option<String> {
    let Sums { candidate, stable } = sums;
    if let Some(most) = limits.traps.filter(|most| candidate.traps >= most.get()) {
        return Some(format!("{} calls trapped, and the limit is {most}", candidate.traps));
    }
    // Its records would wait, and whatever the limits are might not be reached for long.
    if candidate.stopped > 0 {
        return Some("most of its records failed".to_owned());
    }
    if candidate.records < min_records.max(1) {
        return None;
    }
    if let Some(most) = limits.failure_rate {
        let (failed, records) = (u128::from(candidate.failed), u128::from(candidate.records));
        if failed > 0 && failed * 10_000 >= u128::from(most.basis_points()) * records {
            return Some(format!("{failed} of {records} records failed, and the limit is {most}"));
        }
    }
    let most = limits.latency?;
    if stable.records < min_records.max(1) || stable.busy_us == 0 {
        return None;
    }
    // Both sides of busy / records ≥ most × stable.busy / stable.records, without divisions.
    let took = u128::from(candidate.busy_us) * u128::from(stable.records) * 100;
    let may_take = u128::from(most.hundredths()) * u128::from(stable.busy_us) * u128::from(candidate.records);
    (took >= may_take).then(|| {
        let per_record = |tally: &Tally| tally.busy_us / tally.records.max(1);
        format!(
            "a record takes {} µs where it takes the revision that serves {} µs, and the limit is {most}",
            per_record(candidate),
            per_record(stable)
        )
    })
}

/// The first stage of a rollout.
pub fn begun(build: &Known, from: &str, now_ms: i64) -> State {
    State {
        digest: build.digest,
        origin: build.origin.clone(),
        published_ms: build.published_ms,
        started_ms: now_ms,
        stage: 0,
        stage_started_ms: now_ms,
        promoted: false,
        from: from.to_owned(),
    }
}

/// The next stage of a rollout.
pub fn advanced(rollout: &State, from: &str, now_ms: i64) -> State {
    State { stage: rollout.stage + 1, stage_started_ms: now_ms, from: from.to_owned(), ..rollout.clone() }
}

/// The end of a rollout that went well.
pub fn promoted(rollout: &State, from: &str) -> State {
    State { promoted: true, from: from.to_owned(), ..rollout.clone() }
}

#[cfg(test)]
mod tests;
