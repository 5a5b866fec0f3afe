//! Does with files what the value of the record says: `read PATH`, `write PATH`, `remove PATH`,
//! `list PATH`, `connect ADDRESS`. The message says what came of it, or `refused` with the error.

use std::io::{Error, Result};
use std::{fs, net};

use tidegate_sdk::{Message, Record};

/// What is written to files.
const CONTENT: &str = "written by a function";

#[tidegate_sdk::function]
pub fn obey(record: Record) -> tidegate_sdk::Result<Message> {
    let answer = act(record.value_str()?).unwrap_or_else(|error| format!("refused: {error}"));
    Ok(record.with_value(answer))
}

fn act(order: &str) -> Result<String> {
    let (word, path) = order.split_once(' ').unwrap_or((order, ""));
    match word {
        "read" => fs::read_to_string(path),
        "write" => fs::write(path, CONTENT).map(|()| "done".to_owned()),
        "remove" => fs::remove_file(path).map(|()| "done".to_owned()),
        "list" => {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            let mut names = entries.collect::<Result<Vec<String>>>()?;
            names.sort();
            Ok(names.join(" "))
        }
        "connect" => net::TcpStream::connect(path).map(|_| "done".to_owned()),
        _ => Err(Error::other("unknown order")),
    }
}
