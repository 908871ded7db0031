//! A record that was judged by a policy is judged again, as it was and with its tags changed.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Int32Array, Int64Array, new_null_array};
use arrow_schema::{Field, Schema};
use situs_model::columns::{dictionary_type, timestamp_type};
use situs_model::{ContentVersion, DecodeNotes, DecodedBatch, NextOffset, RawBatch, Source, TableName};
use situs_policy::PipelineFacts;
use situs_store::{Coverage, FoundRows};

use super::super::report::Verdict;
use super::*;

const POLICY: &str = "
zones: { CN: { jurisdictions: [CN] }, EU: { jurisdictions: [DE] } }
sites:
  nanning-1: { jurisdiction: CN, topics: [t], devices: [nn-1] }
  hall-7: { jurisdiction: DE, topics: [t], any-device: true }
rules:
  - { id: hot, when: _jurisdiction = 'CN' AND load > 50, zone: CN, basis: law, reference: Art. 21, training: in-zone }
  - { id: cn, when: _jurisdiction = 'CN', zone: CN, basis: contract, training: allowed }
  - { id: eu, when: _jurisdiction = 'DE', zone: EU, basis: voluntary }
models:
  - { id: wear, version: \"2\", pipelines: [state], where: load > 10, markets: [CN, DE] }
";

/// The texts of one policy.
#[derive(Debug)]
struct Texts(Arc<Policy>);

impl Past for Texts {
    fn judgement(&self, _: &PipelineName, versions: &Versions) -> Result<Judgement, String> {
        if versions.policy != *self.0.version() {
            return Err(format!("the home store keeps no policy of version {}", versions.policy));
        }
        Ok(Judgement { policy: self.0.clone(), facts: facts() })
    }

    fn reason(&self, _: &QuarantineEntry, content: &Content, _: &Versions) -> Result<Option<String>, String> {
        Ok((content.payload.as_deref() != Some(b"good")).then(|| "unknown-device".to_owned()))
    }
}

fn record() -> Coordinates {
    "t/0/17".parse().unwrap()
}

fn cluster() -> ClusterName {
    "k".parse().unwrap()
}

fn facts() -> PipelineFacts {
    let fields = vec![
        Field::new("device", dictionary_type(), true),
        Field::new("load", DataType::Int64, true),
        Field::new(names::TOPIC, dictionary_type(), false),
        Field::new(names::ROW, DataType::Int32, false),
        Field::new("note", DataType::Utf8, true),
        Field::new(names::BROKER_TIME, timestamp_type(), true),
    ];
    PipelineFacts {
        name: "state".parse().unwrap(),
        scenario: situs_model::Scenario::RemoteMaintenance,
        class: situs_model::Class::Important,
        topics: vec!["t".into()],
        schema: Arc::new(Schema::new(fields)),
        device_column: Some("device".to_owned()),
        claim_columns: Vec::new(),
    }
}

/// Rows as a table of `zone` gives them back: text is plain, and the file lacks a column that came later.
fn stored(policy: &Arc<Policy>, devices: &[&str], loads: &[i64], zone: &str) -> Stored {
    let words: DictionaryArray<Int32Type> = devices.iter().copied().collect();
    let topics: DictionaryArray<Int32Type> = devices.iter().map(|_| "t").collect();
    let numbers: Vec<i32> = (0..).take(devices.len()).collect();
    let facts = facts();
    let count = devices.len();
    let rows = RecordBatch::try_new(
        facts.schema.clone(),
        vec![
            Arc::new(words),
            Arc::new(Int64Array::from(loads.to_vec())),
            Arc::new(topics),
            Arc::new(Int32Array::from(numbers.clone())),
            new_null_array(&DataType::Utf8, count),
            new_null_array(&timestamp_type(), count),
        ],
    )
    .unwrap();
    let source = Source { cluster: cluster(), topic: "t".into(), partition: 0 };
    let batch = DecodedBatch {
        raw: Arc::new(RawBatch::new(source, NextOffset(17), 0)),
        message_of_row: vec![0; count],
        rows,
        rejects: Vec::new(),
        notes: DecodeNotes::default(),
    };
    let tagged = policy.judge(&facts).unwrap().judge(batch).unwrap().decoded.rows;
    let kept: Vec<usize> = tagged
        .schema_ref()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name() != "note")
        .map(|(index, _)| index)
        .collect();
    let found = tagged.project(&kept).unwrap();
    let plain: Vec<(String, ArrayRef)> = found
        .schema_ref()
        .fields()
        .iter()
        .zip(found.columns())
        .map(|(field, column)| {
            let column = match field.data_type() {
                DataType::Dictionary(_, value) => cast(column, value).unwrap(),
                _ => column.clone(),
            };
            (field.name().clone(), column)
        })
        .collect();
    Stored {
        zone: zone.parse().unwrap(),
        table: "state".parse::<TableName>().unwrap(),
        found: FoundRows {
            file: "event_date=2026-03-01/f-0.parquet".to_owned(),
            positions: (100..).take(count).collect(),
            rows: RecordBatch::try_from_iter_with_nullable(
                plain.into_iter().map(|(name, column)| (name, column, true)),
            )
            .unwrap(),
        },
        numbers,
    }
}

/// The rows with another text in one column.
fn changed(mut part: Stored, column: &str, text: &str) -> Stored {
    let rows = &part.found.rows;
    let index = rows.schema_ref().index_of(column).unwrap();
    let mut columns = rows.columns().to_vec();
    columns[index] = Arc::new(StringArray::from(vec![text; rows.num_rows()]));
    part.found.rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    part
}

fn explained(policy: &Arc<Policy>, part: Stored, version: &ContentVersion) -> Explanation {
    let mut explanation = Explanation::new(&record(), &Coverage::default());
    let name: PipelineName = "state".parse().unwrap();
    let versions = Versions { policy: version.clone(), schema: ContentVersion::of(b"s"), definition: None };
    let past = Texts(policy.clone());
    let (retags, cluster) = (BTreeMap::new(), cluster());
    let texts =
        super::Texts { versions: Some((&name, versions)), retags: &retags, past: &past, cluster: &cluster };
    rows(&[part], None, &texts, &record(), &mut explanation);
    explanation.conclude();
    explanation
}

fn policy() -> Arc<Policy> {
    Arc::new(Policy::parse("policy.yaml", POLICY).unwrap())
}

#[test]
fn what_nobody_touched_is_equal_and_is_told_with_its_reasons() {
    let policy = policy();
    let part = stored(&policy, &["nn-1", "nn-1", "nn-1"], &[60, 60, 20], "CN");
    let told = explained(&policy, part, policy.version());
    assert_eq!((told.verdict, &told.findings), (Verdict::Equal, &Vec::new()));
    let [hot, cold] = told.rows.as_slice() else { panic!("two kinds of rows: {:?}", told.rows) };
    assert_eq!((&hot.rows, &hot.positions), (&vec![0, 1], &vec![100, 101]));
    assert_eq!(cold.rows, [2]);
    let rule = hot.rule.as_ref().unwrap();
    assert_eq!((&*rule.id, &*rule.basis, rule.reference.as_deref()), ("hot", "law", Some("Art. 21")));
    assert_eq!(hot.device.as_deref(), Some("nn-1"));
    assert_eq!(hot.models[0].markets, ["CN", "DE"]);
    assert_eq!(hot.tags[names::MODELS].as_deref(), Some("wear"));
    assert_eq!(cold.tags[names::TRAINING].as_deref(), Some("in-zone"), "a model leaves the zone");
    let text = told.to_string();
    assert!(text.contains("declared      basis          law: Art. 21"), "{text}");
    assert!(text.ends_with("verdict: equal; 0 findings"), "{text}");
}

#[test]
fn each_tag_that_was_changed_is_flagged() {
    let policy = policy();
    for (column, text, finding) in [
        (names::RULE, "cn", "row 0: _rule is `cn`, judged again it is `hot`"),
        (names::TRAINING, "allowed", "row 0: _training is `allowed`, judged again it is `in-zone`"),
        (names::CLASS, "general", "row 0: _class is `general`, judged again it is `important`"),
        (names::JURISDICTION, "DE", "row 0: _jurisdiction is `DE`, judged again it is `CN`"),
        (names::SITE, "hall-7", "row 0: _site is `hall-7`, judged again it is `nanning-1`"),
        (names::ZONE, "EU", "row 0 lies in zone CN, its _zone is `EU`"),
        (names::CLAIMED, "secret", "row 0: _claimed is otherwise when judged again"),
    ] {
        let part = changed(stored(&policy, &["nn-1"], &[60], "CN"), column, text);
        let told = explained(&policy, part, policy.version());
        assert_eq!(told.verdict, Verdict::Flagged, "{column}");
        assert!(told.findings.iter().any(|found| found == finding), "{column}: {:?}", told.findings);
        assert!(!told.findings.concat().contains("secret"), "a claim is payload");
    }
}

#[test]
fn a_value_that_decides_is_flagged_when_it_was_changed() {
    let policy = policy();
    let mut part = stored(&policy, &["nn-1"], &[60], "CN");
    let index = part.found.rows.schema_ref().index_of("load").unwrap();
    let mut columns = part.found.rows.columns().to_vec();
    columns[index] = Arc::new(Int64Array::from(vec![7]));
    part.found.rows = RecordBatch::try_new(part.found.rows.schema(), columns).unwrap();
    let told = explained(&policy, part, policy.version());
    assert!(
        told.findings.iter().any(|found| found.starts_with("row 0: _rule is `hot`")),
        "{:?}",
        told.findings
    );
    assert!(
        told.findings.iter().any(|found| found.starts_with("row 0: _models is `wear`")),
        "{:?}",
        told.findings
    );
}

#[test]
fn what_the_policy_looks_at_must_be_there() {
    let policy = policy();
    let rows = stored(&policy, &["nn-1"], &[60], "CN").found.rows;
    let judgement = Judgement { policy, facts: facts() };
    let mut rejudge = Rejudge::new(&judgement, &cluster()).unwrap();
    rejudge.judge(&rows, "t", 0).expect("what it does not look at may be missing");
    for column in ["load", "device"] {
        let mut less = rows.clone();
        less.remove_column(rows.schema_ref().index_of(column).unwrap());
        let error = rejudge.judge(&less, "t", 0).unwrap_err();
        assert_eq!(error, format!("column `{column}` is missing"));
    }
}

#[test]
fn texts_that_are_gone_are_flagged() {
    let policy = policy();
    let part = stored(&policy, &["nn-1"], &[60], "CN");
    let told = explained(&policy, part, &ContentVersion::of(b"another"));
    assert_eq!(told.verdict, Verdict::Flagged);
    assert!(told.findings[0].contains("keeps no policy of version"), "{:?}", told.findings);
    assert!(told.rows[0].recomputed.is_none());
}

#[test]
fn the_cluster_of_the_records_and_the_lines_of_their_site_count() {
    let text =
        POLICY.replace("topics: [t], devices: [nn-1]", "topics: [t], cluster: k, lines: { l-1: [nn-1] }");
    let policy = Arc::new(Policy::parse("policy.yaml", &text).unwrap());
    let told = explained(&policy, stored(&policy, &["nn-1"], &[60], "CN"), policy.version());
    assert_eq!((told.verdict, &told.findings), (Verdict::Equal, &Vec::new()));
    assert_eq!(told.rows[0].device.as_deref(), Some("nn-1"));
}

/// An id that no site lists is payload.
#[test]
fn only_devices_of_the_registry_are_named() {
    let policy = policy();
    let told = explained(&policy, stored(&policy, &["canary-1"], &[1], "EU"), policy.version());
    assert_eq!(told.verdict, Verdict::Equal, "{:?}", told.findings);
    assert_eq!(told.rows[0].device, None);
    assert!(!told.to_string().contains("canary-1"), "{told}");
}

/// What a re-tagging gave, by the policy that it names, and what somebody changed afterwards.
#[test]
fn a_retagged_row_is_judged_by_its_own_policy() {
    let (old, name) = (policy(), "state".parse().unwrap());
    let text =
        POLICY.replace("reference: Art. 21, training: in-zone", "reference: Art. 22, training: prohibited");
    let new = Arc::new(Policy::parse("policy.yaml", &text).unwrap());
    let retag = |policy: &Policy, table: &str| situs_store::Retag {
        id: "r-1".to_owned(),
        by: "somebody".to_owned(),
        at_us: 0,
        policy: policy.version().clone(),
        body: situs_store::RetagBody {
            reason: "a new law".to_owned(),
            schema: ContentVersion::of(b"s").to_string(),
            definition: ContentVersion::of(b"d").to_string(),
            version: 7,
            found: situs_store::Retagging { table: table.to_owned(), ..situs_store::Retagging::default() },
            removed: Vec::new(),
            written: Vec::new(),
        },
    };
    #[derive(Debug)]
    struct Both(Arc<Policy>, Arc<Policy>);
    impl Past for Both {
        fn judgement(&self, _: &PipelineName, versions: &Versions) -> Result<Judgement, String> {
            let policy = if versions.policy == *self.0.version() { &self.0 } else { &self.1 };
            Ok(Judgement { policy: policy.clone(), facts: facts() })
        }
        fn reason(&self, _: &QuarantineEntry, _: &Content, _: &Versions) -> Result<Option<String>, String> {
            Ok(None)
        }
    }
    let past = Both(old.clone(), new.clone());
    let versions =
        Versions { policy: old.version().clone(), schema: ContentVersion::of(b"s"), definition: None };
    let told = |part: Stored, retags: Vec<situs_store::Retag>| {
        let mut explanation = Explanation::new(&record(), &Coverage::default());
        let (retags, cluster) = (BTreeMap::from([("CN".parse().unwrap(), retags)]), cluster());
        let texts = super::Texts {
            versions: Some((&name, versions.clone())),
            retags: &retags,
            past: &past,
            cluster: &cluster,
        };
        rows(&[part], None, &texts, &record(), &mut explanation);
        explanation.conclude();
        explanation
    };
    let equal = told(stored(&new, &["nn-1"], &[60], "CN"), vec![retag(&new, "state")]);
    assert_eq!((equal.verdict, &equal.findings), (Verdict::Equal, &Vec::new()));
    let of_row = &equal.rows[0];
    assert_eq!(of_row.retagged.as_ref().unwrap().before, old.version().as_str());
    assert_eq!(of_row.rule.as_ref().unwrap().reference.as_deref(), Some("Art. 22"));
    let text = equal.to_string();
    assert!(text.contains("declared      asked for by   somebody: a new law"), "{text}");

    // Without a re-tagging of this very table that gave this policy, it is flagged.
    for none in [Vec::new(), vec![retag(&old, "state")], vec![retag(&new, "other")]] {
        let flagged = told(stored(&new, &["nn-1"], &[60], "CN"), none);
        assert_eq!(flagged.verdict, Verdict::Flagged);
        assert!(flagged.findings[0].contains("no re-tagging tells of it"), "{:?}", flagged.findings);
    }
    // A tag that somebody changed since then is flagged as ever.
    let part = changed(stored(&new, &["nn-1"], &[60], "CN"), names::TRAINING, "allowed");
    let flagged = told(part, vec![retag(&new, "state")]);
    assert_eq!(flagged.findings, ["row 0: _training is `allowed`, judged again it is `prohibited`"]);
    // And a row that was never tagged again is what its receipt's policy says.
    let before = told(stored(&old, &["nn-1"], &[60], "CN"), vec![retag(&new, "state")]);
    assert_eq!((before.verdict, &before.rows[0].retagged), (Verdict::Equal, &None));
}
