//! What grants a right that is missing: statements of IAM policies, and commands for Kafka's ACLs. Pure.

use serde_json::json;

use crate::manifest::{Cluster, ObjectName};

/// What AWS calls the part of itself that a region belongs to.
fn partition(region: Option<&str>) -> &'static str {
    match region.unwrap_or_default() {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The ARN of a bucket.
pub fn bucket(name: &str, region: Option<&str>) -> String {
    format!("arn:{}:s3:::{name}", partition(region))
}

/// The ARN of an object.
pub fn object(name: &ObjectName, region: Option<&str>) -> String {
    format!("{}/{}", bucket(name.bucket(), region), name.key())
}

/// The statement of a policy that allows actions.
pub fn statement(actions: &[&str], resource: &str) -> String {
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": resource });
    format!("add to the policy of its role:\n{statement:#}")
}

/// The command that allows an operation on a topic.
pub fn acl(cluster: &Cluster, operation: &str, topic: &str) -> String {
    let user = cluster.properties.get("sasl.username").map_or("NAME", String::as_str);
    format!(
        "kafka-acls.sh --bootstrap-server {} --add \\\n  --allow-principal User:{user} --operation {operation} --topic {topic}",
        cluster.brokers
    )
}

/// The command that creates a topic.
pub fn creation(cluster: &Cluster, topic: &str, partitions: &str, settings: &[&str]) -> String {
    let mut command = format!(
        "kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions {partitions}",
        cluster.brokers
    );
    for setting in settings {
        command.push_str(" \\\n  --config ");
        command.push_str(setting);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_actions_and_the_object() {
        let name = ObjectName::new("fns", "a/b.wasm").expect("a name");
        let text = statement(&["s3:GetObject"], &object(&name, Some("cn-north-1")));
        let json = text.split_once('\n').map(|(_, json)| json).expect("two parts");
        let read: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(read["Resource"], "arn:aws-cn:s3:::fns/a/b.wasm");
        assert_eq!(read["Action"][0], "s3:GetObject");
        assert_eq!(bucket("fns", None), "arn:aws:s3:::fns");
    }

    #[test]
    fn an_acl_is_for_the_user_of_the_cluster() {
        let mut cluster = Cluster::at("kafka:9092").expect("a cluster");
        assert!(acl(&cluster, "Read", "t").contains("User:NAME --operation Read --topic t"));
        cluster.properties.insert("sasl.username".to_owned(), "node".to_owned());
        assert!(acl(&cluster, "Read", "t").contains("User:node "));
    }
}
