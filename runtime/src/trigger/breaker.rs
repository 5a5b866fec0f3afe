//! Stops a trigger whose records mostly fail, instead of pouring a topic into the dead letters.
//!
//! While it is open, single records probe now and then whether it is over. It closes by the measure by which it
//! opens: as soon as the probes do not mostly fail, although some do. Or else some bad records would stop
//! all the good ones for as long as they are tried. Attempts are counted only while it is closed, so an
//! outage uses up nobody's retries. A record counts once, however often it fails: one that always fails
//! says nothing about the others. Pure.

use std::time::{Duration, Instant};

/// Records that are looked back on.
const WINDOW: u32 = 256;
/// Fewer records say nothing.
const LEAST: u32 = 64;
/// For each record that is handled so many fail when it opens.
const ODDS: u32 = 3;
/// Successful probes that close it, and one more for each [`ODDS`] that fail meanwhile.
const PROBES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the records of a call came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub handled: u32,
    /// Failed for the first time.
    pub failed: u32,
    /// Failed, as they had before.
    pub again: u32,
}

#[derive(Debug)]
pub struct Breaker {
    /// Decaying counts, so that no list of results is kept.
    records: f64,
    failures: f64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// Calls that ran when it opened say nothing new.
    probing: bool,
    next_probe: Instant,
    pause: Duration,
    /// Successful probes, each worth [`ODDS`], less those that failed.
    balance: u32,
}

impl Breaker {
    pub fn new() -> Self {
        Self { records: 0.0, failures: 0.0, open: None }
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When a probe may run: `None` while it is closed.
    pub fn next_probe(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.next_probe)
    }

    /// A call ended.
    pub fn observe(&mut self, Seen { handled, failed, again }: Seen, now: Instant) {
        match &mut self.open {
            None => {
                self.records += f64::from(handled + failed);
                self.failures += f64::from(failed);
                if self.records >= f64::from(LEAST) && self.failures >= f64::from(ODDS) * (self.records - self.failures)
                {
                    self.open =
                        Some(Open { probing: false, next_probe: now + FIRST_PAUSE, pause: FIRST_PAUSE, balance: 0 });
                }
                if self.records > f64::from(WINDOW) {
                    let decay = f64::from(WINDOW) / self.records;
                    self.records *= decay;
                    self.failures *= decay;
                }
            }
            Some(open) if !open.probing => {}
            Some(open) if failed > 0 => {
                open.probing = false;
                open.pause = (open.pause * 2).min(LONGEST_PAUSE);
                open.next_probe = now + open.pause;
                open.balance = open.balance.saturating_sub(failed);
            }
            // It says nothing new.
            Some(open) if handled == 0 && again > 0 => {
                open.probing = false;
                open.next_probe = now + open.pause;
            }
            Some(open) => {
                open.probing = false;
                open.next_probe = now;
                open.pause = FIRST_PAUSE;
                open.balance += ODDS * handled;
                if open.balance >= ODDS * PROBES {
                    *self = Self::new();
                }
            }
        }
    }

    /// A probe starts; the next one waits for its result or a pause.
    pub fn probe(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.probing = true;
            open.next_probe = now + open.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(handled: u32, failed: u32) -> Seen {
        Seen { handled, failed, again: 0 }
    }

    #[test]
    fn opens_when_most_records_fail_and_closes_after_good_probes() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        breaker.observe(seen(16, 47), start);
        assert!(!breaker.is_open(), "too few records");
        breaker.observe(seen(0, 1), start);
        assert!(breaker.is_open());
        assert_eq!(breaker.next_probe(), Some(start + FIRST_PAUSE));
        breaker.observe(seen(0, 9), start);
        assert_eq!(breaker.next_probe(), Some(start + FIRST_PAUSE), "what ran before is no probe");
        breaker.probe(start);
        breaker.observe(seen(0, 1), start);
        assert_eq!(breaker.next_probe(), Some(start + 2 * FIRST_PAUSE), "failed probes come more seldom");
        for _ in 0..PROBES {
            assert!(breaker.is_open());
            breaker.probe(start);
            breaker.observe(seen(1, 0), start);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_minority_of_failures_never_opens_it() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        for _ in 0..10_000 {
            breaker.observe(seen(2, 3), start);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn old_successes_are_forgotten() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        breaker.observe(seen(1_000_000, 0), start);
        for _ in 0..1_000 {
            breaker.observe(seen(0, 1), start);
        }
        assert!(breaker.is_open());
    }

    /// Such as those of one partition of two.
    #[test]
    fn probes_that_fail_now_and_then_do_not_keep_it_open() {
        for (handled, failed) in [(1, 1), (2, 1), (1, 2)] {
            let (mut breaker, start) = (Breaker::new(), Instant::now());
            breaker.observe(seen(0, 64), start);
            let (mut now, mut probes) = (start, 0);
            while let Some(next) = breaker.next_probe() {
                let is_good = probes % (handled + failed) < handled;
                now = now.max(next);
                breaker.probe(now);
                breaker.observe(if is_good { seen(1, 0) } else { seen(0, 1) }, now);
                probes += 1;
            }
            assert!(probes <= 24, "{probes} probes of which {handled} : {failed} succeed");
            assert!(now < start + 2 * LONGEST_PAUSE, "{handled} : {failed} takes {:?}", now - start);
        }
    }

    #[test]
    fn probes_that_mostly_fail_keep_it_open() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        breaker.observe(seen(0, 64), now);
        for probe in 0..10_000 {
            breaker.probe(now);
            breaker.observe(if probe % 4 == 0 { seen(1, 0) } else { seen(0, 1) }, now);
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn a_record_that_always_fails_neither_opens_it_nor_keeps_it_open() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        let again = Seen { again: 1, ..Seen::default() };
        (0..1_000).for_each(|_| breaker.observe(again, start));
        assert!(!breaker.is_open());
        breaker.observe(seen(0, 64), start);
        for _ in 0..PROBES {
            assert!(breaker.is_open());
            breaker.probe(start);
            breaker.observe(seen(1, 0), start);
            if breaker.is_open() {
                breaker.probe(start);
                breaker.observe(again, start);
                assert_eq!(breaker.next_probe(), Some(start + FIRST_PAUSE));
            }
        }
        assert!(!breaker.is_open());
    }
}
