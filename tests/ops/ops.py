"""A home that runs for the tests of this folder: a real Apache Kafka, processes of `situs run`, and a real Prometheus."""

import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RULES = ROOT / "helm/situs/rules/situs.yaml"
DASHBOARDS = ROOT / "helm/situs/dashboards"
HOME, NAMESPACE, JOB = "stuttgart-1", "plant", "situs"
PARTITIONS = 2


def free_port():
    """A port that nobody has, below those of outgoing connections."""
    while True:
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", random.randrange(20000, 32000)))
                return candidate.getsockname()[1]
            except OSError:
                continue


def until(what, condition, seconds, pause=0.2):
    """Waits until a condition holds; what it gave, or an error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            held = condition()
        except (OSError, ValueError):
            held = None
        if held:
            return held
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


def get(url, timeout=30):
    """Status and text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Prometheus:
    """A real one, which scrapes each second."""

    def __init__(self, work, targets):
        self.dir = work / "prometheus"
        self.dir.mkdir()
        self.address = f"127.0.0.1:{free_port()}"
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{
                "job_name": JOB,
                "static_configs": [{"targets": targets, "labels": {"home": HOME, "namespace": NAMESPACE}}],
            }],
        }
        (self.dir / "prometheus.yml").write_text(json.dumps(config, indent=1))
        self.log = (self.dir / "log").open("wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.dir / 'prometheus.yml'}", f"--storage.tsdb.path={self.dir / 'data'}",
             f"--web.listen-address={self.address}"], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        until("Prometheus is ready", lambda: get(f"http://{self.address}/-/ready")[0] == 200, 60)

    def ask(self, path, **parameters):
        """The data of an answer of the API."""
        status, text = get(f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}")
        answer = json.loads(text)
        if status != 200 or answer["status"] != "success":
            raise ValueError(f"{parameters}: {answer.get('error', text)}")
        return answer["data"]

    def alerts(self, state="firing"):
        """The alerts of a state, by name: labels and texts of each."""
        found = {}
        for alert in self.ask("alerts")["alerts"]:
            if alert["state"] == state:
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def end(self):
        """Ends it."""
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Replica:
    """A place for a process of `situs run`, with an address that stays."""

    def __init__(self, site, number):
        self.site, self.number = site, number
        self.address = f"127.0.0.1:{free_port()}"
        self.config = site.work / f"site-{number}.yaml"
        self.process = None
        self.lives = 0

    def start(self, *arguments):
        """Starts it."""
        self.lives += 1
        self.config.write_text(json.dumps(self.site.config(self.address), indent=1))
        with (self.site.work / f"situs-{self.number}.{self.lives}.log").open("wb") as log:
            self.process = subprocess.Popen([self.site.situs, "run", "--config", self.config, *arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        """What /readyz says: whether it is, and the whole."""
        status, text = get(f"http://{self.address}/readyz", 5)
        return status == 200, json.loads(text)

    def metric(self, name):
        """The sum of a metric over its labels."""
        text = get(f"http://{self.address}/metrics", 5)[1]
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))

    def end(self, number=signal.SIGTERM):
        """Sends a signal and waits; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait()


class Producers:
    """Sends the messages of all cases of all pipelines, again and again, by `situs produce`."""

    def __init__(self, site, rate):
        self.rate, self.resting, self.ended = rate, threading.Event(), threading.Event()
        streams = {}
        for path in sorted(ROOT.glob("pipelines/*/cases/*.json")):
            case = json.loads(path.read_text())
            text = case.get("text")
            if text is None and "message" in case:
                text = json.dumps(case["message"])
            key = case.get("key")
            # A line is a message.
            if text and "\n" not in text and isinstance(key, (str, type(None))):
                streams.setdefault((case["topic"], key), []).append(text.encode() + b"\n")
        self.streams = []
        with (site.work / "produce.log").open("wb") as log:
            for (topic, key), messages in streams.items():
                command = [site.situs, "produce", "--brokers", site.brokers, "--topic", topic, *(["--key", key] if key else [])]
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
                self.streams.append((process, messages))
        self.sent = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        """Each stream gets its part, ten times a second."""
        part = max(1, self.rate // 10 // len(self.streams))
        turn = 0
        while not self.ended.wait(0.1):
            if self.resting.is_set():
                continue
            turn += part
            for process, messages in self.streams:
                for number in range(part):
                    process.stdin.write(messages[(turn + number) % len(messages)])
                process.stdin.flush()
                self.sent += part

    def end(self):
        """Ends them; each must have had everything acknowledged."""
        self.ended.set()
        self.thread.join()
        codes = []
        for process, _ in self.streams:
            process.stdin.close()
            codes.append(process.wait())
        return codes


class Site:
    """A home with two zones' stores, its policy, its Kafka and its processes."""

    def __init__(self, work, situs, log_retention, replicas=2):
        self.work, self.situs, self.log_retention = work, situs, log_retention
        self.stores = {"EU": work / "eu", "CN": work / "cn"}
        self.policy = work / "policy" / "policy.yaml"
        self.policy.parent.mkdir()
        self.policy.write_text((ROOT / "pipelines/policy.yaml").read_text())
        self.topics = sorted({topic for path in ROOT.glob("pipelines/*/pipeline.yaml")
                              for topics in re.findall(r"^topics: \[(.*)\]", path.read_text(), re.MULTILINE)
                              for topic in topics.split(", ")})
        self.replicas = [Replica(self, number) for number in range(1, replicas + 1)]
        self.brokers = self.producers = self.prometheus = None

    def config(self, address):
        """The configuration of a process. What takes days takes seconds here.

        Entries of the log must outlive the time that a run keeps anything from being settled: what a crash left is
        finished by what they say, and a process does not start without.
        """
        return {
            "home": {"site": HOME, "zone": "EU"},
            "kafka": {"brokers": self.brokers, "group": "situs-ops",
                      "properties": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}},
            "pipelines": str(ROOT / "pipelines"), "schemas": str(ROOT / "schemas"), "policy": str(self.policy),
            "stores": {zone: str(root) for zone, root in self.stores.items()},
            "receipts": {"signing-key": str(self.work / "receipts-key.pem")},
            "flush": {"age": "1s"}, "memory": "128MiB", "workers": 2, "drain-timeout": "10s",
            "http": {"listen": address}, "logs": {"format": "json", "filter": "info"},
            "maintenance": {"every": "2s", "sealed-after": "1s", "retention": "1s", "orphans-after": "1m", "log-retention": self.log_retention},
        }

    def write_policy(self, text):
        """Writes beside and renames, as an editor does."""
        beside = self.policy.with_suffix(".new")
        beside.write_text(text)
        beside.rename(self.policy)

    def broker(self, *words):
        """A verb of tests/kafka/broker."""
        return subprocess.run([ROOT / "tests/kafka/broker", *words, "--dir", self.work / "kafka"],
                              capture_output=True, text=True, check=True).stdout.strip()

    def prepare(self):
        """Kafka, topics, stores, key."""
        self.brokers = self.broker("start")
        for topic in self.topics:
            subprocess.run([self.situs, "produce", "--brokers", self.brokers, "--topic", topic, "--create", str(PARTITIONS)],
                           input=b"", stdout=subprocess.DEVNULL, check=True)
        subprocess.run([self.situs, "store", "key", self.work / "receipts-key.pem"], stdout=subprocess.DEVNULL, check=True)
        for zone, root in self.stores.items():
            # The root lies in its volume, as docs/stores.md says.
            subprocess.run([self.situs, "store", "init", "--zone", zone, "--root", root], stdout=subprocess.DEVNULL, check=True)

    def start(self, rate, first=()):
        """Prometheus, processes and producers; returns once all processes own partitions."""
        self.prometheus = Prometheus(self.work, [replica.address for replica in self.replicas])
        for number, replica in enumerate(self.replicas):
            replica.start(*(first if number == 0 else ()))
        for replica in self.replicas:
            until(f"process {replica.number} owns partitions", lambda r=replica: r.metric("situs_assigned_partitions") > 0, 90)
        self.producers = Producers(self, rate)

    def lag(self):
        """The lag over all processes."""
        return sum(replica.metric("situs_lag_messages") for replica in self.replicas)

    def end(self):
        """Ends everything that was started; exit codes of the processes that drained."""
        if self.producers is not None and not self.producers.ended.is_set():
            self.producers.end()
        codes = [replica.end() for replica in self.replicas]
        if self.prometheus is not None:
            self.prometheus.end()
        try:
            self.broker("stop")
        except subprocess.CalledProcessError:
            pass
        return codes


def environment(site):
    """The variables that the commands of docs/runbook.md name."""
    return {
        **os.environ, "PATH": f"{site.work / 'bin'}:{os.environ['PATH']}",
        "SITUS": f"http://{site.replicas[0].address}", "PROMETHEUS": f"http://{site.prometheus.address}",
        "SITE": str(site.replicas[0].config), "GROUP": "situs-ops", "LOG": str(site.work / "situs-1.1.log"),
    }
