//! New projects, from templates.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, Language};
use crate::manifest::Name;

/// A new project.
#[derive(Clone, Debug)]
pub struct Project<'a> {
    /// Name of the function and of its crate or package.
    pub name: &'a str,
    pub language: Language,
    pub template: Template,
    pub sdk: Sdk,
}

/// The function that a new project begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// A record at a time.
    Record,
    /// A batch at a time.
    Batch,
    /// Typed JSON in and out.
    Json,
    /// The same, with what another service answers by HTTP.
    Http,
}

/// A file and its text, in which words such as `{{name}}` are replaced.
type File = (&'static str, &'static str);

/// The files of every project.
const ALL: &[File] = &[("tidegate.toml", include_str!("templates/tidegate.toml.in"))];
const RUST: &[File] = &[
    ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
    ("README.md", include_str!("templates/rust/README.md.in")),
    (".gitignore", include_str!("templates/rust/gitignore.in")),
];
const GO: &[File] = &[
    ("go.mod", include_str!("templates/go/go.mod.in")),
    ("README.md", include_str!("templates/go/README.md.in")),
    (".gitignore", include_str!("templates/go/gitignore.in")),
];

impl Template {
    /// The files of the function itself.
    fn files(self, language: Language) -> &'static [File] {
        match (language, self) {
            (Language::Rust, Self::Record) => &[("src/lib.rs", include_str!("templates/rust/record.rs.in"))],
            (Language::Rust, Self::Batch) => &[("src/lib.rs", include_str!("templates/rust/batch.rs.in"))],
            (Language::Rust, Self::Json) => &[("src/lib.rs", include_str!("templates/rust/json.rs.in"))],
            (Language::Rust, Self::Http) => &[("src/lib.rs", include_str!("templates/rust/http.rs.in"))],
            (Language::Go, Self::Record) => &[
                ("main.go", include_str!("templates/go/record.go.in")),
                ("main_test.go", include_str!("templates/go/record_test.go.in")),
            ],
            (Language::Go, Self::Batch) => &[
                ("main.go", include_str!("templates/go/batch.go.in")),
                ("main_test.go", include_str!("templates/go/batch_test.go.in")),
            ],
            (Language::Go, Self::Json) => &[
                ("main.go", include_str!("templates/go/json.go.in")),
                ("main_test.go", include_str!("templates/go/json_test.go.in")),
            ],
            (Language::Go, Self::Http) => &[
                ("main.go", include_str!("templates/go/http.go.in")),
                ("main_test.go", include_str!("templates/go/http_test.go.in")),
            ],
        }
    }

    /// Its golden cases: the same in every language, but for what an SDK says of trouble.
    fn cases(self, language: Language) -> &'static [File] {
        match (self, language) {
            (Self::Record, _) => &[("cases/first.ndjson", include_str!("templates/cases/record.ndjson.in"))],
            (Self::Batch, _) => &[("cases/first.ndjson", include_str!("templates/cases/batch.ndjson.in"))],
            (Self::Json, _) => &[("cases/first.ndjson", include_str!("templates/cases/json.ndjson.in"))],
            (Self::Http, Language::Rust) => &[
                ("cases/known.ndjson", include_str!("templates/cases/http/known.ndjson.in")),
                ("cases/unknown.ndjson", include_str!("templates/cases/http/unknown.ndjson.in")),
                ("cases/trouble.ndjson", include_str!("templates/cases/http/trouble.rust.ndjson.in")),
            ],
            (Self::Http, Language::Go) => &[
                ("cases/known.ndjson", include_str!("templates/cases/http/known.ndjson.in")),
                ("cases/unknown.ndjson", include_str!("templates/cases/http/unknown.ndjson.in")),
                ("cases/trouble.ndjson", include_str!("templates/cases/http/trouble.go.ndjson.in")),
            ],
        }
    }

    /// The command that tries it without a broker once it is built. With HTTP that is its golden cases, because a real
    /// call would need a server.
    pub fn trial(self) -> &'static str {
        match self {
            Self::Record | Self::Batch => "tidegate invoke --value 'hello'",
            Self::Json => r#"tidegate invoke --value '{"amount": 3, "unit_price": 5}'"#,
            Self::Http => "tidegate test",
        }
    }

    /// The keys of its function in the manifest.
    fn keys(self) -> &'static str {
        match self {
            Self::Record | Self::Batch | Self::Json => "# env = { GREETING = \"hello\" }\n# deadline = \"1s\"",
            Self::Http => {
                "# Who is asked for customers: set yours. Nobody else than allow-hosts may be asked.\n\
                 env = { API = \"https://api.example.com\" }\n\
                 allow-hosts = [\"https://api.example.com\"]\n\
                 # The records of a call may have to ask one after another: 16 times 500 ms.\n\
                 http = { timeout = \"500ms\" }\n\
                 deadline = \"10s\""
            }
        }
    }

    /// The line of the manifest that limits the records of a call, so that their requests fit into the deadline.
    fn batch(self) -> &'static str {
        match self {
            Self::Record | Self::Batch | Self::Json => "",
            Self::Http => "batch = { records = 16 }\n",
        }
    }

    /// What the author has to do before it runs, in whole lines.
    pub fn first(self) -> Option<&'static str> {
        match self {
            Self::Record | Self::Batch | Self::Json => None,
            Self::Http => Some(
                "Before `tidegate dev` set API in tidegate.toml: there is no https://api.example.com. It stands in\n\
                 allow-hosts and in the cases, too.\n",
            ),
        }
    }

    /// Crates that a Rust function needs beside the SDK, as lines of a `Cargo.toml`.
    fn crates(self) -> &'static str {
        match self {
            Self::Record | Self::Batch => "",
            Self::Json | Self::Http => "serde = { version = \"1\", features = [\"derive\"] }\n",
        }
    }

    /// The feature of the Rust SDK that a function needs.
    fn feature(self) -> Option<&'static str> {
        match self {
            Self::Record | Self::Batch | Self::Json => None,
            Self::Http => Some("http"),
        }
    }
}

/// Names that Rust reserves: cargo refuses them, or the crate cannot be used.
const RESERVED_BY_RUST: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Names that Go reserves.
const RESERVED_BY_GO: &[&str] = &["cmd", "internal", "main", "std", "vendor"];

/// The SDK that a project depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// The released version that fits this tidegate.
    Released,
    /// The folder `sdk-rust` or `sdk-go` of a checkout.
    Checkout(PathBuf),
}

/// The import path of the Go SDK.
const GO_MODULE: &str = "github.com/tidegate/tidegate/sdk-go";
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Sdk {
    /// The SDK in the checkout that this tidegate was built from.
    pub fn of_this_build(language: Language) -> Self {
        let folder = match language {
            Language::Rust => "../sdk-rust",
            Language::Go => "../sdk-go",
        };
        Self::Checkout(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
    }

    /// The requirement in the form of `Cargo.toml`, with a feature, or of `go.mod`.
    fn requirement(&self, language: Language, feature: Option<&str>) -> Result<String, Error> {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let features = feature.map(|name| format!(", features = [{}]", quoted(name))).unwrap_or_default();
        match (language, self) {
            (Language::Rust, Self::Released) if feature.is_none() => Ok(quoted(VERSION)),
            (Language::Rust, Self::Released) => Ok(format!("{{ version = {}{features} }}", quoted(VERSION))),
            (Language::Rust, Self::Checkout(folder)) => {
                let path = checkout(language, folder, "Cargo.toml")?;
                Ok(format!("{{ path = {}{features} }}", quoted(&path)))
            }
            (Language::Go, Self::Released) => Ok(format!("require {GO_MODULE} v{VERSION}")),
            (Language::Go, Self::Checkout(folder)) => {
                let path = checkout(language, folder, "go.mod")?;
                Ok(format!("require {GO_MODULE} v{VERSION}\n\nreplace {GO_MODULE} => {path:?}"))
            }
        }
    }
}

/// The absolute path of an SDK's folder.
fn checkout(language: Language, folder: &Path, file: &str) -> Result<String, Error> {
    let found = folder.canonicalize().ok().filter(|found| found.join(file).is_file());
    let path = found.as_deref().and_then(Path::to_str);
    path.map(str::to_owned).ok_or_else(|| Error::NoSdk { language, folder: folder.to_owned() })
}

/// Makes a project in a folder that is empty or does not exist.
pub fn create(project: &Project<'_>, folder: &Path) -> Result<(), Error> {
    let Project { name, language, template, ref sdk } = *project;
    check_name(name, language)?;
    let sdk = sdk.requirement(language, template.feature())?;
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(Error::NotEmpty(folder.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::file(folder)(error)),
    }
    let common = match language {
        Language::Rust => RUST,
        Language::Go => GO,
    };
    let own = template.files(language).iter().chain(template.cases(language));
    for (path, text) in ALL.iter().chain(common).chain(own) {
        let path = folder.join(path);
        let text = text
            .replace("{{name}}", name)
            .replace("{{sdk}}", &sdk)
            .replace("{{crates}}", template.crates())
            .replace("{{keys}}", template.keys())
            .replace("{{batch}}", template.batch())
            .replace("{{first}}", &template.first().map(|text| format!("{text}\n")).unwrap_or_default())
            .replace("{{trial}}", template.trial());
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(Error::file(&path))?;
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// The name must be valid for a crate or package and for a function in a manifest.
fn check_name(name: &str, language: Language) -> Result<(), Error> {
    let refused = |reason: String| Error::ProjectName { name: name.to_owned(), reason };
    Name::new(name).map_err(|rule| refused(rule.to_string()))?;
    let reserved = match language {
        Language::Rust => RESERVED_BY_RUST,
        Language::Go => RESERVED_BY_GO,
    };
    if reserved.contains(&name) {
        return Err(refused(format!("{language} keeps this word for itself")));
    }
    if name == "tidegate-sdk" {
        return Err(refused("the SDK is called that".to_owned()));
    }
    Ok(())
}
