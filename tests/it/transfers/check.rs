//! What `situs check` says of transfers.

use super::*;

/// What `check` says of transfers that cannot be right, all at once, with the nearest word.
#[test]
fn transfers_that_cannot_be_right_are_told_with_place_and_nearest_word() {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    let wrong = "
transfers:
  - { id: a, from: CN, to: EW, pipeline: cnc-stat, columns: [line], ceiling: core, purpose: p, use: trainig, recipient: r, basis: contrakt, max-rows: 5 }
  - { id: b, from: CN, to: EU, pipeline: cnc-state, columns: [lime, program, _extra], ceiling: important, purpose: p, use: operation, recipient: r, basis: contract, max-rows: 5 }
  - { id: b, from: CN, to: CN, pipeline: cnc-state, columns: [line], where: lime > 1, ceiling: general, purpose: p, use: operation, recipient: r, basis: contract, max-rows: 5 }
";
    with_policy(&home, wrong, &[]);
    let check = |home: &Home, arguments: &[&str]| {
        let output =
            situs().args(["check", "--config"]).arg(home.site()).args(arguments).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = check(&home, &[]);
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "there is no zone `EW`",
        "did you mean `EU`?",
        "class `core` never leaves its zone",
        "did you mean `training`?",
        "did you mean `contract`?",
        "`reference` is missing",
        "`until` is missing",
        "id `b` is given twice",
        "goes from zone `CN` to itself",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let misfit = "
transfers:
  - { id: b, from: CN, to: EU, pipeline: cnc-state, columns: [lime, program, _extra], where: lime > 1, ceiling: general, purpose: p, use: operation, recipient: r, basis: contract, max-rows: 5 }
  - { id: c, from: CN, to: EU, pipeline: cnc-stat, columns: [line], ceiling: general, purpose: p, use: operation, recipient: r, basis: contract, max-rows: 5 }
  - { id: d, from: CN, to: EU, pipeline: cnc-state, columns: [line], where: _claimed = 'DE', ceiling: general, purpose: p, use: operation, recipient: r, basis: contract, max-rows: 5 }
";
    with_policy(&home, misfit, &[]);
    let (code, text) = check(&home, &[]);
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "pipeline `cnc-state` has no column `lime`; did you mean `line`?",
        "column `program` is of class `trade-secret`, which never leaves its zone",
        "column `_extra` holds what nobody has classified",
        "there is no pipeline `cnc-stat`; did you mean `cnc-state`?",
        "`where` in transfer `d`: `_claimed` holds what nobody has classified",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // What is allowed and hardly meant.
    let hardly = TRANSFERS
        .replace("until: 2099-12-31\n    max-rows: 60", "until: 2020-12-31\n    max-rows: 60")
        .replace(
            "pipeline: cnc-state\n    columns: [line]\n    ceiling: important",
            "pipeline: process-window\n    columns: [device]\n    ceiling: general",
        );
    with_policy(&home, &hardly, &[]);
    let (code, text) = check(&home, &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = check(&home, &["--deny-warnings"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("warning: ") && text.contains("transfer `wear-study` ended on 2020-12-31"),
        "{text}"
    );
    assert!(
        text.contains(
            "transfer `wear-model`: no rule of zone `CN` gives records of pipeline `process-window`"
        ),
        "{text}"
    );
}
