use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::invoke::value;
use super::output::Output;
use super::{Failure, colour, colour_of, inspect, node};
use crate::dev;
use crate::engine::Engine;
use crate::golden::{self, Case, Paint, Suite, Target};
use crate::manifest::{Component, Function, Manifest};
use crate::toolchain;

const HELP: &str = r#"A case is a file cases/NAME.ndjson: records as `tidegate invoke` reads them, and below each what
is expected of it.
  {"key": "a1", "value": {"json": {"amount": 500}}}
  {"messages": [{"value": {"json": {"amount":500,"total":600}}}]}
  {"key": "a2", "value": "no JSON"}
  {"failure": {"cause": "reject", "reason": "bad JSON in the value"}}
  Of a message only what is other than in its record is written: {} is the record as it came, and
  no message is []. Fields: topic (none: the trigger's output), partition (none: by key),
  timestamp (null: the time of producing), key, value, headers. All of them are compared, as bytes:
  what stands behind "json": is the value to the last space.
  Causes: retry and reject, with their reason; trap, exit, deadline, memory, bad-outcome, without.

What the function prints goes to standard error; --log warn hides it. Exit code 1: a case failed,
there is none, or the function does not build. 2: a case or the manifest is wrong.

Examples:
  tidegate test
  tidegate test functions/enrich --filter vat
  echo '{"key": "a1", "value": "hello"}' > cases/greeting.ndjson && tidegate test --update"#;

/// Run the golden cases of a function.
///
/// Builds the project aside, so that no node takes on what is not tested, and calls the function with
/// the records of each file in its folder `cases`: in the real engine, with the limits, environment,
/// batches and ordering of the manifest, and an instance of its own for each case. What comes is
/// compared with what the file expects. Neither a broker nor a secret has to be there.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Run only cases whose name holds this text. May be given several times.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Write what comes as what is expected.
    #[arg(long)]
    update: bool,

    /// Do not build: call the component that the manifest names.
    #[arg(long)]
    no_build: bool,

    /// The manifest. tidegate.toml in the project's folder, or the defaults of one if it is not there.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// The function. The one whose component lies in the project, if it is not given.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,

    /// A variable of the function's environment. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::variable)]
    env: Vec<(String, String)>,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let early = cases(arguments)?;
    let declared = declared(arguments)?;
    let target = Target::new(declared.as_ref().map(|(manifest, function)| (manifest, function)), &arguments.env);
    let target = target.map_err(anyhow::Error::from)?;
    let check = |cases: &[Case]| all(cases.iter().map(|case| target.check(case)));
    check(&early)?;
    let component = component(arguments, declared.as_ref().map(|(_, function)| function))?;
    // A build takes long enough to go on typing. The look before it only told what is wrong in time.
    let cases = cases(arguments)?;
    check(&cases)?;
    let engine = node::engine()?;
    let runtime = node::runtime()?;
    let result = runtime.block_on(run(arguments, &cases, &engine, component, target));
    // A guest that waits must not keep us, whatever the result is.
    runtime.shutdown_background();
    result
}

/// Runs cases and shows what became of them.
async fn run(
    arguments: &Arguments,
    cases: &[Case],
    engine: &Engine,
    component: Vec<u8>,
    target: Target,
) -> Result<(), Failure> {
    let suite = Suite::new(engine, component, target).await.context("the function cannot be called")?;
    let mut output = Output::new();
    let (mut good, mut others) = (0, 0);
    for case in cases {
        let verdict = suite.run(case).await.with_context(|| case.path.display().to_string())?;
        let is_good = if arguments.update {
            let written = case.update(&verdict).with_context(|| format!("cannot write {}", case.path.display()))?;
            output.line(&format!("{}  {}", if written { "written  " } else { "unchanged" }, case.name))?;
            !written
        } else {
            output.line(&golden::verdict(case, &verdict, Paint(colour_of(&io::stdout()))))?;
            verdict.passed()
        };
        *(if is_good { &mut good } else { &mut others }) += 1;
        output.flush()?;
    }
    let s = |count: usize| if count == 1 { "" } else { "s" };
    output.line(&match (arguments.update, others) {
        (true, written) => format!("{written} case{} written, {good} unchanged", s(written)),
        (false, 0) => format!("{good} case{} passed", s(good)),
        (false, failed) => format!("{good} case{} passed, {failed} failed", s(good)),
    })?;
    output.flush()?;
    if arguments.update || others == 0 {
        return Ok(());
    }
    let hint = "`tidegate test --update` accepts what came";
    Err(Failure::Failed(anyhow!("{others} of {} cases failed; {hint}", cases.len())))
}

/// The cases that are to run. All that are wrong are named.
fn cases(arguments: &Arguments) -> Result<Vec<Case>, Failure> {
    let place = base(&arguments.folder).join(golden::FOLDER);
    let mut paths = golden::find(&arguments.folder).with_context(|| format!("cannot read {}", place.display()))?;
    let names: Vec<String> = paths.iter().map(|path| Case::name_of(path)).collect();
    if names.is_empty() {
        return Err(Failure::Failed(anyhow!(
            "no golden case is in {place}: write one into {place}/NAME.ndjson, such as\n\n  \
             {{\"key\": \"k\", \"value\": \"hello\"}}\n  {{\"messages\": [{{\"value\": \"HELLO\"}}]}}\n\n\
             or its first line only, and let `tidegate test --update` write the second",
            place = place.display(),
        )));
    }
    if !arguments.filter.is_empty() {
        let is_wanted = |name: &str| arguments.filter.iter().any(|text| name.contains(text.as_str()));
        paths.retain(|path| is_wanted(&Case::name_of(path)));
    }
    if paths.is_empty() {
        let text = arguments.filter.join(", ");
        return Err(Failure::Usage(format!("error: no case has {text} in its name; there are {}", names.join(", "))));
    }
    all(paths.iter().map(|path| Case::read(path)))
}

/// What is right, or everything that is wrong.
fn all<T>(results: impl Iterator<Item = Result<T, golden::Broken>>) -> Result<Vec<T>, Failure> {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(result) => good.push(result),
            Err(broken) => wrong.push(format!("error: {broken}")),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(Failure::Usage(wrong.join("\n"))) }
}

/// The folder as the beginning of a path.
fn base(folder: &Path) -> PathBuf {
    if folder == Path::new(".") { PathBuf::new() } else { folder.to_owned() }
}

/// The manifest and the function that is tested, if there is a manifest.
fn declared(arguments: &Arguments) -> Result<Option<(Manifest, Function)>, Failure> {
    let path = match &arguments.manifest {
        Some(path) => path.clone(),
        None => base(&arguments.folder).join("tidegate.toml"),
    };
    let is_asked_for = arguments.manifest.is_some() || arguments.function.is_some() || arguments.no_build;
    if !is_asked_for && !path.exists() {
        return Ok(None);
    }
    let declared = golden::load(&path, &node::environment, &arguments.env)
        .map_err(|errors| Failure::Usage(errors.render(colour())))?;
    let function = find(&declared.manifest, arguments)?.clone();
    for secret in declared.without.get(&function.name).into_iter().flatten() {
        eprintln!("warning: the secret {secret} of {} is not there; --env {secret}=VALUE gives one", function.name);
    }
    Ok(Some((declared.manifest, function)))
}

/// The function of the given name, the only one of this project, or the only one.
fn find<'a>(manifest: &'a Manifest, arguments: &Arguments) -> Result<&'a Function, Failure> {
    let (path, names) = (manifest.path.display(), || {
        let names: Vec<&str> = manifest.functions.keys().map(|name| &**name).collect();
        names.join(", ")
    });
    if let Some(name) = &arguments.function {
        let function = manifest.functions.get(name.as_str()).map(|function| &**function);
        let message = || format!("error: {path} has no function {name:?}; it has {}", names());
        return function.ok_or_else(|| Failure::Usage(message()));
    }
    let here = arguments.folder.canonicalize().ok();
    let is_here = |function: &&Function| {
        let Component::File(component) = &function.component;
        here.is_some() && dev::project(component).and_then(|project| project.canonicalize().ok()) == here
    };
    let all: Vec<&Function> = manifest.functions.values().map(|function| &**function).collect();
    let own: Vec<&Function> = all.iter().copied().filter(is_here).collect();
    match (own.as_slice(), all.as_slice()) {
        ([function], _) | ([], [function]) => Ok(function),
        (_, []) => Err(Failure::Usage(format!("error: {path} declares no function"))),
        _ => Err(Failure::Usage(format!("error: which function? {path} has {}: give --function", names()))),
    }
}

/// The component that is tested.
fn component(arguments: &Arguments, function: Option<&Function>) -> Result<Vec<u8>, Failure> {
    if let (true, Some(function)) = (arguments.no_build, function) {
        let Component::File(path) = &function.component;
        return Ok(inspect::read(path)?);
    }
    let aside = tempfile::tempdir().context("no place to build")?;
    let path = aside.path().join("function.wasm");
    toolchain::build(&arguments.folder, Some(&path)).map_err(|error| match error {
        toolchain::Error::NoProject(_) => {
            Failure::Usage(format!("error: {error}; --no-build calls the component that is there"))
        }
        error => Failure::Failed(error.into()),
    })?;
    Ok(inspect::read(&path)?)
}

#[cfg(test)]
mod tests {
    use super::HELP;

    #[test]
    fn the_example_of_the_help_is_met_by_compact_json() {
        let line = HELP.lines().find(|line| line.starts_with("  {\"messages\"")).expect("an expectation");
        let expected: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let json = expected["messages"][0]["value"]["json"].to_string();
        assert!(json.contains("total") && line.contains(&json), "{line}");
    }
}
