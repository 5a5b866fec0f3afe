use tidegate_sdk::{Message, Record};

#[tidegate_sdk::function]
fn handle<'a>(record: &Record<'a>) -> Message<'a> {
    record.forward()
}

fn main() {}
