//! Finds the smallest case in which the same promise is still broken.

use super::history::{Make, Report, run};
use super::plan::{Breadth, Case, Less};

/// Most histories that are run for it.
const MOST_RUNS: usize = 300;

struct Shrinker<'a> {
    seed: u64,
    breadth: Breadth,
    make: &'a Make,
    promise: &'static str,
    runs: usize,
}

impl Shrinker<'_> {
    /// Whether less of it is still broken in the same way.
    fn fails(&mut self, less: &Less) -> bool {
        self.runs += 1;
        let report = run(&Case::draw(self.seed, self.breadth, less), self.make, false);
        self.runs <= MOST_RUNS && report.violations.iter().any(|violation| violation.promise == self.promise)
    }

    /// Leaves out parts of a list, large ones first, as long as that changes nothing.
    fn faults(&mut self, less: &mut Less, mut kept: Vec<usize>) {
        let mut size = kept.len();
        while size > 0 {
            let mut start = 0;
            while start < kept.len() {
                let end = (start + size).min(kept.len());
                let fewer: Vec<usize> = kept[..start].iter().chain(&kept[end..]).copied().collect();
                let tried = Less { faults: Some(fewer.clone()), ..less.clone() };
                if self.fails(&tried) {
                    (*less, kept) = (tried, fewer);
                } else {
                    start = end;
                }
            }
            size /= 2;
        }
    }

    fn records(&mut self, less: &mut Less, most: usize) {
        let (mut fails, mut passes) = (most, 0);
        while fails - passes > 1 && self.runs < MOST_RUNS {
            let tried = Less { records: Some(fails.midpoint(passes)), ..less.clone() };
            if self.fails(&tried) {
                fails = fails.midpoint(passes);
                *less = tried;
            } else {
                passes = fails.midpoint(passes);
            }
        }
    }

    fn nodes(&mut self, less: &mut Less, most: usize) {
        for nodes in 1..most {
            let tried = Less { nodes: Some(nodes), ..less.clone() };
            if self.fails(&tried) {
                *less = tried;
                return;
            }
        }
    }
}

/// What can be left out of a failing case.
pub fn shrink(case: &Case, breadth: Breadth, make: &Make, promise: &'static str, from: &Less) -> Less {
    let mut shrinker = Shrinker { seed: case.seed, breadth, make, promise, runs: 0 };
    let mut less = from.clone();
    shrinker.faults(&mut less, case.faults.iter().map(|(number, _)| *number).collect());
    shrinker.records(&mut less, case.items.len());
    shrinker.nodes(&mut less, case.nodes);
    let kept = less.faults.clone().unwrap_or_else(|| case.faults.iter().map(|(number, _)| *number).collect());
    shrinker.faults(&mut less, kept);
    less
}

/// The command that runs exactly this case again.
pub fn command(seed: u64, breadth: Breadth, less: &Less) -> String {
    let list = |faults: &Vec<usize>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let parts = [
        Some(format!("TIDEGATE_SEED={seed}")),
        less.nodes.map(|nodes| format!("TIDEGATE_NODES={nodes}")),
        less.records.map(|records| format!("TIDEGATE_RECORDS={records}")),
        less.faults.as_ref().map(|faults| format!("TIDEGATE_FAULTS={}", list(faults))),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let test = match breadth {
        Breadth::All => "replay",
        Breadth::Plain => "mutants::replay",
    };
    format!("{} cargo test --workspace --lib trigger::sim::tests::{test} -- --nocapture", parts.join(" "))
}

/// A failing case, as small as it gets, in words.
pub fn explain(case: &Case, breadth: Breadth, make: &Make, report: &Report, from: &Less) -> String {
    let Some(violation) = report.violations.first() else { return "nothing is wrong".to_owned() };
    let less = shrink(case, breadth, make, violation.promise, from);
    let small = Case::draw(case.seed, breadth, &less);
    let again = run(&small, make, true);
    let broken: Vec<_> = again.violations.iter().map(|v| format!("\"{}\": {}", v.promise, v.text)).collect();
    format!("seed {}: {}\n\n{small}\n{}\n", case.seed, broken.join("\n"), command(case.seed, breadth, &less))
}
