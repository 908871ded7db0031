//! How many rows of a table have the same tags: what models may learn from, by where it was collected.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ListArray, RecordBatch, StringArray};
use situs_model::TableName;
use situs_model::columns::names::{
    CLASS, EVENT_TIME, JURISDICTION, MARKETS, MODELS, POLICY, SITE, TRAINING, ZONE,
};
use situs_model::store::StoreError;

use crate::error::Fault;
use crate::names;
use crate::reader::StoreReader;
use crate::scan::{self, Rows};

/// The tags of rows that are counted together. Empty text is null.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tags {
    /// `_zone`: where the row must live; the source's in a table of received rows.
    pub zone: String,
    /// `_jurisdiction`: where it was collected.
    pub jurisdiction: String,
    /// `_site`.
    pub site: String,
    /// `_class`.
    pub class: String,
    /// `_training`.
    pub training: String,
    /// `_policy`: the version that judged it.
    pub policy: String,
    /// `_models`, as they stand there.
    pub models: Vec<String>,
    /// `_markets`: where all of these models together were deployed, by that policy.
    pub markets: Vec<String>,
}

/// Rows that have the same tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// Their tags.
    pub tags: Tags,
    /// How many.
    pub rows: u64,
    /// The smallest and the greatest `event_time`, in µs since the epoch; `None` if no row has one.
    pub span_us: Option<(i64, i64)>,
}

/// The rows of a table by their tags.
///
/// # Memory
/// As many entries as there are different tags. They come from policies and their registries and never from a
/// payload, so their number grows with the versions of policies, sites, classes and sets of models, and not with the
/// rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaggedRows {
    /// The version of the table.
    pub version: u64,
    /// The rows, in the order of their tags.
    pub tagged: Vec<Tagged>,
}

impl TaggedRows {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.tagged.iter().map(|tagged| tagged.rows).sum()
    }
}

impl StoreReader {
    /// Counts the rows of a table of a pipeline, or of one of received rows, by their tags. Reads the tags and the
    /// time of every row.
    ///
    /// # Errors
    /// If there is no such table, or its log or one of its files cannot be read.
    pub async fn tagged_rows(&self, table: &TableName) -> Result<TaggedRows, StoreError> {
        self.try_tagged_rows(table).await.map_err(|fault| fault.at(self.identity()))
    }

    async fn try_tagged_rows(&self, table: &TableName) -> Result<TaggedRows, Fault> {
        let snapshot = self.read(table).await?;
        let folder = names::table(self.root(), table);
        tokio::task::spawn_blocking(move || {
            let mut tally = Tally::default();
            let columns = [ZONE, JURISDICTION, SITE, CLASS, TRAINING, POLICY, MODELS, MARKETS, EVENT_TIME];
            scan::survey(
                &folder,
                &snapshot.files,
                &columns,
                |_| true,
                |surveyed, batch| tally.take(surveyed.path, batch),
            )?;
            Ok(tally.finish(snapshot.version))
        })
        .await?
    }
}

/// The columns of a batch that are counted by; a column that a file lacks is null in all its rows.
struct Columns {
    texts: [Option<StringArray>; 6],
    models: Option<Lists>,
    markets: Option<Lists>,
    times: Option<Vec<Option<i64>>>,
}

/// The places of the texts in [`Columns::texts`].
const TEXTS: [&str; 6] = [ZONE, JURISDICTION, SITE, CLASS, TRAINING, POLICY];

/// Lists of texts.
struct Lists {
    lists: ListArray,
    words: StringArray,
}

impl Lists {
    fn of(batch: &RecordBatch, name: &str, path: &Path) -> Result<Option<Self>, Fault> {
        let Some(column) = batch.column_by_name(name) else { return Ok(None) };
        let lists = column.as_list_opt::<i32>();
        let words = lists.and_then(|lists| lists.values().as_string_opt::<i32>());
        // A tag of another type must not be taken for one that says nothing.
        let odd = || Fault::stop(format!("{}: column `{name}` is of another type", path.display()));
        let (lists, words) = lists.zip(words).ok_or_else(odd)?;
        Ok(Some(Self { lists: lists.clone(), words: words.clone() }))
    }

    fn at(&self, row: usize) -> impl Iterator<Item = &str> {
        let ends = self.lists.value_offsets();
        let range = match self.lists.is_valid(row) {
            true => ends[row]..ends[row + 1],
            false => 0..0,
        };
        let places = range.filter_map(|place| usize::try_from(place).ok());
        places.filter_map(|place| scan::text(&self.words, place))
    }
}

impl Columns {
    fn of(path: &Path, batch: &RecordBatch) -> Result<Self, Fault> {
        let rows = Rows::new(path, batch);
        let mut texts = [const { None }; 6];
        for (place, name) in texts.iter_mut().zip(TEXTS) {
            *place = batch.column_by_name(name).map(|_| rows.texts(name)).transpose()?;
        }
        Ok(Self {
            texts,
            models: Lists::of(batch, MODELS, path)?,
            markets: Lists::of(batch, MARKETS, path)?,
            times: batch.column_by_name(EVENT_TIME).map(|_| rows.times(EVENT_TIME)).transpose()?,
        })
    }

    fn text(&self, place: usize, row: usize) -> &str {
        self.texts[place].as_ref().and_then(|texts| scan::text(texts, row)).unwrap_or_default()
    }

    fn models(&self, row: usize) -> impl Iterator<Item = &str> {
        self.models.iter().flat_map(move |lists| lists.at(row))
    }

    fn markets(&self, row: usize) -> impl Iterator<Item = &str> {
        self.markets.iter().flat_map(move |lists| lists.at(row))
    }

    fn hash(&self, row: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        (0..TEXTS.len()).for_each(|place| self.text(place, row).hash(&mut hasher));
        self.models(row).for_each(|word| word.hash(&mut hasher));
        // Between two lists.
        0_u8.hash(&mut hasher);
        self.markets(row).for_each(|word| word.hash(&mut hasher));
        hasher.finish()
    }

    fn tags(&self, row: usize) -> Tags {
        let text = |place| self.text(place, row).to_owned();
        Tags {
            zone: text(0),
            jurisdiction: text(1),
            site: text(2),
            class: text(3),
            training: text(4),
            policy: text(5),
            models: self.models(row).map(str::to_owned).collect(),
            markets: self.markets(row).map(str::to_owned).collect(),
        }
    }

    fn has(&self, row: usize, tags: &Tags) -> bool {
        let Tags { zone, jurisdiction, site, class, training, policy, models, markets } = tags;
        let texts = [zone, jurisdiction, site, class, training, policy];
        (0..TEXTS.len()).all(|place| self.text(place, row) == texts[place])
            && self.models(row).eq(models.iter())
            && self.markets(row).eq(markets.iter())
    }
}

/// Rows that were counted so far.
#[derive(Debug, Default)]
struct Tally {
    tagged: Vec<Tagged>,
    /// Where those of a hash are: a row whose tags are known makes no text of them.
    places: HashMap<u64, Vec<usize>>,
}

impl Tally {
    fn take(&mut self, path: &Path, batch: &RecordBatch) -> Result<(), Fault> {
        let columns = Columns::of(path, batch)?;
        let mut last: Option<usize> = None;
        for row in 0..batch.num_rows() {
            // Rows of a file that follow each other mostly have the same tags.
            let known = last.filter(|place| columns.has(row, &self.tagged[*place].tags));
            let place = known.unwrap_or_else(|| self.place(&columns, row));
            last = Some(place);
            let tagged = &mut self.tagged[place];
            tagged.rows += 1;
            if let Some(time) = columns.times.as_ref().and_then(|times| times[row]) {
                let (first, until) = tagged.span_us.unwrap_or((time, time));
                tagged.span_us = Some((first.min(time), until.max(time)));
            }
        }
        Ok(())
    }

    fn place(&mut self, columns: &Columns, row: usize) -> usize {
        let places = self.places.entry(columns.hash(row)).or_default();
        let known = places.iter().find(|place| columns.has(row, &self.tagged[**place].tags));
        known.copied().unwrap_or_else(|| {
            places.push(self.tagged.len());
            self.tagged.push(Tagged { tags: columns.tags(row), rows: 0, span_us: None });
            self.tagged.len() - 1
        })
    }

    fn finish(self, version: u64) -> TaggedRows {
        let mut tagged = self.tagged;
        tagged.sort_unstable_by(|a, b| a.tags.cmp(&b.tags));
        TaggedRows { version, tagged }
    }
}

#[cfg(test)]
mod tests;
