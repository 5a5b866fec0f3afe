//! What OPERATING.md says: its blocks can be read, its policies are those of Terraform, its codes those of the code,
//! and its links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use hcl_edit::structure::Body;
use serde_json::Value;
use tidegate_tests::place;

/// Who may do what on AWS, by the name of the policy.
const RIGHTS: &[(&str, &[&str])] = &[
    (
        "author",
        &[
            "s3:AbortMultipartUpload",
            "s3:GetBucketNotification",
            "s3:GetBucketVersioning",
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:ListBucket",
            "s3:ListBucketVersions",
            "s3:PutObject",
            "sqs:GetQueueAttributes",
        ],
    ),
    (
        "node",
        &[
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:ListBucket",
            "s3:ListBucketVersions",
            "sqs:DeleteMessage",
            "sqs:ReceiveMessage",
        ],
    ),
    ("operator", &["s3:DeleteObject", "s3:DeleteObjectVersion", "sqs:GetQueueAttributes", "sqs:PurgeQueue"]),
    ("queue", &["sqs:SendMessage"]),
];

/// The pages whose links are followed.
const PAGES: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "OPERATING.md",
    "README.md",
    "examples/README.md",
    "sdk-go/README.md",
    "sdk-rust/README.md",
];

type Policies = BTreeMap<String, BTreeSet<String>>;

/// A block of code, and the last line of text before it.
struct Block {
    language: String,
    before: String,
    text: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(place::repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of code of a page, and the text without them.
fn blocks(page: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        match line.strip_prefix("```") {
            Some(language) => {
                let before = prose.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
                let text = lines.by_ref().take_while(|line| !line.starts_with("```"));
                let text = text.map(|line| format!("{line}\n")).collect();
                blocks.push(Block { language: language.to_owned(), before, text });
            }
            None => prose.extend([line, "\n"]),
        }
    }
    (blocks, prose)
}

fn operating() -> Vec<Block> {
    let (blocks, _) = blocks(&read("OPERATING.md"));
    assert!(!blocks.is_empty(), "OPERATING.md has blocks");
    blocks
}

fn expected() -> Policies {
    let set = |actions: &[&str]| actions.iter().map(|action| (*action).to_owned()).collect();
    RIGHTS.iter().map(|(name, actions)| ((*name).to_owned(), set(actions))).collect()
}

/// The policies of the page: blocks of JSON with statements, by the name of the file that is said before.
fn policies_of_the_page() -> Policies {
    let mut policies = Policies::new();
    for block in operating().iter().filter(|block| block.language == "json") {
        let Ok(json) = serde_json::from_str::<Value>(&block.text) else { continue };
        let Some(statements) = json["Statement"].as_array() else { continue };
        let file = block.before.split('`').find(|word| word.ends_with(".json")).unwrap_or_default();
        let name = file.trim_end_matches(".json").trim_start_matches("tidegate-").trim_end_matches("-policy");
        let actions =
            statements.iter().flat_map(|statement| statement["Action"].as_array().expect("a list of actions"));
        let actions = actions.map(|action| action.as_str().expect("an action").to_owned());
        assert!(policies.insert(name.to_owned(), actions.collect()).is_none(), "{name} is there once");
    }
    policies
}

/// The files of Terraform, parsed.
fn terraform() -> Vec<(String, Body)> {
    let files = fs::read_dir(place::repository().join("deploy/terraform")).expect("a folder");
    let paths = files.map(|entry| entry.expect("an entry").path());
    let parsed = paths.filter(|path| path.extension().is_some_and(|end| end == "tf")).map(|path| {
        let text = fs::read_to_string(&path).expect("a text");
        let body = hcl_edit::parser::parse_body(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (text, body)
    });
    parsed.collect()
}

fn policies_of_terraform() -> Policies {
    let mut policies = Policies::new();
    for (_, body) in terraform() {
        for document in body.get_blocks("data").filter(|block| block.has_labels(&["aws_iam_policy_document"])) {
            let name = document.labels.get(1).expect("a name").as_str();
            for statement in document.body.get_blocks("statement") {
                let actions = statement.body.get_attribute("actions").expect("actions");
                let actions = actions.value.as_array().expect("a list of actions");
                let actions = actions.iter().map(|action| action.as_str().expect("an action").to_owned());
                policies.entry(name.to_owned()).or_default().extend(actions);
            }
        }
    }
    policies
}

#[test]
fn the_policies_of_the_page_and_of_terraform_give_the_same_rights() {
    assert_eq!(policies_of_the_page(), expected(), "in OPERATING.md");
    assert_eq!(policies_of_terraform(), expected(), "in deploy/terraform");
}

#[test]
fn terraform_declares_each_variable_that_it_uses_and_uses_each_that_it_declares() {
    let files = terraform();
    let declared = files.iter().flat_map(|(_, body)| body.get_blocks("variable"));
    let declared: BTreeSet<String> = declared.map(|block| block.labels[0].as_str().to_owned()).collect();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    // A variable's own validation uses it, and says nothing.
    let others = files.iter().filter(|(_, body)| body.get_blocks("variable").next().is_none());
    let used = others.flat_map(|(text, _)| text.split("var.").skip(1));
    let used: BTreeSet<String> =
        used.map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default().to_owned()).collect();
    assert_eq!(declared, used);
}

#[test]
fn the_blocks_of_the_page_can_be_read() {
    for Block { language, text, .. } in operating() {
        match &*language {
            "json" => {
                let read = serde_json::from_str::<Value>(&text);
                assert!(read.is_ok(), "{:?} in\n{text}", read.err());
            }
            "sh" => {
                let file = tempfile::NamedTempFile::new().expect("a file");
                fs::write(file.path(), &text).expect("written");
                let output = Command::new("sh").arg("-n").arg(file.path()).output().expect("a shell");
                assert!(output.status.success(), "{} in\n{text}", String::from_utf8_lossy(&output.stderr));
            }
            "toml" | "yaml" | "text" => {}
            other => panic!("a block of {other:?}"),
        }
    }
}

#[test]
fn the_page_says_what_to_do_about_each_condition() {
    let code = read("runtime/src/trigger/health.rs");
    let (_, code) = code.split_once("fn code(self)").expect("the codes");
    let (code, _) = code.split_once("\n    }\n").expect("the end of the function");
    let codes: BTreeSet<&str> = code.split('"').skip(1).step_by(2).collect();
    let page = read("OPERATING.md");
    let (_, table) = page.split_once("### Conditions of a trigger").expect("the table");
    let (table, _) = table.split_once("\n### ").expect("the next section");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), codes);
}

/// The anchor of a headline, as GitHub makes it.
fn anchor(headline: &str) -> String {
    let kept = headline.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = blocks(page);
    prose.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = place::repository();
    let mut broken = Vec::new();
    for page in PAGES {
        let (_, prose) = blocks(&read(page));
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let folder = root.join(page).parent().map(Path::to_path_buf).expect("a folder");
            let path = if file.is_empty() { root.join(page) } else { folder.join(file) };
            let is_there = match anchor {
                None => path.exists(),
                Some(anchor) => fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(anchor)),
            };
            broken.extend((!is_there).then(|| format!("  {page}: {link}")));
        }
    }
    assert!(broken.is_empty(), "links without an end:\n{}", broken.join("\n"));
}
