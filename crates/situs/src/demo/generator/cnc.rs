//! What a machining centre sends: states, observations, process windows and network messages.

use super::flaw::Flaw;
use super::machine::{Machine, Phase};
use super::random::Random;
use super::text::Text;

/// One state: about 440 bytes.
pub(super) fn state(out: &mut Vec<u8>, m: &Machine, flaw: Option<Flaw>, random: &mut Random) {
    let mut text = Text(out);
    let t = &mut text;
    t.raw(r#"{"device":""#).raw(&m.id);
    let ns = m.sampled_ns(60_000, random);
    match flaw {
        Some(Flaw::MissingField) => t.raw(r#"","country":""#),
        Some(Flaw::BadTime) => t.raw(r#"","timestamp":"08.08.2022 13:51","country":""#),
        // Some gateways send the time as a number.
        _ if m.index % 5 == 4 => t.raw(r#"","timestamp":"#).int(ns / 1_000_000).raw(r#","country":""#),
        _ => t.raw(r#"","timestamp":""#).time(ns, 3, m.offset_minutes).raw(r#"","country":""#),
    };
    t.raw(m.origin.claim).raw(r#"","execution":""#).raw(m.phase.execution());
    t.raw(r#"","mode":"AUTOMATIC","program":""#).raw(m.program()).raw(r#"","line":"#).int(m.line);
    if flaw == Some(Flaw::WrongType) {
        t.raw(r#","axes":["X","Y","Z"],"positions":{"X":12.5,"Y":0.0,"Z":150.0},"loads":"#);
    } else {
        t.raw(r#","axes":["X","Y","Z"],"positions":"#).list(&m.position(), 3).raw(r#","loads":"#);
    }
    t.list(&m.axis_loads(random), 1);
    match flaw {
        Some(Flaw::BadNumber) => t.raw(r#","spindleSpeed":"fast"#).raw("\""),
        // Some adapters send every number as a string.
        _ if m.index % 7 == 5 => t.raw(r#","spindleSpeed":""#).fixed(m.speed, 1).raw("\""),
        _ => t.raw(r#","spindleSpeed":"#).fixed(m.speed, 1),
    };
    t.raw(r#","spindleLoad":"#).fixed(m.load, 1).raw(r#","spindleTemperature":"#);
    if random.one_in(300) {
        t.raw(r#""UNAVAILABLE""#);
    } else {
        t.fixed(m.temperature / 10, 2);
    }
    t.raw(r#","feed":"#).fixed(m.feed, 3).raw(r#","feedOverride":"#).int(m.feed_override);
    t.raw(r#","spindleOverride":100,"tool":""#).raw(m.operation().tool).raw(r#"","partCount":"#);
    match flaw {
        Some(Flaw::OutOfRange) => t.raw("18446744073709551615"),
        _ => t.int(m.part_count),
    };
    t.raw(r#","power":"#).fixed(m.power(random), 1);
    if let Some(alarm) = m.alarm() {
        t.raw(r#","alarm":""#).raw(alarm).raw("\"");
    }
    if let Some(intervention) = m.intervention() {
        t.raw(r#","intervention":""#).raw(intervention).raw(r#"","operator":""#).raw(m.operator()).raw("\"");
    }
    if random.one_in(10) {
        t.raw(r#","serialNumber":""#).raw(&m.serial).raw("\"");
    }
    t.raw("}");
}

/// The head of an observation up to its time.
macro_rules! item {
    ($id:literal, $type:literal, $category:literal) => {
        concat!(
            r#"{"dataItemId":""#,
            $id,
            r#"","name":""#,
            $id,
            r#"","type":""#,
            $type,
            r#"","category":""#,
            $category,
            r#"","timestamp":""#
        )
    };
    ($id:literal, $type:literal, $sub:literal, $category:literal) => {
        concat!(
            r#"{"dataItemId":""#,
            $id,
            r#"","name":""#,
            $id,
            r#"","type":""#,
            $type,
            r#"","subType":""#,
            $sub,
            r#"","category":""#,
            $category,
            r#"","timestamp":""#
        )
    };
}

/// One observation: about 180 bytes. Its results are text, as adapters send them.
pub(super) fn observation(out: &mut Vec<u8>, m: &mut Machine, flaw: Option<Flaw>, random: &mut Random) {
    let kind = random.below(40);
    let head = match kind {
        0..8 => item!("Xact", "POSITION", "ACTUAL", "SAMPLE"),
        8..12 => item!("Yact", "POSITION", "ACTUAL", "SAMPLE"),
        12..15 => item!("Zact", "POSITION", "ACTUAL", "SAMPLE"),
        15..18 => item!("path", "PATH_POSITION", "ACTUAL", "SAMPLE"),
        18..21 => item!("Fact", "PATH_FEEDRATE", "ACTUAL", "SAMPLE"),
        21..25 => item!("Sspeed", "ROTARY_VELOCITY", "ACTUAL", "SAMPLE"),
        25..28 => item!("Sload", "LOAD", "SAMPLE"),
        28..30 => item!("Xload", "LOAD", "SAMPLE"),
        30..32 => item!("Stemp", "TEMPERATURE", "SAMPLE"),
        32..34 => item!("line", "LINE_NUMBER", "EVENT"),
        34 => item!("block", "BLOCK", "EVENT"),
        35 => item!("execution", "EXECUTION", "EVENT"),
        36 => item!("tool", "TOOL_NUMBER", "EVENT"),
        37 => item!("partcount", "PART_COUNT", "EVENT"),
        38 => item!("Fovr", "PATH_FEEDRATE_OVERRIDE", "PROGRAMMED", "EVENT"),
        _ => item!("system", "SYSTEM", "CONDITION"),
    };
    let [x, y, z] = m.position();
    m.sequence += 1;
    // Agents forward in batches, so that a few per cent go backwards in time.
    let ns = m.sampled_ns(150_000, random);
    let mut text = Text(out);
    let t = &mut text;
    match flaw {
        Some(Flaw::MissingField) => {
            t.raw(r#"{"name":"lost","type":"LOAD","category":"SAMPLE","timestamp":""#)
        }
        Some(Flaw::WrongType) => {
            t.raw(r#"{"dataItemId":{"id":"Xact"},"type":"POSITION","category":"SAMPLE","timestamp":""#)
        }
        _ => t.raw(head),
    };
    match flaw {
        Some(Flaw::BadTime) => t.raw("yesterday"),
        _ => t.time(ns, 7, 0),
    };
    if kind == 39 {
        match m.alarm() {
            Some(code) => {
                t.raw(r#"","level":"fault","nativeCode":""#).raw(code).raw(r#"","result":"Drive off""#)
            }
            None => t.raw(r#"","level":"normal""#),
        };
    } else if kind < 32 && random.one_in(60) {
        t.raw(r#"","result":"UNAVAILABLE""#);
    } else {
        t.raw(r#"","result":""#);
        match kind {
            0..8 => t.fixed(x * 10 + random.within(0..10), 4),
            8..12 => t.fixed(y, 3),
            12..15 => t.fixed(z, 3),
            15..18 => t.fixed(x, 3).raw(" ").fixed(y, 3).raw(" ").fixed(z, 3),
            18..21 => t.fixed(m.feed, 3),
            21..25 => t.int(m.speed / 10),
            25..28 => t.int(m.load / 10),
            28..30 => t.int(m.feed / 4_000 + random.within(1..4)),
            30..32 => t.fixed(m.temperature / 100, 1),
            32..34 => t.int(m.line),
            34 => t.raw("N").int(m.line).raw(" G1 X").fixed(x, 3).raw(" Y").fixed(y, 3),
            35 => t.raw(m.phase.execution()),
            36 => t.raw(m.operation().tool),
            37 => t.int(m.part_count),
            _ => t.int(m.feed_override),
        };
        t.raw("\"");
    }
    match flaw {
        Some(Flaw::OutOfRange) => t.raw(r#","sequence":9223372036854775808}"#),
        _ => t.raw(r#","sequence":"#).int(m.sequence).raw("}"),
    };
}

/// One window of an operation: about 800 bytes.
pub(super) fn window(out: &mut Vec<u8>, m: &mut Machine, flaw: Option<Flaw>, random: &mut Random) {
    m.windows += 1;
    let operation = m.operation();
    let start = m.sampled_ns(60_000, random) - 2_000_000_000;
    let mut text = Text(out);
    let t = &mut text;
    t.raw(r#"{"device":""#).raw(&m.id).raw(r#"","country":""#).raw(m.origin.claim);
    match flaw {
        Some(Flaw::BadTime) => t.raw(r#"","start":"half past one","end":""#),
        _ => t.raw(r#"","start":""#).time(start, 3, m.offset_minutes).raw(r#"","end":""#),
    };
    t.time(start + 2_000_000_000, 3, m.offset_minutes);
    t.raw(r#"","windowId":""#).raw(&m.id).raw("-").int(m.windows).raw("\"");
    if flaw != Some(Flaw::MissingField) {
        t.raw(r#","operation":""#).raw(operation.name).raw("\"");
    }
    t.raw(r#","program":""#).raw(m.program()).raw(r#"","material":"#);
    t.raw(if m.index.is_multiple_of(2) { r#""42CrMo4""# } else { r#""AlMg4.5Mn""# });
    t.raw(r#","tool":""#).raw(operation.tool).raw(r#"","toolSerialNumber":""#).raw(operation.tool_serial);
    t.raw(r#"","partSerialNumber":""#)
        .raw(m.program())
        .raw("-")
        .int(m.part_count)
        .raw(r#"","spindleSpeed":{"set":"#);
    match flaw {
        Some(Flaw::BadNumber) => t.raw(r#""n.a.""#),
        _ => t.fixed(operation.speed, 1),
    };
    t.raw(r#","actual":"#).fixed(m.speed, 1).raw(r#"},"feed":{"set":"#).fixed(operation.feed, 3);
    t.raw(r#","actual":"#).fixed(m.feed, 3).raw(r#"},"cutDepth":{"set":"#).fixed(operation.depth, 3);
    t.raw(r#","actual":"#).fixed(operation.depth + random.noise(40), 3).raw(r#"},"features":"#);
    if flaw == Some(Flaw::WrongType) {
        t.raw("true");
    } else {
        let mut separator = r#"[{"name":""#;
        for (name, value) in [
            ("spindle_load_mean", m.load * 100),
            ("spindle_load_rms", m.load * 103 + random.within(0..100)),
            ("spindle_load_max", m.load * 121 + random.within(0..900)),
            ("spindle_temperature_mean", m.temperature),
            ("vibration_x_rms", m.load * 2 + random.within(10..60)),
            ("vibration_y_rms", m.load + random.within(10..60)),
        ] {
            t.raw(separator).raw(name).raw(r#"","value":"#).fixed(value, 3);
            separator = r#"},{"name":""#;
        }
        t.raw("}]");
    }
    t.raw(r#","model":{"id":"feed-adaption","version":"2.1.0"},"action":{"name":"feed-override","value":"#);
    t.int((m.feed_override + random.noise(8)).clamp(50, 120)).raw(r#","applied":"#);
    t.raw(if m.phase == Phase::Cutting { "true" } else { "false" }).raw("}");
    match random.below(8) {
        0 => t.raw(r#","label":"#).fixed(random.within(350..1_900), 3),
        1 => t.raw(r#","label":""#).raw(random.pick(&["ok", "ok", "ok", "rework", "scrap"])).raw("\""),
        2 => t.raw(r#","operator":""#).raw(m.operator()).raw("\""),
        _ => t,
    };
    t.raw("}");
}

/// What a network message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PubSub {
    /// The fields that changed.
    Delta,
    /// One monitored item, in the older form of OPC Publisher.
    Sample,
    /// Nothing but a sign of life; gives no row.
    KeepAlive,
    /// The description of a data set; gives no row.
    MetaData,
}

impl PubSub {
    pub(super) fn any(random: &mut Random) -> Self {
        match random.below(40) {
            0 => Self::KeepAlive,
            1 if random.one_in(4) => Self::MetaData,
            2..8 => Self::Sample,
            _ => Self::Delta,
        }
    }
}

/// One network message: about 750 bytes with five fields.
pub(super) fn pubsub(
    out: &mut Vec<u8>,
    m: &mut Machine,
    kind: PubSub,
    flaw: Option<Flaw>,
    random: &mut Random,
) {
    m.sequence += 1;
    let ns = m.sampled_ns(60_000, random);
    let mut text = Text(out);
    let t = &mut text;
    if kind == PubSub::Sample {
        t.raw(r#"{"NodeId":"nsu=http://opcfoundation.org/UA/MachineTool/;s=Monitoring.Spindle.Load","EndpointUrl":"#);
        t.raw(r#""opc.tcp://"#).raw(&m.id).raw(r#":4840/","DisplayName":"SpindleLoad","Value":{"Value":"#);
        t.fixed(m.load, 1).raw(r#","SourceTimestamp":""#).time(ns, 7, 0).raw(r#""}}"#);
        return;
    }
    t.raw(r#"{"MessageId":""#).int(m.sequence);
    if flaw == Some(Flaw::NoRows) {
        t.raw(r#"","MessageType":"ua-data","PublisherId":"opc.tcp://"#).raw(&m.id).raw(r#":4840"}"#);
        return;
    }
    if kind == PubSub::MetaData {
        t.raw(r#"","MessageType":"ua-metadata","PublisherId":"opc.tcp://"#).raw(&m.id);
        t.raw(
            r#":4840","DataSetWriterId":1,"MetaData":{"Name":"Monitoring","Fields":[{"Name":"SpindleSpeed","#,
        );
        t.raw(r#""BuiltInType":11},{"Name":"Feed","BuiltInType":11},{"Name":"IsActive","BuiltInType":1}],"#);
        t.raw(r#""ConfigurationVersion":{"MajorVersion":1,"MinorVersion":0}}}"#);
        return;
    }
    t.raw(r#"","MessageType":"ua-data","PublisherId":"opc.tcp://"#).raw(&m.id);
    t.raw(r#":4840","Messages":[{"DataSetWriterId":1,"DataSetWriterName":"Monitoring","SequenceNumber":"#);
    match flaw {
        Some(Flaw::WrongType) => t.raw("true"),
        Some(Flaw::OutOfRange) => t.raw("18446744073709551615"),
        _ => t.int(m.sequence),
    };
    t.raw(r#","MetaDataVersion":{"MajorVersion":1,"MinorVersion":0},"MessageType":""#);
    t.raw(if kind == PubSub::KeepAlive { "ua-keepalive" } else { "ua-deltaframe" }).raw(r#"","Timestamp":""#);
    t.time(ns, 7, 0);
    if kind == PubSub::KeepAlive {
        t.raw(r#""}]}"#);
        return;
    }
    t.raw(r#"","Payload":{"SpindleSpeed":{"Value":"#).fixed(m.speed, 1);
    match flaw {
        Some(Flaw::BadTime) => _ = t.raw(r#","SourceTimestamp":"12:55:21"}"#),
        _ => source_time(t, ns - 1_900_000),
    }
    t.raw(r#","Feed":{"Value":"#).fixed(m.feed, 3);
    source_time(t, ns - 1_700_000);
    t.raw(r#","IsActive":{"Value":"#).raw(if m.phase == Phase::Cutting { "true" } else { "false" });
    source_time(t, ns - 1_500_000);
    t.raw(r#","ActiveTool":{"Value":""#).raw(m.operation().tool).raw("\"");
    source_time(t, ns - 1_400_000);
    if random.one_in(50) {
        t.raw(r#","SpindleTemperature":{"StatusCode":{"Symbol":"BadNoCommunication","Code":2150694912}"#);
    } else {
        t.raw(r#","SpindleTemperature":{"Value":"#).fixed(m.temperature / 10, 2);
    }
    source_time(t, ns - 900_000);
    t.raw("}}]}");
}

fn source_time(t: &mut Text<'_>, ns: i64) {
    t.raw(r#","SourceTimestamp":""#).time(ns, 7, 0).raw(r#""}"#);
}
