#[tidegate_sdk::function]
struct Function;

fn main() {}
