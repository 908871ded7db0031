//! The generator against the schemas, pipelines and policy that ship.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use situs_decode::{Decoder, Schema};
use situs_model::{ClusterName, NextOffset, Pipeline, RawBatch, Source, Verdict};
use situs_policy::{PipelineFacts, Policy};

use super::*;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_pipelines_that_ship_judge_each_message_as_expected() {
    let root = root();
    let policy = Policy::parse("policy.yaml", &read(&root.join("pipelines/policy.yaml"))).unwrap();
    let policy = Arc::new(policy);
    let messages = messages(11, 60_000);
    let mut judged = 0;
    for name in [
        "cnc-state",
        "cnc-observation",
        "cnc-waveform",
        "process-window",
        "opcua-pubsub",
        "ar-calibration",
        "ar-pose",
    ] {
        let text = read(&root.join("pipelines").join(name).join("pipeline.yaml"));
        let pipeline = Pipeline::parse("pipeline.yaml", &text).unwrap();
        let file = format!("{}.json", pipeline.schema);
        let schema =
            Schema::parse(&file, &read(&root.join("schemas").join(&file)), &pipeline.device).unwrap();
        let schema = Arc::new(schema);
        let facts = PipelineFacts {
            name: pipeline.name.clone(),
            scenario: pipeline.scenario,
            class: pipeline.class,
            topics: pipeline.topics.clone(),
            schema: schema.arrow_schema().clone(),
            device_column: schema.device_column().map(str::to_owned),
            claim_columns: schema.claim_columns().to_vec(),
        };
        let mut judge = policy.judge(&facts).unwrap();
        let mut decoder = Decoder::new(schema, pipeline.max_message_bytes).with_clock(pipeline.clock);

        let mine: Vec<&(Message, Option<Flaw>)> =
            messages.iter().filter(|(message, _)| *message.topic == *pipeline.topics[0]).collect();
        let source = Source {
            cluster: "demo".parse::<ClusterName>().unwrap(),
            topic: pipeline.topics[0].clone(),
            partition: 0,
        };
        let mut raw = RawBatch::new(source, NextOffset(0), START * 1_000);
        for (offset, (message, _)) in (0..).zip(&mine) {
            raw.push(
                offset,
                Some(message.time_ms),
                Some(&message.key),
                message.payload(),
                std::iter::empty(),
            );
        }
        let decoded = decoder.decode(Arc::new(raw));
        let unknown = decoded.notes.unknown_fields;
        assert_eq!(decoded.notes.clocks_off, 0, "{name}: the generator's times are those of its messages");
        let mut outcomes = vec![Expect::WithoutRows; mine.len()];
        for reject in &decoded.rejects {
            outcomes[reject.message as usize] = Expect::Quarantined { reason: reject.code.as_str() };
        }
        let tagged = judge.judge(decoded).unwrap();
        for (message, verdict) in tagged.decoded.message_of_row.iter().zip(&tagged.verdict_of_row) {
            outcomes[*message as usize] = match &tagged.verdicts[usize::from(*verdict)] {
                Verdict::Resident(zone) if zone.as_str() == "CN" => Expect::Stored { zone: "CN" },
                Verdict::Resident(zone) if zone.as_str() == "EU" => Expect::Stored { zone: "EU" },
                Verdict::Resident(zone) => panic!("zone {zone}"),
                Verdict::Undetermined(reason) => Expect::Quarantined { reason: reason.as_str() },
            };
        }
        for ((message, flaw), outcome) in mine.iter().zip(outcomes) {
            assert_eq!(
                outcome,
                message.expect,
                "{name}, {flaw:?}: {}",
                String::from_utf8_lossy(&message.payload[..message.payload.len().min(900)])
            );
            judged += 1;
        }
        assert_eq!(unknown, 0, "{name}: the schema knows each field");
    }
    assert_eq!(judged, messages.len());
}
