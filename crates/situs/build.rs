//! Embeds the pipelines and schemas that ship, so that the binary alone can run the demo.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
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
