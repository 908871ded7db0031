#!/usr/bin/env python3
"""The course of a chaos run, what must hold of it, and the verdict. Started by the script `chaos`."""

import argparse
import collections
import dataclasses
import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import confluent_kafka
import confluent_kafka.admin

import chaos_produce
import produce
import wait
from chaos_faults import Faults
from chaos_parts import HERE, ROOT, Broker, Replica, Sampler, Settings, Zone, versions
from chaos_policies import Policies

PARTITIONS, MOST_PARTITIONS = 4, 7
PIPELINES = {"cnc-state": "cnc_state", "cnc-waveform": "cnc_waveform"}
# What a replica may need beyond `memory`.
RSS_MARGIN_MIB = 300
CALM_SECONDS = 180
# Stands in nearly every payload and must stand in no log.
PAYLOAD_WORDS = ["partCount", "spindleSpeed", "HFProbeCounter"]


@dataclasses.dataclass(frozen=True)
class Expected:
    """An end with an error that is by design."""

    told: str
    blocked: bool | None
    pattern: str
    reason: str


# What a process says whose `group.instance.id` the broker gave to another.
FENCED = r"fatal.*(fenced|[Ii]nstance)"
# Every other end with an error fails the run.
EXPECTED = [
    Expected("stop", True, r"drain time", "it was told to stop while a store could not be written, or the broker could "
             "not be asked: it gives up at the end of the drain time, and what was not settled is read again"),
    Expected("replaced", None, FENCED, "another process joined with its group.instance.id: the "
             "broker fences the older one for good, and only a new process can come back"),
]


@dataclasses.dataclass
class Topic:
    """A topic as the run knows it."""

    name: str
    partitions: int = PARTITIONS
    most: int = MOST_PARTITIONS


class Run:
    """A run."""

    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.data = work / "data"
        self.started = time.monotonic()
        self.course = (work / "course.log").open("w", buffering=1)
        self.random = random.Random(arguments.seed)
        self.session_seconds, self.drain_seconds = 5.0, 4
        self.mounts = not arguments.no_mounts
        self.counts = collections.Counter()
        self.violations = []
        self.active = []
        # When the broker was last taken away or came back.
        self.broker_fault_at = float("-inf")
        self.producer = None
        self.sampler = None
        self.replicas = []
        self.topics = [Topic(chaos_produce.STATE), Topic(chaos_produce.WAVEFORM)]
        self.zones = [Zone(name, self.data / name.lower(), self.mounts) for name in ("EU", "CN")]
        self.policies = Policies(work / "policies", ROOT / "pipelines" / "policy.yaml")
        self.broker = Broker(work)

    # What happens is noted

    def note(self, text):
        """Writes a line of the course of events."""
        line = f"{time.monotonic() - self.started:7.1f} s  {text}"
        self.course.write(line + "\n")
        print(line, flush=True)

    def violation(self, text):
        """Notes that something does not hold."""
        self.violations.append(text)
        self.note(f"VIOLATION: {text}")

    def count(self, what):
        """Counts a fault that was carried out."""
        self.counts[what] += 1

    # What faults ask

    def tables(self):
        """The tables, as folders under the data folder."""
        return [
            *(f"{zone.name.lower()}/{table}" for zone in self.zones for table in PIPELINES.values()),
            "eu/quarantine", "eu/receipts",
        ]

    def touched(self, name, but):
        """Whether a fault other than this one has claimed it."""
        return any(name in fault.claims for fault in self.active if fault is not but)

    def grow(self, topic):
        """Adds a partition."""
        topic.partitions += 1
        new = confluent_kafka.admin.NewPartitions(topic.name, topic.partitions)
        admin = self.admin()
        admin.create_partitions([new])[topic.name].result(30)
        self.tell_producer(f"grow {topic.name} {topic.partitions}")

    def admin(self):
        """A client for administration. Its answers come only while somebody holds it."""
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": self.broker.address, "log_level": 2})

    def settled(self):
        """The settled offset of each partition that somebody owns."""
        found = {}
        for replica in self.replicas:
            metrics = replica.metrics()
            for labels, value in metrics.series("situs_settled_offset") if metrics else []:
                key = (labels["topic"], int(labels["partition"]))
                found[key] = max(found.get(key, 0), int(value))
        return found

    # The parts

    def prepare(self):
        """Broker, topics, stores, replicas, producer."""
        address = self.broker.start_and_wait()
        for topic in self.topics:
            produce.create_topic(address, topic.name, topic.partitions)
        for zone in self.zones:
            subprocess.run([self.arguments.situs, "store", "init", "--zone", zone.name, "--root", zone.root],
                           check=True, stdout=subprocess.DEVNULL)
        key = self.work / "receipts-key.pem"
        subprocess.run([self.arguments.situs, "store", "key", key], check=True, stdout=subprocess.DEVNULL)
        settings = Settings(
            situs=self.arguments.situs, work=self.work, brokers=address, group="situs-chaos",
            policy=self.policies.current, stores={zone.name: zone.root for zone in self.zones},
            key=key, pipelines=list(PIPELINES), memory_mib=self.arguments.memory, session_seconds=self.session_seconds,
            drain_seconds=self.drain_seconds,
        )
        self.replicas = [Replica(settings, number) for number in (1, 2, 3, 4)]
        self.sampler = Sampler(self.replicas)
        self.sampler.start()
        for replica in self.replicas[:3]:
            replica.start()
        with (self.work / "producer.log").open("wb") as log:
            self.producer = subprocess.Popen(
                [sys.executable, HERE / "chaos_produce.py", "--brokers", address, "--partitions", str(PARTITIONS),
                 "--rate", str(self.arguments.rate), "--seed", str(self.arguments.seed),
                 "--expectations", self.work / "expectations.json",
                 *(word for policy in self.policies.all for word in ("--policy", f"{policy.version}={policy.path}"))],
                stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
            )
        self.until("all replicas own partitions", lambda: all(r.is_assigned() for r in self.replicas[:3]), 60)
        self.note(f"Kafka at {address}, three replicas and {self.arguments.rate} messages/s; policies "
                  + ", ".join(f"{policy.name} {policy.version}" for policy in self.policies.all))

    def tell_producer(self, order):
        """Sends the producer a command."""
        try:
            self.producer.stdin.write(order + "\n")
            self.producer.stdin.flush()
        except OSError:
            self.violation("the producer is gone, see producer.log")

    def until(self, what, condition, seconds):
        """Waits, while ends are looked after; whether it came true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.violation(f"not within {seconds} s: {what}")
                return False
            self.look_after()
            time.sleep(0.05)
        return True

    # Faults

    def chaos(self):
        """Faults from the seed until the time is over, and until the last one is undone."""
        faults = Faults(self, self.random)
        end = time.monotonic() + self.arguments.minutes * 60
        next_at = time.monotonic() + 2
        while self.active or time.monotonic() < end:
            self.look_after()
            for fault in list(self.active):
                try:
                    over = fault.step(self)
                except (OSError, RuntimeError, confluent_kafka.KafkaException) as error:
                    # The run cannot go on as if nothing had happened, but the others are undone in order.
                    self.violation(f"{fault.kind} ({fault.text}) could not be carried out: {error}")
                    over = True
                if over:
                    self.active.remove(fault)
                    self.note(f"{fault.kind} over after {time.monotonic() - fault.started:.1f} s")
                    if not self.active:
                        next_at = time.monotonic() + self.random.uniform(0.5, 4)
            now = time.monotonic()
            # One at a time, and in one of three cases a second one a little later.
            if now >= next_at and now < end and len(self.active) < 2:
                claimed = {claim for fault in self.active for claim in fault.claims}
                fault = faults.make(claimed)
                if fault is None:
                    # What is left in the bag cannot be now.
                    next_at = now + 1
                else:
                    for other in self.active:
                        other.shared = fault.shared = True
                    self.active.append(fault)
                    self.count("faults")
                    self.counts["faults beside another"] += fault.shared
                    self.note(f"{fault.kind}: {fault.text}" + (" (beside another)" if fault.shared else ""))
                    second = self.random.random() < 0.35
                    next_at = now + self.random.uniform(0.5, 5) if second else float("inf")
            time.sleep(0.03)

    def look_after(self):
        """Notes processes that have ended; those that ended by themselves are started again."""
        if self.producer.poll() is not None and self.producer.returncode != 0 and not self.counts["producer gone"]:
            self.count("producer gone")
            self.violation(f"the producer ended with {self.producer.returncode}, see producer.log")
        broken = any(zone.fault for zone in self.zones) or self.is_broker_away()
        for replica in self.replicas:
            for life in (life for life in replica.lives if not life.accounted):
                if life.told == "stop":
                    life.blocked |= broken
                if life.process.poll() is not None:
                    life.accounted = True
                    self.account(life)
            # Not at once, as whoever looks after processes would.
            if replica.wanted and replica.has_ended() and time.monotonic() > replica.life.started + 2:
                replica.start()

    def account(self, life):
        """Judges the end of a process."""
        code = life.process.returncode
        if (life.told, code) in (("stop", 0), ("die", -signal.SIGKILL)):
            return
        self.count("ended by themselves" if life.told is None else "ended with an error")
        last = life.last_line()
        for expected in EXPECTED:
            right = life.told == expected.told and expected.blocked in (None, life.blocked)
            if right and code == 1 and re.search(expected.pattern, last):
                self.count("expected ends")
                self.note(f"{life.name} ended with {code}, as expected: {expected.reason}")
                return
        if life.told is None and life.static and code == 1 and re.search(FENCED, last) and self.may_be_fenced(life):
            self.count("static members fenced")
            self.note(f"{life.name} ended with {code}: the broker fenced the newer one of two of its name, or it had "
                      "forgotten who is which when it came back; whoever looks after processes starts it again")
            return
        under_way = ", ".join(f"{fault.kind} ({fault.text})" for fault in self.active) or "no fault"
        told = {None: "by itself", "stop": "after SIGTERM", "die": "before kill -9", "replaced": "after it was replaced"}
        self.violation(f"{life.name} ended with {code} {told[life.told]} during {under_way}; "
                       f"last line of {life.log}: {last}")

    def is_broker_away(self, recently=3):
        """Whether the broker is away, or was until so many seconds ago."""
        active = any("broker" in fault.claims for fault in self.active)
        return active or time.monotonic() - self.broker_fault_at < recently

    def may_be_fenced(self, life):
        """Whether the broker had a reason to fence a static member: two of its name, or its own restart."""
        name = life.name.rpartition(".")[0]
        replaced = any(fault.kind == "replace" and name in fault.claims for fault in self.active)
        return (replaced or self.is_broker_away(30)) and self.counts["static members fenced"] < 3

    # Calm

    def calm(self):
        """Without faults everything must be settled; how long that takes."""
        began = time.monotonic()
        self.tell_producer("stop")
        self.until("the producer has sent everything", lambda: self.producer.poll() is not None, 260)
        ends = {}
        expectations = self.work / "expectations.json"
        if expectations.exists():
            for topic, acknowledged in json.loads(expectations.read_text())["acknowledged"].items():
                ends |= {(topic, number): count for number, count in enumerate(acknowledged) if count}
        self.counts["messages"] = sum(ends.values())

        def is_settled():
            settled = self.settled()
            lags = [m.sum("situs_lag_messages") for r in self.replicas if (m := r.metrics()) is not None]
            return all(settled.get(key) == end for key, end in ends.items()) and not any(lags)

        reached = bool(ends) and self.until("lag 0 and everything settled", is_settled, CALM_SECONDS)
        if not reached:
            settled = self.settled()
            behind = [f"{topic}/{number} {settled.get((topic, number))} of {end}"
                      for (topic, number), end in sorted(ends.items()) if settled.get((topic, number)) != end]
            self.violation(f"not settled: {', '.join(behind) or 'nothing was sent, or lag is not 0'}")
        lag_seconds = time.monotonic() - began
        self.note(f"{self.counts['messages']} messages acknowledged; everything settled after {lag_seconds:.1f} s"
                  if reached else "not everything settled")
        return lag_seconds if reached else None

    def drain(self):
        """All replicas end by SIGTERM; the group's offsets may not exceed what is settled (EO-6)."""
        settled = self.settled()
        for replica in self.replicas:
            if not replica.has_ended():
                replica.stop()
        self.until("all replicas end", lambda: all(r.has_ended() for r in self.replicas), self.drain_seconds + 30)
        self.look_after()
        group = confluent_kafka.ConsumerGroupTopicPartitions("situs-chaos")
        try:
            admin = self.admin()
            answer = admin.list_consumer_group_offsets([group])["situs-chaos"].result(30)
        except (OSError, confluent_kafka.KafkaException) as error:
            self.violation(f"the group's offsets cannot be read: {error}")
            return
        for place in answer.topic_partitions:
            if place.offset > settled.get((place.topic, place.partition), 0):
                self.violation(f"EO-6: the group's offset of {place.topic}/{place.partition} is {place.offset}, settled "
                               f"is {settled.get((place.topic, place.partition))}")

    # Checks

    def verify(self):
        """The independent reader."""
        done = subprocess.run(
            [sys.executable, HERE / "verify.py", self.data, "--expectations", self.work / "expectations.json"],
            capture_output=True, text=True, check=False,
        )
        (self.work / "verify.log").write_text(done.stdout + done.stderr)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            self.violation(f"verify.py: exit code {done.returncode}, see verify.log: "
                           + (done.stdout.strip() or done.stderr.strip()).rpartition("\n")[2])

    def lives(self):
        """All processes of all replicas."""
        return [life for replica in self.replicas for life in replica.lives]

    def total(self, name, **labels):
        """The sum of a counter over all processes, up to the last look at each."""
        return int(sum(life.metrics.sum(name, **labels) or 0 for life in self.lives()))

    def check_processes(self):
        """Memory, counters that must stay 0, and logs."""
        limit = self.arguments.memory + RSS_MARGIN_MIB
        largest = sorted(self.lives(), key=lambda life: life.peak_kib, reverse=True)[:5]
        self.note("largest processes: " + ", ".join(
            f"{life.name} {life.peak_kib // 1024} MiB after {life.answered - life.started:.0f} s" for life in largest
        ))
        for life in self.lives():
            if life.peak_kib / 1024 > limit:
                self.violation(f"{life.name}: {life.peak_kib // 1024} MiB at its peak, {limit} are allowed")
            for name in wait.NEVER:
                if life.metrics.sum(name):
                    broken = [f"{labels} {value:.0f}" for labels, value in life.metrics.series(name) if value]
                    self.violation(f"{life.name}: {name} is not 0: {', '.join(broken)}")
            text = life.log.read_text(errors="replace")
            if "panicked" in text:
                self.violation(f"{life.name} panicked, see {life.log}")
            words = [word for word in PAYLOAD_WORDS if word in text]
            if words:
                self.violation(f"{life.name}: text of payloads in {life.log}: {', '.join(words)}")
        if self.total("situs_deleted_offsets_total"):
            self.violation("situs_deleted_offsets_total is not 0, though the broker deletes nothing")

    def figures(self, lag_seconds):
        """The line of figures."""
        counts = self.counts
        events = [event for life in self.lives()
                  for event in life.events("assigned", "revoked", "flush-yielded", "store-retry")]
        by_event = collections.Counter(event["event"] for event in events)
        lost = sum(bool(event.get("lost")) for event in events)
        commits = sum(versions(self.data / table) for table in self.tables())
        read_again = self.total("situs_messages_read_total") - counts["messages"]
        replays = sorted({name for life in self.lives() for name, *_ in life.metrics.samples if "repla" in name})
        parts = [
            f"{counts['messages']} messages", f"{counts['faults']} faults ({counts['faults beside another']} beside another)",
            f"{counts['kills']} kills ({counts['kills at a commit']} at a commit)", f"{counts['zombies']} zombies",
            f"{counts['drains']} drains", f"{counts['broker restarts']} broker restarts",
            f"stores {counts['stores full']} times full and {counts['stores read-only']} times read-only",
            f"{counts['policies']} policy changes", f"{counts['reloads']} reloads", f"{counts['partitions added']} partitions added",
            f"rebalances: {by_event['assigned']} assignments, {by_event['revoked']} revocations, {lost} of them lost",
            f"{by_event['flush-yielded']} flushes given up to another owner",
            f"{commits} commits", f"{self.total('situs_commit_conflicts_total')} conflicts",
            f"{self.total('situs_flush_retries_total')} retries", f"at least {max(0, read_again)} messages read again",
            *(f"{name} {self.total(name)}" for name in replays),
            f"{counts['ended by themselves'] + counts['ended with an error']} ends with an error "
            f"({counts['expected ends']} expected, {counts['static members fenced']} fenced by the broker)",
            "lag 0 " + ("never" if lag_seconds is None else f"{lag_seconds:.1f} s") + " after the last fault",
            f"peak RSS {max((life.peak_kib for life in self.lives()), default=0) // 1024} MiB "
            f"of {self.arguments.memory + RSS_MARGIN_MIB}",
        ]
        if not self.mounts:
            parts.append("LEFT OUT: full and read-only stores (no mounts here)")
        return "; ".join(parts)

    def end(self):
        """Ends every process that was started here."""
        if self.sampler is not None:
            self.sampler.ended.set()
        processes = [life.process for life in self.lives()]
        if self.producer is not None:
            processes.append(self.producer)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.broker.stop()


def carry_out(run):
    """From beginning to end; the figures."""
    if not run.mounts:
        run.note("!!! NO MOUNTS HERE: full and read-only stores are LEFT OUT")
    run.prepare()
    run.chaos()
    lag_seconds = run.calm()
    run.drain()
    run.verify()
    run.check_processes()
    return run.figures(lag_seconds)


def main():
    """Runs, judges, clears up."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="how long there are faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=3000, help="messages per second")
    parser.add_argument("--memory", type=int, default=128, help="the setting `memory` of each replica, MiB")
    parser.add_argument("--keep", action="store_true", help="keep the working folder in any case")
    parser.add_argument("--list", action="store_true", help="list the faults and end")
    parser.add_argument("--situs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--no-mounts", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.list:
        for kind in Faults.KINDS:
            print(f"{kind:16} {getattr(Faults, kind).__doc__.splitlines()[0]}")
        return 0

    work = pathlib.Path(tempfile.mkdtemp(prefix="situs-chaos."))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run, held, figures = None, False, "not carried out to the end"
    try:
        run = Run(arguments, work)
        figures = carry_out(run)
        held = not run.violations
    except (OSError, RuntimeError, subprocess.SubprocessError, confluent_kafka.KafkaException) as error:
        figures = f"not carried out to the end: {type(error).__name__}: {error}"
    finally:
        if run is not None:
            run.end()
            keep = arguments.keep or not held
            for zone in run.zones:
                if keep:
                    zone.keep()
                else:
                    zone.remove()
            for text in run.violations:
                print(f"violation: {text}")
        if arguments.keep or not held:
            print(f"logs, tables and the course of events are in {work}")
        else:
            shutil.rmtree(work)
    print(f"chaos: {'ok' if held else 'FAILED'}, seed {arguments.seed}, {arguments.minutes:g} minutes: {figures}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
