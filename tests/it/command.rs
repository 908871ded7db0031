//! What the commands print, and their exit codes.

use crate::home::{project, situs};

#[test]
fn what_ships_is_valid_and_every_case_holds() {
    let output = situs().arg("check").current_dir(project()).output().expect("situs runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("0 failed"), "{text}");
}

#[test]
fn the_binary_alone_knows_what_ships() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = situs().arg("check").current_dir(folder.path()).output().expect("situs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A deliberate mistake: in `file`, `right` is replaced by `wrong`; the problem must be reported at
/// the place of `at` and name `nearest`.
struct Mistake {
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    at: &'static str,
    nearest: &'static str,
}

const MISTAKES: &[Mistake] = &[
    Mistake { file: "site.yaml", right: "stores:", wrong: "stors:", at: "stors", nearest: "stores" },
    Mistake { file: "site.yaml", right: "age: 5s", wrong: "age: 5sec", at: "5sec", nearest: "s" },
    Mistake {
        file: "pipelines/cnc-state/pipeline.yaml",
        right: "scenario: remote-maintenance",
        wrong: "scenario: remote-maintainance",
        at: "remote-maintainance",
        nearest: "remote-maintenance",
    },
    Mistake {
        file: "pipelines/ar-pose/pipeline.yaml",
        right: "topics:",
        wrong: "topic:",
        at: "topic",
        nearest: "topics",
    },
    Mistake {
        file: "schemas/process.window/v1.json",
        right: "\"arrow\": \"dictionary\"",
        wrong: "\"arrow\": \"dictionry\"",
        at: "\"dictionry\"",
        nearest: "dictionary",
    },
    Mistake {
        file: "schemas/cnc.waveform/v1.json",
        right: "\"column\"",
        wrong: "\"colum\"",
        at: "\"colum\"",
        nearest: "column",
    },
    Mistake {
        file: "schemas/ar.calibration/v1.json",
        right: "\"role\": \"device\"",
        wrong: "\"role\": \"devise\"",
        at: "\"devise\"",
        nearest: "device",
    },
    Mistake {
        file: "pipelines/policy.yaml",
        right: "    basis: law",
        wrong: "    basis: lwa",
        at: "lwa",
        nearest: "law",
    },
    Mistake {
        file: "pipelines/policy.yaml",
        right: "    zone: CN",
        wrong: "    zone: CM",
        at: "CM",
        nearest: "CN",
    },
    Mistake {
        file: "pipelines/policy.yaml",
        right: "    training: with-approval",
        wrong: "    training: with-aproval",
        at: "with-aproval",
        nearest: "with-approval",
    },
    Mistake {
        file: "pipelines/policy.yaml",
        right: "spindle_speed > 0",
        wrong: "spindel_speed > 0",
        at: "execution = 'ACTIVE' AND spindel_speed",
        nearest: "spindle_speed",
    },
    Mistake {
        file: "pipelines/policy.yaml",
        right: "pipelines: [cnc-waveform]",
        wrong: "pipelines: [cnc-wavform]",
        at: "cnc-wavform",
        nearest: "cnc-waveform",
    },
];

const SITE: &str = "\
home: { site: stuttgart-1, zone: EU }
kafka: { brokers: \"127.0.0.1:9092\", group: situs }
pipelines: pipelines
schemas: schemas
policy: pipelines/policy.yaml
stores:
  EU: data/eu
  CN: data/cn
receipts: { allow-unsigned: true }
flush: { age: 5s }
";

/// A copy of what ships, with a site.
fn library() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    situs::library::write_shipped(folder.path()).expect("written");
    std::fs::write(folder.path().join("site.yaml"), SITE).expect("written");
    folder
}

fn make(mistake: &Mistake, folder: &std::path::Path) {
    let path = folder.join(mistake.file);
    let text = std::fs::read_to_string(&path).expect("readable");
    assert!(text.contains(mistake.right), "{}: no `{}` to break", mistake.file, mistake.right);
    std::fs::write(&path, text.replacen(mistake.right, mistake.wrong, 1)).expect("written");
}

/// Whether `line` reports the mistake with file, line, column and nearest word.
fn reports(line: &str, mistake: &Mistake, folder: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(folder.join(mistake.file)).expect("readable");
    let at = text.find(mistake.at).expect("the mistake is in the file");
    let row = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
    line.contains(&format!("{}:{row}:{column}: ", mistake.file))
        && line.contains(&format!("did you mean `{}`?", mistake.nearest))
}

fn check(folder: &std::path::Path) -> (Option<i32>, Vec<String>) {
    let output =
        situs().args(["check", "--config", "site.yaml"]).current_dir(folder).output().expect("situs runs");
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.code(), text.lines().map(str::to_owned).collect())
}

#[test]
fn each_broken_configuration_names_place_and_nearest_word() {
    assert_eq!(check(library().path()).0, Some(0), "unbroken");
    for mistake in MISTAKES {
        let folder = library();
        make(mistake, folder.path());
        let (code, lines) = check(folder.path());
        assert_eq!(code, Some(2));
        assert!(
            lines.iter().any(|line| reports(line, mistake, folder.path())),
            "{} `{}`: {lines:#?}",
            mistake.file,
            mistake.wrong
        );
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let folder = library();
    // The policy's predicates are checked against columns once policy and pipelines can be read.
    let readable: Vec<&Mistake> = MISTAKES
        .iter()
        .filter(|mistake| {
            mistake.file == "pipelines/policy.yaml"
                && !mistake.wrong.contains("spindel")
                && !mistake.wrong.contains("wavform")
        })
        .chain(MISTAKES.iter().filter(|mistake| mistake.file != "pipelines/policy.yaml"))
        .collect();
    for mistake in &readable {
        make(mistake, folder.path());
    }
    let (code, lines) = check(folder.path());
    assert_eq!(code, Some(2));
    // With the key `stores` gone from site.yaml its absence is reported as well.
    for mistake in readable {
        assert!(
            lines.iter().any(|line| reports(line, mistake, folder.path())),
            "{} `{}`: {lines:#?}",
            mistake.file,
            mistake.wrong
        );
    }
}
