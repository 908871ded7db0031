//! The columns that a schema names, and their types.

use arrow_schema::DataType;
use situs_model::columns::{dictionary_type, is_reserved, number_list_type, text_list_type, timestamp_type};
use situs_model::doc::{Document, Node};

use super::{Classes, ColumnInfo};
use crate::plan::Target;

/// The types of columns, by the words of `arrow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Utf8,
    Dictionary,
    Float64,
    Int64,
    Int32,
    Boolean,
    Timestamp,
    Numbers,
    Texts,
}

/// A word of `arrow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrow {
    Type(Type),
    /// Any value as JSON text.
    Json,
}

impl Arrow {
    pub(super) const WORDS: &'static [(&'static str, Self)] = &[
        ("utf8", Self::Type(Type::Utf8)),
        ("dictionary", Self::Type(Type::Dictionary)),
        ("float64", Self::Type(Type::Float64)),
        ("int64", Self::Type(Type::Int64)),
        ("int32", Self::Type(Type::Int32)),
        ("boolean", Self::Type(Type::Boolean)),
        ("timestamp", Self::Type(Type::Timestamp)),
        ("list<float64>", Self::Type(Type::Numbers)),
        ("list<utf8>", Self::Type(Type::Texts)),
        ("json", Self::Json),
    ];
}

impl Type {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Utf8 => DataType::Utf8,
            Self::Dictionary => dictionary_type(),
            Self::Float64 => DataType::Float64,
            Self::Int64 => DataType::Int64,
            Self::Int32 => DataType::Int32,
            Self::Boolean => DataType::Boolean,
            Self::Timestamp => timestamp_type(),
            Self::Numbers => number_list_type(),
            Self::Texts => text_list_type(),
        }
    }

    fn word(self) -> &'static str {
        Arrow::WORDS.iter().find(|(_, arrow)| *arrow == Arrow::Type(self)).map_or("", |(word, _)| word)
    }

    fn target(self, index: usize) -> Target {
        match self {
            Self::Utf8 => Target::Utf8(index),
            Self::Dictionary => Target::Dictionary(index),
            Self::Float64 => Target::Float64(index),
            Self::Int64 => Target::Int64(index),
            Self::Int32 => Target::Int32(index),
            Self::Boolean => Target::Boolean(index),
            Self::Timestamp => Target::Timestamp(index),
            Self::Numbers => Target::Numbers(index),
            Self::Texts => Target::Texts(index),
        }
    }
}

struct Declared<'d> {
    info: ColumnInfo,
    kind: Type,
    target: Target,
    node: &'d Node,
}

/// The columns declared so far, in order.
pub(super) struct Columns<'d> {
    doc: &'d Document,
    list: Vec<Declared<'d>>,
}

impl<'d> Columns<'d> {
    pub(super) fn new(doc: &'d Document) -> Self {
        Self { doc, list: Vec::new() }
    }

    /// Declares a column, or the same column once more. `node` is where the schema names it.
    pub(super) fn declare(
        &mut self,
        node: &'d Node,
        name: &str,
        kind: Type,
        unit: Option<&str>,
        classes: &Classes,
    ) -> Option<Target> {
        if is_reserved(name) {
            self.doc
                .report(node, format!("`{name}` is a column that Situs adds; give this one another name"));
            return None;
        }
        if !is_column_name(name) {
            self.doc.report(
                node,
                format!("`{name}` is no name for a column (lower-case letters, digits, `_`, beginning with a letter); give one with `column`"),
            );
            return None;
        }
        if let Some(known) = self.list.iter_mut().find(|known| known.info.name == name) {
            if known.kind != kind {
                self.doc.report(
                    node,
                    format!(
                        "the column `{name}` is `{}` here and `{}` in line {}",
                        kind.word(),
                        known.kind.word(),
                        known.node.line
                    ),
                );
            }
            match (&known.info.unit, unit) {
                (None, Some(unit)) => known.info.unit = Some(unit.to_owned()),
                (Some(one), Some(other)) if one != other => {
                    self.doc.report(
                        node,
                        format!(
                            "the column `{name}` has the unit `{other}` here and `{one}` in line {}",
                            known.node.line
                        ),
                    );
                }
                _ => {}
            }
            let line = known.node.line;
            match (&mut known.info.classes, classes) {
                (_, new) if new.is_empty() => {}
                (known, new) if known.is_empty() => *known = new.clone(),
                (Classes { class: Some(one), .. }, Classes { class: Some(other), .. }) if one != other => {
                    self.doc.report(
                        node,
                        format!("the column `{name}` is `{other}` here and `{one}` in line {line}"),
                    );
                }
                (known, new) if known != new => self.doc.report(
                    node,
                    format!(
                        "the column `{name}` has other classes, or another `personal`, than in line {line}"
                    ),
                ),
                _ => {}
            }
            return Some(known.target);
        }
        let target = kind.target(self.list.iter().filter(|known| known.kind == kind).count());
        let info = ColumnInfo {
            name: name.to_owned(),
            data_type: kind.data_type(),
            unit: unit.map(str::to_owned),
            classes: classes.clone(),
        };
        self.list.push(Declared { info, kind, target, node });
        Some(target)
    }

    /// Where a column was first named.
    pub(super) fn place(&self, name: &str) -> Option<&'d Node> {
        self.list.iter().find(|known| known.info.name == name).map(|known| known.node)
    }

    /// What is known of a column.
    pub(super) fn info(&self, name: &str) -> Option<&ColumnInfo> {
        self.list.iter().find(|known| known.info.name == name).map(|known| &known.info)
    }

    /// The names of all columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|known| known.info.name.as_str())
    }

    /// The position of a column in the order of the schema.
    pub(super) fn position(&self, target: Target) -> usize {
        self.list.iter().position(|known| known.target == target).unwrap_or(usize::MAX)
    }

    /// The name of a column.
    pub(super) fn name(&self, target: Target) -> &str {
        self.list.iter().find(|known| known.target == target).map_or("", |known| &known.info.name)
    }

    pub(super) fn finish(self) -> (Vec<ColumnInfo>, Vec<Target>) {
        self.list.into_iter().map(|known| (known.info, known.target)).unzip()
    }
}

/// Whether a column may be named so.
pub(super) fn is_column_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
