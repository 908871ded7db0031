#!/usr/bin/env python3
"""Makes the dashboards beside it: what a panel shows is said here once, the JSON is what Grafana reads.

    make.py            writes the files
    make.py --check    exit code 1 if a file is not what would be written

The JSON is the schema of Grafana 10 and 11. Panels name their data source by the variable DS_PROMETHEUS.
What rests at 0 and has no series before it first happens is written so that it shows 0: `zero` takes the 0
from a series that each process has, so that a home that nobody scrapes shows nothing, and not 0.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = 39
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}

# Selectors by the variables of the dashboards. A home is a label that scraping adds (docs/dashboards.md);
# without it the variable is `.*`, which takes series without the label too.
H = 'home=~"$home"'
HP = H + ',pipeline=~"$pipeline"'
HZ = H + ',zone=~"$zone"'
HPZ = HP + ',zone=~"$zone"'
RATE = "[$__rate_interval]"

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"


def zero(labels, base, name=None):
    """A 0 of the base for each value of these labels that has nothing; with a name, one 0 of that name if there is nothing at all."""
    if name:
        return f'or on () label_replace(0 * sum({base}), "{labels}", "{name}", "", "")'
    return f"or on ({labels}) 0 * sum by ({labels}) ({base})"


def rate(metric, selector, by):
    """The rate of a counter, by labels."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}{RATE}))" if by else f"sum(rate({metric}{{{selector}}}{RATE}))"


def steps(*pairs):
    """Thresholds: a color from a value on; the first from everywhere."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in pairs]}


CALM = steps((GREEN, None))
MUST_BE_ZERO = steps((GREEN, None), (RED, 1))
BETTER_ZERO = steps((GREEN, None), (ORANGE, 1))


def words(*triples):
    """Words and colors in place of values."""
    options = {str(value): {"text": text, "color": color, "index": index}
               for index, (value, text, color) in enumerate(triples)}
    return [{"type": "value", "options": options}]


def targets(queries, instant=False, table=False):
    """Queries, as pairs of an expression and its legend."""
    return [
        {
            "datasource": SOURCE, "refId": chr(ord("A") + number), "expr": " ".join(expr.split()),
            "legendFormat": legend, "editorMode": "code", "range": not instant, "instant": instant,
            "format": "table" if table else "time_series",
        }
        for number, (expr, legend) in enumerate(queries)
    ]


def panel(kind, title, description, unit, queries, size, defaults, options, **more):
    """What all panels have in common."""
    width, height = size
    return {
        "type": kind, "title": title, "description": description, "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": []},
        "options": options, "targets": targets(queries, **more),
    }


def lines(title, description, unit, *queries, w=8, h=8, stack=False, thresholds=None, low=0, top=None):
    """Lines over time, with a table of legends."""
    custom = {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 25 if stack else 8,
        "gradientMode": "none", "showPoints": "never", "spanNulls": False, "axisPlacement": "auto",
        "scaleDistribution": {"type": "linear"}, "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if thresholds else "off"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom, "mappings": [], "thresholds": thresholds or CALM,
                **{key: value for key, value in (("min", low), ("max", top)) if value is not None}}
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, unit, queries, (w, h), defaults, options)


def stat(title, description, unit, *queries, w=3, h=4, thresholds=CALM, mappings=(), text="auto", graph="area",
         decimals=None):
    """A figure or more, each on its color."""
    defaults = {"color": {"mode": "thresholds"}, "mappings": list(mappings), "thresholds": thresholds}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "background", "graphMode": graph, "justifyMode": "center", "orientation": "auto",
        "textMode": text, "wideLayout": True,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("stat", title, description, unit, queries, (w, h), defaults, options)


def bars(title, description, unit, *queries, w=8, h=8, thresholds=CALM):
    """Bars of totals over the time range."""
    defaults = {"color": {"mode": "thresholds"}, "mappings": [], "min": 0, "thresholds": thresholds}
    options = {
        "displayMode": "gradient", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color",
        "minVizWidth": 8, "minVizHeight": 10,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("bargauge", title, description, unit, queries, (w, h), defaults, options, instant=True)


def table(title, description, unit, query, hidden, names, w=8, h=8):
    """A table of labels."""
    made = panel("table", title, description, unit, [query], (w, h),
                 {"color": {"mode": "thresholds"}, "mappings": [], "thresholds": CALM, "custom": {"align": "auto"}},
                 {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False}}, instant=True, table=True)
    made["transformations"] = [{
        "id": "organize",
        "options": {"excludeByName": dict.fromkeys(["Time", *hidden], True), "indexByName": {}, "renameByName": names},
    }]
    return made


def row(title):
    """A heading."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def lay_out(panels):
    """Gives each panel its id and place, from left to right."""
    x = y = height = 0
    for number, made in enumerate(panels, 1):
        place = made["gridPos"]
        if x + place["w"] > 24 or made["type"] == "row":
            x, y, height = 0, y + height, 0
        place.update(x=x, y=y)
        x, height = x + place["w"], max(height, place["h"])
        made["id"] = number
    return panels


def variable(name, label, query, multi=True):
    """A variable that takes its values from a label. All of them is `.*`, which no label at all matches too."""
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE, "definition": query,
        "query": {"query": query, "refId": f"variable-{name}", "qryType": 1}, "refresh": 2, "sort": 1,
        "includeAll": True, "allValue": ".*", "multi": multi, "hide": 0, "regex": "", "skipUrlSync": False,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [],
    }


HOME = variable("home", "Home", "label_values(situs_build_info, home)")
ZONE = variable("zone", "Zone", f"label_values(situs_store_writable{{{H}}}, zone)")
PIPELINE = variable("pipeline", "Pipeline", f"label_values(situs_messages_read_total{{{H}}}, pipeline)")
DATA_SOURCE = {
    "type": "datasource", "name": "DS_PROMETHEUS", "label": "Data source", "query": "prometheus", "regex": "",
    "hide": 0, "includeAll": False, "multi": False, "refresh": 1, "skipUrlSync": False, "options": [],
    "current": {"selected": False, "text": "Prometheus", "value": "Prometheus"},
}


def dashboard(name, title, description, variables, panels):
    """A dashboard."""
    return {
        "uid": f"situs-{name}", "title": f"Situs / {title}", "description": description, "tags": ["situs"],
        "schemaVersion": SCHEMA, "version": 1, "id": None, "editable": True, "graphTooltip": 1, "style": "dark",
        "timezone": "utc", "weekStart": "", "fiscalYearStartMonth": 0, "liveNow": False, "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"}, "timepicker": {},
        "annotations": {"list": [
            {
                "name": "Alerts", "enable": True, "hide": False, "iconColor": RED, "datasource": SOURCE,
                "expr": 'ALERTS{alertname=~"Situs.*",alertstate="firing"}', "titleFormat": "{{alertname}}",
                "textFormat": "{{home}} {{zone}} {{pipeline}} {{topic}} {{instance}}", "step": "30s",
            },
            {
                "name": "Policies", "enable": True, "hide": False, "iconColor": BLUE, "datasource": SOURCE,
                "expr": f"count by (version) (situs_policy_info{{{H}}}) unless count by (version) "
                        f"(situs_policy_info{{{H}}} offset 1m)",
                "titleFormat": "Policy {{version}}", "textFormat": "in force from here on", "step": "30s",
            },
        ]},
        "links": [{
            "type": "dashboards", "title": "Situs", "tags": ["situs"], "asDropdown": False, "includeVars": True,
            "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "", "url": "",
        }],
        "templating": {"list": [DATA_SOURCE, *variables]},
        "panels": lay_out(panels),
    }


# ---------------------------------------------------------------- what several dashboards show

READ = f"situs_messages_read_total{{{HP}}}"
BUILD = f"situs_build_info{{{H}}}"
WRITABLE = f"situs_store_writable{{{HZ}}}"


def lights(which, width=24):
    """A light for each invariant."""
    chosen = f'{H},invariant=~"{which}"'
    others = [
        (f"sum(max_over_time(situs_permits_refused_total{{{H}}}[$__range])) {zero('', BUILD)}", "permit refused"),
    ]
    return stat(
        "Invariants", "A light for each: red if it was found broken in the time range, by any process. EO is exactly-once, RES is residency; "
        "what each says is in docs/runbook.md#situsinvariantbroken. All must be green, always.", "none",
        (f"sum by (invariant) (max_over_time(situs_invariant_violations_total{{{chosen}}}[$__range]))", "{{invariant}}"),
        *others, w=width, h=3, thresholds=MUST_BE_ZERO, text="name", graph="none",
    )


def staleness(width=8):
    """How old the newest settled message is."""
    return lines(
        "Freshness: age of the newest settled message", "Now minus the broker time of the newest message that is settled. It "
        "grows also while producers rest, so look at the lag beside it. By default messages are settled 5 s after they were read.", "s",
        (f"time() - max by (pipeline) (situs_valid_through_timestamp_seconds{{{HP}}})", "{{pipeline}}"),
        w=width, thresholds=steps((GREEN, None), (YELLOW, 60), (RED, 120)),
    )


def lag(width=8):
    """Lag by topic."""
    return lines(
        "Lag by topic", "Messages between the settled offset and the end of the partitions. It returns to 0 when producers rest. "
        "If it grows, look whether intake is paused or a store cannot be written.", "short",
        (f"sum by (topic) (max by (home, topic, partition) (situs_lag_messages{{{H}}}))", "{{topic}}"), w=width,
    )


def buffered(width=8):
    """The bound on memory."""
    return lines(
        "Buffered, of its bound", "Bytes held for messages that are not settled yet, as a part of `memory` of site.yaml. At 100 % nothing "
        "more is read until it is below three quarters.", "percentunit",
        (f"max by (instance) (situs_buffered_bytes{{{H}}} / situs_buffered_bytes_limit{{{H}}})", "{{instance}}"),
        w=width, top=1, thresholds=steps((GREEN, None), (YELLOW, 0.75), (RED, 1)),
    )


def flush_quantiles(width=8):
    """Durations of flushes."""
    queries = [
        (f"histogram_quantile({quantile}, sum by (le, step) (rate(situs_flush_seconds_bucket{{{H}}}{RATE})))",
         f"{{{{step}}}} {name}")
        for quantile, name in ((0.5, "p50"), (0.99, "p99"))
    ]
    return lines(
        "Duration of the steps of a flush", "Median and 99th percentile of encoding, committing to one table, the receipt, and the whole "
        "flush. A commit that takes seconds is a slow disk, or other writers.", "s", *queries, w=width,
    )


def overview():
    """Whether all is well, for whoever is on call."""
    return dashboard("overview", "Overview", "Whether all is well, over all homes: lights, flow, lag, freshness, stores, processes.",
                     [HOME, ZONE, PIPELINE], [
        row("Is all well?"),
        lights(".*"),
        stat("Processes", "Processes that are scraped. Fewer than were started: docs/runbook.md#situsreplicagone.", "none",
             (f"sum by (home) (situs_build_info{{{H}}})", "{{home}}"), thresholds=steps((RED, None), (GREEN, 1))),
        stat("Stores", "Whether each zone's store could be written at the last attempt, by all processes.", "none",
             (f"min by (zone) (situs_store_writable{{{HZ}}})", "{{zone}}"), thresholds=steps((RED, None), (GREEN, 1)),
             mappings=words((0, "NOT WRITABLE", RED), (1, "writable", GREEN)), graph="none"),
        stat("Policy", "Whether the policy on disk is the one in force: it may have been rejected for its errors, or wait for its barrier.",
             "none", (f"max by (home) (2 * situs_policy_rejected{{{H}}} + situs_policy_waiting{{{H}}})", "{{home}}"),
             thresholds=steps((GREEN, None), (YELLOW, 1), (RED, 2)), graph="none",
             mappings=words((0, "in force", GREEN), (1, "waiting", YELLOW), (2, "REJECTED", RED), (3, "REJECTED", RED))),
        stat("Partitions that nobody reads", "Refused: their topic was deleted and created again, or the broker has lost records. Each waits "
             "for a person's decision.", "none", (f"sum(situs_refused_partitions{{{H}}})", "refused"),
             thresholds=MUST_BE_ZERO, graph="none"),
        stat("Records lost to retention", "Offsets that the broker had deleted before they were settled, in the time range. Each is a loss.",
             "short", (f"sum(increase(situs_deleted_offsets_total{{{H}}}[$__range])) {zero('', BUILD)}", "lost"),
             thresholds=MUST_BE_ZERO, graph="none", decimals=0),
        stat("Freshness", "Age of the newest settled message of the pipeline that is furthest behind. It grows also while producers rest.",
             "s", (f"max(time() - max by (home, pipeline) (situs_valid_through_timestamp_seconds{{{HP}}}))", "furthest behind"),
             thresholds=steps((GREEN, None), (YELLOW, 60), (RED, 120))),
        stat("Lag", "Messages that are not settled yet, over all partitions.", "short",
             (f"sum(max by (home, topic, partition) (situs_lag_messages{{{H}}}))", "lag"), thresholds=steps((BLUE, None))),
        stat("Quarantined", "Part of the messages that went to quarantine in the last five minutes.", "percentunit",
             (f"(sum(rate(situs_messages_quarantined_total{{{HP}}}[5m])) {zero('', READ)}) / (sum(rate({READ}[5m])) > 0) {zero('', READ)}",
              "of all"), thresholds=steps((GREEN, None), (YELLOW, 0.02), (RED, 0.05)), decimals=2),
        row("Flow"),
        lines("Messages", "What was read, and what became of it once it was settled. Over time, read = stored + quarantined + without rows.", "mps",
              (rate("situs_messages_read_total", HP, ""), "read"),
              (rate("situs_messages_stored_total", HP, "") + f" {zero('', READ)}", "stored"),
              (rate("situs_messages_quarantined_total", HP, "") + f" {zero('', READ)}", "quarantined"),
              (rate("situs_messages_without_rows_total", HP, "") + f" {zero('', READ)}", "without rows, by design")),
        lines("Rows by zone", "Rows that were settled, by the zone whose store has them.", "rowsps",
              (rate("situs_rows_stored_total", HPZ, "zone") + f" {zero('zone', WRITABLE)}", "{{zone}}"), stack=True),
        lines("Bytes", "Payloads that were taken from Kafka, and Parquet files that were written.", "Bps",
              (rate("situs_read_bytes_total", HP, ""), "read"),
              (rate("situs_file_written_bytes_total", HZ, "") + f" {zero('', BUILD)}", "written")),
        lag(), staleness(), flush_quantiles(),
        row("Processes and stores"),
        buffered(),
        lines("Partitions by process", "Assigned to each process; what it waits to take over; what it refuses.", "short",
              (f"sum by (instance) (situs_assigned_partitions{{{H}}})", "{{instance}} assigned"),
              (f"sum by (instance) (situs_waiting_partitions{{{H}}})", "{{instance}} waiting"),
              (f"sum by (instance) (situs_refused_partitions{{{H}}})", "{{instance}} refused")),
        lines("Retries and conflicts by zone", "Steps of flushes that failed and were tried again, and commits by others that came between a check and "
              "a commit. Conflicts are normal with several processes; retries are not.", "eps",
              (rate("situs_flush_retries_total", HZ, "zone") + f" {zero('zone', WRITABLE)}", "{{zone}} retries"),
              (rate("situs_commit_conflicts_total", HZ, "zone") + f" {zero('zone', WRITABLE)}", "{{zone}} conflicts")),
        table("Builds", "The version that each process is of. Processes of a home should be of one version.", "none",
              (f"count by (home, instance, version) (situs_build_info{{{H}}})", "{{instance}}"), ["Value"],
              {"home": "Home", "instance": "Process", "version": "Version"}, w=12),
        table("Policies", "The policy by which each process judges. Processes of a home should judge by one policy.", "none",
              (f"count by (home, instance, version) (situs_policy_info{{{H}}})", "{{instance}}"), ["Value"],
              {"home": "Home", "instance": "Process", "version": "Policy"}, w=12),
    ])


def residency():
    """Where records lie and why, for whoever must answer for it."""
    of_policy = ("unknown-device|foreign-cluster|foreign-topic|claim-contradicts-registry|no-rule|jurisdiction-outside-zone|"
                 "condition-failed|zone-without-store")
    quarantined = "situs_messages_quarantined_total"
    return dashboard("residency", "Residency and compliance", "Where records go, by which policy, what is held back and why, and that the "
                     "invariants hold. These are measurements of running processes; the proof is `situs store verify`, from the stores alone.",
                     [HOME, ZONE, PIPELINE], [
        row("Invariants of residency"),
        lights("RES-.*"),
        row("Policy"),
        stat("Policies in force", "Different policies by which the processes of the chosen homes judge now. More than one for one home: a change is "
             "under way, or a process has not taken it.", "none",
             (f"count by (home) (count by (home, version) (situs_policy_info{{{H}}}))", "{{home}}"), w=4,
             thresholds=steps((GREEN, None), (ORANGE, 2)), graph="none"),
        stat("Rejected", "1 while the policy on disk has errors and the one before stays in force.", "none",
             (f"max by (home) (situs_policy_rejected{{{H}}})", "{{home}}"), w=4, thresholds=MUST_BE_ZERO, graph="none",
             mappings=words((0, "no", GREEN), (1, "REJECTED", RED))),
        stat("Waiting", "1 while a new policy has been read and the one before is still in force: its barrier is not reached.", "none",
             (f"max by (home) (situs_policy_waiting{{{H}}})", "{{home}}"), w=4, thresholds=BETTER_ZERO, graph="none",
             mappings=words((0, "no", GREEN), (1, "waiting", ORANGE))),
        lines("Processes by policy", "How many processes judge by which policy. A change of policy is a crossing of two lines.", "short",
              (f"count by (version) (situs_policy_info{{{H}}})", "{{version}}"), w=12, h=4),
        lines("Second policy: what it would say", "Records that the policy of --shadow-policy has judged too. `moved` would lie in another zone. 0 without "
              "such a policy.", "recps",
              (rate("situs_shadow_records_total", HP, "kind") + " " + zero("kind", READ, "no second policy"), "{{kind}}"), w=24, h=6),
        row("Where records go"),
        lines("Messages by zone", "Messages that were settled in a zone, and in quarantine; a message counts in the zone of its first row.", "mps",
              (rate("situs_messages_stored_total", HPZ, "zone") + f" {zero('zone', WRITABLE)}", "{{zone}}"),
              (rate(quarantined, HP, "") + f" {zero('', READ)}", "quarantine (home)"), stack=True),
        bars("Rows by zone and pipeline", "Rows that were settled in the time range.", "short",
             (f"sum by (zone, pipeline) (increase(situs_rows_stored_total{{{HPZ}}}[$__range])) "
              + zero("pipeline", READ, "none"), "{{zone}} {{pipeline}}")),
        lines("Messages that were read and are not settled", "Read minus stored, quarantined and without rows, since the processes started. It returns to 0, "
              "but for messages that were read again after a revocation that came too soon: those stay counted as read.", "short",
              (f"sum by (home) ({READ}) - (sum by (home) (situs_messages_stored_total{{{HP}}}) {zero('home', READ)}) "
               f"- (sum by (home) ({quarantined}{{{HP}}}) {zero('home', READ)}) "
               f"- (sum by (home) (situs_messages_without_rows_total{{{HP}}}) {zero('home', READ)})", "{{home}} on the way"), low=None),
        row("What is held back"),
        lines("Quarantined by the policy", "Records that the policy cannot place, or may not. There is no default zone. See docs/quarantine.md.", "mps",
              (rate(quarantined, f'{HP},reason=~"{of_policy}"', "reason") + " " + zero("reason", READ, "none"), "{{reason}}"), stack=True),
        bars("Quarantined in the time range, by reason", "Messages, by the code of the reject or the policy's reason.", "short",
             (f"sum by (reason) (increase({quarantined}{{{HP}}}[$__range])) " + zero("reason", READ, "none"), "{{reason}}")),
        lines("Part that is quarantined, by pipeline", "Of the messages that were read. More than 5 % for ten minutes: docs/runbook.md#situsquarantinesurge.",
              "percentunit",
              (f"({rate(quarantined, HP, 'pipeline')} {zero('pipeline', READ)}) / ({rate('situs_messages_read_total', HP, 'pipeline')} > 0) "
               f"{zero('pipeline', READ)}", "{{pipeline}}"), thresholds=steps((GREEN, None), (RED, 0.05))),
        row("Stores by zone"),
        lines("Store writable", "1 if the zone's store could be written at the last attempt of each process. While it is 0, nothing is dropped and nothing of "
              "that zone is settled.", "short", (f"min by (zone, instance) (situs_store_writable{{{HZ}}})", "{{zone}} {{instance}}"), top=1),
        lines("Permits refused", "Writes that were refused because a batch was not of the store's zone. Must stay 0: docs/runbook.md#situspermitrefused.", "short",
              (f"sum by (zone) (situs_permits_refused_total{{{HZ}}}) {zero('zone', WRITABLE)}", "{{zone}}"),
              thresholds=MUST_BE_ZERO),
        lines("Free room", "Of the file system on which a zone's store lies: docs/runbook.md#situsstorefills.", "percentunit",
              (f"min by (zone) (situs_store_free_bytes{{{HZ}}} / situs_store_size_bytes{{{HZ}}})", "{{zone}}"), top=1),
        lines("Sizes of tables", "Bytes of the Parquet files that a table consists of.", "bytes",
              (f"max by (zone, table) (situs_table_bytes{{{HZ}}})", "{{zone}} {{table}}")),
        lines("Files of tables", "Parquet files that a table consists of. It falls when days are over and their files are put together.", "short",
              (f"max by (zone, table) (situs_table_files{{{HZ}}})", "{{zone}} {{table}}")),
        lines("Syncs", "99th percentile of the calls that make files durable. Slow ones are a slow disk.", "s",
              (f"histogram_quantile(0.99, sum by (le, kind) (rate(situs_fsync_seconds_bucket{{{H}}}{RATE})))", "{{kind}} p99")),
        lines("Entries of the ledgers", "By kind. `transfer-sent` are the transfers that were carried out.", "short",
              (f"max by (zone, kind) (situs_ledger_entries{{{HZ}}})", "{{zone}} {{kind}}")),
        lines("Next end of a basis", "Until the next `until` of the policy: docs/runbook.md#situsbasisexpires. More than ten years are shown as ten, and so is none.", "s",
              (f"clamp_max(min by (home) (situs_policy_basis_expiry_timestamp_seconds{{{H}}}) - time(), 10 * 365 * 86400)", "{{home}}")),
        lines("Files written", "Parquet files, by zone and table. A flush makes at least one for each zone that has rows.", "wps",
              (rate("situs_files_written_total", HZ, "zone, table") + " " + zero("zone", WRITABLE), "{{zone}} {{table}}")),
        lines("Bytes written", "Of Parquet files, by zone.", "Bps",
              (rate("situs_file_written_bytes_total", HZ, "zone") + f" {zero('zone', WRITABLE)}", "{{zone}}")),
        lines("Mean size of files", "Of the Parquet files that flushes wrote. Small files are put together when their day is over.", "bytes",
              (f"{rate('situs_file_written_bytes_total', HZ, 'zone')} / ({rate('situs_files_written_total', HZ, 'zone')} > 0) "
               f"{zero('zone', WRITABLE)}", "{{zone}}")),
        lines("Steps of maintenance", "Checkpoints, compaction, log clean-up and vacuum that were done, and those that failed. Of several processes one maintains a store.",
              "eps", (rate("situs_maintenance_steps_total", HZ, "zone, step") + " " + zero("zone", WRITABLE), "{{zone}} {{step}}"),
              (rate("situs_maintenance_failures_total", HZ, "zone, step") + " " + zero("zone", WRITABLE), "{{zone}} {{step}} FAILED")),
        bars("Compacted and removed in the time range", "Parquet files that compaction replaced by larger ones and that vacuum removed, and entries that log clean-up "
             "removed from the Delta logs.", "short",
             (f"sum by (zone) (increase(situs_files_compacted_total{{{HZ}}}[$__range])) {zero('zone', WRITABLE)}", "{{zone}} files compacted"),
             (f"sum by (zone) (increase(situs_files_removed_total{{{HZ}}}[$__range])) {zero('zone', WRITABLE)}", "{{zone}} files removed"),
             (f"sum by (zone) (increase(situs_log_entries_removed_total{{{HZ}}}[$__range])) {zero('zone', WRITABLE)}", "{{zone}} log entries removed"),
             w=12),
        bars("Bytes that vacuum removed in the time range", "Of Parquet files that no table names any more.", "bytes",
             (f"sum by (zone, table) (increase(situs_file_removed_bytes_total{{{HZ}}}[$__range])) {zero('zone', WRITABLE)}", "{{zone}} {{table}}"), w=12),
    ])


def pipelines():
    """What a pipeline does with its messages, for whoever owns its schema."""
    def by_pipeline(metric):
        return (rate(metric, HP, "pipeline"), "{{pipeline}}")

    return dashboard("pipeline", "Pipelines", "What each pipeline reads, decodes, rejects and stores, and what its values are like.",
                     [HOME, ZONE, PIPELINE], [
        row("In"),
        lines("Messages read", "Messages taken from Kafka.", "mps", by_pipeline("situs_messages_read_total")),
        lines("Bytes read", "Bytes of the payloads taken from Kafka.", "Bps", by_pipeline("situs_read_bytes_total")),
        lines("Mean size of a message", "Bytes of payload per message.", "bytes",
              (f"{rate('situs_read_bytes_total', HP, 'pipeline')} / ({rate('situs_messages_read_total', HP, 'pipeline')} > 0) {zero('pipeline', READ)}",
               "{{pipeline}}")),
        row("Decoding"),
        lines("Messages decoded", "Messages that became rows, counted when they are settled.", "mps", by_pipeline("situs_messages_decoded_total")),
        lines("Rows by path", "Which path rows took through the decoder. Many on the general one cost CPU: their messages change form.", "rowsps",
              (rate("situs_rows_decoded_total", HP, "pipeline, path"), "{{pipeline}} {{path}}")),
        lines("Messages rejected, by reason", "By the decoder; they are in quarantine, whole. `poison` is a bug to report: docs/runbook.md#situspoison.", "mps",
              (rate("situs_messages_rejected_total", HP, "pipeline, reason") + " " + zero("pipeline", READ, "none"), "{{pipeline}} {{reason}}")),
        lines("Messages without rows, by kind", "They give no row by design, such as key-alives.", "mps",
              (rate("situs_messages_without_rows_total", HP, "pipeline, kind") + " " + zero("pipeline", READ, "none"), "{{pipeline}} {{kind}}")),
        row("Out"),
        lines("Messages stored, by zone", "A message counts in the zone of its first row.", "mps",
              (rate("situs_messages_stored_total", HPZ, "pipeline, zone") + " " + zero("pipeline", READ, "none"), "{{pipeline}} {{zone}}")),
        lines("Rows stored, by zone", "Rows that were settled in a zone.", "rowsps",
              (rate("situs_rows_stored_total", HPZ, "pipeline, zone") + " " + zero("pipeline", READ, "none"), "{{pipeline}} {{zone}}")),
        lines("Messages quarantined, by reason", "Rejects of the decoder, and what the policy cannot place.", "mps",
              (rate("situs_messages_quarantined_total", HP, "pipeline, reason") + " " + zero("pipeline", READ, "none"), "{{pipeline}} {{reason}}")),
        lines("Rows per message", "Rows that a stored message became.", "short",
              (f"{rate('situs_rows_stored_total', HP, 'pipeline')} / ({rate('situs_messages_stored_total', HP, 'pipeline')} > 0) {zero('pipeline', READ)}",
               "{{pipeline}}")),
        staleness(),
        lines("Flushes", "Flushes that were settled. By default each pipeline is flushed when its oldest message is 5 s old.", "ops",
              by_pipeline("situs_flushes_total")),
        row("What the values are like"),
        lines("Missing values", "Values such as UNAVAILABLE or NaN that became null with a quality code.", "cps", by_pipeline("situs_missing_values_total")),
        lines("Clocks that are off", "Rows whose event time lies further from the broker's than the pipeline's clock allows. No time is changed; `_quality` says so.",
              "rowsps", by_pipeline("situs_clocks_off_total")),
        lines("Unknown fields", "Fields of messages that the schema does not know: a device has a new version, or the schema lacks something.", "cps",
              by_pipeline("situs_unknown_fields_total")),
        lines("Keys given twice, and byte order marks", "What was mended silently: the last of two keys won, the mark was stripped.", "cps",
              (rate("situs_duplicate_keys_total", HP, "pipeline"), "{{pipeline}} keys given twice"),
              (rate("situs_byte_order_marks_total", HP, "pipeline"), "{{pipeline}} byte order marks"), w=12),
        lines("Offsets finished by earlier texts", "Offsets that an owner before left unfinished and that were finished by the policy, schema and definition that began "
              "them. Normal after a crash.", "cps",
              (rate("situs_replayed_offsets_total", HP, "pipeline") + f" {zero('pipeline', READ)}", "{{pipeline}}"), w=12),
    ])


def kafka():
    """The consumer's side of Kafka, for whoever runs the cluster."""
    settled = f"situs_settled_offset{{{H}}}"
    return dashboard("kafka", "Kafka", "What the processes see of Kafka: lag, partitions, rebalances, errors of the client, and what the broker no longer had.",
                     [HOME, PIPELINE], [
        row("Lag"),
        lag(),
        lines("The ten partitions with the longest lag", "Messages between the settled offset and the end of the partition. One partition alone: its key is "
              "hot, or its process waits.", "short",
              (f"topk(10, max by (home, topic, partition) (situs_lag_messages{{{H}}}))", "{{topic}}/{{partition}}")),
        lines("Time that the lag stands for", "Lag divided by the offsets that are settled per second: how long it takes to catch up if nothing more were sent.", "s",
              (f"sum by (topic) (max by (home, topic, partition) (situs_lag_messages{{{H}}})) / (sum by (topic) (clamp_min(deriv({settled}[5m]), 0)) > 0) "
               f"or 0 * sum by (topic) (situs_lag_messages{{{H}}})", "{{topic}}"), thresholds=steps((GREEN, None), (YELLOW, 60), (RED, 300))),
        lines("Offsets settled", "How fast the settled offsets move.", "cps",
              (f"sum by (topic) (clamp_min(deriv({settled}[$__rate_interval]), 0))", "{{topic}}")),
        lines("Messages read", "Messages taken from Kafka, also those that are read again.", "mps",
              (rate("situs_messages_read_total", HP, "instance"), "{{instance}}")),
        lines("Bytes read", "Bytes of payloads, without keys, headers and what the protocol adds.", "Bps",
              (rate("situs_read_bytes_total", HP, "instance"), "{{instance}}")),
        lines("Age of the oldest message that is not settled", "By the broker's time, by topic; 0 when it is caught up.", "s",
              (f"max by (topic) (situs_lag_seconds{{{H}}})", "{{topic}}"), thresholds=steps((GREEN, None), (YELLOW, 60), (RED, 300))),
        row("Partitions and the group"),
        lines("Partitions assigned", "By process. One with none is idle: there are more processes than partitions, or it is not in the group.", "short",
              (f"sum by (instance) (situs_assigned_partitions{{{H}}})", "{{instance}}"), stack=True),
        lines("Partitions waiting and refused", "Waiting to be taken over: a store cannot be written, or another process owns them still. Refused: "
              "docs/runbook.md#situspartitionrefused.", "short",
              (f"sum by (instance) (situs_waiting_partitions{{{H}}})", "{{instance}} waiting"),
              (f"sum by (instance) (situs_refused_partitions{{{H}}})", "{{instance}} refused"), thresholds=BETTER_ZERO),
        lines("Rebalances", "Of the consumer group, in five minutes: partitions assigned, revoked, and lost without being asked (the session ran out).", "short",
              (f"sum by (kind) (increase(situs_rebalances_total{{{H}}}[5m])) " + zero("kind", BUILD, "none"), "{{kind}}")),
        row("Errors and holes"),
        lines("Errors of the client", "By librdkafka's code. An absent broker is reported many times a second.", "eps",
              (rate("situs_kafka_errors_total", H, "kind") + " " + zero("kind", BUILD, "none"), "{{kind}}")),
        lines("Offsets that held no message", "Compaction, transactions, deleted segments. Normal for compacted topics and transactions.", "cps",
              (rate("situs_skipped_offsets_total", H, "topic") + " " + zero("topic", settled), "{{topic}}")),
        lines("Offsets that the broker had deleted", "Before they were settled. Each is a loss that retention caused: docs/runbook.md#situsrecordslost.", "cps",
              (rate("situs_deleted_offsets_total", H, "topic") + " " + zero("topic", settled), "{{topic}}"), thresholds=MUST_BE_ZERO),
        row("Back-pressure"),
        lines("Paused", "1 while consumption is paused at the bound on buffered bytes.", "short",
              (f"max by (instance) (situs_paused{{{H}}})", "{{instance}}"), top=1),
        buffered(),
        lines("Buffered bytes", "Held for messages that are not settled yet, and the bound on them.", "bytes",
              (f"sum by (instance) (situs_buffered_bytes{{{H}}})", "{{instance}}"),
              (f"max by (instance) (situs_buffered_bytes_limit{{{H}}})", "{{instance}} bound")),
        flush_quantiles(24),
        row("The client and the brokers, by librdkafka's own statistics"),
        lines("Round trip", "Of requests to a broker, in the last second or so. Fetches wait at the broker for data, up to half a second.", "s",
              (f"max by (broker, kind) (situs_kafka_rtt_seconds{{{H}}})", "{{broker}} {{kind}}")),
        lines("Bytes to and from brokers", "As they are on the wire: batches are compressed.", "Bps",
              (rate("situs_kafka_received_bytes_total", H, "broker"), "{{broker}} received"),
              (rate("situs_kafka_sent_bytes_total", H, "broker"), "{{broker}} sent")),
        lines("Brokers connected", "To how many brokers each process has a connection, and to which. One that it does not need it does not open.", "short",
              (f"min by (instance) (situs_kafka_brokers_up{{{H}}})", "{{instance}}"),
              (f"sum by (broker) (situs_kafka_broker_up{{{H}}})", "{{broker}} has so many")),
        lines("Requests waiting and in flight", "Those that wait to be sent, and those that wait for an answer.", "short",
              (f"sum by (broker) (situs_kafka_requests_waiting{{{H}}})", "{{broker}} waiting"),
              (f"sum by (broker) (situs_kafka_requests_in_flight{{{H}}})", "{{broker}} in flight")),
        lines("Requests sent again, and without an answer", "A broker or the network between is slow.", "eps",
              (rate("situs_kafka_request_retries_total", H, "broker"), "{{broker}} again"),
              (rate("situs_kafka_request_timeouts_total", H, "broker"), "{{broker}} no answer")),
        lines("Fetched and not taken yet", "Bytes that the client holds for workers, beside `memory`.", "bytes",
              (f"sum by (instance) (situs_kafka_fetch_queue_bytes{{{H}}})", "{{instance}}")),
        lines("Messages fetched and not taken yet", "That the client holds for workers.", "short",
              (f"sum by (instance) (situs_kafka_fetch_queue_messages{{{H}}})", "{{instance}}")),
    ])


def main():
    """Writes or compares."""
    checks = "--check" in sys.argv[1:]
    differs = False
    for made in (overview(), residency(), pipelines(), kafka()):
        path = HERE / f"{made['uid'].removeprefix('situs-')}.json"
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        if not checks:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.name} is not what make.py makes")
            differs = True
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
