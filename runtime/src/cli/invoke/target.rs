//! The component to call, with its environment and limits from the manifest or the flags.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Arguments;
use crate::author::invoke;
use crate::cli::check;
use crate::cli::pick::pick;
use crate::engine::Setup;
use crate::manifest::{Component, Function, Manifest, Name, Trigger};
use crate::tools::Failure;

pub(super) struct Target {
    pub(super) component: PathBuf,
    pub(super) trigger: Trigger,
    /// Whether the function has several triggers, so that the topic decides which one calls it.
    pub(super) is_one_of_several: bool,
    function: Function,
    allowed: Vec<String>,
}

impl Target {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let (mut function, stand_in) = invoke::stand_in().map_err(anyhow::Error::from)?;
        let mut triggers = Vec::new();
        if let Some(manifest) = manifest(arguments)? {
            let picked = pick("function", arguments.function.as_deref(), &manifest.functions, &manifest)?;
            function = Function::clone(picked);
            triggers.extend(manifest.triggers.values().filter(|trigger| trigger.function == function.name).cloned());
        } else if let Some(name) = arguments.component.as_deref().and_then(name) {
            function.name = name;
        }
        for (name, value) in &arguments.env {
            function.secrets.remove(name);
            function.env.insert(name.clone(), value.clone());
        }
        function.deadline = arguments.deadline.unwrap_or(function.deadline);
        function.memory_bytes = arguments.memory.unwrap_or(function.memory_bytes);
        function.http.allow_hosts.extend(arguments.allow_host.iter().cloned());
        function.http.allow_networks.extend(&arguments.allow_network);

        let mut trigger = match (triggers.first(), &arguments.record.topic) {
            (None, _) => stand_in,
            (Some(first), None) => Trigger::clone(first),
            (Some(_), Some(topic)) => {
                let unread = || Failure::usage(invoke::unread(&function.name, &triggers, topic));
                Trigger::clone(invoke::reader(&triggers, topic).ok_or_else(unread)?)
            }
        };
        trigger.batch.records = arguments.batch.unwrap_or(trigger.batch.records);
        let component = match (&arguments.component, &function.component) {
            (Some(path), _) | (None, Component::File(path)) => path.clone(),
            (None, Component::Object(object)) => {
                let message = format!("the component of {} is {object}, which is not fetched", function.name);
                let instead = format!("give the file itself, `tidegate invoke FILE.wasm --function {}`", function.name);
                return Err(Failure::usage(format!("{message}: {instead}")));
            }
        };
        Ok(Self {
            component,
            trigger,
            is_one_of_several: triggers.len() > 1,
            function,
            allowed: arguments.allow_topic.clone(),
        })
    }

    pub(super) fn setup(&self) -> Setup {
        invoke::setup(Arc::new(self.function.clone()), &self.trigger, &self.allowed)
    }
}

/// The manifest, if it is asked for.
fn manifest(arguments: &Arguments) -> Result<Option<Manifest>, Failure> {
    if arguments.function.is_none() && arguments.component.is_some() {
        return Ok(None);
    }
    let path = &arguments.manifest;
    if arguments.function.is_none() && !path.exists() {
        let message = "which component? `tidegate invoke FILE.wasm`, or run it where the manifest is";
        return Err(Failure::usage(format!("{message}: there is no {}", path.display())));
    }
    check::load(path).map(Some)
}

/// The name of the component's file, if a function can have this name.
fn name(component: &Path) -> Option<Name> {
    let stem = component.file_stem()?.to_str()?;
    Name::new(&stem.replace('_', "-")).ok()
}
