use tidegate_sdk::Batch;

#[tidegate_sdk::function]
fn handle(batch: Batch) {}

fn main() {}
