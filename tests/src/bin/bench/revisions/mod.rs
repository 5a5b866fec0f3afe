//! What becomes of revisions on three nodes with an S3 and an SQS server, a real broker, and records that flow
//! all the time.

mod faults;
mod fleet;
mod publish;
mod rollout;

use super::number;

pub fn main(arguments: &[&str]) {
    match arguments {
        ["publish", rest @ ..] => publish::main(number(rest, 0, 50), rest.get(1) == Some(&"fresh")),
        ["away"] => faults::away(),
        ["events", rest @ ..] => faults::events(number(rest, 0, 1_000)),
        ["uploads", rest @ ..] => faults::uploads(number(rest, 0, 1_000)),
        ["killed", rest @ ..] => faults::killed(number(rest, 0, 20)),
        ["canary"] => rollout::canary(),
        ["shadow"] => rollout::shadow(),
        _ => panic!("the head of bench/main.rs says what there is"),
    }
}

/// The value below which so many percent of them are.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).saturating_sub(1)]
}
