struct Order {
    amount: u64,
}

#[tidegate_sdk::function(json)]
fn handle(order: Order) {
    let _ = order.amount;
}

fn main() {}
