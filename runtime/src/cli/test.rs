use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use super::pick::pick;
use super::{inspect, invoke, node, value};
use crate::author::dev;
use crate::author::golden::{self, Case, Paint, Suite, Target};
use crate::author::toolchain::{self, Language};
use crate::engine::Engine;
use crate::files::base;
use crate::manifest::{self, Function, Manifest};
use crate::tools::Failure;
use crate::tools::display::colours;
use crate::tools::output::Output;
use crate::tools::progress::Progress;

const MANIFEST: &str = "tidegate.toml";
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
  Causes: retry and reject need a reason; trap, exit, deadline, memory and bad-outcome have none.

What the function asks by HTTP the case answers; the network is never asked. Anywhere in the file,
one line for each request, those of the same one in turn, as the function asks:
  {"http": "GET https://api.example.com/7", "answer": {"status": 200, "body": {"json": {"id": 7}}}}
  {"http": "GET https://api.example.com/8", "answer": {"failure": "connection-refused"}}
  Fields of an answer: status, headers as [["name", "value"]], body; or failure, as wasi:http calls
  it, such as DNS-error, connection-timeout, connection-terminated, HTTP-response-timeout; delay,
  such as "3s", to run into a limit. allow-hosts and http of the manifest hold as in production. A
  request without an answer fails the case, and so does an answer that nobody asked for.
  What a request carries is looked at only where "sent" says what it has to be:
  {"http": "POST https://api.example.com/", "sent": {"body": "text"}, "answer": {"status": 201}}
  Fields of sent: headers, of which those that are listed are compared; body, byte by byte.

In place of each folder that the manifest lets the function write in, each case has an empty one,
which is removed behind it. Folders that are only read are those of the manifest.

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
/// compared with what the file expects. Neither a broker nor a secret nor the network has to be there.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Run only cases whose name holds this text. May be given several times.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Write what comes as what is expected. A case whose requests and answers by HTTP do not fit is
    /// shown instead.
    #[arg(long)]
    update: bool,

    /// Do not build: call the component that the manifest names.
    #[arg(long)]
    no_build: bool,

    /// The manifest. tidegate.toml in the project's folder, or in the one above if it is for this
    /// project; otherwise the defaults. A line says if one above is not used.
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
    // The author may have edited cases during the build, so they are read again. The first reading only served
    // to report mistakes early.
    let cases = cases(arguments)?;
    check(&cases)?;
    let engine = node::engine()?;
    let runtime = node::runtime()?;
    let result = runtime.block_on(run(arguments, &cases, &engine, component, target));
    // Do not wait for a guest that waits, whatever the result is.
    runtime.shutdown_background();
    result
}

/// Runs cases and shows their results.
async fn run(
    arguments: &Arguments,
    cases: &[Case],
    engine: &Engine,
    component: Vec<u8>,
    target: Target,
) -> Result<(), Failure> {
    let compiling = Progress::new(false).during("compiling the function", Suite::new(engine, component, target));
    let suite = compiling.await.context("the function cannot be called")?;
    let mut output = Output::new();
    let (mut good, mut written, mut failed, mut unfit) = (0, 0, 0, 0);
    for case in cases {
        let verdict = suite.run(case).await.with_context(|| case.path.display().to_string())?;
        if !arguments.update || !verdict.http_fits() {
            output.line(&golden::verdict(case, &verdict, Paint(colours(&io::stdout()))))?;
            *(if verdict.passed() { &mut good } else { &mut failed }) += 1;
            unfit += usize::from(!verdict.http_fits());
        } else if case.update(&verdict).with_context(|| format!("cannot write {}", case.path.display()))? {
            output.line(&format!("written    {}", case.name))?;
            written += 1;
        } else {
            output.line(&format!("unchanged  {}", case.name))?;
            good += 1;
        }
        output.flush()?;
    }
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let counted = match arguments.update {
        true => format!("{written} case{} written, {good} unchanged", s(written)),
        false => format!("{good} case{} passed", s(good)),
    };
    output.line(&if failed > 0 { format!("{counted}, {failed} failed") } else { counted })?;
    output.flush()?;
    if failed == 0 {
        return Ok(());
    }
    let hint = golden::hint(failed == unfit);
    Err(Failure::Failed(anyhow!("{failed} of {} cases failed; {hint}", cases.len())))
}

/// Reads the cases that are wanted. An error names all cases that are wrong.
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
        return Err(Failure::usage(format!("no case has {text} in its name; there are {}", names.join(", "))));
    }
    all(paths.iter().map(|path| Case::read(path)))
}

/// All results, or all errors.
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

/// The manifest and the function that is tested, if there is a manifest.
fn declared(arguments: &Arguments) -> Result<Option<(Manifest, Function)>, Failure> {
    let own = base(&arguments.folder).join(MANIFEST);
    let above = above(&arguments.folder).join(MANIFEST);
    let is_asked_for = arguments.manifest.is_some() || arguments.function.is_some() || arguments.no_build;
    let is_above = arguments.manifest.is_none() && !own.exists() && above.exists();
    let path = match &arguments.manifest {
        Some(path) => path.clone(),
        None if is_above => above,
        None => own,
    };
    if !is_asked_for && !path.exists() {
        return Ok(None);
    }
    let is_found = is_above && !is_asked_for;
    let shown = path.display();
    let declared = match golden::load(&path, &node::environment, &arguments.env) {
        Err(_) if is_found => {
            eprintln!("warning: {shown} is wrong, so the defaults hold; --manifest {shown} says what is wrong");
            return Ok(None);
        }
        Ok(declared) if is_found && !is_for(&declared.manifest, &arguments.folder) => {
            eprintln!("{shown} is not for this project, so the defaults hold; --manifest {shown} uses it");
            return Ok(None);
        }
        result => result.map_err(|errors| Failure::Usage(errors.render(colours(&io::stderr()))))?,
    };
    let function = find(&declared.manifest, arguments)?.clone();
    if is_above {
        eprintln!("with the function {} of {shown}", function.name);
    }
    for secret in declared.without.get(&function.name).into_iter().flatten() {
        eprintln!("warning: the secret {secret} of {} is not there; --env {secret}=VALUE gives one", function.name);
    }
    Ok(Some((declared.manifest, function)))
}

/// The parent of a folder, as the beginning of a path.
fn above(folder: &Path) -> PathBuf {
    match folder.components().next_back() {
        Some(Component::Normal(_)) => folder.parent().unwrap_or(folder).to_owned(),
        _ => base(folder).join(".."),
    }
}

/// Whether a manifest in the folder above a project belongs to the project. It does if one of its functions is
/// built in the project. It also does if its only function is built in a sibling folder in another language: then
/// the project is taken for its twin.
fn is_for(manifest: &Manifest, folder: &Path) -> bool {
    let Ok(here) = folder.canonicalize() else { return false };
    let projects: Vec<PathBuf> = manifest.functions.values().filter_map(|function| project(function)).collect();
    let is_other = |project: &Path| Language::of(&here).is_some_and(|here| Language::of(project) != Some(here));
    let is_beside = |project: &Path| project.parent() == here.parent();
    let is_twin = |project: &PathBuf| manifest.functions.len() == 1 && is_beside(project) && is_other(project);
    projects.iter().any(|project| *project == here || is_twin(project))
}

/// The folder of the project that builds a function.
fn project(function: &Function) -> Option<PathBuf> {
    let manifest::Component::File(component) = &function.component else { return None };
    dev::project(component)?.canonicalize().ok()
}

/// The function of the given name, the only one of this project, or the only one.
fn find<'a>(manifest: &'a Manifest, arguments: &Arguments) -> Result<&'a Function, Failure> {
    let here = arguments.folder.canonicalize().ok();
    let is_here = |function: &&Arc<Function>| here.is_some() && project(function) == here;
    let own: Vec<&Arc<Function>> = manifest.functions.values().filter(is_here).collect();
    match (&arguments.function, own.as_slice()) {
        (None, [function]) => Ok(function),
        (name, _) => pick("function", name.as_deref(), &manifest.functions, manifest).map(|function| &**function),
    }
}

/// The bytes of the component to test.
fn component(arguments: &Arguments, function: Option<&Function>) -> Result<Vec<u8>, Failure> {
    if let (true, Some(function)) = (arguments.no_build, function) {
        return match &function.component {
            manifest::Component::File(path) => Ok(invoke::read(path)?),
            manifest::Component::Object(object) => {
                let message = format!("the component of {} is {object}, which is not fetched", function.name);
                Err(Failure::usage(format!("{message}: leave out --no-build to test what the project builds")))
            }
        };
    }
    let aside = tempfile::tempdir().context("no place to build")?;
    let path = aside.path().join("function.wasm");
    toolchain::build(&arguments.folder, Some(&path)).map_err(|error| match error {
        toolchain::Error::NoProject(_) => {
            Failure::usage(format!("{error}; --no-build calls the component that is there"))
        }
        error => Failure::Failed(error.into()),
    })?;
    Ok(inspect::read(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_above_is_found_however_a_folder_is_written() {
        for (folder, expected) in [(".", ".."), ("go", ""), ("go/", ""), ("a/go", "a"), ("..", "../.."), ("/a", "/")] {
            assert_eq!(above(Path::new(folder)), Path::new(expected), "{folder}");
        }
    }

    #[test]
    fn a_manifest_above_is_for_the_projects_of_its_functions_and_for_the_twin_of_the_only_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for file in ["rust/Cargo.toml", "go/main.go", "go-too/main.go", "python/main.py", "deeper/go/main.go"] {
            std::fs::create_dir_all(at(file).parent().expect("a folder")).expect("made");
            std::fs::write(at(file), "").expect("written");
        }
        let check = |components: &[&str], expected: &[&str]| {
            let function = |(number, component)| format!("[function.f{number}]\ncomponent = \"{component}\"\n");
            let text: String = components.iter().enumerate().map(function).collect();
            let manifest = manifest::parse(&at(MANIFEST), &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
            let mut found = vec!["rust", "go", "go-too", "python"];
            found.retain(|project| is_for(&manifest, &at(project)));
            assert_eq!(found, expected, "{components:?}");
        };
        check(&["rust/f.wasm"], &["rust", "go", "go-too"]);
        check(&["go/f.wasm"], &["rust", "go"]);
        check(&["rust/f.wasm", "deeper/go/f.wasm"], &["rust"]);
        check(&["deeper/go/f.wasm"], &[]);
        check(&["functions/f.wasm"], &[]);
        check(&[], &[]);
    }

    #[test]
    fn the_lines_of_the_help_are_not_broken_once_more() {
        assert_eq!(HELP.lines().find(|line| line.chars().count() > 100), None);
    }

    #[test]
    fn the_example_of_the_help_is_met_by_compact_json() {
        let line = HELP.lines().find(|line| line.starts_with("  {\"messages\"")).expect("an expectation");
        let expected: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let json = expected["messages"][0]["value"]["json"].to_string();
        assert!(json.contains("total") && line.contains(&json), "{line}");
    }
}
