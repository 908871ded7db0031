//! How arrow-json and simd-json are told to read the same messages.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::Value;

/// UTC, as arrow-json knows it without the time zone database.
const UTC: &str = "+00:00";

/// The Arrow schema by which arrow-json reads messages of a Situs schema: the same fields in the same
/// types. It has no dictionaries, leaves blocks row-major and entries of `rows` in lists; what a schema
/// describes by patterns of keys, or keeps as JSON text, it skips. Numbers that may also be text become text.
///
/// # Errors
/// If the text is not JSON.
pub(crate) fn arrow_schema(text: &str) -> anyhow::Result<SchemaRef> {
    let root: Value = serde_json::from_str(text).context("the schema is not JSON")?;
    let fine = root["x-situs"]["event-time-ns"] == true;
    let fields = fields(&root, &root, fine)?;
    Ok(Arc::new(Schema::new(fields)))
}

fn fields(root: &Value, node: &Value, fine: bool) -> anyhow::Result<Vec<Field>> {
    let mut fields = Vec::new();
    for (name, node) in node["properties"].as_object().into_iter().flatten() {
        if let Some(data_type) = data_type(root, node, fine)? {
            fields.push(Field::new(name, data_type, true));
        }
    }
    Ok(fields)
}

/// The type of a field, `None` to skip it.
fn data_type(root: &Value, node: &Value, fine: bool) -> anyhow::Result<Option<DataType>> {
    if let Some(target) = node["$ref"].as_str() {
        let pointer = target.strip_prefix('#').with_context(|| format!("`$ref` to {target}"))?;
        let target = root.pointer(pointer).with_context(|| format!("`$ref` to {target}"))?;
        return data_type(root, target, fine);
    }
    let notes = &node["x-situs"];
    let mut types: Vec<&str> = match &node["type"] {
        Value::String(word) => vec![word.as_str()],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    types.retain(|word| *word != "null");
    if let Some(format) = notes["time"][0].as_str().or(notes["time"].as_str()) {
        let text = types.contains(&"string") && !format.starts_with("epoch");
        return Ok(Some(match format {
            _ if text && fine => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            _ if text => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            "epoch-s" => DataType::Timestamp(TimeUnit::Second, None),
            "epoch-ms" => DataType::Timestamp(TimeUnit::Millisecond, None),
            "epoch-us" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "epoch-ns" => DataType::Timestamp(TimeUnit::Nanosecond, None),
            _ => DataType::Utf8,
        }));
    }
    let list = |element: DataType| DataType::List(Arc::new(Field::new("element", element, true)));
    if notes.get("value").is_some() || notes.get("or-value").is_some() {
        return Ok(Some(DataType::Utf8));
    }
    match notes["arrow"].as_str() {
        Some("float64") => return Ok(Some(DataType::Float64)),
        Some("int64") => return Ok(Some(DataType::Int64)),
        Some("int32") => return Ok(Some(DataType::Int32)),
        Some("boolean") => return Ok(Some(DataType::Boolean)),
        Some("utf8" | "dictionary") => return Ok(Some(DataType::Utf8)),
        Some("list<float64>") => return Ok(Some(list(DataType::Float64))),
        Some("list<utf8>") => return Ok(Some(list(DataType::Utf8))),
        Some("json") => return Ok(None),
        Some(other) => bail!("unknown Arrow type `{other}`"),
        None => {}
    }
    Ok(match types.as_slice() {
        ["number"] | ["number", "integer"] | ["integer", "number"] => Some(DataType::Float64),
        ["integer"] => Some(DataType::Int64),
        ["boolean"] => Some(DataType::Boolean),
        ["object"] => {
            let fields = fields(root, node, fine)?;
            if fields.is_empty() { None } else { Some(DataType::Struct(fields.into())) }
        }
        ["array"] => data_type(root, &node["items"], fine)?.map(list),
        words if words.contains(&"string") => Some(DataType::Utf8),
        _ => None,
    })
}

/// A bare simd-json that fills its tape and builds nothing.
pub(crate) struct Tape {
    buffers: simd_json::Buffers,
    scratch: Vec<u8>,
    tape: simd_json::Tape<'static>,
}

impl Tape {
    pub(crate) fn new() -> Self {
        Self {
            buffers: simd_json::Buffers::new(4096),
            scratch: Vec::new(),
            tape: simd_json::Tape(Vec::new()),
        }
    }

    /// Fills the tape with a message; gives the number of its nodes.
    ///
    /// # Errors
    /// If simd-json refuses the message.
    pub(crate) fn fill(&mut self, message: &[u8]) -> anyhow::Result<usize> {
        // simd-json unescapes in place, so it needs a copy.
        self.scratch.clear();
        self.scratch.extend_from_slice(message);
        self.scratch.extend_from_slice(&[b' '; simd_json::INPUT_PADDING]);
        let mut tape = std::mem::replace(&mut self.tape, simd_json::Tape(Vec::new())).reset();
        simd_json::fill_tape_padded(&mut self.scratch, message.len(), &mut self.buffers, &mut tape)?;
        let nodes = tape.0.len();
        self.tape = tape.reset();
        Ok(nodes)
    }
}
