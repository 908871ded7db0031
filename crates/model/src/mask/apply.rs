//! Masking the columns of a batch: a hash is computed once for each distinct value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use arrow_schema::ArrowError;
use arrow_select::nullif::nullif;

use super::key::{Hasher, KeyRing};
use super::{Masked, SECRET_PREFIX};
use crate::columns::names;
use crate::words::{FieldClass, Jurisdiction, ZoneId};

/// Begins what is hashed of a personal value; the column's name and the value follow, a line each.
const PSEUDONYM: &str = "situs-pseudonym/1";
/// The same of a trade secret.
const SECRET: &str = "situs-secret/1";

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays.
    Keep,
    /// It becomes null.
    Drop,
    /// It becomes a code of this number in [`Codes`].
    Hash(u8),
}

/// What becomes of the values of a column.
enum Fates {
    All(Fate),
    Each(Vec<Fate>),
}

/// The ways in which the values of a column are hashed: what goes before the code, and how it is made.
struct Codes<'a> {
    column: &'a str,
    keys: &'a KeyRing,
    list: Vec<(&'static str, Hasher)>,
    numbers: BTreeMap<(&'static str, ZoneId), u8>,
}

pub(super) fn apply(
    masked: &[Masked],
    outside: Option<&BTreeMap<Jurisdiction, ZoneId>>,
    keys: &KeyRing,
    rows: &RecordBatch,
    zone: &ZoneId,
) -> Result<RecordBatch, ArrowError> {
    let mut columns = rows.columns().to_vec();
    // Of each row the plant's zone, if the row has left it. Looked up when a column asks.
    let mut plants: Option<Plants> = None;
    for column in masked {
        let index = rows.schema_ref().index_of(&column.name)?;
        let mut codes = Codes { column: &column.name, keys, list: Vec::new(), numbers: BTreeMap::new() };
        if plants.is_none() && column.has(FieldClass::TradeSecret) {
            plants = Some(Plants::of(rows, outside)?);
        }
        let fates = fates(column, &mut codes, plants.as_ref(), rows, zone)?;
        columns[index] = masked_column(&columns[index], &fates, &codes)?;
    }
    RecordBatch::try_new(rows.schema(), columns)
}

/// The zones of the plants that rows come from, where that is not the zone that they lie in.
struct Plants {
    /// `None` stands for a jurisdiction that is not known, which leaves nothing to hash with.
    zones: Vec<Option<ZoneId>>,
    /// For each row an index into `zones`; `HOME` if it lies in its plant's zone. `None`: all do.
    of_row: Option<Vec<u16>>,
}

const HOME: u16 = u16::MAX;

impl Plants {
    fn of(rows: &RecordBatch, outside: Option<&BTreeMap<Jurisdiction, ZoneId>>) -> Result<Self, ArrowError> {
        let Some(outside) = outside else { return Ok(Self { zones: Vec::new(), of_row: None }) };
        let column = rows.column_by_name(names::JURISDICTION);
        let column = column.and_then(|column| column.as_dictionary_opt::<Int32Type>()).ok_or_else(odd)?;
        let values = column.values().as_string_opt::<i32>().ok_or_else(odd)?;
        let mut zones: Vec<Option<ZoneId>> = vec![None];
        let of_value: Vec<u16> = values
            .iter()
            .map(|value| match value.map(str::parse::<Jurisdiction>) {
                Some(Ok(jurisdiction)) => match outside.get(&jurisdiction) {
                    Some(zone) => {
                        zones.push(Some(zone.clone()));
                        u16::try_from(zones.len() - 1).map_err(|_| odd())
                    }
                    None => Ok(HOME),
                },
                _ => Ok(0),
            })
            .collect::<Result<_, _>>()?;
        let of_row: Vec<u16> = column
            .keys()
            .iter()
            .map(|key| key.and_then(|key| of_value.get(key as usize)).copied().unwrap_or(0))
            .collect();
        let all_home = of_row.iter().all(|plant| *plant == HOME);
        Ok(Self { zones, of_row: (!all_home).then_some(of_row) })
    }
}

impl Codes<'_> {
    fn number(
        &mut self,
        purpose: &'static str,
        prefix: &'static str,
        zone: &ZoneId,
    ) -> Result<Fate, ArrowError> {
        if let Some(number) = self.numbers.get(&(purpose, zone.clone())) {
            return Ok(Fate::Hash(*number));
        }
        let hasher = self.keys.hasher(zone, purpose, self.column).ok_or_else(|| {
            ArrowError::InvalidArgumentError(format!(
                "column `{}` needs the pseudonym key of zone {zone}, which is not configured",
                self.column
            ))
        })?;
        let number = u8::try_from(self.list.len()).map_err(|_| odd())?;
        self.list.push((prefix, hasher));
        self.numbers.insert((purpose, zone.clone()), number);
        Ok(Fate::Hash(number))
    }

    fn write(&self, number: u8, value: &str, out: &mut String) {
        if let Some((prefix, hasher)) = self.list.get(usize::from(number)) {
            out.push_str(prefix);
            hasher.write_digits(value.as_bytes(), out);
        }
    }
}

/// What becomes of each value of a column.
fn fates(
    column: &Masked,
    codes: &mut Codes<'_>,
    plants: Option<&Plants>,
    rows: &RecordBatch,
    zone: &ZoneId,
) -> Result<Fates, ArrowError> {
    let personal = if column.pseudonym && column.has(FieldClass::Personal) {
        codes.number(PSEUDONYM, "", zone)?
    } else {
        Fate::Drop
    };
    // What becomes of a trade secret, by the plant's zone.
    let plant_of_row = plants.and_then(|plants| plants.of_row.as_deref());
    let mut secrets = Vec::new();
    if plant_of_row.is_some() && column.has(FieldClass::TradeSecret) {
        for plant in plants.iter().flat_map(|plants| &plants.zones) {
            secrets.push(match plant {
                Some(plant) if column.text => codes.number(SECRET, SECRET_PREFIX, plant)?,
                _ => Fate::Drop,
            });
        }
    }
    let secret = |row: usize| match plant_of_row.and_then(|plants| plants.get(row)) {
        None | Some(&HOME) => Fate::Keep,
        Some(plant) => secrets.get(usize::from(*plant)).copied().unwrap_or(Fate::Drop),
    };
    let fate = |class: Option<FieldClass>, row: usize| match class {
        Some(FieldClass::Personal) => personal,
        Some(FieldClass::TradeSecret) => secret(row),
        _ => Fate::Keep,
    };
    let count = rows.num_rows();
    let Some(by) = &column.by else {
        let alike = column.class != Some(FieldClass::TradeSecret) || plant_of_row.is_none();
        return Ok(match column.class {
            class if alike => Fates::All(fate(class, 0)),
            class => Fates::Each((0..count).map(|row| fate(class, row)).collect()),
        });
    };
    // Where the column that decides is not there, it is null in every row.
    let words = rows.column_by_name(&by.column);
    let classes = match words {
        Some(words) => Words::of(words)?,
        None => Words::Null,
    };
    let of_word = |word: Option<&str>| match word {
        Some(word) => by.words.get(word).copied().or(column.class),
        None => by.strictest().into_iter().chain(column.class).min(),
    };
    Ok(match classes {
        Words::Null => Fates::Each((0..count).map(|row| fate(of_word(None), row)).collect()),
        Words::Plain(texts) => {
            let class = |row: usize| of_word(texts.is_valid(row).then(|| texts.value(row)));
            Fates::Each((0..count).map(|row| fate(class(row), row)).collect())
        }
        Words::Dictionary(keys, texts) => {
            let of_value: Vec<Option<FieldClass>> = texts.iter().map(of_word).collect();
            let null = of_word(None);
            let class = |row: usize| match keys.is_valid(row) {
                true => of_value.get(keys.value(row) as usize).copied().unwrap_or(null),
                false => null,
            };
            Fates::Each((0..count).map(|row| fate(class(row), row)).collect())
        }
    })
}

/// A column of text.
enum Words<'a> {
    Null,
    Plain(&'a StringArray),
    Dictionary(&'a Int32Array, &'a StringArray),
}

impl<'a> Words<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self, ArrowError> {
        if let Some(texts) = column.as_string_opt::<i32>() {
            return Ok(Self::Plain(texts));
        }
        let words = column.as_dictionary_opt::<Int32Type>().ok_or_else(odd)?;
        Ok(Self::Dictionary(words.keys(), words.values().as_string_opt::<i32>().ok_or_else(odd)?))
    }
}

fn masked_column(column: &ArrayRef, fates: &Fates, codes: &Codes<'_>) -> Result<ArrayRef, ArrowError> {
    match fates {
        Fates::All(Fate::Keep) => return Ok(column.clone()),
        Fates::All(Fate::Drop) => return nulls(column),
        Fates::Each(each) if each.iter().all(|fate| *fate == Fate::Keep) => return Ok(column.clone()),
        Fates::Each(each) if each.iter().all(|fate| *fate == Fate::Drop) => return nulls(column),
        _ => {}
    }
    let fate = |row: usize| match fates {
        Fates::All(fate) => *fate,
        Fates::Each(each) => each.get(row).copied().unwrap_or(Fate::Drop),
    };
    match Words::of(column) {
        Ok(Words::Plain(texts)) => Ok(plain(texts, fate, codes)),
        Ok(Words::Dictionary(keys, texts)) => dictionary(keys, texts, fate, codes),
        // Numbers, times and lists hold no hash.
        _ => {
            let dropped: BooleanArray = (0..column.len()).map(|row| Some(fate(row) != Fate::Keep)).collect();
            nullif(column, &dropped)
        }
    }
}

/// Nulls in the place of a column. Not a value of it is left behind, in a dictionary neither.
fn nulls(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.as_dictionary_opt::<Int32Type>() {
        // The stores' writers take no null among a dictionary's values.
        Some(words) => {
            let keys = Int32Array::new_null(column.len());
            let values = arrow_array::new_empty_array(words.values().data_type());
            Ok(Arc::new(DictionaryArray::try_new(keys, values)?))
        }
        None => Ok(new_null_array(column.data_type(), column.len())),
    }
}

fn plain(texts: &StringArray, fate: impl Fn(usize) -> Fate, codes: &Codes<'_>) -> ArrayRef {
    let mut known: HashMap<(u8, &str), String> = HashMap::new();
    let mut builder = StringBuilder::with_capacity(texts.len(), 0);
    for row in 0..texts.len() {
        match fate(row) {
            _ if texts.is_null(row) => builder.append_null(),
            Fate::Keep => builder.append_value(texts.value(row)),
            Fate::Drop => builder.append_null(),
            Fate::Hash(number) => {
                let value = texts.value(row);
                builder.append_value(known.entry((number, value)).or_insert_with(|| {
                    let mut text = String::new();
                    codes.write(number, value, &mut text);
                    text
                }));
            }
        }
    }
    Arc::new(builder.finish())
}

/// The new dictionary holds what the rows name and nothing else: a value that was masked is gone, and so
/// are those of rows that went to other zones.
fn dictionary(
    keys: &Int32Array,
    texts: &StringArray,
    fate: impl Fn(usize) -> Fate,
    codes: &Codes<'_>,
) -> Result<ArrayRef, ArrowError> {
    /// No number yet.
    const NEW: i32 = -1;
    let ways = codes.list.len() + 1;
    let mut numbers = vec![NEW; texts.len() * ways];
    let mut values = StringBuilder::new();
    let mut next = 0;
    let mut text = String::new();
    let mut new_keys: Vec<Option<i32>> = Vec::with_capacity(keys.len());
    for row in 0..keys.len() {
        let fate = fate(row);
        let at = usize::try_from(keys.value(row)).ok().filter(|at| keys.is_valid(row) && texts.is_valid(*at));
        let (Some(at), Some(way)) = (at, way(fate)) else {
            new_keys.push(None);
            continue;
        };
        let number = &mut numbers[at * ways + way];
        if *number == NEW {
            *number = next;
            next += 1;
            match fate {
                Fate::Hash(code) => {
                    text.clear();
                    codes.write(code, texts.value(at), &mut text);
                    values.append_value(&text);
                }
                _ => values.append_value(texts.value(at)),
            }
        }
        new_keys.push(Some(*number));
    }
    let column = DictionaryArray::<Int32Type>::try_new(new_keys.into(), Arc::new(values.finish()))?;
    Ok(Arc::new(column))
}

/// The number of a way to write a value; `None` for none at all.
fn way(fate: Fate) -> Option<usize> {
    match fate {
        Fate::Keep => Some(0),
        Fate::Drop => None,
        Fate::Hash(number) => Some(usize::from(number) + 1),
    }
}

fn odd() -> ArrowError {
    ArrowError::InvalidArgumentError("a column that classes are told by is of another type".to_owned())
}
