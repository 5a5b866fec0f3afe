use tidegate_sdk::Record;

#[tidegate_sdk::function(yaml)]
fn handle(_record: Record) {}

fn main() {}
