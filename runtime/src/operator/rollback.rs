//! Goes back to an older version of a component: the store copies it into a new version, so the history only grows,
//! and the nodes take it on as any other one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::history::{aborted, short};
use super::place::{self, took};
use super::revisions::with_facts;
use super::table::span;
use super::wait::{Before, served};
use crate::manifest::{Manifest, ObjectName};
use crate::node::relay::console::LIMIT;
use crate::node::relay::fleet::View;
use crate::node::relay::message::Publication;
use crate::node::relay::steering;
use crate::record::revision::Digest;
use crate::registry::s3::archive::{Archive, Facts, Version};
use crate::registry::s3::{Failure as StoreFailure, S3};
use crate::tools::Failure;
use crate::tools::output;

/// How many versions are looked at.
const MOST: usize = 100;

/// What is gone back to.
pub struct Order {
    pub function: String,
    /// The id of a version or the beginning of it, or the beginning of a digest. [`None`]: the newest older version
    /// with other bytes that was not aborted.
    pub to: Option<String>,
    /// Who does it.
    pub publisher: String,
    /// How long to wait until the fleet serves it. [`None`]: not at all.
    pub wait: Option<Duration>,
    /// Also to a revision that the fleet withdrew.
    pub force: bool,
}

/// A version and what its metadata say.
type Known = (Version, Facts);

/// What is to be done to find the version that is gone back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Take(usize),
    /// The digest of this version has to be known first.
    Ask(usize),
    Nothing,
}

/// Goes back.
pub async fn rollback(manifest: &Manifest, order: &Order) -> Result<(), Failure> {
    let (function, object) = place::object(manifest, &order.function)?;
    let mut console = match place::console(manifest).await {
        Some(Ok(console)) => Some(console),
        Some(Err(error)) if order.force && order.wait.is_none() => {
            eprintln!("warning: it is not known which revisions the fleet withdrew: {error:#}");
            None
        }
        Some(Err(error)) => return Err(Failure::Failed(error)),
        None if order.wait.is_some() => return Err(place::no_control(manifest)),
        None => None,
    };
    let view = console.as_ref().map(|console| console.view().clone()).unwrap_or_default();
    let store = Arc::new(S3::new(manifest.registry.clone()));
    let mut known = with_facts(&store, object, MOST).await.map_err(anyhow::Error::from)?;
    let chosen = choose(&store, object, manifest.registry.max_bytes, order, &view, &mut known).await?;
    let (version, facts) = &known[chosen];
    let (Some(id), Some(digest)) = (version.id(), facts.digest) else {
        return Err(unversioned(object));
    };
    let before = order.wait.map(|limit| (limit, Before::new(&function.name, &view)));
    let start = Instant::now();
    let copied = store.copy(object, id, digest, &order.publisher).await;
    let origin = copied.map_err(anyhow::Error::from)?;
    let age = version.written_ms.map(|at| format!(", published {} ago", span(place::now_ms().saturating_sub(at))));
    output::print(&format!(
        "{object} is {} again{}, as before in version {} ({}): {origin}",
        digest.short(),
        age.unwrap_or_default(),
        short(id),
        took(start.elapsed())
    ))?;
    let published = Instant::now();
    if let (Some(_), Some(console)) = (&function.rollout, &mut console) {
        let publication = Publication { digest, origin: origin.clone() };
        let message = steering::gone_back(&function.name, publication, &order.publisher, place::now_ms());
        console.write(&message, LIMIT).await.map_err(anyhow::Error::from)?;
    }
    match (console, before) {
        (Some(mut console), Some((limit, before))) => {
            served(&mut console, before.published(digest, origin), published, limit).await
        }
        _ => Ok(()),
    }
}

/// The place of the version to go back to. Its digest is known then.
async fn choose(
    archive: &impl Archive,
    object: &ObjectName,
    most_bytes: u64,
    order: &Order,
    view: &View,
    known: &mut [Known],
) -> Result<usize, Failure> {
    if known.is_empty() {
        return Err(Failure::Failed(anyhow!("{object} was never published")));
    }
    if known.iter().find(|(version, _)| !version.is_deletion).is_some_and(|(version, _)| version.id().is_none()) {
        return Err(unversioned(object));
    }
    let chosen = match &order.to {
        Some(text) => named(known, text).map_err(|why| Failure::usage(format!("--to {text}: {why}")))?,
        None => loop {
            match previous(known, &|version, digest| {
                !order.force && aborted(view, &order.function, &version.origin, Some(digest)).is_some()
            }) {
                Next::Take(at) => break at,
                Next::Ask(at) => learn(archive, object, most_bytes, &mut known[at]).await?,
                Next::Nothing => {
                    return Err(Failure::Failed(anyhow!(
                        "{object} has no older version with other bytes that was not withdrawn: \
                         tidegate revisions {}",
                        order.function
                    )));
                }
            }
        },
    };
    if known[chosen].1.digest.is_none() {
        learn(archive, object, most_bytes, &mut known[chosen]).await?;
    }
    let (version, facts) = &known[chosen];
    if let Some(reason) = aborted(view, &order.function, &version.origin, facts.digest).filter(|_| !order.force) {
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        return Err(Failure::Failed(anyhow!(
            "the fleet withdrew {}{reason}: to serve it nevertheless, --force",
            facts.digest.map(|digest| digest.short()).unwrap_or_default()
        )));
    }
    Ok(chosen)
}

async fn learn(archive: &impl Archive, object: &ObjectName, most_bytes: u64, known: &mut Known) -> Result<(), Failure> {
    let digest: Result<Digest, StoreFailure> = archive.digest(object, &known.0, most_bytes).await;
    known.1.digest = Some(digest.map_err(anyhow::Error::from)?);
    Ok(())
}

/// The bucket keeps no versions, and what to do.
fn unversioned(object: &ObjectName) -> Failure {
    let bucket = object.bucket();
    Failure::Failed(anyhow!(
        "the bucket {bucket} keeps no versions, so there is nothing to go back to. From now on it keeps them after\n\n    \
         aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled\n\nToday, \
         publish the older component again: tidegate publish FILE.wasm {object}"
    ))
}

/// The version that a text names: its id or the beginning of it, or the beginning of its digest.
fn named(known: &[Known], text: &str) -> Result<usize, String> {
    let text = text.trim();
    let has = |(version, facts): &Known| {
        let digest = facts.digest.is_some_and(|digest| digest.to_string().starts_with(&text.to_ascii_lowercase()));
        !text.is_empty() && !version.is_deletion && (digest || version.id().is_some_and(|id| id.starts_with(text)))
    };
    if let Some(exact) = known.iter().position(|(version, _)| version.id() == Some(text) && !version.is_deletion) {
        return Ok(exact);
    }
    let found: Vec<usize> = (0..known.len()).filter(|at| has(&known[*at])).collect();
    let digest = |at: &usize| known[*at].1.digest;
    match found.as_slice() {
        [] => Err(format!("none of the newest {} begins like that", crate::counted::counted(known.len(), "version"))),
        [only] => Ok(*only),
        // The same bytes, several times. They are the same, so the newest one will do.
        [first, rest @ ..] if digest(first).is_some() && rest.iter().all(|at| digest(at) == digest(first)) => {
            Ok(*first)
        }
        several => {
            let ids: Vec<String> = several.iter().filter_map(|at| known[*at].0.id()).map(short).collect();
            Err(format!("several begin like that, such as {}", ids.join(", ")))
        }
    }
}

/// The newest older version with other bytes than the newest one, that is not `withdrawn`. If the newest entry is a
/// deletion, the newest version that is none.
fn previous(known: &[Known], withdrawn: &impl Fn(&Version, Digest) -> bool) -> Next {
    let Some((newest, newest_facts)) = known.first() else { return Next::Nothing };
    for (at, (version, facts)) in known.iter().enumerate().filter(|(_, (version, _))| !version.is_deletion) {
        if at == 0 {
            continue;
        }
        let Some(digest) = facts.digest else { return Next::Ask(at) };
        if withdrawn(version, digest) {
            continue;
        }
        if newest.is_deletion || version.bytes != newest.bytes {
            return Next::Take(at);
        }
        match newest_facts.digest {
            None => return Next::Ask(0),
            Some(newest) if newest != digest => return Next::Take(at),
            Some(_) => {}
        }
    }
    Next::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;
    use crate::node::relay::message::Abort;
    use crate::record::revision::Origin;
    use crate::registry::s3::archive::{Sent, Upload};

    /// A store whose versions have the text `bytes of ID`, or what follows a `=` in their id.
    struct FakeArchive;

    fn bytes(version: &Version) -> Vec<u8> {
        let id = version.id().unwrap_or_default();
        id.split_once('=').map_or_else(|| format!("bytes of {id}"), |(_, text)| text.to_owned()).into_bytes()
    }

    impl Archive for FakeArchive {
        async fn history(&self, _: &ObjectName, _: usize) -> Result<Vec<Version>, StoreFailure> {
            Ok(Vec::new())
        }

        async fn facts(&self, _: &ObjectName, _: &Version) -> Result<Facts, StoreFailure> {
            Ok(Facts::default())
        }

        async fn digest(&self, _: &ObjectName, version: &Version, _: u64) -> Result<Digest, StoreFailure> {
            Ok(Digest::of(&bytes(version)))
        }

        async fn put(&self, _: &ObjectName, _: &Upload, _: &Sent) -> Result<Origin, StoreFailure> {
            Ok(Origin::File)
        }

        async fn copy(&self, _: &ObjectName, _: &str, _: Digest, _: &str) -> Result<Origin, StoreFailure> {
            Ok(Origin::File)
        }
    }

    /// A history, the newest first. `-` before an id: a deletion. `?` after it: without metadata.
    fn history(ids: &[&str]) -> Vec<Known> {
        let one = |id: &&str| {
            let is_deletion = id.starts_with('-');
            let has_facts = !id.ends_with('?');
            let origin = Origin::Version(id.trim_matches(['-', '?']).to_owned());
            let mut version = Version { origin, bytes: 0, written_ms: None, is_deletion };
            version.bytes = bytes(&version).len() as u64;
            let digest = (has_facts && !is_deletion).then(|| Digest::of(&bytes(&version)));
            (version, Facts { digest, ..Facts::default() })
        };
        ids.iter().map(one).collect()
    }

    fn view(aborted: Option<&str>) -> View {
        let mut view = View::default();
        if let Some(text) = aborted {
            let (digest, origin) = (Digest::of(text.as_bytes()), Origin::Version("another".to_owned()));
            let (reason, from) = ("too slow".to_owned(), "n".to_owned());
            let abort = Abort { digest, origin, reason, at_ms: 1, from, earlier: Vec::new() };
            view.aborts.insert(Name::new("f").expect("a name"), abort);
        }
        view
    }

    async fn chosen(ids: &[&str], to: Option<&str>, aborted: Option<&str>, force: bool) -> Result<String, String> {
        let object = ObjectName::new("bucket", "f.wasm").expect("a name");
        let order =
            Order { function: "f".to_owned(), to: to.map(str::to_owned), publisher: String::new(), wait: None, force };
        let mut known = history(ids);
        match choose(&FakeArchive, &object, 1_000, &order, &view(aborted), &mut known).await {
            Ok(at) => {
                assert!(known[at].1.digest.is_some());
                Ok(known[at].0.id().unwrap_or_default().to_owned())
            }
            Err(Failure::Usage(text)) => Err(text),
            Err(Failure::Failed(error)) => Err(error.to_string()),
        }
    }

    async fn check(ids: &[&str], to: Option<&str>, aborted: Option<&str>, expected: Result<&str, &str>) {
        let found = chosen(ids, to, aborted, false).await;
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{ids:?}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{ids:?}: {found}"),
            _ => panic!("{ids:?}: {found:?} is not {expected:?}"),
        }
    }

    #[tokio::test]
    async fn the_newest_older_version_with_other_bytes_is_gone_back_to() {
        check(&["v2", "v1"], None, None, Ok("v1")).await;
        check(&["v3=x", "v2=x", "v1=y"], None, None, Ok("v1=y")).await;
        check(&["v3=x?", "v2=x?", "v1=y?"], None, None, Ok("v1=y")).await;
        check(&["-v4", "v3=x", "v2=y"], None, None, Ok("v3=x")).await;
        check(&["v3=x", "-v2", "v1=y"], None, None, Ok("v1=y")).await;
        check(&["v3=x", "v2=bad", "v1=y"], None, Some("bad"), Ok("v1=y")).await;
        check(&["v2=x", "v1=x"], None, None, Err("no older version with other bytes")).await;
        check(&["v1"], None, None, Err("no older version with other bytes")).await;
        check(&[], None, None, Err("was never published")).await;
    }

    #[tokio::test]
    async fn a_version_is_named_by_the_beginning_of_its_id_or_digest() {
        check(&["abc", "abd", "x"], Some("abd"), None, Ok("abd")).await;
        check(&["abc", "abd", "x"], Some("x"), None, Ok("x")).await;
        check(&["abc", "abd", "x"], Some("ab"), None, Err("several begin like that, such as abc, abd")).await;
        check(&["abc", "abd", "x"], Some("y"), None, Err("none of the newest 3 versions")).await;
        check(&["-abc"], Some("abc"), None, Err("none of the newest 1 version")).await;
        let digest = Digest::of(b"same").short();
        check(&["v3=same", "v2=same", "v1"], Some(&digest), None, Ok("v3=same")).await;
        check(&["ab", "abc"], Some("ab"), None, Ok("ab")).await;
    }

    #[tokio::test]
    async fn what_the_fleet_withdrew_is_gone_back_to_only_by_force() {
        let ids = ["v2", "v1=bad"];
        check(&ids, Some("v1"), Some("bad"), Err("the fleet withdrew")).await;
        check(&ids, Some("v1"), Some("bad"), Err("(too slow): to serve it nevertheless, --force")).await;
        assert_eq!(chosen(&ids, Some("v1"), Some("bad"), true).await, Ok("v1=bad".to_owned()));
        assert_eq!(chosen(&ids, None, Some("bad"), true).await, Ok("v1=bad".to_owned()));
    }

    #[tokio::test]
    async fn a_bucket_without_versions_is_refused_with_the_remedy() {
        let object = ObjectName::new("bucket", "f.wasm").expect("a name");
        let mut known = history(&["v1"]);
        known[0].0.origin = Origin::Tag("tag".to_owned());
        let order = Order { function: "f".to_owned(), to: None, publisher: String::new(), wait: None, force: false };
        let Err(Failure::Failed(error)) =
            choose(&FakeArchive, &object, 1_000, &order, &View::default(), &mut known).await
        else {
            panic!("it is refused");
        };
        let text = error.to_string();
        assert!(text.contains("put-bucket-versioning --bucket bucket"), "{text}");
    }
}
