//! What a function is called with: what its manifest declares, and records.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use tidegate::author::{golden, invoke};
use tidegate::engine::Setup;
use tidegate::record::OwnedRecord;
use tidegate::record::batch::Batch;
use tidegate::tools::ndjson::RecordLine;

use crate::RECORDS;

/// An order, a payment and a line of a log in one, so that nearly every example has work with it.
const VALUE: &str =
    r#"{"id":"a1","amount":500,"currency":"EUR","country":"DE","level":"info","message":"one of 3 parcels"}"#;
const _: () = assert!(VALUE.len() == 100);

/// The only function and the only trigger of a project's manifest, which lies in it or beside it.
pub(crate) fn setup(project: &Path) -> anyhow::Result<Setup> {
    let manifests = [project.join("tidegate.toml"), project.join("../tidegate.toml")];
    let path = manifests.iter().find(|path| path.exists()).context("the project has no tidegate.toml")?;
    let declared = golden::load(path, &|_| None, &[])?;
    let function = declared.manifest.functions.into_values().next().context("the manifest has no function")?;
    let trigger = declared.manifest.triggers.into_values().next().context("the manifest has no trigger")?;
    Ok(invoke::setup(function, &trigger, &[]))
}

/// Records of 100 B, each with a key of its own.
pub(crate) fn of_100_bytes(headers: usize) -> Batch {
    let header = |number: usize| (format!("header-{number}").into_bytes(), Some(b"a value".to_vec()));
    let record = OwnedRecord {
        value: Some(VALUE.as_bytes().to_vec()),
        headers: (0..headers).map(header).collect(),
        ..OwnedRecord::default()
    };
    batch((0..RECORDS).map(|number| OwnedRecord { key: Some(format!("key-{number:012}").into()), ..record.clone() }))
}

/// The records of a project's golden cases that do not fail, over and over.
pub(crate) fn of_cases(project: &Path) -> anyhow::Result<Batch> {
    let mut records = Vec::new();
    for path in golden::find(project)? {
        let text = fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        // Each record is followed by what is expected of it.
        for pair in lines.windows(2).filter(|pair| pair[1].starts_with("{\"messages\"")) {
            let line = RecordLine::read(pair[0].as_bytes()).with_context(|| path.display().to_string())?;
            records.push(OwnedRecord {
                offset: 0,
                timestamp_ms: line.timestamp,
                key: line.key.0,
                value: line.value.0,
                headers: line.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            });
        }
    }
    ensure!(!records.is_empty(), "no case in {} has a record that does not fail", project.display());
    Ok(batch(records.into_iter().cycle().take(RECORDS)))
}

fn batch(records: impl Iterator<Item = OwnedRecord>) -> Batch {
    let mut batch = Batch::new("input".into(), 0);
    for (offset, record) in (0..).zip(records) {
        batch.push(&OwnedRecord { offset, ..record }, 1);
    }
    batch
}
