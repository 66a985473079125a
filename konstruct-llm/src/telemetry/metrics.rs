//! The metrics of model calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use konstruct_core::{llm::ModelInfo, money::Usage};

use super::histogram::Histogram;

/// The conventions' bucket bounds for tokens and for seconds.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const CHUNK_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];

/// Histograms of model calls: tokens, duration, time to the first chunk, and time per chunk after it.
///
/// The labels are the provider, the requested model, the server, and the error type if there was one. Their number is limited: a
/// pool that extends another (a tenant's own models) counts its models as `own` without a server, and after 200 models all others
/// count as `other`.
///
/// ```
/// let metrics = konstruct_llm::CallMetrics::default();
/// assert!(metrics.prometheus().contains("# TYPE gen_ai_client_token_usage histogram"));
/// ```
#[derive(Debug, Default)]
pub struct CallMetrics {
    series: Mutex<Series>,
}

#[derive(Debug, Default)]
struct Series {
    /// The labels of each known model.
    models: BTreeSet<String>,
    histograms: BTreeMap<(Name, String), Histogram>,
}

/// The maximum number of models with labels of their own.
const MODELS: usize = 200;

impl Series {
    /// Returns the labels of a model: its own, while the limit is not reached.
    fn labels(&mut self, model: &ModelInfo) -> String {
        let named = labels(&model.provider, &model.model, model.server.as_deref());
        if !self.models.contains(&named) {
            if self.models.len() == MODELS {
                return labels("other", "other", None);
            }
            self.models.insert(named.clone());
        }
        named
    }
}

fn labels(provider: &str, model: &str, server: Option<&str>) -> String {
    let mut labels = format!(
        "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"{}\",gen_ai_request_model=\"{}\"",
        escaped(provider),
        escaped(model)
    );
    if let Some(server) = server {
        let _infallible = write!(labels, ",server_address=\"{}\"", escaped(server));
    }
    labels
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Tokens,
    Duration,
    FirstChunk,
    PerChunk,
}

impl Name {
    const ALL: [Self; 4] = [
        Self::Tokens,
        Self::Duration,
        Self::FirstChunk,
        Self::PerChunk,
    ];

    fn prometheus(self) -> &'static str {
        match self {
            Self::Tokens => "gen_ai_client_token_usage",
            Self::Duration => "gen_ai_client_operation_duration_seconds",
            Self::FirstChunk => "gen_ai_client_operation_time_to_first_chunk_seconds",
            Self::PerChunk => "gen_ai_client_operation_time_per_output_chunk_seconds",
        }
    }

    fn bounds(self) -> &'static [f64] {
        match self {
            Self::Tokens => TOKENS,
            Self::Duration | Self::FirstChunk => SECONDS,
            Self::PerChunk => CHUNK_SECONDS,
        }
    }
}

/// The outcome of a call.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) duration: Duration,
    pub(super) first_chunk: Option<Duration>,
    /// The time from the first content to the last, and the number of chunks after the first.
    pub(super) chunks: (Duration, u32),
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<String>,
}

impl CallMetrics {
    /// Records a call.
    pub(super) fn record(&self, model: &ModelInfo, report: &Report) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut labels = series.labels(model);
        let mut observe = |name: Name, labels: String, value: f64| {
            let new = || Histogram::new(name.bounds());
            series
                .histograms
                .entry((name, labels))
                .or_insert_with(new)
                .observe(value);
        };
        if let Some(usage) = report.usage {
            for (kind, tokens) in [("input", usage.all_input()), ("output", usage.all_output())] {
                let labels = format!("{labels},gen_ai_token_type=\"{kind}\"");
                // Histograms are floats, which count all realistic token numbers exactly.
                observe(
                    Name::Tokens,
                    labels,
                    u32::try_from(tokens).map_or(f64::MAX, f64::from),
                );
            }
        }
        if let Some(first) = report.first_chunk {
            observe(Name::FirstChunk, labels.clone(), first.as_secs_f64());
        }
        let (during, chunks) = report.chunks;
        if chunks > 0 {
            let each = during.as_secs_f64() / f64::from(chunks);
            observe(Name::PerChunk, labels.clone(), each);
        }
        if let Some(error) = &report.error {
            let _infallible = write!(labels, ",error_type=\"{error}\"");
        }
        observe(Name::Duration, labels, report.duration.as_secs_f64());
    }

    /// Writes all series in Prometheus's text format.
    pub fn prometheus(&self) -> String {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for name in Name::ALL {
            let prometheus = name.prometheus();
            let _infallible = writeln!(out, "# TYPE {prometheus} histogram");
            for ((_, labels), histogram) in
                series.histograms.iter().filter(|((of, _), _)| *of == name)
            {
                histogram.write(prometheus, labels, &mut out);
            }
        }
        out
    }
}

/// Escapes a label's value.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
