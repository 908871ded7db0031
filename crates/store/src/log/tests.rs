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
    let text = br#"{"commitInfo":{"operation":"WRITE","situs.flush":"f1","situs.policy":"0123456789abcdef","situs.schema":"fedcba9876543210","situs.topic-ids":{"situs/k/t/0":"ASNFZ4mrze_-3LqYdlQyEA"}}}
{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}
{"txn":{"appId":"situs/k/t/0","version":7}}
{"txn":{"appId":"situs-epoch/k/t/0","version":2}}
{"txn":{"appId":"somebody-else","version":9}}
"#;
    let entry = Entry::parse(text).unwrap();
    assert!(!entry.changes_table);
    let mut partitions = Partitions::default();
    entry.apply(3, &mut partitions);
    let versions = Versions {
        policy: "0123456789abcdef".parse().unwrap(),
        schema: "fedcba9876543210".parse().unwrap(),
        definition: None,
    };
    let commit = Some(CommitId {
        version: 3,
        flush: Some("f1".into()),
        versions: Some(Arc::new(versions)),
        topic_ids: Arc::new([("situs/k/t/0".to_owned(), "ASNFZ4mrze_-3LqYdlQyEA".parse().unwrap())].into()),
    });
    let expected = Partitions {
        progress: HashMap::from([("situs/k/t/0".into(), Progress { next: NextOffset(7), commit })]),
        epochs: HashMap::from([("k/t/0".into(), Epoch(2))]),
    };
    assert_eq!(partitions, expected);
    let source = Source { cluster: "k".parse().unwrap(), topic: "t".into(), partition: 0 };
    assert_eq!(partitions.epoch(&source), Epoch(2));
    assert_eq!(partitions.progress(&source.app_id()).unwrap().next, NextOffset(7));

    assert!(Entry::parse(br#"{"metaData":{"id":"x"}}"#).unwrap().changes_table);
    assert!(Entry::parse(b"{\"txn\":{\"appId\":\"situs/").is_err());
    assert!(Entry::parse(br#"{"commitInfo":{"situs.policy":"x","situs.schema":"y"}}"#).is_err());
    assert!(Entry::parse(br#"{"commitInfo":{"situs.topic-ids":{"situs/k/t/0":"x"}}}"#).is_err());
    assert!(Entry::parse(b"").unwrap().transactions.is_empty());
}
