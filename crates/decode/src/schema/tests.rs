use super::*;

/// The schemas that ship with the project are read without a problem.
#[test]
fn shipped_schemas_compile() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
    let mut problems = Vec::new();
    for topic in std::fs::read_dir(root).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(topic.path()).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let name = file.path().display().to_string();
            if let Err(found) = Schema::parse(&name, &text, &DeviceSource::Payload) {
                problems.push(found.to_string());
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
