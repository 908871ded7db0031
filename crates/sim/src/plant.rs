//! What is produced, and where each record must lie: the oracle's own words, which use nothing of the code
//! under test.

use std::sync::{Arc, LazyLock};

use situs_decode::Schema;
use situs_ingest::{Past, Stage};
use situs_model::store::Versions;
use situs_model::{ContentVersion, Pipeline, PipelineName};
use situs_policy::{Judge, PipelineFacts, Policy};

use crate::cluster::Record;
use crate::world::World;

/// The topics, each with a pipeline of its own.
pub(crate) const TOPICS: [&str; 2] = ["cnc.state", "cnc.waveform"];
/// The tables of their pipelines.
pub(crate) const TABLES: [&str; 2] = ["cnc_state", "cnc_waveform"];
/// The zones, the home zone first.
pub(crate) const ZONES: [&str; 2] = ["EU", "CN"];

const PIPELINES: [(&str, &str); 2] = [
    (
        include_str!("../../../pipelines/cnc-state/pipeline.yaml"),
        include_str!("../../../schemas/cnc.state/v1.json"),
    ),
    (
        include_str!("../../../pipelines/cnc-waveform/pipeline.yaml"),
        include_str!("../../../schemas/cnc.waveform/v1.json"),
    ),
];

/// Devices, and the zone of each under both policies.
const DEVICES: [(&str, [usize; 2]); 4] =
    [("nn-1", [1, 1]), ("nn-2", [1, 0]), ("st-1", [0, 0]), ("st-2", [0, 1])];

struct Texts {
    pipelines: Vec<(Pipeline, Arc<Schema>)>,
    policies: Vec<Arc<Policy>>,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let pipelines = PIPELINES.iter().map(|(pipeline, schema)| {
        let pipeline = Pipeline::parse("pipeline.yaml", pipeline).expect("a pipeline that ships");
        let schema = Schema::parse("v1.json", schema, &pipeline.device).expect("a schema that ships");
        (pipeline, Arc::new(schema))
    });
    let policies =
        (0..2).map(|policy| Arc::new(Policy::parse("policy.yaml", &policy_text(policy)).expect("a policy")));
    Texts { pipelines: pipelines.collect(), policies: policies.collect() }
});

fn policy_text(policy: usize) -> String {
    let devices = |zone: usize| {
        let here = DEVICES.iter().filter(|(_, zones)| zones[policy] == zone).map(|(device, _)| *device);
        here.collect::<Vec<_>>().join(", ")
    };
    format!(
        "zones:\n  EU: {{ jurisdictions: [DE] }}\n  CN: {{ jurisdictions: [CN] }}\nsites:\n  \
         stuttgart-1: {{ jurisdiction: DE, topics: [cnc.state, cnc.waveform], devices: [{}] }}\n  \
         nanning-1: {{ jurisdiction: CN, topics: [cnc.state, cnc.waveform], devices: [{}] }}\nrules:\n  \
         - {{ id: eu, when: _jurisdiction = 'DE', zone: EU, basis: contract, reference: text, training: allowed }}\n  \
         - {{ id: cn, when: _jurisdiction = 'CN', zone: CN, basis: law, reference: text, training: in-zone }}\n",
        devices(0),
        devices(1)
    )
}

/// The zone of a device under a policy of this version; `None` if there is no such policy.
fn zone_of(device: usize, version: &str) -> Option<&'static str> {
    let policy = TEXTS.policies.iter().position(|policy| policy.version().as_str() == version)?;
    Some(ZONES[DEVICES[device].1[policy]])
}

fn facts(pipeline: &Pipeline, schema: &Schema) -> PipelineFacts {
    PipelineFacts {
        name: pipeline.name.clone(),
        scenario: pipeline.scenario,
        class: pipeline.class,
        topics: pipeline.topics.clone(),
        schema: schema.arrow_schema().clone(),
        device_column: schema.device_column().map(str::to_owned),
        claim_columns: schema.claim_columns().to_vec(),
    }
}

fn judge(pipeline: usize, policy: &Arc<Policy>) -> Judge {
    let (pipeline, schema) = &TEXTS.pipelines[pipeline];
    policy.judge(&facts(pipeline, schema)).expect("a policy that fits")
}

fn stage(pipeline: usize, policy: &Arc<Policy>) -> Stage {
    let judge = judge(pipeline, policy);
    let (pipeline, schema) = &TEXTS.pipelines[pipeline];
    Stage::new(pipeline.clone(), schema.clone(), judge, Arc::default())
}

/// A policy's version and its judges for a worker.
pub(crate) fn judges(policy: usize) -> (ContentVersion, Vec<Judge>) {
    let policy = &TEXTS.policies[policy];
    (policy.version().clone(), (0..TOPICS.len()).map(|pipeline| judge(pipeline, policy)).collect())
}

/// The stages of a worker under a policy.
pub(crate) fn stages(policy: usize) -> Vec<Stage> {
    (0..TOPICS.len()).map(|pipeline| stage(pipeline, &TEXTS.policies[policy])).collect()
}

/// Pipelines as they were under the other policy.
#[derive(Debug)]
pub(crate) struct SimPast;

impl Past for SimPast {
    fn stage(&self, name: &PipelineName, versions: &Versions) -> Result<Stage, String> {
        let pipeline = TEXTS.pipelines.iter().position(|(pipeline, _)| pipeline.name == *name);
        let policy = TEXTS.policies.iter().find(|policy| *policy.version() == versions.policy);
        let (Some(pipeline), Some(policy)) = (pipeline, policy) else {
            return Err("no such text".to_owned());
        };
        Ok(stage(pipeline, policy))
    }
}

/// What must become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// So many rows, all in the zone of this device.
    Stored { device: usize, rows: i32 },
    /// Quarantine, for this reason.
    Quarantined(&'static str),
    /// Nothing, by design.
    Nothing,
}

impl Fate {
    /// Whether rows that a policy of this version made may lie in a zone.
    pub(crate) fn allows(self, zone: &str, version: &str) -> bool {
        matches!(self, Self::Stored { device, .. } if zone_of(device, version) == Some(zone))
    }
}

/// A record of a topic, and what must become of it.
pub(crate) fn record(world: &World, topic: usize, time_ms: i64) -> (Record, Fate) {
    let device = world.below(DEVICES.len() as u64) as usize;
    let name = DEVICES[device].0;
    let kind = world.below(20);
    let counter = world.unique();
    let (key, payload, fate) = if topic == 0 {
        let good = format!(r#"{{"device":"{name}","timestamp":{time_ms},"line":{counter}}}"#);
        match kind {
            0 => (name, Some("{\"device\":".to_owned()), Fate::Quarantined("invalid-json")),
            1 => (name, None, Fate::Quarantined("tombstone")),
            2 => {
                let stranger = format!(r#"{{"device":"nobody","timestamp":{time_ms}}}"#);
                (name, Some(stranger), Fate::Quarantined("unknown-device"))
            }
            _ => (name, Some(good), Fate::Stored { device, rows: 1 }),
        }
    } else {
        // A row for each signal; the first number of a sample is its counter.
        let rows = 1 + world.below(3) as i32;
        let sample = |n: u64| format!("[{}{}]", counter + n, ",1.5".repeat(rows as usize));
        let samples: Vec<String> = (0..1 + world.below(3)).map(sample).collect();
        let good = format!(r#"{{"HFData":[{}]}}"#, samples.join(","));
        match kind {
            0 => (name, Some("{\"HFData\":[[1,".to_owned()), Fate::Quarantined("invalid-json")),
            1 => ("nobody", Some(good), Fate::Quarantined("unknown-device")),
            2 => (name, Some(r#"{"HFCallEvent":{"call":1}}"#.to_owned()), Fate::Nothing),
            _ => (name, Some(good), Fate::Stored { device, rows }),
        }
    };
    (Record { key: key.as_bytes().to_vec(), payload: payload.map(String::into_bytes), time_ms }, fate)
}
