use std::path::PathBuf;

use crate::author::toolchain::{self, Language, Project, Sdk, Template};
use crate::tools::Failure;
use crate::tools::output;

/// Start a project: a function with a unit test, golden cases and a manifest.
///
/// It builds and runs as it is. The SDKs are on no public registry yet, so the project points at the
/// checkout that this tidegate was built from.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  tidegate new enrich\n  cd enrich\n  tidegate dev\n\n  tidegate new price --lang go --template json"
)]
pub(super) struct Arguments {
    /// Name of the function and of its crate or package.
    name: String,

    /// Language of the function.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,

    /// What the function begins with.
    #[arg(long, value_enum, default_value_t = Kind::Record)]
    template: Kind,

    /// The folder to make it in, empty or not there yet. The name, if it is not given.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// Depend on the released SDK of this version.
    #[arg(long, conflicts_with = "sdk")]
    released: bool,

    /// Depend on the SDK in this folder: `sdk-rust` or `sdk-go` of a checkout of Tidegate.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lang {
    Rust,
    Go,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// A function of a record: its value in upper case.
    Record,
    /// A function of a batch: the newest record of each key.
    Batch,
    /// A function of typed JSON: orders get their total.
    Json,
    /// A function that asks by HTTP: orders get their customer.
    Http,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let language = match arguments.lang {
        Lang::Rust => Language::Rust,
        Lang::Go => Language::Go,
    };
    let template = match arguments.template {
        Kind::Record => Template::Record,
        Kind::Batch => Template::Batch,
        Kind::Json => Template::Json,
        Kind::Http => Template::Http,
    };
    let sdk = match &arguments.sdk {
        _ if arguments.released => Sdk::Released,
        Some(folder) => Sdk::Checkout(folder.clone()),
        None => Sdk::of_this_build(language),
    };
    let folder = arguments.path.clone().unwrap_or_else(|| PathBuf::from(name));
    toolchain::create(&Project { name, language, template, sdk }, &folder).map_err(|error| match error {
        toolchain::Error::ProjectName { .. } => Failure::usage(error),
        error => Failure::Failed(error.into()),
    })?;
    let (shown, trial) = (folder.display(), template.trial());
    let first = template.first().map(|text| format!("\n\n{}", text.trim_end())).unwrap_or_default();
    output::print(&format!(
        "made {shown}, the function `{name}`; now:\n\n  cd {shown}\n  tidegate build\n  {trial}\n  tidegate dev{first}"
    ))?;
    Ok(())
}
