"""The devices of `policy.yaml`, read without Situs: which zone each one's records must live in."""

import dataclasses

import yaml


@dataclasses.dataclass(frozen=True)
class Device:
    """A registered device."""

    id: str
    jurisdiction: str
    zone: str


def devices(policy, topic):
    """The devices whose site sends on the topic and whose jurisdiction lies in a zone, sorted."""
    document = yaml.safe_load(policy.read_text())
    zones = {
        jurisdiction: zone
        for zone, entry in document["zones"].items()
        for jurisdiction in entry["jurisdictions"]
    }
    found = [
        Device(device, site["jurisdiction"], zones[site["jurisdiction"]])
        for site in document["sites"].values()
        if topic in site.get("topics", [topic]) and site["jurisdiction"] in zones
        for device in site.get("devices", [])
    ]
    if not found:
        raise SystemExit(f"{policy}: no site has devices that send on {topic}")
    return sorted(found, key=lambda device: device.id)
