//! Memory over a table's history.

#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::process::Command;

use super::super::*;
use super::compaction::table;
use super::support::*;

/// Commits in all, and after how many it is measured first.
const COMMITS: (i64, i64) = (5_000, 1_000);
/// What may come to it: pages that the allocator keeps. A kilobyte for each of the files would be more.
const GROWTH: u64 = 3 << 20;
/// What a checkpoint of all these files may take while it is made, out of 5,000 entries at once (measured: 62
/// MiB). A running home makes one after a hundred commits.
const CHECKPOINT: u64 = 128 << 20;

/// Memory of this process, in bytes: `VmRSS` is what is resident, `VmHWM` the most that ever was.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// kafka-delta-ingest#227: what a committer remembers must not grow with the files of the table, nor
/// (delta-rs#2628) a checkpoint need them all with their statistics. The whole memory of a process is
/// measured, so it has one of its own.
#[test]
fn memory_does_not_grow_with_5000_commits() {
    let test = "store::tests::history::commits_to_one_table";
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        // One arena, so that threads do not each keep pages of their own.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
}

/// Each commit adds a file. All but every fiftieth are other processes', as far as this one can see: their
/// entries are copies of its own first one, and of files that nobody reads here.
#[tokio::test]
#[ignore = "run in a process of its own by the test above"]
async fn commits_to_one_table() {
    let (dir, store) = fresh().await;
    let folder = dir.path().join("cnc_state");
    let committed = store.append(&append(store.identity(), "f0", 0, 0, 1)).await.unwrap();
    let file = committed.files[0].path.clone();
    let entry = std::fs::read_to_string(names::log_entry(&folder, 1)).unwrap();
    let mut after_first = 0;
    for offset in 1..COMMITS.0 {
        let version = u64::try_from(offset).unwrap() + 1;
        if offset % 50 == 0 {
            let append = append(store.identity(), &format!("f{offset}"), 0, offset, offset + 1);
            assert_eq!(store.append(&append).await.unwrap().version, Some(version));
        } else {
            let text = entry
                .replace(&file, &file.replace("f0-0", &format!("g{offset}-0")))
                .replace("\"version\":1,", &format!("\"version\":{},", offset + 1));
            assert!(text.contains(&format!("g{offset}-0")));
            std::fs::write(names::log_entry(&folder, version), text).unwrap();
        }
        if offset + 1 == COMMITS.1 {
            after_first = memory("VmRSS");
        }
    }
    let next = store.table(&table()).progress(&[source(0).app_id()]).await.unwrap();
    assert_eq!(next, [Some(NextOffset(COMMITS.0))]);
    let at_the_end = memory("VmRSS");
    println!("resident after {} commits: {after_first}, after {}: {at_the_end}", COMMITS.1, COMMITS.0);
    assert!(at_the_end < after_first + GROWTH, "{after_first} bytes became {at_the_end}");

    let before = memory("VmHWM");
    store.maintain(1).await.unwrap();
    let most = memory("VmHWM");
    println!("most before a checkpoint of {} files: {before}, after it: {most}", COMMITS.0);
    assert!(most < before + CHECKPOINT, "{before} bytes became {most}");
}
