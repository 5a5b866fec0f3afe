//! A function that asks by HTTP what the value of its record says, and answers with what came of it.
//!
//! | value | what happens |
//! |---|---|
//! | `get URL` | GET |
//! | `post URL BYTES` | POST of so many bytes |
//! | `follow URL` | GET, and GET again of where a redirect points |
//! | `first URL MS`, `between URL MS` | GET, with a limit for the first byte, or for each pause |
//! | `drop URL` | GET, dropped before there is an answer |
//! | `part URL` | GET, the answer dropped after its first bytes |
//! | `keep URL` | GET, the answer kept for ever and never read |
//! | `connect URL` | CONNECT |
//! | `try URL` | GET; an error of it is a retry with the error's name |
//! | `hang URL BYTES` | POST of so many bytes that is not finished, and no end of the call |
//! | `trap URL BYTES` | the same, and a trap a moment later |
//! | `long` | the parts of a first line, as long as they may be and longer: what was refused |
//!
//! The answer is `STATUS BYTES START`, the number of bytes of the body and how it starts; or
//! `error CODE`; or `cut CODE BYTES` if the body ended in an error after so many bytes.

use std::time::Duration;

use tidegate_sdk::{Error, Message, Record};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use wasip2::io::streams::{InputStream, StreamError};

#[tidegate_sdk::function]
fn ask(record: Record) -> tidegate_sdk::Result<Message> {
    let words: Vec<&str> = record.value_str()?.split(' ').collect();
    let number = || words.get(2).and_then(|number| number.parse().ok()).unwrap_or_default();
    let (&command, url) = (words.first().unwrap_or(&""), words.get(1).copied().unwrap_or_default());
    let answer = match command {
        "try" => Ok(get(url, None).map_err(|code| Error::retry(format!("error {}", name(&code))))?),
        "hang" | "trap" => {
            let _unfinished = begin(&Method::Post, url, None, usize::try_from(number()).unwrap_or(0));
            let end = if command == "trap" { Duration::from_millis(20) } else { Duration::from_secs(3600) };
            std::thread::sleep(end);
            panic!("told to trap");
        }
        "long" => Ok(long()),
        "get" => get(url, None),
        "post" => send(&Method::Post, url, None, usize::try_from(number()).unwrap_or(0)).and_then(read),
        "follow" => follow(url),
        "first" | "between" => get(url, Some(limit(command, number()))),
        "drop" => {
            let pending = start(&Method::Get, url, None, 0);
            pending.map(|pending| {
                drop(pending);
                "dropped".to_owned()
            })
        }
        "part" => send(&Method::Get, url, None, 0).map(|answer| part(&answer)),
        "keep" => send(&Method::Get, url, None, 0).map(|answer| {
            std::mem::forget(answer);
            "kept".to_owned()
        }),
        "connect" => send(&Method::Connect, url, None, 0).and_then(read),
        _ => return Err(Error::reject("no such command")),
    };
    Ok(record.with_value(answer.unwrap_or_else(|code| format!("error {}", name(&code)))))
}

fn get(url: &str, options: Option<RequestOptions>) -> Result<String, ErrorCode> {
    send(&Method::Get, url, options, 0).and_then(read)
}

fn follow(url: &str) -> Result<String, ErrorCode> {
    let answer = send(&Method::Get, url, None, 0)?;
    let location = answer.headers().get("location").pop().unwrap_or_default();
    get(&String::from_utf8_lossy(&location), None)
}

fn limit(which: &str, ms: u64) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = u64::try_from(Duration::from_millis(ms).as_nanos()).ok();
    let set = match which {
        "first" => options.set_first_byte_timeout(nanoseconds),
        _ => options.set_between_bytes_timeout(nanoseconds),
    };
    set.expect("it is supported");
    options
}

/// Begins a request, and sends its body.
fn start(
    method: &Method,
    url: &str,
    options: Option<RequestOptions>,
    body_bytes: usize,
) -> Result<FutureIncomingResponse, ErrorCode> {
    let (pending, body) = begin(method, url, options, body_bytes)?;
    if let Some(body) = body {
        OutgoingBody::finish(body, None)?;
    }
    Ok(pending)
}

/// The same without the end of the body, which is there if the other side took all of it.
fn begin(
    method: &Method,
    url: &str,
    options: Option<RequestOptions>,
    body_bytes: usize,
) -> Result<(FutureIncomingResponse, Option<OutgoingBody>), ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let set = request.set_method(method).and(request.set_scheme(Some(&scheme)));
    set.and(request.set_path_with_query(Some(path))).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let body = request.body().expect("it was not taken");
    let pending = outgoing_handler::handle(request, options)?;
    let mut left = body_bytes;
    if left > 0 {
        let stream = body.write().expect("it was not taken");
        while left > 0 {
            let chunk = left.min(4096);
            if stream.blocking_write_and_flush(&vec![b'x'; chunk]).is_err() {
                // The answer says why.
                break;
            }
            left -= chunk;
        }
    }
    Ok((pending, (left == 0).then_some(body)))
}

fn long() -> String {
    let request = OutgoingRequest::new(Fields::new());
    let text = |bytes: usize| "x".repeat(bytes);
    let set = [
        ("method 64", request.set_method(&Method::Other(text(64)))),
        ("method 65", request.set_method(&Method::Other(text(65)))),
        ("scheme 64", request.set_scheme(Some(&Scheme::Other(text(64))))),
        ("scheme 65", request.set_scheme(Some(&Scheme::Other(text(65))))),
        ("authority 300", request.set_authority(Some(&text(300)))),
        ("authority 301", request.set_authority(Some(&text(301)))),
        ("path 16384", request.set_path_with_query(Some(&format!("/{}", text(16383))))),
        ("path 16385", request.set_path_with_query(Some(&format!("/{}", text(16384))))),
    ];
    let refused: Vec<&str> = set.iter().filter(|(_, result)| result.is_err()).map(|(part, _)| *part).collect();
    refused.join(", ")
}

/// The head of the answer.
fn send(
    method: &Method,
    url: &str,
    options: Option<RequestOptions>,
    body_bytes: usize,
) -> Result<IncomingResponse, ErrorCode> {
    let pending = start(method, url, options, body_bytes)?;
    pending.subscribe().block();
    pending.get().expect("it is ready").expect("it was not taken")
}

#[allow(clippy::needless_pass_by_value, reason = "it is over when it was read")]
fn read(answer: IncomingResponse) -> Result<String, ErrorCode> {
    let body = answer.consume().expect("it was not taken");
    let stream = body.stream().expect("it was not taken");
    let (mut bytes, mut start) = (0, Vec::new());
    let end = loop {
        match stream.blocking_read(64 << 10) {
            Ok(chunk) => {
                bytes += chunk.len();
                start.extend(chunk.into_iter().take(40_usize.saturating_sub(start.len())));
            }
            Err(StreamError::Closed) => break None,
            Err(StreamError::LastOperationFailed(error)) => break Some(http_error_code(&error)),
        }
    };
    Ok(match end {
        None => format!("{} {bytes} {}", answer.status(), String::from_utf8_lossy(&start)),
        Some(code) => format!("cut {} {bytes}", code.as_ref().map_or("nothing".to_owned(), name)),
    })
}

fn part(answer: &IncomingResponse) -> String {
    let body: IncomingBody = answer.consume().expect("it was not taken");
    let stream: InputStream = body.stream().expect("it was not taken");
    match stream.blocking_read(10) {
        Ok(chunk) => format!("{} of more", chunk.len()),
        Err(error) => format!("{error:?}"),
    }
}

/// As in `ErrorCode::HttpRequestDenied`, without what it carries.
fn name(code: &ErrorCode) -> String {
    let text = format!("{code:?}");
    let text = text.strip_prefix("ErrorCode::").unwrap_or(&text);
    text.split(['(', ' ']).next().unwrap_or(text).to_owned()
}
