//! Every key of `site.yaml`, once: what the parser knows, the table of docs/config.md and the schema for editors are
//! all made of this.

/// A key of `site.yaml`.
#[derive(Debug)]
pub(crate) struct Key {
    /// The keys on the way to it, with a `.` between: a section's and its own.
    pub(crate) path: &'static str,
    /// What it takes.
    pub(crate) form: Form,
    /// Whether it must be there.
    pub(crate) need: Need,
    /// What holds without it, in Markdown.
    pub(crate) default: &'static str,
    /// What it means, in Markdown.
    pub(crate) meaning: &'static str,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Always.
    Always,
    /// If its section is there.
    InItsSection,
    /// It may be left out.
    No,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Filter,
    Site,
    Zone,
    Cluster,
    Pipelines,
    Duration,
    /// A size of this much at least, if that is not empty.
    Size {
        least: &'static str,
    },
    Number(u64, u64),
    Switch,
    Words(&'static [&'static str]),
    Address,
    File,
    Files,
    Folder,
    ZoneFolders,
    ZoneFiles,
    Properties,
    PropertyFiles,
}

impl Form {
    /// In words, for the table.
    pub(crate) fn words(self) -> String {
        let fixed = match self {
            Self::Text => "text",
            Self::Filter => "filter of `tracing-subscriber`",
            Self::Site => "site name",
            Self::Zone => "zone name",
            Self::Cluster => "lower-case letters, digits, `-`",
            Self::Pipelines => "list of pipelines",
            Self::Duration => "duration",
            Self::Size { least: "" } => "size",
            Self::Size { least } => return format!("size, `{least}` at least"),
            Self::Number(low, high) => return format!("{low} to {high}"),
            Self::Switch => "`true` or `false`",
            Self::Words(words) => return situs_model::doc::list(words),
            Self::Address => "IP address and port",
            Self::File => "file",
            Self::Files => "list of files",
            Self::Folder => "folder",
            Self::ZoneFolders => "zone: folder",
            Self::ZoneFiles => "zone: file",
            Self::Properties => "properties of librdkafka",
            Self::PropertyFiles => "property: file",
        };
        fixed.to_owned()
    }
}

/// The keys of a section in their order, or those at the top: what the parser knows there.
pub(super) fn keys_of(section: &str) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let rest = match section {
            "" => Some(key.path),
            _ => key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(rest) = rest else { continue };
        let name = rest.split_once('.').map_or(rest, |(name, _)| name);
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

const fn key(
    path: &'static str,
    form: Form,
    need: Need,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { path, form, need, default, meaning }
}

/// All of them, in the order of the table.
pub(crate) const KEYS: &[Key] = &[
    key(
        "home.site",
        Form::Site,
        Need::Always,
        "",
        "The site in which this process runs. The policy's site registry must know it.",
    ),
    key(
        "home.zone",
        Form::Zone,
        Need::Always,
        "",
        "The zone of the home. Quarantine and receipts lie in its store, so `stores` must have it.",
    ),
    key(
        "kafka.cluster",
        Form::Cluster,
        Need::No,
        "`kafka`",
        "Alias of the cluster. It is part of the name under which the stores keep their offsets: \
        **another alias starts every topic from the beginning** and stores its records once more.",
    ),
    key("kafka.brokers", Form::Text, Need::Always, "", "`bootstrap.servers`: addresses separated by commas."),
    key(
        "kafka.group",
        Form::Text,
        Need::Always,
        "",
        "`group.id`. Processes of one group share the partitions.",
    ),
    key("kafka.properties", Form::Properties, Need::No, "none", "See below."),
    key(
        "kafka.secrets",
        Form::PropertyFiles,
        Need::No,
        "none",
        "Properties whose values are secret, each in a file: its content without the end of its last \
        line. See [secrets](#secrets-from-files).",
    ),
    key(
        "pipelines",
        Form::Folder,
        Need::No,
        "`pipelines`",
        "One folder per pipeline, and `policy.yaml`; see [pipelines.md](pipelines.md).",
    ),
    key("schemas", Form::Folder, Need::No, "`schemas` beside `pipelines`", "See [schemas.md](schemas.md)."),
    key(
        "policy",
        Form::File,
        Need::No,
        "`policy.yaml` in `pipelines`",
        "See [policy.md](policy.md). `readers.yaml` and `readers.cedar` are looked for beside it \
        ([readers.md](readers.md)).",
    ),
    key(
        "policy-reload",
        Form::Switch,
        Need::No,
        "`true`",
        "Whether a policy whose files change takes effect [without a \
        restart](policy.md#a-new-policy-while-situs-runs). `false`: only on `SIGHUP`.",
    ),
    key("enabled", Form::Pipelines, Need::No, "all", "Only the topics of these are read."),
    key(
        "stores",
        Form::ZoneFolders,
        Need::Always,
        "",
        "The root of the store of each zone that has one here; see [stores.md](stores.md). No root \
        may lie in another. `situs store init` makes a store, or `situs run --init-stores` those \
        that do not exist. A record of a zone without a store goes to quarantine.",
    ),
    key(
        "separate-devices",
        Form::Switch,
        Need::No,
        "`false`",
        "`true`: no two roots lie on the same device, which is what the system calls one: a mounted \
        file system. Whatever writes to the stores refuses to begin otherwise, before it makes \
        anything; `situs check` tells of roots that are there, and `situs store verify` counts it as \
        a violation. See [stores.md](stores.md#devices) for what that does not tell.",
    ),
    key(
        "receipts.signing-key",
        Form::File,
        Need::No,
        "one of the two is required",
        "The Ed25519 key that signs receipts, PKCS#8 as PEM; `situs store key FILE` makes one. Only \
        its owner may have access to the file (0600 or 0400), or see `key-files`. `situs check` \
        reads it too. See [stores.md](stores.md).",
    ),
    key(
        "receipts.allow-unsigned",
        Form::Switch,
        Need::No,
        "",
        "`true`: receipts are not signed. They are chained all the same, but whoever can write the \
        store can then write a chain of receipts that nobody can tell from a true one.",
    ),
    key(
        "receipts.trusted-keys",
        Form::Files,
        Need::No,
        "none",
        "Public keys (PEM) of other sites, or of this one before, whose requests and approvals of \
        [transfers](transfers.md) count beside those that `signing-key` signed. What a store's own \
        archive holds does not count for that. `situs check` reads them too.",
    ),
    key(
        "key-files.group-readable",
        Form::Switch,
        Need::No,
        "`false`",
        "Whether the files of secrets (`kafka.secrets`, `receipts.signing-key`, `pseudonym-keys`) may \
        be readable by a group of this process, as Kubernetes mounts them. See \
        [secrets](#secrets-from-files).",
    ),
    key(
        "ledgers.keep",
        Form::Words(&["184d", "3y", "5y", "10y"]),
        Need::No,
        "`184d`",
        "How long receipts, releases and entries of ledgers are kept at least. Nothing in Situs \
        deletes them, at whatever age. If another program removes them from their table, vacuum \
        leaves the files this long ([retention.md](retention.md)).",
    ),
    key(
        "pseudonym-keys",
        Form::ZoneFiles,
        Need::No,
        "none",
        "The secret key of each zone whose [classed fields](schemas.md#classes) need one: of every \
        zone with a store, if a pipeline that runs here has pseudonyms; of a zone within another, if \
        a pipeline has texts that are trade secrets and a rule places its records in the zone \
        around. `situs store pseudonym-key FILE` makes one: 64 hexadecimal digits. Only its owner \
        may have access to the file (0600 or 0400), or see `key-files`. All processes of a zone need \
        the same key, and for good: with another one the same person gets another pseudonym. Known \
        limit: Situs keeps no note of the key that it used, so a changed key goes unnoticed. No two \
        zones may have the same key. Keep it in its zone.",
    ),
    key(
        "flush.age",
        Form::Duration,
        Need::No,
        "`5s`",
        "The age that a message may reach, counted from when this process read it, before it is \
        committed. A flush begins early enough for that and no earlier. While a backlog is read it \
        may begin later, up to four times the age: those messages are old already, and larger files \
        are read in sooner.",
    ),
    key(
        "flush.rows",
        Form::Number(1, 1_000_000_000),
        Need::No,
        "`10000000`",
        "A pipeline is flushed before that when it has this many rows, …",
    ),
    key(
        "flush.bytes",
        Form::Size { least: "" },
        Need::No,
        "`64MiB`",
        "… or when its files would be this large.",
    ),
    key(
        "memory",
        Form::Size { least: "16MiB" },
        Need::No,
        "`512MiB`",
        "Bound on the bytes of messages that are not settled yet. At the bound, nothing more is read \
        and everything is flushed, whatever `flush` says; below three quarters of it, reading goes \
        on. The client's queues come on top: a sixteenth of this for all workers, between 1 and 16 \
        MiB for each, and about as much again for its own notes.",
    ),
    key(
        "workers",
        Form::Number(1, 256),
        Need::No,
        "one for each CPU, and at most one for each 64 MiB of `memory`",
        "Threads that read, decode, judge and encode. Each owns whole partitions, so more workers \
        than partitions are idle.",
    ),
    key(
        "drain-timeout",
        Form::Duration,
        Need::No,
        "`30s`",
        "How long a shutdown, a revocation of partitions or the barrier of a new policy may take to \
        flush what is buffered. What is not settled by then is read again by whoever gets the \
        partition.",
    ),
    key(
        "http.listen",
        Form::Address,
        Need::InItsSection,
        "none: no HTTP",
        "Serves the [live page](live-page.md), `/metrics` ([metrics.md](metrics.md)), `/healthz`, `/readyz`, \
        `/version` and `/shadow`, without authentication ([more](#http)): listen where only those come who may. \
        Port 0 takes a free one; `situs run --http-address-file FILE` says which.",
    ),
    key(
        "http.ready-lag",
        Form::Duration,
        Need::No,
        "none: any",
        "`/readyz` answers 503 while the oldest message that is not settled is older than this (`situs_lag_seconds`).",
    ),
    key(
        "metrics.partitions",
        Form::Number(0, 100_000),
        Need::No,
        "`1000`",
        "Partitions that have [series of their own](metrics.md#partitions) at most; those of a topic beyond that \
        share one.",
    ),
    key("logs.format", Form::Words(&["human", "json"]), Need::No, "`human`", "Lines on standard error."),
    key("logs.filter", Form::Filter, Need::No, "`info`", "Such as `warn` or `info,situs_ingest=debug`."),
    key(
        "maintenance.every",
        Form::Duration,
        Need::No,
        "`10m`",
        "How often the stores are looked after, one table at a time; see \
        [stores.md](stores.md#maintenance). Of several replicas one does it. Checkpoints are made \
        after 100 commits whatever this says.",
    ),
    key(
        "maintenance.optimize",
        Form::Switch,
        Need::No,
        "`true`",
        "Put the small files of days that are over together. `situs run` rests as long as it works at \
        it.",
    ),
    key(
        "maintenance.sealed-after",
        Form::Duration,
        Need::No,
        "`1h`",
        "How long no file must have been added to such a day.",
    ),
    key(
        "maintenance.target-size",
        Form::Size { least: "" },
        Need::No,
        "`512MiB`",
        "The size that files grow to.",
    ),
    key(
        "maintenance.sort-memory",
        Form::Size { least: "" },
        Need::No,
        "`128MiB`",
        "Rows of a file that take more in memory are not sorted. It comes on top of `memory`, with up \
        to 64 MiB for what is written.",
    ),
    key("maintenance.vacuum", Form::Switch, Need::No, "`true`", "Remove files that nobody needs any more."),
    key(
        "maintenance.retention",
        Form::Duration,
        Need::No,
        "`7d`",
        "How long a file is kept after the table has removed it, for readers of older versions.",
    ),
    key(
        "maintenance.orphans-after",
        Form::Duration,
        Need::No,
        "`1d`",
        "How old a file must be that no log entry names, besides that no live process may have staged \
        it.",
    ),
    key(
        "maintenance.log-retention",
        Form::Duration,
        Need::No,
        "`30d`",
        "How long entries of the Delta log are kept that a checkpoint stands for; never shorter than \
        `retention`.",
    ),
];
