#[derive(serde::Deserialize)]
struct Order {
    amount: u64,
}

struct Priced {
    total: u64,
}

#[tidegate_sdk::function(json)]
fn handle(order: Order) -> Priced {
    Priced { total: order.amount }
}

fn main() {}
