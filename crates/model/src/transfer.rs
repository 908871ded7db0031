//! Transfers: what the policy says may go from one zone to another, and the one decision whether it goes
//! (docs/transfers.md).

use std::fmt::{self, Write as _};

use crate::date::Date;
use crate::permit::StoreIdentity;
use crate::words::{Class, FieldClass, PipelineName, Training, TransferName, ZoneId, sha256_hex, words};

words! {
    /// What a transfer is for.
    TransferUse {
        /// Models learn from it, so only rows go that may be learned from outside of their zone.
        Training = "training",
        /// Anything else.
        Operation = "operation",
    }
}

words! {
    /// What a transfer rests on.
    TransferBasis {
        /// A security assessment by an authority.
        SecurityAssessment = "security-assessment",
        /// A standard contract, filed where it must be.
        StandardContract = "standard-contract",
        /// A certification of whoever sends or receives.
        Certification = "certification",
        /// An exemption from those three.
        Exemption = "exemption",
        /// A decision that the other territory protects data well enough.
        AdequacyDecision = "adequacy-decision",
        /// A contract with whom the data is of.
        Contract = "contract",
        /// The consent of whom the data is of.
        Consent = "consent",
    }
}

/// What goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cargo {
    /// Rows of a pipeline's table.
    Rows {
        /// The pipeline.
        pipeline: PipelineName,
        /// The columns of its schema that go, in order; the columns that Situs adds always go along.
        columns: Vec<String>,
        /// The SQL condition on the rows that go; `None` is all of them.
        filter: Option<String>,
        /// How many rows go at most.
        max_rows: u64,
    },
    /// Something that was made of rows, such as an aggregate or a model. No row goes.
    Derived {
        /// The pipelines of whose tables it was made.
        pipelines: Vec<PipelineName>,
    },
}

/// A transfer as the policy defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its id.
    pub id: TransferName,
    /// Where the rows live.
    pub from: ZoneId,
    /// Where they go.
    pub to: ZoneId,
    /// What goes.
    pub cargo: Cargo,
    /// The strictest class that goes: `general` or `important`.
    pub ceiling: Class,
    /// What it is for, in words.
    pub purpose: String,
    /// What it is for.
    pub usage: TransferUse,
    /// Who receives it.
    pub recipient: String,
    /// What it rests on.
    pub basis: TransferBasis,
    /// Which contract, assessment or certificate that is.
    pub reference: Option<String>,
    /// The last day on which it may be carried out (UTC).
    pub until: Option<Date>,
}

impl Transfer {
    /// The parts of the definition by their names in the policy, in the order of the alphabet.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let mut parts = vec![
            ("basis", self.basis.to_string()),
            ("ceiling", self.ceiling.to_string()),
            ("from", self.from.to_string()),
            ("id", self.id.to_string()),
            ("purpose", self.purpose.clone()),
            ("recipient", self.recipient.clone()),
            ("to", self.to.to_string()),
            ("use", self.usage.to_string()),
        ];
        match &self.cargo {
            Cargo::Rows { pipeline, columns, filter, max_rows } => {
                parts.push(("columns", columns.join(",")));
                parts.push(("max-rows", max_rows.to_string()));
                parts.push(("pipeline", pipeline.to_string()));
                parts.extend(filter.as_ref().map(|filter| ("where", filter.clone())));
            }
            Cargo::Derived { pipelines } => {
                let names: Vec<&str> = pipelines.iter().map(PipelineName::as_str).collect();
                parts.push(("derived", "true".to_owned()));
                parts.push(("pipelines", names.join(",")));
            }
        }
        parts.extend(self.reference.as_ref().map(|reference| ("reference", reference.clone())));
        parts.extend(self.until.map(|until| ("until", until.to_string())));
        parts.sort_unstable();
        parts
    }

    /// The SHA-256 of the definition: of a line `name:length:value` for each part, behind the line
    /// `situs-transfer/1`. What is approved is a definition, so one that changes must be approved anew.
    pub fn definition(&self) -> String {
        let mut text = "situs-transfer/1\n".to_owned();
        for (name, value) in self.parts() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}:{}:{value}", value.len());
        }
        sha256_hex(text.as_bytes())
    }

    /// Whether a row of this class and training goes.
    pub fn lets(&self, class: Class, training: Training) -> Result<(), Stays> {
        if class > self.ceiling {
            return Err(Stays::Class);
        }
        if self.usage == TransferUse::Training && training < Training::WithApproval {
            return Err(Stays::Training);
        }
        Ok(())
    }
}

/// Why a row that a transfer asks for stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stays {
    /// Its class is stricter than the ceiling.
    Class,
    /// No model outside of its zone may learn from it.
    Training,
}

/// The class of a field that never goes, if it is one.
pub fn field_stays(class: FieldClass) -> bool {
    matches!(class, FieldClass::Personal | FieldClass::TradeSecret)
}

/// Whether two names are of the same person, as far as names can tell: only letters and digits count, in lower
/// case. Two names that have none are taken for the same.
pub fn same_person(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric() && !is_unseen(*c)).flat_map(char::to_lowercase).collect()
    };
    plain(one) == plain(other)
}

/// Whether a character of a name is one that nobody sees: a control, a format character, a filler or a variation
/// selector. Two names that differ by it look the same.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Somebody who said something of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Who is said to have said it.
    pub by: String,
    /// The SHA-256 of the definition that they saw.
    pub definition: String,
}

/// What the ledger tells of a transfer before it is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who asked for it.
    pub requested: Option<Voice>,
    /// Who approved it.
    pub approved: Option<Voice>,
}

/// Why a transfer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The policy has no transfer of this id (any more).
    #[error("the policy defines no transfer `{0}`")]
    Undefined(String),
    /// Nobody asked for it.
    #[error("nobody has requested it")]
    Unrequested,
    /// Nobody approved it.
    #[error("nobody has approved it")]
    Unapproved,
    /// Whoever asked for it approved it.
    #[error("`{0}` has requested it, and whoever requests cannot approve")]
    SelfApproved(String),
    /// It is not what was requested and approved.
    #[error("the policy defines it otherwise than when it was {said}: request it anew")]
    Changed {
        /// `requested` or `approved`.
        said: &'static str,
    },
    /// Its last day has passed.
    #[error("it ended on {until}, and today is {today}")]
    Expired {
        /// Its last day.
        until: Date,
        /// The day on which it is decided.
        today: Date,
    },
    /// A ceiling that nothing may have.
    #[error("class `{0}` never leaves its zone")]
    Ceiling(Class),
    /// Important data without what it must rest on.
    #[error("class `important` leaves its zone only with a reference and a last day")]
    WithoutReference,
    /// A column that never goes.
    #[error("column `{column}` is of class `{class}`, which never leaves its zone")]
    Column {
        /// Its name.
        column: String,
        /// Its class.
        class: FieldClass,
    },
    /// There is nothing to carry.
    #[error("no row would go, or it was made of no rows")]
    Nothing,
    /// More rows than were approved.
    #[error("{rows} rows would go, and at most {most} may")]
    TooManyRows {
        /// How many there are.
        rows: u64,
        /// How many may go.
        most: u64,
    },
    /// Something was made of rows that are of a stricter class than may go.
    #[error("it was made of tables with rows of class `{highest}`, and the ceiling is `{ceiling}`")]
    MadeOf {
        /// The strictest class of their rows.
        highest: Class,
        /// The strictest that may go.
        ceiling: Class,
    },
    /// Something for training was made of rows that no model outside of their zone may learn from.
    #[error(
        "it was made of tables with rows whose training is `{lowest}`, and goes only if all are `with-approval` or `allowed`"
    )]
    MadeOfTraining {
        /// The least that one of the rows allows.
        lowest: Training,
    },
}

impl Refusal {
    /// A word for it, for programs and ledgers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "undefined",
            Self::Unrequested => "unrequested",
            Self::Unapproved => "unapproved",
            Self::SelfApproved(_) => "self-approved",
            Self::Changed { .. } => "changed",
            Self::Expired { .. } => "expired",
            Self::Ceiling(_) => "ceiling",
            Self::WithoutReference => "without-reference",
            Self::Column { .. } => "column",
            Self::Nothing => "nothing",
            Self::TooManyRows { .. } => "too-many-rows",
            Self::MadeOf { .. } => "made-of",
            Self::MadeOfTraining { .. } => "made-of-training",
        }
    }
}

/// What was measured of what would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measured {
    /// Nothing yet: whether it is worth looking.
    Nothing,
    /// Rows.
    Rows(u64),
    /// The strictest class of the rows that something was made of, and the least that one of them allows
    /// models to learn; `None` if there are no rows.
    MadeOf(Option<(Class, Training)>),
}

/// The right to carry a transfer out, for one source and one target. Only [`decide`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferPermit {
    id: String,
    transfer: Transfer,
    from: StoreIdentity,
    to: StoreIdentity,
    rows: u64,
}

impl TransferPermit {
    /// The id of the transfer: of this one time that it is carried out.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the policy says of it.
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// The store that the rows are of.
    pub fn from(&self) -> &StoreIdentity {
        &self.from
    }

    /// The store that they go to.
    pub fn to(&self) -> &StoreIdentity {
        &self.to
    }

    /// How many rows go, exactly.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Where a transfer goes from and to.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The store that the rows are of.
    pub from: &'a StoreIdentity,
    /// The store that they go to.
    pub to: &'a StoreIdentity,
}

impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// Decides whether a transfer is carried out, before anything of it moves.
///
/// # Errors
/// The first reason against it, in the order in which they stand in [`Refusal`].
pub fn decide(
    id: &str,
    transfer: &Transfer,
    route: Route<'_>,
    standing: &Standing,
    today: Date,
    measured: &Measured,
) -> Result<TransferPermit, Refusal> {
    let definition = transfer.definition();
    let requested = standing.requested.as_ref().ok_or(Refusal::Unrequested)?;
    let approved = standing.approved.as_ref().ok_or(Refusal::Unapproved)?;
    approvable(transfer, requested, &approved.by, today)?;
    if approved.definition != definition {
        return Err(Refusal::Changed { said: "approved" });
    }
    let rows = match (measured, &transfer.cargo) {
        (Measured::Rows(0) | Measured::MadeOf(None), _) => return Err(Refusal::Nothing),
        (Measured::Rows(rows), Cargo::Rows { max_rows, .. }) if rows > max_rows => {
            return Err(Refusal::TooManyRows { rows: *rows, most: *max_rows });
        }
        (Measured::MadeOf(Some((highest, _))), _) if *highest > transfer.ceiling => {
            return Err(Refusal::MadeOf { highest: *highest, ceiling: transfer.ceiling });
        }
        (Measured::MadeOf(Some((_, lowest))), _)
            if transfer.usage == TransferUse::Training && *lowest < Training::WithApproval =>
        {
            return Err(Refusal::MadeOfTraining { lowest: *lowest });
        }
        (Measured::Rows(rows), _) => *rows,
        (Measured::Nothing | Measured::MadeOf(_), _) => 0,
    };
    let (from, to) = (route.from.clone(), route.to.clone());
    Ok(TransferPermit { id: id.to_owned(), transfer: transfer.clone(), from, to, rows })
}

/// Decides whether a request may be approved by this person.
///
/// # Errors
/// The first reason against it.
pub fn approvable(transfer: &Transfer, requested: &Voice, by: &str, today: Date) -> Result<(), Refusal> {
    if same_person(&requested.by, by) {
        return Err(Refusal::SelfApproved(requested.by.clone()));
    }
    if requested.definition != transfer.definition() {
        return Err(Refusal::Changed { said: "requested" });
    }
    requestable(transfer, today)
}

/// Decides whether a transfer may be requested at all: what the policy refuses as an error is refused here
/// once more.
///
/// # Errors
/// The first reason against it.
pub fn requestable(transfer: &Transfer, today: Date) -> Result<(), Refusal> {
    match transfer.ceiling {
        Class::General => {}
        Class::Important if transfer.reference.is_some() && transfer.until.is_some() => {}
        Class::Important => return Err(Refusal::WithoutReference),
        strict @ (Class::Core | Class::Unclassified) => return Err(Refusal::Ceiling(strict)),
    }
    match transfer.until {
        Some(until) if until < today => Err(Refusal::Expired { until, today }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
