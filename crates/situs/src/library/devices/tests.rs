use std::path::Path;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use situs_query::{Format, QueryResult};

use crate::library::read_policy;

const POLICY: &str = "
zones: { CN: { jurisdictions: [CN] } }
sites: { nanning-1: { jurisdiction: CN, devices-file: registry/FILE } }
rules: [ { id: cn-resident, zone: CN, basis: law } ]
";

/// A folder with a policy whose devices are in `file`, as whoever calls writes it.
fn policy(file: &str, write: impl Fn(&Path)) -> Result<situs_policy::Policy, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("registry")).unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, POLICY.replace("FILE", file)).unwrap();
    write(&folder.path().join("registry").join(file));
    read_policy(&path).map_err(|problems| problems.to_string())
}

fn parquet(columns: &[(&str, &[Option<&str>])]) -> Result<situs_policy::Policy, String> {
    policy("nn.parquet", |path| {
        let column = |(name, values): &(&str, &[Option<&str>])| {
            (name.to_string(), Arc::new(StringArray::from(values.to_vec())) as arrow_array::ArrayRef, true)
        };
        let batch = RecordBatch::try_from_iter_with_nullable(columns.iter().map(column)).unwrap();
        let result = QueryResult { schema: batch.schema(), batches: vec![batch] };
        let mut file = std::fs::File::create(path).unwrap();
        situs_query::write(&result, Format::Parquet, &mut file).unwrap();
    })
}

#[test]
fn csv_and_parquet_with_the_same_rows_are_read_alike() {
    let of_csv =
        policy("nn.csv", |path| std::fs::write(path, "device,line\nnn-2,\nnn-1,l-1\n").unwrap()).unwrap();
    let of_parquet =
        parquet(&[("line", &[Some("l-1"), None]), ("device", &[Some("nn-1"), Some("nn-2")])]).unwrap();
    let site = of_parquet.sites().next().unwrap();
    assert_eq!((site.devices.len(), site.lines[0].0.as_str(), site.lines[0].1.len()), (1, "l-1", 1));
    // The rows behind the text name their file, so the versions differ by that alone.
    assert_eq!(of_parquet.text().replace("nn.parquet", "nn.csv"), of_csv.text());
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let problem = parquet(&[("devise", &[Some("a")])]).unwrap_err();
    assert_eq!(
        problem,
        "registry/nn.parquet: there is a column `devise` that has no meaning here; did you mean `device`?"
    );
    let problem = parquet(&[("line", &[Some("a")])]).unwrap_err();
    assert_eq!(problem, "registry/nn.parquet: there is no column `device`");
    let problem = parquet(&[("device", &[Some("a"), None])]).unwrap_err();
    assert_eq!(
        problem,
        "registry/nn.parquet:2:1: a device id has 1 to 256 bytes, and no control characters in a file"
    );
    for file in ["nn.csv", "nn.parquet"] {
        let problem = policy(file, |_| {}).unwrap_err();
        assert!(problem.starts_with(&format!("registry/{file}: cannot be read: ")), "{problem}");
    }
}
