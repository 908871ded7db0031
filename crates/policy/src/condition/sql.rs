//! What DataFusion's planner must know to plan a condition: scalar functions, and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use situs_model::doc::nearest;

/// The functions of conditions.
///
/// They are listed package by package, not with `all_default_functions`, because that list grows
/// with the Cargo features that other crates of a build ask for: the language of policies must not.
static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let packages = [
        datafusion_functions::core::functions(),
        datafusion_functions::string::functions(),
        datafusion_functions::unicode::functions(),
    ];
    let mut functions = BTreeMap::new();
    for function in packages.into_iter().flatten() {
        // A verdict must come out the same when a record is replayed.
        if function.signature().volatility != Volatility::Immutable {
            continue;
        }
        for alias in function.aliases() {
            functions.insert(alias.clone(), function.clone());
        }
        functions.insert(function.name().to_owned(), function);
    }
    Language {
        functions,
        planners: vec![Arc::new(CoreFunctionPlanner::default()), Arc::new(UnicodeFunctionPlanner)],
        options: Arc::new(ConfigOptions::default()),
    }
});

/// Answers the planner's questions: there are scalar functions, but no tables, aggregates, windows
/// or variables.
pub(super) struct Language {
    functions: BTreeMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: Arc<ConfigOptions>,
}

impl Language {
    /// The language of conditions.
    pub(super) fn get() -> &'static Self {
        &LANGUAGE
    }

    /// Whether there is a function of this name; if not, the nearest one.
    pub(super) fn suggest(&self, name: &str) -> Result<(), Option<String>> {
        if self.functions.contains_key(name) {
            return Ok(());
        }
        Err(nearest(name, self.functions.keys().map(String::as_str)))
    }

    /// DataFusion's settings, all at their defaults.
    pub(super) fn config(&self) -> &Arc<ConfigOptions> {
        &self.options
    }
}

impl ContextProvider for Language {
    fn get_table_source(&self, _: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("a condition sees one record: there are no tables")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
