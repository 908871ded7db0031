//! Every text that the simulation writes names the place where it may lie. Afterwards every byte below every
//! root is searched for texts of other places, in the files as they are and in what Parquet files hold.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Begins each text.
const MARK: &[u8] = b"canary/";

/// A text that may lie at a place only.
pub(crate) fn token(place: &str, partition: i32, offset: i64) -> String {
    format!("canary/{place}/{partition}/{offset}")
}

/// Texts below a root that may not lie there, and how many there are in all.
pub(crate) fn search(root: &Path, allowed: &[&str]) -> (Vec<String>, u64) {
    let mut search = Search { allowed, strays: Vec::new(), tokens: 0 };
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { search.file(&entry) }
        }
    }
    (search.strays, search.tokens)
}

struct Search<'a> {
    allowed: &'a [&'a str],
    strays: Vec<String>,
    tokens: u64,
}

impl Search<'_> {
    fn file(&mut self, path: &PathBuf) {
        self.bytes(path, &fs::read(path).unwrap());
        // One that was cut off has no footer, and its pages were searched as they are.
        let Ok(reader) = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()) else { return };
        for batch in reader.build().unwrap() {
            batch.unwrap().columns().iter().for_each(|column| self.column(path, column));
        }
    }

    fn column(&mut self, path: &Path, column: &ArrayRef) {
        match column.data_type() {
            DataType::Utf8 => {
                column.as_string::<i32>().iter().flatten().for_each(|text| self.bytes(path, text.as_bytes()));
            }
            DataType::Binary => {
                column.as_binary::<i32>().iter().flatten().for_each(|bytes| self.bytes(path, bytes));
            }
            DataType::Dictionary(..) => self.column(path, column.as_dictionary::<Int32Type>().values()),
            DataType::List(_) => self.column(path, column.as_list::<i32>().values()),
            DataType::Struct(_) => column.as_struct().columns().iter().for_each(|c| self.column(path, c)),
            DataType::Map(..) => {
                column.as_map().entries().columns().iter().for_each(|c| self.column(path, c));
            }
            other => assert!(!may_hold_text(other), "{} has a column of {other}", path.display()),
        }
    }

    fn bytes(&mut self, path: &Path, bytes: &[u8]) {
        let starts = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
        for (at, _) in starts {
            let rest = &bytes[at + MARK.len()..];
            let place = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            self.tokens += 1;
            if !self.allowed.iter().any(|allowed| allowed.as_bytes() == place) {
                let place = String::from_utf8_lossy(&place[..place.len().min(20)]).into_owned();
                self.strays.push(format!("{} holds a text of {place}", path.display()));
            }
        }
    }
}

/// Whether values of a type may hold a text; those that are searched are asked for before.
fn may_hold_text(kind: &DataType) -> bool {
    !(kind.is_numeric() || kind.is_temporal() || matches!(kind, DataType::Boolean | DataType::Null))
}

#[test]
fn a_text_of_another_place_is_found_in_clear_and_within_parquet() {
    use std::sync::Arc;

    use arrow_array::{RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::{EnabledStatistics, WriterProperties};

    let dir = tempfile::tempdir().unwrap();
    let within = dir.path().join("table/_delta_log");
    fs::create_dir_all(&within).unwrap();
    fs::write(within.join("0.json"), format!("x{}y", token("CN", 0, 1))).unwrap();
    assert_eq!(search(dir.path(), &["CN"]), (Vec::new(), 1));
    assert_eq!(search(dir.path(), &["EU"]).0.len(), 1);

    let text = token("EU", 3, 7).repeat(50);
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let batch = RecordBatch::try_from_iter([("word", column)]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()))
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = File::create(dir.path().join("table/a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(search(dir.path(), &["CN"]).0.len() >= 50);
    assert_eq!(search(dir.path(), &["CN", "EU"]).0, Vec::<String>::new());
}
