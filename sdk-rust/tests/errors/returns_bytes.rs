use tidegate_sdk::{Record, Result};

#[tidegate_sdk::function]
fn handle(record: Record) -> Result<&[u8]> {
    Ok(record.value().unwrap_or_default())
}

fn main() {}
