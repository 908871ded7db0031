use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::testing::{POLICY, facts, policy};

/// A second pipeline, without `load`.
fn poses() -> PipelineFacts {
    let mut facts = facts();
    facts.name = "ar-pose".parse().unwrap();
    facts.topics = vec!["ar.pose".into()];
    let mut fields: Vec<Field> = facts.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.retain(|field| field.name() != "load");
    fields.push(Field::new("pose_x", DataType::Float64, true));
    facts.schema = Arc::new(Schema::new(fields));
    facts
}

fn problems(text: &str) -> Vec<String> {
    policy(text).check(&[facts(), poses()]).iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_policy_has_no_problems() {
    assert_eq!(problems(POLICY), [""; 0]);
    assert!(policy(POLICY).check(&[]).iter().all(|problem| !problem.message.contains("column")));
}

#[test]
fn names_that_no_pipeline_has() {
    let text = POLICY
        .replace("topics: [cnc.state]", "topics: [cnc.sate, ar.pose]")
        .replace("pipelines: [cnc-state]", "pipelines: [cnc-sttae, cnc-state, ar-pose]")
        .replace("when: _jurisdiction = 'CN'", "when: _jursdiction = 'CN' AND pose_x > 1 AND _zone = \"CN\"")
        .replace("load > 10", "loda > 10");
    assert_eq!(
        problems(&text),
        [
            "policy.yaml:8:14: site `nanning-1`: no pipeline reads topic `cnc.sate`; did you mean `cnc.state`?",
            "policy.yaml:18:30: `when` in rule `cn-resident`: no pipeline has a column `CN` (text stands in single quotes)",
            "policy.yaml:18:30: `when` in rule `cn-resident`: no pipeline has a column `_jursdiction`; did you mean `_jurisdiction`?",
            "policy.yaml:18:30: `when` in rule `cn-resident`: no pipeline has a column `_zone` for conditions: it is what the policy decides",
            "policy.yaml:21:43: model `wear`: there is no pipeline `cnc-sttae`; did you mean `cnc-state`?",
            "policy.yaml:21:82: `where` in model `wear`: pipeline `ar-pose` has no column `loda`",
            "policy.yaml:21:82: `where` in model `wear`: pipeline `cnc-state` has no column `loda`; did you mean `load`?",
        ]
    );
}

#[test]
fn conditions_that_do_not_fit() {
    let text = POLICY
        .replace("when: _jurisdiction = 'CN'", "when: \"upper(_site, 3) = 'X'\"")
        .replace("load > 10", "load")
        .replace("\"_jurisdiction IN ('DE', 'NO')\"", "_ingest_time IS NULL");
    let found = problems(&text);
    assert_eq!(found.len(), 4, "{}", found.join("\n"));
    assert!(found[0].contains("on pipeline `ar-pose`: "), "{}", found[0]);
    assert!(found[0].contains("upper"), "{}", found[0]);
    assert!(found[2].contains("changes when a record is replayed"), "{}", found[2]);
    assert!(found[3].contains("policy.yaml:21:62: `where` in model `wear`"), "{}", found[3]);
    assert!(found[3].contains("expected a condition (BOOLEAN)"), "{}", found[3]);
}

#[test]
fn jurisdictions_that_no_rule_places() {
    let text = POLICY
        .replace("\"_jurisdiction IN ('DE', 'NO')\"", "\"_jurisdiction IN ('DE', 'FR') AND count IS NULL\"")
        .replace("    jurisdiction: CN", "    jurisdiction: VN");
    assert_eq!(
        problems(&text),
        [
            "policy.yaml:4:29: no rule that gives zone `EU` can match records of jurisdiction `NO`",
            "policy.yaml:7:19: site `nanning-1`: jurisdiction `VN` is in no zone (`CN` or `EU`), so its records can live nowhere",
        ]
    );
}

#[test]
fn rules_that_contradict_themselves() {
    let text = POLICY.replace("when: _jurisdiction = 'CN'", "when: _site = NULL");
    assert_eq!(problems(&text), ["policy.yaml:18:30: `when` in rule `cn-resident` holds for no record"]);
    // Foresight is no mistake: no pipeline has core data today.
    let text = POLICY.replace("when: _jurisdiction = 'CN'", "when: _class = 'core' AND load > 3");
    assert_eq!(problems(&text), [""; 0]);
}
