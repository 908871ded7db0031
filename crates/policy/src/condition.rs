//! Conditions: SQL boolean expressions over facts and columns.
//!
//! A condition is parsed when the policy is read ([`Condition::parse`]) and made ready for the
//! columns of one pipeline later ([`Condition::compile`]). DataFusion plans and evaluates it.

mod comparison;
mod compile;
mod sql;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, SchemaRef};
use datafusion_expr::Expr;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_sql::sqlparser::ast::{self, Visit as _, Visitor};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Token;

pub(crate) use compile::{CompileError, Scope};

use crate::policy::Place;
use comparison::Comparison;

/// Longest condition, in bytes.
pub(crate) const MAX_LENGTH: usize = 4096;
/// How deep an expression may nest; a chain of `AND` or `OR` nests once per link.
const MAX_DEPTH: usize = 50;
/// How deep the parser follows brackets. Its frames are large: in a debug build 50 levels, its default,
/// overflow the 2 MiB stack of a thread.
const MAX_BRACKETS: usize = 24;

/// A condition of the policy: parsed, its columns not yet looked up.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) place: Place,
    ast: ast::Expr,
    /// The columns that it names, each once, in order of first mention.
    pub(crate) columns: Vec<String>,
}

/// What is wrong with a condition, for the user.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// The nearest valid word, where a word is wrong.
    pub(crate) suggestion: Option<String>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, suggestion: None }
    }
}

impl Condition {
    /// Whether it is the same expression as another, however both are written.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.ast.to_string() == other.ast.to_string()
    }

    /// Whether it names this column.
    pub(crate) fn names(&self, column: &str) -> bool {
        self.columns.iter().any(|named| named == column)
    }

    /// Parses SQL text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str, place: Place) -> Result<Self, Fault> {
        if text.len() > MAX_LENGTH {
            return Err(format!("a condition may be {MAX_LENGTH} bytes long, found {}", text.len()).into());
        }
        let ast = parse_expression(text).map_err(|error| match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
                format!("not valid SQL: {text}")
            }
            ParserError::RecursionLimitExceeded => "nested too deep".to_owned(),
        })?;
        let mut survey = Survey::default();
        match ast.visit(&mut survey) {
            ControlFlow::Break(fault) => Err(fault),
            ControlFlow::Continue(()) => Ok(Self { place, ast, columns: survey.columns }),
        }
    }
}

/// Goes through a condition before DataFusion does, whose planning follows its depth recursively.
#[derive(Default)]
struct Survey {
    depth: usize,
    columns: Vec<String>,
}

impl Visitor for Survey {
    type Break = Fault;

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = "nested too deep; many `OR` of one column are better written with `IN`";
            return ControlFlow::Break(message.to_owned().into());
        }
        let column = match expression {
            ast::Expr::Identifier(name) => name_of(name),
            ast::Expr::CompoundIdentifier(parts) => {
                let parts: Vec<String> = parts.iter().map(name_of).collect();
                parts.join(".")
            }
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
                let message = "a condition sees one record: subqueries are not allowed";
                return ControlFlow::Break(message.to_owned().into());
            }
            ast::Expr::Function(call) => {
                let name = call.name.to_string().to_lowercase();
                let suggestion = match sql::Language::get().suggest(&name) {
                    Ok(()) => return ControlFlow::Continue(()),
                    Err(suggestion) => suggestion,
                };
                let message = format!("there is no function `{name}` in conditions");
                return ControlFlow::Break(Fault { message, suggestion });
            }
            _ => return ControlFlow::Continue(()),
        };
        if !self.columns.contains(&column) {
            self.columns.push(column);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &ast::Expr) -> ControlFlow<Fault> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn parse_expression(text: &str) -> Result<ast::Expr, ParserError> {
    let mut parser = Parser::new(&GenericDialect {}).with_recursion_limit(MAX_BRACKETS).try_with_sql(text)?;
    let expression = parser.parse_expr()?;
    match parser.peek_token().token {
        Token::EOF => Ok(expression),
        other => Err(ParserError::ParserError(format!("expected the end of the expression, found: {other}"))),
    }
}

/// A column's name: as it stands in double quotes, in lower case otherwise.
fn name_of(name: &ast::Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// What a condition says of a record. SQL's NULL is [`Answer::No`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It does not hold.
    No,
    /// It holds.
    Yes,
    /// It has no answer: a division by zero, a text that is no number.
    Failed,
}

/// A condition made ready for the columns of a pipeline.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// Holds for every record.
    Always,
    /// Holds for no record.
    Never,
    /// Must be asked.
    Ask(Question),
}

/// A condition that must be asked.
#[derive(Debug)]
pub(crate) struct Question {
    expression: Arc<dyn PhysicalExpr>,
    /// The columns that the expression reads.
    schema: SchemaRef,
    /// Their indices in [`PipelineFacts::fields`](crate::PipelineFacts).
    columns: Vec<usize>,
    /// Whether it reads nothing but what is equal in all records of a set of facts.
    only_facts: bool,
    /// What must hold together for it to hold; nothing where facts alone are asked for, or functions called.
    terms: Vec<Term>,
    /// The same as one comparison, where it is no more than that.
    comparison: Option<Comparison>,
}

/// One side of the `AND`s of a condition. Conditions of a policy share many of them.
#[derive(Debug)]
pub(crate) struct Term {
    /// As DataFusion plans it, by which equal ones are found.
    pub(crate) planned: Arc<Expr>,
    pub(crate) question: Arc<Question>,
}

impl Question {
    /// The columns that it reads, as indices into the pipeline's fields.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The columns that it reads, with the types that it takes.
    pub(crate) fn fields(&self) -> Vec<arrow_schema::FieldRef> {
        self.schema.fields().iter().cloned().collect()
    }

    /// Whether it reads nothing but `_topic` and what the registry and the claims say.
    pub(crate) fn only_facts(&self) -> bool {
        self.only_facts
    }

    /// What must hold together for it to hold, if all of these have an answer on a record: one without an
    /// answer may yet not be asked for, since another does not hold.
    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Answers for each of `rows` rows of these columns.
    ///
    /// One record must not decide about others, so where the expression fails on the whole, it is
    /// evaluated on halves until the failing records stand alone.
    pub(crate) fn ask(&self, columns: &[ArrayRef], rows: usize) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(rows);
        self.ask_into(columns, rows, &mut answers);
        answers
    }

    fn ask_into(&self, columns: &[ArrayRef], rows: usize, answers: &mut Vec<Answer>) {
        if rows == 0 {
            return;
        }
        if let Some(batch_answers) = self.evaluate(columns, rows) {
            answers.extend(batch_answers);
        } else if rows == 1 {
            answers.push(Answer::Failed);
        } else {
            let middle = rows / 2;
            for (start, length) in [(0, middle), (middle, rows - middle)] {
                let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, length)).collect();
                self.ask_into(&part, length, answers);
            }
        }
    }

    fn evaluate(&self, columns: &[ArrayRef], rows: usize) -> Option<Vec<Answer>> {
        let answer = |holds: bool| if holds { Answer::Yes } else { Answer::No };
        Some(self.holds(columns, rows)?.iter().map(answer).collect())
    }

    /// For each of `rows` rows of these columns whether the condition holds. `None` if the expression fails on
    /// one of them. Why is not told: the text of the error may hold a value of the payload.
    pub(crate) fn holds(&self, columns: &[ArrayRef], rows: usize) -> Option<BooleanBuffer> {
        if let (Some(comparison), [column]) = (&self.comparison, columns)
            && let Some(holds) = comparison.holds(column)
        {
            return Some(holds);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(self.schema.clone(), columns.to_vec(), &options).ok()?;
        let array = self.expression.evaluate(&batch).ok()?.into_array(rows).ok()?;
        if *array.data_type() == DataType::Null && array.len() == rows {
            return Some(BooleanBuffer::new_unset(rows));
        }
        let array = array.as_boolean_opt().filter(|array| array.len() == rows)?;
        Some(true_rows(array))
    }
}

/// The rows that are true: neither false nor null.
fn true_rows(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        None => array.values().clone(),
        Some(valid) => array.values() & valid.inner(),
    }
}

#[cfg(test)]
mod tests;
