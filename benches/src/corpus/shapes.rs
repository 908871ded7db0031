//! What the messages look like.

use std::fmt::Write as _;
use std::path::Path;

use situs_model::DeviceSource;

use super::random::Random;
use super::{BYTES, Corpus};

impl Corpus {
    fn made(
        name: &str,
        schema: &str,
        device: DeviceSource,
        write: impl FnMut(&mut String, &mut Random, u64) -> std::fmt::Result,
    ) -> Self {
        Self {
            name: name.to_owned(),
            schema: Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(schema),
            device,
            messages: fill(write),
            malformed: None,
        }
    }

    /// The flat state of a machine, 21 fields, 440 bytes, always in one order.
    pub(super) fn state() -> Self {
        Self::made("state", STATE, DeviceSource::Payload, |out, random, index| {
            object(out, &fields(random, index))
        })
    }

    /// `{"timestamp_ms","value"}`, 46 bytes.
    pub(super) fn value() -> Self {
        Self::made("value", "benches/schemas/value.json", DeviceSource::Key, |out, random, index| {
            write_value(out, random, index * 13)
        })
    }

    /// A sensor's reading: 8 fields, about 140 bytes.
    pub(super) fn reading() -> Self {
        Self::made("reading", "benches/schemas/reading.json", DeviceSource::Payload, |out, random, index| {
            let (sensor, time) = (1 + index % 40, time(index * 7, 3));
            write!(
                out,
                r#"{{"sensor":"vib-{sensor:04}","ts":"{time}Z","rms":{:.4},"#,
                random.percent() / 9.0
            )?;
            write!(out, r#""peak":{:.3},"temperature":{:.1},"#, random.percent(), 20.0 + random.percent())?;
            write!(
                out,
                r#""rpm":{},"state":"RUNNING","good":{}}}"#,
                random.below(12_000),
                random.below(50) > 0
            )
        })
    }

    /// Eight machines by turns: each with an order and a choice of fields of its own, of which some
    /// come and go.
    pub(super) fn shapes() -> Self {
        let mut random = Random(0xf00d);
        let shapes: Vec<(Vec<usize>, Vec<usize>)> = (0..8)
            .map(|_| {
                let mut order: Vec<usize> = (2..21).collect();
                random.shuffle(&mut order);
                order.truncate(15 + random.below(5));
                let optional = order.iter().copied().filter(|_| random.below(4) == 0).collect();
                (order, optional)
            })
            .collect();
        Self::made("shapes", STATE, DeviceSource::Payload, move |out, random, index| {
            let (order, optional) = &shapes[(index % 8) as usize];
            let fields = fields(random, index);
            let mut chosen = vec![fields[0].clone(), fields[1].clone()];
            for field in order {
                if !optional.contains(field) || random.below(4) > 0 {
                    chosen.push(fields[*field].clone());
                }
            }
            object(out, &chosen)
        })
    }

    /// The state with its keys in another order in every message.
    pub(super) fn random_order() -> Self {
        Self::made("random-order", STATE, DeviceSource::Payload, |out, random, index| {
            let mut fields = fields(random, index);
            random.shuffle(&mut fields);
            object(out, &fields)
        })
    }

    /// The state, where one message in a hundred is malformed: cut off, with a stray byte, a number no
    /// number, a bracket too many or too few.
    pub(super) fn malformed() -> Self {
        let mut corpus = Self::state();
        let mut random = Random(0xbad);
        let mut malformed = 0;
        for message in corpus.messages.iter_mut().filter(|_| random.below(100) == 0) {
            malformed += 1;
            let mut random = Random(malformed);
            let at = 1 + random.below(message.len() - 2);
            match malformed % 6 {
                0 => message.truncate(at),
                1 => message.insert(at, 0x01),
                2 => message.push(b'}'),
                3 => {
                    let text = String::from_utf8_lossy(message).replace("\"line\":", "\"line\":0");
                    *message = text.replace("\"line\":00,", "\"line\":00.,").into_bytes();
                }
                4 => message.insert(at, 0xff),
                _ => message[0] = b'[',
            }
        }
        corpus.name = "malformed".to_owned();
        corpus.malformed = Some(malformed as usize);
        corpus
    }

    /// The state with lists per axis.
    pub(super) fn state_lists() -> Self {
        Self::made("state-lists", STATE, DeviceSource::Payload, |out, random, index| {
            let (device, time) = (1 + index % 20, time(index * 50, 3));
            write!(out, r#"{{"device":"st-cnc-{device:03}","timestamp":"{time}Z","country":"DE","#)?;
            write!(out, r#""execution":"ACTIVE","mode":"AUTOMATIC","program":"O{}","#, 1000 + index / 997)?;
            write!(out, r#""line":{},"axes":["X","Y","Z"],"#, random.below(4_000) * 10)?;
            let [x, y, z] = [random.millis(), random.millis(), random.millis()];
            write!(out, r#""positions":[{x:.3},{y:.3},{z:.3}],"#)?;
            let [x, y, z] = [random.percent(), random.percent(), random.percent()];
            write!(out, r#""loads":[{x:.1},{y:.1},{z:.1}],"spindleSpeed":{:.1},"#, random.millis() * 8.0)?;
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
        })
    }

    /// MTConnect entities as the agent sends them, about 180 bytes; results are text.
    pub(super) fn observation() -> Self {
        Self::made(
            "observation",
            "schemas/cnc.observation/v1.json",
            DeviceSource::Key,
            |out, random, index| {
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
            },
        )
    }

    /// Row-major blocks of 61 numbers at 500 Hz, about 30 kB.
    pub(super) fn block() -> Self {
        Self::made("block", "schemas/cnc.waveform/v1.json", DeviceSource::Key, write_block)
    }

    /// One signal at 10 kHz: a list of half a second, about 51 kB.
    pub(super) fn series() -> Self {
        Self::made("series", "benches/schemas/series.json", DeviceSource::Payload, |out, random, index| {
            write!(out, r#"{{"device":"st-cnc-001","timestamp":"{}Z","samples":["#, time(index * 500, 3))?;
            for sample in 0..5000 {
                write!(out, "{}{:.5}", if sample == 0 { "" } else { "," }, random.millis())?;
            }
            out.push_str("]}");
            Ok(())
        })
    }
}

const STATE: &str = "schemas/cnc.state/v1.json";

/// The 21 fields of one of twenty machines' state.
fn fields(random: &mut Random, index: u64) -> Vec<String> {
    let number = 1 + index % 20;
    let machine = Machine { id: format!("st-cnc-{number:03}"), country: "DE", number };
    machine.fields(random, index, index * 50)
}

/// A machine whose state is told.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its id.
    pub(crate) id: String,
    /// The country that its messages claim.
    pub(crate) country: &'static str,
    /// Its number, of which its serial number is made.
    pub(crate) number: u64,
}

impl Machine {
    /// Its state as message `index` of all, `ms` after the first.
    pub(crate) fn write_state(
        &self,
        out: &mut String,
        random: &mut Random,
        index: u64,
        ms: u64,
    ) -> std::fmt::Result {
        object(out, &self.fields(random, index, ms))
    }

    /// The 21 fields, each as it is written; the first two are always there.
    fn fields(&self, random: &mut Random, index: u64, ms: u64) -> Vec<String> {
        let Self { id, country, number } = self;
        let time = time(ms, 3);
        vec![
            format!(r#""device":"{id}""#),
            format!(r#""timestamp":"{time}Z""#),
            format!(r#""country":"{country}""#),
            r#""execution":"ACTIVE""#.to_owned(),
            r#""mode":"AUTOMATIC""#.to_owned(),
            format!(r#""program":"O{}""#, 1000 + index / 997),
            format!(r#""line":{}"#, random.below(4_000) * 10),
            format!(r#""block":"G01 X{:.3} Y{:.3}""#, random.millis(), random.millis()),
            format!(r#""spindleSpeed":{:.1}"#, random.millis() * 8.0),
            format!(r#""spindleLoad":{:.1}"#, random.percent()),
            format!(r#""spindleTemperature":{:.2}"#, random.percent()),
            format!(r#""feed":{:.3}"#, random.percent()),
            r#""feedOverride":100"#.to_owned(),
            r#""rapidOverride":100"#.to_owned(),
            r#""spindleOverride":100"#.to_owned(),
            format!(r#""tool":"T{}""#, random.below(40)),
            format!(r#""partCount":{}"#, index / 331),
            format!(r#""power":{:.1}"#, random.millis().abs() * 9.0),
            r#""intervention":"None""#.to_owned(),
            format!(r#""operator":"op-{}""#, 11 + index / 4_001),
            format!(r#""serialNumber":"8M{:06}""#, 104_000 + number),
        ]
    }
}

/// A time and a value, `ms` after the first.
pub(crate) fn write_value(out: &mut String, random: &mut Random, ms: u64) -> std::fmt::Result {
    let time = 1_659_966_694_716 + ms;
    let value = random.below(20_000_000) as f64 / 10_000.0 - 400.0;
    write!(out, r#"{{"timestamp_ms":{time},"value":{value:.3}}}"#)
}

/// A block of 45 rows with 61 numbers each, the `index`-th of its machine.
pub(crate) fn write_block(out: &mut String, random: &mut Random, index: u64) -> std::fmt::Result {
    const ROWS: u64 = 45;
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
}

fn object(out: &mut String, fields: &[String]) -> std::fmt::Result {
    write!(out, "{{{}}}", fields.join(","))
}

/// Messages until there are enough; `write` gets the message's number.
fn fill(mut write: impl FnMut(&mut String, &mut Random, u64) -> std::fmt::Result) -> Vec<Vec<u8>> {
    let mut random = Random(0x5eed);
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while bytes < BYTES {
        let mut message = String::new();
        // Writing to a `String` cannot fail.
        let _ = write(&mut message, &mut random, messages.len() as u64);
        bytes += message.len();
        messages.push(message.into_bytes());
    }
    messages
}

/// RFC 3339 without the offset, `ms` after 2022-08-08T13:51:34Z, within that day.
fn time(ms: u64, decimals: usize) -> String {
    let ms = (49_894_000 + ms) % 86_400_000;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("2022-08-08T{hour:02}:{minute:02}:{second:02}.{:0decimals$}", ms % 1_000)
}
