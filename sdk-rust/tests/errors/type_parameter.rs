use tidegate_sdk::Record;

#[tidegate_sdk::function]
fn handle<T: Default>(record: Record) {
    let _ = (record, T::default());
}

fn main() {}
