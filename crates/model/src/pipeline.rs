//! The definition of a pipeline: `pipelines/<name>/pipeline.yaml`.

use std::sync::Arc;

use crate::clock::ClockBounds;
use crate::doc::{Diagnostics, Document};
use crate::words::{Class, ContentVersion, PipelineName, Scenario, TableName};

/// Where the device id of a message comes from, when the payload itself does not carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSource {
    /// A field of the payload, by its role `device` in the schema; none if no field has that role.
    Payload,
    /// The message key.
    Key,
    /// A message header.
    Header(String),
}

/// Topics, schema, scenario and classification of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// What its telemetry is used for.
    pub scenario: Scenario,
    /// The topics that it reads, by exact name.
    pub topics: Vec<Arc<str>>,
    /// The schema's path without ending, relative to `schemas/`, such as `cnc.state/v1`.
    pub schema: String,
    /// The class of its records.
    pub class: Class,
    /// Where the device id comes from.
    pub device: DeviceSource,
    /// Longest payload that is decoded, in bytes; longer ones are rejected as `too-large`.
    pub max_message_bytes: usize,
    /// How far a source's clock may be off before its rows are flagged.
    pub clock: ClockBounds,
    /// Version of the text that it was read from.
    pub version: ContentVersion,
}

/// Longest payload unless the pipeline says otherwise.
pub const DEFAULT_MAX_MESSAGE_BYTES: u64 = 16 << 20;

impl Pipeline {
    /// The table that it fills in each zone.
    pub fn table(&self) -> TableName {
        TableName::of(&self.name)
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// Every problem in it, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let doc = Document::parse(file, text);
        let pipeline = doc.root().and_then(|root| {
            let keys = [
                "name",
                "description",
                "scenario",
                "topics",
                "schema",
                "class",
                "device",
                "max-message-bytes",
                "clock",
            ];
            let map = doc.map(root, "the pipeline", &keys)?;
            let name = map.parsed::<PipelineName>("name");
            if let Some(name) = &name
                && TableName::of(name).is_reserved()
            {
                doc.report(map.required("name")?, format!("the name `{name}` is kept for Situs's own table"));
            }
            let scenario = map.word("scenario", Scenario::WORDS);
            map.required("topics");
            let topics: Vec<Arc<str>> = map
                .optional_strings("topics")
                .into_iter()
                .filter_map(|(node, topic)| {
                    let valid = is_topic_name(&topic);
                    if !valid {
                        doc.report(node, "a topic name has 1 to 249 letters, digits, `.`, `_` or `-`");
                    }
                    valid.then(|| topic.into())
                })
                .collect();
            let schema = map.string("schema");
            if let (Some(schema), Some(node)) = (&schema, map.optional("schema")) {
                let safe = schema.split('/').all(|part| is_topic_name(part) && part != "." && part != "..");
                if !safe {
                    doc.report(node, "`schema` in the pipeline: expected a path below schemas/ such as `cnc.state/v1`");
                }
            }
            let class = map.optional_word("class", Class::WORDS).unwrap_or(Class::Unclassified);
            let device = match map.optional_string("device").as_deref() {
                None | Some("payload") => DeviceSource::Payload,
                Some("key") => DeviceSource::Key,
                Some(text) => match text.strip_prefix("header:") {
                    Some(name) if !name.is_empty() => DeviceSource::Header(name.to_owned()),
                    _ => {
                        doc.report_word(
                            map.required("device")?,
                            format!("`device` in the pipeline: expected `payload`, `key` or `header:NAME`, found `{text}`"),
                            text,
                            ["payload", "key"],
                        );
                        DeviceSource::Payload
                    }
                },
            };
            let max = map.optional_bytes("max-message-bytes").unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
            let clock = map
                .optional("clock")
                .and_then(|node| doc.map(node, "`clock` in the pipeline", &ClockBounds::KEYS))
                .map_or(ClockBounds::DEFAULT, |map| ClockBounds::read(&map));
            Some(Self {
                name: name?,
                scenario: scenario?,
                topics,
                schema: schema?,
                class,
                device,
                max_message_bytes: usize::try_from(max).unwrap_or(usize::MAX),
                clock,
                version: ContentVersion::of(text.as_bytes()),
            })
        });
        doc.finish(pipeline)
    }
}

/// Whether Kafka accepts this as the name of a topic.
pub fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_whole_definition() {
        let text = "name: cnc-state\nscenario: remote-maintenance\ntopics: [cnc.state]\nschema: cnc.state/v1\nclass: general\ndevice: header:device\nmax-message-bytes: 1MiB\n";
        let pipeline = Pipeline::parse("p.yaml", text).unwrap();
        assert_eq!(pipeline.table().as_str(), "cnc_state");
        assert_eq!(pipeline.device, DeviceSource::Header("device".into()));
        assert_eq!(pipeline.max_message_bytes, 1 << 20);
    }

    #[test]
    fn bounds_of_clocks() {
        let parse = |clock: &str| {
            let text = format!("name: p\nscenario: remote-maintenance\ntopics: [t]\nschema: t/v1\n{clock}");
            Pipeline::parse("p.yaml", &text).map(|pipeline| pipeline.clock)
        };
        let (minutes, days) = (Some(Duration::from_secs(300)), Some(Duration::from_secs(30 * 86_400)));
        for (text, ahead, behind) in [
            ("", minutes, None),
            ("clock: { behind: 30d }", minutes, days),
            ("clock: { ahead: off }", None, None),
            ("clock: { ahead: 250ms, behind: off }", Some(Duration::from_millis(250)), None),
        ] {
            assert_eq!(parse(text).unwrap(), ClockBounds { ahead, behind }, "{text}");
        }
        let problems = parse("clock: { ahed: 1m, behind: never }").unwrap_err().to_string();
        assert!(problems.contains("p.yaml:5:10") && problems.contains("did you mean `ahead`?"), "{problems}");
        assert!(
            problems.contains("p.yaml:5:28") && problems.contains("or `off`, found `never`"),
            "{problems}"
        );
        assert!(parse("clock: { ahead: 0s }").is_err());
        assert!(parse("clock: 5m").is_err());
    }

    #[test]
    fn all_problems_at_once() {
        let text = "name: receipts\nscenario: remote-maintainance\ntopics: [a/b]\nschema: ../x\nclass: importent\ndevise: key\n";
        let problems = Pipeline::parse("p.yaml", text).unwrap_err().to_string();
        let lines: Vec<&str> = problems.lines().collect();
        assert_eq!(lines.len(), 6, "{problems}");
        assert!(lines[1].contains("p.yaml:2:11") && lines[1].contains("did you mean `remote-maintenance`?"));
        assert!(lines[4].contains("did you mean `important`?"));
        assert!(lines[5].contains("did you mean `device`?"));
    }
}
