//! What all embedders share: truncation, batching, billing, and validation of responses.

mod bill;

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use konstruct_core::{
    Error, ErrorKind, Result,
    embed::{EmbedContext, EmbedKind},
    money::Price,
};

use tokio::time::timeout;
use tracing::Instrument as _;

use self::bill::Bill;
use crate::{http, telemetry::embeddings};

/// How long a query waits for its vector. A person is waiting, and without the vector the full-text results have to do.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// An embedding model and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) provider: &'static str,
    pub(crate) name: String,
    /// The id under which vectors are stored.
    pub(crate) id: String,
    pub(crate) dim: usize,
    pub(crate) price: Option<Price>,
    prefixes: Prefixes,
    limits: Limits,
}

impl Model {
    pub(crate) fn new(
        provider: &'static str,
        name: String,
        (dim, price, limits): (usize, Option<Price>, Limits),
    ) -> Self {
        let prefixes = Prefixes::default();
        Self {
            provider,
            id: prefixes.id(provider, &name),
            name,
            dim,
            price,
            prefixes,
            limits,
        }
    }

    pub(crate) fn with_prefixes(mut self, query: String, document: String) -> Self {
        self.prefixes = Prefixes { query, document };
        self.id = self.prefixes.id(self.provider, &self.name);
        self
    }
}

/// The result of one request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) vectors: Vec<Vec<f32>>,
    /// The billed tokens, if the server reports them.
    pub(crate) tokens: Option<u64>,
}

/// A server that embeds texts.
#[async_trait]
pub(crate) trait Server: fmt::Debug + Sync {
    fn model(&self) -> &Model;

    fn base_url(&self) -> &str;

    /// Sends one request.
    async fn ask(&self, input: &[&str]) -> Result<Answered>;
}

/// Embeds texts in as many requests as needed. A text without any letter is not sent; its vector is zero.
pub(crate) async fn embed(
    server: &dyn Server,
    context: &EmbedContext,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>> {
    let model = server.model();
    let mut vectors = vec![vec![0.0; model.dim]; texts.len()];
    let full: Vec<usize> = (0..texts.len())
        .filter(|at| !texts[*at].trim().is_empty())
        .collect();
    let whole: Vec<String> = full
        .iter()
        .map(|at| model.prefixes.apply(context.kind, texts[*at]))
        .collect();
    let (cut, lengths): (Vec<&str>, Vec<usize>) =
        whole.iter().map(|text| cut(text, model.limits.one)).unzip();
    for batch in batches(&lengths, model.limits) {
        let input = &cut[batch.clone()];
        let mut bill = Bill::open(context, model, input).await?;
        let (named, at) = (
            (model.provider, &*model.name),
            http::server(server.base_url()),
        );
        let span = embeddings::span(named, at.as_deref(), model.dim);
        let asked = server.ask(input).instrument(span.clone());
        let answer = match context.kind {
            EmbedKind::Query => timeout(QUERY_TIMEOUT, asked)
                .await
                .unwrap_or_else(|_| Err(http::timed_out("before it embedded a question"))),
            _ => asked.await,
        };
        embeddings::note(&span, answer.as_ref().map(|answer| answer.tokens));
        bill.note(&answer);
        let answer = checked(
            model.provider,
            answer?.vectors,
            (input.len(), Some(model.dim)),
        )?;
        for (at, vector) in full[batch].iter().zip(answer) {
            vectors[*at] = vector;
        }
    }
    Ok(vectors)
}

/// Prefixes that tell some models whether a text is a query or a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefixes {
    pub(crate) query: String,
    pub(crate) document: String,
}

impl Prefixes {
    pub(crate) fn apply(&self, kind: EmbedKind, text: &str) -> String {
        let prefix = match kind {
            EmbedKind::Query => &self.query,
            _ => &self.document,
        };
        format!("{prefix}{text}")
    }

    /// The id under which vectors are stored; other prefixes give another id, because they give other vectors.
    pub(crate) fn id(&self, provider: &str, model: &str) -> String {
        let Self { query, document } = self;
        if query.is_empty() && document.is_empty() {
            return format!("{provider}/{model}");
        }
        format!("{provider}/{model} {query:?} {document:?}")
    }
}

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) texts: usize,
    /// In half tokens, of all texts together and of one text.
    pub(crate) all: usize,
    pub(crate) one: usize,
}

/// Upper bound for a character, in half tokens: an ASCII character is half a token, any other two. Real tokenizers need fewer for
/// words, and about as many for numbers and for scripts that they cover badly.
fn half_tokens(c: char) -> usize {
    if c.is_ascii() { 1 } else { 4 }
}

/// Truncates a text to `most` half tokens and returns the remaining number of half tokens.
pub(crate) fn cut(text: &str, most: usize) -> (&str, usize) {
    let mut count = 0;
    for (at, c) in text.char_indices() {
        let more = half_tokens(c);
        if count + more > most {
            return (&text[..at], count);
        }
        count += more;
    }
    (text, count)
}

/// Groups texts of these lengths into requests.
pub(crate) fn batches(lengths: &[usize], limits: Limits) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut from, mut sum) = (0, 0);
    for (at, length) in lengths.iter().enumerate() {
        if at > from && (at - from == limits.texts || sum + length > limits.all) {
            batches.push(from..at);
            (from, sum) = (at, 0);
        }
        sum += length;
    }
    if from < lengths.len() {
        batches.push(from..lengths.len());
    }
    batches
}

/// Returns the vectors of a response if there is one of the right size for each text.
pub(crate) fn checked(
    provider: &str,
    vectors: Vec<Vec<f32>>,
    (texts, dim): (usize, Option<usize>),
) -> Result<Vec<Vec<f32>>> {
    let wrong =
        |what: String| Error::new(ErrorKind::Protocol, format!("{provider} returned {what}"));
    if vectors.len() != texts {
        let count = vectors.len();
        return Err(wrong(format!("{count} vectors for {texts} texts")));
    }
    for vector in &vectors {
        let wanted = dim.unwrap_or(vector.len());
        if vector.len() != wanted || wanted == 0 {
            let size = vector.len();
            return Err(wrong(format!(
                "a vector of {size} numbers instead of {wanted}"
            )));
        }
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(wrong("a vector that contains NaN or infinity".into()));
        }
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let check = |text: &str, most, expected: (&str, usize)| {
            assert_eq!(cut(text, most), expected, "{text}");
        };
        check("", 4, ("", 0));
        check("abcd", 4, ("abcd", 4));
        check("abcde", 4, ("abcd", 4));
        check("aüb", 4, ("a", 1));
        check("aüb", 6, ("aüb", 6));
    }

    proptest! {
        #[test]
        fn batches_hold_every_text_once_within_the_limits(lengths in proptest::collection::vec(0usize..50, 0..60)) {
            let limits = Limits { texts: 7, all: 100, one: 50 };
            let batches = batches(&lengths, limits);
            let all: Vec<usize> = batches.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                prop_assert!(!batch.is_empty() && batch.len() <= 7);
                prop_assert!(lengths[batch].iter().sum::<usize>() <= 100);
            }
        }
    }
}
