//! docs/requirements.md names tests that exist, and claims nothing where it names none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::home::project;

/// A row of a table of the page.
struct Requirement {
    name: String,
    tests: Vec<String>,
    evidence: String,
    state: String,
}

fn page() -> Vec<Requirement> {
    let text = fs::read_to_string(project().join("docs/requirements.md")).expect("the page");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| requirement |"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, tests, evidence, state] = cells.as_slice() else { panic!("five cells: {line}") };
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Requirement {
            name: (*name).to_owned(),
            tests,
            evidence: (*evidence).to_owned(),
            state: (*state).to_owned(),
        }
    })
    .collect()
}

/// The names of all functions below a folder that stand under an attribute which makes a test of them.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                tests_below(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for (at, line) in lines.iter().enumerate() {
                let attribute = *line == "#[test]" || line.starts_with("#[tokio::test");
                let next = lines[at + 1..].iter().take(4).find_map(|line| line.split_once("fn "));
                if let (true, Some((_, rest))) = (attribute, next) {
                    found.insert(rest.split('(').next().unwrap_or_default().to_owned());
                }
            }
        }
    }
}

/// Whether a script has such a case.
fn is_case(script: &str, case: &str) -> bool {
    let text = fs::read_to_string(project().join(script)).unwrap_or_default();
    let beside = fs::read_to_string(project().join(format!("{script}.py"))).unwrap_or_default();
    text.contains(&format!("\ncase_{case}()")) || beside.contains(&format!("\"{case}\": "))
}

#[test]
fn every_test_that_the_requirements_name_exists() {
    let mut known = BTreeSet::new();
    tests_below(&project().join("crates"), &mut known);
    tests_below(&project().join("tests"), &mut known);
    assert!(
        known.len() > 200 && known.contains("every_test_that_the_requirements_name_exists"),
        "{}",
        known.len()
    );
    let page = page();
    assert!(page.len() > 25, "{} requirements", page.len());
    for Requirement { name, tests, evidence, state } in &page {
        for test in tests {
            let exists = match test.split_once(' ') {
                Some((script, case)) => is_case(script, case),
                None if test.contains('/') => project().join(test).is_file(),
                None => known.contains(test),
            };
            assert!(exists, "{name}: there is no test `{test}`");
        }
        if state.starts_with("not yet") {
            assert!(tests.is_empty() && evidence.is_empty(), "{name}: not yet, but with evidence");
        } else {
            assert!(state.starts_with("holds") || state.starts_with("in part: "), "{name}: {state}");
            assert!(!tests.is_empty(), "{name}: {state}, without a test");
            let command = evidence.split('`').nth(1).unwrap_or_default();
            let script = command.split(' ').next().unwrap_or_default();
            let runs = script == "situs" || script == "cargo" || project().join(script).is_file();
            assert!(runs && !script.is_empty(), "{name}: no command in `{evidence}`");
        }
    }
}

/// What must not be taken for a test.
#[test]
fn names_that_are_no_tests_are_not_found() {
    let mut known = BTreeSet::new();
    tests_below(&project().join("tests"), &mut known);
    assert!(!known.contains("tests_below") && !known.contains("page"));
    assert!(is_case("tests/kafka/run", "kill") && !is_case("tests/kafka/run", "killing"));
    assert!(is_case("tests/residency/attacks", "live") && !is_case("tests/residency/attacks", "dead"));
}
