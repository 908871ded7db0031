//! A column chunk out of pages: what all of the writers here have in common.

use std::cell::RefCell;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, EncodingMask, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;

/// Rows of a page.
pub(super) const ROWS_OF_A_PAGE: usize = 1 << 15;

/// Which values of a page are there, by Dremel's levels.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// For each entry 1 if it goes on with a list, 0 if it begins a row; lists only.
    pub(super) repetition: Vec<u32>,
    /// For each entry how much of it is there; empty as long as all are whole, where there are no lists.
    pub(super) definition: Vec<u32>,
    /// Values, nulls and empty lists.
    pub(super) entries: usize,
}

/// Pages that are done, and what is known of their column.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) column: ColumnDescPtr,
    /// Whether compression pays; `None` until a page shows it.
    pays: Option<bool>,
    pages: Vec<DonePage>,
    /// Bytes of all pages.
    size: usize,
    rows: usize,
    entries: usize,
    pub(super) nulls: usize,
}

#[derive(Debug)]
struct DonePage {
    rows: usize,
    entries: usize,
    encoding: Encoding,
    bytes: Bytes,
    uncompressed: usize,
}

/// The values that indices stand for, in Parquet's plain encoding.
#[derive(Debug)]
pub(super) struct Dictionary {
    pub(super) bytes: Vec<u8>,
    pub(super) values: usize,
}

impl Levels {
    /// Notes for rows that are no lists which of them have a value.
    pub(super) fn note(&mut self, rows: usize, nulls: Option<&arrow_buffer::NullBuffer>) {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None if self.definition.is_empty() => {}
            None => self.definition.resize(self.entries + rows, 1),
            Some(nulls) => {
                self.definition.resize(self.entries, 1);
                self.definition.extend(nulls.iter().map(u32::from));
            }
        }
        self.entries += rows;
    }

    /// Adds an entry of a list.
    pub(super) fn entry(&mut self, repetition: u32, definition: u32) {
        self.repetition.push(repetition);
        self.definition.push(definition);
        self.entries += 1;
    }

    /// Begins anew, with the room that there is.
    pub(super) fn clear(&mut self) {
        self.repetition.clear();
        self.definition.clear();
        self.entries = 0;
    }

    pub(super) fn memory_size(&self) -> usize {
        (self.repetition.capacity() + self.definition.capacity()) * size_of::<u32>()
    }
}

impl Pages {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self { column, pays: None, pages: Vec::new(), size: 0, rows: 0, entries: 0, nulls: 0 }
    }

    /// A dictionary of so many bytes will be written. If it is large, and no page shows yet whether
    /// compression pays, then it pays for the dictionary.
    pub(super) fn expect_dictionary(&mut self, bytes: usize) -> Result<(), ParquetError> {
        if bytes >= LARGE_DICTIONARY && self.pays.is_none() {
            self.compression_pays()?;
        }
        Ok(())
    }

    /// A chunk has one codec, so the small pages that are there are compressed too.
    fn compression_pays(&mut self) -> Result<(), ParquetError> {
        self.pays = Some(true);
        for page in &mut self.pages {
            self.size -= page.bytes.len();
            page.bytes = compress(&page.bytes)?;
            self.size += page.bytes.len();
        }
        Ok(())
    }

    /// Adds a page of so many rows, whose values `put` appends.
    pub(super) fn add(
        &mut self,
        rows: usize,
        levels: &Levels,
        encoding: Encoding,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), ParquetError> {
        let mut bytes = Vec::new();
        if self.column.max_rep_level() > 0 {
            put_levels(&levels.repetition, levels.entries, 1, &mut bytes);
        }
        let whole = self.column.max_def_level();
        if whole > 0 {
            put_levels(&levels.definition, levels.entries, u32::from(whole.unsigned_abs()), &mut bytes);
        }
        put(&mut bytes);
        let uncompressed = bytes.len();
        let bytes = match self.pays {
            Some(true) => compress(&bytes)?,
            // Small pages show nothing.
            None if bytes.len() >= TELLING => {
                let compressed = compress(&bytes)?;
                // A tenth must be saved, or readers would unpack for nothing.
                if compressed.len() < bytes.len() / 10 * 9 {
                    self.compression_pays()?;
                    compressed
                } else {
                    self.pays = Some(false);
                    Bytes::copy_from_slice(&bytes)
                }
            }
            // A copy, since the vector has more room than bytes, and a page stays for a while.
            _ => Bytes::copy_from_slice(&bytes),
        };
        self.size += bytes.len();
        self.rows += rows;
        self.entries += levels.entries;
        self.pages.push(DonePage { rows, entries: levels.entries, encoding, bytes, uncompressed });
        Ok(())
    }

    /// The bytes of all pages.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Ends the column chunk: its bytes, and what the file says of it.
    pub(super) fn finish(
        self,
        dictionary: Option<Dictionary>,
        statistics: Statistics,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let size = self.size() + dictionary.as_ref().map_or(0, |dictionary| dictionary.bytes.len());
        let codec = match self.pays {
            Some(true) => Compression::ZSTD(ZstdLevel::try_new(LEVEL)?),
            _ => Compression::UNCOMPRESSED,
        };
        let mut sink = TrackedWrite::new(Vec::with_capacity(size + self.pages.len() * 64));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut uncompressed, mut dictionary_offset, mut data_offset) = (0, None, None);
        let mut encodings = EncodingMask::new_from_encodings([Encoding::RLE].iter());
        if let Some(Dictionary { bytes, values }) = dictionary {
            let length = bytes.len();
            let page = Page::DictionaryPage {
                buf: if self.pays == Some(true) { compress(&bytes)? } else { bytes.into() },
                num_values: u32::try_from(values).unwrap_or(u32::MAX),
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let spec = writer.write_page(CompressedPage::new(page, length))?;
            dictionary_offset = i64::try_from(spec.offset).ok();
            uncompressed += spec.uncompressed_size;
            encodings.insert(Encoding::PLAIN);
        }
        let mut index = OffsetIndexBuilder::new();
        for page in self.pages {
            encodings.insert(page.encoding);
            let rows = page.rows;
            let data = Page::DataPage {
                buf: page.bytes,
                num_values: u32::try_from(page.entries).unwrap_or(u32::MAX),
                encoding: page.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let spec = writer.write_page(CompressedPage::new(data, page.uncompressed))?;
            let offset = i64::try_from(spec.offset).unwrap_or(i64::MAX);
            data_offset.get_or_insert(offset);
            uncompressed += spec.uncompressed_size;
            index.append_row_count(i64::try_from(rows).unwrap_or(i64::MAX));
            index.append_offset_and_size(offset, i32::try_from(spec.compressed_size).unwrap_or(i32::MAX));
        }
        let bytes = Bytes::from(sink.into_inner()?);
        let metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(codec)
            .set_encodings_mask(encodings)
            .set_total_compressed_size(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .set_total_uncompressed_size(i64::try_from(uncompressed).unwrap_or(i64::MAX))
            .set_num_values(i64::try_from(self.entries).unwrap_or(i64::MAX))
            .set_dictionary_page_offset(dictionary_offset)
            .set_data_page_offset(data_offset.unwrap_or(0))
            .set_statistics(statistics)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(index.build()),
        };
        Ok((bytes, close))
    }
}

/// Appends indices into a dictionary of so many values.
pub(super) fn put_indices(indices: &[u32], values: usize, out: &mut Vec<u8>) {
    let most = u32::try_from(values.saturating_sub(1)).unwrap_or(u32::MAX);
    let width = hybrid::width_of(most);
    out.reserve(indices.len() * width as usize / 8 + 64);
    out.push(width as u8);
    hybrid::encode(indices, width, out);
}

/// Levels of a page, up to `most`, after their length; none means that all are `most`.
fn put_levels(levels: &[u32], entries: usize, most: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let width = hybrid::width_of(most);
    match levels {
        [] => hybrid::put_run(most, entries, width, out),
        levels => hybrid::encode(levels, width, out),
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

pub(super) fn unfit() -> ParquetError {
    ParquetError::General("a column is of another type than its writer".to_owned())
}

/// zstd's level: each one above costs twice the time for a few per cent.
const LEVEL: i32 = 1;
/// A dictionary of so many bytes is a good part of its chunk.
const LARGE_DICTIONARY: usize = 64 << 10;
/// Whether a page of fewer bytes becomes smaller shows nothing.
const TELLING: usize = 512;

thread_local! {
    /// zstd's working memory is about a megabyte, so columns share it, and the room for what it gives; a
    /// page needs them for a moment only.
    static ZSTD: RefCell<Option<(zstd::bulk::Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
}

fn compress(bytes: &[u8]) -> Result<Bytes, ParquetError> {
    let failed = |_| ParquetError::General("zstd failed".to_owned());
    ZSTD.with_borrow_mut(|zstd| {
        let (zstd, room) = match zstd {
            Some(zstd) => zstd,
            none => none.insert((zstd::bulk::Compressor::new(LEVEL).map_err(failed)?, Vec::new())),
        };
        room.clear();
        room.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let count = zstd.compress_to_buffer(bytes, room).map_err(failed)?;
        Ok(Bytes::copy_from_slice(&room[..count]))
    })
}
