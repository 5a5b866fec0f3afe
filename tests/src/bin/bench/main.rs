//! What a node costs and how quick it is, on a real broker. Each part is a program of its own:
//!
//! | | |
//! |---|---|
//! | `bench [full [ROUNDS [BYTES [LINGER_MS [NODE_LINGER_MS]]]]]` | CPU per record at full speed, beside an ordinary loop |
//! | `bench steady [SECONDS [LINGER_MS]]` | CPU per record and latency at steady rates, beside that loop |
//! | `bench idle [SECONDS]` | what triggers without records cost: threads, memory, CPU, requests |
//! | `bench rolling [SECONDS [KEY=VALUE…]]` | latency while three nodes are restarted one after the other |
//! | `bench killed [TIMES [static]]` | how long a killed node's partitions stand still |
//! | `bench revisions publish [TIMES [fresh]]` | how soon three nodes serve what is uploaded, and what that costs the records |
//! | `bench revisions away` | the same while the queue or the store is away |
//! | `bench revisions events [TIMES]` | the same among events that are repeated, out of order, damaged or foreign |
//! | `bench revisions uploads [TIMES]` | whether broken uploads leave what serves, and memory, disk and descriptors as they were |
//! | `bench revisions canary` | who gets a candidate, and how soon a bad one is withdrawn |
//! | `bench revisions shadow` | whether a shadow finds the one record in a thousand that differs |
//! | `bench revisions killed [TIMES]` | whether a node that is killed while it takes on a revision comes back with a good one |
//!
//! Linux only: CPU is read from `/proc`. The broker shares the machine, so what counts are ratios of
//! what was measured in one run, interleaved.

mod cpu;
mod full;
mod idle;
mod native;
mod rebalance;
mod relay;
mod revisions;
mod steady;
mod traffic;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["native", brokers, input, output, linger, count] => native::main(brokers, input, output, linger, count),
        ["steady", ref rest @ ..] => steady::main(rest),
        ["idle", ref rest @ ..] => idle::main(rest),
        ["rolling", ref rest @ ..] => rebalance::rolling(rest),
        ["killed", ref rest @ ..] => rebalance::killed(rest),
        ["revisions", ref rest @ ..] => revisions::main(rest),
        ["full", ref rest @ ..] | ref rest => full::main(rest),
    }
}

/// The argument at a place, or what it is if there is none.
fn number<T: std::str::FromStr>(arguments: &[&str], at: usize, otherwise: T) -> T {
    let Some(text) = arguments.get(at) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{text} is no number; the head of bench/main.rs says what there is"))
}

/// The middle one, and those at the ends.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}
