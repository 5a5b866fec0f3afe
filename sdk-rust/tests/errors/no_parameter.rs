#[tidegate_sdk::function]
fn handle() {}

fn main() {}
