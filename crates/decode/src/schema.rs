//! Schemas, and how they are compiled.

mod columns;
mod field;
mod object;
mod rows;
#[cfg(test)]
mod tests;
mod tree;
mod unread;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, SchemaRef};
use situs_model::columns::{
    CLASS_BY_METADATA, CLASS_ELSE_METADATA, DROPPED_METADATA, PSEUDONYM_METADATA, dictionary_type,
    identity_fields, names, time_fields,
};
use situs_model::doc::{Diagnostics, Document, Node};
use situs_model::{ClassBy, ContentVersion, DeviceSource, FieldClass};

use crate::plan::{Alternative, Outcome, Program, Target};

pub use situs_model::columns::{CLASS_METADATA, UNIT_METADATA};

/// Name of the column for a device id that comes with the message's key or a header.
const DEVICE: &str = "device";

/// A compiled schema (docs/schemas.md). Immutable, and shared by all decoders of a pipeline.
///
/// ```
/// use situs_decode::Schema;
/// use situs_model::DeviceSource;
/// let text = r#"{
///   "type": "object",
///   "properties": {
///     "device": { "type": "string", "x-situs": { "role": "device", "arrow": "dictionary" } },
///     "load": { "type": "number", "x-situs": { "unit": "PERCENT" } }
///   }
/// }"#;
/// let schema = Schema::parse("v1.json", text, &DeviceSource::Payload).unwrap();
/// assert_eq!(schema.device_column(), Some("device"));
/// assert_eq!(schema.columns()[1].unit.as_deref(), Some("PERCENT"));
/// ```
#[derive(Debug)]
pub struct Schema {
    version: ContentVersion,
    arrow: SchemaRef,
    device: Option<String>,
    claims: Vec<String>,
    columns: Vec<ColumnInfo>,
    pub(crate) program: Program,
}

/// What is known of a payload column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub data_type: DataType,
    /// The unit of its values, as MTConnect or UCUM write it.
    pub unit: Option<String>,
    /// What kind of thing it tells, and what becomes of it.
    pub classes: Classes,
}

/// The classes of a column's values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    /// The class, unless `by` says otherwise.
    pub class: Option<FieldClass>,
    /// By which column it varies.
    pub by: Option<ClassBy>,
    /// Whether personal values become pseudonyms; else they are dropped.
    pub pseudonym: bool,
}

impl Classes {
    /// The same class for all values.
    pub fn of(class: FieldClass) -> Self {
        Self { class: Some(class), ..Self::default() }
    }

    /// The strictest class that a value may have.
    pub fn strictest(&self) -> Option<FieldClass> {
        self.by.as_ref().and_then(ClassBy::strictest).into_iter().chain(self.class).min()
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let class = self.strictest().map(|class| (CLASS_METADATA, class.to_string()));
        let by = self.by.as_ref().map(|by| (CLASS_BY_METADATA, by.to_text()));
        let otherwise = self.class.filter(|_| by.is_some());
        let otherwise = otherwise.map(|class| (CLASS_ELSE_METADATA, class.to_string()));
        let pseudonym = self.pseudonym.then(|| (PSEUDONYM_METADATA, "true".to_owned()));
        let all = class.into_iter().chain(by).chain(otherwise).chain(pseudonym);
        all.map(|(key, value)| (key.to_owned(), value))
    }
}

impl ColumnInfo {
    fn field(&self) -> Field {
        let unit = self.unit.iter().map(|unit| (UNIT_METADATA.to_owned(), unit.clone()));
        let metadata = unit.chain(self.classes.metadata()).collect();
        Field::new(&self.name, self.data_type.clone(), true).with_metadata(metadata)
    }
}

/// What is found out about a schema while its plans are compiled.
struct Compiler<'d> {
    doc: &'d Document,
    root: &'d Node,
    columns: columns::Columns<'d>,
    /// The pointers of everything whose entries lie on a way to rows, `*` for any entry.
    containers: BTreeSet<Vec<String>>,
    /// Columns with the role `device`, and where that is said.
    devices: Vec<(String, &'d Node)>,
    claims: Vec<String>,
    /// Columns that would hold nothing but personal values, which are dropped, and where that is said.
    dropped: Vec<(String, &'d Node)>,
    /// Columns by which classes vary, and where that is said.
    deciding: Vec<(String, &'d Node)>,
    /// Whether unknown fields are kept in `_extra`, and the class of it.
    keep_unknown: bool,
    extra_class: Option<FieldClass>,
    /// Classes that `rows` gives to what a container holds: its pointer, where that is said, and the class.
    row_classes: Vec<(Vec<String>, &'d Node, FieldClass)>,
}

impl Schema {
    /// Compiles a schema. `device` says where the pipeline takes the device id from; for the key and
    /// for a header a dictionary column `device` is added.
    ///
    /// # Errors
    /// Every problem in the text, with its place.
    pub fn parse(file: &str, text: &str, device: &DeviceSource) -> Result<Self, Diagnostics> {
        let doc = Document::parse_json(file, text);
        let schema = doc.root().and_then(|root| Self::compile(&doc, root, text, device));
        doc.finish(schema)
    }

    fn compile(doc: &Document, root: &Node, text: &str, device: &DeviceSource) -> Option<Self> {
        let options = rows::Options::read(doc, root)?;
        let mut compiler = Compiler {
            doc,
            root,
            columns: columns::Columns::new(doc),
            containers: options.alternatives.iter().flat_map(rows::RowsAt::containers).collect(),
            devices: Vec::new(),
            claims: Vec::new(),
            dropped: Vec::new(),
            deciding: Vec::new(),
            keep_unknown: options.keep_unknown,
            extra_class: options.extra_class,
            row_classes: options.alternatives.iter().flat_map(rows::RowsAt::classes).collect(),
        };
        let mut alternatives = Vec::new();
        for rows in &options.alternatives {
            let outcome = match &rows.none {
                Some(word) => Outcome::None(Arc::from(word.as_str())),
                None => Outcome::Rows(Box::new(compiler.plan(rows).unwrap_or_default())),
            };
            alternatives.push(Alternative { condition: rows.condition.clone(), outcome });
        }

        let device_column = compiler.device_column();
        let outside_device = match device {
            DeviceSource::Payload => None,
            DeviceSource::Key | DeviceSource::Header(_) => compiler.outside_device(device),
        };
        compiler.check_classes();
        let mut dropped: Vec<String> = compiler.dropped.into_iter().map(|(name, _)| name).collect();
        dropped.sort();
        dropped.dedup();
        let (infos, targets) = compiler.columns.finish();
        let claims = compiler.claims;
        for alternative in &mut alternatives {
            if let Outcome::Rows(plan) = &mut alternative.outcome {
                plan.empty = rows::empty(plan, &targets, outside_device);
            }
        }

        let mut fields: Vec<Field> = infos.iter().map(ColumnInfo::field).collect();
        if options.keep_unknown {
            let classes = Classes { class: options.extra_class, ..Classes::default() };
            let extra = Field::new(names::EXTRA, DataType::Utf8, true);
            fields.push(extra.with_metadata(classes.metadata().collect()));
        }
        fields.extend(identity_fields());
        fields.extend(time_fields(options.nanoseconds));
        Some(Self {
            version: ContentVersion::of(text.as_bytes()),
            arrow: Arc::new(arrow_schema::Schema::new_with_metadata(
                fields,
                (!dropped.is_empty())
                    .then(|| (DROPPED_METADATA.to_owned(), dropped.join(",")))
                    .into_iter()
                    .collect(),
            )),
            device: if outside_device.is_some() { Some(DEVICE.to_owned()) } else { device_column },
            claims,
            columns: infos,
            program: Program {
                alternatives,
                batch: options.batch,
                max_rows: options.max_rows,
                max_depth: options.max_depth,
                keep_unknown: options.keep_unknown,
                nanoseconds: options.nanoseconds,
                columns: targets,
                device: device.clone(),
                outside_device,
            },
        })
    }

    /// The version of the text.
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// The schema of [`DecodedBatch::rows`](situs_model::DecodedBatch::rows): the payload's columns,
    /// `_extra` if unknown fields are kept,
    /// [`identity_fields`], [`time_fields`]. Fields carry [`UNIT_METADATA`], [`CLASS_METADATA`] and what
    /// [`Masks`](situs_model::Masks) are made by.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The column that holds the device id.
    pub fn device_column(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// The columns in which the payload says something of its own origin.
    pub fn claim_columns(&self) -> &[String] {
        &self.claims
    }

    /// The payload's columns in the order of the Arrow schema, without `_extra`.
    pub fn columns(&self) -> &[ColumnInfo] {
        &self.columns
    }
}

impl<'d> Compiler<'d> {
    /// What classes say of columns other than their own.
    fn check_classes(&self) {
        for name in self.devices.iter().map(|(name, _)| name).chain(&self.claims) {
            let class = self.columns.info(name).and_then(|info| info.classes.strictest());
            if let (Some(class), Some(place)) = (class.filter(|c| c.is_guarded()), self.columns.place(name)) {
                self.doc.report(
                    place,
                    format!(
                        "the column `{name}` has the role `device` or `claim` and is `{class}` by another field: what is decided by it must be seen in what is stored"
                    ),
                );
            }
        }
        for (name, node) in &self.dropped {
            if let Some(place) = self.columns.place(name) {
                self.doc.report(
                    node,
                    format!(
                        "the column `{name}` is `personal` and dropped here, and filled in line {}",
                        place.line
                    ),
                );
            }
        }
        for (name, node) in &self.deciding {
            match self.columns.info(name) {
                None => self.doc.report_word(
                    node,
                    format!("there is no column `{name}` to tell classes by"),
                    name,
                    self.columns.names(),
                ),
                Some(info) if ![DataType::Utf8, dictionary_type()].contains(&info.data_type) => {
                    self.doc.report(node, format!("classes are told by a column of text; `{name}` is none"));
                }
                Some(info) if info.classes.strictest().is_some_and(FieldClass::is_guarded) => {
                    self.doc.report(
                        node,
                        format!("`{name}` is not stored as it comes, so classes cannot be told by it"),
                    )
                }
                Some(_) => {}
            }
        }
    }

    /// The one column with the role `device`.
    fn device_column(&mut self) -> Option<String> {
        let (first, _) = self.devices.first()?.clone();
        for (name, node) in &self.devices {
            if *name != first {
                self.doc.report(
                    node,
                    format!("the device id already has the column `{first}`; fields with this role share one column"),
                );
            }
        }
        Some(first)
    }

    /// Adds the column for a device id that comes with the key or a header.
    fn outside_device(&mut self, device: &DeviceSource) -> Option<usize> {
        let source = match device {
            DeviceSource::Header(_) => "a header",
            _ => "the message's key",
        };
        if let Some(place) = self.columns.place(DEVICE) {
            self.doc.report(
                place,
                format!("the column `{DEVICE}` is taken: the pipeline fills it from {source}; give this one another name"),
            );
            return None;
        }
        let classes = Classes::of(FieldClass::AssetIdentity);
        let target = self.columns.declare(self.root, DEVICE, columns::Type::Dictionary, None, &classes)?;
        debug_assert_eq!(columns::Type::Dictionary.data_type(), dictionary_type());
        match target {
            Target::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }
}
