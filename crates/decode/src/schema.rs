//! Schemas, and how they are compiled.

mod columns;
mod field;
mod object;
mod rows;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, SchemaRef};
use situs_model::columns::{dictionary_type, identity_fields, names, time_fields};
use situs_model::doc::{Diagnostics, Document, Node};
use situs_model::{ContentVersion, DeviceSource, FieldClass};

use crate::plan::{Alternative, Outcome, Program, Target};

/// Key of a field's metadata in the Arrow schema: its unit.
pub const UNIT_METADATA: &str = "situs.unit";
/// Key of a field's metadata in the Arrow schema: its class, a word of [`FieldClass`].
pub const CLASS_METADATA: &str = situs_model::columns::CLASS_METADATA;

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
    /// What kind of thing it tells.
    pub class: Option<FieldClass>,
}

impl ColumnInfo {
    fn field(&self) -> Field {
        let unit = self.unit.iter().map(|unit| (UNIT_METADATA.to_owned(), unit.clone()));
        let class = self.class.iter().map(|class| (CLASS_METADATA.to_owned(), class.as_str().to_owned()));
        Field::new(&self.name, self.data_type.clone(), true).with_metadata(unit.chain(class).collect())
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
        let (infos, targets) = compiler.columns.finish();
        let claims = compiler.claims;
        for alternative in &mut alternatives {
            if let Outcome::Rows(plan) = &mut alternative.outcome {
                plan.empty = rows::empty(plan, &targets, outside_device);
            }
        }

        let mut fields: Vec<Field> = infos.iter().map(ColumnInfo::field).collect();
        if options.keep_unknown {
            fields.push(Field::new(names::EXTRA, DataType::Utf8, true));
        }
        fields.extend(identity_fields());
        fields.extend(time_fields(options.nanoseconds));
        Some(Self {
            version: ContentVersion::of(text.as_bytes()),
            arrow: Arc::new(arrow_schema::Schema::new(fields)),
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
    /// [`identity_fields`], [`time_fields`]. Fields carry [`UNIT_METADATA`] and [`CLASS_METADATA`].
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
        let class = Some(FieldClass::AssetIdentity);
        let target = self.columns.declare(self.root, DEVICE, columns::Type::Dictionary, None, class)?;
        debug_assert_eq!(columns::Type::Dictionary.data_type(), dictionary_type());
        match target {
            Target::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }
}
