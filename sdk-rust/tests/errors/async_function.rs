use tidegate_sdk::{Message, Record};

#[tidegate_sdk::function]
async fn handle(record: Record<'_>) -> Message<'_> {
    record.forward()
}

fn main() {}
