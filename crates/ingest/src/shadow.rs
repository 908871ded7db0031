//! Judging live records by a second policy, which decides nothing: what would it place elsewhere?

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, Int32Array, RecordBatch, StringArray};
use situs_model::columns::names;
use situs_model::{
    ContentVersion, DecodedBatch, PipelineName, TaggedBatch, UndeterminedReason, Verdict, ZoneId,
};
use situs_observe::Metrics;
use situs_policy::Judge;

/// Devices that are told apart at most; the records of all others are counted together.
const DEVICES: usize = 10_000;

/// What a policy says of a record, which goes where its message goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// The zone, or the reason of quarantine. One row that cannot be placed takes its whole message there.
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
    metrics: Arc<Metrics>,
    found: Mutex<Gathered>,
}

/// What was found against the policy in force.
#[derive(Debug)]
struct Gathered {
    in_force: ContentVersion,
    /// The devices that may be named.
    registered: Arc<HashSet<Arc<str>>>,
    counts: ShadowCounts,
}

impl ShadowReport {
    /// Of a policy of this version, compared with the one in force. `registered` are the devices that may be
    /// named: those that one of the policies lists.
    pub fn new(
        version: ContentVersion,
        in_force: ContentVersion,
        registered: HashSet<Arc<str>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let registered = Arc::new(registered);
        let found = Mutex::new(Gathered { in_force, registered, counts: ShadowCounts::default() });
        Self { version, metrics, found }
    }

    /// Devices that may be named from now on too: those of a policy that is to come into force.
    pub fn may_name(&self, devices: impl IntoIterator<Item = Arc<str>>) {
        let mut found = self.gathered();
        let all = found.registered.iter().cloned().chain(devices).collect();
        found.registered = Arc::new(all);
    }

    /// The version of the policy in force, against which was counted.
    pub fn in_force(&self) -> ContentVersion {
        self.gathered().in_force.clone()
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another policy has come into force: what was found against the one before says nothing of it.
    fn begin_again(&self, in_force: &ContentVersion) {
        let mut found = self.gathered();
        if found.in_force != *in_force {
            found.in_force = in_force.clone();
            found.counts = ShadowCounts::default();
        }
    }

    /// The version of the second policy.
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// What was found until now.
    pub fn counts(&self) -> ShadowCounts {
        self.gathered().counts.clone()
    }

    fn add(&self, pipeline: &PipelineName, found: Found) {
        let moved = found.changes.iter().filter(|(change, _)| change.moves()).map(|(_, count)| count).sum();
        let changed: u64 = found.changes.values().sum();
        let records = |kind: &str| self.metrics.shadow_records.with_label_values(&[pipeline.as_str(), kind]);
        records("equal").inc_by(found.records - changed);
        records("moved").inc_by(moved);
        records("other-tags").inc_by(changed - moved);
        records("not-judged").inc_by(found.not_judged);
        let mut gathered = self.gathered();
        let counts = &mut gathered.counts;
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
    /// Whether it was told that it cannot judge.
    told: bool,
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
        Self { judge, device, report, told: false }
    }

    /// Judges the rows of a batch that was judged by the policy in force. Whatever goes wrong with the second
    /// policy stays here.
    pub(crate) fn compare(&mut self, tagged: &TaggedBatch, stores: &BTreeSet<ZoneId>) -> Found {
        let records = tagged.verdict_of_row.len() as u64;
        let (judge, device) = (&mut self.judge, self.device);
        let registered = self.report.gathered().registered.clone();
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
            let (before, after) = (Tags::of(tagged, tagged, stores)?, again.ok()?);
            let after = Tags::of(&after, tagged, stores)?;
            differences(&before, &after, device, judge.pipeline(), &registered)
        });
        if !self.told && !matches!(compared, Ok(Some(_))) {
            self.told = true;
            let why = compared.as_ref().err().map_or_else(|| "it fails".to_owned(), ToString::to_string);
            tracing::warn!(
                event = "shadow-not-judged",
                pipeline = self.judge.pipeline().as_str(),
                "the second policy cannot judge a batch, and this is told once: {why}"
            );
        }
        match compared.ok().flatten() {
            Some((changes, moved)) => Found { records, not_judged: 0, changes, moved },
            None => Found { records: 0, not_judged: records, ..Found::default() },
        }
    }

    /// Another policy has come into force.
    pub(crate) fn begin_again(&self, in_force: &ContentVersion) {
        self.report.begin_again(in_force);
    }

    /// Counts what was found in a batch that goes on.
    pub(crate) fn note(&self, found: Found) {
        self.report.add(self.judge.pipeline(), found);
    }
}

type Differences = (BTreeMap<Change, u64>, HashMap<Option<Arc<str>>, u64>);

fn differences(
    old: &Tags<'_>,
    new: &Tags<'_>,
    device: Option<usize>,
    pipeline: &PipelineName,
    registered: &HashSet<Arc<str>>,
) -> Option<Differences> {
    let rows = &old.batch.decoded.rows;
    let sites = Words::of(rows.column_by_name(names::SITE)?)?;
    let devices = device.map(|column| rows.column(column));
    // Rows with the same keys are decided in the same way, so each such set is put into words once.
    let mut sets: HashMap<([i32; 6], [i32; 6]), Vec<usize>> = HashMap::new();
    for row in 0..rows.num_rows() {
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
    /// The verdict on the message of each row, as an index into `places`.
    place_of_row: Vec<usize>,
    places: Vec<String>,
    rule: Words<'a>,
    class: Words<'a>,
    training: Words<'a>,
    models: &'a Int32Array,
    /// The lists of models that the keys stand for, as text.
    lists: Vec<String>,
}

impl<'a> Tags<'a> {
    /// The tags of a batch; `decoded` is the same batch with its messages.
    fn of(batch: &'a TaggedBatch, decoded: &TaggedBatch, stores: &BTreeSet<ZoneId>) -> Option<Self> {
        let (place_of_row, places) = places(batch, &decoded.decoded.message_of_row, stores);
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
            place_of_row,
            places,
            rule: words(names::RULE)?,
            class: words(names::CLASS)?,
            training: words(names::TRAINING)?,
            models: models.keys(),
            lists: lists.map(Option::unwrap_or_default).collect(),
        })
    }

    fn keys(&self, row: usize, site: i32) -> [i32; 6] {
        let models = if self.models.is_valid(row) { self.models.value(row) } else { -1 };
        let place = i32::try_from(self.place_of_row[row]).unwrap_or(-1);
        [place, self.rule.key(row), self.class.key(row), self.training.key(row), models, site]
    }

    fn decision(&self, row: usize) -> Decision {
        let place = self.places[self.place_of_row[row]].clone();
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

/// Where the message of each row goes, as `split` would decide it: to the zone of its rows, or to quarantine
/// for the first of them that cannot be placed.
fn places(
    batch: &TaggedBatch,
    message_of_row: &[u32],
    stores: &BTreeSet<ZoneId>,
) -> (Vec<usize>, Vec<String>) {
    let place = |verdict: &Verdict| match verdict {
        Verdict::Resident(zone) if stores.contains(zone) => (true, zone.to_string()),
        Verdict::Resident(_) => (false, UndeterminedReason::ZoneWithoutStore.to_string()),
        Verdict::Undetermined(reason) => (false, reason.to_string()),
    };
    let (placed, places): (Vec<bool>, Vec<String>) = batch.verdicts.iter().map(place).unzip();
    let mut of_row: Vec<usize> = batch.verdict_of_row.iter().map(|verdict| usize::from(*verdict)).collect();
    let mut start = 0;
    for message in message_of_row.chunk_by(|a, b| a == b) {
        let rows = &mut of_row[start..start + message.len()];
        if let Some(first) = rows.iter().find(|place| !placed[**place]).copied() {
            rows.fill(first);
        }
        start += message.len();
    }
    (of_row, places)
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
