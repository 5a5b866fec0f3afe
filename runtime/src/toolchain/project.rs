//! New projects, from templates.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::manifest::Name;

/// The files of a Rust project. `{{name}}` and `{{sdk}}` are replaced.
const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
    ("src/lib.rs", include_str!("templates/rust/lib.rs.in")),
    ("tidegate.toml", include_str!("templates/rust/tidegate.toml.in")),
    ("README.md", include_str!("templates/rust/README.md.in")),
    (".gitignore", include_str!("templates/rust/gitignore.in")),
];

/// Names that Rust keeps for itself, so that cargo refuses them or the crate cannot be used.
const RESERVED: &[&str] = &[
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

/// The SDK that a project depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// The released version that fits this tidegate.
    Released,
    /// The folder `sdk-rust` of a checkout.
    Checkout(PathBuf),
}

impl Sdk {
    /// That of the checkout that this tidegate was built from.
    pub fn of_this_build() -> Self {
        Self::Checkout(Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-rust"))
    }

    /// As a dependency in a `Cargo.toml`.
    fn requirement(&self) -> Result<String, Error> {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        match self {
            Self::Released => Ok(quoted(env!("CARGO_PKG_VERSION"))),
            Self::Checkout(folder) => {
                let found = folder.canonicalize().ok().filter(|found| found.join("Cargo.toml").is_file());
                let path = found.as_deref().and_then(Path::to_str).ok_or_else(|| Error::NoSdk(folder.clone()))?;
                Ok(format!("{{ path = {} }}", quoted(path)))
            }
        }
    }
}

/// Makes a Rust project in a folder that is empty or does not exist.
pub fn create(name: &str, folder: &Path, sdk: &Sdk) -> Result<(), Error> {
    check_name(name)?;
    let sdk = sdk.requirement()?;
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(Error::NotEmpty(folder.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::file(folder)(error)),
    }
    for (path, template) in RUST {
        let path = folder.join(path);
        let text = template.replace("{{name}}", name).replace("{{sdk}}", &sdk);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(Error::file(&path))?;
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// A name is both that of a crate and that of a function in a manifest.
fn check_name(name: &str) -> Result<(), Error> {
    let refused = |reason: String| Error::ProjectName { name: name.to_owned(), reason };
    Name::new(name).map_err(|rule| refused(rule.to_string()))?;
    if RESERVED.contains(&name) {
        return Err(refused("Rust keeps this word for itself".to_owned()));
    }
    if name == "tidegate-sdk" {
        return Err(refused("the SDK is called that".to_owned()));
    }
    Ok(())
}
