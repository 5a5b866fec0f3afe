//! Redaction: e-mail addresses and the numbers of payment cards are masked, in values and in some
//! headers.
//!
//! It looks at bytes, not at characters, and puts a `*` for each. What it masks is whole characters of
//! ASCII, or whole runs of bytes beyond it, so UTF-8 stays UTF-8, and in bytes that are no text nothing is
//! shifted. When in doubt it masks too much. It is made for text: in JSON a card number that is not in
//! quotes would not stay a number.
//!
//! The key is not masked, because it decides about partition and order: leave personal data out of it.

use tidegate_sdk::{Message, Record};

/// Headers whose values are masked as well.
const HEADERS: [&str; 2] = ["user", "reply-to"];

/// Answers a record with itself, masked. Masked headers stand behind the others.
#[tidegate_sdk::function]
pub fn redact(record: Record) -> Message {
    let others = record.headers().filter(|header| !HEADERS.iter().any(|name| name.as_bytes() == header.name));
    let mut message = record.with_value(record.value().map(masked)).with_headers(others);
    for name in HEADERS {
        for header in record.headers().filter(|header| header.name == name.as_bytes()) {
            message = message.add_header(name, header.value.map(masked));
        }
    }
    message
}

fn masked(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    mask_addresses(&mut text);
    mask_cards(&mut text);
    text
}

/// Masks what stands around an `@`, if there is a dot behind it.
fn mask_addresses(text: &mut [u8]) {
    for at in 0..text.len() {
        if text[at] != b'@' {
            continue;
        }
        let (mut start, mut end) = (at, at + 1);
        while start > 0 && is_local(text[start - 1]) {
            start -= 1;
        }
        while end < text.len() && is_domain(text[end]) {
            end += 1;
        }
        // The full stop of a sentence is no part of it.
        while text[end - 1] == b'.' {
            end -= 1;
        }
        if start < at && text[at + 1..end].contains(&b'.') {
            text[start..end].fill(b'*');
        }
    }
}

/// A backslash is part of it: of an escape in JSON, such as `\n`, all is masked or nothing.
fn is_local(byte: u8) -> bool {
    is_domain(byte) || b"_%+'\\".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-' || byte >= 0x80
}

/// Masks card numbers but for their last four digits.
fn mask_cards(text: &mut [u8]) {
    let mut at = 0;
    while at < text.len() {
        let is_start = at == 0 || !text[at - 1].is_ascii_digit();
        let length = if is_start { card_length(&text[at..]) } else { 0 };
        let mut shown = 0;
        for byte in text[at..at + length].iter_mut().rev().filter(|byte| byte.is_ascii_digit()) {
            shown += 1;
            if shown > 4 {
                *byte = b'*';
            }
        }
        at += length.max(1);
    }
}

/// How many bytes the card number has that the text starts with; 0, if there is none. It has 13 to 19
/// digits, which may be in groups, and passes the check of Luhn. It starts with 2 to 6, as those of the
/// large networks do, and times in milliseconds do not.
fn card_length(text: &[u8]) -> usize {
    let mut length = 0;
    // Luhn doubles every other digit from the right, and where the right end is turns out later. So
    // there are two sums, one with the even digits from the left doubled, one with the odd ones.
    let (mut digits, mut sums) = (0, [0, 0]);
    if !matches!(text.first(), Some(b'2'..=b'6')) {
        return 0;
    }
    for at in 0..text.len() {
        let is_digit = |at: usize| at < text.len() && text[at].is_ascii_digit();
        if !is_digit(at) {
            if (text[at] == b' ' || text[at] == b'-') && is_digit(at + 1) {
                continue;
            }
            break;
        }
        let digit = u32::from(text[at] - b'0');
        sums[digits % 2] += 2 * digit - if digit > 4 { 9 } else { 0 };
        sums[(digits + 1) % 2] += digit;
        digits += 1;
        if digits > 19 {
            break;
        }
        if digits >= 13 && sums[digits % 2] % 10 == 0 && !is_digit(at + 1) {
            length = at + 1;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(String::from_utf8(masked(text.as_bytes())).as_deref(), Ok(expected));
    }

    #[test]
    fn addresses_are_masked_whole() {
        check("Ask joe.doe+x@mail.example.com.", "Ask **************************.");
        check("<a@b.c>,<d@e.f>", "<*****>,<*****>");
        check("jörg@exämple.de", "*****************");
        check(r"a:\njoe@example.com\n", r"a:*****************\n");
        check("@home, me@home, me@home., @b.c", "@home, me@home, me@home., @b.c");
    }

    #[test]
    fn cards_are_masked_but_for_the_last_four_digits() {
        check("4111111111111111", "************1111");
        check("on 12 4111 1111 1111 1111, thanks", "on 12 **** **** **** 1111, thanks");
        check("378282246310005/5555-5555-5555-4444", "***********0005/****-****-****-4444");
        check(
            "4111111111111112 1700000000000 41111111111111111111",
            "4111111111111112 1700000000000 41111111111111111111",
        );
    }
}
