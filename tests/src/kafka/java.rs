//! A foreign client: the console consumer that comes with Kafka.

use std::fs;

use super::{Kafka, Topic, jars};

impl Kafka {
    /// Reads `count` records of the topic from its beginning, committed ones only, with a client
    /// that shares no code with the one under test. Takes a second and a half to start, and gives
    /// up after 60 s without a record: then it fails with what the client said.
    ///
    /// Returns the bytes of all values; a null value is none.
    #[track_caller]
    pub fn java_consume(&self, topic: &Topic, count: usize) -> usize {
        let folder = tempfile::tempdir().expect("a folder for what is read");
        let values = folder.path().join("values");
        let output = jars::java()
            .args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--from-beginning"])
            .args(["--isolation-level", "read_committed", "--timeout-ms", "60000"])
            .args(["--bootstrap-server", self.bootstrap(), "--topic", topic.name()])
            .args(["--max-messages", &count.to_string()])
            .args(["--formatter-property", "line.separator=", "--formatter-property", "null.literal="])
            .stdout(fs::File::create(&values).expect("a file for what is read"))
            .stderr(std::process::Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .expect("java starts");
        let said = String::from_utf8_lossy(&output.stderr);
        let number = |line: &str| line.strip_prefix("Processed a total of ")?.split_whitespace().next()?.parse().ok();
        let records: Option<usize> = said.lines().find_map(number);
        assert_eq!(
            records,
            Some(count),
            "records of {topic} that the console consumer read, {}:\n{said}",
            output.status
        );
        let value_bytes = fs::metadata(&values).expect("what is read has a length").len();
        usize::try_from(value_bytes).expect("fits")
    }
}
