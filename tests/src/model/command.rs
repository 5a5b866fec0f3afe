//! The commands of the functions `hostile` and `gopher`, as far as their results can be known beforehand.

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Messages with these values; the rest is as in the record.
    Messages(Vec<Vec<u8>>),
    /// One message, like the record in everything.
    Copied,
    /// A dead letter.
    Dead,
}

/// The fate of a record with this value, when it is tried `attempts` times in all.
pub fn fate(value: Option<&[u8]>, attempts: u32) -> Fate {
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| command(text, attempts)).unwrap_or(Fate::Copied)
}

/// `name[:argument][;payload]`. None: not one of the commands, which are strict about which parts
/// they have.
fn command(text: &str, attempts: u32) -> Option<Fate> {
    let (head, payload) = split(text, ';');
    let (name, argument) = split(head, ':');
    let done = |payload: &str| Fate::Messages(vec![format!("done:{payload}").into_bytes()]);
    let done_on = |attempt: u32, payload| {
        if attempt <= attempts { done(payload) } else { Fate::Dead }
    };
    Some(match (name, argument, payload) {
        ("ok", None, Some(payload)) => done(payload),
        ("sleep", Some(ms), Some(payload)) => ms.parse::<u64>().ok().map(|_| done(payload))?,
        ("drop", None, None) => Fate::Messages(Vec::new()),
        ("many", Some(count), Some(payload)) => {
            let count: u32 = count.parse().ok()?;
            Fate::Messages((0..count).map(|n| format!("{payload}#{n}").into_bytes()).collect())
        }
        ("retry", Some(below), Some(payload)) => done_on(below.parse().ok()?, payload),
        ("trap" | "fatal", Some(up_to), Some(payload)) => {
            done_on(up_to.parse::<u32>().ok()?.saturating_add(1), payload)
        }
        ("reject", None, Some(_)) | ("trap" | "spin" | "bomb" | "overflow" | "deadlock", None, None) => Fate::Dead,
        ("exit", Some(status), None) => status.parse::<i32>().ok().map(|_| Fate::Dead)?,
        ("env" | "big" | "litter", Some(_), None)
        | ("to" | "part", Some(_), Some(_))
        | ("random" | "now" | "memory" | "leave" | "left", None, None) => {
            panic!("the model does not know what {text} ends in")
        }
        _ => return None,
    })
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &[&str]) {
        let expected = expected.iter().map(|value| value.as_bytes().to_vec()).collect();
        assert_eq!(fate(Some(value.as_bytes()), 3), Fate::Messages(expected), "{value}");
    }

    #[test]
    fn a_command_decides_the_messages() {
        check("ok;7", &["done:7"]);
        check("ok;", &["done:"]);
        check("ok;a;b", &["done:a;b"]);
        check("sleep:5;7", &["done:7"]);
        check("drop", &[]);
        check("many:3;7", &["7#0", "7#1", "7#2"]);
        check("many:0;7", &[]);
        check("retry:3;7", &["done:7"]);
        check("trap:2;7", &["done:7"]);
    }

    #[test]
    fn a_record_that_never_succeeds_is_dead() {
        for value in ["retry:4;7", "trap:3;7", "trap", "reject;no", "spin", "bomb", "exit:3", "overflow"] {
            assert_eq!(fate(Some(value.as_bytes()), 3), Fate::Dead, "{value}");
        }
    }

    #[test]
    fn what_is_no_command_is_copied() {
        for value in ["copy;7", "", "ok", "OK;7", "okay;7", "drop;7", "trap;7", "spin;7", "many:x;7", "trap:2", "log:7"]
        {
            assert_eq!(fate(Some(value.as_bytes()), 3), Fate::Copied, "{value:?}");
        }
        assert_eq!(fate(Some(b"ok;\xff"), 3), Fate::Copied);
        assert_eq!(fate(None, 3), Fate::Copied);
    }
}
