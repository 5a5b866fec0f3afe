//! What functions cost by themselves, without Kafka: `functions PROJECT=COMPONENT.wasm …`.
//!
//! One line for each component: its size, how long it takes to compile and an instance to start,
//! how long a call takes for each of its records, and what an instance occupies. The crossing and
//! the checks of the outcome are included, as in the data plane.
//!
//! The project is the folder of an example, such as `examples/echo/rust`: its manifest is followed, and
//! its golden cases give records.

mod bench;
mod input;

use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, ensure};
use bench::Bench;
use tidegate::kafka::keep_memory;

const USAGE: &str = "functions PROJECT=COMPONENT.wasm …";
/// Records of a call.
const RECORDS: usize = 512;

fn main() -> anyhow::Result<()> {
    keep_memory();
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    ensure!(!arguments.is_empty(), "which functions? {USAGE}");
    println!(
        "{RECORDS} records in a call. 100 B: JSON, with keys of 16 B. own cases: those of the golden cases that do\n\
         not fail, over and over. -: the function refuses such records, or would ask hosts.\n"
    );
    println!("{:>47}{:>32}{:>18}", "start, us", "record, ns", "instance, MiB");
    println!(
        "{:<20}{:>6}{:>9}{:>6}{:>6}{:>10}{:>11}{:>11}{:>10}{:>8}",
        "", "KiB", "compile", "p50", "p99", "100 B", "3 headers", "own cases", "started", "worked"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for argument in arguments {
        let (project, component) = argument.split_once('=').context(USAGE)?;
        let line = runtime.block_on(measure(Path::new(project), Path::new(component)));
        println!("{}", line.with_context(|| argument.clone())?);
    }
    Ok(())
}

/// The line of a component.
async fn measure(project: &Path, component: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(component)?;
    let kib = bytes.len() as f64 / 1024.0;
    let setup = input::setup(project)?;
    let asks_hosts = !setup.function.http.allow_hosts.is_empty();
    let batches = match asks_hosts {
        true => Vec::new(),
        false => vec![input::of_100_bytes(0), input::of_100_bytes(3), input::of_cases(project)?],
    };
    let (bench, compile) = Bench::compile(bytes, setup).await?;
    // First of all: memory that instances gave back is kept for the next ones.
    let (started, worked) = bench.memory_mib(&batches).await?;
    let starts = bench.starts().await?;
    let percentile = |percent: usize| starts[(starts.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let mut record_ns = [None; 3];
    for (ns, batch) in record_ns.iter_mut().zip(batches) {
        *ns = bench.record_ns(batch).await?;
    }
    let [plain, headers, cases] = record_ns;
    ensure!(asks_hosts || cases.is_some(), "it refuses records of cases that do not fail");

    let parts: Vec<_> = project.iter().map(|part| part.to_string_lossy()).collect();
    let name = parts[parts.len().saturating_sub(2)..].join("/");
    Ok(format!(
        "{name:<20}{kib:>6.0}{:>7.2} s{:>6.0}{:>6.0}{:>10}{:>11}{:>11}{started:>10.2}{:>8}",
        compile.as_secs_f64(),
        percentile(50),
        percentile(99),
        or_dash(plain, 0),
        or_dash(headers, 0),
        or_dash(cases, 0),
        or_dash(worked, 2),
    ))
}

fn or_dash(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}
