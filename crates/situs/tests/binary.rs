//! The binary starts. That this test exists also makes `cargo test --workspace` build it, with the
//! features of that build, for the tests in `tests/it` that run it.

use std::process::Command;

fn situs(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_situs")).args(arguments).output().expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn version_help_and_usage() {
    assert_eq!(situs(&["--version"]), (Some(0), format!("situs {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, help) = situs(&["--help"]);
    assert_eq!(code, Some(0));
    for verb in ["demo", "run", "check", "try", "sql", "produce", "store", "quarantine", "transfer"] {
        assert!(help.contains(verb), "{verb} is missing in {help}");
        let (code, text) = situs(&[verb, "--help"]);
        assert!(code == Some(0) && text.contains("Usage:"), "{verb}: {text}");
    }
    assert_eq!(situs(&["dmeo"]).0, Some(2));
}
