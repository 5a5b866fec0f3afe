#[derive(serde::Deserialize)]
struct Order {
    amount: u64,
}

#[tidegate_sdk::function]
fn handle(order: Order) {
    let _ = order.amount;
}

fn main() {}
