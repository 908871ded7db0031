//! What the tests of this crate share: a small installation and batches of its rows.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use situs_model::columns::{self, names};
use situs_model::{DecodeNotes, DecodedBatch, NextOffset, RawBatch, Source, TaggedBatch, Verdict};

use crate::tags::dictionary;
use crate::{PipelineFacts, Policy};

/// Two zones, three sites, and a rule for each zone.
pub(crate) const POLICY: &str = "
zones:
  CN: { jurisdictions: [CN] }
  EU: { jurisdictions: [DE, NO] }
sites:
  nanning-1:
    jurisdiction: CN
    topics: [cnc.state]
    devices: [nn-1, nn-2]
  stuttgart-2:
    jurisdiction: DE
    devices: [st-1]
  halden-1:
    jurisdiction: NO
    topics: [edge.halden]
    any-device: true
rules:
  - { id: cn-resident, when: _jurisdiction = 'CN', zone: CN, basis: law, reference: text, training: with-approval }
  - { id: eu-resident, when: \"_jurisdiction IN ('DE', 'NO')\", zone: EU, basis: contract, training: allowed }
models:
  - { id: wear, version: \"3\", pipelines: [cnc-state], where: load > 10, markets: [DE, CN] }
";

/// A row of the small installation's pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) device: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) plant: Option<String>,
    pub(crate) load: Option<f64>,
    pub(crate) count: Option<i64>,
    pub(crate) text: Option<String>,
    /// The broker's time in microseconds.
    pub(crate) time: Option<i64>,
}

impl Row {
    pub(crate) fn of(device: &str) -> Self {
        Self { device: Some(device.to_owned()), ..Self::default() }
    }

    pub(crate) fn country(mut self, claim: &str) -> Self {
        self.country = Some(claim.to_owned());
        self
    }

    pub(crate) fn load(mut self, load: f64) -> Self {
        self.load = Some(load);
        self
    }

    pub(crate) fn count(mut self, count: i64) -> Self {
        self.count = Some(count);
        self
    }

    /// At the first moment of a day.
    pub(crate) fn on(mut self, day: &str) -> Self {
        self.time = Some(day.parse::<situs_model::Date>().unwrap().start_us());
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }
}

/// The pipeline `cnc-state`, which reads all topics of the small installation. Devices and `plant`
/// are dictionaries, `country` is plain text; `country` and `plant` are claims.
pub(crate) fn facts() -> PipelineFacts {
    let mut fields = vec![
        Field::new("device", columns::dictionary_type(), true),
        Field::new("country", DataType::Utf8, true),
        Field::new("plant", columns::dictionary_type(), true),
        Field::new("load", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
    ];
    fields.extend(columns::identity_fields());
    fields.extend(columns::time_fields(false));
    PipelineFacts {
        name: "cnc-state".parse().unwrap(),
        scenario: situs_model::Scenario::RemoteMaintenance,
        class: situs_model::Class::General,
        topics: vec!["cnc.state".into(), "edge.halden".into(), "other".into()],
        schema: Arc::new(Schema::new(fields)),
        device_column: Some("device".into()),
        claim_columns: vec!["country".into(), "plant".into()],
    }
}

/// A decoded batch with one row per message.
pub(crate) fn batch(topic: &str, rows: &[Row]) -> DecodedBatch {
    batch_of("kafka", topic, rows)
}

/// A decoded batch of a cluster with one row per message.
pub(crate) fn batch_of(cluster: &str, topic: &str, rows: &[Row]) -> DecodedBatch {
    let source = Source { cluster: cluster.parse().unwrap(), topic: topic.into(), partition: 0 };
    let mut raw = RawBatch::new(source, NextOffset(0), 0);
    for offset in 0..rows.len() as i64 {
        raw.push(offset, None, None, Some(b"{}"), std::iter::empty());
    }
    let n = rows.len();
    let times = || -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![0; n]).with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        dictionary(rows.iter().map(|row| row.device.as_deref())),
        Arc::new(rows.iter().map(|row| row.country.as_deref()).collect::<StringArray>()),
        dictionary(rows.iter().map(|row| row.plant.as_deref())),
        Arc::new(rows.iter().map(|row| row.load).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.count).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.text.as_deref()).collect::<StringArray>()),
        dictionary(rows.iter().map(|_| Some(topic))),
        Arc::new(Int32Array::from(vec![0; n])),
        Arc::new((0..n as i64).collect::<Int64Array>()),
        Arc::new(Int32Array::from(vec![0; n])),
        Arc::new(rows.iter().map(|row| row.time).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        times(),
        times(),
        Arc::new(Date32Array::from(vec![0; n])),
        dictionary(rows.iter().map(|_| None)),
    ];
    DecodedBatch {
        raw: Arc::new(raw),
        rows: RecordBatch::try_new(facts().schema, columns).unwrap(),
        message_of_row: (0..n as u32).collect(),
        rejects: Vec::new(),
        notes: DecodeNotes::default(),
    }
}

pub(crate) fn policy(text: &str) -> Arc<Policy> {
    match Policy::parse("policy.yaml", text) {
        Ok(policy) => Arc::new(policy),
        Err(problems) => panic!("{problems}"),
    }
}

/// Judges rows of the small installation's pipeline.
pub(crate) fn judge(policy_text: &str, topic: &str, rows: &[Row]) -> TaggedBatch {
    let mut judge = policy(policy_text).judge(&facts()).unwrap_or_else(|problems| panic!("{problems}"));
    judge.judge(batch(topic, rows)).unwrap()
}

/// The tags of a row as they can be compared: verdict, then the values of the tag columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tags {
    /// The zone, or the reason.
    pub(crate) verdict: String,
    pub(crate) jurisdiction: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) claimed: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) class: String,
    pub(crate) training: String,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) markets: Option<Vec<String>>,
}

/// The tags of every row.
pub(crate) fn tags(tagged: &TaggedBatch) -> Vec<Tags> {
    let rows = &tagged.decoded.rows;
    let text = |name: &str, row: usize| -> Option<String> {
        let column = rows.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
        let key = column.key(row)?;
        Some(column.values().as_string::<i32>().value(key).to_owned())
    };
    let list = |name: &str, row: usize| -> Option<Vec<String>> {
        let column = rows.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
        let texts = column.values().as_list::<i32>().value(column.key(row)?);
        Some(texts.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect())
    };
    (0..rows.num_rows())
        .map(|row| Tags {
            verdict: match &tagged.verdicts[usize::from(tagged.verdict_of_row[row])] {
                Verdict::Resident(zone) => zone.to_string(),
                Verdict::Undetermined(reason) => reason.to_string(),
            },
            jurisdiction: text(names::JURISDICTION, row),
            site: text(names::SITE, row),
            claimed: text(names::CLAIMED, row),
            zone: text(names::ZONE, row),
            rule: text(names::RULE, row),
            class: text(names::CLASS, row).unwrap(),
            training: text(names::TRAINING, row).unwrap(),
            models: list(names::MODELS, row),
            markets: list(names::MARKETS, row),
        })
        .collect()
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub(crate) fn maybe<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (self.below(2) == 0).then(|| self.pick(from))
    }
}
