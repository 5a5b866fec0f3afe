//! The metrics of a node, in the text format of Prometheus, or in that of OpenMetrics if the client asks for it.
//!
//! Nothing is kept here: a scrape reads the overview of the node, the measures of its triggers, what is known of the
//! fleet, and `/proc`. So the series of a trigger or function that is gone are gone too, and those of a revision when
//! two newer ones were adopted. The list of metrics for operators is in OPERATING.md, and a test compares both.

mod families;
mod node;
mod process;
#[cfg(test)]
mod tests;
mod triggers;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use self::families::Families;
use super::overview::Overview;
use super::relay::fleet::View;
use super::steer::Heard;

/// The content type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What metrics are made of.
#[derive(Clone)]
pub struct Scrape {
    pub overview: Overview,
    /// What is known of the fleet. `None`: the node has no relay.
    pub view: Option<View>,
    pub heard: Heard,
}

/// A text of metrics.
pub struct Exposition {
    pub content_type: &'static str,
    pub text: String,
}

impl Scrape {
    /// The metrics as text. `accept` is the header of that name.
    pub fn expose(self, accept: Option<&str>) -> Exposition {
        let is_openmetrics = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        let (content_type, written) = if is_openmetrics {
            (OPENMETRICS, text::encode(&mut text, &registry))
        } else {
            (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut text, &registry))
        };
        // A text in memory takes everything.
        debug_assert!(written.is_ok());
        Exposition { content_type, text }
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families::new(encoder);
        triggers::write(self, &mut families)?;
        node::write(self, &mut families)?;
        process::write(&mut families)
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scrape").finish_non_exhaustive()
    }
}
