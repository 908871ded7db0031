"""What Situs is built of: licences, sources, versions, a bill of materials, notices. See `supply`."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"
# Files of a package that hold the text of a licence.
TEXTS = re.compile(r"(?i)^(un)?licen[cs]e|^copying|^notice|^copyright")


def tokens(expression):
    """The words of an SPDX expression; `/` is how it was written once."""
    return re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))


def allowed(expression, allow):
    """Whether licences of `allow` fulfil an SPDX expression (AND binds tighter than OR)."""
    words = tokens(expression)

    def alternatives(at):
        value, at = together(at)
        while at < len(words) and words[at] == "OR":
            right, at = together(at + 1)
            value = value or right
        return value, at

    def together(at):
        value, at = one(at)
        while at < len(words) and words[at] == "AND":
            right, at = one(at + 1)
            value = value and right
        return value, at

    def one(at):
        if words[at] == "(":
            value, at = alternatives(at + 1)
            if words[at] != ")":
                raise ValueError(expression)
            return value, at + 1
        name = words[at]
        if at + 2 < len(words) and words[at + 1] == "WITH":
            return f"{name} WITH {words[at + 2]}" in allow or name in allow, at + 3
        return name in allow, at + 1

    value, at = alternatives(0)
    if at != len(words):
        raise ValueError(expression)
    return value


def test_allowed():
    """That the reader of expressions tells right from wrong, before it is trusted."""
    for expression, expected in [
        ("MIT", True), ("GPL-3.0-only", False), ("MIT OR GPL-3.0-only", True), ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND ISC", True), ("MIT/GPL-3.0-only", True), ("GPL-3.0-only AND MIT OR ISC", True),
        ("GPL-3.0-only AND (MIT OR ISC)", False), ("Apache-2.0 WITH LLVM-exception", False), ("ISC WITH x", True),
    ]:
        found = allowed(expression, {"MIT", "ISC"})
        if found != expected:
            sys.exit(f"supply: `{expression}` was read wrongly")


def built(metadata):
    """The packages that a build on some platform takes, development aside."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    todo = [member for member in metadata["workspace_members"] if packages[member]["name"] == "situs"]
    seen = set(todo)
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if kinds != {"dev"} and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return sorted((packages[one] for one in seen), key=lambda package: (package["name"], package["version"]))


def bill_of_materials(packages, checksums):
    """CycloneDX 1.6. Its serial number depends on what it lists only, so that the same build gives the same text."""
    components = []
    for package in packages:
        if package["source"] is None:
            continue
        purl = f"pkg:cargo/{package['name']}@{package['version']}"
        components.append({
            "type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl,
            "licenses": [{"expression": package["license"].replace("/", " OR ")}],
            "hashes": [{"alg": "SHA-256", "content": checksums[package["name"], package["version"]]}],
        })
    situs = next(package for package in packages if package["name"] == "situs")
    name = json.dumps([component["purl"] for component in components])
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}",
        "metadata": {"component": {"type": "application", "name": "situs", "version": situs["version"]}},
        "components": components,
    }


def notices(packages):
    """The licences' texts, each once, with the packages that have it."""
    texts = {}
    without = []
    for package in packages:
        if package["source"] is None:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and TEXTS.match(path.name)]
        for path in files:
            text = path.read_text(errors="replace").strip()
            texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
        if not files:
            without.append(f"{package['name']} {package['version']} ({package['license']})")
    parts = ["Situs contains these packages, under these licences."]
    if without:
        parts.append("Without a text of its own, under the licence that it names:\n" + "\n".join(without))
    for text, names in sorted(texts.items(), key=lambda one: one[1]):
        parts.append("\n".join(names) + "\n\n" + text)
    return ("\n\n" + "-" * 80 + "\n\n").join(parts) + "\n", len(texts), len(without)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sbom", type=pathlib.Path)
    parser.add_argument("--notices", type=pathlib.Path)
    parser.add_argument("--deny", default="")
    arguments = parser.parse_args()
    test_allowed()
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(one["name"], one["version"]): one["checksum"] for one in lock if "checksum" in one}
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = built(metadata)
    allow = set(rules["licenses"]["allow"])
    problems = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        try:
            if not package["license"] or not allowed(package["license"], allow):
                problems.append(f"{name}: the licence `{package['license']}` is not allowed")
        except (ValueError, IndexError):
            problems.append(f"{name}: the licence `{package['license']}` is no expression of SPDX")
        if package["source"] not in (None, CRATES_IO):
            problems.append(f"{name}: it comes from somewhere else than crates.io")
        if package["source"] is not None and (package["name"], package["version"]) not in checksums:
            problems.append(f"{name}: Cargo.lock has no checksum of it")
    for rule in rules["bans"]["deny"]:
        versions = [package["version"] for package in packages if package["name"] == rule["crate"]]
        if len(versions) != 1:
            problems.append(f"{rule['crate']}: expected one version, found {versions}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if arguments.sbom:
        arguments.sbom.write_text(json.dumps(bill_of_materials(packages, checksums), indent=1) + "\n")
    text, texts, without = notices(packages)
    if arguments.notices:
        arguments.notices.write_text(text)
    others = sum(package["source"] is not None for package in packages)
    print(f"supply: {'FAILED' if problems else 'ok'}; {others} packages of others, {len(problems)} problems, "
          f"{texts} texts of licences, {without} packages without one; {arguments.deny}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
