use tidegate_sdk::{Message, Record};

#[tidegate_sdk::function(concurrent = 8)]
fn handle(record: Record) -> Message {
    record.forward()
}

fn main() {}
