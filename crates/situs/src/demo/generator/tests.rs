use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

mod pipelines;

const START: i64 = 1_764_000_000_000;

/// The first `count` messages of a seed, with what is wrong with each.
fn messages(seed: u64, count: usize) -> Vec<(Message, Option<Flaw>)> {
    let mut generator = Generator::new(seed, START);
    (0..count)
        .map(|_| {
            let mut message = Message::new();
            generator.next(&mut message);
            (message, generator.flaw)
        })
        .collect()
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

#[test]
fn a_seed_gives_the_same_messages_every_time() {
    assert!(messages(7, 5_000) == messages(7, 5_000));
    assert!(messages(7, 5_000) != messages(8, 5_000));
}

#[test]
fn buffers_do_not_grow_for_ever() {
    let mut generator = Generator::new(1, START);
    let mut message = Message::new();
    for _ in 0..20_000 {
        generator.next(&mut message);
    }
    let capacity = message.payload.capacity();
    for _ in 0..20_000 {
        generator.next(&mut message);
    }
    assert!(message.payload.capacity() <= capacity.max(80_000));
}

#[test]
fn one_message_in_a_hundred_is_malformed_and_the_others_are_json() {
    let all = messages(3, 60_000);
    let flawed = all.iter().filter(|(_, flaw)| flaw.is_some()).count();
    assert!((450..750).contains(&flawed), "{flawed}");
    for (message, flaw) in &all {
        let parsed = serde_json::from_slice::<Value>(&message.payload);
        match flaw {
            None => assert!(parsed.is_ok_and(|value| value.is_object())),
            Some(Flaw::Tombstone) => assert!(message.tombstone && message.payload().is_none()),
            Some(flaw) => {
                assert_eq!(parsed.is_err(), flaw.is_not_json(), "{flaw:?} on {}", message.topic);
                assert_eq!(message.expect, Expect::Quarantined { reason: flaw.code().as_str() });
            }
        }
        let utf8 = std::str::from_utf8(&message.payload).is_ok();
        assert_eq!(!utf8, *flaw == Some(Flaw::Latin1));
        assert_eq!(message.payload.is_empty(), matches!(flaw, Some(Flaw::Tombstone | Flaw::Empty)));
    }
}

#[test]
fn flaws_that_are_json_are_what_they_say() {
    let mut seen = BTreeSet::new();
    for (message, flaw) in messages(4, 60_000) {
        let Some(flaw) = flaw else { continue };
        seen.insert(flaw);
        let text = String::from_utf8_lossy(&message.payload);
        match (flaw, message.topic) {
            (Flaw::TooDeep, _) => assert!(text.contains(&"[".repeat(100))),
            (Flaw::DuplicateKey, _) => assert_eq!(text.matches(r#""device":"#).count(), 2),
            (Flaw::NoRows, _) => {
                let value = json(&message);
                assert!(["HFData", "Messages", "NodeId"].iter().all(|key| value.get(key).is_none()));
            }
            (Flaw::MissingField, topic) => {
                let field = match topic {
                    "cnc.state" => "timestamp",
                    "cnc.observation" => "dataItemId",
                    "process.window" => "operation",
                    "ar.pose" => "orientation",
                    _ => "childFrame",
                };
                assert!(json(&message).get(field).is_none());
            }
            (Flaw::WrongType, "cnc.state") => assert!(json(&message)["positions"].is_object()),
            (Flaw::BadNumber, "cnc.state") => assert_eq!(json(&message)["spindleSpeed"], "fast"),
            (Flaw::BadNumber, _) => assert_eq!(json(&message)["spindleSpeed"]["set"], "n.a."),
            (Flaw::OutOfRange, _) => {
                assert!(
                    ["18446744073709551615", "9223372036854775808", "4294967296"]
                        .iter()
                        .any(|number| text.contains(number))
                );
            }
            _ => {}
        }
    }
    // Blocks are too rare to be hit here.
    assert!(seen.len() >= 14, "{seen:?}");
}

#[test]
fn a_ragged_block_has_one_short_row() {
    let lengths = |flaw| -> Vec<usize> {
        let mut random = Random::new(5);
        let mut out = Vec::new();
        Recorder::new(0, &mut random).block(&mut out, flaw, &mut random);
        let block: Value = serde_json::from_slice(&out).unwrap();
        block["HFData"].as_array().unwrap().iter().map(|row| row.as_array().unwrap().len()).collect()
    };
    assert!(lengths(None).iter().all(|length| *length == 61));
    assert_eq!(lengths(Some(Flaw::RaggedBlock)).iter().filter(|length| **length != 61).count(), 1);
}

#[test]
fn outcomes_follow_the_device() {
    let mut seen = BTreeSet::new();
    for (message, flaw) in messages(5, 30_000) {
        if flaw.is_some() {
            continue;
        }
        seen.insert(message.expect);
        let device = String::from_utf8(message.key.clone()).unwrap();
        let claims = matches!(message.topic, "cnc.state" | "process.window" | "ar.calibration");
        let expect = match device.as_str() {
            _ if message.expect == Expect::WithoutRows => continue,
            UNREGISTERED => Expect::Quarantined { reason: "unknown-device" },
            LIAR if claims => Expect::Quarantined { reason: "claim-contradicts-registry" },
            device if device.starts_with("nn-") => Expect::Stored { zone: "CN" },
            _ => Expect::Stored { zone: "EU" },
        };
        assert_eq!(message.expect, expect, "{device} on {}", message.topic);
        if claims {
            let country = json(&message)["country"].clone();
            assert_eq!(country, if device.starts_with("st-") || device == LIAR { "DE" } else { "CN" });
        }
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[test]
fn a_device_keeps_its_partition() {
    let mut places: BTreeMap<(&str, Vec<u8>), i32> = BTreeMap::new();
    let mut used: BTreeSet<(&str, i32)> = BTreeSet::new();
    for (message, _) in messages(6, 30_000) {
        let place = *places.entry((message.topic, message.key)).or_insert(message.partition);
        assert_eq!(place, message.partition);
        used.insert((message.topic, message.partition));
    }
    let all: BTreeSet<(&str, i32)> = TOPICS
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(move |partition| (*topic, partition)))
        .collect();
    assert_eq!(used, all);
}

#[test]
fn values_move_as_machines_do() {
    let mut last_count: BTreeMap<String, i64> = BTreeMap::new();
    let mut last_temperature: BTreeMap<String, f64> = BTreeMap::new();
    let mut last_counter: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let (mut parts, mut fastest, mut backwards, mut observations) = (0, 0.0_f64, 0, 0);
    let mut last_time: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for (message, flaw) in messages(9, 400 * MESSAGES_PER_SECOND as usize) {
        if flaw.is_some() {
            continue;
        }
        let value = json(&message);
        match message.topic {
            "cnc.state" => {
                let device = value["device"].as_str().unwrap().to_owned();
                let count = value["partCount"].as_i64().unwrap();
                let before = last_count.insert(device.clone(), count).unwrap_or(count);
                assert!(count == before || count == before + 1);
                parts += count - before;
                if let Some(temperature) = value["spindleTemperature"].as_f64() {
                    assert!((15.0..80.0).contains(&temperature), "{temperature}");
                    let before = last_temperature.insert(device, temperature).unwrap_or(temperature);
                    assert!((temperature - before).abs() < 1.5);
                }
                fastest = fastest.max(value["spindleSpeed"].as_f64().unwrap_or(0.0));
            }
            "cnc.observation" => {
                let time = value["timestamp"].as_str().unwrap().to_owned();
                observations += 1;
                if let Some(before) = last_time.insert(message.key, time.clone()) {
                    backwards += usize::from(time < before);
                }
            }
            "cnc.waveform" => {
                if let Some(rows) = value["HFData"].as_array() {
                    let counters: Vec<i64> = rows.iter().map(|row| row[0].as_i64().unwrap()).collect();
                    assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1));
                    let before = last_counter.insert(message.key, counters[counters.len() - 1]).unwrap_or(0);
                    assert!(counters[0] > before);
                    assert!((20_000..45_000).contains(&message.payload.len()), "{}", message.payload.len());
                }
            }
            _ => {}
        }
    }
    assert!(parts > 0 && fastest > 14_000.0);
    let share = backwards as f64 / observations as f64;
    assert!((0.005..0.15).contains(&share), "{share}");
}

#[test]
fn the_clock_follows_the_number_of_messages() {
    let mut generator = Generator::new(1, START);
    assert_eq!(SECOND.iter().map(|(_, times)| *times as u64).sum::<u64>(), MESSAGES_PER_SECOND);
    let mut message = Message::new();
    for _ in 0..60 * MESSAGES_PER_SECOND {
        generator.next(&mut message);
    }
    assert_eq!(generator.now_ms(), START + 60_000);
    // Times out of all reason do no harm.
    for start in [i64::MIN, i64::MAX] {
        Generator::new(1, start).next(&mut message);
    }
}

#[test]
fn sizes_are_those_of_real_messages() {
    let mut sizes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (message, flaw) in messages(10, 40_000) {
        if flaw.is_none() && !message.payload.starts_with(b"{\"HF") {
            sizes.entry(message.topic).or_default().push(message.payload.len());
        }
    }
    let mean = |topic: &str| sizes[topic].iter().sum::<usize>() / sizes[topic].len();
    for (topic, range) in [
        ("cnc.state", 400..480),
        ("cnc.observation", 140..220),
        ("process.window", 700..1_100),
        ("opcua.pubsub", 500..900),
        ("ar.calibration", 700..1_100),
        ("ar.pose", 350..520),
    ] {
        assert!(range.contains(&mean(topic)), "{topic}: {}", mean(topic));
    }
}
