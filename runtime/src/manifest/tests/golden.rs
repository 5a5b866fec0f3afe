//! Bad manifests in `testdata/bad`, each beside what is said about it. `UPDATE_GOLDEN=1` writes
//! the latter anew; look at the difference.

use std::fs;
use std::path::Path;

use super::super::{load, parse};
use super::{environment, testdata};

#[test]
fn refuses_bad_manifests_in_these_words() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    let mut checked = 0;
    for entry in fs::read_dir(testdata().join("bad")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        checked += 1;
        let text = fs::read_to_string(&path).unwrap();
        let shown = Path::new(path.file_name().unwrap());
        let errors = parse(shown, &text, &environment).expect_err(&format!("{shown:?} is taken"));
        let rendered = format!("{errors}\n");
        assert!(!rendered.contains("swordfish, expected"), "{shown:?} shows a secret:\n{rendered}");
        let golden = path.with_extension("txt");
        if update {
            fs::write(&golden, &rendered).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != rendered {
            different.push(rendered);
        }
    }
    assert!(checked > 15, "found only {checked} manifests");
    assert!(different.is_empty(), "not as before:\n\n{}", different.join("\n\n"));
}

#[test]
fn counts_errors_and_colours_on_request() {
    let errors = super::read("[a]\n[b]\n[admin]\nlisten = 5").unwrap_err();
    assert_eq!(errors.len(), 3);
    assert!(!errors.to_string().contains('\x1b'));
    assert!(errors.render(true).contains('\x1b'));
}

#[test]
fn draws_a_hundred_errors_and_counts_the_rest() {
    let text: String = (0..250).map(|n| format!("unknown-{n} = 1\n")).collect();
    let errors = super::read(&text).unwrap_err();
    assert_eq!(errors.len(), 250);
    let rendered = errors.to_string();
    assert_eq!(rendered.matches("unknown key").count(), 100);
    assert!(rendered.ends_with("and 150 more errors"));
}

#[test]
fn names_the_file_that_cannot_be_read_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("tidegate.toml");
    let check = |why: &str| {
        let errors = load(&missing, &environment).unwrap_err();
        assert_eq!(errors.len(), 1);
        let expected = format!("error: cannot read the manifest {}: {why}", missing.display());
        assert_eq!(errors.to_string(), expected);
    };
    check("No such file or directory (os error 2); --manifest FILE names another, `tidegate new NAME` makes a project");
    fs::write(&missing, b"# fine\n# \xff\n").unwrap();
    check("line 2 is not UTF-8");
    fs::write(&missing, vec![b'#'; (1 << 20) + 1]).unwrap();
    check("it is larger than 1024 KiB");
    fs::remove_file(&missing).unwrap();
    fs::create_dir(&missing).unwrap();
    check("Is a directory (os error 21)");
}
