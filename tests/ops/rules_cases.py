"""What each alert must do: series by the minute, and when it must be quiet and when it must fire.

`values` are in promtool's notation: `1x5` is 1 and five more 1; `0+60x5` counts up; `_` is no sample.
Every series gets the labels of HOME. What fires is told by its further labels, and by the value as it stands
in the alert's texts.
"""

import dataclasses

HOME = {"namespace": "plant", "job": "situs", "home": "stuttgart-1"}


@dataclasses.dataclass
class Case:
    """Series, and what must come of them."""

    alert: str
    story: str
    series: dict
    quiet: list
    # Time: list of (labels, value); empty for a case in which nothing may fire.
    fires: dict = dataclasses.field(default_factory=dict)
    interval: str = "1m"


def counts_first(alert, metric, labels, shown):
    """The two cases of a counter whose first event must be seen."""
    series = f"{metric}{{{labels}}}"
    return [
        Case(alert, "increases, and an hour later it is over", {series: "0x70 1x90"},
             ["60m", "70m", "135m"], {"72m": [(shown, None)], "120m": [(shown, None)]}),
        Case(alert, "appears with its first event, and an hour later it is over", {series: "_x20 1x120"},
             ["19m", "90m"], {"22m": [(shown, None)], "75m": [(shown, None)]}),
        Case(alert, "stands where it stood before anybody looked", {series: "0x180"}, ["10m", "90m", "150m"]),
    ]


# Every process has these.
CALM = {'situs_paused{instance="a"}': "0x300", 'situs_waiting_partitions{instance="a"}': "0x300"}
READ = 'situs_messages_read_total{pipeline="cnc-state",instance="a"}'
VALID = 'situs_valid_through_timestamp_seconds{pipeline="cnc-state",instance="a"}'
MISSED = 'situs:freshness_missed:bool{pipeline="cnc-state"}'
QUARANTINED = 'situs_messages_quarantined_total{pipeline="cnc-state",reason="wrong-type",instance="a"}'
STATE = {"topic": "cnc.state"}
PIPELINE = {"pipeline": "cnc-state"}
CN = {"zone": "CN"}
LAG = 'situs_lag_messages{topic="cnc.state",partition="0",instance="a"}'
SETTLED = 'situs_settled_offset{topic="cnc.state",partition="0",instance="a"}'

CASES = [
    *counts_first("SitusInvariantBroken", "situs_invariant_violations_total", 'invariant="EO-3",instance="a"', {"invariant": "EO-3"}),
    *counts_first("SitusPermitRefused", "situs_permits_refused_total", 'zone="CN",instance="a"', CN),
    *counts_first("SitusRecordsLost", "situs_deleted_offsets_total", 'topic="cnc.state",instance="a"', STATE),
    *counts_first("SitusPoison", "situs_messages_rejected_total", 'pipeline="cnc-state",reason="poison",instance="a"', PIPELINE),
    Case("SitusPoison", "another reason is no poison",
         {'situs_messages_rejected_total{pipeline="cnc-state",reason="invalid-json",instance="a"}': "_x20 1+1x100"}, ["22m", "90m"]),

    Case("SitusPartitionRefused", "two are refused, and then none",
         {'situs_refused_partitions{instance="a"}': "0x5 2x5 0x5", 'situs_refused_partitions{instance="b"}': "0x20"},
         ["5m", "6m", "13m"], {"8m": [({"instance": "a"}, "2")]}),

    Case("SitusGone", "all processes of a home vanish, and come back",
         {'situs_build_info{version="1",instance="a"}': "1x10 stale _x10 1x10", 'situs_build_info{version="1",instance="b"}': "1x10 stale _x21"},
         ["10m", "12m", "24m"], {"14m": [({}, None)], "20m": [({}, None)]}),
    Case("SitusGone", "one of two goes",
         {'situs_build_info{version="1",instance="a"}': "1x30", 'situs_build_info{version="1",instance="b"}': "1x10 stale _x19"},
         ["11m", "20m", "30m"]),

    Case("SitusReplicaGone", "a process does not answer, and answers again",
         {'up{instance="a"}': "1x10 0x10 1x10", 'situs_build_info{version="1",instance="a"}': "1x10 stale _x9 1x10"},
         ["10m", "12m", "23m"], {"14m": [({"instance": "a"}, None)]}),
    Case("SitusReplicaGone", "what is down was never seen to be Situs",
         {'up{instance="c"}': "0x30", 'situs_build_info{version="1",instance="a"}': "1x30"}, ["10m", "30m"]),

    Case("SitusNotReady", "nobody owns a partition, and then somebody does",
         {'situs_assigned_partitions{instance="a"}': "4x5 0x20 4x5", 'situs_assigned_partitions{instance="b"}': "4x5 0x25"},
         ["5m", "10m", "28m"], {"12m": [({}, None)]}),
    Case("SitusNotReady", "one process is idle",
         {'situs_assigned_partitions{instance="a"}': "8x30", 'situs_assigned_partitions{instance="b"}': "0x30"}, ["10m", "30m"]),

    Case("SitusStoreUnwritable", "one process cannot write one zone, and can again",
         {'situs_store_writable{zone="CN",instance="a"}': "1x5 0x5 1x5", 'situs_store_writable{zone="CN",instance="b"}': "1x15",
          'situs_store_writable{zone="EU",instance="a"}': "1x15"},
         ["5m", "6m", "13m"], {"8m": [(CN, None)]}),
    Case("SitusStoreUnwritable", "a hiccup",
         {'situs_store_writable{zone="CN",instance="a"}': "1x5 0 1x9"}, ["6m", "7m", "8m"]),

    Case("SitusPartitionsWaiting", "three wait too long, and then are taken over",
         {'situs_waiting_partitions{instance="a"}': "0x5 3x10 0x5"}, ["5m", "10m", "17m"], {"12m": [({"instance": "a"}, "3")]}),
    Case("SitusPartitionsWaiting", "three wait for a moment", {'situs_waiting_partitions{instance="a"}': "0x5 3x3 0x15"}, ["8m", "12m"]),

    Case("SitusRebalancesOften", "one a minute for 40 minutes",
         {'situs_rebalances_total{kind="revoke",instance="a"}': "0x30 1+1x39 40x60"}, ["30m", "45m", "105m"], {"65m": [({}, "30")]}),
    Case("SitusRebalancesOften", "a roll-out", {'situs_rebalances_total{kind="revoke",instance="a"}': "0x30 1+1x3 4x60",
                                                'situs_rebalances_total{kind="assign",instance="a"}': "0+1x90"}, ["40m", "60m", "90m"]),

    Case("SitusKafkaErrors", "one a second, until the broker is back",
         {'situs_kafka_errors_total{kind="BrokerTransportFailure",instance="a"}': "0x10 60+60x29 1800x30"},
         ["10m", "18m", "50m"], {"25m": [({"kind": "BrokerTransportFailure"}, "1")]}),
    Case("SitusKafkaErrors", "a few when a broker restarts",
         {'situs_kafka_errors_total{kind="BrokerTransportFailure",instance="a"}': "0x10 20x60"}, ["12m", "25m", "40m"]),
    Case("SitusKafkaErrors", "one now and then", {'situs_kafka_errors_total{kind="BrokerTransportFailure",instance="a"}': "0+3x60"}, ["30m", "60m"]),

    Case("SitusLagGrowing", "1000 a minute more for 40 minutes while 100 a second are settled, and then it falls",
         {LAG: "0x20 1000+1000x39 38000-2000x19", SETTLED: "0+6000x80"},
         ["20m", "45m", "70m", "80m"], {"58m": [(STATE, "35.5k")]}),
    Case("SitusLagGrowing", "nothing is settled any more", {LAG: "0x20 100+100x60", SETTLED: "0+6000x20 120000x60"},
         ["30m"], {"58m": [(STATE, "3.55k")]}),
    Case("SitusLagGrowing", "a few more each minute, and nothing to speak of", {LAG: "0+10x60", SETTLED: "0x60"}, ["30m", "45m", "60m"]),
    Case("SitusLagGrowing", "much at a high pace, up and down",
         {LAG: " ".join(["400000", "600000", "500000"] * 30), SETTLED: "0+6000000x90"}, ["20m", "50m", "89m"]),
    Case("SitusLagGrowing", "a partition moves to another process",
         {LAG: "500x40 stale _x40", 'situs_lag_messages{topic="cnc.state",partition="0",instance="b"}': "_x38 500x42",
          SETTLED: "0+6000x80"}, ["39m", "41m", "60m"]),

    Case("SitusFreshnessBurnsFast", "nothing is settled for half an hour though messages are read",
         {**CALM, READ: "0+60x300", VALID: "0+60x60 3600x30 5520+60x208"},
         ["60m", "65m", "125m", "290m"], {"75m": [(PIPELINE, "21.31%")]}),
    Case("SitusFreshnessBurnsFast", "a message every ten minutes, each settled at once",
         {**CALM, READ: " ".join(f"{number}x9" for number in range(18)), VALID: " ".join(f"{600 * number}x9" for number in range(18))},
         ["15m", "60m", "100m", "179m"]),
    Case("SitusFreshnessBurnsFast", "producers rest for hours", {**CALM, READ: "0+60x60 3600x240", VALID: "0+60x60 3600x240"},
         ["61m", "70m", "120m", "290m"]),
    Case("SitusFreshnessBurnsFast", "reading is paused",
         {READ: "0+60x60 3600x60", VALID: "0+60x60 3600x60", 'situs_paused{instance="a"}': "0x60 1x60",
          'situs_waiting_partitions{instance="a"}': "0x120"},
         ["60m"], {"75m": [(PIPELINE, "21.31%")]}),

    Case("SitusFreshnessBurnsFast", "a minute of twenty, for hours", {MISSED: " ".join(["0x18", "1"] * 20) + " 0x200"},
         ["10m", "500m"], {"391m": [(PIPELINE, "4.986%")]}),
    Case("SitusFreshnessBurnsFast", "a minute of fifty", {MISSED: " ".join(["0x48", "1"] * 12)}, ["402m", "502m", "552m"]),
    Case("SitusFreshnessBurnsFast", "it was bad two hours ago, and is missed for a moment now", {MISSED: "0x600 1x40 0x240 1 0x100"},
         ["445m", "450m"], interval="30s"),
    Case("SitusFreshnessBurnsFast", "it was bad half an hour ago, and is missed for a moment now", {MISSED: "0x300 1x40 0x132 1 0x40"},
         ["118m", "121m"], interval="15s"),

    Case("SitusFreshnessBurnsSlowly", "five minutes of every hundred for two days, and then no more",
         {MISSED: " ".join(["0x18", "1"] * 29) + " 0x900"}, ["30m", "2h", "60h"], {"45h": [(PIPELINE, "5.19%")]}, interval="5m"),
    Case("SitusFreshnessBurnsSlowly", "five minutes every eight hours", {MISSED: " ".join(["0x98", "1"] * 3) + " 0x400"},
         ["485m", "1895m"], {"1615m": [(PIPELINE, "0.9259%")]}, interval="5m"),
    Case("SitusFreshnessBurnsSlowly", "five minutes once", {MISSED: "0x300 1 0x600"}, ["1590m", "30h", "49h"], interval="5m"),
    Case("SitusFreshnessBurnsSlowly", "it was bad ten hours ago, and is missed for a minute now", {MISSED: "0x900 1x29 0x600 1 0x200"},
         ["1620m", "1640m"]),

    Case("SitusTopicSilent", "a topic falls silent, and speaks again",
         {LAG: "0x200", SETTLED: "0+60x60 3600x59 3660+60x80"}, ["60m", "90m", "125m"], {"100m": [(STATE, None)]}),
    Case("SitusTopicSilent", "a topic that never spoke", {LAG: "0x200", SETTLED: "0x200"}, ["60m", "100m", "200m"]),
    Case("SitusTopicSilent", "it is not read, which is told by the lag", {LAG: "0x60 10+10x100", SETTLED: "0+60x60 3600x100"}, ["100m", "150m"]),

    Case("SitusQuarantineSurge", "1.7 % are well, 10 % are not, 1.7 % are well again",
         {READ: "0+60x120", QUARANTINED: "0+1x40 46+6x29 221+1x48"}, ["40m", "48m", "110m"], {"65m": [(PIPELINE, "10%")]}),
    Case("SitusQuarantineSurge", "2 % of much", {READ: "0+600x60", QUARANTINED: "0+12x60"}, ["30m", "60m"]),
    Case("SitusQuarantineSurge", "one of one, now and then", {READ: "0+1x60", QUARANTINED: "0+1x60"}, ["30m", "60m"]),

    Case("SitusIntakePaused", "paused for half an hour", {'situs_paused{instance="a"}': "0x10 1x30 0x30"},
         ["10m", "24m", "55m"], {"30m": [({"instance": "a"}, "100%")]}),
    Case("SitusIntakePaused", "paused for two minutes of ten", {'situs_paused{instance="a"}': " ".join(["0x7 1x1"] * 7)}, ["30m", "60m"]),

    Case("SitusCommitConflicts", "more conflicts than flushes",
         {'situs_commit_conflicts_total{zone="CN",instance="a"}': "0x20 3+3x59 180x60",
          'situs_flushes_total{pipeline="cnc-state",instance="a"}': "0+1x140"},
         ["20m", "35m", "110m"], {"65m": [(CN, "3")]}),
    Case("SitusCommitConflicts", "two for each flush, where hardly anything is flushed",
         {'situs_commit_conflicts_total{zone="CN",instance="a"}': "0+0.4x100",
          'situs_flushes_total{pipeline="cnc-state",instance="a"}': "0+0.2x100"}, ["50m", "100m"]),
    Case("SitusCommitConflicts", "a few, as with several processes",
         {'situs_commit_conflicts_total{zone="CN",instance="a"}': "0+2x100",
          'situs_flushes_total{pipeline="cnc-state",instance="a"}': "0+12x100"}, ["50m", "100m"]),

    Case("SitusMaintenanceFailing", "each turn fails, until one does not",
         {'situs_maintenance_failures_total{zone="CN",step="vacuum",instance="a"}':
          "0x20 " + " ".join(f"{number}x9" for number in range(1, 8)) + " 7x80"},
         ["20m", "45m", "155m"], {"80m": [({"zone": "CN", "step": "vacuum"}, None)]}),
    Case("SitusMaintenanceFailing", "one turn fails",
         {'situs_maintenance_failures_total{zone="CN",step="vacuum",instance="a"}': "0x20 1x100"}, ["25m", "60m"]),

    Case("SitusPolicyRejected", "rejected, and mended", {'situs_policy_rejected{instance="a"}': "0x5 1x5 0x5"},
         ["5m", "6m", "13m"], {"8m": [({}, None)]}),
    Case("SitusPolicyWaiting", "waits for 20 minutes", {'situs_policy_waiting{instance="a"}': "0x5 1x20 0x5"},
         ["5m", "20m", "28m"], {"23m": [({}, None)]}),
    Case("SitusPolicyWaiting", "waits for its barrier", {'situs_policy_waiting{instance="a"}': "0x5 1x3 0x25"}, ["8m", "25m"]),
    Case("SitusPoliciesDiffer", "one process keeps the policy before for too long",
         {'situs_policy_info{version="old",instance="a"}': "1x40", 'situs_policy_info{version="old",instance="b"}': "1x10 stale _x25 1x10",
          'situs_policy_info{version="new",instance="b"}': "_x10 1x24 stale"},
         ["10m", "24m", "38m"], {"28m": [({}, "2")]}),
    Case("SitusPoliciesDiffer", "each home has its own",
         {'situs_policy_info{version="old",instance="a"}': "1x40", 'situs_policy_info{version="new",instance="b",home="nanning-1"}': "1x40"},
         ["20m", "40m"]),
]
