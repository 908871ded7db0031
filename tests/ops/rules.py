#!/usr/bin/env python3
"""Checks the rules: by promtool, by cases for each alert, and against the runbook. Started by the script `rules`."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from rules_cases import CASES, HOME

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "helm/situs/rules/situs.yaml"
RUNBOOK = ROOT / "docs/runbook.md"
# Words that may stand in the texts of alerts: coordinates and codes.
COORDINATES = {"namespace", "job", "home", "instance", "zone", "pipeline", "topic", "table", "step", "kind", "reason",
               "invariant", "version"}
SEVERITIES = {"critical", "warning"}
PARTS = ["What it means", "What it costs", "Where to look", "What to do"]


def alerts(text):
    """Name: fields of each alert. The file has one field a line, in the order alert, expr, for, labels, annotations."""
    found = {}
    for block in re.split(r"^ {6}- (?=alert:|record:)", text, flags=re.MULTILINE)[1:]:
        name = re.match(r"alert: (\w+)$", block, re.MULTILINE)
        if not name:
            continue
        fields = {key: value.strip('"') for key, value in re.findall(r"^ {8,10}(for|summary|description|runbook_url): (.*)$", block, re.MULTILINE)}
        severity = re.search(r"severity: (\w+)", block)
        found[name[1]] = {"severity": severity and severity[1], **fields}
    return found


def told(template, labels, value):
    """The text of an alert. Whoever reads its value must say in the case what it is."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels.get(match[1], ""), template)
    if "$value" in text and value is None:
        raise ValueError(f"a case of `{template}` must give the value")
    return re.sub(r"\{\{ \$value(?: \| \w+)? \}\}", str(value), text)


def unit_test(case, rules, groups, fields):
    """A file of promtool's for a case. JSON is YAML."""
    series = []
    for name, values in case.series.items():
        metric, _, labels = name.rstrip("}").partition("{")
        own = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        merged = ",".join(f'{key}="{value}"' for key, value in {**HOME, **own}.items())
        series.append({"series": f"{metric}{{{merged}}}", "values": values})
    expected = [(time_, []) for time_ in case.quiet] + list(case.fires.items())
    tests = []
    for when, firing in expected:
        alerts_ = []
        for labels, value in firing:
            labels = {**HOME, **labels, "severity": fields["severity"]}
            texts = {key: told(fields[key], labels, value) for key in ("summary", "description", "runbook_url")}
            alerts_.append({"exp_labels": labels, "exp_annotations": texts})
        tests.append({"eval_time": when, "alertname": case.alert, "exp_alerts": alerts_})
    return {"rule_files": [str(rules)], "evaluation_interval": case.interval, "group_eval_order": groups,
            "tests": [{"name": f"{case.alert}: {case.story}", "interval": case.interval, "input_series": series, "alert_rule_test": tests}]}


def run_cases(cases, rules, found):
    """What promtool says of the cases that do not hold."""
    text = rules.read_text()
    # What is recorded comes first, as alerts read it.
    groups = re.findall(r"^  - name: (\S+)$", text, re.MULTILINE)
    with tempfile.TemporaryDirectory(prefix="situs-rules.") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:

        def run(numbered):
            number, case = numbered
            path = pathlib.Path(folder) / f"{number}.yaml"
            path.write_text(json.dumps(unit_test(case, rules, groups, found[case.alert])))
            return case, subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)

        return [f"{case.alert}, {case.story}: {(done.stdout + done.stderr).strip()}"
                for case, done in pool.map(run, enumerate(cases)) if done.returncode]


def faults(block):
    """An alert's text with one fault each, and what it is."""
    if re.search(r"^ +for: ", block, re.MULTILINE):
        yield "fires at once", re.sub(r"(^ +for: ).*$", r"\g<1>0m", block, flags=re.MULTILINE)
        yield "fires far too late", re.sub(r"(^ +for: ).*$", r"\g<1>5d", block, flags=re.MULTILINE)
    expression = re.search(r"expr: .*?(?=^ {8}\w)", block, re.MULTILINE | re.DOTALL)
    text = expression[0]

    def with_(changed):
        return block[:expression.start()] + changed + block[expression.end():]

    for found in re.finditer(r"([<>] )(\d[\d.]*)", text):
        if float(found[2]):
            for factor, name in ((20, "twenty times"), (0.05, "a twentieth of")):
                yield f"{name} {found[2]}", with_(text[:found.start()] + f"{found[1]}{float(found[2]) * factor}" + text[found.end():])
    for found in re.finditer(r"== 0", text):
        yield "0 is 1", with_(text[:found.start()] + "== 1" + text[found.end():])
    for found in re.finditer(r"^ +and .*?(?=^ +and |^ {10,12}or$|\Z)", text, re.MULTILINE | re.DOTALL):
        yield f"without `{found[0].split(chr(10))[0].strip()}`", with_(text[:found.start()] + text[found.end():])
    for found in re.finditer(r"\s+unless last_over_time\([^)]*\)", text):
        yield "without `unless`", with_(text[:found.start()] + text[found.end():])


def plant(found, only):
    """Faults in each alert, or in those that are named, one at a time: whether a case finds it."""
    started, planted, missed = time.monotonic(), 0, []
    text = RULES.read_text()
    with tempfile.TemporaryDirectory(prefix="situs-rules.") as folder:
        rules = pathlib.Path(folder) / "situs.yaml"
        for block in re.findall(r"^ {6}- alert: .*?(?=^ {6}- |^ {6}#|^  - |\Z)", text, re.MULTILINE | re.DOTALL):
            name = re.match(r" +- alert: (\w+)", block)[1]
            if only and name not in only:
                continue
            for what, changed in faults(block):
                rules.write_text(text.replace(block, changed))
                if subprocess.run(["promtool", "check", "rules", rules], capture_output=True, check=False).returncode:
                    print(f"{name}, {what}: no rules any more")
                    continue
                planted += 1
                if not run_cases([case for case in CASES if case.alert == name], rules, found):
                    missed.append(f"{name}, {what}")
    for fault in missed:
        print(f"not found: {fault}")
    print(f"rules: {'FAILED' if missed else 'ok'}; {planted} faults planted, {planted - len(missed)} found; {time.monotonic() - started:.0f} s")
    return int(bool(missed))


def check_texts(found):
    """What is wrong with the alerts' fields."""
    for name, fields in found.items():
        missing = [key for key in ("severity", "summary", "description", "runbook_url") if not fields.get(key)]
        if missing:
            yield f"{name}: no {', '.join(missing)}"
            continue
        if fields["severity"] not in SEVERITIES:
            yield f"{name}: severity {fields['severity']}"
        if fields["runbook_url"] != f"docs/runbook.md#{name.lower()}":
            yield f"{name}: runbook_url is {fields['runbook_url']}"
        for expression in re.findall(r"\{\{(.*?)\}\}", fields["summary"] + fields["description"]):
            label = re.fullmatch(r" \$labels\.(\w+) ", expression)
            if not (label and label[1] in COORDINATES) and not re.fullmatch(r" \$value( \| humanize\w*)? ", expression):
                yield f"{name}: its text shows `{expression.strip()}`, which is no coordinate"


def check_runbook(found, text):
    """What is wrong between alerts and the sections of the runbook."""
    sections = {match[1]: match[2] for match in re.finditer(r"^## (Situs\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)}
    for name in found.keys() - sections.keys():
        yield f"{name} has no section in docs/runbook.md"
    for name in sections.keys() - found.keys():
        yield f"docs/runbook.md has a section for {name}, which is no alert"
    for name, section in sections.items():
        for part in PARTS:
            if f"**{part}.**" not in section:
                yield f"docs/runbook.md, {name}: no **{part}.**"


def main():
    """Checks; the number of violations decides."""
    started = time.monotonic()
    if sys.argv[1:2] == ["--planted"]:
        return plant(alerts(RULES.read_text()), sys.argv[2:])
    rules = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else RULES
    problems = []
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    if done.returncode:
        problems.append(f"promtool check rules: {(done.stdout + done.stderr).strip()}")
    found = alerts(rules.read_text())
    problems += check_texts(found)
    problems += check_runbook(found, RUNBOOK.read_text() if RUNBOOK.exists() else "")

    for name in sorted({case.alert for case in CASES} - found.keys()):
        problems.append(f"a case for {name}, which is no alert")
    cases = [case for case in CASES if case.alert in found]
    checks = sum(len(case.quiet) + len(case.fires) for case in cases)
    problems += run_cases(cases, rules, found)
    for name in found:
        # Quiet, then firing, then quiet again, in one case.
        whole = [case for case in CASES if case.alert == name and case.fires
                 and min(map(minutes, case.quiet)) < min(map(minutes, case.fires))
                 and max(map(minutes, case.quiet)) > max(map(minutes, case.fires))]
        if not whole:
            problems.append(f"{name}: no case in which it is quiet, fires and resolves")

    for problem in problems:
        print(f"violation: {problem}")
    print(f"rules: {'FAILED' if problems else 'ok'}; {len(found)} alerts, {rules.read_text().count('- record:')} recorded, {len(CASES)} cases, "
          f"{checks} moments, {len(problems)} violations; {time.monotonic() - started:.0f} s")
    return int(bool(problems))


def minutes(text):
    """Minutes of 90m or 45h."""
    return float(text[:-1]) * {"m": 1, "h": 60}[text[-1]]


if __name__ == "__main__":
    sys.exit(main())
