use std::time::Instant;

use super::*;
use crate::Policy;
use crate::testing::POLICY;

/// The small installation, whose first site has its devices in a file.
fn text() -> String {
    POLICY.replace("devices: [nn-1, nn-2]", "lines: { l-1: [nn-1] }\n    devices-file: registry/nn.csv")
}

fn parse(csv: &str) -> Result<Policy, Vec<String>> {
    let shown = |problems: Diagnostics| problems.0.iter().map(ToString::to_string).collect::<Vec<_>>();
    let file = DevicesFile::csv("registry/nn.csv", csv).map_err(shown)?;
    Policy::parse_with("policy.yaml", &text(), vec![file]).map_err(shown)
}

fn devices(policy: &Policy) -> Vec<String> {
    let site = policy.sites().next().unwrap();
    let device = |(line, device): (Option<&situs_model::LineId>, &std::sync::Arc<str>)| {
        format!("{}:{device}", line.map_or("", |line| line.as_str()))
    };
    site.all_devices().map(device).collect()
}

#[test]
fn a_file_in_all_its_forms() {
    let expected = [":nn-3", "l-1:nn-1", "l-1:nn-2", "l-2:a,\"b\""];
    for csv in [
        "device,line\nnn-2,l-1\nnn-3,\n\"a,\"\"b\"\"\",l-2\n",
        "\u{feff}line,device\r\nl-1,nn-2\r\n\r\n,nn-3\r\nl-2,\"a,\"\"b\"\"\"",
    ] {
        let policy = parse(csv).unwrap();
        assert_eq!(devices(&policy), expected, "{csv}");
    }
    assert_eq!(devices(&parse("device\nnn-2\n\"nn-3\"\n").unwrap()), [":nn-2", ":nn-3", "l-1:nn-1"]);
}

#[test]
fn what_is_kept_is_the_same_policy_and_its_version_is_that_of_the_content() {
    let policy = parse("device,line\nnn-2,l-1\nnn-3,\n\"a,\"\"b\"\"\",l-2\n").unwrap();
    let expected = text()
        + "#@devices-file registry/nn.csv\n#@device,line\n#@\"a,\"\"b\"\"\",l-2\n#@nn-2,l-1\n#@nn-3,\n";
    assert_eq!(policy.text(), expected);
    let kept = Policy::parse("kept", policy.text()).unwrap();
    let sorted = |policy: &Policy| {
        let mut devices = devices(policy);
        devices.sort();
        devices
    };
    assert_eq!((kept.version(), kept.text()), (policy.version(), policy.text()));
    assert_eq!(sorted(&kept), sorted(&policy));
    assert_eq!(Policy::devices_files(&text()), ["registry/nn.csv"]);
    assert_eq!(Policy::devices_files(policy.text()), [""; 0]);
    // The order and the form of the file are not content; a device is.
    let other = parse("line,device\r\n,nn-3\r\nl-2,\"a,\"\"b\"\"\"\r\nl-1,nn-2\r\n").unwrap();
    assert_eq!(other.version(), policy.version());
    let more = parse("device,line\nnn-2,l-1\nnn-3,l-1\n\"a,\"\"b\"\"\",l-2\n").unwrap();
    assert_ne!(more.version(), policy.version());
    // Without files the version is that of the text alone, as it always was.
    let plain = Policy::parse("policy.yaml", POLICY).unwrap();
    assert_eq!(
        (plain.text(), plain.version()),
        (POLICY, &situs_model::ContentVersion::of(POLICY.as_bytes()))
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (csv, expected) in [
        ("", "registry/nn.csv: the file is empty; its first line names the columns `device,line`"),
        (
            "devise,line\na,b\n",
            "registry/nn.csv:1:1: expected the columns `device` or `line`, found `devise`; did you mean `device`?",
        ),
        ("line\nl-1\n", "registry/nn.csv:1:1: there is no column `device`"),
        ("device,device\n", "registry/nn.csv:1:1: column `device` is given twice"),
        ("device,line\na,l-1\nb\n", "registry/nn.csv:3:1: expected 2 fields, found 1"),
        ("device\n\"a\nb", "registry/nn.csv:2:1: a quote is not closed"),
        (
            "device\n\"a\"b\n",
            "registry/nn.csv:2:1: expected `,` or the end of the line behind a field in quotes",
        ),
        (
            "device\na\"b\n",
            "registry/nn.csv:2:1: a field with a `\"` stands in quotes, and the quote in it is doubled",
        ),
        (
            "device,line\na,L1\n",
            "registry/nn.csv:2:1: `line`: expected a line name of lower-case letters, digits or `-`, beginning with a letter, found `L1`",
        ),
        ("device\n\na\na\n", "registry/nn.csv:4:1: device `a` is given twice in site `nanning-1`"),
        ("device\nst-1\n", "policy.yaml:13:15: device `st-1` is registered at site `nanning-1` too"),
        (
            "device\n\"a\n#@b\"\n",
            "registry/nn.csv:2:1: a device id has 1 to 256 bytes, and no control characters in a file",
        ),
        (
            "device,line\n,l-1\n",
            "registry/nn.csv:2:1: a device id has 1 to 256 bytes, and no control characters in a file",
        ),
    ] {
        assert_eq!(parse(csv).unwrap_err(), [expected], "{csv}");
    }
}

#[test]
fn files_that_are_not_there() {
    let problems = Policy::parse("policy.yaml", &text()).unwrap_err().to_string();
    assert_eq!(
        problems,
        "policy.yaml:10:19: `devices-file` in site `nanning-1`: the file `registry/nn.csv` was not given"
    );
    let other = DevicesFile::csv("registry/mm.csv", "device\na\n").unwrap();
    let problems = Policy::parse_with("policy.yaml", &text(), vec![other.clone()]).unwrap_err().to_string();
    assert!(problems.contains("did you mean `registry/mm.csv`?"), "{problems}");
    assert!(problems.contains("no site names `registry/mm.csv` as its `devices-file`"), "{problems}");
    assert!(Policy::parse_with("policy.yaml", POLICY, vec![other]).is_err());
    for name in ["/etc/passwd", "../nn.csv", "a/../b", "a//b", "", "a b", "a\\b", "./a"] {
        let text = text().replace("registry/nn.csv", &format!("'{name}'"));
        assert_eq!(Policy::devices_files(&text), [""; 0], "{name}");
        let problems = Policy::parse("policy.yaml", &text).unwrap_err().to_string();
        assert!(problems.contains("a path below the policy's folder"), "{name}: {problems}");
    }
}

#[test]
fn rows_behind_a_text_that_are_none() {
    for (rows, expected) in [
        ("#@device\n", "policy.yaml:22:1: expected `#@devices-file NAME`"),
        (
            "#@devices-file a.csv\n#@device\n#@x\nsites: {}\n",
            "policy.yaml:25:1: expected `#@devices-file NAME`",
        ),
        ("#@devices-file a.csv\n#@device,x\n", "a.csv:23:1: expected the columns"),
        ("#@devices-file a.csv\n#@device\n#@x\n", "policy.yaml: no site names `a.csv`"),
    ] {
        let problems = Policy::parse("policy.yaml", &(POLICY.to_owned() + rows)).unwrap_err().to_string();
        assert!(problems.starts_with(expected), "{problems}\n{expected}");
    }
    // Text within a policy cannot pass for rows of a file.
    let text = POLICY.replace("reference: text", "reference: \"text\n#@devices-file nn.csv\"");
    assert!(Policy::parse("policy.yaml", &text).is_err());
}

#[test]
fn a_hundred_thousand_devices_of_a_file() {
    let mut csv = String::from("device,line\n");
    for i in 0..100_000 {
        writeln!(csv, "device-{i:06},line-{}", i % 40).unwrap();
    }
    let start = Instant::now();
    let policy = parse(&csv).unwrap();
    let kept = Policy::parse("kept", policy.text()).unwrap();
    assert_eq!(kept.sites().next().unwrap().all_devices().count(), 100_001);
    assert_eq!(kept.sites().next().unwrap().lines.len(), 41);
    // Quadratic reading would take many minutes, also where others leave little of the machine.
    assert!(start.elapsed().as_secs() < 300, "{:?}", start.elapsed());
}
