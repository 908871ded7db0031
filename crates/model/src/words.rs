//! The project's nouns, as types. See docs/adr/0001 for the list and for why there are no synonyms.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::iso3166;

/// Where a record was collected: an ISO 3166-1 alpha-2 code. A fact, never a decision.
///
/// `HK`, `MO` and `TW` have codes of their own and are distinct from `CN`.
///
/// ```
/// use situs_model::Jurisdiction;
/// assert_eq!("DE".parse::<Jurisdiction>().unwrap().as_str(), "DE");
/// assert!("de".parse::<Jurisdiction>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jurisdiction([u8; 2]);

impl Jurisdiction {
    /// The two capital letters.
    pub fn as_str(&self) -> &str {
        // Only ASCII letters are ever stored, so this cannot fail.
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for Jurisdiction {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text.as_bytes() {
            &[a, b] if iso3166::ALPHA2.binary_search(&text).is_ok() => Ok(Self([a, b])),
            _ => Err(InvalidWord {
                expected: "an ISO 3166-1 alpha-2 code in capitals, such as `CN` or `DE`",
                found: clip(text),
            }),
        }
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is not one of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct InvalidWord {
    /// What would have been right.
    pub expected: &'static str,
    /// What was there, cut to a length fit for a message.
    pub found: String,
}

impl InvalidWord {
    /// Says what was expected in place of `found`, which is cut to a length fit for a message.
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: clip(found) }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Declares a name: shared text with a fixed alphabet.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidWord;

            fn from_str(text: &str) -> Result<Self, InvalidWord> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidWord { expected: $expected, found: clip(text) })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

/// A part of a jurisdiction: a code of the form of ISO 3166-2, such as `CN-GX`. Only its form and its
/// jurisdiction are checked, not whether the list has it, which changes several times a year.
///
/// Subdivisions that have a code of their own in ISO 3166-1 are no part of another jurisdiction here:
/// `CN-HK` is refused, since `HK` is not `CN`.
///
/// ```
/// use situs_model::Subdivision;
/// assert_eq!("CN-GX".parse::<Subdivision>().unwrap().jurisdiction().as_str(), "CN");
/// assert!("CN-HK".parse::<Subdivision>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subdivision(Arc<str>, Jurisdiction);

impl Subdivision {
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The jurisdiction that it is a part of.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.1
    }
}

impl FromStr for Subdivision {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let invalid = || InvalidWord::new("an ISO 3166-2 code such as `CN-GX` or `DE-BW`", text);
        let (country, part) = text.split_once('-').ok_or_else(invalid)?;
        let jurisdiction: Jurisdiction = country.parse().map_err(|_| invalid())?;
        let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !(1..=3).contains(&part.len()) || !part.bytes().all(capital) {
            return Err(invalid());
        }
        if iso3166::has_own_code(country, part) {
            return Err(InvalidWord::new(
                "a subdivision without a code of its own in ISO 3166-1 (`HK` is a jurisdiction, not a part of `CN`)",
                text,
            ));
        }
        Ok(Self(text.into(), jurisdiction))
    }
}

impl fmt::Display for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case letters, digits and `separator`, beginning with a letter.
fn is_slug(text: &str, separator: char) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == separator)
}

name!(
    /// A named set of jurisdictions whose records share one store, such as `CN` or `EU`.
    ZoneId,
    "a zone name of 1 to 16 capital letters, digits or `_`, beginning with a letter",
    |text| {
        (1..=16).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    }
);

impl ZoneId {
    /// The zone's name in SQL and in directory names: lower case.
    pub fn schema_name(&self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

name!(
    /// A plant or line in one jurisdiction, such as `nanning-1`.
    SiteId,
    "a site name of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// A production line of a site, such as `line-3`.
    LineId,
    "a line name of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// Topics, schema, scenario and classification under one name, such as `cnc-state`.
    PipelineName,
    "a pipeline name of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// A table of a store, such as `cnc_state`.
    TableName,
    "a table name of lower-case letters, digits or `_`, beginning with a letter",
    // A pipeline's table may have the ending of received rows on top.
    |text| is_slug(text.strip_suffix(RECEIVED).unwrap_or(text), '_')
);

/// Ends the names of tables of received rows.
const RECEIVED: &str = "_received";

impl TableName {
    /// The table that a pipeline fills in each zone.
    pub fn of(pipeline: &PipelineName) -> Self {
        Self(pipeline.as_str().replace('-', "_").into())
    }

    /// Quarantine, in the home zone's store.
    pub fn quarantine() -> Self {
        Self("quarantine".into())
    }

    /// The receipts, in the home zone's store.
    pub fn receipts() -> Self {
        Self("receipts".into())
    }

    /// The ledger of releases from quarantine, in the home zone's store.
    pub fn releases() -> Self {
        Self("releases".into())
    }

    /// The ledger of what was done with a store's rows, in the store of each zone.
    pub fn ledger() -> Self {
        Self("ledger".into())
    }

    /// The table that takes the rows of a pipeline that came from another zone by a transfer.
    pub fn received(pipeline: &PipelineName) -> Self {
        Self(format!("{}{RECEIVED}", Self::of(pipeline)).into())
    }

    /// Whether its rows came from other zones by transfers.
    pub fn is_received(&self) -> bool {
        self.as_str().ends_with(RECEIVED)
    }

    /// Whether only the home zone's store has this table.
    pub fn is_of_home(&self) -> bool {
        matches!(self.as_str(), "quarantine" | "receipts" | "releases")
    }

    /// Whether Situs keeps this table itself, so that no pipeline may be named like it.
    pub fn is_reserved(&self) -> bool {
        Self::reserved().contains(self) || self.is_received()
    }

    /// The tables that Situs keeps itself, whatever pipelines there are.
    pub fn reserved() -> [Self; 4] {
        [Self::quarantine(), Self::receipts(), Self::releases(), Self::ledger()]
    }
}

name!(
    /// The id of a rule of the policy.
    RuleId,
    "a rule id of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// The id of a registered model.
    ModelId,
    "a model id of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// The id of a transfer that the policy defines, such as `wear-study`.
    TransferName,
    "a transfer's id of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// Somebody or something that reads tables, such as `ana` or `wear-trainer`.
    ReaderId,
    "a reader's name of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// What a reader does, such as `data-science`.
    RoleId,
    "a role of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// Whom a reader belongs to, such as `plant-stuttgart`.
    OrganisationId,
    "an organisation of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// What tables are read for, such as `training`.
    PurposeId,
    "a purpose of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

name!(
    /// The alias of a Kafka cluster in this home's configuration.
    ClusterName,
    "a cluster name of lower-case letters, digits or `-`, beginning with a letter",
    |text| is_slug(text, '-')
);

/// The version of a policy, of a schema or of a pipeline's definition: the first 16 hexadecimal digits of
/// the SHA-256 of its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentVersion(Arc<str>);

impl ContentVersion {
    /// The version of this content.
    pub fn of(content: &[u8]) -> Self {
        Self(sha256_hex(content)[..16].into())
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentVersion {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        if text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidWord { expected: "a version of 16 hexadecimal digits", found: clip(text) })
        }
    }
}

impl fmt::Display for ContentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Declares a closed set of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Every word with its value, for readers of configuration.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];

            /// The value of a word; `None` if it is none of them.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
            }

            /// The word as it stands in configuration, tables and metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What the telemetry is used for.
    Scenario {
        /// Looking after machines from afar.
        RemoteMaintenance = "remote-maintenance",
        /// Making a process better from its data.
        ProcessOptimization = "process-optimization",
        /// Calibrating and tracking augmented-reality devices.
        ArCalibration = "ar-calibration",
    }
}

words! {
    /// How sensitive a record is. The order is by strictness: the last is the strictest.
    Class {
        /// Nothing special.
        General = "general",
        /// Important data: leaves its zone only with a valid reference.
        Important = "important",
        /// Core data: never leaves its zone.
        Core = "core",
        /// Nobody has said; treated as the strictest.
        Unclassified = "unclassified",
    }
}

words! {
    /// What kind of thing a field tells. The order is by strictness: the first is the strictest.
    FieldClass {
        /// A person, such as an operator's name.
        Personal = "personal",
        /// Know-how, such as program text.
        TradeSecret = "trade-secret",
        /// Which asset it is, such as a serial number.
        AssetIdentity = "asset-identity",
        /// The process itself.
        Process = "process",
    }
}

impl FieldClass {
    /// Whether values of it must not be stored as they come, everywhere or outside of the plant's zone.
    pub fn is_guarded(self) -> bool {
        matches!(self, Self::Personal | Self::TradeSecret)
    }
}

words! {
    /// Whether models may learn from a record. The order is from the strictest to the freest.
    Training {
        /// No model may learn from it.
        Prohibited = "prohibited",
        /// Only inside the record's zone.
        InZone = "in-zone",
        /// Outside the zone with an approved transfer.
        WithApproval = "with-approval",
        /// Anywhere.
        Allowed = "allowed",
    }
}

words! {
    /// What a rule rests on.
    BasisKind {
        /// A law or regulation.
        Law = "law",
        /// A contract with the buyer.
        Contract = "contract",
        /// Voluntary practice.
        Voluntary = "voluntary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_no_jurisdictions() {
        // Cyrillic capital Es, full-width letters, lower case, padding, a reserved code, a zone.
        for text in ["\u{421}N", "\u{ff23}\u{ff2e}", "cn", "CN ", " CN", "UK", "EU", "", "CHN"] {
            assert!(text.parse::<Jurisdiction>().is_err(), "{text:?}");
        }
        for text in ["CN", "HK", "MO", "TW", "NO", "DE"] {
            assert_eq!(text.parse::<Jurisdiction>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn subdivisions_are_parts_of_their_jurisdiction() {
        for text in ["CN-GX", "DE-BW", "NO-03", "GB-ENG", "US-CA"] {
            let found = text.parse::<Subdivision>().unwrap();
            assert_eq!((found.as_str(), found.jurisdiction().as_str()), (text, &text[..2]));
        }
        let no_form =
            ["", "CN", "CN-", "CN-gx", "cn-GX", "XX-1", "CN-GXXX", "CN_GX", "CN-G X", "\u{421}N-GX"];
        let own_codes = ["CN-HK", "CN-MO", "CN-TW", "US-PR", "FR-RE", "NL-AW", "FI-01", "NO-21"];
        for text in no_form.into_iter().chain(own_codes) {
            assert!(text.parse::<Subdivision>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_have_alphabets() {
        assert!("cnc-state".parse::<PipelineName>().is_ok());
        for text in ["", "Cnc", "1a", "a_b", "a/b", "..", "a b"] {
            assert!(text.parse::<PipelineName>().is_err(), "{text:?}");
        }
        assert!("EU".parse::<ZoneId>().is_ok());
        for text in ["", "eu", "E-U", "../EU"] {
            assert!(text.parse::<ZoneId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn unclassified_is_the_strictest() {
        assert!(Class::WORDS.iter().all(|(_, class)| *class <= Class::Unclassified));
    }
}
