//! OpenMetrics 1.0: its text, and who wants it.

use std::fmt::Write as _;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// The content type of the text format of Prometheus.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The content type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The families as OpenMetrics.
pub(crate) fn render(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        write_family(&mut text, family);
    }
    text.push_str("# EOF\n");
    text
}

/// Writing to a string cannot fail, so the results are dropped.
fn write_family(text: &mut String, family: &MetricFamily) {
    let kind = family.get_field_type();
    // A counter's family has the name without the suffix, its sample the one with it.
    let name = match kind {
        MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
        _ => family.name(),
    };
    let word = match kind {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        MetricType::GAUGE => "gauge",
        MetricType::SUMMARY | MetricType::UNTYPED => "unknown",
    };
    let _ = writeln!(text, "# TYPE {name} {word}");
    let _ = writeln!(text, "# HELP {name} {}", escaped(family.help()));
    for metric in family.get_metric() {
        match kind {
            MetricType::COUNTER => {
                sample(text, name, "_total", metric, None, &whole(metric.get_counter().get_value()));
            }
            MetricType::GAUGE => {
                sample(text, name, "", metric, None, &number(metric.get_gauge().get_value()))
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let mut infinite = false;
                for bucket in histogram.get_bucket() {
                    let bound = number(bucket.upper_bound());
                    infinite |= bucket.upper_bound() == f64::INFINITY;
                    let count = bucket.cumulative_count().to_string();
                    sample(text, name, "_bucket", metric, Some(&bound), &count);
                }
                let count = histogram.get_sample_count().to_string();
                if !infinite {
                    sample(text, name, "_bucket", metric, Some("+Inf"), &count);
                }
                sample(text, name, "_sum", metric, None, &number(histogram.get_sample_sum()));
                sample(text, name, "_count", metric, None, &count);
            }
            // Situs has none.
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
}

fn sample(text: &mut String, name: &str, suffix: &str, metric: &Metric, le: Option<&str>, value: &str) {
    let _ = write!(text, "{name}{suffix}");
    let pairs = metric.get_label().iter().map(|label: &LabelPair| (label.name(), label.value()));
    let pairs = pairs.chain(le.map(|bound| ("le", bound)));
    let mut first = true;
    for (label, of) in pairs {
        let _ = write!(text, "{}{label}=\"{}\"", if first { '{' } else { ',' }, escaped(of));
        first = false;
    }
    if !first {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

/// As OpenMetrics wants floats: bounds of buckets have a fraction.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else if value.is_nan() {
        "NaN".to_owned()
    } else {
        format!("{value:?}")
    }
}

/// A count, which the registry keeps as a float.
fn whole(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { number(value) }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// Whether an `Accept` header asks for OpenMetrics rather than for the text format of Prometheus.
///
/// The most specific range that fits a type gives its weight (RFC 9110, 12.5.1). Whoever accepts both alike
/// without naming OpenMetrics gets the text format, which people read.
pub fn prefers_openmetrics(accept: &str) -> bool {
    let weight = |kind: &str, subtype: &str, versions: &[&str]| {
        let ranges = accept.split(',').filter_map(Range::parse);
        let fitting = ranges.filter_map(|range| Some((range.fits(kind, subtype, versions)?, range.weight)));
        // Of ranges that are equally specific the most welcome counts: one of them may ask for a version.
        fitting.reduce(|best, next| if next > best { next } else { best })
    };
    let openmetrics = weight("application", "openmetrics-text", &["1.0.0"]);
    let text = weight("text", "plain", &["0.0.4", "1.0.0"]).map_or(0.0, |(_, weight)| weight);
    openmetrics.is_some_and(|(specific, weight)| {
        weight > 0.0 && (weight > text || (weight >= text && specific == Specific::Named))
    })
}

/// How closely a range names a type; the closest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specific {
    All,
    Kind,
    Named,
}

/// A range of an `Accept` header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    weight: f32,
}

impl<'a> Range<'a> {
    /// `None` for what is none.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self { kind, subtype, version: None, weight: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.weight = value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
                "version" => range.version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        Some(range)
    }

    fn fits(&self, kind: &str, subtype: &str, versions: &[&str]) -> Option<Specific> {
        let is = |range: &str, of: &str| range.eq_ignore_ascii_case(of);
        match (self.kind, self.subtype) {
            ("*", "*") => Some(Specific::All),
            (range, "*") if is(range, kind) => Some(Specific::Kind),
            (range, sub) if is(range, kind) && is(sub, subtype) => {
                self.version.is_none_or(|version| versions.contains(&version)).then_some(Specific::Named)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
