//! A mapping with known keys.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Document, Kind, Node};

/// A mapping opened for reading: unknown and repeated keys are already reported.
#[derive(Debug)]
pub struct Map<'d> {
    doc: &'d Document,
    node: &'d Node,
    what: String,
}

impl<'d> Map<'d> {
    pub(super) fn open(doc: &'d Document, node: &'d Node, what: &str, keys: &[&str]) -> Option<Self> {
        if !matches!(node.kind, Kind::Mapping(_)) {
            doc.report(node, format!("{what}: expected a mapping, found {}", node.describe()));
            return None;
        }
        for (key, _) in doc.entries(node, what) {
            let text = key.text().unwrap_or_default();
            if !keys.contains(&text) {
                doc.report_word(
                    key,
                    format!("unknown key `{}` in {what}", key.shown()),
                    text,
                    keys.iter().copied(),
                );
            }
        }
        Some(Self { doc, node, what: what.to_owned() })
    }

    /// The mapping's own node.
    pub fn node(&self) -> &'d Node {
        self.node
    }

    /// The value of `key` if it is there and not null.
    pub fn optional(&self, key: &str) -> Option<&'d Node> {
        self.node.get(key).filter(|value| !value.is_null())
    }

    /// The value of `key`; its absence is reported.
    pub fn required(&self, key: &str) -> Option<&'d Node> {
        let value = self.optional(key);
        if value.is_none() {
            self.doc.report(self.node, format!("{} needs a key `{key}`", self.what));
        }
        value
    }

    fn label(&self, key: &str) -> String {
        format!("`{key}` in {}", self.what)
    }

    /// The required text of `key`.
    pub fn string(&self, key: &str) -> Option<String> {
        self.doc.text(self.required(key)?, &self.label(key)).map(str::to_owned)
    }

    /// The optional text of `key`.
    pub fn optional_string(&self, key: &str) -> Option<String> {
        self.doc.text(self.optional(key)?, &self.label(key)).map(str::to_owned)
    }

    /// A required value that parses.
    pub fn parsed<T>(&self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.doc.parsed(self.required(key)?, &self.label(key))
    }

    /// An optional value that parses.
    pub fn optional_parsed<T>(&self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.doc.parsed(self.optional(key)?, &self.label(key))
    }

    /// A required word out of a fixed set.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.doc.word(self.required(key)?, &self.label(key), words)
    }

    /// An optional word out of a fixed set.
    pub fn optional_word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.doc.word(self.optional(key)?, &self.label(key), words)
    }

    /// An optional `true` or `false`.
    pub fn optional_bool(&self, key: &str) -> Option<bool> {
        self.optional_word(key, &[("true", true), ("false", false)])
    }

    /// An optional whole number within `range`.
    pub fn optional_integer(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let node = self.optional(key)?;
        let text = self.doc.text(node, &self.label(key))?;
        match text.replace('_', "").parse::<u64>() {
            Ok(value) if range.contains(&value) => Some(value),
            _ => {
                self.doc.report(
                    node,
                    format!(
                        "{}: expected a whole number from {} to {}, found `{}`",
                        self.label(key),
                        range.start(),
                        range.end(),
                        node.shown()
                    ),
                );
                None
            }
        }
    }

    /// An optional duration such as `500ms`, `5s`, `2m` or `1h`.
    pub fn optional_duration(&self, key: &str) -> Option<Duration> {
        self.duration(key, "a duration such as `500ms`, `5s`, `2m` or `1h`")
    }

    /// The same, where the word `off` says that there shall be none: `Some(None)`.
    pub fn optional_duration_or_off(&self, key: &str) -> Option<Option<Duration>> {
        if self.optional(key)?.text() == Some("off") {
            return Some(None);
        }
        self.duration(key, "a duration such as `5s`, `2m`, `1h` or `30d`, or `off`").map(Some)
    }

    fn duration(&self, key: &str, what: &str) -> Option<Duration> {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        self.quantity(key, what, &units).map(Duration::from_millis)
    }

    /// An optional size such as `512MiB`; a number alone is bytes.
    pub fn optional_bytes(&self, key: &str) -> Option<u64> {
        let units = [
            ("", 1),
            ("B", 1),
            ("kB", 1_000),
            ("KiB", 1 << 10),
            ("MB", 1_000_000),
            ("MiB", 1 << 20),
            ("GB", 1_000_000_000),
            ("GiB", 1 << 30),
        ];
        self.quantity(key, "a size such as `64KiB`, `512MiB` or `2GiB`", &units)
    }

    fn quantity(&self, key: &str, what: &str, units: &[(&str, u64)]) -> Option<u64> {
        let node = self.optional(key)?;
        let text = self.doc.text(node, &self.label(key))?;
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number = text[..digits].parse::<u64>().ok();
        let unit = text[digits..].trim_start();
        let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        match number.zip(scale).and_then(|(number, scale)| number.checked_mul(scale)) {
            Some(value) if value > 0 => Some(value),
            _ => {
                let suggestion = if scale.is_none() { unit } else { "" };
                self.doc.report_word(
                    node,
                    format!("{}: expected {what}, found `{}`", self.label(key), node.shown()),
                    suggestion,
                    units
                        .iter()
                        .map(|(name, _)| *name)
                        .filter(|name| !name.is_empty() && !suggestion.is_empty()),
                );
                None
            }
        }
    }

    /// An optional list of texts; a single text counts as a list of one.
    pub fn optional_strings(&self, key: &str) -> Vec<(&'d Node, String)> {
        let Some(node) = self.optional(key) else { return Vec::new() };
        let items = match &node.kind {
            Kind::Scalar { .. } => std::slice::from_ref(node),
            _ => self.doc.items(node, &self.label(key)),
        };
        items
            .iter()
            .filter_map(|item| {
                self.doc
                    .text(item, &format!("an entry of {}", self.label(key)))
                    .map(|text| (item, text.to_owned()))
            })
            .collect()
    }
}
