//! New projects, from templates.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, Language};
use crate::manifest::Name;

/// What a new project is.
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
}

/// A file and its text, in which `{{name}}`, `{{sdk}}` and `{{value}}` are replaced.
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
        }
    }

    /// Its golden case, the same in every language.
    fn case(self) -> File {
        let text = match self {
            Self::Record => include_str!("templates/cases/record.ndjson.in"),
            Self::Batch => include_str!("templates/cases/batch.ndjson.in"),
            Self::Json => include_str!("templates/cases/json.ndjson.in"),
        };
        ("cases/first.ndjson", text)
    }

    /// A value that it does something with.
    pub fn sample(self) -> &'static str {
        match self {
            Self::Record | Self::Batch => "hello",
            Self::Json => r#"{"amount": 3, "unit_price": 5}"#,
        }
    }

    /// Crates that a Rust function needs beside the SDK, as lines of a `Cargo.toml`.
    fn crates(self) -> &'static str {
        match self {
            Self::Record | Self::Batch => "",
            Self::Json => "serde = { version = \"1\", features = [\"derive\"] }\n",
        }
    }
}

/// Names that Rust keeps for itself, so that cargo refuses them or the crate cannot be used.
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

/// Names that Go keeps for itself.
const RESERVED_BY_GO: &[&str] = &["cmd", "internal", "main", "std", "vendor"];

/// The SDK that a project depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// The released version that fits this tidegate.
    Released,
    /// The folder `sdk-rust` or `sdk-go` of a checkout.
    Checkout(PathBuf),
}

/// The Go SDK, as it is imported.
const GO_MODULE: &str = "github.com/tidegate/tidegate/sdk-go";
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Sdk {
    /// That of the checkout that this tidegate was built from.
    pub fn of_this_build(language: Language) -> Self {
        let folder = match language {
            Language::Rust => "../sdk-rust",
            Language::Go => "../sdk-go",
        };
        Self::Checkout(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
    }

    /// As `Cargo.toml` or `go.mod` wants it.
    fn requirement(&self, language: Language) -> Result<String, Error> {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        match (language, self) {
            (Language::Rust, Self::Released) => Ok(quoted(VERSION)),
            (Language::Rust, Self::Checkout(folder)) => {
                let path = checkout(language, folder, "Cargo.toml")?;
                Ok(format!("{{ path = {} }}", quoted(&path)))
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
    let sdk = sdk.requirement(language)?;
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
    for (path, text) in ALL.iter().chain(common).chain(template.files(language)).chain([&template.case()]) {
        let path = folder.join(path);
        let text = text
            .replace("{{name}}", name)
            .replace("{{sdk}}", &sdk)
            .replace("{{crates}}", template.crates())
            .replace("{{value}}", template.sample());
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(Error::file(&path))?;
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// A name is both that of a crate or package and that of a function in a manifest.
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
