//! Prometheus' text format 0.0.4: how a metric is written.

use std::fmt::{self, Display, Write as _};

use crate::base::Histogram;

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// What it says, in one line.
    pub help: &'static str,
    /// The names of its labels, with blanks between.
    pub labels: &'static str,
}

/// What only rises; `labels`: the names of its labels, with blanks between.
pub(super) const fn counter(
    name: &'static str,
    labels: &'static str,
    help: &'static str,
) -> Metric {
    metric(MetricKind::Counter, name, labels, help)
}

/// What rises and falls.
pub(super) const fn gauge(name: &'static str, labels: &'static str, help: &'static str) -> Metric {
    metric(MetricKind::Gauge, name, labels, help)
}

/// How often something was how large.
pub(super) const fn histogram(name: &'static str, help: &'static str) -> Metric {
    metric(MetricKind::Histogram, name, "", help)
}

const fn metric(
    kind: MetricKind,
    name: &'static str,
    labels: &'static str,
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        help,
        labels,
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It is spread over bounds.
    Histogram,
}

impl MetricKind {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The text.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// One metric on its way into the text.
pub(super) struct Family<'a> {
    text: &'a mut String,
    metric: &'static Metric,
}

impl Exposition {
    /// Begins a metric. All its samples follow.
    pub(super) fn begin(&mut self, metric: &'static Metric) -> Family<'_> {
        let (name, help, kind) = (metric.name, metric.help, metric.kind.as_str());
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family {
            text: &mut self.text,
            metric,
        }
    }

    /// A metric with one sample and no label.
    pub(super) fn single(&mut self, metric: &'static Metric, value: impl Display) {
        self.begin(metric).sample(&[], value);
    }

    /// The whole text.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One value, with the values of the labels in the metric's order.
    pub(super) fn sample(&mut self, values: &[&str], value: impl Display) {
        self.line("", values, None, value);
    }

    /// All lines of a histogram. `unit`: so many of its values make one of the metric's.
    pub(super) fn histogram(&mut self, histogram: &Histogram, unit: f64) {
        for (bound, count) in histogram.cumulative() {
            let bound = (bound as f64 / unit).to_string();
            self.line("_bucket", &[], Some(&bound), count);
        }
        self.line("_bucket", &[], Some("+Inf"), histogram.count());
        self.line("_sum", &[], None, histogram.sum() as f64 / unit);
        self.line("_count", &[], None, histogram.count());
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: impl Display) {
        let names = self
            .metric
            .labels
            .split(' ')
            .filter(|name| !name.is_empty());
        let labels = names.zip(values.iter().copied());
        let labels = labels.chain(bound.map(|bound| ("le", bound)));
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let mut separator = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{separator}{name}=\"{}\"", LabelValue(value));
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A value between quotes.
struct LabelValue<'a>(&'a str);

impl Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Metric = Metric {
        name: "wait_seconds",
        kind: MetricKind::Histogram,
        help: "How long.",
        labels: "",
    };
    const CALLS: Metric = Metric {
        name: "calls_total",
        kind: MetricKind::Counter,
        help: "How many.",
        labels: "kind why",
    };

    #[test]
    fn samples_are_written_as_the_format_has_them() {
        let mut out = Exposition::default();
        let mut calls = out.begin(&CALLS);
        calls.sample(&["a", "say \"b\\c\"\n"], 3);
        let mut waits = Histogram::new(&[1_000, 2_500_000]);
        waits.observe(500);
        waits.observe(3_000_000);
        out.begin(&WAITS).histogram(&waits, 1e9);
        assert_eq!(
            out.into_text(),
            "# HELP calls_total How many.\n\
             # TYPE calls_total counter\n\
             calls_total{kind=\"a\",why=\"say \\\"b\\\\c\\\"\\n\"} 3\n\
             # HELP wait_seconds How long.\n\
             # TYPE wait_seconds histogram\n\
             wait_seconds_bucket{le=\"0.000001\"} 1\n\
             wait_seconds_bucket{le=\"0.0025\"} 1\n\
             wait_seconds_bucket{le=\"+Inf\"} 2\n\
             wait_seconds_sum 0.0030005\n\
             wait_seconds_count 2\n"
        );
    }
}
