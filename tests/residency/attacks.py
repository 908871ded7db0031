#!/usr/bin/env python3
"""Attacks on residency, through the real `situs` command and a real Apache Kafka; see the script `attacks`."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests" / "kafka"
sys.path.insert(0, str(KAFKA))

NOBODY = 65534
TOPIC = "cnc.state"
# An id that a registry may hold, and that must be text wherever it goes.
QUOTED = "nn'; DROP TABLE cnc_state; --\""
TIME = "2026-03-01T12:00:00Z"

# Which attack is met by which tests of the suites (by the names of their functions), and by which attack of this file.
ATTACKS = {
    "look-alike country codes": (
        ["look_alikes_are_no_jurisdictions", "codes_that_are_no_jurisdictions"], ["look_alikes"]),
    "a device in two sites": (["rules_that_contradict_themselves", "every_problem_is_reported_in_the_order_of_the_text"],
                              ["two_sites"]),
    "claims": (["claims_must_say_what_the_registry_says_byte_for_byte", "several_claims_must_all_agree_and_are_joined"],
               ["forged"]),
    "forged headers, _zone in the payload": (
        ["device_and_topic_give_the_site", "a_permit_for_another_store_is_refused"], ["forged"]),
    "symlinked roots": (
        ["roots_must_be_disjoint_behind_symlinks_too", "symlinks_inside_a_store_are_not_followed",
         "a_symlinked_table_is_found", "links_are_not_followed", "a_link_does_not_lead_out"], ["roots"]),
    "bind-mounted roots": ([], ["bind_mounts"]),
    "swapped volumes": (["another_volume_in_its_place_stops", "a_root_of_another_zone_is_refused",
                         "a_foreign_marker_is_found", "an_empty_mount_point_is_no_store_without_tables"], ["roots"]),
    "roots of two zones on one device": (
        ["roots_on_one_device_are_refused_with_both_zones_and_roots",
         "roots_on_two_devices_are_accepted_and_symlinks_do_not_make_two_of_one",
         "roots_that_share_a_device_are_found_where_the_site_forbids_it"], ["roots"]),
    "a root inside another": (["init_refuses_what_is_not_its_own"], ["roots"]),
    "a root that others may use": (
        ["a_root_is_closed_to_others_when_it_is_made_and_refused_when_it_is_opened"], ["roots"]),
    "a race between check and use": (["another_volume_in_its_place_stops"], ["live"]),
    "a policy swapped mid-flush": (["what_was_not_settled_is_found_with_the_texts_that_made_it"], ["live"]),
    "a store made read-only": (["a_refused_write_leaves_nothing_and_can_be_tried_again"], ["live"]),
    "SQL in names": (["only_reading_statements", "nothing_else_resolves", "names_have_alphabets",
                      "what_is_no_condition_on_one_record_is_refused_when_parsed", "coordinates_that_are_none"],
                     ["sql_in_names", "forged"]),
    "reading as somebody else, or more than is permitted": (
        ["names_are_taken_as_they_are", "mistakes_in_policies_have_places_and_the_nearest_word",
         "while_a_policy_fails_nothing_is_permitted", "a_part_behaves_like_a_whole_that_has_no_more",
         "every_set_of_classes_gives_its_rows", "plans_are_not_for_readers"], ["readers"]),
    "files outside of a table named by its log": (
        ["a_file_outside_of_its_table_is_found_and_not_read", "files_outside_of_the_table_are_not_followed"], []),
}


class Home:
    """A home in a folder: configuration, policy, stores and processes."""

    def __init__(self, situs, brokers, folder):
        self.situs, self.brokers, self.folder = situs, brokers, folder
        self.checks, self.failures, self.skipped = 0, [], []
        self.attack = ""
        self.lives = 0
        folder.mkdir(parents=True, exist_ok=True)
        text = (ROOT / "pipelines" / "policy.yaml").read_text()
        escaped = QUOTED.replace('"', '\\"')
        self.policy = text.replace("[nn-cnc-001,", f'["{escaped}", nn-cnc-001,', 1)
        (folder / "policy.yaml").write_text(self.policy)
        self.run("store", "key", folder / "key.pem")

    def expect(self, holds, what):
        """Notes whether something holds."""
        self.checks += 1
        if not holds:
            self.failures.append(f"{self.attack}: {what}")

    def run(self, *arguments, **more):
        """Runs a command to its end."""
        try:
            return subprocess.run([self.situs, *map(str, arguments)], capture_output=True, text=True, check=False,
                                  cwd=self.folder, timeout=90, **more)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(arguments, -1, "", "it did not end")

    def site(self, roots, group="attacks", name="site.yaml", more=""):
        """Writes a configuration, with more lines at its end; its path."""
        stores = ", ".join(f"{zone}: {root}" for zone, root in roots.items())
        path = self.folder / name
        path.write_text(
            f"home: {{ site: stuttgart-1, zone: EU }}\n"
            f"kafka: {{ brokers: \"{self.brokers}\", group: {group}, properties: {{ session.timeout.ms: \"6000\" }} }}\n"
            f"pipelines: {ROOT}/pipelines\nschemas: {ROOT}/schemas\npolicy: {self.folder}/policy.yaml\n"
            f"enabled: [cnc-state]\nstores: {{ {stores} }}\nreceipts: {{ signing-key: {self.folder}/key.pem }}\n"
            f"flush: {{ age: 300ms }}\nhttp: {{ listen: 127.0.0.1:0 }}\n{more}"
        )
        return path

    def stores(self, name):
        """Two stores, of CN and EU."""
        roots = {"CN": self.folder / name / "cn", "EU": self.folder / name / "eu"}
        for zone, root in roots.items():
            made = self.run("store", "init", "--zone", zone, "--root", root)
            assert made.returncode == 0, made.stderr
        return roots

    def check(self, change):
        """What `situs check` says of a policy in which something was changed."""
        text = change(self.policy)
        assert text != self.policy
        path = self.folder / "attacked.yaml"
        path.write_text(text)
        return self.run("check", "--pipelines", ROOT / "pipelines", "--schemas", ROOT / "schemas", "--policy", path)

    def start(self, site, user=None):
        """Starts `situs run`; the process, and where it says its address."""
        self.lives += 1
        address = self.folder / f"life-{self.lives}.http"
        log = (self.folder / f"life-{self.lives}.log").open("w")
        more = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
        command = [self.situs, "run", "--config", str(site), "--http-address-file", str(address)]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **more)
        return process, address


def metrics(address):
    """The sums of the metrics by name; empty if nobody answers."""
    try:
        text = urllib.request.urlopen(f"http://{address.read_text()}/metrics", timeout=5).read().decode()
    except (OSError, ValueError):
        return {}
    sums = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.split("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
    return sums


def unwritable(address):
    """Whether one of the two stores could not be written at the last attempt."""
    return metrics(address).get("situs_store_writable", 2) < 2


def wait_for(condition, seconds):
    """Waits until something is so; whether it came to be."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


# ---------------------------------------------------------------- the attacks


def look_alikes(home):
    """Codes that look like CN and are not."""
    for code in ["\u0421N", "C\u039d", "\uff23\uff2e", "cn", "Cn", "CN ", "C N", "CHN", "UK", "EU", "C\u200bN", "XX"]:
        said = home.check(lambda text: text.replace("CN: { jurisdictions: [CN] }", f'CN: {{ jurisdictions: ["{code}"] }}'))
        home.expect(said.returncode == 2 and "attacked.yaml:" in said.stdout, f"zone of `{code!a}` passes `check`")
        said = home.check(lambda text: text.replace("    jurisdiction: CN\n", f'    jurisdiction: "{code}"\n'))
        home.expect(said.returncode == 2, f"site in `{code!a}` passes `check`")
    for code in ["HK", "MO", "TW"]:
        said = home.check(lambda text: text.replace("    jurisdiction: CN\n", f"    jurisdiction: {code}\n"))
        home.expect(said.returncode == 2 and code in said.stdout, f"{code} counts as CN")


def two_sites(home):
    """A device that two sites register, also in another way of writing it."""
    for again in ["nn-cnc-001", '"nn-cnc-001"', '"nn-cnc-\\u0030\\u00301"']:
        said = home.check(lambda text: text.replace("[st-cnc-001,", f"[{again}, st-cnc-001,"))
        home.expect(said.returncode == 2 and "nn-cnc-001" in said.stdout, f"{again} at two sites passes `check`")


def sql_in_names(home):
    """Quotes, semicolons and statements in every name that somebody may choose."""
    evil = ["x'; DROP TABLE cnc_state; --", 'x" OR "1"="1', "x) UNION SELECT 1", "a;b", "../../etc", "x\u0000y"]
    for name in evil:
        quoted = json.dumps(name)
        for what, change in {
            "site": lambda text: text.replace("  nanning-1:\n", f"  {quoted}:\n"),
            "rule": lambda text: text.replace("id: cn-general", f"id: {quoted}"),
            "zone": lambda text: text.replace("zone: CN\n", f"zone: {quoted}\n"),
            "model": lambda text: text.replace("id: spindle-wear", f"id: {quoted}"),
            "pipeline": lambda text: text.replace("pipelines: [cnc-state]", f"pipelines: [{quoted}]"),
            "topic": lambda text: text.replace("topics: [cnc.state,", f"topics: [{quoted},", 1),
            "condition": lambda text: text.replace("when: _class IN ('important', 'core', 'unclassified')\n", f"when: {quoted}\n"),
        }.items():
            said = home.check(change)
            home.expect(said.returncode == 2, f"{what} {name!a} passes `check`")
        for arguments in (["explain", "--config", "site.yaml", f"{name}/0/0".replace("\0", "")],
                          ["quarantine", "show", "--config", "site.yaml", f"{name}/0/0".replace("\0", "")],
                          ["store", "init", "--zone", name.replace("\0", ""), "--root", home.folder / "never"]):
            said = home.run(*arguments)
            home.expect(said.returncode in (1, 2) and not (home.folder / "never").exists(), f"{arguments[0]} {name!a} passes")
    data = home.stores("sql")["CN"].parent
    before = sorted(str(path) for path in data.rglob("*"))
    for statement in [
        "select 1; drop table cn.cnc_state", "drop table quarantine", "create table t as select 1", "set datafusion.x = 1",
        "copy (select 1) to '/tmp/situs-attack.csv'", "create external table t stored as csv location '/etc/passwd'",
        "select * from '/etc/passwd'", "select * from read_parquet('/etc/passwd')", "insert into quarantine values (1)",
        "select * from \"../eu/quarantine\"", "explain analyze insert into quarantine values (1)",
    ]:
        said = home.run("sql", "--data", data, statement)
        home.expect(said.returncode != 0 and "root:" not in said.stdout, f"`{statement}` is answered")
    home.expect(sorted(str(path) for path in data.rglob("*")) == before, "a statement wrote something")
    home.expect(not os.path.exists("/tmp/situs-attack.csv"), "a statement wrote a file")


def forged(home):
    """What a machine says of itself does not move its record."""
    from produce import Sender, create_topic  # pylint: disable=import-outside-toplevel

    create_topic(home.brokers, TOPIC, 1)
    sender = Sender(home.brokers, TOPIC)
    tags = {"_zone": "EU", "_jurisdiction": "DE", "_site": "stuttgart-1", "_rule": "eu-general", "_policy": "0" * 16,
            "_class": "general", "_training": "allowed", "_models": ["x"], "_claimed": "DE", "_topic": "x", "_offset": 9,
            "event_date": "1999-01-01"}
    headers = [("_zone", b"EU"), ("device", b"st-cnc-001"), ("jurisdiction", b"DE"), ("_jurisdiction", b"DE"), ("site", b"x")]
    claims = ["cn", "CN ", " CN", "\u0421N", "\uff23\uff2e", "DE", "", "CN,DE", "nanning-1 ", "CN\u0000", "'CN'"]
    messages = [
        ({"device": "nn-cnc-001", **tags}, headers, "CN"),
        ({"device": "nn-cnc-001", "country": "CN"}, headers, "CN"),
        ({"device": QUOTED}, headers, "CN"),
        ({"device": "st-cnc-001", **{**tags, "_zone": "CN"}}, [], "EU"),
        *(({"device": "nn-cnc-001", "country": claim}, headers, "claim-contradicts-registry") for claim in claims if claim),
        *(({"device": device}, headers, "unknown-device") for device in
          ["x' OR '1'='1", "NN-CNC-001", "nn-cnc-001 ", "nn-cnc-00\u0031\u200b", "\uff4en-cnc-001", "nn-cnc-001\u0000",
           "nanning-1", "*", "%", "nn-cnc-00_"]),
    ]
    for offset, (body, extra, _) in enumerate(messages):
        body = {"timestamp": TIME, **body}
        # Devices may be forged by keys too.
        sender.send(0, offset, b"st-cnc-001", json.dumps(body).encode(), extra)
    sender.finish()
    roots = home.stores("forged")
    site = home.site(roots, "forged", "forged.yaml")
    done = home.run("run", "--config", site, "--until-caught-up")
    home.expect(done.returncode == 0, f"run ended with {done.returncode}: {done.stderr[-300:]}")
    said = home.run("sql", "--data", roots["CN"].parent, "--format", "json",
                    "select 'CN' as place, _offset as o, _zone as z, _jurisdiction as j, _site as s from cn.cnc_state union all "
                    "select 'EU', _offset, _zone, _jurisdiction, _site from eu.cnc_state union all "
                    'select reason, "offset", null, null, null from quarantine')
    found = {}
    for row in json.loads(said.stdout or "[]"):
        found.setdefault(row["o"], []).append(row)
    for offset, (body, _, place) in enumerate(messages):
        rows = found.get(offset, [])
        home.expect([row["place"] for row in rows] == [place], f"message {offset} lies in {[row['place'] for row in rows]}, not in {place}")
        for row in rows:
            facts = {"CN": ("CN", "nanning-1"), "EU": ("DE", "stuttgart-1")}.get(place)
            home.expect(facts is None or (row["z"], row["j"], row["s"]) == (place, *facts), f"message {offset} has forged tags")
        told = home.run("explain", "--json", "--config", site, f"{TOPIC}/0/{offset}")
        home.expect(told.returncode == 0 and json.loads(told.stdout)["verdict"] == "equal", f"message {offset} is not explained: {told.stdout[:200]}")
    for wanted in ["x' or '1'='1", "unknown-device' or 'a'='a"]:
        said = home.run("quarantine", "list", "--config", site, "--pipeline", wanted)
        home.expect(said.stdout.endswith("0 of 0 messages\n"), "a filter of `quarantine list` is read as SQL")
    said = home.run("store", "verify", "--config", site)
    home.expect(said.returncode == 0, f"store verify: {said.stdout[-200:]}")


def refused(home, roots, word, attack, more=""):
    """`run` must refuse these roots, and say why; nothing may be written."""
    site = home.site(roots, "refused", "refused.yaml", more)
    before = sorted(str(path) for root in roots.values() for path in pathlib.Path(root).rglob("*"))
    done = home.run("run", "--config", site, "--until-caught-up")
    home.expect(done.returncode == 1 and word in done.stderr, f"{attack}: {done.returncode}, {done.stderr[-200:]}")
    after = sorted(str(path) for root in roots.values() for path in pathlib.Path(root).rglob("*"))
    home.expect(before == after, f"{attack}: something was written")
    return site


def roots_attack(home):
    """Roots that are not what the configuration says, when a process starts."""
    roots = home.stores("roots")
    data = roots["CN"].parent
    (data / "link").symlink_to(roots["EU"])
    refused(home, {"CN": data / "link", "EU": roots["EU"]}, "have the same root", "a symlink to the other zone's root")
    (data / "deep").symlink_to(data)
    refused(home, {"CN": data / "deep" / "eu", "EU": roots["EU"]}, "have the same root", "a symlink above it")
    refused(home, {"CN": data / "cn" / ".." / "eu", "EU": roots["EU"]}, "have the same root", "`..`")
    refused(home, {"CN": roots["EU"], "EU": roots["CN"]}, "is the store of zone", "swapped volumes")
    site = refused(home, {"CN": roots["EU"] / "cn", "EU": roots["EU"]}, "lies inside another", "a root inside another")
    said = home.run("store", "verify", "--config", site)
    home.expect(said.returncode == 1, "store verify accepts a root inside another")
    said = home.run("store", "init", "--zone", "CN", "--root", roots["EU"] / "cn")
    home.expect(said.returncode != 0, "init inside another store")
    shutil.rmtree(roots["EU"] / "cn", ignore_errors=True)
    empty = data / "empty"
    empty.mkdir(mode=0o700)
    refused(home, {"CN": empty, "EU": roots["EU"]}, "no marker", "an empty mount point")
    for mode in (0o755, 0o770, 0o701):
        roots["CN"].chmod(mode)
        refused(home, roots, "group or others may use it", f"mode {mode:o}")
    roots["CN"].chmod(0o700)
    site = refused(home, roots, "on the same device", "two zones on one device", "separate-devices: true\n")
    for verb in (["check"], ["store", "verify"], ["store", "optimize"]):
        said = home.run(*verb, "--config", site)
        home.expect(said.returncode != 0 and "on the same device" in said.stdout + said.stderr,
                    f"{' '.join(verb)} accepts two zones on one device")


def bind_mounts(home):
    """The same folder under two paths, without a symlink. A mount namespace of its own, so nothing stays mounted."""
    roots = home.stores("bound")
    alias, inside = home.folder / "bound" / "alias", home.folder / "bound" / "inside"
    alias.mkdir(mode=0o700)
    inside.mkdir(mode=0o700)
    (roots["EU"] / "below").mkdir(mode=0o700)
    try:
        able = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        able = False
    if not able:
        home.skipped.append("bind mounts need root")
        return
    # A folder of another store, bound elsewhere, is not seen to lie inside it; but it has no marker, and `init` makes
    # none inside of a store.
    for source, target, word in [(roots["EU"], alias, "have the same root"), (roots["EU"] / "below", inside, "no marker")]:
        site = home.site({"CN": target, "EU": roots["EU"]}, "bound", "bound.yaml")
        script = 'mount --bind "$1" "$2" && exec "$3" run --config "$4" --until-caught-up'
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", source, target, home.situs, site],
                              capture_output=True, text=True, check=False, timeout=60)
        home.expect(done.returncode == 1 and word in done.stderr, f"{target.name}: {done.returncode}, {done.stderr[-200:]}")


def live(home):
    """A root swapped while it runs, a policy swapped while it runs, a store made read-only while it runs."""
    count = 40_000
    expectations = home.folder / "expectations.json"
    produce = [sys.executable, KAFKA / "produce.py", "--brokers", home.brokers, "--topic", TOPIC, "--partitions", "2"]
    subprocess.run([*produce, "--recreate", "--count", "0"], check=True, capture_output=True)
    roots = home.stores("live")
    site = home.site(roots, "live", "live.yaml")
    user = None
    if os.geteuid() == 0:
        # Root may write whatever its mode says, so somebody else runs it, who must be able to read what it needs.
        os.chown(home.folder, NOBODY, NOBODY)
        try:
            tried = subprocess.run([home.situs, "check", "--pipelines", ROOT / "pipelines", "--schemas", ROOT / "schemas"],
                                   capture_output=True, check=False, cwd=home.folder, user=NOBODY, group=NOBODY, extra_groups=[])
            user = NOBODY if tried.returncode == 0 else None
        except OSError:
            pass
    if user is not None:
        for path in [home.folder, *home.folder.rglob("*")]:
            if not path.is_symlink():
                os.chown(path, user, user)
    producer = subprocess.Popen([*produce, "--count", str(count), "--rate", "600", "--expectations", expectations],
                                stdout=subprocess.DEVNULL)
    process, address = home.start(site, user)
    settled = lambda: metrics(address).get("situs_settled_offset", 0)
    home.expect(wait_for(lambda: settled() > 2000, 60), "it does not begin")

    # A policy whose rules name zones that do not have their jurisdictions is refused while a process runs, as it is at the start.
    swapped = re.sub(r"(zone: )CN\b", r"\1other", home.policy)
    swapped = re.sub(r"(zone: )EU\b", r"\1CN", swapped).replace("zone: other", "zone: EU")
    home.expect(swapped != home.policy, "the policy was not changed")
    (home.folder / "policy.yaml").write_text(swapped)
    home.expect(wait_for(lambda: metrics(address).get("situs_policy_rejected") == 1, 30), "it is not refused")

    # The root is another zone's now: by a symlink, and by a store of that zone.
    away, other = home.folder / "live" / "away", home.folder / "live" / "other"
    home.run("store", "init", "--zone", "EU", "--root", other)
    if user is not None:
        for path in [other, *other.rglob("*")]:
            os.chown(path, user, user)
    for swap in ("symlink", "store"):
        if process.poll() is not None:
            process, address = home.start(site, user)
            home.expect(wait_for(lambda: settled() > 0, 60), f"before the {swap} it does not begin")
        before = settled()
        home.expect(wait_for(lambda: settled() > before, 60), f"before the {swap} nothing moves")
        roots["CN"].rename(away)
        if swap == "symlink":
            roots["CN"].symlink_to(roots["EU"])
        else:
            other.rename(roots["CN"])
        stopped = wait_for(lambda: process.poll() is not None or unwritable(address), 30)
        home.expect(stopped, f"{swap}: it goes on with another zone's root")
        time.sleep(1)
        if swap == "symlink":
            roots["CN"].unlink()
        else:
            home.expect(sorted(path.name for path in roots["CN"].rglob("*")) == ["_situs_store.json"], "something was written into another store")
            roots["CN"].rename(other)
        away.rename(roots["CN"])
        # A process does not start with that policy either.
        (home.folder / "policy.yaml").write_text(home.policy)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    process, address = home.start(site, user)
    home.expect(wait_for(lambda: settled() > 0, 60), "it does not begin again")

    # Read-only: intake stops for that zone, and nothing goes elsewhere.
    def closed(bits):
        for path in [roots["CN"], *roots["CN"].rglob("*")]:
            if path.is_dir():
                path.chmod(bits)

    if os.geteuid() == 0 and user is None:
        home.skipped.append("read-only: nobody may not read the work tree")
    else:
        home.expect(producer.poll() is None, "everything had been sent before the store was made read-only")
        closed(0o500)
        waits = wait_for(lambda: unwritable(address), 40)
        home.expect(waits or process.poll() is not None, "a store that is read-only is not noticed")
        home.expect(process.poll() is None, "it ends because a store is read-only")
        closed(0o700)
    home.expect(producer.wait(120) == 0, "the producer failed")
    home.expect(wait_for(lambda: settled() == count and metrics(address).get("situs_lag_messages") == 0, 120),
                f"only {settled():.0f} of {count} settled")
    process.send_signal(signal.SIGTERM)
    home.expect(process.wait(60) == 0, "it does not drain")
    said = home.run("store", "verify", "--config", site)
    home.expect(said.returncode == 0, f"store verify: {said.stdout[-300:]}")
    said = subprocess.run([sys.executable, KAFKA / "verify.py", roots["CN"].parent, "--expectations", expectations],
                          capture_output=True, text=True, check=False)
    home.expect(said.returncode == 0, f"the independent reader: {said.stdout[-300:]}{said.stderr[-300:]}")
    said = home.run("sql", "--data", roots["CN"].parent, "--zone", "CN", "--format", "csv", "select count(distinct _policy) from cn.cnc_state")
    home.expect(said.stdout.split() [-1:] == ["1"], "records were judged by a policy that was swapped in")
    said = home.run("sql", "--data", roots["EU"], "--format", "csv", "select count(*) from eu.cnc_state where _jurisdiction = 'CN'")
    home.expect(said.stdout.split()[-1:] == ["0"], "records of CN lie in EU")


def readers(home):
    """Reading as somebody else, from elsewhere, for another purpose, or more than is permitted."""
    roots = home.stores("readers")
    library = home.folder / "readers-library"
    shutil.copytree(ROOT / "pipelines", library)
    site = home.site(roots, "readers", "site-of-readers.yaml")
    site.write_text(site.read_text().replace(f"{home.folder}/policy.yaml", f"{library}/policy.yaml"))
    produce = [sys.executable, KAFKA / "produce.py", "--brokers", home.brokers, "--topic", TOPIC, "--partitions", "1"]
    subprocess.run([*produce, "--recreate", "--count", "0"], check=True, capture_output=True)
    tokens = home.folder / "readers.ndjson"
    tokens.write_text("".join(
        json.dumps({"device": device, "timestamp": TIME, "operator": f"secret-{device}", "program": f"know-how-{device}"}) + "\n"
        for device in ("st-cnc-001", "st-cnc-002", "nn-cnc-001")) + '{"device": "secret-reject\n')
    sent = home.run("produce", "--brokers", home.brokers, "--topic", TOPIC, tokens)
    home.expect(sent.returncode == 0, f"nothing could be sent: {sent.stderr[-200:]}")
    ran = home.run("run", "--until-caught-up", "--config", site)
    home.expect(ran.returncode == 0, f"it does not run: {ran.stderr[-300:]}")

    def read(reader, purpose, statement, *more):
        return home.run("sql", "--config", site, "--reader", reader, "--purpose", purpose, "--format", "csv", *more, statement)

    who, why = "stuttgart-service", "maintenance"
    said = read(who, why, "select count(*) > 0 from eu.cnc_state where program like 'know-how-st-%'")
    home.expect(said.returncode == 0 and said.stdout.split()[-1:] == ["true"], f"what is permitted is not read: {said.stderr[-200:]}")

    # Other names for somebody who may.
    for name in ["Stuttgart-service", who + " ", who + "\u200b", "\u0455tuttgart-service", "stuttgart\u2010service", who + "\n",
                 f"Situs::Reader::\"{who}\"", f"{who}\" || true", f"{who}' or '1'='1", "*", "", "../readers", "root"]:
        said = read(name, why, "select * from eu.cnc_state")
        home.expect(said.returncode == 2 and not said.stdout, f"reader {name!a} reads")
        said = read(who, name, "select * from eu.cnc_state")
        home.expect(said.returncode == 2 and not said.stdout, f"purpose {name!a} reads")

    # More than is permitted: other zones, tables, columns, and plans that would tell of them.
    for statement in [
        "select * from cn.cnc_state", "select * from situs.cn.cnc_state", "select * from quarantine", "select payload from eu.quarantine",
        "select * from eu.receipts", "select operator from eu.cnc_state", "select \"operator\" from eu.cnc_state",
        "select count(*) from eu.cnc_state where operator like 'secret%'", "select * from eu.cnc_state order by operator",
        "explain analyze select * from eu.cnc_state", "explain verbose select 1 from eu.cnc_state",
        f"select * from '{roots['CN']}/cnc_state'", f"copy eu.cnc_state to '{home.folder}/copied.parquet'",
        "select * from eu.cnc_state union all select * from cn.cnc_state", "select 1 where exists (select 1 from cn.quarantine)",
    ]:
        for more in ((), ("--zone", "EU")):
            said = read(who, why, statement, *more)
            home.expect(said.returncode == 1 and not said.stdout, f"{statement} is answered")
            home.expect("secret-" not in said.stderr, f"{statement} tells in its error")
    for statement in ["show tables", "select * from information_schema.tables", "select * from information_schema.columns",
                      "describe eu.cnc_state", "select * from eu.cnc_state", "show all", "select * from information_schema.schemata"]:
        said = read(who, why, statement)
        home.expect(said.returncode == 0, f"{statement} is not answered: {said.stderr[-200:]}")
        found = [word for word in ("operator", "secret-", "quarantine", "receipts", "nn-cnc-", "cn,") if word in said.stdout]
        home.expect(not found, f"{statement} tells of {found}")

    # Less than a reader: without a purpose, without a site, with a folder beside it.
    for arguments in [["--reader", who], ["--reader", who, "--purpose", why], ["--config", site, "--reader", who],
                      ["--config", site, "--purpose", why],
                      ["--config", site, "--reader", who, "--purpose", why, "--data", roots["CN"].parent],
                      ["--config", site, "--reader", who, "--reader", "nanning-service", "--purpose", why]]:
        said = home.run("sql", *arguments, "select 1")
        home.expect(said.returncode == 2 and not said.stdout, f"{arguments[0::2]} is enough")

    # Roots in exchange: the marker says whose tables they are, so a reader of one zone finds nothing of theirs in the other's.
    swapped = home.site({"CN": roots["EU"], "EU": roots["CN"]}, "readers", "swapped.yaml")
    swapped.write_text(swapped.read_text().replace(f"{home.folder}/policy.yaml", f"{library}/policy.yaml"))
    for table in ("eu.cnc_state", "cn.cnc_state"):
        said = home.run("sql", "--config", swapped, "--reader", who, "--purpose", why, f"select * from {table}")
        home.expect("nn-cnc-" not in said.stdout and "secret-" not in said.stdout, f"with roots in exchange {table} is read")

    # Policies that are broken, or say what they do not seem to: everything stops.
    cedar = (library / "readers.cedar").read_text()
    for what, wrong in {
        "a missing end": cedar.rstrip()[:-1],
        "a role that looks like another": cedar.replace('Role::"service"', 'Role::"s\u0435rvice"', 1),
        "a zone that looks like another": cedar + '\n@id("x") forbid (principal, action, resource in Situs::Zone::"\u0421N");',
        "a purpose as text": cedar + '\n@id("x") permit (principal, action, resource) when { context.purpose == "audit" };',
        "an id given twice": cedar + '\n@id("home-only") permit (principal, action, resource);',
        "a slot": cedar + '\n@id("x") permit (principal == ?principal, action, resource);',
        "a mask that nobody reads": cedar + '\n@id("x") @mask("personal") permit (principal, action, resource);',
        "an attribute of the table that is none": cedar + '\n@id("x") permit (principal, action, resource) when { resource.public };',
    }.items():
        (library / "readers.cedar").write_text(wrong)
        for arguments in (["check", "--config", site], ["run", "--until-caught-up", "--config", site],
                          ["sql", "--config", site, "--reader", who, "--purpose", why, "select 1"]):
            said = home.run(*arguments)
            home.expect(said.returncode == 2 and "readers.cedar:" in said.stdout + said.stderr, f"{what} passes `{arguments[0]}`")
    (library / "readers.cedar").unlink()
    said = read(who, why, "select 1")
    home.expect(said.returncode == 2 and not said.stdout, "without policies a reader reads")


RUNS = {"look_alikes": look_alikes, "two_sites": two_sites, "sql_in_names": sql_in_names, "forged": forged,
        "roots": roots_attack, "bind_mounts": bind_mounts, "live": live, "readers": readers}


def main():
    """Runs the attacks, prints what failed and one object with figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True, dest="verb")
    verbs.add_parser("tests", help="print the names of the tests of the suites")
    verbs.add_parser("table", help="print which attack is met by which tests")
    verb = verbs.add_parser("suites", help="read what `cargo test` printed, and find every test of the table in it")
    verb.add_argument("log", type=pathlib.Path)
    verb = verbs.add_parser("run")
    verb.add_argument("--situs", required=True)
    verb.add_argument("--brokers", required=True)
    verb.add_argument("--folder", type=pathlib.Path, required=True)
    verb.add_argument("only", nargs="*", metavar="ATTACK", help=f"of {', '.join(RUNS)}")
    arguments = parser.parse_args()
    names = sorted({name for tests, _ in ATTACKS.values() for name in tests})
    if arguments.verb == "tests":
        print("\n".join(names))
    elif arguments.verb == "table":
        for attack, (tests, runs) in ATTACKS.items():
            print(f"{attack:<44} {', '.join([*tests, *(f'attacks {run}' for run in runs)])}")
    elif arguments.verb == "suites":
        passed = set(re.findall(r"^test (?:\S*::)?(\w+) \.\.\. ok$", arguments.log.read_text(), re.MULTILINE))
        missing = [name for name in names if name not in passed]
        print(json.dumps({"tests": len(names), "missing": missing}))
        return 1 if missing else 0
    else:
        home = Home(arguments.situs, arguments.brokers, arguments.folder)
        for name, attack in RUNS.items():
            if arguments.only and name not in arguments.only:
                continue
            home.attack = name
            before, started = home.checks, time.monotonic()
            attack(home)
            print(f"attack {name}: {home.checks - before} checks ({time.monotonic() - started:.0f} s)", file=sys.stderr)
        for failure in home.failures:
            print(f"failed: {failure}", file=sys.stderr)
        print(json.dumps({"attacks": len(ATTACKS), "checks": home.checks, "failures": len(home.failures), "skipped": home.skipped}))
        return 1 if home.failures else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
