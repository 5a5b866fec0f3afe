//! The components of the manifest and their revisions: which build has already started somewhere, which one
//! is still to be tried, and which results are outdated. Pure: nothing here waits or does IO.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::record::revision::Digest;

/// A number for each content of a component. A newer content has a higher number, so that results which
/// arrive in another order can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

/// A compiled component.
#[derive(Clone, Debug)]
pub struct Build<C> {
    pub generation: Generation,
    pub digest: Digest,
    pub compiled: C,
}

/// The revisions of one component.
#[derive(Debug)]
struct Artifact<C> {
    /// The number of the newest content. Results of older contents are discarded.
    newest: Generation,
    /// The newest build whose instances have started.
    good: Option<Build<C>>,
    /// A newer build, whose instances have not started in any trigger yet.
    candidate: Option<Build<C>>,
    /// Why the newest content did not become a build.
    error: Option<String>,
}

/// All components that are watched.
#[derive(Debug)]
pub struct Artifacts<C> {
    last: Generation,
    components: BTreeMap<PathBuf, Artifact<C>>,
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
    pub fn retain(&mut self, watched: &BTreeSet<PathBuf>) {
        self.components.retain(|path, _| watched.contains(path));
    }

    /// A component has new content. Returns the number of this content.
    pub fn changed(&mut self, path: &Path) -> Generation {
        self.last.0 += 1;
        self.components.entry(path.to_owned()).or_insert_with(Artifact::new).newest = self.last;
        self.last
    }

    /// A component cannot be read.
    pub fn unreadable(&mut self, path: &Path, reason: String) {
        let generation = self.changed(path);
        self.refused(path, generation, reason);
    }

    /// Stores a build that the compiler has finished.
    pub fn compiled(&mut self, path: &Path, build: Build<C>) -> Taken {
        let Some(artifact) = self.newest(path, build.generation) else { return Taken::Overtaken };
        artifact.error = None;
        if artifact.good.as_ref().is_some_and(|good| good.digest == build.digest) {
            // A rollback to the build that has already started. No candidate is left.
            (artifact.good, artifact.candidate) = (Some(build), None);
        } else {
            artifact.candidate = Some(build);
        }
        Taken::Build
    }

    /// Stores the reason why a content was refused.
    pub fn refused(&mut self, path: &Path, generation: Generation, reason: String) -> Taken {
        let Some(artifact) = self.newest(path, generation) else { return Taken::Overtaken };
        artifact.error = Some(reason);
        Taken::Refused
    }

    /// Instances of a build have started.
    pub fn started(&mut self, path: &Path, generation: Generation) {
        if let Some(artifact) = self.components.get_mut(path)
            && let Some(candidate) = artifact.candidate.take_if(|candidate| candidate.generation == generation)
        {
            artifact.good = Some(candidate);
        }
    }

    /// The builds that instances can be created from, the newest first.
    pub fn builds(&self, path: &Path) -> impl Iterator<Item = &Build<C>> {
        let artifact = self.components.get(path);
        artifact.into_iter().flat_map(|artifact| artifact.candidate.iter().chain(&artifact.good))
    }

    /// The newest build whose instances have started.
    pub fn good(&self, path: &Path) -> Option<&Build<C>> {
        self.components.get(path)?.good.as_ref()
    }

    /// Why the newest content was refused.
    pub fn error(&self, path: &Path) -> Option<&str> {
        self.components.get(path)?.error.as_deref()
    }

    fn newest(&mut self, path: &Path, generation: Generation) -> Option<&mut Artifact<C>> {
        self.components.get_mut(path).filter(|artifact| artifact.newest == generation)
    }
}

impl<C> Artifact<C> {
    fn new() -> Self {
        Self { newest: Generation::default(), good: None, candidate: None, error: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "a.wasm";

    fn path() -> &'static Path {
        Path::new(PATH)
    }

    fn build(generation: Generation, text: &str) -> Build<()> {
        Build { generation, digest: Digest::of(text.as_bytes()), compiled: () }
    }

    /// Checks the texts that the builds were made from, the newest first.
    #[track_caller]
    fn check_builds(artifacts: &Artifacts<()>, expected: &[&str]) {
        let found: Vec<Digest> = artifacts.builds(path()).map(|build| build.digest).collect();
        let expected: Vec<Digest> = expected.iter().map(|text| Digest::of(text.as_bytes())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_build_is_a_candidate_until_it_has_started() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(path());
        assert_eq!(artifacts.compiled(path(), build(one, "one")), Taken::Build);
        assert!(artifacts.good(path()).is_none());
        artifacts.started(path(), one);
        let two = artifacts.changed(path());
        artifacts.compiled(path(), build(two, "two"));
        check_builds(&artifacts, &["two", "one"]);
        artifacts.started(path(), two);
        check_builds(&artifacts, &["two"]);
    }

    #[test]
    fn a_result_that_arrives_after_newer_content_is_ignored() {
        let mut artifacts = Artifacts::new();
        let (old, new) = (artifacts.changed(path()), artifacts.changed(path()));
        assert_eq!(artifacts.compiled(path(), build(old, "old")), Taken::Overtaken, "before the newer result");
        assert_eq!(artifacts.compiled(path(), build(new, "new")), Taken::Build);
        assert_eq!(artifacts.compiled(path(), build(old, "old")), Taken::Overtaken, "and after it");
        assert_eq!(artifacts.refused(path(), old, "damaged".to_owned()), Taken::Overtaken);
        assert_eq!(artifacts.error(path()), None);
        check_builds(&artifacts, &["new"]);
    }

    #[test]
    fn a_refused_content_keeps_the_older_builds_and_stores_the_reason() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(path());
        artifacts.compiled(path(), build(one, "one"));
        let two = artifacts.changed(path());
        assert_eq!(artifacts.refused(path(), two, "damaged".to_owned()), Taken::Refused);
        check_builds(&artifacts, &["one"]);
        assert_eq!(artifacts.error(path()), Some("damaged"));
        artifacts.unreadable(path(), "away".to_owned());
        assert_eq!(artifacts.error(path()), Some("away"));
        let three = artifacts.changed(path());
        artifacts.compiled(path(), build(three, "three"));
        assert_eq!(artifacts.error(path()), None);
    }

    #[test]
    fn a_rollback_to_the_good_build_drops_the_candidate() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(path());
        artifacts.compiled(path(), build(one, "one"));
        artifacts.started(path(), one);
        let two = artifacts.changed(path());
        artifacts.compiled(path(), build(two, "two"));
        let back = artifacts.changed(path());
        artifacts.compiled(path(), build(back, "one"));
        check_builds(&artifacts, &["one"]);
        assert_eq!(artifacts.good(path()).map(|good| good.generation), Some(back));
        artifacts.started(path(), two);
        check_builds(&artifacts, &["one"]);
    }

    #[test]
    fn components_that_are_not_watched_are_removed() {
        let mut artifacts = Artifacts::new();
        let one = artifacts.changed(path());
        artifacts.retain(&BTreeSet::new());
        assert_eq!(artifacts.compiled(path(), build(one, "one")), Taken::Overtaken);
        let again = artifacts.changed(path());
        assert!(again > one, "numbers are not reused");
        check_builds(&artifacts, &[]);
    }
}
