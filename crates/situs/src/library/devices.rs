//! Files of devices, as CSV or as Parquet.

use std::path::Path;

use situs_model::doc::{Diagnostic, Diagnostics, nearest, whole_file};
use situs_policy::DevicesFile;
use situs_query::{TextsError, read_texts};

/// The columns of such a file.
const COLUMNS: [&str; 2] = ["device", "line"];

/// Reads the file `name` below `folder`: CSV, or Parquet if its name says so.
pub(super) fn read(folder: &Path, name: &str) -> Result<DevicesFile, Diagnostics> {
    let path = folder.join(name);
    let wrong = |message: String| Diagnostics(vec![whole_file(name, message)]);
    if !name.ends_with(".parquet") {
        let text =
            std::fs::read_to_string(&path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        return DevicesFile::csv(name, &text);
    }
    let [devices, lines] = read_texts(&path, COLUMNS).map_err(|error| {
        let suggestion = match &error {
            TextsError::Unknown(column) => nearest(column, COLUMNS),
            TextsError::Unreadable(_) | TextsError::NoText { .. } => None,
        };
        Diagnostics(vec![Diagnostic { suggestion, ..whole_file(name, error.to_string()) }])
    })?;
    let devices = devices.ok_or_else(|| wrong("there is no column `device`".to_owned()))?;
    let lines = lines.unwrap_or_else(|| vec![None; devices.len()]);
    // A device that is null is an id of no bytes, which is reported like one.
    Ok(DevicesFile::of_rows(name, devices.into_iter().map(Option::unwrap_or_default).zip(lines)))
}

#[cfg(test)]
mod tests;
