//! CPU that a process has used.

use std::fs;
use std::time::Duration;

/// What it has used so far, all threads that it ever had, user and system, in steps of 10 ms.
pub fn of_process(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process lives");
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse().expect("ticks")).collect();
    Duration::from_millis(ticks.iter().sum::<u64>() * 10)
}

/// What the threads that live have used so far, to the nanosecond.
pub fn of_threads(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process lives").flatten();
    let used = tasks.filter_map(|task| {
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}
