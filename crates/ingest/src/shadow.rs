//! Judging live records by a second policy, which decides nothing: what would it place elsewhere?

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, Int32Array, RecordBatch, StringArray};
use situs_model::columns::names;
use situs_model::{ContentVersion, DecodedBatch, PipelineName, TaggedBatch, Verdict};
use situs_observe::Metrics;
use situs_policy::Judge;

/// Devices that are told apart at most; the records of all others are counted together.
const DEVICES: usize = 10_000;

/// What a policy says of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// The zone, or the reason of quarantine.
    pub place: String,
    /// The rule that decided; none without one.
    pub rule: Option<String>,
    /// The class.
    pub class: String,
    /// The use for training.
    pub training: String,
    /// The models that it feeds, joined by `,`.
    pub models: String,
}

/// A kind of records that the second policy decides otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Their pipeline.
    pub pipeline: String,
    /// Their site by the policy in force; none if it does not know.
    pub site: Option<String>,
    /// By the policy in force.
    pub before: Decision,
    /// By the second.
    pub after: Decision,
}

impl Change {
    /// Whether such records would lie elsewhere; otherwise only their other tags differ.
    pub fn moves(&self) -> bool {
        self.before.place != self.after.place
    }
}

/// What was found until now. A record is a row. One that is read again is counted again.
#[derive(Debug, Clone, Default)]
pub struct ShadowCounts {
    /// Records that both policies have judged.
    pub records: u64,
    /// Records that could not be judged by the second policy for a fault of a step.
    pub not_judged: u64,
    /// Records that are decided otherwise, by kind.
    pub changes: BTreeMap<Change, u64>,
    /// Records that would lie elsewhere, by device; of devices that neither policy registers, and of those
    /// beyond ten thousand, under `None`.
    pub moved: BTreeMap<Option<Arc<str>>, u64>,
}

/// What the second policy would change, gathered from all workers.
#[derive(Debug)]
pub struct ShadowReport {
    version: ContentVersion,
    registered: HashSet<Arc<str>>,
    metrics: Arc<Metrics>,
    counts: Mutex<ShadowCounts>,
}

impl ShadowReport {
    /// Of a policy of this version. `registered` are the devices that may be named: those that one of the
    /// policies lists.
    pub fn new(version: ContentVersion, registered: HashSet<Arc<str>>, metrics: Arc<Metrics>) -> Self {
        Self { version, registered, metrics, counts: Mutex::default() }
    }

    /// The version of the second policy.
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// What was found until now.
    pub fn counts(&self) -> ShadowCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, pipeline: &PipelineName, found: Found) {
        let moved = found.changes.iter().filter(|(change, _)| change.moves()).map(|(_, count)| count).sum();
        let changed: u64 = found.changes.values().sum();
        let records = |kind: &str| self.metrics.shadow_records.with_label_values(&[pipeline.as_str(), kind]);
        records("equal").inc_by(found.records - changed);
        records("moved").inc_by(moved);
        records("other-tags").inc_by(changed - moved);
        records("not-judged").inc_by(found.not_judged);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.records += found.records;
        counts.not_judged += found.not_judged;
        for (change, count) in found.changes {
            *counts.changes.entry(change).or_default() += count;
        }
        for (device, count) in found.moved {
            let full = counts.moved.len() >= DEVICES && !counts.moved.contains_key(&device);
            *counts.moved.entry(device.filter(|_| !full)).or_default() += count;
        }
    }
}

/// The second policy made ready for one pipeline of one worker.
#[derive(Debug)]
pub struct Shadow {
    judge: Judge,
    /// The decoded column of the device.
    device: Option<usize>,
    report: Arc<ShadowReport>,
}

/// What was found in a batch.
#[derive(Debug, Default)]
pub(crate) struct Found {
    records: u64,
    not_judged: u64,
    changes: BTreeMap<Change, u64>,
    moved: HashMap<Option<Arc<str>>, u64>,
}

impl Shadow {
    /// Of a judge for the pipeline, whose device stands in that decoded column.
    pub fn new(judge: Judge, device: Option<usize>, report: Arc<ShadowReport>) -> Self {
        Self { judge, device, report }
    }

    /// Judges the rows of a batch that was judged by the policy in force. Whatever goes wrong with the second
    /// policy stays here.
    pub(crate) fn compare(&mut self, tagged: &TaggedBatch) -> Found {
        let records = tagged.verdict_of_row.len() as u64;
        let (judge, device, report) = (&mut self.judge, self.device, &self.report);
        let compared = situs_observe::catch(|| {
            let rows = &tagged.decoded.rows;
            // The tags stand behind the decoded columns.
            let tags = situs_model::columns::tag_fields().len();
            let decoded = rows.project(&Vec::from_iter(0..rows.num_columns() - tags)).ok()?;
            let again = judge.judge(DecodedBatch {
                raw: tagged.decoded.raw.clone(),
                rows: decoded,
                message_of_row: Vec::new(),
                rejects: Vec::new(),
                notes: Default::default(),
            });
            differences(tagged, &again.ok()?, device, judge.pipeline(), &report.registered)
        });
        match compared.ok().flatten() {
            Some((changes, moved)) => Found { records, not_judged: 0, changes, moved },
            None => Found { records: 0, not_judged: records, ..Found::default() },
        }
    }

    /// Counts what was found in a batch that goes on.
    pub(crate) fn note(&self, found: Found) {
        self.report.add(self.judge.pipeline(), found);
    }
}

type Differences = (BTreeMap<Change, u64>, HashMap<Option<Arc<str>>, u64>);

fn differences(
    before: &TaggedBatch,
    after: &TaggedBatch,
    device: Option<usize>,
    pipeline: &PipelineName,
    registered: &HashSet<Arc<str>>,
) -> Option<Differences> {
    let (old, new) = (Tags::of(before)?, Tags::of(after)?);
    let sites = Words::of(before.decoded.rows.column_by_name(names::SITE)?)?;
    let devices = device.map(|column| before.decoded.rows.column(column));
    // Rows with the same keys are decided in the same way, so each such set is put into words once.
    let mut sets: HashMap<([i32; 6], [i32; 6]), Vec<usize>> = HashMap::new();
    for row in 0..before.verdict_of_row.len() {
        let key = (old.keys(row, sites.key(row)), new.keys(row, 0));
        sets.entry(key).or_default().push(row);
    }
    let (mut changes, mut moved) = (BTreeMap::new(), HashMap::new());
    for rows in sets.into_values() {
        let Some(&row) = rows.first() else { continue };
        let (then, now) = (old.decision(row), new.decision(row));
        if then == now {
            continue;
        }
        let site = sites.text(row).map(str::to_owned);
        let change = Change { pipeline: pipeline.to_string(), site, before: then, after: now };
        if change.moves() {
            for row in &rows {
                let id = devices.and_then(|devices| text(devices, *row));
                let named = id.and_then(|id| registered.get(id)).cloned();
                *moved.entry(named).or_default() += 1;
            }
        }
        *changes.entry(change).or_default() += rows.len() as u64;
    }
    Some((changes, moved))
}

/// The tags of a batch, to be compared.
struct Tags<'a> {
    batch: &'a TaggedBatch,
    rule: Words<'a>,
    class: Words<'a>,
    training: Words<'a>,
    models: &'a Int32Array,
    /// The lists of models that the keys stand for, as text.
    lists: Vec<String>,
}

impl<'a> Tags<'a> {
    fn of(batch: &'a TaggedBatch) -> Option<Self> {
        let rows: &RecordBatch = &batch.decoded.rows;
        let words = |name: &str| Words::of(rows.column_by_name(name)?);
        let models = rows.column_by_name(names::MODELS)?.as_dictionary_opt::<Int32Type>()?;
        let lists = models.values().as_list_opt::<i32>()?;
        let joined = |list: ArrayRef| {
            let names: Vec<&str> = list.as_string_opt::<i32>()?.iter().flatten().collect();
            Some(names.join(","))
        };
        let lists = (0..lists.len()).map(|at| if lists.is_null(at) { None } else { joined(lists.value(at)) });
        Some(Self {
            batch,
            rule: words(names::RULE)?,
            class: words(names::CLASS)?,
            training: words(names::TRAINING)?,
            models: models.keys(),
            lists: lists.map(Option::unwrap_or_default).collect(),
        })
    }

    fn keys(&self, row: usize, site: i32) -> [i32; 6] {
        let models = if self.models.is_valid(row) { self.models.value(row) } else { -1 };
        let verdict = i32::from(self.batch.verdict_of_row[row]);
        [verdict, self.rule.key(row), self.class.key(row), self.training.key(row), models, site]
    }

    fn decision(&self, row: usize) -> Decision {
        let verdict = &self.batch.verdicts[usize::from(self.batch.verdict_of_row[row])];
        let place = match verdict {
            Verdict::Resident(zone) => zone.to_string(),
            Verdict::Undetermined(reason) => reason.to_string(),
        };
        let word = |words: &Words<'_>| words.text(row).map(str::to_owned);
        let models = self.models.is_valid(row).then(|| self.models.value(row));
        let models = models.and_then(|key| self.lists.get(usize::try_from(key).ok()?)).cloned();
        Decision {
            place,
            rule: word(&self.rule),
            class: word(&self.class).unwrap_or_default(),
            training: word(&self.training).unwrap_or_default(),
            models: models.unwrap_or_default(),
        }
    }
}

/// A column of words.
struct Words<'a> {
    keys: &'a Int32Array,
    values: &'a StringArray,
}

impl<'a> Words<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        let dictionary = column.as_dictionary_opt::<Int32Type>()?;
        Some(Self { keys: dictionary.keys(), values: dictionary.values().as_string_opt()? })
    }

    /// The word's number; negative if there is none.
    fn key(&self, row: usize) -> i32 {
        if self.keys.is_valid(row) { self.keys.value(row) } else { -1 }
    }

    fn text(&self, row: usize) -> Option<&'a str> {
        let key = usize::try_from(self.key(row)).ok()?;
        self.values.is_valid(key).then(|| self.values.value(key))
    }
}

/// The text of a row, in a column of texts with or without a dictionary.
fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    match column.as_string_opt::<i32>() {
        Some(texts) => texts.is_valid(row).then(|| texts.value(row)),
        None => Words::of(column)?.text(row),
    }
}
