//! From the places of values to columns: one column after the other, for all rows of a chunk.

mod lists;
mod read;

use self::read::{AsSent, Double, Int, Long, OutsideDevice, Place, Read, Text, Truth, Value, time};
use super::clock::{Accepts, Clock};
use super::plan::Layout;
use super::scan::{Found, ROWS, Scanner};
use super::simd::{Base, Level, Simd as _, window};
use super::span::{Kind, Span};
use super::{bits, entry};
use crate::builders::Builders;
use crate::columns::Full;
use crate::decoder::read::{Code, add_note, outside_time};
use crate::plan::{self, Leaf, Op, Plan, Target};
use crate::time::{Instant, TimeFormat};

/// A message that is left to the general path, by its row in the chunk.
#[derive(Debug)]
pub(super) struct Odd(pub(super) usize);

/// Rows of the chunk that is worked on.
pub(super) type Rows = std::ops::Range<usize>;
type Cells = [Span; ROWS];
type Done = Result<(), Odd>;

/// Messages whose values were found and whose rows are not made yet.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) found: Found,
    /// The number of rows.
    pub(super) rows: usize,
    /// The rows that are left to the general path.
    pub(super) odd: u64,
    /// The index of each row's message.
    pub(super) messages: [u32; ROWS],
    /// The device id that came with the key or a header.
    pub(super) devices: Cells,
}

/// What rows are made with.
#[derive(Debug)]
pub(super) struct Maker {
    /// For each time of the plan.
    clocks: Vec<Clock>,
    /// For each time of the plan, its value in each row.
    times: Vec<Times>,
    /// What is doubtful about values, in the order of columns.
    notes: Vec<Note>,
    quality: String,
    extra: String,
    pub(super) counts: Counts,
}

/// The times of a field, by row.
#[derive(Debug, Clone)]
struct Times {
    seconds: [i64; ROWS],
    nanoseconds: [u32; ROWS],
    /// The bits of the rows that have one.
    valid: u64,
}

impl Times {
    const NONE: Self = Self { seconds: [0; ROWS], nanoseconds: [0; ROWS], valid: 0 };

    #[inline(always)]
    fn get(&self, row: usize) -> Option<Instant> {
        if self.valid >> row & 1 == 0 {
            return None;
        }
        Instant::new(self.seconds[row & (ROWS - 1)], self.nanoseconds[row & (ROWS - 1)])
    }

    #[inline(always)]
    fn put(&mut self, row: usize, time: Instant) {
        let row = row & (ROWS - 1);
        self.seconds[row] = time.seconds();
        self.nanoseconds[row] = time.subsecond();
        self.valid |= 1 << row;
    }

    /// Microseconds since the epoch; anything where there is no time.
    #[inline(always)]
    fn microseconds(&self, row: usize) -> i64 {
        let row = row & (ROWS - 1);
        self.seconds[row] * 1_000_000 + i64::from(self.nanoseconds[row] / 1000)
    }
}

/// Counts of the rows that were made.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) unknown_fields: u64,
    pub(super) sentinels: u64,
    pub(super) times_from_broker: u64,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    row: u8,
    about: About,
    code: Code,
}

#[derive(Debug, Clone, Copy)]
enum About {
    Leaf(u32),
    Device,
    EventTime,
}

/// What a chunk's rows are made of.
#[derive(Clone, Copy)]
pub(super) struct Given<'g> {
    pub(super) layout: &'g Layout,
    pub(super) plan: &'g Plan,
    pub(super) text: &'g [u8],
    pub(super) chunk: &'g Chunk,
    pub(super) scanner: &'g Scanner,
    /// Where the device id goes if it comes from outside the payload.
    pub(super) outside_device: Option<usize>,
    pub(super) raw: &'g situs_model::RawBatch,
    pub(super) level: Level,
}

impl Given<'_> {
    /// Where the values of a slot stand, if a row has one.
    fn cells(&self, slot: usize) -> Option<&Cells> {
        self.chunk.found.slot(slot)
    }

    /// The text of a span. Spans lie at ASCII characters of text that was checked to be UTF-8, so it
    /// is never refused.
    #[inline]
    fn str(&self, span: Span) -> Option<&str> {
        std::str::from_utf8(self.text.get(span.start()..span.end())?).ok()
    }

    /// Whether a span has up to sixteen bytes, all of them ASCII.
    #[inline(always)]
    fn is_short_ascii(&self, span: Span) -> bool {
        let len = span.end() - span.start();
        let beyond = window(self.text, span.start()).map_or(0xffff, Base::beyond_ascii);
        len <= 16 && beyond & ((1 << len) - 1) == 0
    }

    #[inline(always)]
    fn bytes(&self, span: Span) -> &[u8] {
        &self.text[span.start()..span.end()]
    }
}

impl Maker {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            clocks: (0..plan.times).map(|_| Clock::default()).collect(),
            times: vec![Times::NONE; plan.times],
            notes: Vec::new(),
            quality: String::new(),
            extra: String::new(),
            counts: Counts::default(),
        }
    }

    /// Makes the given rows of a chunk. If a message is one for the general path, all columns are
    /// left uneven and must be cut back.
    #[inline(always)]
    pub(super) fn make(&mut self, given: Given<'_>, builders: &mut Builders, rows: Rows) -> Done {
        self.notes.clear();
        let full = |Full| Odd(rows.start);
        for op in &given.plan.ops {
            let Op::One(leaf) = op else { return Err(Odd(rows.start)) };
            let leaf = &given.plan.leaves[*leaf];
            match given.cells(leaf.slot) {
                Some(cells) => self.leaf(given, builders, leaf, cells, rows.clone())?,
                None => {
                    if let Some((_, number)) = leaf.time {
                        self.times[number].valid = 0;
                    }
                    for target in &leaf.targets {
                        builders.nulls(*target, rows.len());
                    }
                }
            }
        }
        for target in &given.plan.empty {
            builders.nulls(*target, rows.len());
        }
        if let Some(column) = given.outside_device {
            let column = Target::Dictionary(column);
            let cells = &given.chunk.devices;
            self.text::<OutsideDevice>(given, builders, column, None, cells, About::Device, rows.clone())?;
        }
        self.event_times(given, builders, rows.clone())?;
        self.extras(given, builders, rows.clone()).map_err(full)?;
        self.qualities(given, builders, rows.clone()).map_err(full)?;
        for note in &self.notes {
            match note.code {
                Code::ZoneAssumed => {}
                Code::Broker | Code::Ingest => self.counts.times_from_broker += 1,
                _ => self.counts.sentinels += 1,
            }
        }
        let here = |unknown: &&super::scan::Unknown| rows.contains(&usize::from(unknown.row));
        self.counts.unknown_fields += given.chunk.found.unknown.iter().filter(here).count() as u64;
        Ok(())
    }

    fn note(&mut self, row: usize, about: About, code: Code) {
        self.notes.push(Note { row: row as u8, about, code });
    }

    /// Fills the columns of a leaf.
    #[inline(always)]
    fn leaf(
        &mut self,
        given: Given<'_>,
        builders: &mut Builders,
        leaf: &Leaf,
        cells: &Cells,
        rows: Rows,
    ) -> Done {
        let about = About::Leaf(leaf.number as u32);
        match &leaf.kind {
            plan::Kind::Float64(column) => {
                let mut values = [0.0; ROWS];
                let found = entry::doubles(given.level, given.text, &cells[rows.clone()], false, &mut values);
                let valid = self.rest::<Double>(given, leaf, cells, rows.clone(), &mut values, found)?;
                builders.float64[*column].extend(&values[..rows.len()], valid);
            }
            plan::Kind::Int64(column) => {
                let mut values = [0; ROWS];
                let found = entry::integers(given.level, given.text, &cells[rows.clone()], &mut values);
                let valid = self.rest::<Long>(given, leaf, cells, rows.clone(), &mut values, found)?;
                builders.int64[*column].extend(&values[..rows.len()], valid);
            }
            plan::Kind::Int32(column) => {
                let mut values = [0; ROWS];
                let valid = self.rest::<Int>(given, leaf, cells, rows.clone(), &mut values, 0)?;
                builders.int32[*column].extend(&values[..rows.len()], valid);
            }
            plan::Kind::Boolean(column) => {
                let mut values = [false; ROWS];
                let valid = self.rest::<Truth>(given, leaf, cells, rows.clone(), &mut values, 0)?;
                builders.boolean[*column].extend(&values[..rows.len()], valid);
            }
            plan::Kind::Timestamp(column) => {
                let Some((_, number)) = &leaf.time else { return Ok(()) };
                self.read_times(given, leaf, cells, rows.clone())?;
                let times = &self.times[*number];
                let mut values = [0; ROWS];
                for (value, row) in values.iter_mut().zip(rows.clone()) {
                    *value = times.microseconds(row);
                }
                let valid = times.valid >> rows.start & bits::first(rows.len());
                builders.timestamp[*column].extend(&values[..rows.len()], valid);
            }
            plan::Kind::Nothing => self.read_times(given, leaf, cells, rows)?,
            plan::Kind::Text(target) => {
                let target = (*target).into();
                self.text::<Text>(given, builders, target, Some(leaf), cells, about, rows)?;
            }
            plan::Kind::Json(target) => {
                let target = (*target).into();
                self.text::<AsSent>(given, builders, target, Some(leaf), cells, about, rows)?;
            }
            plan::Kind::Numbers(column) => {
                for row in rows {
                    match cells[row].kind() {
                        Kind::List => self.number_list(given, builders, leaf, *column, cells[row], row)?,
                        Kind::Absent => builders.numbers[*column].null().map_err(|Full| Odd(row))?,
                        _ => return Err(Odd(row)),
                    }
                }
            }
            plan::Kind::Texts(column) => {
                for row in rows {
                    match cells[row].kind() {
                        Kind::List => lists::text_list(given, builders, leaf, *column, cells[row], row)?,
                        Kind::Absent => builders.texts[*column].null().map_err(|Full| Odd(row))?,
                        _ => return Err(Odd(row)),
                    }
                }
            }
            plan::Kind::Value(kind) => {
                self.values(given, builders, leaf, kind, cells, rows)?;
            }
            plan::Kind::Pairs(_) => return Err(Odd(rows.start)),
        }
        Ok(())
    }

    /// The values of a column that are not in `found` yet; gives the bits of the rows that have one.
    #[inline(always)]
    fn rest<R: Read>(
        &mut self,
        given: Given<'_>,
        leaf: &Leaf,
        cells: &Cells,
        rows: Rows,
        values: &mut [R::Item; ROWS],
        mut found: u64,
    ) -> Result<u64, Odd> {
        let mut rest = !found & bits::first(rows.len());
        while let Some(i) = bits::next(&mut rest) {
            let row = rows.start + i;
            match R::read(given, Some(leaf), cells[row & (ROWS - 1)]) {
                Value::Some(value) => {
                    values[i & (ROWS - 1)] = value;
                    found |= 1 << i;
                }
                Value::Absent => {}
                Value::Missing(code) => self.note(row, About::Leaf(leaf.number as u32), code),
                Value::Odd => return Err(Odd(row)),
            }
        }
        Ok(found)
    }

    /// Fills a column of text.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one column: where from, where to, how, and its name")]
    fn text<R: Read<Item = Place>>(
        &mut self,
        given: Given<'_>,
        builders: &mut Builders,
        target: Target,
        leaf: Option<&Leaf>,
        cells: &Cells,
        about: About,
        rows: Rows,
    ) -> Done {
        match target {
            Target::Dictionary(column) => {
                let column = &mut builders.dictionary[column];
                let mut keys = [0; ROWS];
                let mut valid = 0;
                if R::IS_TEXT && leaf.is_none_or(|leaf| leaf.sentinels.is_empty()) {
                    let spans = cells[rows.clone()].iter();
                    valid = column.known_keys(given.text, spans.map(|span| span.short_text()), &mut keys);
                }
                let mut rest = !valid & bits::first(rows.len());
                while let Some(i) = bits::next(&mut rest) {
                    let row = rows.start + i;
                    match R::read(given, leaf, cells[row & (ROWS - 1)]) {
                        Value::Some((start, end)) => {
                            keys[i & (ROWS - 1)] =
                                column.key(given.text, start, end).map_err(|Full| Odd(row))?;
                            valid |= 1 << i;
                        }
                        Value::Absent => {}
                        Value::Missing(code) => self.note(row, about, code),
                        Value::Odd => return Err(Odd(row)),
                    }
                }
                column.extend(&keys[..rows.len()], valid);
            }
            Target::Utf8(column) => {
                let column = &mut builders.utf8[column];
                let mut valid = 0_u64;
                for (i, row) in rows.clone().enumerate() {
                    let (start, end) = match R::read(given, leaf, cells[row & (ROWS - 1)]) {
                        Value::Some(place) => {
                            valid |= 1 << i;
                            place
                        }
                        Value::Absent => (0, 0),
                        Value::Missing(code) => {
                            self.note(row, about, code);
                            (0, 0)
                        }
                        Value::Odd => return Err(Odd(row)),
                    };
                    column.put_part(given.text, start, end).map_err(|Full| Odd(row))?;
                }
                column.extend_validity(valid, rows.len());
            }
            _ => return Err(Odd(rows.start)),
        }
        Ok(())
    }

    /// Reads a leaf's times.
    #[inline(always)]
    fn read_times(&mut self, given: Given<'_>, leaf: &Leaf, cells: &Cells, rows: Rows) -> Done {
        let Some((formats, number)) = &leaf.time else { return Ok(()) };
        let accepts = Accepts::of(formats);
        let (clock, times) = (&mut self.clocks[*number], &mut self.times[*number]);
        times.valid = 0;
        let about = About::Leaf(leaf.number as u32);
        let mut rest = bits::first(rows.len());
        let epoch = formats.iter().find(|format| matches!(format, TimeFormat::Epoch(_)));
        if let Some(epoch) = epoch
            && cells[rows.start & (ROWS - 1)].is(Kind::Number)
        {
            let mut values = [0; ROWS];
            let mut found = entry::integers(given.level, given.text, &cells[rows.clone()], &mut values);
            while let Some(i) = bits::next(&mut found) {
                // Out of its range, another format may hold it.
                if let Some(time) = epoch.read_whole(values[i & (ROWS - 1)]) {
                    times.put(rows.start + i, time);
                    rest &= !(1 << i);
                }
            }
        }
        while let Some(i) = bits::next(&mut rest) {
            let row = rows.start + i;
            match time(given, leaf, formats, accepts, clock, cells[row & (ROWS - 1)]) {
                Value::Some((time, assumed)) => {
                    times.put(row, time);
                    if assumed {
                        self.notes.push(Note { row: row as u8, about, code: Code::ZoneAssumed });
                    }
                }
                Value::Absent => {}
                Value::Missing(code) => self.notes.push(Note { row: row as u8, about, code }),
                Value::Odd => return Err(Odd(row)),
            }
        }
        Ok(())
    }

    /// The time of each row: that of the best field that has one, else the broker's.
    fn event_times(&mut self, given: Given<'_>, builders: &mut Builders, rows: Rows) -> Done {
        let leaves = &given.plan.event_times;
        let number = |leaf: usize| given.plan.leaves[leaf].time.as_ref().map(|(_, number)| *number);
        let mut micros = [0; ROWS];
        let mut nanos = [0; ROWS];
        let mut nanos_valid = 0;
        let best = leaves.first().and_then(|(_, leaf)| number(*leaf)).map(|number| &self.times[number]);
        let all = bits::first(rows.len());
        match best {
            Some(times) if times.valid >> rows.start & all == all && builders.event_time_ns.is_none() => {
                for (i, row) in rows.clone().enumerate() {
                    micros[i & (ROWS - 1)] = times.microseconds(row);
                }
            }
            _ => {
                for (i, row) in rows.clone().enumerate() {
                    let read = leaves.iter().find_map(|(_, leaf)| self.times[number(*leaf)?].get(row));
                    let time = match read {
                        Some(time) => time,
                        None => self.outside_time(given, row)?,
                    };
                    micros[i] = time.microseconds();
                    if let Some(time) = time.nanoseconds() {
                        nanos[i] = time;
                        nanos_valid |= 1 << i;
                    }
                }
            }
        }
        if let Some(column) = &mut builders.event_time_ns {
            column.extend(&nanos[..rows.len()], nanos_valid);
        }
        builders.end_rows(&micros[..rows.len()], &given.chunk.messages[rows]);
        Ok(())
    }

    #[cold]
    fn outside_time(&mut self, given: Given<'_>, row: usize) -> Result<Instant, Odd> {
        let broker_ms = given.raw.broker_time_ms(given.chunk.messages[row] as usize);
        let (time, code) = outside_time(broker_ms, given.raw.received_us());
        self.note(row, About::EventTime, code);
        time.ok_or(Odd(row))
    }

    /// Unknown fields, each row's as one JSON object.
    fn extras(&mut self, given: Given<'_>, builders: &mut Builders, rows: Rows) -> Result<(), Full> {
        let Some(column) = &mut builders.extra else { return Ok(()) };
        if given.chunk.found.unknown.is_empty() {
            column.nulls(rows.len());
            return Ok(());
        }
        // They are in the order of rows, and of the text in each row.
        let first =
            given.chunk.found.unknown.partition_point(|unknown| usize::from(unknown.row) < rows.start);
        let mut unknown = given.chunk.found.unknown[first..].iter().peekable();
        for row in rows {
            self.extra.clear();
            while let Some(field) = unknown.next_if(|field| usize::from(field.row) == row) {
                self.extra.push_str(if self.extra.is_empty() { "{\"" } else { ",\"" });
                let (key, shape) = given.scanner.unknown_key(field.node);
                self.extra.push_str(&given.layout.paths[shape]);
                self.extra.push_str(key);
                self.extra.push(':');
                self.extra.push_str(given.str(field.value).unwrap_or("null"));
            }
            if self.extra.is_empty() {
                column.null()?;
            } else {
                self.extra.push('}');
                column.push(&self.extra)?;
            }
        }
        Ok(())
    }

    fn qualities(&mut self, given: Given<'_>, builders: &mut Builders, rows: Rows) -> Result<(), Full> {
        if self.notes.is_empty() {
            builders.quality.nulls(rows.len());
            return Ok(());
        }
        // Stable, so that each row's stay in the order of columns.
        self.notes.sort_by_key(|note| note.row);
        let mut notes = self.notes.iter().peekable();
        for row in rows {
            self.quality.clear();
            while let Some(note) = notes.next_if(|note| usize::from(note.row) == row) {
                let name = match note.about {
                    About::Leaf(leaf) => &given.plan.leaves[leaf as usize].name,
                    About::Device => "device",
                    About::EventTime => "event_time",
                };
                add_note(&mut self.quality, name, note.code);
            }
            if self.quality.is_empty() {
                builders.quality.null();
            } else {
                builders.quality.push(&self.quality)?;
            }
        }
        Ok(())
    }
}
