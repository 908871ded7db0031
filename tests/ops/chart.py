"""What the script `chart` beside this one checks; its head says what."""

import argparse
import copy
import http.server
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "ops"
CHART = ROOT / "helm" / "situs"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "plant", "telemetry"
# The folders of pods, which lie below a temporary one here.
FOLDERS = re.compile(r"(?<![\w/.])/(etc/situs|run/situs|stores|secrets)\b")
# What YAML, the shell and sed could stumble over.
PASSWORD = r"""p"a\s's: #&|$HOME `id` {x} é"""

failures = []


def expect(holds, what):
    """Notes what does not hold."""
    if not holds:
        failures.append(what)
    return holds


def merged(below, above):
    """A copy of `below` with what `above` says; what is null there goes."""
    if not isinstance(above, dict):
        return copy.deepcopy(above)
    result = copy.deepcopy(below) if isinstance(below, dict) else {}
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Helm:
    """The chart, by a real Helm."""

    def __init__(self, path, kubernetes, work):
        self.path, self.kubernetes, self.work = path, kubernetes, work
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
        self.environment = environment | {f"HELM_{kind}_HOME": str(work / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}

    def run(self, *arguments):
        """Runs a command; code, output, errors."""
        result = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True, check=False,
                                env=self.environment, timeout=120)
        # Of the links to the pipelines and schemas, which are meant.
        errors = "".join(line for line in result.stderr.splitlines(True) if "found symbolic link in path" not in line)
        return result.returncode, result.stdout, errors

    def template(self, values, *arguments):
        """Renders values, a file or an object."""
        if not isinstance(values, pathlib.Path):
            path = self.work / "values.yaml"
            path.write_text(yaml.safe_dump(values))
            values = path
        return self.run("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", self.kubernetes,
                        "--values", values, *arguments)

    def documents(self, values, *arguments):
        """Renders values that must be taken; the manifests."""
        code, out, errors = self.template(values, *arguments)
        if not expect(code == 0, f"helm template: {errors.strip()}"):
            return []
        return [document for document in yaml.safe_load_all(out) if document]


# ---------------------------------------------------------------- golden output


class Literal(yaml.SafeDumper):
    """Writes texts of several lines as such."""


Literal.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


def golden(documents):
    """The manifests without the texts of files that lie elsewhere."""
    kept = []
    for document in copy.deepcopy(documents):
        labels = document["metadata"]["labels"]
        if document["kind"] == "PrometheusRule" or labels["app.kubernetes.io/component"] == "dashboard":
            continue
        for key, text in document.get("data", {}).items():
            for path in (f"helm/situs/files/{key}", f"pipelines/{key}/pipeline.yaml", f"schemas/{key.replace('--', '/')}.json"):
                if (ROOT / path).is_file() and (ROOT / path).read_text().strip() == text.strip():
                    document["data"][key] = f"(text of {path})"
        annotations = document.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {})
        for key in annotations:
            if key.startswith("checksum/"):
                annotations[key] = "(checksum)"
        for command in document["spec"].get("containers", []) if document["kind"] == "Pod" else []:
            command["args"] = ["(text of helm/situs/files/ready.sh)" if "\n" in arg else arg for arg in command["args"]]
        kept.append(document)
    return yaml.dump_all(kept, Dumper=Literal, sort_keys=False, width=120, allow_unicode=True)


# ---------------------------------------------------------------- what refers to what


def pods(documents):
    """Of each manifest that makes pods: the manifest, and the metadata and spec of its pods."""
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in ("StatefulSet", "Job"):
            yield document, spec["template"]["metadata"], spec["template"]["spec"]
        elif document["kind"] == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
            yield document, template["metadata"], template["spec"]
        elif document["kind"] == "Pod":
            yield document, document["metadata"], spec


def containers(spec):
    """All containers of a pod, in the order in which they run."""
    return spec.get("initContainers", []) + spec["containers"]


def sources(volume):
    """The sources of a volume of files: kind, name, and the items, if they are chosen."""
    if "projected" in volume:
        for source in volume["projected"]["sources"]:
            for kind, of in source.items():
                yield kind, of["name"], of["items"]
    elif "configMap" in volume:
        yield "configMap", volume["configMap"]["name"], None


def selects(selector, labels):
    """Whether a selector takes these labels."""
    return (all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
            and all(labels.get(of["key"]) in of["values"] for of in selector.get("matchExpressions", [])))


def check_references(name, documents, values):
    """Everything that is named is there."""
    by = {}
    for document in documents:
        key = document["kind"], document["metadata"]["name"]
        expect(key not in by, f"{name}: {key} is there twice")
        by[key] = document
        expect(document["metadata"]["namespace"] == NAMESPACE, f"{name}: {key} names no namespace")
    expect(not any(kind == "Secret" for kind, _ in by), f"{name}: a Secret is made")
    zones = {zone.lower().replace("_", "-"): of for zone, of in values["zones"].items()}
    home = values["zones"][values["home"]["zone"]]
    policies = [document for (kind, _), document in by.items() if kind == "NetworkPolicy"]
    expect(bool(policies) == values["networkPolicy"]["enabled"], f"{name}: network policies")
    for document, metadata, spec in pods(documents):
        what = f"{name}: {document['kind']} {document['metadata']['name']}"
        hook = "helm.sh/hook" in document["metadata"].get("annotations", {}) and document["kind"] == "Job"
        if not hook:
            expect(("ServiceAccount", spec.get("serviceAccountName")) in by, f"{what}: no such account")
        mounted = []
        for container in containers(spec):
            mounts = [mount["name"] for mount in container.get("volumeMounts", [])]
            mounted += mounts
            expect(set(mounts) <= {volume["name"] for volume in spec.get("volumes", [])}, f"{what}: mounts of {container['name']}")
            expect("--init-stores" not in container.get("args", []), f"{what}: makes stores at each start")
            makes = container.get("args", [])[:2] == ["store", "init"]
            expect(makes == (metadata["labels"]["app.kubernetes.io/component"] == "init"), f"{what}: {container['args'] if makes else ''}")
        for volume in spec.get("volumes", []):
            expect(volume["name"] in mounted, f"{what}: nobody mounts {volume['name']}")
            for kind, of, items in sources(volume):
                if kind == "configMap" and of not in (values["policy"].get("existingConfigMap"), "kafka-ca"):
                    target = by.get(("ConfigMap", of))
                    if expect(target, f"{what}: no ConfigMap {of}"):
                        lacking = {item["key"] for item in items or []} - set(target["data"])
                        expect(not lacking, f"{what}: {of} lacks {lacking}")
                        expect(hook == ("helm.sh/hook" in target["metadata"].get("annotations", {})), f"{what}: {of} and hooks")
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                zone = zones[volume["name"].removeprefix("store-")]
                expect(zone.get("existingClaim") == claim or ("PersistentVolumeClaim", claim) in by, f"{what}: no claim {claim}")
        stores = [volume["name"] for volume in spec.get("volumes", []) if "persistentVolumeClaim" in volume]
        if stores:
            term = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            of = home if document["kind"] == "StatefulSet" or "verify" in document["metadata"]["name"] \
                else zones[stores[0].removeprefix("store-")]
            expect([(e["key"], e["values"]) for t in term for e in t["matchExpressions"]]
                   == [(values.get("regionLabel", "topology.kubernetes.io/region"), of["regions"])], f"{what}: regions")
        chosen = [policy["metadata"]["name"] for policy in policies if selects(policy["spec"]["podSelector"], metadata["labels"])]
        expect(len(chosen) == (1 if policies else 0), f"{what}: network policies {chosen}")
        if document["kind"] == "StatefulSet":
            check_intake(what, document, by, values)


def check_intake(what, document, by, values):
    """What belongs to the StatefulSet."""
    own, spec = document["metadata"]["name"], document["spec"]
    labels, pod = spec["template"]["metadata"]["labels"], spec["template"]["spec"]
    service = by["Service", own]["spec"]
    expect(spec["serviceName"] == own and service["clusterIP"] == "None", f"{what}: its Service names no pods")
    for selector in (spec["selector"], by["PodDisruptionBudget", own]["spec"]["selector"], {"matchLabels": service["selector"]}):
        expect(selects(selector, labels), f"{what}: is not selected by {selector}")
    autoscaled = values.get("autoscaling", {}).get("kind", "none") != "none"
    scalers = [d for (kind, _), d in by.items() if kind in ("ScaledObject", "HorizontalPodAutoscaler")]
    expect(len(scalers) == autoscaled and ("replicas" in spec) != autoscaled, f"{what}: two who say how many")
    expect(all(d["spec"]["scaleTargetRef"]["name"] == own for d in scalers), f"{what}: another is scaled")
    situs = pod["containers"][0]
    drain = values.get("site", {}).get("drain-timeout", "30s")
    seconds = int(drain[:-1]) * {"s": 1, "m": 60}[drain[-1]]
    pause = situs.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    expect(pod["terminationGracePeriodSeconds"] > seconds + pause, f"{what}: is killed while it drains")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        expect(situs[probe]["httpGet"]["port"] in {port["name"] for port in situs["ports"]}, f"{what}: port of {probe}")
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    expect(len(set(claims)) == len(values["zones"]), f"{what}: a claim for each zone")


# ---------------------------------------------------------------- running what the pods run


class Host:
    """A folder that stands for the root of a node, with one pod's volumes in it."""

    def __init__(self, root, situs, documents, extra):
        self.root, self.situs, self.extra = root, situs, extra
        self.maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
        self.bin = root / "bin"
        self.bin.mkdir(parents=True)
        (self.bin / "situs").symlink_to(situs)

    def here(self, text):
        """A text of a pod with its folders below this one."""
        return FOLDERS.sub(lambda found: f"{self.root}/{found[1]}", text)

    def lay_out(self, volume, path):
        """A volume's files as Kubernetes lays them out: behind the link `..data`, for a group to read."""
        shutil.rmtree(path, ignore_errors=True)
        data = path / "..2026_01_01"
        data.mkdir(parents=True)
        (path / "..data").symlink_to(data.name)
        for kind, name, items in sources(volume):
            texts = self.maps.get(name) if kind == "configMap" else None
            items = items or [{"key": key, "path": key} for key in (texts or self.extra[name])]
            for item in items:
                target = data / item["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                if texts is not None:
                    target.write_text(self.here(texts[item["key"]]))
                else:
                    target.write_bytes(self.extra.get(name, {}).get(item["key"]) or self.secret(item["path"]))
                target.chmod(0o440)
        for entry in data.iterdir():
            (path / entry.name).symlink_to(f"..data/{entry.name}")

    def secret(self, path):
        """What a Secret has for a path."""
        file = self.root / "made" / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            if path == "receipts-key.pem":
                self.do([self.situs, "store", "key", file])
            elif path.startswith("pseudonym-keys/"):
                self.do([self.situs, "store", "pseudonym-key", file])
            elif path.startswith("kafka/"):
                folder = file.parent
                self.do(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=situs", "-days", "2",
                         "-passout", f"pass:{PASSWORD}", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"])
                shutil.copy(folder / "certificate.pem", folder / "ca.pem")
            else:
                file.write_text(PASSWORD)
        return file.read_bytes()

    def do(self, command, **more):
        """Runs a command to its end."""
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": "/", "POD_NAME": "plant-situs-0"}
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120,
                              env=environment, cwd=self.root, **more)

    def mount(self, spec):
        """Makes the volumes of a pod. Those of stores stay from one pod to the next."""
        shutil.rmtree(self.root / "run", ignore_errors=True)
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in containers(spec):
            for mount in container.get("volumeMounts", []):
                path, volume = self.root / mount["mountPath"][1:], volumes[mount["name"]]
                if any(True for _ in sources(volume)):
                    self.lay_out(volume, path)
                else:
                    path.mkdir(parents=True, exist_ok=True)
                    if "persistentVolumeClaim" in volume:
                        path.chmod(0o2775)

    def command(self, container):
        """What a container runs."""
        return [part if "\n" in part else self.here(part) for part in container["command"] + container.get("args", [])]


def run_pods(name, documents, root, situs):
    """Runs what the pods run, first as at the first start, when there are no stores; how many commands."""
    policy = ("zones:\n  EU: { jurisdictions: [EEA@2020-02-01] }\n"
              "sites:\n  plant-1: { jurisdiction: FR, topics: [press.cycle], devices: [p-1] }\n"
              "rules:\n  - { id: eu, zone: EU, basis: contract }\n")
    host = Host(root, situs, documents, {"residency-policy": {"policy.yaml": policy.encode()}})
    order = {"check": 0, "init": 1, "intake": 2, "test": 3, "maintenance": 4, "verify": 5}
    count = 0
    by = sorted(pods(documents), key=lambda of: order[of[1]["labels"]["app.kubernetes.io/component"]])
    if not any(metadata["labels"]["app.kubernetes.io/component"] == "init" for _, metadata, _ in by):
        for zone, folder in yaml.safe_load(host.here(host.maps[f"{RELEASE}-situs-site"]["site.yaml"]))["stores"].items():
            expect(host.do([situs, "store", "init", "--zone", zone, "--root", folder]).returncode == 0, f"{name}: store init")
    for document, metadata, spec in by:
        component = metadata["labels"]["app.kubernetes.io/component"]
        host.mount(spec)
        for container in containers(spec):
            what = f"{name}: {document['metadata']['name']}: {container['name']}"
            if container["name"] == "ready":
                run_ready(what, host, container)
            elif component == "intake" and container["name"] == "situs":
                run_intake(what, host, container)
            else:
                result = host.do(host.command(container))
                expect(result.returncode == 0, f"{what} ended with {result.returncode}: {result.stdout[-1500:]}{result.stderr[-1500:]}")
            count += 1
        if component == "intake":
            check_prepared(name, host)
    for store in root.glob("stores/*/*"):
        expect(store.stat().st_mode & 0o777 == 0o700, f"{name}: {store} is open to others")
    return count


def check_prepared(name, host):
    """What `prepare.sh` has made."""
    run = host.root / "run" / "situs"
    try:
        properties = yaml.safe_load((run / "site.yaml").read_text())["kafka"]["properties"]
    except (OSError, yaml.YAMLError) as error:
        expect(False, f"{name}: site.yaml of a pod cannot be read: {error}")
        return
    raw = yaml.safe_load((host.root / "etc/situs/config/site.yaml").read_text())["kafka"]["properties"]
    for key, value in raw.items():
        wanted = {"@pod": "plant-situs-0", "@secret": PASSWORD}.get(value, value)
        expect(properties[key] == wanted, f"{name}: {key} became something else")
    for path in run.rglob("*"):
        expect(path.is_dir() or path.stat().st_mode & 0o077 == 0, f"{name}: {path.name} is open to others")
        expect(path.is_dir() or "properties" not in path.parts, f"{name}: a property lies in a file of its own")


def run_intake(what, host, container):
    """Starts `situs run` with what was prepared, where no broker answers: it must serve, not be ready, and drain."""
    site = host.root / "run" / "situs" / "site.yaml"
    text = site.read_text()
    site.write_text(re.sub(r"(?m)^  listen: .*$", '  listen: "127.0.0.1:0"', re.sub(r"(?m)^  brokers: .*$", '  brokers: "127.0.0.1:1"', text)))
    address = host.root / "http"
    log = host.root / "run.log"
    with log.open("w") as output, subprocess.Popen([*host.command(container), "--http-address-file", str(address)],
                                                   stdout=output, stderr=output, cwd=host.root,
                                                   env={"PATH": f"{host.bin}:{os.environ['PATH']}"}) as process:
        for _ in range(300):
            if address.exists() and address.read_text().strip() or process.poll() is not None:
                break
            time.sleep(0.1)
        if process.poll() is None:
            script = host.root / "ready.sh"
            script.write_text((CHART / "files" / "ready.sh").read_text())
            answer = host.do(["bash", script, 0, address.read_text().strip()])
            expect(answer.returncode == 1 and '"assigned":false' in answer.stdout, f"{what}: not ready is said as {answer.stdout}{answer.stderr}")
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
    expect(process.returncode == 0, f"{what} ended with {process.returncode}: {log.read_text()[-2000:]}")
    site.write_text(text)


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers as a pod that is ready."""

    def do_GET(self):
        """Any request."""
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format, *args):
        """Nothing."""


def run_ready(what, host, container):
    """Runs the test's script: one pod that is ready, and one that nobody finds."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = host.command(container)
    expect(all(re.fullmatch(r"\S+\.svc:\d+", address) for address in command[5:]) and command[5:], f"{what}: asks {command[5:]}")
    one = f"127.0.0.1:{server.server_port}"
    expect(host.do([*command[:4], "5", one, one]).returncode == 0, f"{what}: does not see a pod that is ready")
    expect(host.do([*command[:4], "0", one, "127.0.0.1:1"]).returncode == 1, f"{what}: does not miss a pod")
    server.shutdown()


# ---------------------------------------------------------------- values


def check_rolls(helm, values):
    """What rolls the pods, and what must not."""
    def template(change, *arguments):
        document = next(d for d in helm.documents(merged(values, change), *arguments) if d["kind"] == "StatefulSet")
        return document["spec"]["template"]

    extra = (ROOT / "pipelines/cnc-state/pipeline.yaml").read_text()
    schema = (ROOT / "schemas/cnc.state/v1.json").read_text()
    text = values["policy"]["text"]
    rolls = {
        "site": {"site": {"flush": {"age": "7s"}}},
        "pipelines": {"pipelines": {"extra": {"cnc-state": extra + "# changed\n"}}},
        "schemas": {"pipelines": {"schemas": {"cnc.state/v1": schema + " "}}},
        "policy": {"policy": {"text": text + "# changed\n"}},
    }
    rest = {
        "their number": {"replicas": 0},
        "a policy that pods take where they are": {"policy": {"live": True, "text": text + "# changed\n"}},
        "upkeep of the CronJobs": {"verify": {"schedule": "@weekly"}},
        "monitoring": {"monitoring": {"serviceMonitor": {"enabled": True}}},
    }
    before = template({})
    for what, change in rolls.items():
        after = template(change)
        changed = [k for k, v in after["metadata"]["annotations"].items() if v != before["metadata"]["annotations"].get(k)]
        expect(changed == [f"checksum/{what}"], f"a change of {what} changes {changed}")
    live = template({"policy": {"live": True}})
    for what, change in rest.items():
        expect(template(change) in (before, live), f"pods roll for {what}")
    expect(live["metadata"]["annotations"].keys() == before["metadata"]["annotations"].keys() - {"checksum/policy"}, "a live policy rolls")
    return len(rolls) + len(rest)


def check_init(helm, values):
    """Stores are made at the installation, or when somebody says so, and never otherwise."""
    def made(change, *arguments):
        return sum(d["metadata"]["labels"]["app.kubernetes.io/component"] == "init" for d in helm.documents(merged(values, change), *arguments))

    expect(made({}) == 1, "an installation makes no stores")
    expect(made({}, "--is-upgrade") == 0, "an upgrade makes stores")
    expect(made({"stores": {"initOnInstall": False}}) == 0, "stores are made though nobody shall")
    expect(made({"stores": {"initOnInstall": False, "initNow": ["EU"]}}, "--is-upgrade") == 1, "stores are not made when it is said")
    return 4


def check_refusals(helm, values):
    """Values that are nonsense are refused, in words."""
    refusals = yaml.safe_load((HERE / "refusals.yaml").read_text())
    for refusal in refusals:
        code, _, errors = helm.template(merged(values, refusal["values"]))
        expect(code != 0, f"taken: {refusal['what']}")
        expect(code == 0 or re.search(refusal["says"], errors, re.DOTALL), f"{refusal['what']}: says {errors.strip()}")
    return len(refusals)


def check_page(helm, validator, work):
    """The example of docs/deploy.md is taken, with a policy from a file."""
    example = yaml.safe_load(re.search(r"at the least:\n\n```yaml\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)[1])
    code, out, errors = helm.template(example, "--set-file", f"policy.text={ROOT / 'pipelines' / 'policy.yaml'}")
    (work / "page.yaml").write_text(out)
    result = subprocess.run([validator, work / "page.yaml"], capture_output=True, text=True, check=False)
    expect(code == 0 and result.returncode == 0, f"docs/deploy.md: the example: {errors}{result.stderr}")
    code, out, errors = helm.template(merged(example, {"stores": {"initNow": ["EU"]}, "policy": {"text": "x"}}), "--is-upgrade",
                                      "--show-only", "templates/init.yaml")
    expect(code == 0 and out.count("kind: Job") == 1, f"docs/deploy.md: making a store by hand: {out}{errors}")


def check_files(helm, values):
    """Rules and dashboards are those of their folders."""
    documents = helm.documents(merged(values, {"monitoring": {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}}))
    groups = [group for path in sorted((CHART / "rules").glob("*.yaml")) for group in (yaml.safe_load(path.read_text()) or {}).get("groups", [])]
    rendered = [group for d in documents if d["kind"] == "PrometheusRule" for group in d["spec"]["groups"]]
    expect(rendered == groups, "the PrometheusRule is not what lies in rules/")
    boards = {path.name: path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    shown = {key: text for d in documents if d["metadata"]["labels"]["app.kubernetes.io/component"] == "dashboard" for key, text in d["data"].items()}
    expect(shown == boards, "the dashboards are not what lies in dashboards/")


def check_validator(validator, documents, work):
    """Faults that are planted must be found."""
    def planted(kind, change):
        broken = copy.deepcopy(next(d for d in documents if d["kind"] == kind))
        change(broken["spec"])
        path = work / "planted.yaml"
        path.write_text(yaml.safe_dump(broken))
        return subprocess.run([validator, path], capture_output=True, check=False).returncode == 1

    def pod(change):
        return lambda spec: change(spec["template"]["spec"])

    faults = [
        ("StatefulSet", lambda spec: spec.update(replica=1)),
        ("StatefulSet", lambda spec: spec["selector"]["matchLabels"].update(other="x")),
        ("StatefulSet", pod(lambda spec: spec["containers"][0]["volumeMounts"].append({"name": "none", "mountPath": "/x"}))),
        ("StatefulSet", pod(lambda spec: spec["containers"][0]["securityContext"].update(privileged=True))),
        ("StatefulSet", pod(lambda spec: spec["securityContext"].pop("seccompProfile"))),
        ("StatefulSet", pod(lambda spec: spec.pop("automountServiceAccountToken"))),
        ("StatefulSet", pod(lambda spec: spec["containers"][0]["resources"]["limits"].update(memory="1 GB"))),
        ("Job", pod(lambda spec: spec.update(restartPolicy="Always"))),
        ("CronJob", lambda spec: spec.update(schedule="99 * * * *")),
        ("CronJob", lambda spec: spec.update(timeZone="Europe/Atlantis")),
        ("NetworkPolicy", lambda spec: spec["egress"][0]["ports"].append({"port": 70000})),
        ("PersistentVolumeClaim", lambda spec: spec.update(accessModes=["ReadWriteAll"])),
        ("ScaledObject", lambda spec: spec.update(maxReplicas=3)),
        ("ScaledObject", lambda spec: spec.update(minReplicaCount=9)),
        ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(intervall="5s")),
    ]
    for kind, change in faults:
        expect(planted(kind, change), f"the validator misses fault {faults.index((kind, change)) + 1}, of a {kind}")
    return len(faults)


# ---------------------------------------------------------------- the table of values


def table():
    """The table of values, from the comments of values.yaml."""
    rows, comment, path = [], [], []
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for line in (CHART / "values.yaml").read_text().splitlines():
        if found := re.match(r"( *)# (.*)", line):
            comment.append(found[2])
        elif not line.strip():
            comment = []
        elif found := re.match(r"( *)([\w.-]+):(.*)", line):
            path = path[: len(found[1]) // 2] + [found[2]]
            if comment:
                value = values
                for key in path:
                    value = value[key]
                default = yaml.safe_dump(value, default_flow_style=True, width=10000).removesuffix("\n").removesuffix("\n...")
                default = "" if value in ("", None, {}, []) else f"`{default}`"
                rows.append(f"| `{'.'.join(path)}` | {default} | {' '.join(comment)}. |")
            comment = []
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows]) + "\n"


def check_table(write):
    """The table in docs/deploy.md."""
    page = ROOT / "docs" / "deploy.md"
    begin, end = "<!-- values: made by tests/ops/chart --write-golden -->\n", "<!-- end of values -->\n"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    wanted = f"{before}{begin}{table()}{end}{after}"
    if write:
        page.write_text(wanted)
    expect(page.read_text() == wanted, "docs/deploy.md: the table of values is another; --write-golden writes it")

    def leaves(value, path):
        if isinstance(value, dict) and value and path not in {("site",), ("resources",), ("maintenance", "resources"), ("verify", "resources")}:
            for key, inner in value.items():
                yield from leaves(inner, (*path, key))
        else:
            yield ".".join(path)
    text = wanted
    for leaf in leaves(yaml.safe_load((CHART / "values.yaml").read_text()), ()):
        expect(f"`{leaf}`" in text or any(f"| `{leaf.rsplit('.', n)[0]}` |" in text for n in (1,) if "labels" in leaf), f"docs/deploy.md: no word of {leaf}")


# ---------------------------------------------------------------- all of it


def main():
    parser = argparse.ArgumentParser()
    for name in ("helm", "kubernetes", "validator", "situs", "work"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--write-golden", action="store_true")
    options = parser.parse_args()
    work = pathlib.Path(options.work).resolve()
    helm = Helm(options.helm, options.kubernetes, work)
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    minimal = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())

    manifests = commands = 0
    everything = []
    for path in CI:
        name = path.name.removesuffix("-values.yaml")
        code, out, errors = helm.run("lint", CHART, "--strict", "--kube-version", options.kubernetes, "--values", path)
        expect(code == 0 and "[WARNING]" not in out, f"{name}: helm lint: {out}{errors}")
        documents = helm.documents(path)
        everything += documents
        rendered = work / f"{name}.yaml"
        rendered.write_text(yaml.safe_dump_all(documents))
        # Not what was read and written again, in which nothing is there twice.
        code, out, _ = helm.template(path)
        raw = work / f"{name}.raw.yaml"
        raw.write_text(out)
        result = subprocess.run([options.validator, raw], capture_output=True, text=True, check=False)
        if expect(result.returncode == 0, f"{name}: {result.stderr.strip()}"):
            manifests += int(result.stdout)
        expect(len(documents) == int(result.stdout or 0), f"{name}: {len(documents)} manifests, {result.stdout} of them validated")
        wanted = HERE / "golden" / f"{name}.yaml"
        if options.write_golden:
            wanted.write_text(golden(documents))
        if expect(wanted.is_file(), f"{name}: no golden output") and wanted.read_text() != golden(documents):
            (work / f"{name}.golden.yaml").write_text(golden(documents))
            diff = subprocess.run(["diff", "-u", wanted, work / f"{name}.golden.yaml"], capture_output=True, text=True, check=False)
            failures.append(f"{name}: not the golden output (--write-golden writes it):\n{diff.stdout[:4000]}")
        check_references(name, documents, merged(defaults, yaml.safe_load(path.read_text())))
        commands += run_pods(name, documents, work / name, pathlib.Path(options.situs).resolve())
    expect({path.stem for path in (HERE / "golden").glob("*.yaml")} == {path.name.removesuffix("-values.yaml") for path in CI},
           "golden output of no values")
    rolls = check_rolls(helm, minimal)
    inits = check_init(helm, minimal)
    refusals = check_refusals(helm, minimal)
    check_files(helm, minimal)
    check_page(helm, options.validator, work)
    planted = check_validator(options.validator, everything, work)
    check_table(options.write_golden)
    code, out, errors = helm.run("package", CHART, "--destination", work)
    packed = subprocess.run(["tar", "tzf", *work.glob("situs-*.tgz")], capture_output=True, text=True, check=False).stdout.split()
    expect(code == 0 and "situs/files/pipelines/cnc-state/pipeline.yaml" in packed, f"helm package: {errors}")
    expect(not any("pipelines/policy.yaml" in name or "readers" in name or "/cases/" in name or "/ci/" in name for name in packed), "the demonstration is packed")

    if failures:
        print(*failures, sep="\n")
        print(f"chart: FAILED; {len(failures)} things do not hold")
        sys.exit(1)
    print(f"chart: ok; {len(CI)} value files, {manifests} manifests, {commands} commands of pods run, {refusals} refusals, "
          f"{rolls} changes that roll or not, {inits} times of making stores, {planted} of {planted} planted faults found", end="")


main()
