//! A function that asks by HTTP through the SDK, as authors do, some records at a time.
//!
//! | value | what happens |
//! |---|---|
//! | `{"get": URL}` | GET |
//! | `{"post": URL, "json": VALUE}` | POST of the value |
//! | `{"checked": URL}` | GET, and a failure by its status |
//! | `{"rejected": URL}` | GET, and a reject if there is no answer |
//! | `{"within": URL, "ms": N}` | GET, with a timeout |
//! | `{"bytes": URL, "count": N}` | POST of so many bytes |
//! | `{"with": NAME, "url": URL}` | GET, with a header of this name, and the longest timeout there is |
//! | `{"headed": URL, "count": N}` | GET, with a header of so many bytes |
//!
//! The answer is `STATUS BODY`, what is above 40 bytes of it cut. Two headers, `begin` and `end`, have
//! places in the order of all beginnings and ends of this instance.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidegate_sdk::http::{self, Request, Response};
use tidegate_sdk::{Message, OrReject, Record, Result};

#[derive(Deserialize)]
#[serde(untagged)]
enum Question {
    Get { get: String },
    Post { post: String, json: Value },
    Checked { checked: String },
    Rejected { rejected: String },
    Within { within: String, ms: u64 },
    Bytes { bytes: String, count: usize },
    With { with: String, url: String },
    Headed { headed: String, count: usize },
}

static ORDER: AtomicUsize = AtomicUsize::new(0);

fn next() -> String {
    ORDER.fetch_add(1, Ordering::Relaxed).to_string()
}

#[tidegate_sdk::function(json, concurrent = 64)]
async fn ask(question: Question, record: Record) -> Result<Message> {
    let begin = next();
    log::debug!("nobody reads this");
    let response = answer(question).await?;
    log::info!("the answer is {}", response.status());
    let text = format!("{} {}", response.status(), response.text().await?);
    let start: String = text.chars().take(44).collect();
    Ok(record.with_value(start).add_header("begin", begin).add_header("end", next()))
}

async fn answer(question: Question) -> Result<Response> {
    Ok(match question {
        Question::Get { get } => http::get(get).await?,
        Question::Post { post, json } => Request::post(post).header("x-by", "tests").json(&json).send().await?,
        Question::Checked { checked } => http::get(checked).await?.error_for_status()?,
        Question::Rejected { rejected } => http::get(rejected).await.or_reject()?,
        Question::Within { within, ms } => Request::get(within).timeout(Duration::from_millis(ms)).send().await?,
        Question::Bytes { bytes, count } => Request::post(bytes).body(vec![b'x'; count]).send().await?,
        Question::With { with, url } => Request::get(url).header(with, "x").timeout(Duration::MAX).send().await?,
        Question::Headed { headed, count } => Request::get(headed).header("x-long", "x".repeat(count)).send().await?,
    })
}
