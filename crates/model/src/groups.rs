//! Groups of states whose members are known by day: the European Union and the European Economic Area.
//!
//! A policy names a group with a day, `EEA@2020-02-01`, so that it means the same for ever.
//!
//! # Source
//! Accessions to the Union: the treaties of accession (OJ 1972 L 73, 1979 L 291, 1985 L 302, 1994 C 241,
//! 2003 L 236, 2005 L 157, 2012 L 112); the withdrawal of the United Kingdom: OJ 2020 L 29. The Area: the
//! Agreement on the EEA (OJ 1994 L 1), for Liechtenstein Decision 1/95 of the EEA Council, and the
//! agreements on its enlargement (OJ 2004 L 130, 2007 L 221, 2014 L 170), each from the day on which it was
//! applied, if only provisionally.

use crate::date::Date;
use crate::doc::nearest;
use crate::words::Jurisdiction;

/// A state that entered a group, and the first day on which it was no member any more.
type Member = (&'static str, Date, Option<Date>);

const BEGIN: Date = Date::of(1958, 1, 1);
/// The withdrawal agreement entered into force at the end of 31 January 2020 (Brussels time).
const WITHDRAWAL: Option<Date> = Some(Date::of(2020, 2, 1));
const ENLARGED: Date = Date::of(2004, 5, 1);
const AREA: Date = Date::of(1994, 1, 1);

const UNION: &[Member] = &[
    ("AT", Date::of(1995, 1, 1), None),
    ("BE", BEGIN, None),
    ("BG", Date::of(2007, 1, 1), None),
    ("CY", ENLARGED, None),
    ("CZ", ENLARGED, None),
    ("DE", BEGIN, None),
    ("DK", Date::of(1973, 1, 1), None),
    ("EE", ENLARGED, None),
    ("ES", Date::of(1986, 1, 1), None),
    ("FI", Date::of(1995, 1, 1), None),
    ("FR", BEGIN, None),
    ("GB", Date::of(1973, 1, 1), WITHDRAWAL),
    ("GR", Date::of(1981, 1, 1), None),
    ("HR", Date::of(2013, 7, 1), None),
    ("HU", ENLARGED, None),
    ("IE", Date::of(1973, 1, 1), None),
    ("IT", BEGIN, None),
    ("LT", ENLARGED, None),
    ("LU", BEGIN, None),
    ("LV", ENLARGED, None),
    ("MT", ENLARGED, None),
    ("NL", BEGIN, None),
    ("PL", ENLARGED, None),
    ("PT", Date::of(1986, 1, 1), None),
    ("RO", Date::of(2007, 1, 1), None),
    ("SE", Date::of(1995, 1, 1), None),
    ("SI", ENLARGED, None),
    ("SK", ENLARGED, None),
];

/// Where it differs from the Union: states of EFTA, and members of the Union for which the agreement on
/// the Area was applied later than the treaty of their accession.
const AREA_ONLY: &[Member] = &[
    ("AT", AREA, None),
    ("BG", Date::of(2007, 8, 1), None),
    ("FI", AREA, None),
    ("HR", Date::of(2014, 4, 12), None),
    ("IS", AREA, None),
    ("LI", Date::of(1995, 5, 1), None),
    ("NO", AREA, None),
    ("RO", Date::of(2007, 8, 1), None),
    ("SE", AREA, None),
];

/// Why a text names no group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidGroup {
    /// What is wrong and what was expected.
    pub message: String,
    /// The nearest valid text, where there is one.
    pub suggestion: Option<String>,
}

/// The members of a group on a day, in the order of the alphabet, from a text such as `EU27@2020-02-01`.
///
/// Groups are `EU`, `EU` with the number of its members on that day, and `EEA`. Members are states, by
/// their code. Territories with codes of their own (`AX`, `GF`, `GP`, `MF`, `MQ`, `RE`, `SJ`, `YT` and so
/// on) are not among them, whatever the treaties say of them: name them beside the group.
///
/// ```
/// use situs_model::groups::members;
/// let union = members("EU27@2020-02-01").unwrap();
/// assert_eq!((union.len(), union.iter().any(|state| state.as_str() == "GB")), (27, false));
/// assert_eq!(members("EEA@2020-02-01").unwrap().len(), 30);
/// assert!(members("EU27@2019-01-01").unwrap_err().message.contains("28 members"));
/// ```
///
/// # Errors
/// A name that is no group, a text that is no day, a number of members that is not that of the day, a day
/// before the group's first.
pub fn members(text: &str) -> Result<Vec<Jurisdiction>, InvalidGroup> {
    let wrong = |message: String| InvalidGroup { message, suggestion: None };
    let shown: String = text.chars().take(60).collect();
    let Some((name, date)) = text.split_once('@') else {
        let known = is_name(text);
        return Err(InvalidGroup {
            message: format!("a group needs a day, such as `EEA@2020-02-01`, found `{shown}`"),
            suggestion: known.then(|| format!("{text}@2020-02-01")),
        });
    };
    let count = match name {
        "EU" | "EEA" => None,
        _ => match union_of(name) {
            Some(count) => Some(count),
            None => {
                let suggestion = nearest(name, ["EU", "EU27", "EEA"]).map(|name| format!("{name}@{date}"));
                let message =
                    format!("expected one of the groups `EU`, `EU27` and so on, or `EEA`, found `{shown}`");
                return Err(InvalidGroup { message, suggestion });
            }
        },
    };
    let date: Date = date.parse().map_err(|error| wrong(format!("group `{name}`: {error}")))?;
    let first = if name == "EEA" { AREA } else { BEGIN };
    if date < first {
        return Err(wrong(format!("`{name}` begins on {first}, found `{shown}`")));
    }
    let states = if name == "EEA" { area(date) } else { on(UNION, date).collect() };
    if let Some(count) = count.filter(|count| *count != states.len()) {
        let now = states.len();
        return Err(InvalidGroup {
            message: format!("the EU had {now} members on {date}, not {count}"),
            suggestion: Some(format!("EU{now}@{date}")),
        });
    }
    Ok(states.into_iter().filter_map(|state| state.parse().ok()).collect())
}

/// Whether a text is a group's name, without a day.
pub fn is_name(text: &str) -> bool {
    ["EU", "EEA"].contains(&text) || union_of(text).is_some()
}

/// The number in `EU27`.
fn union_of(name: &str) -> Option<usize> {
    name.strip_prefix("EU").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

fn on(table: &[Member], date: Date) -> impl Iterator<Item = &'static str> {
    let member = move |(_, from, gone): &&Member| *from <= date && gone.is_none_or(|gone| date < gone);
    table.iter().filter(member).map(|(state, ..)| *state)
}

fn area(date: Date) -> Vec<&'static str> {
    let own = |state: &&str| !AREA_ONLY.iter().any(|(other, ..)| other == state);
    let mut states: Vec<&str> = on(UNION, date).filter(own).chain(on(AREA_ONLY, date)).collect();
    states.sort_unstable();
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> String {
        members(text).unwrap().iter().map(Jurisdiction::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_tables_are_sorted_and_hold_jurisdictions() {
        for table in [UNION, AREA_ONLY] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(table.iter().all(|(state, ..)| state.parse::<Jurisdiction>().is_ok()));
        }
    }

    #[test]
    fn members_come_and_go_on_their_days() {
        assert_eq!(codes("EU6@1958-01-01"), "BE DE FR IT LU NL");
        // The number of members, by day, as the Union itself counts them.
        for (day, count) in [
            ("1972-12-31", 6),
            ("1973-01-01", 9),
            ("1981-01-01", 10),
            ("1986-01-01", 12),
            ("1995-01-01", 15),
            ("2004-04-30", 15),
            ("2004-05-01", 25),
            ("2007-01-01", 27),
            ("2013-06-30", 27),
            ("2013-07-01", 28),
            ("2020-01-31", 28),
            ("2020-02-01", 27),
            ("2030-01-01", 27),
        ] {
            assert_eq!(members(&format!("EU{count}@{day}")).unwrap().len(), count, "{day}");
            assert_eq!(members(&format!("EU@{day}")).unwrap().len(), count, "{day}");
        }
        // Twenty-seven twice, and not the same ones.
        assert!(codes("EU27@2010-01-01").contains("GB") && !codes("EU27@2010-01-01").contains("HR"));
    }

    #[test]
    fn the_area_is_the_union_and_three() {
        let union = members("EU27@2020-02-01").unwrap();
        let area = members("EEA@2020-02-01").unwrap();
        let more: Vec<&str> = area.iter().filter(|s| !union.contains(s)).map(Jurisdiction::as_str).collect();
        assert_eq!(more, ["IS", "LI", "NO"]);
        assert!(union.iter().all(|state| area.contains(state)));
        for (day, count) in [
            ("1994-01-01", 17),
            ("1995-04-30", 17),
            ("1995-05-01", 18),
            ("2004-05-01", 28),
            ("2007-07-31", 28),
            ("2007-08-01", 30),
            ("2013-07-01", 30),
            ("2014-04-12", 31),
            ("2020-01-31", 31),
            ("2020-02-01", 30),
        ] {
            assert_eq!(members(&format!("EEA@{day}")).unwrap().len(), count, "{day}");
        }
        for text in ["EEA@2020-02-01", "EU27@2020-02-01"] {
            assert!(["CH", "GB", "HK", "TW", "AX", "SJ"].iter().all(|state| !codes(text).contains(state)));
        }
    }

    #[test]
    fn what_is_no_group() {
        for (text, message, suggestion) in [
            ("EEA", "a group needs a day", Some("EEA@2020-02-01")),
            ("EU27", "a group needs a day", Some("EU27@2020-02-01")),
            ("EAE@2020-02-01", "expected one of the groups", Some("EEA@2020-02-01")),
            ("eu@2020-02-01", "expected one of the groups", Some("EU@2020-02-01")),
            ("EU27@2020-02-30", "expected a day", None),
            ("EU28@2020-02-01", "had 27 members on 2020-02-01, not 28", Some("EU27@2020-02-01")),
            ("EEA@1993-12-31", "begins on 1994-01-01", None),
            ("EU@", "expected a day", None),
        ] {
            let error = members(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert_eq!(error.suggestion.as_deref(), suggestion, "{text}");
        }
    }
}
