//! The crates depend on each other as ARCHITECTURE.md says, and heavy crates stay in their rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Who may name whom among our own crates.
const GRAPH: &[(&str, &[&str])] = &[
    ("situs-model", &[]),
    ("situs-observe", &[]),
    ("situs-decode", &["situs-model"]),
    ("situs-policy", &["situs-model"]),
    ("situs-store", &["situs-model", "situs-observe"]),
    ("situs-ingest", &["situs-decode", "situs-policy", "situs-model", "situs-observe"]),
    ("situs-sim", &["situs-decode", "situs-ingest", "situs-model", "situs-observe", "situs-policy"]),
    ("situs-query", &["situs-store", "situs-policy", "situs-model", "situs-observe"]),
    ("situs-evidence", &["situs-model", "situs-policy", "situs-store"]),
    (
        "situs",
        &[
            "situs-decode",
            "situs-evidence",
            "situs-ingest",
            "situs-model",
            "situs-observe",
            "situs-policy",
            "situs-query",
            "situs-store",
        ],
    ),
];

/// Heavy dependencies and the only crates that may name them.
const ROOMS: &[(&str, &[&str])] = &[
    ("simd-json", &["situs-decode"]),
    ("deltalake", &["situs-store"]),
    ("buoyant_kernel", &["situs-store"]),
    ("parquet", &["situs-store", "situs-query"]),
    ("ed25519-dalek", &["situs-store"]),
    ("object_store", &["situs-store", "situs-query"]),
    ("datafusion", &["situs-query"]),
    ("cedar-policy", &["situs-policy"]),
    ("prometheus", &["situs-observe"]),
    ("clap", &["situs"]),
    ("axum", &["situs"]),
    ("anyhow", &["situs"]),
];

/// What must not be linked into a crate, however far down.
const ABSENT: &[(&str, &[&str])] = &[
    ("situs-model", &["tokio", "futures", "parquet", "deltalake-core", "rdkafka", "simd-json", "prometheus"]),
    ("situs-decode", &["tokio", "parquet", "deltalake-core", "rdkafka", "situs-policy"]),
    ("situs-policy", &["parquet", "deltalake-core", "rdkafka", "simd-json"]),
    ("situs-store", &["rdkafka", "simd-json", "datafusion", "cedar-policy"]),
    ("situs-ingest", &["deltalake", "deltalake-core", "parquet", "datafusion"]),
    ("situs-query", &["rdkafka", "simd-json"]),
    ("situs-evidence", &["rdkafka", "simd-json", "datafusion", "situs-decode", "situs-ingest"]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--no-deps"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Names of the normal (not dev, not build) dependencies of each package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    metadata()["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let names = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
                .collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_designed() {
    let found = dependencies();
    for (name, allowed) in GRAPH {
        let ours: BTreeSet<&str> =
            found[*name].iter().map(String::as_str).filter(|name| name.starts_with("situs")).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let extra: Vec<_> = ours.difference(&allowed).collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}");
    }
    let known: BTreeSet<&str> =
        GRAPH.iter().map(|(name, _)| *name).chain(["situs-benches", "situs-tests"]).collect();
    let unknown: Vec<_> = found.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "crates without a place in the graph: {unknown:?}");
}

#[test]
fn heavy_dependencies_stay_in_their_rooms() {
    let found = dependencies();
    for (heavy, rooms) in ROOMS {
        for (name, names) in found.iter().filter(|(name, _)| GRAPH.iter().any(|(known, _)| known == name)) {
            assert!(
                !names.contains(*heavy) || rooms.contains(&name.as_str()),
                "{name} names {heavy}, which belongs to {rooms:?}"
            );
        }
    }
}

#[test]
fn what_must_be_absent_is_absent() {
    for (name, absent) in ABSENT {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "-f", "{p}", "-p", name])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .expect("cargo tree runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8_lossy(&output.stdout);
        let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(linked.len() > 3, "cargo tree printed something else than a tree");
        for name_absent in *absent {
            assert!(!linked.contains(name_absent), "{name} links {name_absent}");
        }
    }
}
