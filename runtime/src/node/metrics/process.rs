//! Metrics of the process under their usual names, from `/proc`. What cannot be read there is left out.

use std::fmt;
use std::fs;

use rustix::process::{Resource, getrlimit};

use super::families::{Families, Labels};

/// What `/proc/self/stat` says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// After the machine was started.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

pub fn write(families: &mut Families<'_>) -> fmt::Result {
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
    if let Some(stat) = stat {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        families.seconds(
            "process_cpu_seconds",
            "CPU time of the process, in user and system mode.",
            stat.cpu_ticks as f64 / ticks,
        )?;
        let bytes = stat.resident_pages * rustix::param::page_size() as u64;
        gauge(families, "process_resident_memory_bytes", "Resident memory of the process.", bytes)?;
        gauge(families, "process_virtual_memory_bytes", "Virtual memory of the process.", stat.virtual_bytes)?;
        gauge(families, "process_threads", "Threads of the process.", stat.threads)?;
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text));
        let start = boot.map(|boot| (Labels::new(), boot as f64 + stat.start_ticks as f64 / ticks));
        families.gauges(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970-01-01 UTC.",
            start,
        )?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        let count = open.count().saturating_sub(1) as u64;
        gauge(families, "process_open_fds", "Open file descriptors of the process.", count)?;
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    gauge(families, "process_max_fds", "The most file descriptors that the process may have open.", limit)
}

fn gauge(families: &mut Families<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    families.gauges(name, help, [(Labels::new(), value)])
}

impl Stat {
    /// The fields as in proc(5). The second one is a name in parentheses that may contain anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first one here is the third one of the line.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read_whatever_its_name() {
        let rest = "S 1 2 3 0 -1 4194560 5 6 7 8 250 50 9 10 20 0 12 0 777 4096000 300 18446744073709551615 1";
        let expected =
            Stat { cpu_ticks: 300, threads: 12, start_ticks: 777, virtual_bytes: 4_096_000, resident_pages: 300 };
        for name in ["tidegate", "a b", ") 1 ("] {
            assert_eq!(Stat::parse(&format!("42 ({name}) {rest}")), Some(expected));
        }
        assert_eq!(Stat::parse("42 (tidegate) S 1 2"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
    }
}
