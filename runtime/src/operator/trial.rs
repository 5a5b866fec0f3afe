//! Whether a component would run on a node: the same checks, the same compiler, and one instance.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::author::invoke::{setup, stand_in};
use crate::engine::{Engine, Pool, PoolError, Setup};
use crate::manifest::{Function, Manifest, Trigger};
use crate::record::Topics;
use crate::record::revision::Digest;

/// A component that would run.
pub struct Proven {
    pub digest: Digest,
    /// What could not be tried here. A node tries it.
    pub warnings: Vec<String>,
}

/// Checks a component for the functions that it is for, with what the manifest grants them. Without functions it is
/// checked with the default of everything.
///
/// # Errors
///
/// A node would refuse it, and why.
pub async fn prove(
    engine: &Engine,
    bytes: Bytes,
    manifest: Option<&Manifest>,
    functions: &[Arc<Function>],
) -> anyhow::Result<Proven> {
    let digest = Digest::of(&bytes);
    let mut warnings = Vec::new();
    let mut setups = Vec::new();
    for function in functions {
        let function = Arc::new(with_folders_of_here(function, &mut warnings));
        let triggers = manifest.into_iter().flat_map(|manifest| manifest.triggers.values());
        let own: Vec<_> = triggers.filter(|trigger| trigger.function == function.name).collect();
        if own.is_empty() {
            let (_, trigger) = stand_in()?;
            setups.push(setup(function, &trigger, &[]));
        } else {
            setups.extend(own.into_iter().map(|trigger| as_on_a_node(&function, trigger)));
        }
    }
    if functions.is_empty() {
        let (function, trigger) = stand_in()?;
        setups.push(setup(Arc::new(function), &trigger, &[]));
    }
    let compiled = engine.compile(bytes.to_vec().into(), digest).await.context("a node would refuse it")?;
    for setup in setups {
        let (function, trigger) = (setup.function.name.clone(), setup.trigger.name.clone());
        // Nothing is called, so nothing completes.
        let (completions, _) = mpsc::channel(1);
        match Pool::warm(engine, compiled.clone(), setup, completions).await {
            Ok(_) => {}
            Err(PoolError::Machine(reason)) => {
                warnings.push(format!("no instance could be tried on this machine for trigger {trigger}: {reason}"));
            }
            Err(PoolError::Function(reason)) => {
                anyhow::bail!("a node would refuse it for function {function}, trigger {trigger}: {reason}")
            }
        }
    }
    Ok(Proven { digest, warnings })
}

/// One instance is enough for a proof.
fn as_on_a_node(function: &Arc<Function>, trigger: &Trigger) -> Setup {
    let topics = Topics::new(trigger.output.as_deref(), &trigger.allow_topics, trigger.dead_letters.as_deref());
    let mut trigger = trigger.clone();
    trigger.instances.min = trigger.instances.min.min(1);
    Setup { function: function.clone(), trigger: Arc::new(trigger), topics: Arc::new(topics), isolated: false }
}

/// The function without the folders that this machine does not have. Nodes have them.
fn with_folders_of_here(function: &Function, warnings: &mut Vec<String>) -> Function {
    let mut function = function.clone();
    let name = function.name.clone();
    function.folders.retain(|seen, folder| {
        let is_here = folder.path.is_dir();
        if !is_here {
            let path = folder.path.display();
            warnings.push(format!("tried without the folder {seen} of function {name}: {path} is not on this machine"));
        }
        is_here
    });
    function
}
