"""The faults of a chaos run.

Each is a generator: it does something, then yields how long to wait, or a condition to wait for, and
undoes it in the end. So several can be under way in one thread. A fault claims what it touches, and
no two touch the same.
"""

import signal
import subprocess
import sys
import time

from chaos_parts import HERE


class Wait:
    """A condition that must come true within a time; that it does not is a finding."""

    def __init__(self, what, condition, seconds=60):
        self.what = what
        self.condition = condition
        self.seconds = seconds


class Fault:
    """A fault that is under way."""

    def __init__(self, kind, text, claims, steps):
        self.kind = kind
        self.text = text
        self.claims = set(claims)
        self.steps = steps
        self.pause_until = 0.0
        self.wait = None
        self.deadline = 0.0
        self.started = time.monotonic()
        # Whether another fault was under way at the same time at any moment.
        self.shared = False

    def step(self, run):
        """Goes on if it is time; whether it is over."""
        now = time.monotonic()
        if self.wait is not None:
            if self.wait.condition():
                self.wait = None
            elif now > self.deadline:
                run.violation(f"{self.kind} ({self.text}): not within {self.wait.seconds} s: {self.wait.what}")
                self.wait = None
            else:
                return False
        elif now < self.pause_until:
            return False
        try:
            waits_for = next(self.steps)
        except StopIteration:
            return True
        if isinstance(waits_for, Wait):
            self.wait = waits_for
            self.deadline = now + waits_for.seconds
        else:
            self.pause_until = now + waits_for
        return False


class Faults:
    """Makes faults. All chance comes from the seed, when a fault is made."""

    # Kind -> whether it needs mounts. The names are methods.
    KINDS = {
        "kill": False, "kill_at_commit": False, "freeze": False, "replace": False, "drain": False,
        "kill_broker": False, "restart_broker": False, "fill_store": True, "read_only_store": True,
        "add_replica": False, "change_policy": False, "reload_policy": False, "add_partitions": False,
    }

    def __init__(self, run, random):
        self.run = run
        self.random = random
        self.bag = []

    def kinds(self):
        """The kinds that are possible here, and still."""
        kinds = [kind for kind, needs_mounts in self.KINDS.items() if self.run.mounts or not needs_mounts]
        if all(topic.partitions >= topic.most for topic in self.run.topics):
            kinds.remove("add_partitions")
        return kinds

    def make(self, claimed):
        """The next fault, or None if the one that is next cannot be now.

        Kinds come from a bag, so that each comes once before any comes twice.
        """
        kinds = self.kinds()
        self.bag = [kind for kind in self.bag if kind in kinds]
        if not self.bag:
            self.bag = kinds
            self.random.shuffle(self.bag)
        for place in reversed(range(len(self.bag))):
            fault = getattr(self, self.bag[place])(claimed)
            if fault is not None:
                del self.bag[place]
                return fault
        return None

    # What a fault can touch

    def replica(self, claimed, wanted=lambda replica: True):
        """A replica that runs and that no fault touches."""
        free = [
            replica for replica in self.run.replicas[:3]
            if replica.name not in claimed and replica.is_up() and wanted(replica)
        ]
        return self.random.choice(free) if free else None

    def seconds(self, low, high):
        """Some time."""
        return round(self.random.uniform(low, high), 2)

    def back(self, replica):
        """It runs and owns partitions again."""
        return Wait(f"{replica.name} owns partitions again", replica.is_assigned, 90)

    def ended(self, replica, seconds):
        """It has ended, or was given time enough."""
        return Wait(f"{replica.name} ends", replica.has_ended, seconds)

    # Replicas

    def kill(self, claimed):
        """Kill -9 at any moment; away for less than the session timeout, or for more."""
        replica = self.replica(claimed)
        if replica is None:
            return None
        before = self.seconds(0, 2)
        away = self.random.choice([0, 1, self.run.session_seconds + 2])

        def steps():
            yield before
            yield from self.slay(replica, away)

        return Fault("kill", f"{replica.name} after {before} s, away {away} s", [replica.name], steps())

    def slay(self, replica, away):
        """Kills, waits, starts."""
        if replica.kill():
            self.run.count("kills")
        yield self.ended(replica, 10)
        yield away
        replica.start()
        yield self.back(replica)

    def kill_at_commit(self, claimed):
        """Kill -9 right after a commit to a table: between the commits of one flush."""
        replica = self.replica(claimed)
        if replica is None:
            return None
        table = self.random.choice(self.run.tables())
        away = self.random.choice([0, 1])

        def steps():
            yield from self.strike(replica, table)
            yield away
            replica.start()
            yield self.back(replica)

        return Fault("kill_at_commit", f"{replica.name} at {table}", [replica.name], steps())

    def strike(self, replica, table):
        """Kills at the next commit to a table, and all the same if there is none for a while."""
        process = replica.life.process.pid
        replica.tell("die")
        striker = subprocess.Popen(
            [sys.executable, HERE / "strike.py", self.run.data / table, "--process", str(process), "--timeout", "8"],
            stdout=subprocess.DEVNULL,
        )
        yield Wait("a commit to strike at", lambda: striker.poll() is not None, 20)
        if striker.returncode == 0:
            self.run.count("kills")
            self.run.count("kills at a commit")
        elif replica.kill():
            self.run.count("kills")
        yield self.ended(replica, 10)

    def freeze(self, claimed):
        """SIGSTOP for longer than the session timeout, then SIGCONT: a zombie with full buffers."""
        replica = self.replica(claimed, lambda replica: replica.is_assigned())
        if replica is None:
            return None
        before, frozen = self.seconds(0, 1.5), self.run.session_seconds + self.seconds(1.5, 6)

        def steps():
            yield before
            life = replica.life
            lost_before = self.fencings(life)
            life.send(signal.SIGSTOP)
            yield frozen
            life.send(signal.SIGCONT)
            self.run.count("zombies")
            # If the broker was away meanwhile, the group may not have missed it.
            if not fault.shared:
                yield Wait(f"{replica.name} finds that it lost its partitions",
                           lambda: self.fencings(life) > lost_before or life.process.poll() is not None, 30)
            yield self.back(replica)

        fault = Fault("freeze", f"{replica.name} for {frozen} s", [replica.name], steps())
        return fault

    @staticmethod
    def fencings(life):
        """How often a process found that partitions were no longer its own."""
        return sum(
            event.get("event") == "flush-yielded" or bool(event.get("lost"))
            for event in life.events("revoked", "flush-yielded")
        )

    def replace(self, claimed):
        """A static member is frozen and replaced by another process of the same name; then it wakes up.

        The broker fences the older of two processes with one `group.instance.id`, for good.
        """
        replica = self.replica(claimed, lambda replica: replica.is_static())
        if replica is None:
            return None
        extra = self.seconds(0, 4)

        def steps():
            ghost = replica.life
            ghost.send(signal.SIGSTOP)
            replica.start(static=True)
            yield self.back(replica)
            yield extra
            ghost.told = "replaced"
            ghost.send(signal.SIGCONT)
            self.run.count("zombies")
            yield Wait(f"{ghost.name}, which was replaced, ends", lambda: ghost.process.poll() is not None, 60)
            if ghost.process.poll() is None:
                ghost.told = "die"
                ghost.send(signal.SIGKILL)
            yield self.back(replica)

        return Fault("replace", f"{replica.name}, which is {replica.life.name}", [replica.name], steps())

    def drain(self, claimed):
        """SIGTERM, and a new start."""
        replica = self.replica(claimed)
        if replica is None:
            return None
        away = self.random.choice([0, 2])

        def steps():
            yield from self.restart(replica, away)

        return Fault("drain", f"{replica.name}, away {away} s", [replica.name], steps())

    def restart(self, replica, away=0):
        """SIGTERM, wait, start, wait."""
        if replica.stop():
            self.run.count("drains")
        yield self.ended(replica, self.run.drain_seconds + 30)
        replica.kill()
        yield away
        replica.start()
        yield self.back(replica)

    def add_replica(self, claimed):
        """A fourth member comes, and goes by SIGTERM or kill -9."""
        fourth = self.run.replicas[3]
        if fourth.name in claimed:
            return None
        stays, killed = self.seconds(3, 10), self.random.random() < 0.3

        def steps():
            fourth.start()
            yield self.back(fourth)
            yield stays
            if fourth.kill() if killed else fourth.stop():
                self.run.count("kills" if killed else "drains")
            yield self.ended(fourth, self.run.drain_seconds + 30)
            fourth.kill()

        return Fault("add_replica", f"{fourth.name} for {stays} s", [fourth.name], steps())

    # The broker

    def kill_broker(self, claimed):
        """Kill -9 of the broker."""
        return self.broker(claimed, "kill")

    def restart_broker(self, claimed):
        """The broker shuts down in order."""
        return self.broker(claimed, "stop")

    def broker(self, claimed, verb):
        """Ends the broker and starts it again on its data."""
        if "broker" in claimed:
            return None
        broker = self.run.broker
        away = self.seconds(0, 6)

        def steps():
            broker.call(verb)
            self.run.broker_fault_at = time.monotonic()
            yield Wait("the broker ends", broker.is_done, 40)
            self.run.count("broker restarts")
            yield away
            broker.start()
            yield Wait("the broker answers", broker.is_done, 120)
            self.run.broker_fault_at = time.monotonic()

        return Fault(f"{verb}_broker", f"away {away} s", ["broker"], steps())

    # Stores

    def fill_store(self, claimed):
        """No room in a store."""
        return self.store(claimed, "fill_store")

    def read_only_store(self, claimed):
        """A store's file system becomes read-only."""
        return self.store(claimed, "read_only_store")

    def store(self, claimed, kind):
        """Breaks a zone's file system for a while; it must be noticed, and left behind afterwards."""
        free = [zone for zone in self.run.zones if f"store {zone.name}" not in claimed]
        if not free:
            return None
        zone = self.random.choice(free)
        broken = self.seconds(6, 14)

        def writable(value):
            said = [
                metrics.sum("situs_store_writable", zone=zone.name)
                for replica in self.run.replicas if (metrics := replica.metrics(3)) is not None
            ]
            return [flag for flag in said if flag == value]

        def steps():
            if kind == "fill_store":
                zone.fill()
            elif not zone.make_read_only():
                self.run.note(f"the store of {zone.name} was in use all the time and stayed writable")
                self.run.count("read-only failed")
                return
            self.run.count("stores " + ("full" if kind == "fill_store" else "read-only"))
            yield broken
            # While nothing flushes (no partitions, no broker), nobody can notice.
            if not fault.shared:
                yield Wait(f"somebody notices the store of {zone.name}", lambda: writable(0), 20)
            zone.mend()
            yield Wait(f"all write the store of {zone.name} again", lambda: not writable(0), 40)

        fault = Fault(kind, f"{zone.name} for {broken} s", [f"store {zone.name}"], steps())
        return fault

    # The policy and the topics

    def change_policy(self, claimed):
        """Another policy for all, one after another; some are killed at a commit instead of drained.

        What was read under the old policy and had not settled by then is the hard part.
        """
        if "policy" in claimed:
            return None
        policy = self.run.policies.next(self.random)
        order = self.random.sample(self.run.replicas[:3], 3)
        brutal = [self.random.random() < 0.3 for _ in order]
        table = self.random.choice(self.run.tables())
        fault = None

        def steps():
            self.run.policies.put(policy)
            for replica, killed in zip(order, brutal, strict=True):
                yield Wait(f"{replica.name} is free", lambda name=replica.name: not self.run.touched(name, fault), 180)
                fault.claims.add(replica.name)
                if killed:
                    yield from self.strike(replica, table)
                    replica.start()
                    yield self.back(replica)
                else:
                    yield from self.restart(replica)
                fault.claims.discard(replica.name)
            self.run.count("policies")

        how = ", ".join(f"{r.name} {'killed' if k else 'drained'}" for r, k in zip(order, brutal, strict=True))
        fault = Fault("change_policy", f"{policy.name}; {how}", ["policy"], steps())
        return fault

    def reload_policy(self, claimed):
        """Another policy for all while they run, whatever else happens to them; each finds out by itself."""
        if "policy" in claimed:
            return None
        policy = self.run.policies.next(self.random)

        def judges_by_it(replica):
            metrics = replica.metrics()
            return not replica.is_up() or bool(metrics and metrics.sum("situs_policy_info", version=policy.version))

        def steps():
            self.run.policies.put(policy)
            yield Wait(f"all judge by {policy.name}", lambda: all(map(judges_by_it, self.run.replicas)), 180)
            self.run.count("reloads")

        return Fault("reload_policy", policy.name, ["policy"], steps())

    def add_partitions(self, claimed):
        """A topic grows."""
        free = [topic for topic in self.run.topics if topic.partitions < topic.most]
        topic = self.random.choice(free) if free else None
        if topic is None or f"topic {topic.name}" in claimed or "broker" in claimed:
            return None

        def steps():
            number = topic.partitions
            self.run.grow(topic)
            self.run.count("partitions added")
            yield Wait(f"{topic.name}/{number} is settled beyond 0",
                       lambda: self.run.settled().get((topic.name, number), 0) > 0, 60)

        # The broker must be there for it.
        return Fault("add_partitions", topic.name, [f"topic {topic.name}", "broker"], steps())
