use tidegate_sdk::Record;

struct Function;

impl Function {
    #[tidegate_sdk::function]
    fn handle(&self, _record: Record) {}
}

fn main() {}
