#!/usr/bin/env python3
"""Asks a real Prometheus every query of every dashboard while a home runs. Started by the script `dashboards`."""

import argparse
import json
import math
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ops import DASHBOARDS, HOME, ROOT, RULES, Site, until

# Series that are not Situs's own.
FOREIGN = {"up", "ALERTS"}
SECONDS = 60
KINDS = {"timeseries", "stat", "bargauge", "table"}
RATES = {"mps", "rowsps", "recps", "wps", "eps", "ops", "cps", "Bps"}


def documented():
    """The metrics of docs/metrics.md."""
    return set(re.findall(r"^\| `(situs_\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def metrics_of(expression):
    """The metrics that an expression names, as the documentation names them."""
    names = re.findall(r"\bsitus_\w+", expression)
    return {re.sub(r"^(situs_(?:flush|fsync)_seconds)_(bucket|sum|count)$", r"\1", name) for name in names}


def unit_problem(expression, unit):
    """What is wrong with a unit, by the suffix of the first metric; None if nothing is."""
    first = re.search(r"\bsitus_\w+", expression)
    if first is None:
        return None
    name = first[0]
    divides = re.search(r"\)? / \(?|\} / ", expression) is not None
    is_rate = re.search(rf"\brate\({name}\b", expression) is not None
    is_bytes = "_bytes" in name
    if "histogram_quantile" in expression or name.endswith("_seconds"):
        allowed = {"s"}
    elif is_bytes and divides:
        # Of a bound, or for each file or message.
        allowed = {"percentunit"} if "_limit" in expression or "_size_bytes" in expression else {"bytes"}
    elif is_bytes:
        allowed = {"Bps"} if is_rate else {"bytes"}
    elif "lag_messages" in name and divides:
        allowed = {"s"}
    elif divides:
        allowed = {"percentunit", "short"}
    elif is_rate or "deriv(" in expression:
        allowed = RATES - {"Bps"}
    else:
        allowed = {"short", "none"}
    return None if unit in allowed else f"unit {unit}, and {name} asks for {' or '.join(sorted(allowed))}"


def panels_of(dashboard):
    """The panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def substitute(expression, variables):
    """What Grafana does with variables."""
    values = {**variables, "__rate_interval": "15s", "__interval": "5s", "__range": f"{SECONDS}s"}
    for name, value in values.items():
        expression = re.sub(rf"\$\{{?{name}\b\}}?", lambda _, value=value: value, expression)
    if "$" in expression:
        raise ValueError(f"a variable is left in {expression}")
    return expression


class Checks:
    """What was checked, and what is wrong."""

    def __init__(self):
        self.problems = []
        self.panels = self.queries = self.empty = 0
        self.flat = []

    def shape(self, name, dashboard):
        """What each panel must have, whatever Prometheus says."""
        variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
        if "DS_PROMETHEUS" not in variables or "home" not in variables:
            self.problems.append(f"{name}: no variable DS_PROMETHEUS or home")
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(ids) != len(set(ids)):
            self.problems.append(f"{name}: ids of panels are not unique")
        for panel in panels_of(dashboard):
            self.panels += 1
            place = f"{name}, {panel.get('title')}"
            unit = panel["fieldConfig"]["defaults"].get("unit")
            for what, there in (("title", panel.get("title")), ("description", panel.get("description")), ("unit", unit),
                                ("query", panel.get("targets"))):
                if not there:
                    self.problems.append(f"{place}: no {what}")
            if panel["type"] not in KINDS:
                self.problems.append(f"{place}: a panel of the kind {panel['type']}")
            if panel["datasource"].get("uid") != "${DS_PROMETHEUS}":
                self.problems.append(f"{place}: its data source is not the variable's")
            for target in panel["targets"]:
                if target["datasource"].get("uid") != "${DS_PROMETHEUS}":
                    self.problems.append(f"{place}: the data source of {target['refId']} is not the variable's")
                if not target.get("legendFormat") or target["legendFormat"] == "__auto":
                    self.problems.append(f"{place}: no legend for {target['refId']}")
                problem = unit_problem(target["expr"], unit)
                if problem:
                    self.problems.append(f"{place}: {problem}")

    def data(self, prometheus, name, dashboard, variables, end, told):
        """That each query gives something."""
        for panel in panels_of(dashboard):
            above = False
            for target in panel["targets"]:
                self.queries += 1
                place = f"{name}, {panel['title']}, {target['refId']} ({told})"
                try:
                    expression = substitute(target["expr"], variables)
                    if target.get("instant"):
                        series = prometheus.ask("query", query=expression, time=end)["result"]
                        values = [float(one["value"][1]) for one in series]
                    else:
                        series = prometheus.ask("query_range", query=expression, start=end - SECONDS, end=end, step=5)["result"]
                        values = [float(value) for one in series for _, value in one["values"]]
                except ValueError as error:
                    self.problems.append(f"{place}: {error}")
                    continue
                if not [value for value in values if math.isfinite(value)]:
                    self.empty += 1
                    self.problems.append(f"{place}: nothing for {expression}")
                    continue
                above |= any(value > 0 for value in values)
                labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                # What stands for nothing at all has one label.
                if labels and not any(labels <= one["metric"].keys() for one in series) and any(value > 0 for value in values):
                    self.problems.append(f"{place}: the legend {target['legendFormat']} has no value")
            if not above and told == "all":
                self.flat.append(f"{name}, {panel['title']}")

    def variables(self, prometheus, name, dashboard):
        """That each variable has values."""
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            match = substitute(query[1], {"home": ".*"})
            if not prometheus.ask(f"label/{query[2]}/values", **{"match[]": match}):
                self.problems.append(f"{name}: the variable {variable['name']} has no values")
        for annotation in dashboard["annotations"]["list"]:
            prometheus.ask("query", query=substitute(annotation["expr"], {"home": ".*"}))


def live(site, note):
    """What happens while Prometheus looks: a minute of a home's life."""
    shipped = site.policy.read_text()
    # The second policy has some machines stand in the other country.
    moved = shipped.replace("st-cnc-001, ", "", 1).replace("[nn-cnc-001, ", "[nn-cnc-001, st-cnc-001, ", 1)
    shadow = site.work / "shadow.yaml"
    shadow.write_text(moved)
    site.prepare()
    site.start(600, ["--shadow-policy", shadow])
    begin = time.monotonic()

    def at(second, what):
        time.sleep(max(0.0, begin + second - time.monotonic()))
        note(f"{second:3d} s  {what}")

    at(8, "a policy with errors")
    site.write_policy(shipped.replace("zone: CN", "zone: C", 1))
    at(22, "the policy mended, and with a new version")
    site.write_policy(shipped + "# A new version.\n")
    at(34, "kill -9 of a process, which starts again")
    site.replicas[1].end(signal.SIGKILL)
    site.replicas[1].start()
    at(44, "producers rest, so that days are sealed")
    site.producers.resting.set()
    at(54, "producers go on")
    site.producers.resting.clear()
    at(SECONDS + 8, "the queries")


def main():
    """Checks; the number of violations decides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--situs", required=True)
    parser.add_argument("--keep", action="store_true", help="keep the working folder")
    arguments = parser.parse_args()
    started = time.monotonic()
    checks = Checks()
    made = subprocess.run([sys.executable, DASHBOARDS / "make.py", "--check"], capture_output=True, text=True, check=False)
    checks.problems += made.stdout.split("\n")[:-1] + made.stderr.split("\n")[:-1]
    dashboards = {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}
    shown = set()
    for name, dashboard in dashboards.items():
        checks.shape(name, dashboard)
        for panel in panels_of(dashboard):
            for target in panel["targets"]:
                shown |= metrics_of(target["expr"])
    known, ruled = documented(), metrics_of(re.sub(r"#.*", "", RULES.read_text()))
    for name in sorted((shown | ruled) - known):
        checks.problems.append(f"{name} is not in docs/metrics.md")
    unshown = sorted(known - shown)

    work = pathlib.Path(tempfile.mkdtemp(prefix="situs-dashboards."))
    site = Site(work, arguments.situs, "15s")
    try:
        live(site, lambda text: print(text, flush=True))
        prometheus, end = site.prometheus, time.time()
        everything = {"home": ".*", "zone": ".*", "pipeline": ".*"}
        one = {"home": HOME, "zone": "EU", "pipeline": "cnc-state"}
        for name, dashboard in dashboards.items():
            checks.data(prometheus, name, dashboard, everything, end, "all")
            checks.data(prometheus, name, dashboard, one, end, "one home, zone and pipeline")
            checks.variables(prometheus, name, dashboard)
        served = {metric for metric in prometheus.ask("label/__name__/values") if metric.startswith("situs_")}
        served = set().union(*map(metrics_of, served))
        for name in sorted(served - known):
            checks.problems.append(f"{name} is served and not in docs/metrics.md")
        if prometheus.alerts():
            checks.problems.append(f"alerts fire: {', '.join(prometheus.alerts())}")
        unhealthy = [rule["name"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"] if rule["health"] == "err"]
        checks.problems += [f"the rule {name} fails" for name in unhealthy]
        # What this minute is made of must be seen, or the zeros of the panels prove nothing.
        for query in ("situs_policy_rejected", "situs_messages_quarantined_total", "situs_maintenance_steps_total",
                      'situs_shadow_records_total{kind="moved"}', "situs_rebalances_total", "situs_missing_values_total"):
            if not prometheus.ask("query", query=f"max(max_over_time({query}[2m])) > 0")["result"]:
                checks.problems.append(f"{query} was never above 0")
        site.producers.end()
        until("everything is settled", lambda: site.lag() == 0, 60)
        codes = site.end()
        if any(codes):
            checks.problems.append(f"processes ended with {codes}")
        sent = site.producers.sent
    except (RuntimeError, OSError, subprocess.SubprocessError, ValueError) as error:
        checks.problems.append(f"not carried out to the end: {error}")
        sent = 0
    finally:
        site.end()
        if arguments.keep or checks.problems:
            print(f"logs and tables are in {work}")
        else:
            shutil.rmtree(work)
    print(f"shown by no panel: {', '.join(unshown) or 'none'}")
    print(f"only ever 0 in this run: {'; '.join(checks.flat) or 'none'}")
    for problem in checks.problems:
        print(f"violation: {problem}")
    print(f"dashboards: {'FAILED' if checks.problems else 'ok'}; {len(dashboards)} dashboards, {checks.panels} panels, {checks.queries} queries, "
          f"{checks.empty} empty; {len(known)} metrics, {len(unshown)} shown by no panel; {sent} messages; "
          f"{len(checks.problems)} violations; {time.monotonic() - started:.0f} s")
    return int(bool(checks.problems))


if __name__ == "__main__":
    sys.exit(main())
