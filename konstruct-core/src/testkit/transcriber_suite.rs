//! The conformance suite for implementations of [`Transcriber`].

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::store_suite::{Failed, Outcome, ensure, ensure_eq};
use crate::{
    ErrorKind, NanoUsd, TenantId, Transcriber,
    limit::LocalBudget,
    llm::Media,
    money::Basis,
    transcribe::{Recording, SpeechContext},
};

/// The time after which a case counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// The timeout of a transcription whose server hangs.
const SHORT: Duration = Duration::from_millis(300);

/// What is said in the recording that the suite sends. A server under test must return it.
pub const SPOKEN: &str = "Do you open on Sunday?";

/// How the server of a transcriber misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpeechFault {
    /// The credentials are refused.
    Unauthorized,
    /// There are too many requests; the server asks to wait for three seconds.
    RateLimited,
    /// The server fails with status 500.
    Fails,
    /// The server accepts the recording and never responds.
    Hangs,
    /// The response breaks off.
    Cut,
    /// The response is not JSON.
    Garbage,
    /// The transcript is empty.
    Silence,
    /// The server rejects the size of the recording.
    TooLarge,
    /// The server cannot decode the recording.
    Undecodable,
}

macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        /// The names of the suite's cases.
        pub const TRANSCRIBER_CASES: &[&str] = &[$(stringify!($case),)+];

        /// Runs one case of the suite. `make` creates a transcriber whose server misbehaves in a way, or hears [`SPOKEN`].
        ///
        /// # Errors
        /// The violated requirement, or the error that the transcriber returned.
        pub async fn transcriber_case(
            name: &str,
            make: &impl AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
        ) -> Result<(), Failed> {
            match name {
                $(stringify!($case) => {
                    let outcome = timeout(PATIENCE * 3, Box::pin($case(make))).await;
                    outcome.unwrap_or_else(|_| Err("the case hangs".into()))
                })+
                _ => Err(format!("unknown case: {name}").into()),
            }
        }
    };
}

cases! {
    the_transcriber_describes_itself,
    speech_becomes_text,
    silence_is_an_empty_text,
    failures_have_their_kinds,
    a_hanging_server_times_out,
    a_recording_that_is_too_large_is_not_sent,
    nothing_is_sent_over_the_cap,
    every_request_is_on_the_bill,
    a_dropped_request_is_on_the_bill,
}

/// Runs every case.
///
/// # Panics
/// If a case fails. The message lists all failures.
pub async fn transcriber_suite(make: impl AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>) {
    let mut failures = Vec::new();
    for name in TRANSCRIBER_CASES {
        if let Err(error) = transcriber_case(name, &make).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        TRANSCRIBER_CASES.len(),
        failures.join("\n")
    );
}

fn recording() -> Recording {
    Recording::new(Media::new("audio/ogg", format!("OggS {SPOKEN}")))
}

fn context(timeout: Duration) -> (SpeechContext, Arc<LocalBudget>) {
    let budget = Arc::new(LocalBudget::new(None));
    let context = SpeechContext::new(TenantId::new(), "suite.r1", timeout);
    (context.with_budget(Arc::clone(&budget) as _), budget)
}

type Make<'a, F> = &'a F;

async fn the_transcriber_describes_itself<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    // As `Arc<dyn Transcriber>` inside another.
    let transcriber = Arc::new(make(None).await);
    let info = transcriber.describe();
    ensure!(!info.provider.is_empty(), "the provider has no name");
    ensure!(!info.model.is_empty(), "the model has no name");
    ensure!(info.max_bytes > 0, "no recording is small enough");
    Ok(())
}

async fn speech_becomes_text<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(None).await;
    for recording in [recording(), recording().in_language("en-GB")] {
        let (context, _) = context(PATIENCE);
        let heard = transcriber.transcribe(recording, &context).await?;
        ensure_eq!(heard.text.trim(), SPOKEN, "the transcript");
        let plausible = heard.seconds.is_none_or(|it| it.is_finite() && it >= 0.0);
        ensure!(plausible, "the duration is {:?}", heard.seconds);
    }
    Ok(())
}

async fn silence_is_an_empty_text<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(Some(SpeechFault::Silence)).await;
    let (context, _) = context(PATIENCE);
    let heard = transcriber.transcribe(recording(), &context).await?;
    ensure_eq!(heard.text.trim(), "", "the transcript of silence");
    Ok(())
}

async fn failures_have_their_kinds<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    use ErrorKind as Kind;
    let unclear: &[Kind] = &[Kind::Ambiguous, Kind::Truncated, Kind::Protocol];
    let expected: [(SpeechFault, &[Kind]); 7] = [
        (SpeechFault::Unauthorized, &[Kind::Unauthorized]),
        (SpeechFault::RateLimited, &[Kind::RateLimited]),
        (SpeechFault::Fails, unclear),
        (SpeechFault::Cut, unclear),
        (SpeechFault::Garbage, unclear),
        (SpeechFault::TooLarge, &[Kind::TooLarge]),
        (
            SpeechFault::Undecodable,
            &[Kind::InvalidInput, Kind::Unsupported],
        ),
    ];
    for (fault, kinds) in expected {
        let transcriber = make(Some(fault)).await;
        let (context, budget) = context(PATIENCE);
        let Err(error) = transcriber.transcribe(recording(), &context).await else {
            return Err(format!("{fault:?} is not an error").into());
        };
        let kind = error.kind();
        ensure!(kinds.contains(&kind), "{fault:?} is {kind:?}: {error}");
        if fault == SpeechFault::RateLimited {
            let wait = error.retry_after();
            ensure_eq!(wait, Some(Duration::from_secs(3)), "the wait");
        }
        let rows = budget.rows();
        ensure_eq!(rows.len(), 1, "rows after {fault:?}");
        let worst = rows[0].basis == Basis::WorstCase;
        ensure_eq!(
            worst,
            kinds == unclear,
            "whether {fault:?} costs the maximum"
        );
    }
    Ok(())
}

async fn a_hanging_server_times_out<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(Some(SpeechFault::Hangs)).await;
    let (context, _) = context(SHORT);
    let heard = timeout(SHORT * 20, transcriber.transcribe(recording(), &context)).await;
    let Ok(heard) = heard else {
        return Err("the timeout is ignored".into());
    };
    let kind = heard.err().map(|error| error.kind());
    let unclear = [Some(ErrorKind::Truncated), Some(ErrorKind::Ambiguous)];
    ensure!(unclear.contains(&kind), "a timeout is {kind:?}");
    Ok(())
}

async fn a_recording_that_is_too_large_is_not_sent<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(None).await;
    let most = transcriber.describe().max_bytes;
    if most > 64_000_000 {
        return Ok(());
    }
    let (context, budget) = context(PATIENCE);
    let data = vec![b'O'; usize::try_from(most).unwrap_or(0) + 1];
    let long = Recording::new(Media::new("audio/ogg", data));
    let heard = transcriber.transcribe(long, &context).await;
    let kind = heard.err().map(|error| error.kind());
    ensure_eq!(kind, Some(ErrorKind::TooLarge), "the error");
    ensure!(budget.rows().is_empty(), "the recording was sent");
    Ok(())
}

async fn nothing_is_sent_over_the_cap<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(None).await;
    let price = transcriber.describe().price.clone();
    if price.is_some_and(|price| price.worst_case(100) == NanoUsd(0)) {
        return Ok(());
    }
    let budget = Arc::new(LocalBudget::new(Some(NanoUsd(0))));
    let context = SpeechContext::new(TenantId::new(), "suite.r1", PATIENCE)
        .with_budget(Arc::clone(&budget) as _);
    let heard = transcriber.transcribe(recording(), &context).await;
    let kind = heard.err().map(|error| error.kind());
    ensure_eq!(kind, Some(ErrorKind::QuotaExhausted), "the error");
    Ok(())
}

async fn every_request_is_on_the_bill<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(None).await;
    let (context, budget) = context(PATIENCE);
    let bytes = recording().audio.data.len() as u64;
    transcriber.transcribe(recording(), &context).await?;
    ensure_eq!(budget.reserved(), NanoUsd(0), "what is still reserved");
    let rows = budget.rows();
    ensure_eq!(rows.len(), 1, "the number of rows");
    let worst = transcriber.describe().price.clone();
    let worst = worst.map(|price| price.worst_case(bytes));
    ensure!(
        rows[0].cost <= worst,
        "{:?} is more than {worst:?}",
        rows[0].cost
    );
    Ok(())
}

async fn a_dropped_request_is_on_the_bill<F>(make: Make<'_, F>) -> Outcome
where
    F: AsyncFn(Option<SpeechFault>) -> Arc<dyn Transcriber>,
{
    let transcriber = make(Some(SpeechFault::Hangs)).await;
    let (context, budget) = context(PATIENCE);
    let heard = timeout(SHORT, transcriber.transcribe(recording(), &context)).await;
    ensure!(heard.is_err(), "the server should hang");
    let rows = budget.rows();
    ensure_eq!(rows.len(), 1, "the number of rows");
    ensure_eq!(rows[0].basis, Basis::WorstCase, "the basis");
    Ok(())
}
