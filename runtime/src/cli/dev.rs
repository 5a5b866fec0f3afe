use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::run::{self, Node};
use super::{check, node};
use crate::author::dev::{Builder, Sources, embed, say, terminal};
use crate::author::golden::Paint;
use crate::kafka::embedded::{EmbeddedBroker, LIMITS};
use crate::manifest::Manifest;
use crate::node::relay;
use crate::node::supervisor::Options;
use crate::tools::Failure;
use crate::tools::display::colours;

/// How long the tails and the build may take to end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Try functions: an embedded broker, builds on save, records shown as they go.
///
/// Runs the manifest as `run` does, but on a broker inside this process, so nothing else is needed.
/// Kafka clients connect to the address that is printed: `tidegate produce`, `consume` and `record`
/// with --brokers, kcat, any other. The project that a component lies in is built now and whenever
/// one of its files is saved. A build that fails, or whose golden cases fail (see `tidegate test`),
/// leaves what runs. A line typed here is produced to the first topic: a value, or key:value. Ctrl-C
/// ends it, and so does closing the terminal.
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
    let manifest = check::load_to_run(&arguments.manifest)?;
    let engine = node::engine()?;
    let runtime = node::runtime()?;
    let result = runtime.block_on(develop(manifest, arguments, engine));
    // Building on save never ends by itself, even if the node does not start.
    runtime.shutdown_background();
    Ok(result?)
}

async fn develop(manifest: Manifest, arguments: &Arguments, engine: crate::engine::Engine) -> anyhow::Result<()> {
    let broker = Arc::new(EmbeddedBroker::start().context("cannot start the embedded broker")?);
    say(&format!("embedded broker at {}: {LIMITS}", broker.address()));
    let mut sources = Sources::default();
    sources.follow(&manifest);
    let mut builder = Builder {
        engine: engine.clone(),
        manifest: manifest.clone(),
        environment: node::environment,
        paint: Paint(colours(&std::io::stderr())),
        runtime: tokio::runtime::Handle::current(),
    };
    if !arguments.no_build {
        let targets = sources.changed();
        let first = move || {
            builder.build_all(&targets);
            builder
        };
        builder = tokio::task::spawn_blocking(first).await.context("the build ended")?;
    }
    let partitions = arguments.partitions;
    let manifest = embed(manifest, &broker, partitions);
    let (taken_on, running) = watch::channel(manifest.clone());
    let lines = terminal::read_lines().context("standard input cannot be read")?;
    let mut clients = vec![
        tokio::spawn(terminal::show(running.clone())),
        tokio::spawn(terminal::produce(lines, running.clone(), partitions)),
    ];
    let stop = Arc::new(AtomicBool::new(false));
    if !arguments.no_build {
        let stop = stop.clone();
        clients.push(tokio::task::spawn_blocking(move || builder.build_on_save(sources, running, &stop)));
    }
    let adapted = broker.clone();
    let options = Options {
        engine,
        node: "dev".into(),
        now_ms: Box::new(relay::now_ms),
        environment: node::environment,
        kept: node::kept_folder(),
        adapt: Box::new(move |manifest| {
            let manifest = embed(manifest, &adapted, partitions);
            taken_on.send_replace(manifest.clone());
            manifest
        }),
    };
    let result = run::serve(Node { manifest, options }).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.abort();
        // It may hang at a terminal that accepts no more lines, or in a long build.
        let _ = tokio::time::timeout(LAST_LINES, client).await;
    }
    // After its last client: a client complains when its broker is gone.
    drop(broker);
    result
}
