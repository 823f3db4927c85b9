//! The documents agree with the tree: links lead somewhere, paths in ARCHITECTURE.md exist, the glossary has every word that is
//! stored, and the README stays short.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_core::{Cause, Mode, Outcome, Trigger};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ARCHITECTURE: &str = include_str!("../ARCHITECTURE.md");
const GLOSSARY: &str = include_str!("../docs/glossary.md");
/// What is built or installed, not written.
const NOT_OURS: [&str; 4] = ["target", "node_modules", "dist", ".git"];

fn documents_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            documents_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Every Markdown file of the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    documents_in(Path::new(ROOT), &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

/// The lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What a link to a heading is called: lower case, spaces are hyphens, punctuation is gone.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().chars();
            let kept = kept.filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

/// Targets of `[text](target)`, without those of the web.
fn links(text: &str) -> Vec<&str> {
    let targets = prose(text).flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    targets.filter(|target| !target.contains("://") && !target.is_empty()).collect()
}

/// Why a link of `document` leads nowhere; `None`: it leads somewhere.
fn broken(document: &Path, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { document.to_owned() } else { document.parent().unwrap().join(file) };
    if !target.exists() {
        return Some(format!("{}: nothing at {link}", document.display()));
    }
    let is_there = anchor.is_empty() || anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor);
    (!is_there).then(|| format!("{}: no heading for {link}", document.display()))
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let links = links(&text);
        checked += links.len();
        wrong.extend(links.into_iter().filter_map(|link| broken(&document, link)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "{checked} links");
}

/// The rows of the table under a heading of ARCHITECTURE.md, without its head; each with its cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let start = format!("\n## {heading}\n");
    let section = ARCHITECTURE.split_once(&start).unwrap_or_else(|| panic!("no section `{heading}`")).1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    rows.skip(2).map(cells).collect()
}

/// Paths of a cell: what stands in backticks and has a slash.
fn paths(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|code| code.contains('/') && !code.contains(' ')).collect()
}

/// Fails with all paths that are not in the tree, each with where it stands.
fn assert_exist<'a>(paths: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let missing = paths.into_iter().filter(|(_, path)| !Path::new(ROOT).join(path).exists());
    let missing: Vec<String> = missing.map(|(place, path)| format!("{place}: there is no {path}")).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn what_an_addition_touches_is_there() {
    let rows = table("To add a controller, a source, or a message channel");
    assert!(rows.len() >= 10, "{rows:?}");
    let mut all = Vec::new();
    for row in &rows {
        let (first, cells) = row.split_first().unwrap();
        assert_eq!(cells.len(), 3, "controller, source, channel: {row:?}");
        for cell in cells {
            let paths = paths(cell);
            assert!(!paths.is_empty(), "{first}: no path in `{cell}`");
            all.extend(paths.into_iter().map(|path| (*first, path)));
        }
    }
    assert_exist(all);
}

#[test]
fn the_places_to_change_something_are_there() {
    let rows = table("Where do I change …?");
    assert!(rows.len() >= 15, "{rows:?}");
    let mut all = Vec::new();
    for row in &rows {
        let [what, place] = row.as_slice() else { panic!("two cells: {row:?}") };
        let paths = paths(place);
        assert!(!paths.is_empty(), "{what}: no path in `{place}`");
        all.extend(paths.into_iter().map(|path| (*what, path)));
    }
    assert_exist(all);
}

#[test]
fn the_map_has_every_crate_that_is_shared() {
    let mapped: BTreeSet<&str> = table("Code map").into_iter().flat_map(|row| paths(row.first().unwrap())).collect();
    for entry in std::fs::read_dir(Path::new(ROOT).join("shared")).unwrap() {
        let path = format!("shared/{}", entry.unwrap().file_name().to_string_lossy());
        assert!(mapped.contains(path.as_str()), "{path} is not in the code map");
    }
    assert_exist(mapped.iter().map(|path| ("code map", path.trim_end_matches("/*"))));
}

#[test]
fn the_glossary_has_every_word_of_the_record() {
    let words = Outcome::ALL.iter().map(|word| word.as_str()).chain(Cause::ALL.iter().map(|word| word.as_str()));
    let words = words.chain(Trigger::ALL.iter().map(|word| word.as_str()));
    for word in words.chain(Mode::ALL.iter().map(|word| word.as_str())) {
        assert!(GLOSSARY.contains(&format!("\n| `{word}` |")), "the glossary has no row `{word}`");
    }
    let after = GLOSSARY.split_once("\n## Words on record\n").unwrap().1.split("\n## ").next().unwrap();
    let rows = after.lines().filter(|line| line.starts_with("| `")).count();
    let known = Outcome::ALL.len() + Cause::ALL.len() + Trigger::ALL.len() + Mode::ALL.len();
    assert_eq!(rows, known, "a word that no record has any more");
}

#[test]
fn the_readme_is_short() {
    let lines = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap().lines().count();
    assert!(lines <= 120, "{lines} lines: move something to docs/ and link it");
}

#[test]
fn the_index_has_every_decision() {
    let folder = Path::new(ROOT).join("docs/decisions");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "the index has no {name}");
    }
}
