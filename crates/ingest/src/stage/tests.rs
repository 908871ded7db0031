//! Batches with poison against their messages one by one.

mod shadow;

use std::collections::BTreeMap;
use std::path::Path;

use arrow_cast::display::array_value_to_string;
use situs_model::invariant::{eo1, eo2};
use situs_model::{Counts, DecodeNotes, NextOffset, QuarantineReason, Quarantined, RejectCode};
use situs_policy::{PipelineFacts, Policy};

use super::isolate::MOST_IN_A_ROW;
use super::*;

/// Goes wrong at a step, for some batches.
pub(super) struct Trap(Box<Spring>);

type Spring = dyn Fn(Step, &RawBatch) -> Result<(), Fault> + Send;

impl std::fmt::Debug for Trap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trap")
    }
}

impl Stage {
    pub(super) fn spring(&self, step: Step, raw: &RawBatch) -> Result<(), Fault> {
        self.trap.as_ref().map_or(Ok(()), |trap| (trap.0)(step, raw))
    }
}

const SECRET: &str = "a value of the payload";

/// What a step does with poison.
#[derive(Debug, Clone, Copy)]
enum Way {
    Fails,
    Panics,
}

/// Whether an offset makes a step go wrong.
fn trap(at: Step, way: Way, poison: impl Fn(i64) -> bool + Send + 'static) -> Trap {
    Trap(Box::new(move |step, raw| {
        let hit = step == at && raw.iter().any(|message| poison(message.offset));
        match way {
            Way::Fails if hit => Err(Fault::Split("a fault".to_owned())),
            Way::Panics if hit => panic!("{SECRET}"),
            _ => Ok(()),
        }
    }))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The stage of a pipeline that ships, under a policy.
fn stage(name: &str, policy: &str) -> Stage {
    let text = read(&format!("pipelines/{name}/pipeline.yaml"));
    let pipeline = Pipeline::parse("pipeline.yaml", &text).unwrap();
    let schema = read(&format!("schemas/{}.json", pipeline.schema));
    let schema = Arc::new(Schema::parse("v1.json", &schema, &pipeline.device).unwrap());
    let facts = PipelineFacts {
        name: pipeline.name.clone(),
        scenario: pipeline.scenario,
        class: pipeline.class,
        topics: pipeline.topics.clone(),
        schema: schema.arrow_schema().clone(),
        device_column: schema.device_column().map(str::to_owned),
        claim_columns: schema.claim_columns().to_vec(),
    };
    let policy = Arc::new(Policy::parse("policy.yaml", policy).unwrap());
    let judge = policy.judge(&facts).unwrap();
    Stage::new(pipeline, schema, judge, Arc::default())
}

fn zones() -> BTreeSet<ZoneId> {
    ["CN", "EU"].into_iter().map(|zone| zone.parse().unwrap()).collect()
}

fn empty(topic: &str) -> RawBatch {
    let source = Source { cluster: "kafka".parse().unwrap(), topic: topic.into(), partition: 3 };
    RawBatch::new(source, NextOffset(1000), 1_772_323_200_000_000)
}

/// Blocks of samples whose counters go on from message to message, between all that can become of a
/// message. Offsets begin at 1000 and have holes.
fn waveforms(count: usize) -> RawBatch {
    let mut raw = empty("cnc.waveform");
    for n in 0..count {
        let counter = n * 3;
        let block = format!(
            r#"{{"HFData":[[{counter},1.5,{n}],[{},2.5,-1e-3],[{},-0.0,7]]}}"#,
            counter + 1,
            counter + 2
        );
        let (key, payload) = match n % 9 {
            2 => ("st-cnc-001", block),
            4 => ("nobody-knows", block),
            5 => ("nn-cnc-001", r#"{"HFData":[[1,2"#.to_owned()),
            7 => ("nn-cnc-001", r#"{"HFCallEvent":{"call":1}}"#.to_owned()),
            _ => ("nn-cnc-001", block),
        };
        let offset = 1000 + (n + n / 5) as i64;
        let header = (&b"trace"[..], Some(&b"t-1"[..]));
        raw.push(
            offset,
            Some(1_772_323_200_000),
            Some(key.as_bytes()),
            Some(payload.as_bytes()),
            [header].into_iter(),
        );
    }
    raw
}

/// All that can be seen of a split: each zone's rows in order as text, and the rest.
type Seen = (BTreeMap<ZoneId, Vec<String>>, Vec<Quarantined>, Counts, DecodeNotes);

fn seen(split: Split) -> Seen {
    assert!(eo1(&split.counts) && eo2(&split.counts), "{:?}", split.counts);
    let mut zones: BTreeMap<ZoneId, Vec<String>> = BTreeMap::new();
    for batch in &split.resident {
        let rows = zones.entry(batch.zone().clone()).or_default();
        for row in 0..batch.rows().num_rows() {
            let values =
                batch.rows().columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    (zones, split.quarantined, split.counts, split.notes)
}

/// The messages one by one, those that are poison by hand.
fn one_by_one(raw: &RawBatch, poison: impl Fn(i64) -> bool) -> Seen {
    let mut stage = stage("cnc-waveform", &read("pipelines/policy.yaml"));
    let mut whole = Split::default();
    for index in 0..raw.len() {
        let message = raw.part(index..index + 1);
        whole.add(match poison(message.offset(0)) {
            true => Split::poison(&message),
            false => stage.turn(message, &zones()).unwrap().0,
        });
    }
    seen(whole)
}

fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    }
}

/// Every way to go wrong at every step, with none to all messages poison, first, last and between.
#[test]
fn poison_harms_no_neighbour_wherever_it_stands() {
    let mut random = numbers(7);
    let mut batches: Vec<(usize, Vec<usize>)> = vec![
        (1, vec![]),
        (1, vec![0]),
        (2, vec![1]),
        (19, vec![]),
        (19, vec![0]),
        (19, vec![18]),
        (19, vec![9]),
        (19, vec![0, 18]),
        (19, vec![8, 9]),
        (19, (0..19).collect()),
    ];
    for _ in 0..8 {
        let count = 1 + random(24);
        batches.push((count, (0..random(count + 1)).map(|_| random(count)).collect()));
    }
    let mut ways = [Step::Decode, Step::Judge, Step::Split]
        .into_iter()
        .flat_map(|step| [Way::Fails, Way::Panics].map(|way| (step, way)))
        .cycle();
    for (count, indices) in batches {
        let raw = waveforms(count);
        let poison: BTreeSet<i64> = indices.iter().map(|index| raw.offset(*index)).collect();
        let expected = one_by_one(&raw, |offset| poison.contains(&offset));
        for (step, way) in ways.by_ref().take(3) {
            let mut stage = stage("cnc-waveform", &read("pipelines/policy.yaml"));
            let there = poison.clone();
            stage.trap = Some(trap(step, way, move |offset| there.contains(&offset)));
            let (split, room) = stage.turn(raw.clone(), &zones()).unwrap();
            assert!(seen(split) == expected, "{count} messages, poison {indices:?}, {way:?} at {step}");
            assert_eq!(room.unwrap().len(), count, "the batch's room is given back");
        }
    }
}

/// What the next batch takes from this one is what it would take without the poison.
#[test]
fn the_next_batch_goes_on_as_if_nothing_had_happened() {
    let raw = waveforms(30);
    for (step, way) in [(Step::Judge, Way::Panics), (Step::Decode, Way::Fails)] {
        let expected = one_by_one(&raw, |offset| offset == raw.offset(12));
        let mut stage = stage("cnc-waveform", &read("pipelines/policy.yaml"));
        let poison = raw.offset(12);
        stage.trap = Some(trap(step, way, move |offset| offset == poison));
        let mut whole = Split::default();
        for part in [0..10, 10..14, 14..30] {
            whole.add(stage.turn(raw.part(part), &zones()).unwrap().0);
        }
        assert!(seen(whole) == expected);
    }
}

#[test]
fn poison_is_kept_whole_and_counted_as_a_reject() {
    let raw = waveforms(4);
    let mut stage = stage("cnc-waveform", &read("pipelines/policy.yaml"));
    stage.trap = Some(trap(Step::Judge, Way::Panics, |offset| offset == 1001));
    let (split, _) = stage.turn(raw.clone(), &zones()).unwrap();
    let reason = QuarantineReason::Rejected(RejectCode::Poison);
    assert_eq!((split.counts.rejected, split.counts.quarantined[&reason]), (1, 1));
    let [message] = split.quarantined.as_slice() else { panic!("one message") };
    let original = raw.get(1);
    assert_eq!((message.offset, message.reason), (1001, reason));
    assert_eq!(message.payload.as_deref(), original.payload);
    assert_eq!(message.key.as_deref(), original.key);
    assert_eq!(message.headers, [(b"trace".to_vec(), Some(b"t-1".to_vec()))]);
}

#[test]
fn what_is_no_messages_fault_stops() {
    // Even without messages it fails.
    let mut stage = stage("cnc-waveform", &read("pipelines/policy.yaml"));
    stage.trap = Some(Trap(Box::new(|step, _| {
        if step == Step::Judge { Err(Fault::Split("a fault".to_owned())) } else { Ok(()) }
    })));
    let error = stage.turn(waveforms(8), &zones()).unwrap_err();
    assert!(matches!(error, StageError::Batch { .. }), "{error}");

    // The columns do not fit.
    stage.trap = Some(Trap(Box::new(|_, raw| match raw.is_empty() {
        true => Ok(()),
        false => Err(JudgeError::Columns { pipeline: "cnc-waveform".parse().unwrap() }.into()),
    })));
    assert!(matches!(stage.turn(waveforms(8), &zones()), Err(StageError::Batch { .. })));

    // Every message fails, in one batch and over many.
    let all = || Some(trap(Step::Decode, Way::Panics, |_| true));
    stage.trap = all();
    let most = MOST_IN_A_ROW as usize;
    let error = stage.turn(waveforms(most + 1), &zones()).unwrap_err();
    assert!(matches!(error, StageError::TooMuchPoison { .. }), "{error}");
    assert!(error.to_string().contains("cnc.waveform/3") && !error.to_string().contains(SECRET), "{error}");

    let mut stage = self::stage("cnc-waveform", &read("pipelines/policy.yaml"));
    let turn = |stage: &mut Stage, messages| stage.turn(waveforms(messages), &zones()).map(drop);
    stage.trap = all();
    (0..most).for_each(|_| turn(&mut stage, 1).unwrap());
    // A message that becomes rows ends the row; one that is rejected does not.
    stage.trap = None;
    turn(&mut stage, 1).unwrap();
    stage.trap = all();
    (0..most).for_each(|_| turn(&mut stage, 1).unwrap());
    stage.trap = None;
    stage.turn(waveforms(6).part(5..6), &zones()).unwrap();
    stage.trap = all();
    assert!(matches!(turn(&mut stage, 1), Err(StageError::TooMuchPoison { .. })));
}

/// Poison as it is found in the wild: DataFusion's `lpad` reserves room for a length that is negative, and
/// panics. No other message of the batch may suffer.
#[test]
fn a_condition_that_panics_on_one_record_takes_only_that_one() {
    let rule =
        "rules:\n  - id: padded\n    when: lpad(device, line) = 'x'\n    zone: CN\n    basis: voluntary\n";
    let mut stage = stage("cnc-state", &read("pipelines/policy.yaml").replacen("rules:\n", rule, 1));
    let mut raw = empty("cnc.state");
    for n in 0..50_i64 {
        let line = if n == 20 { -1 } else { n };
        let payload =
            format!(r#"{{"device":"st-cnc-001","timestamp":"2026-03-01T12:00:00Z","line":{line}}}"#);
        raw.push(1000 + n, None, None, Some(payload.as_bytes()), std::iter::empty());
    }
    let (split, _) = stage.turn(raw, &zones()).unwrap();
    let (rows, quarantined, counts, _) = seen(split);
    assert_eq!(quarantined.iter().map(|message| message.offset).collect::<Vec<_>>(), [1020]);
    assert_eq!(quarantined[0].reason, QuarantineReason::Rejected(RejectCode::Poison));
    assert_eq!((rows[&"EU".parse().unwrap()].len(), counts.decoded), (49, 49));
}
