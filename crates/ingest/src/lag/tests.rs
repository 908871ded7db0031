use super::*;
use crate::worker::Position;

fn source(topic: &str, partition: i32) -> Source {
    Source { cluster: "kafka".parse().unwrap(), topic: topic.into(), partition }
}

fn standing(topic: &str, partition: i32, lag: u64, seconds: u64) -> Standing {
    Standing {
        topic: topic.into(),
        partition,
        stands: Stands::Owned,
        lag: Some(lag),
        age: Duration::from_secs(seconds),
        settled: None,
    }
}

fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.render().unwrap();
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn partitions_beyond_the_bound_share_a_series() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let mut series = Series::new(2, metrics.clone());
    let sources: Vec<Source> =
        [("t", 3), ("t", 0), ("u", 0), ("t", 1)].into_iter().map(|(topic, at)| source(topic, at)).collect();
    series.choose(sources.iter().map(|source| (source, Some(NextOffset(7)))));
    series.show(&[
        standing("t", 0, 1, 1),
        standing("t", 1, 2, 2),
        standing("t", 3, 30, 3),
        standing("u", 0, 4, 4),
    ]);
    assert_eq!(
        lines(&metrics, "situs_lag_messages"),
        [
            "situs_lag_messages{partition=\"0\",topic=\"t\"} 1",
            "situs_lag_messages{partition=\"1\",topic=\"t\"} 2",
            "situs_lag_messages{partition=\"others\",topic=\"t\"} 30",
            "situs_lag_messages{partition=\"others\",topic=\"u\"} 4",
        ]
    );
    assert_eq!(lines(&metrics, "situs_lag_seconds").len(), 4);
    assert_eq!(lines(&metrics, "situs_settled_offset").len(), 2);

    // One was taken away: the next has a series of its own now, and no series is left of what is gone.
    let left = [source("t", 1), source("u", 0)];
    series.choose(left.iter().map(|source| (source, Some(NextOffset(7)))));
    series.show(&[standing("t", 1, 2, 2), standing("u", 0, 4, 4)]);
    assert_eq!(
        lines(&metrics, "situs_lag_messages"),
        [
            "situs_lag_messages{partition=\"0\",topic=\"u\"} 4",
            "situs_lag_messages{partition=\"1\",topic=\"t\"} 2",
        ]
    );
    series.choose(std::iter::empty());
    assert_eq!(lines(&metrics, "situs_lag"), Vec::<String>::new());
}

#[test]
fn the_oldest_message_is_that_of_the_first_batch_that_is_not_settled() {
    let position = Position::new(None);
    assert_eq!(position.oldest(None), None);
    position.mark(5, 100);
    position.mark(9, 200);
    assert_eq!(position.oldest(None), Some(100));
    assert_eq!(position.oldest(Some(NextOffset(5))), Some(100));
    // Offsets between two batches may hold no message.
    assert_eq!(position.oldest(Some(NextOffset(8))), Some(200));
    assert_eq!(position.oldest(Some(NextOffset(12))), None);
}
