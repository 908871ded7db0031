//! A few seeds, each twice, so that `cargo test` sees when the simulation is broken. `tests/sim/run` runs many.

use std::process::Command;

fn sim(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_situs-sim")).args(arguments).output().expect("the simulation");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[test]
fn everything_is_in_its_one_place_and_a_seed_runs_the_same_way_again() {
    let (code, text) = sim(&["--seeds", "12", "--from", "1", "--twice"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sim: ok, seeds 1 to 12: 0 failed"), "{text}");
}

#[test]
fn other_seeds_run_another_way() {
    let (_, one) = sim(&["--seeds", "1", "--from", "1", "--course"]);
    let (_, other) = sim(&["--seeds", "1", "--from", "2", "--course"]);
    assert_ne!(one, other);
}

#[test]
fn arguments_that_it_does_not_know_are_refused() {
    let mut refused = vec![&["--seed", "1"][..], &["--seeds", "many"], &["--seeds"]];
    if !cfg!(feature = "planted") {
        refused.push(&["--planted"]);
    }
    for arguments in refused {
        let (code, text) = sim(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
    }
}
