//! The logger behind the crate `log`: lines on standard error, which the runtime takes into its log.

use std::io::{self, Write};
use std::sync::Once;

use env_logger::{Builder, Env};
use log::Record;

/// Where the runtime tells from which level on it logs; it drops what is below that anyway.
const LEVEL: &str = "TIDEGATE_LOG";
/// What is written unless the runtime or `RUST_LOG` says otherwise.
const DEFAULT: &str = "info";

/// Sets the logger up, once in the life of an instance.
pub(crate) fn set_up() {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        let level = std::env::var(LEVEL).unwrap_or_else(|_| DEFAULT.to_owned());
        let mut builder = Builder::from_env(Env::default().default_filter_or(level));
        // If there is a logger already, it is the author's, and stays.
        let _ = builder.format(write).try_init();
    });
}

/// In the form that the runtime takes the level from, in each of several lines. Without the time: the
/// runtime knows it.
fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let text = format!("{}: {}", record.target(), record.args());
    text.lines().try_for_each(|line| writeln!(out, "level={} {line}", record.level()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_level_target_and_message() {
        let written = |level, text: &str| {
            let mut lines = Vec::new();
            let mut builder = Record::builder();
            builder.level(level).target("orders::price");
            write(&mut lines, &builder.args(format_args!("{text}")).build()).expect("memory takes it");
            String::from_utf8(lines).expect("text")
        };
        assert_eq!(written(log::Level::Warn, "no price of tea"), "level=WARN orders::price: no price of tea\n");
        let expected = "level=ERROR orders::price: no price\nlevel=ERROR   of tea\n";
        assert_eq!(written(log::Level::Error, "no price\n  of tea\n"), expected);
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
