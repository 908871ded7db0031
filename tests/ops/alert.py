#!/usr/bin/env python3
"""Trouble, alerts, runbook, and that it is over. Started by the script `alert`."""

import argparse
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ops import ROOT, RULES, Site, environment, until
from rules import alerts, told

RUNBOOK = ROOT / "docs/runbook.md"
# What an alert may take beyond its `for`: scraping, evaluating, and a store's pauses between attempts.
MARGIN = 40
STORE, POLICY, REPLICA = "SitusStoreUnwritable", "SitusPolicyRejected", "SitusReplicaGone"


class Volume:
    """Where the store of a zone lies, and how it breaks."""

    def __init__(self, folder, mounted):
        self.folder, self.root, self.mounted = folder, folder / "store", mounted
        folder.mkdir()
        if mounted:
            self.mount("-t", "tmpfs", "-o", "mode=0700,size=512m", "tmpfs")

    def mount(self, *words):
        """Runs `mount` on the folder."""
        return subprocess.run(["mount", *words, self.folder], capture_output=True, text=True, check=False).returncode == 0

    def break_it(self):
        """Read-only; or without its marker, as where a volume is not mounted."""
        if self.mounted:
            # A process may have a file open for writing.
            until("the volume is read-only", lambda: self.mount("-o", "remount,ro"), 30, 0.01)
        else:
            (self.root / "_situs_store.json").rename(self.folder / "marker")

    def mend(self):
        """As the runbook says."""
        if not self.mounted:
            (self.folder / "marker").rename(self.root / "_situs_store.json")
        elif not self.mount("-o", "remount,rw"):
            raise RuntimeError("the volume cannot be made writable")

    def remove(self):
        """Unmounts."""
        if self.mounted:
            subprocess.run(["umount", self.folder], check=False, capture_output=True)


class Run:
    """The course of a run."""

    def __init__(self, work, situs, mounted):
        self.began = time.monotonic()
        self.volume = Volume(work / "volume-cn", mounted)
        self.site = Site(work, situs, "30m")
        self.site.stores["CN"] = self.volume.root
        (work / "bin").mkdir()
        (work / "bin" / "situs").symlink_to(situs)
        self.rules = alerts(RULES.read_text())
        self.problems = []
        self.commands = 0
        # Commands that refuse a site one of whose volumes is not there: they are run once it is.
        self.later = []
        self.times = {}

    def note(self, text):
        """Tells what happens."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def problem(self, text):
        """Notes what does not hold."""
        self.problems.append(text)
        self.note(f"VIOLATION: {text}")

    def firing(self):
        """Names of the alerts that fire."""
        return self.site.prometheus.alerts().keys()

    def fires(self, name, since, labels):
        """Waits for an alert, and compares its texts with the rules."""
        allowed = int(self.rules[name].get("for", "0m")[:-1]) * 60
        until(f"{name} fires", lambda: name in self.firing(), allowed + MARGIN - (time.monotonic() - since))
        took = time.monotonic() - since
        if took < allowed:
            self.problem(f"{name} fired after {took:.0f} s, before its time")
        self.times[name] = [took]
        for alert in self.site.prometheus.alerts()[name]:
            self.note(f"{name} fires after {took:.0f} s: {alert['annotations']['description']}")
            if not labels.items() <= alert["labels"].items():
                self.problem(f"{name} has the labels {alert['labels']}")
            for text in ("summary", "description"):
                if alert["annotations"][text] != told(self.rules[name][text], alert["labels"], ""):
                    self.problem(f"{name}: {alert['annotations'][text]}")

    def resolves(self, name, since, seconds):
        """Waits until an alert is over."""
        until(f"{name} resolves", lambda: name not in self.firing(), seconds)
        took = time.monotonic() - since
        self.times[name].append(took)
        self.note(f"{name} is over {took:.0f} s after it was mended")

    def follow(self, chosen):
        """Runs the commands of the runbook's sections that are chosen; what each section printed."""
        printed = {}
        for section in re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
            name = section.partition("\n")[0]
            if not chosen(name):
                continue
            printed[name] = ""
            for block in re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
                for command in block.splitlines():
                    if not self.volume.mounted and re.match("situs (sql|store verify)", command):
                        self.later.append((name, command))
                        continue
                    printed[name] += self.command(name, command)
        return printed

    def command(self, name, command):
        """Runs a command of a section; what it printed."""
        done = subprocess.run(["bash", "-c", command], env=environment(self.site), capture_output=True, text=True, timeout=120, check=False)
        self.commands += 1
        if done.returncode or "error" in done.stderr.lower():
            self.problem(f"runbook, {name}: `{command}`: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def shows(self, printed, name, *words):
        """Whether what a section's commands printed tells of the trouble."""
        for word in words:
            if word not in printed[name]:
                self.problem(f"runbook, {name}: nothing of what its commands print says `{word}`")

    def course(self):
        """From calm to trouble and back."""
        site = self.site
        site.prepare()
        site.start(400)
        shipped = site.policy.read_text()
        until("everything is ready", lambda: all(replica.ready()[0] for replica in site.replicas), 60)
        time.sleep(15)
        if self.firing():
            self.problem(f"before anything happened these fire: {', '.join(self.firing())}")
        self.note(f"two processes, {len(site.topics)} topics, lag {site.lag():.0f}; nothing fires")

        site.write_policy(shipped.replace("zone: CN", "zone: C", 1))
        policy_at = time.monotonic()
        self.note("a policy with errors")
        self.volume.break_it()
        store_at = time.monotonic()
        self.note("the store of CN is read-only" if self.volume.mounted else "the marker of CN's store is gone")
        until("a process says so", lambda: site.replicas[0].ready()[1]["stores_not_writable"] == ["CN"], 60)
        site.replicas[1].end(signal.SIGKILL)
        killed_at = time.monotonic()
        self.note("a process is killed")

        self.fires(POLICY, policy_at, {"home": "stuttgart-1"})
        self.fires(STORE, store_at, {"home": "stuttgart-1", "zone": "CN"})
        printed = self.follow(lambda name: name == POLICY)
        self.shows(printed, POLICY, "policy.yaml:", "there is no zone")
        site.write_policy(shipped)
        self.resolves(POLICY, time.monotonic(), 40)
        self.fires(REPLICA, killed_at, {"home": "stuttgart-1", "instance": site.replicas[1].address})
        other = [name for name in self.firing() if self.rules[name]["severity"] == "critical" and name != STORE]
        if other:
            self.problem(f"these fire too: {', '.join(other)}")
        printed = self.follow(lambda name: name != POLICY)
        self.shows(printed, STORE, '"stores_not_writable":["CN"]', "store-retry", 'zone="CN"')
        self.shows(printed, REPLICA, site.replicas[1].address)
        self.note(f"{self.commands} commands of the runbook were run")

        self.volume.mend()
        mended_at = time.monotonic()
        site.replicas[1].start()
        self.note("the store can be written again, the process is started")
        self.resolves(STORE, mended_at, 60)
        self.resolves(REPLICA, mended_at, 60)
        for name, command in self.later:
            self.command(name, command)
        until("all processes are ready", lambda: all(replica.ready()[0] for replica in site.replicas), 90)
        if any(site.producers.end()):
            self.problem("a producer failed")
        until("the lag is 0", lambda: site.lag() == 0, 120)
        if self.firing():
            self.problem(f"at the end these fire: {', '.join(self.firing())}")
        self.note(f"{site.producers.sent} messages were sent, the lag is 0, nothing fires")
        codes = site.end()
        if any(codes):
            self.problem(f"processes ended with {codes}")
        done = subprocess.run([site.situs, "store", "verify", "--config", site.replicas[0].config], capture_output=True, text=True, check=False)
        self.note(done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip())
        if done.returncode:
            self.problem(f"store verify: exit code {done.returncode}")


def main():
    """Runs, judges, clears up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--situs", required=True)
    parser.add_argument("--keep", action="store_true", help="keep the working folder")
    parser.add_argument("--no-mounts", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="situs-alert."))
    run = None
    try:
        run = Run(work, arguments.situs, not arguments.no_mounts)
        run.course()
        problems = run.problems
    except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        problems = [*(run.problems if run else []), f"not carried out to the end: {type(error).__name__}: {error}"]
    finally:
        if run is not None:
            run.site.end()
            run.volume.remove()
    if arguments.keep or problems:
        print(f"logs and tables are in {work} (what lay on the tmpfs is gone)")
    else:
        shutil.rmtree(work)
    for problem in problems:
        print(f"violation: {problem}")
    times = [f"{name} fired after {took[0]:.0f} s and was over after {took[1]:.0f} s" for name, took in (run.times if run else {}).items() if len(took) > 1]
    if arguments.no_mounts:
        times.append("LEFT OUT: a read-only store (no mounts here; its marker was taken away)")
    print(f"alert: {'FAILED' if problems else 'ok'}; {'; '.join(times) or 'nothing fired'}; {run.commands if run else 0} commands of the runbook; "
          f"{len(problems)} violations; {time.monotonic() - (run.began if run else time.monotonic()):.0f} s")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
