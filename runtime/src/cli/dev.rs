use std::io::BufRead as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::run::{self, Node};
use super::{Failure, check, colour, node};
use crate::dev::{Builder, Role, Sources, Tail, Target, Typist, components, embed, topics};
use crate::golden::Paint;
use crate::kafka::embedded::{EmbeddedBroker, LIMITS};
use crate::manifest::Manifest;
use crate::supervisor::Options;

/// How often sources are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long what shows records may take to end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Try functions: an embedded broker, builds on save, records shown as they go.
///
/// Runs the manifest as `run` does, but on a broker inside this process, so nothing else is needed.
/// Kafka clients connect to the address that is printed: `tidegate produce`, `consume` and `record`
/// with --brokers, kcat, any other. The project that a component lies in is built now and whenever
/// one of its files is saved. A build that fails, or whose golden cases fail (see `tidegate test`),
/// leaves what runs. A line typed here is produced to the first topic: a value, or key:value. Ctrl-C
/// ends it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tidegate new shout && cd shout && tidegate dev")]
pub(super) struct Arguments {
    /// The manifest.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    manifest: PathBuf,

    /// Partitions of each topic on the embedded broker, at most 64.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,

    /// Do not build: only run what is there.
    #[arg(long)]
    no_build: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = check::load(&arguments.manifest)?;
    let engine = node::engine()?;
    let runtime = node::runtime()?;
    let result = runtime.block_on(develop(manifest, arguments, engine));
    // Builds on save never end by themselves, also if the node does not start.
    runtime.shutdown_background();
    Ok(result?)
}

async fn develop(manifest: Manifest, arguments: &Arguments, engine: crate::engine::Engine) -> anyhow::Result<()> {
    let broker = Arc::new(EmbeddedBroker::start().context("cannot start the embedded broker")?);
    eprintln!("embedded broker at {}: {LIMITS}", broker.address());
    let mut sources = Sources::of(components(&manifest));
    let mut builder = Builder {
        engine: engine.clone(),
        manifest: manifest.clone(),
        environment: node::environment,
        paint: Paint(colour()),
        runtime: tokio::runtime::Handle::current(),
    };
    if !arguments.no_build {
        let targets = sources.changed();
        let first = move || {
            build(&mut builder, &targets);
            builder
        };
        builder = tokio::task::spawn_blocking(first).await.context("the build ended")?;
    }
    let partitions = arguments.partitions;
    let manifest = embed(manifest, &broker, partitions);
    let tail = tokio::spawn(show(manifest.clone()));
    let typing = type_lines(&manifest, partitions)?;
    let building = (!arguments.no_build).then(|| tokio::task::spawn_blocking(move || build_on_save(sources, builder)));
    let adapted = broker.clone();
    let options = Options {
        engine,
        node: "dev".into(),
        environment: node::environment,
        adapt: Box::new(move |manifest| embed(manifest, &adapted, partitions)),
    };
    let result = run::serve(Node { manifest, options }).await;
    building.iter().for_each(tokio::task::JoinHandle::abort);
    for client in [tail, typing] {
        client.abort();
        // It may hang at a terminal that takes no more lines.
        let _ = tokio::time::timeout(LAST_LINES, client).await;
    }
    // After its last client, which would complain that it is away.
    drop(broker);
    result
}

/// Shows every record of every topic, until it is aborted.
async fn show(manifest: Manifest) {
    let Some(cluster) = manifest.clusters.values().next() else { return };
    match Tail::new(cluster, &topics(&manifest)) {
        Ok(mut tail) => tail.run(|line| println!("{line}")).await,
        Err(error) => tracing::warn!("records cannot be shown: {error}"),
    }
}

/// Produces the lines of standard input to the first input topic.
fn type_lines(manifest: &Manifest, partitions: i32) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let (lines, mut typed) = mpsc::channel(16);
    std::thread::Builder::new().name("tidegate-typing".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    let input = topics(manifest).into_iter().find(|(_, role)| *role == Role::Input);
    let (Some((topic, _)), Some(cluster)) = (input, manifest.clusters.values().next().cloned()) else {
        return Ok(tokio::spawn(async {}));
    };
    let mut typist = Typist::new(&cluster, &topic, partitions)?;
    eprintln!("a line typed here is produced to {topic}: a value, or key:value");
    Ok(tokio::spawn(async move {
        while let Some(line) = typed.recv().await {
            if !line.is_empty() {
                typist.produce(&line);
            }
        }
        // Standard input is closed; what was typed is still under way.
        std::future::pending::<()>().await;
    }))
}

fn build_on_save(mut sources: Sources, mut builder: Builder) {
    loop {
        std::thread::sleep(LOOK);
        build(&mut builder, &sources.changed());
    }
}

fn build(builder: &mut Builder, targets: &[Target]) {
    for target in targets {
        let name = target.component.display();
        match builder.build(target, &mut |line| eprintln!("{line}")) {
            Ok(bytes) => eprintln!("built {name} ({} KiB)", bytes >> 10),
            Err(error) => eprintln!("error: {error}\n{name} stays as it is"),
        }
    }
}
