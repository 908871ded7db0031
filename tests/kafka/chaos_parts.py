"""What a chaos run is made of: the broker, the zones' file systems, and replicas of `situs run`."""

import dataclasses
import errno
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]

SAMPLE = re.compile(r"^(situs_\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
MIB = 1 << 20


class Metrics:
    """One answer of /metrics."""

    def __init__(self, text=""):
        self.samples = [
            (name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in SAMPLE.findall(text)
        ]

    def sum(self, name, **labels):
        """The sum of a metric over the series that have these labels; None if there is none."""
        values = [
            value for found, their, value in self.samples
            if found == name and all(their.get(key) == wanted for key, wanted in labels.items())
        ]
        return sum(values) if values else None

    def series(self, name):
        """Labels and value of each series of a metric."""
        return [(labels, value) for found, labels, value in self.samples if found == name]


class Life:
    """One process of a replica, from its start to its end."""

    def __init__(self, name, number, static, process, log, http):
        self.name = f"{name}.{number}"
        self.static = static
        self.process = process
        self.log = log
        self.http = http
        self.started = time.monotonic()
        self.metrics = Metrics()
        self.answered = 0.0
        self.peak_kib = 0
        # What it was told: "stop" after SIGTERM, "die" after kill -9.
        self.told = None
        # Whether a store could not be written, or the broker not be asked, at some time between SIGTERM and the end.
        self.blocked = False
        self.frozen = False
        self.accounted = False

    def sample(self):
        """Looks at metrics and memory. A frozen process does not answer, and is not asked."""
        try:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
            if peak:
                self.peak_kib = max(self.peak_kib, int(peak.group(1)))
        except OSError:
            return
        if self.frozen:
            return
        try:
            address = self.http.read_text().strip()
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=2) as response:
                self.metrics = Metrics(response.read().decode())
            self.answered = time.monotonic()
        except (OSError, ValueError, http.client.HTTPException):
            # Killed in the middle of its answer, say.
            return

    def send(self, number):
        """Sends a signal; false if the process has ended."""
        if self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        self.frozen = number == signal.SIGSTOP or (self.frozen and number != signal.SIGCONT)
        return True

    def events(self, *names):
        """The lines of the log that tell of these events."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            fields = {**entry, **(entry.get("fields") or {})}
            if fields.get("event") in names:
                found.append(fields)
        return found

    def last_line(self):
        """The end of the log: what the process says of its end."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:400] if lines else "(nothing)"


@dataclasses.dataclass
class Settings:
    """What all replicas of a run have in common."""

    situs: str
    work: pathlib.Path
    brokers: str
    group: str
    policy: pathlib.Path
    stores: dict
    # Signs receipts.
    key: pathlib.Path
    pipelines: list
    memory_mib: int
    session_seconds: float
    drain_seconds: int


class Replica:
    """A place in the group: its processes, one after another."""

    def __init__(self, settings, number):
        self.settings = settings
        self.number = number
        self.name = f"r{number}"
        self.dir = settings.work / self.name
        self.dir.mkdir()
        self.lives = []
        # Whether a process should be running now; if it is not, it ended by itself.
        self.wanted = False

    @property
    def life(self):
        """The newest process."""
        return self.lives[-1] if self.lives else None

    def is_static(self):
        """Whether the process that runs now is a static member of the group."""
        return bool(self.life and self.life.static and self.is_up())

    def is_up(self):
        """Whether it runs and should."""
        return bool(self.wanted and self.life and self.life.process.poll() is None and not self.life.frozen)

    def start(self, static=None):
        """Starts a process, as a static and as a dynamic member by turns unless told which."""
        number = len(self.lives) + 1
        if static is None:
            static = (number + self.number) % 2 == 0
        config = self.dir / f"site-{number}.yaml"
        config.write_text(self.site(static))
        log, http = self.dir / f"{number}.log", self.dir / f"{number}.http"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.settings.situs, "run", "--config", config, "--http-address-file", http],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
        self.lives.append(Life(self.name, number, static, process, log, http))
        self.wanted = True

    def site(self, static):
        """The configuration of a process."""
        settings = self.settings
        properties = {
            "client.id": self.name,
            "session.timeout.ms": int(settings.session_seconds * 1000),
            "heartbeat.interval.ms": 500,
            # New partitions are found within this time.
            "topic.metadata.refresh.interval.ms": 2000,
        }
        if static:
            properties["group.instance.id"] = self.name
        return json.dumps({
            "home": {"site": "stuttgart-1", "zone": "EU"},
            "kafka": {
                "cluster": "kafka", "brokers": settings.brokers, "group": settings.group,
                "properties": {key: str(value) for key, value in properties.items()},
            },
            "pipelines": str(ROOT / "pipelines"),
            "schemas": str(ROOT / "schemas"),
            "policy": str(settings.policy),
            "enabled": settings.pipelines,
            "stores": {zone: str(root) for zone, root in settings.stores.items()},
            "receipts": {"signing-key": str(settings.key)},
            "flush": {"age": "1s", "rows": 200_000, "bytes": "16MiB"},
            "memory": f"{settings.memory_mib}MiB",
            "workers": 2,
            "drain-timeout": f"{settings.drain_seconds}s",
            "http": {"listen": "127.0.0.1:0"},
            "logs": {"format": "json", "filter": "info"},
        }, indent=1)

    def tell(self, what):
        """Notes that its process is about to be ended; false if it has ended by itself."""
        self.wanted = False
        if self.has_ended():
            return False
        self.life.told = what
        return True

    def stop(self):
        """SIGTERM: it must drain and end. False if it has ended by itself."""
        return self.tell("stop") and self.life.send(signal.SIGTERM)

    def kill(self):
        """Kill -9. False if it has ended by itself."""
        return self.tell("die") and self.life.send(signal.SIGKILL)

    def has_ended(self):
        """Whether the newest process has ended."""
        return self.life is None or self.life.process.poll() is not None

    def metrics(self, seconds=5):
        """The newest metrics if they are not older than that; None otherwise."""
        life = self.life
        if life is None or time.monotonic() - life.answered > seconds or life.process.poll() is not None:
            return None
        return life.metrics

    def is_assigned(self):
        """Whether it owns partitions."""
        metrics = self.metrics()
        return bool(metrics and (metrics.sum("situs_assigned_partitions") or 0) >= 1)


class Sampler(threading.Thread):
    """Looks at all processes about once a second."""

    def __init__(self, replicas):
        super().__init__(daemon=True)
        self.replicas = replicas
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.7):
            for replica in list(self.replicas):
                for life in list(replica.lives):
                    if life.process.poll() is None:
                        life.sample()


class Broker:
    """The real Kafka. What takes time runs beside, and is asked whether it is done."""

    def __init__(self, work):
        self.dir = work / "kafka"
        self.log = work / "broker.log"
        self.running = None
        self.address = None

    def call(self, verb, *arguments):
        """Starts a verb of the script `broker`."""
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(
                [HERE / "broker", verb, *arguments, "--dir", self.dir],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )

    def start(self):
        """Starts it, with the port that it had."""
        port = ["--port", self.address.rpartition(":")[2]] if self.address else []
        self.call("start", *port)

    def is_done(self):
        """Whether the verb has ended; an error if it failed."""
        code = self.running.poll()
        if code not in (None, 0):
            raise RuntimeError(f"the broker: exit code {code}, see {self.log}")
        return code == 0

    def start_and_wait(self):
        """Starts it and waits for it; its address."""
        self.start()
        while not self.is_done():
            time.sleep(0.1)
        self.address = (self.dir / "address").read_text().strip()
        return self.address

    def stop(self):
        """Ends it, whatever state it is in."""
        if self.running is not None:
            self.running.wait()
        subprocess.run([HERE / "broker", "stop", "--dir", self.dir], check=False, stdout=subprocess.DEVNULL)


class Zone:
    """A zone's root on a file system of its own."""

    def __init__(self, name, root, mounted, size_mib=3072):
        self.name = name
        self.root = root
        self.mounted = mounted
        self.size = size_mib * MIB
        # What is wrong with it now: "full", "read-only" or None.
        self.fault = None
        root.mkdir(parents=True)
        if mounted:
            self.mount("tmpfs", "-t", "tmpfs", "-o", f"mode=0700,size={self.size}")

    def mount(self, *arguments):
        """Runs `mount` on the root."""
        done = subprocess.run(["mount", *arguments, self.root], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(errno.EBUSY, f"mount {' '.join(arguments)}: {done.stderr.strip()}")

    def fill(self):
        """Leaves no room: the file system shrinks to little more than it holds, a ballast file takes the rest.

        Shrinking keeps the ballast small, since all of it is memory.
        """
        for _ in range(50):
            state = os.statvfs(self.root)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            try:
                self.mount("-o", f"remount,size={used + 2 * MIB}")
                break
            except OSError:
                # Replicas wrote in between.
                time.sleep(0.02)
        self.fault = "full"
        with open(self.ballast(), "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def ballast(self):
        """Named as files are that readers skip."""
        return self.root / "_tmp_ballast"

    def make_read_only(self):
        """Remounts; false if a process has a file open for writing at each of many attempts."""
        for _ in range(400):
            try:
                self.mount("-o", "remount,ro")
            except OSError:
                time.sleep(0.01)
            else:
                self.fault = "read-only"
                return True
        return False

    def mend(self):
        """Makes it as it was."""
        if self.fault == "read-only":
            self.mount("-o", "remount,rw")
        elif self.fault == "full":
            self.ballast().unlink(missing_ok=True)
            self.mount("-o", f"remount,size={self.size}")
        self.fault = None

    def keep(self):
        """Copies what it holds to the disk below, since mounts end with the run."""
        if not self.mounted:
            return
        self.mend()
        kept = self.root.with_name(f"{self.root.name}.kept")
        subprocess.run(["cp", "-a", self.root, kept], check=True)
        subprocess.run(["umount", self.root], check=True)
        self.root.rmdir()
        kept.rename(self.root)

    def remove(self):
        """Unmounts."""
        if self.mounted:
            subprocess.run(["umount", self.root], check=False, capture_output=True)


def versions(table):
    """The number of commits to a table: its newest version and one."""
    log = table / "_delta_log"
    names = os.listdir(log) if log.is_dir() else []
    numbers = [int(name.split(".")[0]) for name in names if name.split(".")[0].isdigit()]
    return max(numbers) + 1 if numbers else 0
