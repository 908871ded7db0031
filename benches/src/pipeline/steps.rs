//! The steps of a worker alone, one thread, no broker and no disk: where the time goes.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use situs::catalog::Catalog;
use situs::site::Site;
use situs_decode::Decoder;
use situs_model::store::{FlushFacts, ZoneStore as _};
use situs_model::{NextOffset, RawBatch, Source, ZoneId, permit, split};
use situs_observe::Metrics;
use situs_policy::Judge;
use situs_store::DeltaStore;

use super::dataset::{Dataset, Generator};
use super::home::Home;
use super::table::{Row, Run};

/// Messages of a batch, as workers make them of 440 bytes.
const BATCH: usize = 4096;

/// Time that each step took for one pass over the messages.
#[derive(Debug, Default, Clone, Copy)]
struct Pass {
    decode: Duration,
    judge: Duration,
    split: Duration,
    encode: Duration,
    finish: Duration,
    bytes_encoded: u64,
}

/// Measures all steps over so many messages; a row for each.
///
/// # Errors
/// If a home cannot be made or a step fails.
pub(crate) fn measure(case: &str, dataset: Dataset, passes: usize) -> anyhow::Result<Vec<Row>> {
    measure_home(case, &Home::new(dataset), passes)
}

/// The same for a home that is not as users have it.
///
/// # Errors
/// If the home cannot be made or a step fails.
pub(crate) fn measure_home(case: &str, home: &Home, passes: usize) -> anyhow::Result<Vec<Row>> {
    let dataset = home.dataset;
    let folder = tempfile::tempdir()?;
    let site_file = home.write(folder.path(), "127.0.0.1:1", "none")?;
    let site = Site::parse(&site_file, &std::fs::read_to_string(&site_file)?)?;
    let catalog = Catalog::load(&site.library)?;
    let metrics = Arc::new(Metrics::new()?);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut stores = Vec::new();
    for (zone, root) in &site.stores {
        situs_store::init(root, zone)?;
        stores.push(runtime.block_on(DeltaStore::open(root, zone, metrics.clone()))?);
    }
    let zones: BTreeSet<ZoneId> = site.stores.keys().cloned().collect();
    let loaded = catalog.pipelines.first().context("a pipeline")?;
    let facts = FlushFacts {
        flush_id: "steps".to_owned(),
        pipeline: loaded.pipeline.name.clone(),
        policy: catalog.policy.version().clone(),
        schema: loaded.schema.version().clone(),
        definition: loaded.pipeline.version.clone(),
    };
    let (raws, bytes) = raw_batches(dataset, &home.topics[0]);

    let mut results = Vec::new();
    for _ in 0..passes {
        let decoder = Decoder::new(loaded.schema.clone(), loaded.pipeline.max_message_bytes)
            .with_clock(loaded.pipeline.clock);
        let judge = catalog.policy.judge(&loaded.facts())?;
        results.push(one_pass(decoder, judge, &stores, &zones, &facts, &raws)?);
    }
    let row = |name: &str, time: fn(&Pass) -> Duration, encoded: bool| Row {
        case: case.to_owned(),
        system: name.to_owned(),
        runs: results
            .iter()
            .map(|pass| Run {
                messages: dataset.messages,
                bytes,
                wall: time(pass),
                cpu: time(pass),
                peak_rss_kib: 0,
                bytes_on_disk: if encoded { pass.bytes_encoded } else { 0 },
            })
            .collect(),
    };
    Ok(vec![
        row("step: decode", |pass| pass.decode, false),
        row("step: judge", |pass| pass.judge, false),
        row("step: split", |pass| pass.split, false),
        row("step: encode", |pass| pass.encode, false),
        row("step: finish, hash", |pass| pass.finish, true),
    ])
}

/// Takes all batches through the steps. `benches/guard` counts the instructions of this function.
#[inline(never)]
fn one_pass(
    mut decoder: Decoder,
    mut judge: Judge,
    stores: &[DeltaStore],
    zones: &BTreeSet<ZoneId>,
    facts: &FlushFacts,
    raws: &[Arc<RawBatch>],
) -> anyhow::Result<Pass> {
    let mut encoders: Vec<_> = stores.iter().map(|store| store.encoder()).collect();
    let mut pass = Pass::default();
    let masks = judge.masks(Arc::default());
    for raw in raws {
        let raw = raw.clone();
        let started = Instant::now();
        let decoded = decoder.decode(raw);
        pass.decode += started.elapsed();
        let started = Instant::now();
        let tagged = judge.judge(decoded)?;
        pass.judge += started.elapsed();
        let started = Instant::now();
        let split = split(tagged, zones, &masks)?;
        pass.split += started.elapsed();
        let started = Instant::now();
        for batch in split.resident {
            let place = stores.iter().position(|store| store.identity().zone == *batch.zone());
            let place = place.context("a store for the zone")?;
            encoders[place].write(permit(batch, stores[place].identity())?)?;
        }
        pass.encode += started.elapsed();
    }
    let started = Instant::now();
    for (store, encoder) in stores.iter().zip(encoders) {
        let rows = store.finish(vec![encoder], facts)?;
        pass.bytes_encoded += rows.bytes();
        black_box(&rows);
    }
    pass.finish = started.elapsed();
    Ok(pass)
}

fn raw_batches(dataset: Dataset, topic: &str) -> (Vec<Arc<RawBatch>>, u64) {
    let mut generator = Generator::new(dataset);
    // As if one partition held all.
    let source = Source { cluster: "kafka".parse().expect("a name"), topic: topic.into(), partition: 0 };
    let (mut raws, mut bytes) = (Vec::new(), 0);
    let mut raw = RawBatch::new(source.clone(), NextOffset(0), 1);
    for offset in 0..dataset.messages as i64 {
        generator.advance();
        bytes += generator.payload.len() as u64;
        raw.push(
            offset,
            Some(1_700_000_000_000 + offset),
            Some(generator.key.as_bytes()),
            Some(generator.payload.as_bytes()),
            std::iter::empty(),
        );
        if raw.len() == BATCH {
            let next = RawBatch::new(source.clone(), NextOffset(offset + 1), 1);
            raws.push(Arc::new(std::mem::replace(&mut raw, next)));
        }
    }
    if !raw.is_empty() {
        raws.push(Arc::new(raw));
    }
    (raws, bytes)
}

/// Bytes per second that one thread copies in memory, far beyond the caches.
pub(crate) fn memory_bandwidth() -> f64 {
    const BYTES: usize = 256 << 20;
    let from = vec![1_u8; BYTES];
    let mut to = vec![0_u8; BYTES];
    let best = (0..5)
        .map(|_| {
            let started = Instant::now();
            to.copy_from_slice(black_box(&from));
            black_box(&to);
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    BYTES as f64 / best
}
