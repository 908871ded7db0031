"""The policies of a chaos run: the one that ships, one with a renamed rule, and two that move devices."""

import copy
import dataclasses
import hashlib
import os
import pathlib

import yaml


@dataclasses.dataclass(frozen=True)
class Policy:
    """A policy and the file that holds it."""

    name: str
    path: pathlib.Path
    version: str


def renamed(document):
    """A rule has another name; no record moves."""
    for rule in document["rules"]:
        if rule["id"] == "eu-general":
            rule["id"] = "eu-general-2"


def moving(source, target, devices):
    """Devices are registered at another site: their new records live in the other zone."""
    def move(document):
        there = document["sites"][source]["devices"]
        for device in devices:
            there.remove(device)
            document["sites"][target]["devices"].append(device)

    return move


EU_TO_CN = [f"st-cnc-{number:03}" for number in range(1, 7)]
CN_TO_EU = [f"nn-cnc-{number:03}" for number in range(1, 7)]
CHANGES = {
    "first": lambda document: None,
    "renamed": renamed,
    "eu-to-cn": moving("stuttgart-1", "nanning-1", EU_TO_CN),
    "cn-to-eu": moving("nanning-1", "stuttgart-1", CN_TO_EU),
}


class Policies:
    """All policies of a run, written at its beginning, and the file that replicas read."""

    def __init__(self, folder, shipped):
        self.current = folder / "policy.yaml"
        folder.mkdir()
        document = yaml.safe_load(shipped.read_text())
        self.all = []
        for name, change in CHANGES.items():
            changed = copy.deepcopy(document)
            change(changed)
            path = folder / f"{name}.yaml"
            # The order of the rules matters, that of the keys does not.
            text = yaml.safe_dump(changed, allow_unicode=True, sort_keys=False, width=120)
            path.write_text(text)
            # docs/policy.md: the first 16 hexadecimal digits of the SHA-256 of the text.
            self.all.append(Policy(name, path, hashlib.sha256(text.encode()).hexdigest()[:16]))
        self.in_force = self.all[0]
        self.put(self.in_force)

    def next(self, random):
        """A policy other than the one that will be in force by then."""
        self.in_force = random.choice([policy for policy in self.all if policy != self.in_force])
        return self.in_force

    def put(self, policy):
        """Makes it the one that replicas read when they start; at once, never half of it."""
        beside = self.current.with_suffix(".new")
        beside.write_text(policy.path.read_text())
        os.replace(beside, self.current)
