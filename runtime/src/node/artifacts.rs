//! The components of the manifest and their revisions: which build has already started somewhere, which one
//! is still to be tried, and which results are outdated. Pure: nothing here waits or does IO.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::Component;
use crate::record::revision::{Digest, Origin};
use crate::registry::Standing;

/// A number for each content of a component. A newer content has a higher number, so that results which
/// arrive in another order can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

/// A compiled component.
#[derive(Clone, Debug)]
pub struct Build<C> {
    pub generation: Generation,
    pub digest: Digest,
    pub origin: Origin,
    /// When it was published, in milliseconds since 1970-01-01 UTC, if the source tells that.
    pub published_ms: Option<i64>,
    pub compiled: C,
}

/// The revisions of one component.
#[derive(Debug)]
struct Artifact<C> {
    /// The number of the newest content, and of the last one that stands in for it. Results of older contents are
    /// discarded.
    newest: Generation,
    stand_in: Option<Generation>,
    /// Whether the newest content is neither a build yet nor refused.
    is_compiling: bool,
    /// The newest build that serves, or has served.
    good: Option<Build<C>>,
    /// A newer build that does not serve everything yet.
    candidate: Option<Build<C>>,
    /// A build of an older content, for as long as no build has served.
    older: Option<Build<C>>,
    /// Why the newest content did not become a build.
    error: Option<String>,
    /// The source has no older content that may be taken.
    has_no_older: bool,
    /// Why the source cannot be asked now.
    away: Option<String>,
}

/// All components that are watched.
#[derive(Debug)]
pub struct Artifacts<C> {
    last: Generation,
    components: BTreeMap<Component, Artifact<C>>,
}

/// How a result of the compiler was used.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The result was ignored: its component has newer content, or is not watched any more.
    Overtaken,
    /// New instances are created from this build.
    Build,
    /// The content was refused. The revision that serves continues to serve.
    Refused,
}

impl<C> Artifacts<C> {
    pub fn new() -> Self {
        Self { last: Generation::default(), components: BTreeMap::new() }
    }

    /// Removes all components that are not watched any more.
    pub fn retain(&mut self, watched: &BTreeSet<Component>) {
        self.components.retain(|source, _| watched.contains(source));
    }

    /// A component has another content to be taken. Returns the number of this content.
    pub fn changed(&mut self, source: &Component, standing: Standing) -> Generation {
        self.last.0 += 1;
        let artifact = self.components.entry(source.clone()).or_insert_with(Artifact::new);
        match standing {
            Standing::Newest => {
                (artifact.newest, artifact.is_compiling, artifact.has_no_older) = (self.last, true, false);
            }
            Standing::Kept | Standing::Older => artifact.stand_in = Some(self.last),
        }
        artifact.away = None;
        self.last
    }

    /// A component has no content that can be taken.
    pub fn unreadable(&mut self, source: &Component, reason: String) {
        let generation = self.changed(source, Standing::Newest);
        self.refused(source, generation, reason);
    }

    /// The source has no older content that may be taken. If nothing else is known to be wrong, this is.
    pub fn no_older(&mut self, source: &Component, reason: String) {
        let Some(artifact) = self.components.get_mut(source) else { return };
        artifact.has_no_older = true;
        if artifact.candidate.is_none() && artifact.good.is_none() {
            artifact.error.get_or_insert(reason);
        }
    }

    /// The source of a component cannot be asked now, or can again. What was found before stays as it is.
    pub fn away(&mut self, source: &Component, reason: Option<String>) {
        self.components.entry(source.clone()).or_insert_with(Artifact::new).away = reason;
    }

    /// Stores a build that the compiler has finished.
    pub fn compiled(&mut self, source: &Component, build: Build<C>) -> Taken {
        let Some(artifact) = self.components.get_mut(source) else { return Taken::Overtaken };
        if artifact.stand_in == Some(build.generation) {
            artifact.stand_in = None;
            // Where a newer one serves, nothing has to stand in.
            if artifact.good.is_none() {
                artifact.older = Some(build);
            }
            return Taken::Build;
        }
        if artifact.newest != build.generation {
            return Taken::Overtaken;
        }
        (artifact.error, artifact.is_compiling) = (None, false);
        if artifact.good.as_ref().is_some_and(|good| good.digest == build.digest) {
            // A rollback to the build that has already started. No candidate is left.
            (artifact.good, artifact.candidate) = (Some(build), None);
        } else {
            artifact.candidate = Some(build);
        }
        Taken::Build
    }

    /// Stores the reason why a content was refused. If it stood in for a newer one, the reason why that one was
    /// refused stays.
    pub fn refused(&mut self, source: &Component, generation: Generation, reason: String) -> Taken {
        let Some(artifact) = self.components.get_mut(source) else { return Taken::Overtaken };
        if artifact.stand_in.take_if(|stand_in| *stand_in == generation).is_some() {
            return Taken::Refused;
        }
        if artifact.older.take_if(|older| older.generation == generation).is_some() {
            return Taken::Refused;
        }
        if artifact.newest != generation {
            return Taken::Overtaken;
        }
        (artifact.error, artifact.is_compiling) = (Some(reason), false);
        Taken::Refused
    }

    /// Instances of a build serve everything.
    pub fn started(&mut self, source: &Component, generation: Generation) {
        let Some(artifact) = self.components.get_mut(source) else { return };
        let is_it = |build: &mut Build<C>| build.generation == generation;
        if let Some(build) = artifact.candidate.take_if(is_it).or_else(|| artifact.older.take_if(is_it)) {
            artifact.good = Some(build);
            artifact.older = None;
            // The newest one was refused at its start, and is not tried again now that another one serves.
            let (newest, is_refused) = (artifact.newest, artifact.error.is_some());
            artifact.candidate.take_if(|candidate| is_refused && candidate.generation == newest);
        }
    }

    /// The build that has served so far must not serve everything, and is a candidate again. An older one may
    /// take its place.
    pub fn demote(&mut self, source: &Component, generation: Generation) {
        let Some(artifact) = self.components.get_mut(source) else { return };
        if let Some(good) = artifact.good.take_if(|good| good.generation == generation) {
            artifact.candidate.get_or_insert(good);
        }
    }

    /// The builds that instances can be created from, the newest first.
    pub fn builds(&self, source: &Component) -> impl Iterator<Item = &Build<C>> {
        let artifact = self.components.get(source);
        artifact.into_iter().flat_map(|artifact| artifact.candidate.iter().chain(&artifact.older).chain(&artifact.good))
    }

    /// The newest build, if it has not served everything yet.
    pub fn candidate(&self, source: &Component) -> Option<&Build<C>> {
        self.components.get(source)?.candidate.as_ref()
    }

    /// The newest build that serves, or has served.
    pub fn good(&self, source: &Component) -> Option<&Build<C>> {
        self.components.get(source)?.good.as_ref()
    }

    /// Whether a newer content than this may become a build soon.
    pub fn is_compiling_newer(&self, source: &Component, generation: Generation) -> bool {
        self.components.get(source).is_some_and(|artifact| artifact.is_compiling && artifact.newest > generation)
    }

    /// Whether an older content may become a build soon.
    pub fn awaits_stand_in(&self, source: &Component) -> bool {
        self.components.get(source).is_some_and(|artifact| artifact.stand_in.is_some())
    }

    /// Whether the source has no older content that may be taken.
    pub fn has_no_older(&self, source: &Component) -> bool {
        self.components.get(source).is_some_and(|artifact| artifact.has_no_older)
    }

    /// Why the source cannot be asked now.
    pub fn away_reason(&self, source: &Component) -> Option<&str> {
        self.components.get(source)?.away.as_deref()
    }

    /// Why the newest content was refused.
    pub fn error(&self, source: &Component) -> Option<&str> {
        self.components.get(source)?.error.as_deref()
    }
}

impl<C> Artifact<C> {
    fn new() -> Self {
        Self {
            newest: Generation::default(),
            stand_in: None,
            is_compiling: false,
            good: None,
            candidate: None,
            older: None,
            error: None,
            has_no_older: false,
            away: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "a.wasm";

    fn source() -> Component {
        Component::File(PATH.into())
    }

    fn build(generation: Generation, text: &str) -> Build<()> {
        Build {
            generation,
            digest: Digest::of(text.as_bytes()),
            origin: Origin::File,
            published_ms: None,
            compiled: (),
        }
    }

    /// Checks the texts that the builds were made from, the newest first.
    #[track_caller]
    fn check_builds(artifacts: &Artifacts<()>, expected: &[&str]) {
        let found: Vec<Digest> = artifacts.builds(&source()).map(|build| build.digest).collect();
        let expected: Vec<Digest> = expected.iter().map(|text| Digest::of(text.as_bytes())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_build_is_a_candidate_until_it_has_started() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(&source(), Standing::Newest);
        assert_eq!(artifacts.compiled(&source(), build(one, "one")), Taken::Build);
        assert!(artifacts.good(&source()).is_none());
        artifacts.started(&source(), one);
        let two = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(two, "two"));
        check_builds(&artifacts, &["two", "one"]);
        artifacts.started(&source(), two);
        check_builds(&artifacts, &["two"]);
    }

    #[test]
    fn a_result_that_arrives_after_newer_content_is_ignored() {
        let mut artifacts = Artifacts::new();
        let (old, new) =
            (artifacts.changed(&source(), Standing::Newest), artifacts.changed(&source(), Standing::Newest));
        assert_eq!(artifacts.compiled(&source(), build(old, "old")), Taken::Overtaken, "before the newer result");
        assert_eq!(artifacts.compiled(&source(), build(new, "new")), Taken::Build);
        assert_eq!(artifacts.compiled(&source(), build(old, "old")), Taken::Overtaken, "and after it");
        assert_eq!(artifacts.refused(&source(), old, "damaged".to_owned()), Taken::Overtaken);
        assert_eq!(artifacts.error(&source()), None);
        check_builds(&artifacts, &["new"]);
    }

    #[test]
    fn a_refused_content_keeps_the_older_builds_and_stores_the_reason() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(one, "one"));
        let two = artifacts.changed(&source(), Standing::Newest);
        assert_eq!(artifacts.refused(&source(), two, "damaged".to_owned()), Taken::Refused);
        check_builds(&artifacts, &["one"]);
        assert_eq!(artifacts.error(&source()), Some("damaged"));
        artifacts.unreadable(&source(), "away".to_owned());
        assert_eq!(artifacts.error(&source()), Some("away"));
        let three = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(three, "three"));
        assert_eq!(artifacts.error(&source()), None);
    }

    #[test]
    fn a_rollback_to_the_good_build_drops_the_candidate() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(one, "one"));
        artifacts.started(&source(), one);
        let two = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(two, "two"));
        let back = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(back, "one"));
        check_builds(&artifacts, &["one"]);
        assert_eq!(artifacts.good(&source()).map(|good| good.generation), Some(back));
        artifacts.started(&source(), two);
        check_builds(&artifacts, &["one"]);
    }

    #[test]
    fn an_older_content_that_stands_in_leaves_the_reason_why_the_newest_was_refused() {
        let mut artifacts = Artifacts::new();
        let newest = artifacts.changed(&source(), Standing::Newest);
        artifacts.refused(&source(), newest, "damaged".to_owned());
        let older = artifacts.changed(&source(), Standing::Older);
        artifacts.refused(&source(), older, "damaged too".to_owned());
        let oldest = artifacts.changed(&source(), Standing::Older);
        artifacts.compiled(&source(), build(oldest, "oldest"));
        check_builds(&artifacts, &["oldest"]);
        assert_eq!(artifacts.error(&source()), Some("damaged"));
        let next = artifacts.changed(&source(), Standing::Newest);
        artifacts.compiled(&source(), build(next, "next"));
        assert_eq!(artifacts.error(&source()), None);
    }

    #[test]
    fn a_source_that_cannot_be_asked_changes_no_content() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(&source(), Standing::Newest);
        artifacts.away(&source(), Some("refused".to_owned()));
        assert_eq!(artifacts.compiled(&source(), build(one, "one")), Taken::Build);
        assert_eq!(artifacts.away_reason(&source()), Some("refused"));
        artifacts.away(&source(), None);
        assert_eq!(artifacts.away_reason(&source()), None);
        check_builds(&artifacts, &["one"]);
    }

    #[test]
    fn components_that_are_not_watched_are_removed() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(&source(), Standing::Newest);
        artifacts.retain(&BTreeSet::new());
        assert_eq!(artifacts.compiled(&source(), build(one, "one")), Taken::Overtaken);
        let again = artifacts.changed(&source(), Standing::Newest);
        assert!(again > one, "numbers are not reused");
        check_builds(&artifacts, &[]);
    }
}
