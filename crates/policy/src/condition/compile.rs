//! From a parsed condition to one that can be asked of a pipeline's records.

use std::sync::Arc;

use arrow_array::{ArrayRef, new_empty_array};
use arrow_schema::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, ExprSchemable as _, Volatility};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::create_physical_expr;
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use situs_model::FieldClass;
use situs_model::columns::{dictionary_type, names};

use super::comparison::Comparison;
use super::sql::Language;
use super::{Answer, Compiled, Condition, Question, Term};
use crate::facts::{ADDED, PipelineFacts};

/// The names that a condition may use on one pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Columns; `None` is one that may not be named.
    fields: Vec<Option<Arc<Field>>>,
    /// Names that stand for one text.
    constants: Vec<(&'static str, String)>,
    /// Columns of personal values and trade secrets, which may not be named.
    guarded: Vec<(String, FieldClass)>,
}

/// Why a condition cannot be asked of a pipeline's records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CompileError {
    /// It names columns that the pipeline lacks.
    Missing(Vec<String>),
    /// It means nothing on these columns; why, for the user.
    Invalid(String),
}

impl From<DataFusionError> for CompileError {
    fn from(error: DataFusionError) -> Self {
        // The first line tells what is wrong; what follows is DataFusion's own business.
        let text = error.strip_backtrace();
        let text = text.split("Error during planning: ").last().unwrap_or(&text);
        Self::Invalid(text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

impl Scope {
    /// What conditions may name on this pipeline.
    pub(crate) fn new(facts: &PipelineFacts) -> Self {
        Self { fields: facts.fields(), constants: facts.constants(), guarded: facts.guarded() }
    }

    /// The same with one name standing for one text, whatever the records say.
    pub(crate) fn with_constant(mut self, name: &'static str, text: &str) -> Self {
        self.constants.retain(|(known, _)| *known != name);
        self.constants.push((name, text.to_owned()));
        self
    }

    /// The same with each field as `each` gives it; without those of which it gives none.
    pub(crate) fn map_fields(mut self, each: impl Fn(Arc<Field>) -> Option<Arc<Field>>) -> Self {
        for field in &mut self.fields {
            *field = field.take().and_then(&each);
        }
        self
    }

    /// All names that conditions may use.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let columns = self.fields.iter().flatten().map(|field| field.name().as_str());
        columns.chain(self.constants.iter().map(|(name, _)| *name))
    }

    /// The columns that may not be named since they are not stored as they come.
    pub(crate) fn guarded(&self) -> impl Iterator<Item = &str> {
        self.guarded.iter().map(|(name, _)| name.as_str())
    }

    /// The columns that the condition names and the scope lacks.
    pub(crate) fn missing(&self, condition: &Condition) -> Vec<String> {
        let unknown = |column: &&String| !self.names().any(|name| name == column.as_str());
        condition.columns.iter().filter(unknown).cloned().collect()
    }

    /// A schema in which every name is a column.
    fn all_names(&self) -> Result<DFSchema, DataFusionError> {
        let mut fields: Vec<Arc<Field>> = self.fields.iter().flatten().cloned().collect();
        for (name, _) in &self.constants {
            if !fields.iter().any(|field| field.name() == name) {
                fields.push(Arc::new(Field::new(*name, DataType::Utf8, false)));
            }
        }
        DFSchema::try_from(Schema::new(fields))
    }

    fn constant(&self, name: &str) -> Option<Expr> {
        let (_, text) = self.constants.iter().find(|(constant, _)| *constant == name)?;
        Some(Expr::Literal(ScalarValue::Utf8(Some(text.clone())), None))
    }
}

impl Condition {
    /// Makes the condition ready for the records of a pipeline.
    ///
    /// # Errors
    /// Columns that the pipeline lacks, or why the condition means nothing there.
    pub(crate) fn compile(&self, scope: &Scope) -> Result<Compiled, CompileError> {
        let named = |(name, _): &&(String, FieldClass)| self.columns.contains(name);
        if let Some((name, class)) = scope.guarded.iter().find(named) {
            return Err(CompileError::Invalid(format!(
                "column `{name}` is `{class}`: it is not stored as it comes, so the decision could not be derived again"
            )));
        }
        let missing = scope.missing(self);
        if !missing.is_empty() {
            return Err(CompileError::Missing(missing));
        }
        let names = Arc::new(scope.all_names()?);
        let language = Language::get();
        let planned =
            SqlToRel::new(language).sql_to_expr(self.ast.clone(), &names, &mut PlannerContext::new())?;
        refuse_foreign(&planned)?;
        let constants = |node: Expr| match &node {
            Expr::Column(column) => Ok(match scope.constant(&column.name) {
                Some(literal) => Transformed::yes(literal),
                None => Transformed::no(node),
            }),
            _ => Ok(Transformed::no(node)),
        };
        let substituted = planned.transform(constants)?.data;
        let context = SimplifyContext::builder()
            .with_schema(names.clone())
            .with_config_options(language.config().clone())
            .build();
        let simplifier = ExprSimplifier::new(context);
        let written = text_to_number(&substituted, &names)?;
        let coerced = simplifier.coerce(substituted, &names)?;
        if text_to_number(&coerced, &names)? > written {
            let message = "it compares text with a number; write CAST or TRY_CAST if that is meant";
            return Err(CompileError::Invalid(message.to_owned()));
        }
        let result = coerced.get_type(names.as_ref())?;
        if result != DataType::Boolean {
            return Err(CompileError::Invalid(format!(
                "expected a condition (BOOLEAN), found a value of type {result}"
            )));
        }
        match simplifier.simplify(coerced)? {
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => Ok(Compiled::Always),
            Expr::Literal(ScalarValue::Boolean(_) | ScalarValue::Null, _) => Ok(Compiled::Never),
            expression => Question::new(&expression, scope)?.divided(&expression, scope)?.settle(),
        }
    }
}

impl Question {
    fn new(expression: &Expr, scope: &Scope) -> Result<Self, CompileError> {
        let named = expression.column_refs();
        let used = |field: &Field| named.iter().any(|column| column.name == *field.name());
        let (columns, fields): (Vec<usize>, Vec<Arc<Field>>) = scope
            .fields
            .iter()
            .enumerate()
            .filter_map(|(index, field)| Some((index, field.clone()?)))
            .filter(|(_, field)| used(field))
            .unzip();
        let only_facts = fields.iter().all(|field| match field.name().as_str() {
            name if ADDED.contains(&name) => true,
            names::TOPIC => *field.data_type() == dictionary_type(),
            _ => false,
        });
        let schema = Arc::new(Schema::new(fields));
        let comparison = Comparison::of(expression);
        let expression = create_physical_expr(
            expression,
            &DFSchema::try_from(schema.clone())?,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )?;
        Ok(Self { expression, schema, columns, only_facts, terms: Vec::new(), comparison })
    }

    /// With its terms. One that calls functions has none: what a record gives them may make them take memory, or
    /// panic, so they are asked of no record but those that come to them.
    fn divided(self, expression: &Expr, scope: &Scope) -> Result<Self, CompileError> {
        let calls = expression.exists(|node| Ok(matches!(node, Expr::ScalarFunction(_))))?;
        if self.only_facts || calls {
            return Ok(self);
        }
        let term = |part: &Expr| {
            let question = Self::new(part, scope)?;
            Ok(Term { planned: Arc::new(part.clone()), question: Arc::new(question) })
        };
        let terms =
            split_conjunction(expression).into_iter().map(term).collect::<Result<_, CompileError>>()?;
        Ok(Self { terms, ..self })
    }

    /// Asks once without rows, which finds types that no kernel takes, and answers at once what
    /// reads no column.
    fn settle(self) -> Result<Compiled, CompileError> {
        if self.columns.is_empty() {
            return match self.ask(&[], 1).as_slice() {
                [Answer::Yes] => Ok(Compiled::Always),
                [Answer::No] => Ok(Compiled::Never),
                _ => Err(CompileError::Invalid("it fails on every record".to_owned())),
            };
        }
        let empty: Vec<ArrayRef> =
            self.schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect();
        match self.evaluate(&empty, 0) {
            Some(_) => Ok(Compiled::Ask(self)),
            None => Err(CompileError::Invalid("its operators do not take columns of these types".to_owned())),
        }
    }
}

/// How many values of columns are converted from text to another kind.
///
/// DataFusion adds such conversions by itself, and they fail on every text that is no number. A
/// literal may be converted: whether that works is seen at once.
fn text_to_number(expression: &Expr, schema: &DFSchema) -> Result<usize, CompileError> {
    let is_text = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, value) => value.is_string(),
        other => other.is_string(),
    };
    let mut count = 0;
    expression.apply(|node| {
        if let Expr::Cast(cast) = node
            && !matches!(*cast.expr, Expr::Literal(..))
            && !is_text(cast.field.data_type())
            && is_text(&cast.expr.get_type(schema)?)
        {
            count += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(count)
}

/// Refuses what SQL knows and a condition on one record cannot have.
fn refuse_foreign(expression: &Expr) -> Result<(), CompileError> {
    let mut refused = None;
    expression.apply(|node| {
        refused = match node {
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_) => None,
            Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Immutable => None,
            Expr::ScalarFunction(call) => {
                Some(format!("`{}` gives other values at other times: a verdict must not", call.name()))
            }
            other => Some(format!("a condition sees one record: {} is not allowed", other.variant_name())),
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refused.map_or(Ok(()), |message| Err(CompileError::Invalid(message)))
}
