//! The messages that benchmarks work on: the same bytes in every run, all of them valid, in the shapes and
//! sizes of real ones.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use situs_decode::Schema;
use situs_model::DeviceSource;

/// Messages of one shape.
#[derive(Debug)]
pub(crate) struct Corpus {
    /// Its name in results.
    pub(crate) name: &'static str,
    /// The schema's file, relative to the repository.
    pub(crate) schema: &'static str,
    /// Where the device id comes from.
    pub(crate) device: DeviceSource,
    /// The key of every message.
    pub(crate) key: &'static str,
    /// The payloads: about [`BYTES`] together.
    pub(crate) messages: Vec<String>,
    /// How arrow-json is told to read the same messages. It has no dictionaries, and it leaves a block
    /// row-major.
    pub(crate) arrow: SchemaRef,
}

/// UTC, as arrow-json knows it without the time zone database.
const UTC: &str = "+00:00";

/// The bytes of a corpus: as many as a partition's batch holds in a busy plant, and more than the caches.
const BYTES: usize = 4 << 20;

impl Corpus {
    /// All corpora.
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::value(), Self::observation(), Self::state(), Self::block()]
    }

    /// The bytes of all payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.iter().map(String::len).sum()
    }

    /// The compiled schema.
    ///
    /// # Errors
    /// If the file cannot be read or has problems.
    pub(crate) fn compiled(&self) -> anyhow::Result<Arc<Schema>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(self.schema);
        let text = std::fs::read_to_string(&path).with_context(|| self.schema)?;
        Ok(Arc::new(Schema::parse(self.schema, &text, &self.device)?))
    }

    /// `{"timestamp_ms","value"}`, 46 bytes.
    fn value() -> Self {
        Self {
            name: "value",
            schema: "benches/schemas/value.json",
            device: DeviceSource::Key,
            key: "st-cnc-001",
            messages: fill(|out, random, index| {
                let time = 1_659_966_694_716 + index * 13;
                let value = random.below(20_000_000) as f64 / 10_000.0 - 400.0;
                write!(out, r#"{{"timestamp_ms":{time},"value":{value:.3}}}"#)
            }),
            arrow: schema(vec![
                Field::new("timestamp_ms", DataType::Timestamp(TimeUnit::Millisecond, None), false),
                number("value"),
            ]),
        }
    }

    /// MTConnect entities as the agent sends them, about 180 bytes; results are text.
    fn observation() -> Self {
        Self {
            name: "observation",
            schema: "schemas/cnc.observation/v1.json",
            device: DeviceSource::Key,
            key: "st-cnc-001",
            messages: fill(|out, random, index| {
                let (id, kind, category) = [
                    ("Lp1LPathPos", "PATH_POSITION", "SAMPLE"),
                    ("LZ1actw", "POSITION", "SAMPLE"),
                    ("LZ1actm", "POSITION", "SAMPLE"),
                    ("LX1actw", "POSITION", "SAMPLE"),
                    ("Lp1Fact", "PATH_FEEDRATE", "SAMPLE"),
                    ("LS1speed", "ROTARY_VELOCITY", "SAMPLE"),
                    ("LX1load", "LOAD", "SAMPLE"),
                    ("Lp1BlockNumber", "LINE_NUMBER", "EVENT"),
                ][random.below(8)];
                let sub_type =
                    if kind == "LOAD" || kind == "LINE_NUMBER" { "" } else { r#""subType":"ACTUAL","# };
                let time = time(index * 4, 3);
                write!(
                    out,
                    r#"{{"dataItemId":"{id}","name":"{}","type":"{kind}",{sub_type}"category":"{category}","#,
                    &id[1..]
                )?;
                write!(out, r#""timestamp":"{time}{:04}Z","result":""#, random.below(10_000))?;
                match kind {
                    "PATH_POSITION" => write!(out, "{:.3} 0 {:.4}", random.millis(), random.millis())?,
                    "LOAD" | "LINE_NUMBER" => write!(out, "{}", random.below(150))?,
                    "ROTARY_VELOCITY" => write!(out, "{}", random.below(12_000))?,
                    _ => write!(out, "{:.4}", random.millis())?,
                }
                write!(out, r#"","sequence":{index}}}"#)
            }),
            arrow: schema(vec![
                text("dataItemId"),
                text("name"),
                text("type"),
                text("subType"),
                text("category"),
                Field::new("timestamp", DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())), true),
                text("result"),
                Field::new("sequence", DataType::Int64, true),
            ]),
        }
    }

    /// The flat state of a machine, 440 bytes.
    fn state() -> Self {
        Self {
            name: "state",
            schema: "schemas/cnc.state/v1.json",
            device: DeviceSource::Payload,
            key: "st-cnc-001",
            messages: fill(|out, random, index| {
                let (device, time) = (1 + index % 20, time(index * 50, 3));
                write!(out, r#"{{"device":"st-cnc-{device:03}","timestamp":"{time}Z","country":"DE","#)?;
                write!(
                    out,
                    r#""execution":"ACTIVE","mode":"AUTOMATIC","program":"O{}","#,
                    1000 + index / 997
                )?;
                write!(out, r#""line":{},"axes":["X","Y","Z"],"#, random.below(4_000) * 10)?;
                let [x, y, z] = [random.millis(), random.millis(), random.millis()];
                write!(out, r#""positions":[{x:.3},{y:.3},{z:.3}],"#)?;
                let [x, y, z] = [random.percent(), random.percent(), random.percent()];
                write!(
                    out,
                    r#""loads":[{x:.1},{y:.1},{z:.1}],"spindleSpeed":{:.1},"#,
                    random.millis() * 8.0
                )?;
                let [load, temperature] = [random.percent(), random.percent()];
                write!(out, r#""spindleLoad":{load:.1},"spindleTemperature":{temperature:.2},"#)?;
                write!(out, r#""feed":{:.3},"feedOverride":100,"rapidOverride":100,"#, random.percent())?;
                write!(out, r#""spindleOverride":100,"tool":"T{}","#, random.below(40))?;
                write!(
                    out,
                    r#""partCount":{},"power":{:.1},"intervention":"None"}}"#,
                    index / 331,
                    random.millis().abs() * 9.0
                )
            }),
            arrow: schema(vec![
                text("device"),
                Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())), false),
                text("country"),
                text("execution"),
                text("mode"),
                text("program"),
                Field::new("line", DataType::Int64, true),
                list("axes", DataType::Utf8),
                list("positions", DataType::Float64),
                list("loads", DataType::Float64),
                number("spindleSpeed"),
                number("spindleLoad"),
                number("spindleTemperature"),
                number("feed"),
                number("feedOverride"),
                number("rapidOverride"),
                number("spindleOverride"),
                text("tool"),
                Field::new("partCount", DataType::Int64, true),
                number("power"),
                text("intervention"),
            ]),
        }
    }

    /// Row-major blocks of 61 numbers at 500 Hz, about 30 kB.
    fn block() -> Self {
        const ROWS: u64 = 45;
        Self {
            name: "block",
            schema: "schemas/cnc.waveform/v1.json",
            device: DeviceSource::Key,
            key: "st-cnc-001",
            messages: fill(|out, random, index| {
                out.push_str(r#"{"HFData":["#);
                for row in 0..ROWS {
                    write!(out, "{}[{}", if row == 0 { "" } else { "," }, 5_558_098 + index * ROWS + row)?;
                    for signal in 1..61 {
                        match signal % 8 {
                            0 => out.push_str(",0.0"),
                            3 => write!(out, ",-{:.2}E-4", 1.0 + random.below(899) as f64 / 100.0)?,
                            _ => write!(out, ",{:.6}", random.millis() * f64::from(signal))?,
                        }
                    }
                    out.push(']');
                }
                out.push_str("]}");
                Ok(())
            }),
            arrow: schema(vec![list(
                "HFData",
                DataType::List(Arc::new(Field::new("element", DataType::Float64, true))),
            )]),
        }
    }
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(arrow_schema::Schema::new(fields))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

fn list(name: &str, element: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("element", element, true))), true)
}

/// Messages until there are enough; `write` gets the message's number.
fn fill(mut write: impl FnMut(&mut String, &mut Random, u64) -> std::fmt::Result) -> Vec<String> {
    let mut random = Random(0x5eed);
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while bytes < BYTES {
        let mut message = String::new();
        // Writing to a `String` cannot fail.
        let _ = write(&mut message, &mut random, messages.len() as u64);
        bytes += message.len();
        messages.push(message);
    }
    messages
}

/// RFC 3339 without the offset, `ms` after 2022-08-08T13:51:34Z, within that day.
fn time(ms: u64, decimals: usize) -> String {
    let ms = (49_894_000 + ms) % 86_400_000;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("2022-08-08T{hour:02}:{minute:02}:{second:02}.{:0decimals$}", ms % 1_000)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * bound as u128) >> 64) as usize
    }

    /// A position in mm.
    fn millis(&mut self) -> f64 {
        self.below(16_000_000) as f64 / 10_000.0 - 400.0
    }

    fn percent(&mut self) -> f64 {
        self.below(100_000) as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora_are_what_they_say() {
        for (corpus, size) in Corpus::all().iter().zip([44..48, 165..195, 430..450, 28_000..32_000]) {
            let mean = corpus.bytes() / corpus.messages.len();
            assert!(size.contains(&mean), "{}: {mean}", corpus.name);
            assert!(
                corpus
                    .messages
                    .iter()
                    .take(500)
                    .all(|text| serde_json::from_str::<serde_json::Value>(text).is_ok())
            );
            assert!(corpus.compiled().is_ok());
        }
        assert_eq!(Corpus::state().messages, Corpus::state().messages);
    }
}
