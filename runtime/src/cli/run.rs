use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;

use super::{check, node};
use crate::log;
use crate::manifest::Manifest;
use crate::node::admin;
use crate::node::relay;
use crate::node::supervisor::{Options, Supervisor};
use crate::signals;
use crate::tools::Failure;

/// Run the triggers of a manifest.
///
/// Any number of nodes may run the same manifest: Kafka's consumer groups spread the partitions over
/// them. A node applies changes of the manifest and of components while it runs. After SIGTERM, SIGINT or
/// SIGHUP it finishes the running calls, commits, and exits with code 0. A second signal, at least half a
/// second later, ends it at once with code 1. Under nohup SIGHUP is ignored.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tidegate run --manifest tidegate.toml --node node-1")]
pub(super) struct Arguments {
    /// The manifest.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    manifest: PathBuf,

    /// Name of this node. It should be the same after a restart. Default: the name of the host.
    #[arg(long, value_name = "NAME", env = "TIDEGATE_NODE", value_parser = NonEmptyStringValueParser::new())]
    node: Option<String>,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = check::load_to_run(&arguments.manifest)?;
    let name = node::name(arguments.node.as_deref())?;
    let engine = node::engine()?;
    let runtime = node::runtime()?;
    let options = Options {
        engine,
        node: name,
        now_ms: Box::new(relay::now_ms),
        environment: node::environment,
        kept: node::kept_folder(),
        adapt: Box::new(|manifest| manifest),
    };
    runtime.block_on(serve(Node { manifest, options }))?;
    // All triggers are drained. Threads that block in the Kafka client need not end first.
    runtime.shutdown_background();
    Ok(())
}

/// The manifest to run, and how.
pub(super) struct Node {
    pub(super) manifest: Manifest,
    pub(super) options: Options,
}

/// Runs a node until a signal ends it.
pub(super) async fn serve(Node { manifest, options }: Node) -> anyhow::Result<()> {
    let address = manifest.admin.listen;
    let access = admin::Access::new(address, manifest.admin.token.as_ref());
    let listener = admin::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ([admin] listen): is another tidegate running here?"))?;
    tracing::info!(node = %options.node, admin = %address, "starting tidegate {}", env!("CARGO_PKG_VERSION"));
    let (supervisor, stopper, news) = Supervisor::new(manifest, options).context("cannot watch files")?;
    let admin = admin::Admin::new(access, news.overview(), Arc::new(news.steering()));
    let admin = tokio::spawn(admin::serve(listener, admin));
    let news = tokio::spawn(news.run());
    let stopping = tokio::spawn(async move {
        let signal = signals::stop().await?;
        tracing::info!("{signal}: draining");
        stopper.stop().await;
        let signal = signals::stop_again().await?;
        tracing::warn!("{signal} again: exiting at once; the records of running calls will be processed again");
        log::flush();
        std::process::exit(1);
        #[allow(unreachable_code)]
        anyhow::Ok(())
    });
    supervisor.run().await;
    // It tells the other nodes that this one stops, for which it takes a second or two at most.
    let _ = news.await;
    stopping.abort();
    admin.abort();
    tracing::info!("stopped");
    Ok(())
}
