"""The devices of `policy.yaml`, read without Situs: which zone each one's records must live in."""

import dataclasses

import yaml


# The states of the European Economic Area on 2020-02-01: the 27 Member States of the Union, and three more.
EU27 = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()
GROUPS = {"EU27@2020-02-01": EU27, "EEA@2020-02-01": [*EU27, "IS", "LI", "NO"]}


@dataclasses.dataclass(frozen=True)
class Device:
    """A registered device."""

    id: str
    jurisdiction: str
    zone: str


def devices(policy, topic):
    """The devices whose site sends on the topic, sorted."""
    document = yaml.safe_load(policy.read_text())
    zones = {
        jurisdiction: zone
        for zone, entry in document["zones"].items()
        for member in entry["jurisdictions"]
        for jurisdiction in GROUPS.get(member, [member])
    }
    lost = [name for name, site in document["sites"].items() if site["jurisdiction"] not in zones]
    if lost:
        raise SystemExit(f"{policy}: in no zone that is understood here: {', '.join(lost)}")
    found = [
        Device(device, site["jurisdiction"], zones[site["jurisdiction"]])
        for site in document["sites"].values()
        if topic in site.get("topics", [topic])
        for device in site.get("devices", [])
    ]
    if not found:
        raise SystemExit(f"{policy}: no site has devices that send on {topic}")
    return sorted(found, key=lambda device: device.id)
