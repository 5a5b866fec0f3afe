use tidegate_sdk::{Batch, Message, Outcome};

#[tidegate_sdk::function]
fn handle<'a>(batch: Batch<'a>, _outcome: &mut Outcome) -> Vec<Message<'a>> {
    batch.iter().map(|record| record.forward()).collect()
}

fn main() {}
