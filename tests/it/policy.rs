//! What the commands say of policies.

use std::path::Path;

use serde_json::Value;

use crate::home::situs;

/// A copy of what ships.
fn library() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    situs::library::write_shipped(folder.path()).expect("written");
    folder
}

fn policy(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("pipelines/policy.yaml")).expect("readable")
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = situs().args(arguments).current_dir(folder).output().expect("situs runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn warnings_are_told_apart_from_errors() {
    let folder = library();
    let late = "  - { id: late, jurisdictions: [CN], zone: CN, basis: law }\n\nmodels:";
    let text = policy(folder.path()).replace("\nmodels:", late);
    write(folder.path(), "pipelines/policy.yaml", &text);
    let (code, output) = run(folder.path(), &["check"]);
    let warning =
        "rule `late` is never reached: all its records are matched by `cn-important`, `cn-general` before it";
    assert_eq!(code, Some(0), "{output}");
    let told = output
        .lines()
        .any(|line| line.starts_with("warning: pipelines/policy.yaml:") && line.contains(warning));
    assert!(told, "{output}");
    assert!(output.contains("0 failed, 1 warning"), "{output}");
    assert_eq!(run(folder.path(), &["check", "--deny-warnings"]).0, Some(2));
    let (code, output) = run(folder.path(), &["check", "--json"]);
    let line: Value = serde_json::from_str(output.lines().next().expect("a line")).expect("JSON");
    assert_eq!((code, line["severity"].as_str()), (Some(0), Some("warning")), "{output}");
    // An error is one whatever is asked for.
    write(folder.path(), "pipelines/policy.yaml", &text.replace("basis: law }", "basis: lex }"));
    let (code, output) = run(folder.path(), &["check"]);
    assert_eq!(code, Some(2), "{output}");
    assert!(!output.contains("warning:"), "{output}");
}

#[test]
fn devices_of_a_file_are_checked_with_the_policy_and_belong_to_its_version() {
    let folder = library();
    let text = policy(folder.path());
    let list = text.find("    devices:\n").expect("devices");
    let end = list + text[list..].find("  stuttgart-1:").expect("the next site");
    let ids: Vec<&str> =
        text[list..end].split([' ', ',', '[', ']', '\n']).filter(|id| id.starts_with("nn-")).collect();
    let with_file = format!("{}    devices-file: registry/nanning.csv\n{}", &text[..list], &text[end..]);
    write(folder.path(), "pipelines/policy.yaml", &with_file);
    let (code, output) = run(folder.path(), &["check"]);
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("registry/nanning.csv: cannot be read"), "{output}");

    let csv = |line: &str| {
        format!(
            "device,line\n{}\n",
            ids.iter().map(|id| format!("{id},{line}")).collect::<Vec<_>>().join("\n")
        )
    };
    let version = |line: &str| {
        write(folder.path(), "pipelines/registry/nanning.csv", &csv(line));
        let (code, output) = run(folder.path(), &["check"]);
        assert_eq!(code, Some(0), "{output}");
        output.split("policy ").nth(1).expect("a version")[..16].to_owned()
    };
    let (first, second) = (version(""), version("line-1"));
    assert_ne!(first, second);
    assert_eq!(first, version(""));
    write(folder.path(), "pipelines/registry/nanning.csv", "device,line\nst-cnc-001,\n");
    let (code, output) = run(folder.path(), &["check"]);
    assert_eq!(code, Some(2));
    assert!(output.contains("device `st-cnc-001` is registered at site `nanning-1` too"), "{output}");
}

#[test]
fn a_difference_in_words_and_as_json() {
    let folder = library();
    let old = policy(folder.path());
    let new = old
        .replace("st-ar-05, st-ar-06]", "st-ar-05]")
        .replace("nn-ar-05, nn-ar-06]", "nn-ar-05, nn-ar-06, st-ar-06]")
        .replace("    training: allowed", "    training: in-zone");
    write(folder.path(), "new.yaml", &new);
    let (code, output) = run(folder.path(), &["policy", "diff", "pipelines/policy.yaml", "new.yaml"]);
    assert_eq!(code, Some(0), "{output}");
    for expected in [
        "rule `eu-general` changed: training: allowed → in-zone",
        "1 device moved from stuttgart-1 to nanning-1: st-ar-06",
        "    before: zone EU, training allowed\n    after:  zone EU, training in-zone",
    ] {
        assert!(output.contains(expected), "{expected}\n{output}");
    }
    let (code, output) =
        run(folder.path(), &["policy", "diff", "--json", "pipelines/policy.yaml", "new.yaml"]);
    let found: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(found["devices"][0]["names"][0], "st-ar-06");
    assert_eq!(found["changes"][0]["name"], "eu-general");
    assert_eq!(found["effects"][0]["jurisdictions"].as_array().map(Vec::len), Some(30));
    let (code, output) = run(folder.path(), &["policy", "diff", "new.yaml", "new.yaml"]);
    assert_eq!(code, Some(0));
    assert!(output.contains("no difference that means anything to a record"), "{output}");
    write(folder.path(), "broken.yaml", &new.replace("basis: law", "basis: lex"));
    let (code, output) = run(folder.path(), &["policy", "diff", "new.yaml", "broken.yaml"]);
    assert_eq!(code, Some(2));
    assert!(output.contains("broken.yaml:") && output.contains("found `lex`"), "{output}");
}
