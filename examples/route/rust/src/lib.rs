//! A router: a header says which topic a record goes to.

use tidegate_sdk::{Message, Record};

/// Sends a record on as it is, to the topic of its region. Without a region that is known here no topic
/// is named, and that is the output of the trigger. If there are several such headers, the first counts.
#[tidegate_sdk::function]
pub fn route(record: Record) -> Message {
    let region = record.header("region").and_then(|header| header.value);
    match region {
        Some(b"eu") => record.forward().with_topic("requests-eu"),
        Some(b"us") => record.forward().with_topic("requests-us"),
        _ => record.forward(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn the_region_chooses_the_topic() {
        let topic = |region: Option<&str>| {
            let record = testing::Record::new().header("region", region);
            testing::run::<route>([record]).messages[0].topic.clone()
        };
        assert_eq!(topic(Some("eu")).as_deref(), Some("requests-eu"));
        assert_eq!(topic(Some("mars")), None);
        assert_eq!(topic(None), None);
    }
}
