//! A column of floating-point numbers compared with a number: what most conditions on columns are.
//!
//! DataFusion makes a copy of the column first, in which -0.0 is 0.0, since Arrow's kernels tell them apart
//! (IEEE 754, totalOrder). No other number lies between the two, so that beside any number but these the kernels
//! give the same without it.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_ord::cmp;
use datafusion_common::ScalarValue;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::true_rows;

/// A column on the left, an operator, a number on the right.
#[derive(Debug)]
pub(super) struct Comparison {
    operator: Operator,
    number: Scalar<Float64Array>,
}

impl Comparison {
    /// `None` if the expression is something else.
    pub(super) fn of(expression: &Expr) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expression else { return None };
        let (Expr::Column(_), Expr::Literal(ScalarValue::Float64(Some(number)), _)) = (&**left, &**right)
        else {
            return None;
        };
        let is_known = matches!(
            op,
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        );
        let number = (is_known && number.is_normal()).then_some(*number)?;
        Some(Self { operator: *op, number: Float64Array::new_scalar(number) })
    }

    /// The rows for which it holds; `None` if the column is of another type.
    pub(super) fn holds(&self, column: &ArrayRef) -> Option<BooleanBuffer> {
        let column: &Float64Array = column.as_primitive_opt::<Float64Type>()?;
        let holds = match self.operator {
            Operator::Eq => cmp::eq(column, &self.number),
            Operator::NotEq => cmp::neq(column, &self.number),
            Operator::Lt => cmp::lt(column, &self.number),
            Operator::LtEq => cmp::lt_eq(column, &self.number),
            Operator::Gt => cmp::gt(column, &self.number),
            Operator::GtEq => cmp::gt_eq(column, &self.number),
            _ => return None,
        };
        Some(true_rows(&holds.ok()?))
    }
}
