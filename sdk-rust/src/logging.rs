//! The logger behind the crate `log`: lines on standard error, which the runtime takes into its log.

use std::io::{self, Write};
use std::sync::Once;

use env_logger::{Builder, Env};
use log::Record;

/// What is written unless `RUST_LOG` says otherwise.
const DEFAULT: &str = "info";

/// Sets the logger up, once in the life of an instance.
pub(crate) fn set_up() {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        let mut builder = Builder::from_env(Env::default().default_filter_or(DEFAULT));
        // If there is a logger already, it is the author's, and stays.
        let _ = builder.format(write).try_init();
    });
}

/// Without the time: the runtime knows it.
fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    writeln!(out, "{} {}: {}", record.level(), record.target(), record.args())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_level_target_and_message() {
        let mut line = Vec::new();
        let mut builder = Record::builder();
        builder.level(log::Level::Warn).target("orders::price");
        write(&mut line, &builder.args(format_args!("no price of {}", "tea")).build()).expect("memory takes it");
        assert_eq!(line, b"WARN orders::price: no price of tea\n");
    }

    #[test]
    fn setting_it_up_again_changes_nothing() {
        set_up();
        let level = log::max_level();
        log::set_max_level(log::LevelFilter::Off);
        set_up();
        assert_eq!(log::max_level(), log::LevelFilter::Off);
        log::set_max_level(level);
    }
}
