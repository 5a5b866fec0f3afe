//! The author's terminal: records that are shown, and lines that are typed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::lines::say;
use super::{Role, Tail, Typist, topics};
use crate::kafka::Refusal;
use crate::manifest::{Cluster, Manifest};

/// The manifest that runs, on the embedded broker.
pub type Running = watch::Receiver<Manifest>;

/// Shows every record of every topic until the task is aborted or standard output is closed.
pub async fn show(mut running: Running) {
    let mut known = BTreeSet::new();
    let mut tails = FuturesUnordered::new();
    loop {
        let manifest = running.borrow_and_update().clone();
        let mut new = topics(&manifest);
        new.retain(|topic, _| known.insert(topic.clone()));
        if let (false, Some(cluster)) = (new.is_empty(), cluster(&manifest)) {
            tails.push(show_topics(cluster, format!("tidegate-dev-tail-{}", known.len()), new));
        }
        tokio::select! {
            Ok(()) = running.changed() => {}
            Some(()) = tails.next() => return,
            else => return,
        }
    }
}

async fn show_topics(cluster: Arc<Cluster>, group: String, topics: BTreeMap<String, Role>) {
    match Tail::new(&cluster, &group, &topics) {
        Ok(mut tail) => tail.run(|line| writeln!(io::stdout(), "{line}").is_ok()).await,
        Err(error) => {
            tracing::warn!("records cannot be shown: {error}");
            std::future::pending().await
        }
    }
}

/// Reads standard input line by line. A line need not be UTF-8.
pub fn read_lines() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (lines, typed) = mpsc::channel(16);
    std::thread::Builder::new().name("tidegate-typing".to_owned()).spawn(move || {
        for mut line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.is_empty() && lines.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(typed)
}

/// Produces typed lines to the first input topic until the task is aborted.
pub async fn produce(mut lines: mpsc::Receiver<Vec<u8>>, mut running: Running, partitions: i32) {
    let mut refused = |refusal: Refusal| {
        // Lines that follow a refused one are refused too, and are not reported.
        if let Refusal::ForGood(error) | Refusal::WithOthers(error) | Refusal::ForNow(error) = refusal {
            say(&format!("error: a typed line is in no topic: {error}"));
        }
    };
    let mut open: Option<(String, Typist)> = None;
    loop {
        let manifest = running.borrow_and_update().clone();
        let input = topics(&manifest).into_iter().find(|(_, role)| *role == Role::Input);
        if let (Some((topic, _)), Some(cluster)) = (input, cluster(&manifest))
            && open.as_ref().is_none_or(|(open, _)| *open != topic)
        {
            if let Some((_, typist)) = open.take() {
                typist.finish(&mut refused).await;
            }
            match Typist::new(&cluster, &topic, partitions) {
                Ok(typist) => {
                    say(&format!("a line typed here is produced to {topic}: a value, or key:value"));
                    open = Some((topic, typist));
                }
                Err(error) => say(&format!("error: no line can be typed here: {error}")),
            }
        }
        // Until the node runs another manifest.
        loop {
            let Some((_, typist)) = &mut open else {
                match running.changed().await {
                    Ok(()) => break,
                    Err(_) => return,
                }
            };
            tokio::select! {
                Some(line) = lines.recv() => typist.produce(&line, &mut refused).await,
                () = typist.acknowledged(&mut refused) => {}
                Ok(()) = running.changed() => break,
            }
        }
    }
}

/// The cluster of the embedded broker. All clusters of the manifest are the same one.
fn cluster(manifest: &Manifest) -> Option<Arc<Cluster>> {
    manifest.clusters.values().next().cloned()
}
