//! The identity: every record comes out as it went in.

use tidegate_sdk::{Message, Record};

/// The record itself. Nothing of it is copied: the host is told to take its fields from the source.
#[tidegate_sdk::function]
pub fn echo(record: Record) -> Message {
    record.forward()
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let source = testing::Record::new().key("k").value("v").header("h", "x");
        assert_eq!(echo(source.view()), source.view().forward());
    }
}
