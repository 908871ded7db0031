use super::*;

#[test]
fn the_newest_complete_checkpoint_counts() {
    let names: Vec<String> = [
        "00000000000000000009.checkpoint.parquet",
        "00000000000000000012.checkpoint.0000000001.0000000002.parquet",
        "00000000000000000012.checkpoint.0000000002.0000000002.parquet",
        "00000000000000000015.checkpoint.0000000001.0000000002.parquet",
        "00000000000000000020.checkpoint.parquet",
        "00000000000000000020.json",
        "_last_checkpoint",
    ]
    .map(str::to_owned)
    .to_vec();
    let found = |version| newest_checkpoint(&names, version).map(|(of, files)| (of, files.len()));
    assert_eq!(found(25), Some((20, 1)));
    assert_eq!(found(19), Some((12, 2)), "15 lacks a part");
    assert_eq!(found(11), Some((9, 1)));
    assert_eq!(found(8), None);
}

#[test]
fn entries_tell_offsets_and_flush_and_nothing_of_others() {
    let text = br#"{"commitInfo":{"operation":"WRITE","situs.flush":"f1"}}
{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}
{"txn":{"appId":"situs/k/t/0","version":7}}
{"txn":{"appId":"somebody-else","version":9}}
"#;
    let entry = Entry::parse(text).unwrap();
    assert!(!entry.changes_table);
    let mut progress = HashMap::new();
    entry.apply(3, &mut progress);
    let commit = Some(CommitId { version: 3, flush: Some("f1".into()) });
    assert_eq!(progress, HashMap::from([("situs/k/t/0".into(), Progress { next: NextOffset(7), commit })]));

    assert!(Entry::parse(br#"{"metaData":{"id":"x"}}"#).unwrap().changes_table);
    assert!(Entry::parse(b"{\"txn\":{\"appId\":\"situs/").is_err());
    assert!(Entry::parse(b"").unwrap().offsets.is_empty());
}
