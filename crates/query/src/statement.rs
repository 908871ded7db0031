//! What can be said of a statement before it is planned.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::QueryError;

/// Words, operators and brackets that a statement may have. Parser and planner call themselves for
/// what stands inside something else, so this bounds the stack that they need. Values and the commas
/// between them do not count: a list of a hundred thousand ids is long but not deep.
pub(crate) const LIMIT: usize = 2000;

/// Refuses a statement that could be nested more deeply than the stack allows.
pub(crate) fn check_size(text: &str) -> Result<(), QueryError> {
    // What cannot be read as tokens is left to the parser, which says why not.
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let nests = |token: &&Token| {
        !matches!(
            token,
            Token::Whitespace(_)
                | Token::Comma
                | Token::Number(..)
                | Token::SingleQuotedString(_)
                | Token::EOF
        )
    };
    if tokens.iter().filter(nests).count() > LIMIT {
        Err(QueryError::TooLarge { limit: LIMIT })
    } else {
        Ok(())
    }
}

/// Whether a statement only reads, as far as its outside shows.
pub(crate) fn check_reads(statement: &Statement) -> Result<(), QueryError> {
    let reads = match statement {
        Statement::Explain(explain) => return check_reads(&explain.statement),
        Statement::Statement(statement) => matches!(
            **statement,
            ast::Statement::Query(_)
                | ast::Statement::ExplainTable { .. }
                | ast::Statement::ShowTables { .. }
                | ast::Statement::ShowColumns { .. }
                | ast::Statement::ShowFunctions { .. }
                | ast::Statement::ShowVariable { .. }
        ),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if reads {
        return Ok(());
    }
    let text = statement.to_string();
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    Err(QueryError::Refused { statement: word.to_ascii_uppercase() })
}

/// Whether it asks for a plan.
pub(crate) fn is_explain(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(_) => true,
        Statement::Statement(statement) => matches!(**statement, ast::Statement::Explain { .. }),
        _ => false,
    }
}

/// Whether it is `SHOW TABLES` and no more; `SHOW TABLES LIKE …` is left to the engine, which says
/// what it can do.
pub(crate) fn is_show_tables(statement: &Statement) -> bool {
    let Statement::Statement(statement) = statement else { return false };
    matches!(&**statement, ast::Statement::ShowTables { .. }) && statement.to_string() == "SHOW TABLES"
}
