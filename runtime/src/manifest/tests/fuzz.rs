//! Damaged and random texts: whatever a text is, it is taken or refused, and a refusal can be
//! drawn. None of it may panic.

use std::fs;

use super::{read, testdata};

/// Pieces that mean something somewhere.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "\"", "'", "\"\"\"", "[", "]", "[[", "{", "}", "=", ".", ",", "\n", "\r\n", "\r", "#", "$",
    "${", "${SET}", "${UNSET}", "${HOSTILE}", ":-", "\\", "\\u0000", "\0", "\t", "ä", "😀",
    "\u{202e}", "\u{feff}", "-1", "0", "1.5", "nan", "-inf", "99999999999999999999", "0x7f", "true",
    "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", "s", "ms", "MiB", "99999999999EiB", "é=1",
    "cluster", "function", "trigger", "main", "orders", "[trigger.orders]", "start = { 0 = 1 }",
    "$__serde_spanned_private_value", "$__toml_private_datetime = 1",
];

fn seed() -> u64 {
    let seed = match std::env::var("FUZZ_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    // Shown if the test fails; FUZZ_SEED runs it again.
    println!("FUZZ_SEED={seed}");
    seed
}

fn rounds() -> usize {
    std::env::var("FUZZ_ROUNDS").map_or(2_000, |rounds| rounds.parse().unwrap())
}

/// The count of errors, drawn. What was refused has at least one.
fn refuse(text: &str) -> usize {
    read(text).map_or_else(
        |errors| {
            assert!(errors.len() > 0 && !errors.render(true).is_empty());
            errors.len()
        },
        |_| 0,
    )
}

/// A place in the text where a character begins, or its end.
fn place(random: &mut fastrand::Rng, text: &str) -> usize {
    let mut at = random.usize(..=text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn damage(random: &mut fastrand::Rng, text: &mut String) {
    let (a, b) = (place(random, text), place(random, text));
    let near = text.ceil_char_boundary(a.saturating_add(random.usize(..12)));
    match random.u8(..6) {
        0 => text.replace_range(a..near, ""),
        1 => text.replace_range(a..near, random.choice(PIECES).unwrap()),
        2 => text.insert_str(a, random.choice(PIECES).unwrap()),
        3 => {
            let again = text[a.min(b)..a.max(b)].to_owned();
            text.insert_str(a, &again);
        }
        4 => text.truncate(text.floor_char_boundary(a.max(text.len() / 2))),
        _ => {
            // Two words of the text change places, as in a slip of the clipboard.
            let words: Vec<&str> = text.split(' ').collect();
            let (x, y) = (random.usize(..words.len()), random.usize(..words.len()));
            let mut words = words.clone();
            words.swap(x, y);
            *text = words.join(" ");
        }
    }
    text.truncate(text.floor_char_boundary(20_000));
}

#[test]
fn damaged_manifests_are_refused_without_panic() {
    let mut texts = Vec::new();
    for folder in ["good", "bad"] {
        for entry in fs::read_dir(testdata().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts.sort();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut refused = 0;
    for _ in 0..rounds() {
        let mut text = random.choice(&texts).unwrap().clone();
        for _ in 0..random.usize(1..6) {
            damage(&mut random, &mut text);
        }
        refused += usize::from(refuse(&text) > 0);
    }
    assert!(refused > rounds() / 2, "only {refused} refused");
}

#[test]
fn heaps_of_pieces_are_refused_without_panic() {
    let mut random = fastrand::Rng::with_seed(seed());
    for _ in 0..rounds() {
        let pieces = random.usize(..40);
        let text: String = (0..pieces).map(|_| *random.choice(PIECES).unwrap()).collect();
        refuse(&text);
    }
}

#[test]
fn any_value_at_any_place_is_refused_without_panic() {
    const VALUES: &[&str] = &[
        "\"\"",
        "\"\\u0000\"",
        "\"99999999999999999999999s\"",
        "\"9e99EiB\"",
        "\"0.0000000000000000001s\"",
        "\"1.\"",
        "\"18446744073709551615GiB\"",
        "18446744073709551616",
        "-9223372036854775808",
        "nan",
        "{}",
        "{ 2147483648 = 0 }",
        "{ -1 = 0 }",
        "{ 0 = 9223372036854775807 }",
        "{ \"\" = {} }",
        "[]",
        "[{}]",
        "\"+9999-12-31T23:59:59Z\"",
        "\"9999-12-31T23:59:59-23:59\"",
        "\"0000-01-01T00:00:00Z\"",
        "\"2016-12-31T23:59:60Z\"",
        "9999-12-31T23:59:59.999999999-23:59",
        "\"2026-01-31T00:00Z\"",
        "\"://\"",
        "\",\"",
        "\":\"",
        "\":0\"",
        "\"[::]:\"",
        "\"localhost:99999\"",
        "\"a://:1\"",
    ];
    let sample = fs::read_to_string(testdata().join("good/everything.toml")).unwrap();
    for (index, line) in sample.lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        for value in VALUES {
            let changed = format!("{key} = {value}");
            let lines = sample.lines().enumerate();
            let lines = lines.map(|(at, line)| if at == index { changed.as_str() } else { line });
            refuse(&lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    assert!(refuse(&format!("a = {}", "[".repeat(50_000))) > 0);
    assert!(refuse(&format!("a = {}{}", "{a=".repeat(10_000), "}".repeat(10_000))) > 0);
    assert!(refuse(&"a.".repeat(10_000)) > 0);
    assert!(refuse(&format!("{}b = 1", "a.".repeat(70))) > 0);
}
