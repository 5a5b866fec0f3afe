use tidegate_sdk::Record;

#[tidegate_sdk::function]
fn handle(record: Record) -> u64 {
    record.offset() as u64
}

fn main() {}
