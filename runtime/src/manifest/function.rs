//! Functions: components, environment, secrets, folders, keys of signatures.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

use super::diagnostic::{Diagnostic, Report};
use super::field::{At, Field, Key};
use super::raw::RawFunction;
use super::shapes::RawFolder;
use super::words::{FilePath, ReuseWord};
use super::{Environment, Folder, Function, Name, Reuse, file, http, rollout, secret};

/// The start of the names of variables that Tidegate sets itself.
const RESERVED: &str = "TIDEGATE_";

/// Checks one function. Paths are relative to `folder`.
pub(super) fn check(
    name: At<Name>,
    raw: RawFunction,
    folder: &Path,
    environment: &Environment,
    report: &mut Report,
) -> Option<Function> {
    let example = "component = \"functions/name.wasm\"";
    let component = raw.component.required("component", &name, example, report);
    let rollout = rollout::check(raw.rollout, report);
    let require_signature = public_key(raw.require_signature, folder, report);
    let reuse = reuse(raw.reuse, raw.max_calls.given(report).map(|at| at.map(|max| max.0)), report);
    let env = raw.env.or_default(report);
    let secrets = raw.secrets.or_default(report);
    for name in env.keys().chain(secrets.keys()) {
        refuse_variable(name, report);
    }
    for (given, again) in env.keys().filter_map(|name| Some((name, secrets.get_key_value(name)?.0))) {
        let title = format!("`{}` is both in `env` and in `secrets`", given.value);
        let diagnostic = Diagnostic::new(&again.span, title, "remove one of them");
        report.add(diagnostic.also(&given.span, "the other one"));
    }
    let secrets = secrets.into_iter().filter_map(|(name, raw)| {
        let secret = secret::read(raw.given(report)?, folder, environment, report)?;
        Some((name.value.clone(), secret))
    });
    let secrets = secrets.collect();
    let env: BTreeMap<_, _> =
        env.into_iter().filter_map(|(name, value)| Some((name.value.clone(), variable(value, report)?))).collect();
    let folders = raw.folders.or_default(report).into_iter().filter_map(|(seen, raw)| {
        refuse_seen_path(&seen, report);
        let raw = raw.given(report)?;
        Some((seen.value.clone(), self::folder(&seen, raw, folder, report)?))
    });
    let folders = folders.collect();
    Some(Function {
        name: name.value,
        env,
        secrets,
        deadline: raw.deadline.or_default(report).0,
        memory_bytes: raw.memory.or_default(report).0,
        reuse,
        http: http::check(raw.allow_hosts, raw.allow_networks, raw.http, report),
        folders,
        rollout,
        require_signature,
        component: component?.value.in_folder(folder),
    })
}

fn reuse(word: Field<ReuseWord>, max_calls: Option<At<u64>>, report: &mut Report) -> Reuse {
    let word = word.given(report);
    let fresh = word.filter(|word| word.value == ReuseWord::Fresh);
    match (fresh, max_calls) {
        (None, max) => Reuse::Pooled { max_calls: max.and_then(|max| NonZeroU64::new(max.value)) },
        (Some(_), None) => Reuse::Fresh,
        (Some(fresh), Some(max)) => {
            let title = "`max-calls` is for pooled instances only";
            let label = "remove it, or write reuse = \"pooled\"";
            let diagnostic = Diagnostic::new(&max.span, title, label);
            report.add(diagnostic.also(&fresh.span, "such an instance serves one call"));
            Reuse::Fresh
        }
    }
}

fn refuse_variable(name: &Key, report: &mut Report) {
    if name.value.starts_with(RESERVED) {
        let title = format!("variables that start with `{RESERVED}` are set by Tidegate");
        report.add(Diagnostic::new(&name.span, title, "give it another name"));
    } else if name.value.is_empty() || name.value.contains(['=', '\0']) {
        let label = "a name is not empty and holds no '=' and no zero byte";
        report.add(Diagnostic::new(&name.span, "invalid name of a variable", label));
    }
}

fn variable(value: Field<String>, report: &mut Report) -> Option<String> {
    let value = value.given(report)?;
    if value.value.contains('\0') {
        report.add(Diagnostic::new(&value.span, "the value of a variable holds a zero byte", ""));
    }
    Some(value.value)
}

/// Refuses a path under which a function sees a folder unless it is absolute and in its only spelling.
fn refuse_seen_path(path: &Key, report: &mut Report) {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let is_good = path.value == "/" || path.value.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain));
    if !is_good {
        let label = "expected an absolute path without '.', '..' and a '/' at its end, such as \"/data\"";
        report.add(Diagnostic::new(&path.span, "invalid path of a folder in the function", label));
    }
}

fn folder(seen: &Key, raw: At<RawFolder>, base: &Path, report: &mut Report) -> Option<Folder> {
    match raw.value {
        RawFolder::Path(path) => Some(Folder { path: base.join(path.0), is_writable: false }),
        RawFolder::Table(table) => {
            if table.path.is_absent() {
                let title = format!("the folder `{}` has no `path`", seen.value);
                report.add(Diagnostic::new(&raw.span, title, "expected { path = \"data/geo\", write = true }"));
            }
            let is_writable = table.write.or_default(report);
            Some(Folder { path: base.join(table.path.given(report)?.value.0), is_writable })
        }
    }
}

/// Reads the public key that components have to be signed with.
fn public_key(raw: Field<FilePath>, folder: &Path, report: &mut Report) -> Option<String> {
    let raw = raw.given(report)?;
    let path = folder.join(&raw.value.0);
    let looked = format!("looked at {}", path.display());
    let help = "`minisign -G` makes a pair of keys: the public one is in minisign.pub";
    match file::public_key(&path) {
        Ok(text) if is_public_key(&text) => return Some(text),
        Ok(text) => {
            report.add(Diagnostic::new(&raw.span, not_a_public_key(&text), looked).help(help));
        }
        Err(why) => {
            let title = format!("cannot read the public key: {why}");
            report.add(Diagnostic::new(&raw.span, title, looked).help(help));
        }
    }
    None
}

/// What a text is instead of a public key of minisign.
fn not_a_public_key(text: &str) -> &'static str {
    let has_line = |start: &str| text.lines().any(|line| line.starts_with(start));
    match () {
        // The numbers of the algorithm, of the encryption and of the checksum, in base64.
        () if has_line("RWRTY0Iy") || has_line("RWQAAEIy") => {
            "this is the secret key of minisign, which belongs on no node: name the public one"
        }
        () if has_line("trusted comment:") => "this is a signature of minisign, and not a public key",
        () if has_line("-----BEGIN PUBLIC KEY") => {
            "this is a public key of cosign or OpenSSL, and signatures are those of minisign"
        }
        () if has_line("-----BEGIN") => "this is a key or a certificate in PEM, and signatures are those of minisign",
        () => "not a public key of minisign",
    }
}

/// Whether a text looks like a public key of minisign: a line of comment, and 42 bytes in base64 of which the first
/// two are `Ed`. A secret key is longer. Whether the key is one of Ed25519 is not checked.
fn is_public_key(text: &str) -> bool {
    let mut lines = text.lines();
    let is_comment = lines.next().is_some_and(|line| line.starts_with("untrusted comment:"));
    let in_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let is_key = |line: &str| line.len() == 56 && line.starts_with("RW") && line.bytes().all(in_base64);
    is_comment && lines.next().is_some_and(|line| is_key(line.trim_end())) && lines.all(|line| line.trim().is_empty())
}
