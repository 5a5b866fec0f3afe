//! What the supervisor does about contents of components: takes them on, refuses them, asks for older ones.

use std::time::Instant;

use super::{Event, Supervisor};
use crate::manifest::Component;
use crate::node::adoption::Offer;
use crate::node::artifacts::{Build, Generation, Taken};
use crate::node::edges::{Prepare, Start};
use crate::record::revision::{Digest, Origin};
use crate::registry::{Change, Content, Found, Standing, Verdict};

/// A content of a component that was reported, without its bytes.
#[derive(Clone)]
pub(super) struct Publication {
    pub(super) generation: Generation,
    pub(super) digest: Digest,
    pub(super) origin: Origin,
    pub(super) published_ms: Option<i64>,
}

impl<E: Prepare, S: Start<E::Pool>> Supervisor<E, S> {
    pub(super) fn component_changed(&mut self, Change { source, found }: Change) {
        let content = match found {
            Found::Content(content) => content,
            Found::Nothing(reason) => {
                self.log_refusal(&source, &reason);
                self.artifacts.unreadable(&source, reason);
                self.want_older(&source, None);
                return;
            }
            Found::NoOlder(reason) => {
                tracing::warn!(component = %source, "{reason}");
                self.artifacts.no_older(&source, reason);
                return;
            }
            Found::Away(reason) => {
                tracing::warn!(component = %source, "it cannot be looked for, which is tried again; what serves goes on: {reason}");
                self.artifacts.away(&source, Some(reason));
                return;
            }
            Found::Back => {
                tracing::info!(component = %source, "it can be looked for again");
                self.artifacts.away(&source, None);
                return;
            }
        };
        if content.standing == Standing::Newest {
            self.older_asked.remove(&source);
        }
        let publication = Publication {
            generation: self.artifacts.changed(&source, content.standing),
            digest: content.digest,
            origin: content.origin.clone(),
            published_ms: content.published_ms,
        };
        log_publication(&source, &content);
        let (engine, events, reloads) = (self.options.engine.clone(), self.events.clone(), self.reloads.clone());
        tokio::spawn(async move {
            let begun = Instant::now();
            let result = engine.compile(&source, content).await;
            reloads.compiled(begun.elapsed());
            let _ = events.send(Event::Compiled { source, publication, result }).await;
        });
    }

    pub(super) fn compiled(&mut self, source: &Component, publication: Publication, compiled: E::Compiled) {
        let Publication { generation, digest, origin, published_ms } = publication;
        let build = Build { generation, digest, origin, published_ms, compiled };
        match self.artifacts.compiled(source, build) {
            Taken::Overtaken => {
                tracing::debug!(component = %source, revision = digest.short(), "component ignored: there is a newer one");
            }
            _ => tracing::info!(component = %source, revision = digest.short(), "component compiled"),
        }
    }

    /// A component was refused. The revision that serves continues to serve.
    pub(super) fn refuse(&mut self, source: &Component, publication: &Publication, reason: &str) {
        if self.artifacts.refused(source, publication.generation, reason.to_owned()) == Taken::Refused {
            self.log_refusal(source, reason);
            self.want_older(source, Some(publication.origin.clone()));
        }
    }

    fn log_refusal(&self, source: &Component, reason: &str) {
        let functions = self.manifest.functions.values().filter(|function| function.component == *source);
        functions.for_each(|function| self.reloads.refused(&function.name));
        let serving = self.artifacts.good(source).map(|good| good.digest.short());
        tracing::error!(component = %source, serving, "component refused: {reason}");
    }

    /// Asks for an older version than this one, if no version has served on this node.
    fn want_older(&self, source: &Component, than: Option<Origin>) {
        if self.artifacts.good(source).is_none() {
            self.registry.judged(source, Verdict::OlderWanted(than));
        }
    }

    /// A revision fails at its start. If none served before, an older one is wanted.
    pub(super) fn fails_at_start(&mut self, offer: &Offer, reason: &str) {
        let source = &offer.function.component;
        let build = self.artifacts.builds(source).find(|build| build.generation == offer.generation);
        if let (Component::Object(_), Some(origin)) = (source, build.map(|build| build.origin.clone()))
            && self.artifacts.good(source).is_none()
        {
            let reason = format!("revision {}, {origin}, {reason}", offer.digest.short());
            self.artifacts.refused(source, offer.generation, reason);
            self.want_older(source, Some(origin));
        }
    }
}

/// Says which content is taken on, if it is not simply that of a file.
fn log_publication(source: &Component, content: &Content) {
    let revision = content.digest.short();
    match content.standing {
        Standing::Newest if content.origin == Origin::File => {}
        Standing::Newest => {
            tracing::info!(component = %source, revision, origin = %content.origin, "new version downloaded");
        }
        Standing::Kept => {
            tracing::info!(component = %source, revision, origin = %content.origin, "starting with what served last on this node");
        }
        Standing::Older => {
            tracing::warn!(
                component = %source, revision, origin = %content.origin,
                "an older version is taken, because the newer ones were refused and none serves",
            );
        }
    }
}
