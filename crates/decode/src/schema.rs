//! A schema, compiled.

use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use situs_model::doc::Diagnostics;
use situs_model::{ContentVersion, DeviceSource, FieldClass};

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    version: ContentVersion,
    arrow: SchemaRef,
    device: Option<String>,
    claims: Vec<String>,
    columns: Vec<ColumnInfo>,
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

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// Every problem in the text, with its place.
    pub fn parse(file: &str, text: &str, device: &DeviceSource) -> Result<Self, Diagnostics> {
        let _ = (file, device);
        Ok(Self {
            version: ContentVersion::of(text.as_bytes()),
            arrow: Arc::new(arrow_schema::Schema::empty()),
            device: None,
            claims: Vec::new(),
            columns: Vec::new(),
        })
    }

    /// The version of the text.
    pub fn version(&self) -> &ContentVersion {
        &self.version
    }

    /// The schema of [`DecodedBatch::rows`](situs_model::DecodedBatch::rows).
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

    /// The payload's columns.
    pub fn columns(&self) -> &[ColumnInfo] {
        &self.columns
    }
}
