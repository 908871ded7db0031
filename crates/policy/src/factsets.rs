//! The distinct sets of facts in a batch: where records come from and what they claim.
//!
//! A batch has few of them, however many rows it has. What the registry and the claims say is
//! worked out once for each, and rows refer to them by number.

use std::collections::HashMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, StringArray};
use arrow_schema::DataType;
use situs_model::UndeterminedReason;

use crate::intern::Pairs;
use crate::policy::Site;
use crate::registry::{OnTopic, Origin, Spot};

/// Whether a column of this type can hold device ids and claims.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 => true,
        DataType::Dictionary(key, value) => **key == DataType::Int32 && **value == DataType::Utf8,
        _ => false,
    }
}

/// A column of text, as distinct values and a number per row: 0 is null, otherwise the number of
/// the value plus one.
///
/// The values of a dictionary are taken as they are, so some may be equal or in no row.
struct TextColumn<'a> {
    values: Vec<Option<&'a str>>,
    number_of_row: Vec<u32>,
}

impl<'a> TextColumn<'a> {
    /// `None` if it is not a column of text.
    fn read(column: &'a ArrayRef) -> Option<Self> {
        if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
            let values: Vec<Option<&str>> = dictionary.values().as_string_opt::<i32>()?.iter().collect();
            // Keys of valid rows are never negative.
            let keys = dictionary.keys();
            let number_of_row = match keys.nulls() {
                None => keys.values().iter().map(|key| *key as u32 + 1).collect(),
                Some(_) => keys.iter().map(|key| key.map_or(0, |key| key as u32 + 1)).collect(),
            };
            return Some(Self { values, number_of_row });
        }
        let strings: &StringArray = column.as_string_opt::<i32>()?;
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut values = Vec::new();
        let mut last: Option<(&str, u32)> = None;
        let number = |text: Option<&'a str>| {
            let Some(text) = text else { return 0 };
            match last {
                Some((previous, number)) if previous == text => number,
                _ => {
                    let number = *numbers.entry(text).or_insert_with(|| {
                        values.push(Some(text));
                        values.len() as u32
                    });
                    last = Some((text, number));
                    number
                }
            }
        };
        let number_of_row = strings.iter().map(number).collect();
        Some(Self { values, number_of_row })
    }

    fn value(&self, number: u32) -> Option<&'a str> {
        let index = number.checked_sub(1)?;
        self.values.get(index as usize).copied().flatten()
    }
}

/// A distinct set of facts.
#[derive(Debug)]
pub(crate) struct FactSet {
    /// The site and the line, where the registry names them.
    pub(crate) spot: Option<Spot>,
    /// Why no zone can be given, if that is clear already.
    pub(crate) reason: Option<UndeterminedReason>,
    /// The number of the combination of claims.
    pub(crate) claims: usize,
    /// The period of the policy's calendar; `None` if the record has no time.
    pub(crate) period: Option<usize>,
}

impl FactSet {
    /// The index of the site, where the registry names one.
    pub(crate) fn site(&self) -> Option<usize> {
        Some(self.spot?.site)
    }
}

/// The distinct sets of facts of a batch.
#[derive(Debug)]
pub(crate) struct FactSets {
    pub(crate) sets: Vec<FactSet>,
    /// For each row the index of its set.
    pub(crate) set_of_row: Vec<u32>,
    /// The distinct combinations of claims as one text each; `None` where nothing is claimed.
    pub(crate) claimed: Vec<Option<String>>,
}

impl FactSets {
    /// Reads device ids and claims. `periods` are 0 for rows without a time, otherwise one more than the
    /// period; without it all days are alike. `None` if one of the columns is not text.
    pub(crate) fn read(
        rows: usize,
        device: Option<&ArrayRef>,
        claims: &[ArrayRef],
        periods: Option<&[u32]>,
        registry: &OnTopic<'_>,
    ) -> Option<Self> {
        let origin_of_row = origins(rows, device, registry)?;
        let (claims_of_row, combinations) = combine(rows, claims)?;
        let mut pairs = Pairs::new();
        let set_of_row: Vec<u32> = match &claims_of_row {
            None => origin_of_row.iter().map(|origin| pairs.number(*origin, 0)).collect(),
            Some(claims) => origin_of_row
                .iter()
                .zip(claims)
                .map(|(origin, claims)| pairs.number(*origin, *claims))
                .collect(),
        };
        let set = |(origin, claims): (u32, u32), period: Option<usize>| {
            let claims = claims as usize;
            let (spot, reason) = match decode(origin) {
                Origin::UnknownDevice => (None, Some(UndeterminedReason::UnknownDevice)),
                Origin::ForeignTopic => (None, Some(UndeterminedReason::ForeignTopic)),
                Origin::ForeignCluster => (None, Some(UndeterminedReason::ForeignCluster)),
                Origin::Spot(index) => {
                    let spot = registry.registry.spot(index)?;
                    let site = &registry.sites.get(spot.site)?.site;
                    let agree = combinations.get(claims)?.iter().all(|claim| agrees(site, claim));
                    (Some(spot), (!agree).then_some(UndeterminedReason::ClaimContradictsRegistry))
                }
            };
            Some(FactSet { spot, reason, claims, period })
        };
        let origins = pairs.into_pairs();
        let (sets, set_of_row) = match periods {
            None => (origins.into_iter().map(|pair| set(pair, Some(0))).collect::<Option<_>>()?, set_of_row),
            // Nearly all batches.
            Some(periods) if periods.iter().all(|period| *period == periods[0]) => {
                let period = periods.first().and_then(|period| (*period as usize).checked_sub(1));
                (origins.into_iter().map(|pair| set(pair, period)).collect::<Option<_>>()?, set_of_row)
            }
            Some(periods) => {
                let mut dated = Pairs::new();
                let of_row: Vec<u32> =
                    set_of_row.iter().zip(periods).map(|(set, period)| dated.number(*set, *period)).collect();
                let one = |(origin, period): (u32, u32)| {
                    set(*origins.get(origin as usize)?, (period as usize).checked_sub(1))
                };
                (dated.into_pairs().into_iter().map(one).collect::<Option<_>>()?, of_row)
            }
        };
        Some(Self {
            sets,
            set_of_row,
            claimed: combinations.iter().map(|texts| (!texts.is_empty()).then(|| texts.join(","))).collect(),
        })
    }
}

/// Whether a claim names the jurisdiction or the site that the registry knows, byte for byte.
fn agrees(site: &Site, claim: &str) -> bool {
    claim == site.jurisdiction.as_str() || claim == site.id.as_str()
}

/// [`Origin`] as a small number.
fn encode(origin: Origin) -> u32 {
    match origin {
        Origin::UnknownDevice => 0,
        Origin::ForeignTopic => 1,
        Origin::ForeignCluster => 2,
        Origin::Spot(index) => index + 3,
    }
}

fn decode(number: u32) -> Origin {
    match number {
        0 => Origin::UnknownDevice,
        1 => Origin::ForeignTopic,
        2 => Origin::ForeignCluster,
        spot => Origin::Spot(spot - 3),
    }
}

/// The origin of each row, looked up once per distinct device id.
fn origins(rows: usize, device: Option<&ArrayRef>, registry: &OnTopic<'_>) -> Option<Vec<u32>> {
    let unregistered = encode(registry.unregistered);
    let Some(device) = device else {
        return Some(vec![unregistered; rows]);
    };
    if let Some(dictionary) = device.as_dictionary_opt::<Int32Type>() {
        let values = dictionary.values().as_string_opt::<i32>()?;
        let keys = dictionary.keys();
        // A dictionary may hold values of other batches too: where these are many, only those of rows are
        // looked up.
        if values.len() <= rows {
            // All in one go, so that the look-ups need not wait for each other.
            let mut origins = Vec::with_capacity(values.len());
            registry.origins(values.iter(), |origin| origins.push(encode(origin)));
            let origin = |key: &i32| origins.get(*key as usize).copied();
            return match keys.nulls() {
                None => keys.values().iter().map(origin).collect(),
                Some(_) => {
                    keys.iter().map(|key| key.map_or(Some(unregistered), |key| origin(&key))).collect()
                }
            };
        }
    }
    let column = TextColumn::read(device)?;
    let mut used: Vec<u32> = column.number_of_row.clone();
    used.sort_unstable();
    used.dedup();
    let mut origins = vec![unregistered; column.values.len() + 1];
    let mut numbers = used.iter();
    registry.origins(used.iter().map(|number| column.value(*number)), |origin| {
        if let Some(place) = numbers.next().and_then(|number| origins.get_mut(*number as usize)) {
            *place = encode(origin);
        }
    });
    column.number_of_row.iter().map(|number| origins.get(*number as usize).copied()).collect()
}

/// For each row the number of its combination of claims, and the claims of each combination.
/// Without claim columns there is one combination, the empty one.
type Combinations<'a> = (Option<Vec<u32>>, Vec<Vec<&'a str>>);

fn combine(rows: usize, claims: &[ArrayRef]) -> Option<Combinations<'_>> {
    let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
    let mut of_row: Option<Vec<u32>> = None;
    for claim in claims {
        let column = TextColumn::read(claim)?;
        let before = of_row.take().unwrap_or_else(|| vec![0; rows]);
        let mut pairs = Pairs::new();
        let numbers = before.iter().zip(&column.number_of_row).map(|(a, b)| pairs.number(*a, *b)).collect();
        let extend = |(before, number): (u32, u32)| {
            let mut texts = combinations.get(before as usize)?.clone();
            texts.extend(column.value(number));
            Some(texts)
        };
        let extended = pairs.into_pairs().into_iter().map(extend).collect::<Option<_>>()?;
        combinations = extended;
        of_row = Some(numbers);
    }
    Some((of_row, combinations))
}
