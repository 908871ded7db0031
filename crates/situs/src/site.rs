//! The configuration of a home: `site.yaml`. What the user writes becomes plain settings here.

mod fields;
mod kafka;
mod key_file;
mod keys;
mod place;
mod receipts;
mod roots;
mod schema;
mod show;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use situs_ingest::FlushLimits;
use situs_model::doc::{Diagnostics, Document, Map, Variable};
use situs_model::{Age, PipelineName, SiteId, ZoneId};
use situs_observe::{LogFormat, LogSettings, check_log_filter};
use situs_store::SecretAccess;

use crate::library::Library;
use crate::upkeep::MaintenanceSettings;
pub use fields::PseudonymKeys;
pub use kafka::KafkaSettings;
pub(crate) use kafka::MASK;
pub use key_file::KeyFile;
use keys::keys_of;
pub use receipts::Receipts;
pub use roots::SeparateDevices;
pub use schema::{json_schema, table};
pub use show::as_yaml;
pub(crate) use show::differences;

/// The settings of a home.
#[derive(Debug, Clone)]
pub struct Site {
    /// The file that says all this.
    pub path: PathBuf,
    /// The site in which this process runs.
    pub home_site: SiteId,
    /// Its zone; quarantine and receipts lie in this zone's store.
    pub home_zone: ZoneId,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Pipelines, schemas and policy.
    pub library: Library,
    /// Only these pipelines run; all if empty.
    pub enabled: Vec<PipelineName>,
    /// Root of each zone's store.
    pub stores: BTreeMap<ZoneId, PathBuf>,
    /// Whether each root must lie on a device of its own.
    pub separate_devices: SeparateDevices,
    /// How receipts are signed.
    pub receipts: Receipts,
    /// Public keys beside that of this site whose requests and approvals of transfers count.
    pub trusted_keys: Vec<KeyFile>,
    /// Who may read files of secrets.
    pub secret_access: SecretAccess,
    /// The keys with which classed fields are masked.
    pub pseudonym_keys: PseudonymKeys,
    /// When to flush.
    pub flush: FlushLimits,
    /// Bound on buffered bytes.
    pub memory: u64,
    /// Threads that read, decode, judge and encode.
    pub workers: usize,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Where the HTTP endpoints listen; none if absent.
    pub http: Option<SocketAddr>,
    /// How old the oldest message may be that is not settled while the process is ready; any age if absent.
    pub ready_lag: Option<Duration>,
    /// Partitions that have series of their own in the metrics, at most.
    pub partition_series: usize,
    /// Logs.
    pub logs: LogSettings,
    /// Whether a policy whose files change takes effect while a process runs.
    pub policy_reload: bool,
    /// How the stores are looked after.
    pub maintenance: MaintenanceSettings,
    /// How long receipts and ledgers are kept at least.
    pub ledgers_keep: Age,
}

/// What a worker needs at least to make files that are worth their name.
const MEMORY_OF_A_WORKER: u64 = 64 << 20;

/// Buffered bytes unless the site says otherwise.
const DEFAULT_MEMORY: u64 = 512 << 20;

/// Partitions with series of their own unless the site says otherwise: what one process rarely exceeds.
const DEFAULT_PARTITION_SERIES: usize = 1000;

/// A worker for each CPU, as far as the memory goes: each needs some for the pages that it fills.
fn default_workers(memory: u64) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cpus.min(usize::try_from(memory / MEMORY_OF_A_WORKER).unwrap_or(usize::MAX)).max(1)
}

/// A variable of the environment of this process.
fn environment(name: &str) -> Variable {
    match std::env::var(name) {
        Ok(value) => Variable::Is(value),
        Err(std::env::VarError::NotPresent) => Variable::Unset,
        Err(std::env::VarError::NotUnicode(_)) => Variable::NotText,
    }
}

impl Site {
    /// Reads `site.yaml`. Relative paths in it are relative to its folder; variables in its values are those of
    /// this process's environment.
    ///
    /// # Errors
    /// Every problem, with file, line and column.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Diagnostics> {
        Self::parse_with(path, text, &environment)
    }

    /// The same, with variables of the caller's.
    ///
    /// # Errors
    /// Every problem, with file, line and column.
    pub fn parse_with(
        path: &Path,
        text: &str,
        lookup: &dyn Fn(&str) -> Variable,
    ) -> Result<Self, Diagnostics> {
        let file = path.display().to_string();
        let doc = Document::parse(&file, text).substitute(lookup);
        let site = doc.root().and_then(|root| read(&doc, doc.map(root, "the site", &keys_of(""))?, path));
        doc.finish(site)
    }
}

fn read(doc: &Document, map: Map<'_>, file: &Path) -> Option<Site> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let home = map.required("home").and_then(|node| doc.map(node, "home", &keys_of("home")));
    let home_site = home.as_ref().and_then(|home| home.parsed::<SiteId>("site"));
    let home_zone = home.as_ref().and_then(|home| home.parsed::<ZoneId>("zone"));
    let access = key_file::access(doc, &map);
    let kafka = map.required("kafka").and_then(|node| doc.map(node, "kafka", &keys_of("kafka")));
    let kafka = kafka.and_then(|map| KafkaSettings::read(doc, &map, folder, access));
    let path = |key: &str| map.optional_string(key).map(|text| folder.join(text));
    let library = Library::choose(
        Some(&path("pipelines").unwrap_or_else(|| folder.join("pipelines"))),
        path("schemas").as_deref(),
        path("policy").as_deref(),
    );
    let enabled = map
        .optional_strings("enabled")
        .into_iter()
        .filter_map(|(node, _)| doc.parsed::<PipelineName>(node, "an entry of `enabled`"))
        .collect();
    let mut stores = BTreeMap::new();
    if let Some(node) = map.required("stores") {
        for (key, value) in doc.entries(node, "stores") {
            let zone = doc.parsed::<ZoneId>(key, "a key of `stores`");
            let root = doc.text(value, "the root of a store");
            stores.extend(zone.zip(root.map(|root| folder.join(root))));
        }
        if let (Some(zone), Some(home)) = (&home_zone, &home)
            && !stores.contains_key(zone)
            && let Some(at) = home.optional("zone")
        {
            doc.report_word(
                at,
                format!("the home zone `{zone}` has no store; `stores` needs a key `{zone}`"),
                zone.as_str(),
                stores.keys().map(ZoneId::as_str),
            );
        }
    }
    let receipts = receipts::read(doc, &map, folder, access);
    let pseudonym_keys = PseudonymKeys::read(doc, &map, folder, access);
    let defaults = FlushLimits::default();
    let flush = map.optional("flush").and_then(|node| doc.map(node, "flush", &keys_of("flush")));
    let flush = FlushLimits {
        age: flush.as_ref().and_then(|flush| flush.optional_duration("age")).unwrap_or(defaults.age),
        rows: flush
            .as_ref()
            .and_then(|flush| flush.optional_integer("rows", 1..=1_000_000_000))
            .unwrap_or(defaults.rows),
        bytes: flush.as_ref().and_then(|flush| flush.optional_bytes("bytes")).unwrap_or(defaults.bytes),
    };
    let memory = map.optional_bytes("memory").unwrap_or(DEFAULT_MEMORY);
    if memory < 16 << 20
        && let Some(node) = map.optional("memory")
    {
        doc.report(node, "`memory` in the site: expected at least `16MiB`");
    }
    let http = map.optional("http").and_then(|node| doc.map(node, "http", &keys_of("http")));
    let ready_lag = http.as_ref().and_then(|http| http.optional_duration("ready-lag"));
    let http = http.and_then(|http| {
        let node = http.required("listen")?;
        let text = doc.text(node, "`listen` in http")?;
        let address = text.parse().ok();
        if address.is_none() {
            doc.report(
                node,
                format!(
                    "`listen` in http: expected an address such as `127.0.0.1:9464`, found `{}`",
                    node.shown()
                ),
            );
        }
        address
    });
    let metrics = map.optional("metrics").and_then(|node| doc.map(node, "metrics", &keys_of("metrics")));
    let partition_series = metrics.and_then(|metrics| metrics.optional_integer("partitions", 0..=100_000));
    let logs_map = map.optional("logs").and_then(|node| doc.map(node, "logs", &keys_of("logs")));
    let logs = LogSettings {
        format: logs_map
            .as_ref()
            .and_then(|logs| {
                logs.optional_word("format", &[("human", LogFormat::Human), ("json", LogFormat::Json)])
            })
            .unwrap_or(LogFormat::Human),
        filter: logs_map
            .as_ref()
            .and_then(|logs| logs.optional_string("filter"))
            .unwrap_or_else(|| "info".to_owned()),
    };
    if let (Some(at), Err(_)) =
        (logs_map.as_ref().and_then(|logs| logs.optional("filter")), check_log_filter(&logs.filter))
    {
        doc.report(
            at,
            format!(
                "`filter` in logs: expected a filter such as `info,situs_ingest=debug`, found `{}`",
                at.shown()
            ),
        );
    }
    let maintenance = match map.optional("maintenance") {
        Some(node) => doc.map(node, "maintenance", &keys_of("maintenance")).map(|map| read_maintenance(&map)),
        None => Some(MaintenanceSettings::default()),
    };
    let ledgers = map.optional("ledgers").and_then(|node| doc.map(node, "ledgers", &keys_of("ledgers")));
    let ledgers_keep = ledgers.as_ref().and_then(|ledgers| ledgers.optional_word("keep", KEEP_LEDGERS));
    let ledgers_keep = ledgers_keep.unwrap_or(KEEP_LEDGERS[0].1);
    let maintenance = maintenance.map(|mut maintenance| {
        maintenance.vacuum.keep_ledgers = ledgers_keep;
        maintenance
    });
    let (receipts, trusted_keys) = receipts?;
    Some(Site {
        path: file.to_owned(),
        policy_reload: map.optional_bool("policy-reload").unwrap_or(true),
        maintenance: maintenance?,
        ledgers_keep,
        home_site: home_site?,
        home_zone: home_zone?,
        kafka: kafka?,
        library,
        enabled,
        stores,
        separate_devices: SeparateDevices::read(doc, &map),
        receipts,
        trusted_keys,
        secret_access: access,
        pseudonym_keys,
        flush,
        memory,
        workers: map
            .optional_integer("workers", 1..=256)
            .and_then(|workers| usize::try_from(workers).ok())
            .unwrap_or_else(|| default_workers(memory)),
        drain_timeout: map.optional_duration("drain-timeout").unwrap_or(Duration::from_secs(30)),
        http,
        ready_lag,
        partition_series: partition_series
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(DEFAULT_PARTITION_SERIES),
        logs,
    })
}

/// How long receipts and ledgers can be kept at least; the first is the default.
const KEEP_LEDGERS: &[(&str, Age)] =
    &[("184d", Age::Days(184)), ("3y", Age::Years(3)), ("5y", Age::Years(5)), ("10y", Age::Years(10))];

fn read_maintenance(map: &Map<'_>) -> MaintenanceSettings {
    let defaults = MaintenanceSettings::default();
    let mut optimize = defaults.optimize;
    optimize.sealed_after = map.optional_duration("sealed-after").unwrap_or(optimize.sealed_after);
    optimize.target_size = map.optional_bytes("target-size").unwrap_or(optimize.target_size);
    optimize.memory = map.optional_bytes("sort-memory").unwrap_or(optimize.memory);
    let mut vacuum = defaults.vacuum;
    vacuum.retention = map.optional_duration("retention").unwrap_or(vacuum.retention);
    vacuum.orphans_after = map.optional_duration("orphans-after").unwrap_or(vacuum.orphans_after);
    MaintenanceSettings {
        every: map.optional_duration("every").unwrap_or(defaults.every),
        optimizes: map.optional_bool("optimize").unwrap_or(defaults.optimizes),
        optimize,
        vacuums: map.optional_bool("vacuum").unwrap_or(defaults.vacuums),
        vacuum,
        log_retention: map.optional_duration("log-retention").unwrap_or(defaults.log_retention),
    }
}

#[cfg(test)]
mod tests;
