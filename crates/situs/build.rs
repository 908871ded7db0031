//! Embeds the pipelines and schemas that ship, so that the binary alone can run the demo, and tells it what it
//! was built with: nothing that would differ between two builds of the same source with the same tools.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Dependencies whose versions matter to whoever looks into a problem.
const TOLD: &[&str] = &[
    "arrow-array",
    "axum",
    "cedar-policy",
    "datafusion",
    "deltalake",
    "object_store",
    "parquet",
    "rdkafka",
    "rdkafka-sys",
    "simd-json",
    "tokio",
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    tell_what_it_is_built_with(&root);
    let mut code = String::from(
        "/// Path relative to the project's root, and text.\npub(crate) const FILES: &[(&str, &str)] = &[\n",
    );
    for folder in ["pipelines", "schemas"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        let mut files = Vec::new();
        walk(&root.join(folder), folder, &mut files)?;
        files.sort();
        for (name, path) in files {
            let path = fs::canonicalize(path)?;
            writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string()).ok();
        }
    }
    code.push_str("];\n");
    fs::write(Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("shipped.rs"), code)
}

fn walk(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &name, files)?;
        } else if [".yaml", ".json", ".csv", ".cedar"].iter().any(|ending| name.ends_with(ending)) {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

/// The commit is told by whoever builds, and not looked for: the same source must give the same binary in a
/// clone and in an archive.
fn tell_what_it_is_built_with(root: &Path) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SITUS_COMMIT");
    let commit = env::var("SITUS_COMMIT").unwrap_or_default();
    // It becomes a line of JSON.
    let commit: String = commit.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    println!("cargo::rustc-env=SITUS_COMMIT={commit}");

    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=SITUS_RUSTC={}", version.trim());

    let lock = root.join("Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let versions = versions(&fs::read_to_string(lock).unwrap_or_default());
    println!("cargo::rustc-env=SITUS_DEPENDENCIES={}", versions.join(" "));
}

/// `name=version` of each dependency that is told.
fn versions(lock: &str) -> Vec<String> {
    let value = |line: &str, key: &str| {
        let text = line.strip_prefix(key)?.strip_prefix(" = \"")?;
        Some(text.strip_suffix('"')?.to_owned())
    };
    let mut found = Vec::new();
    let mut name = None;
    for line in lock.lines() {
        if let Some(of) = value(line, "name") {
            name = Some(of);
        } else if let Some(version) = value(line, "version")
            && let Some(name) = name.take().filter(|name| TOLD.contains(&name.as_str()))
        {
            found.push(format!("{name}={version}"));
        }
    }
    found
}
