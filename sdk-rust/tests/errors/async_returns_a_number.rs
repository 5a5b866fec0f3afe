use tidegate_sdk::Record;

#[tidegate_sdk::function]
async fn length(record: Record) -> usize {
    record.value().unwrap_or_default().len()
}

fn main() {}
