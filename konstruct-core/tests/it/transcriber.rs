//! The suite of `Transcriber` detects every defect.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Error, ErrorKind, NanoUsd, Transcriber,
    testkit::{
        BrokenTranscriber, ScriptedTranscriber, SpeechFault, TRANSCRIBER_CASES, TranscriberFlaw,
        transcriber_case, transcriber_suite,
    },
    transcribe::{SpeechPrice, Transcript},
};

/// Returns a transcriber with a flaw, whose server misbehaves.
fn make(flaw: TranscriberFlaw, fault: Option<SpeechFault>) -> Arc<dyn Transcriber> {
    let scripted = ScriptedTranscriber::new(SpeechPrice::PerMinute {
        price: NanoUsd(6_000_000),
        least_secs: 0,
    });
    let fails = |kind| Err(Error::new(kind, "scripted"));
    match fault {
        None => {}
        Some(SpeechFault::Hangs) => scripted.hang(),
        Some(SpeechFault::Silence) => scripted.plan(Ok(Transcript::default())),
        Some(SpeechFault::RateLimited) => {
            scripted.plan(Err(Error::new(ErrorKind::RateLimited, "scripted")
                .with_retry_after(Duration::from_secs(3))))
        }
        Some(SpeechFault::Unauthorized) => scripted.plan(fails(ErrorKind::Unauthorized)),
        Some(SpeechFault::Fails) => scripted.plan(fails(ErrorKind::Ambiguous)),
        Some(SpeechFault::Cut) => scripted.plan(fails(ErrorKind::Truncated)),
        Some(SpeechFault::Garbage) => scripted.plan(fails(ErrorKind::Protocol)),
        Some(SpeechFault::TooLarge) => scripted.plan(fails(ErrorKind::TooLarge)),
        Some(_) => scripted.plan(fails(ErrorKind::Unsupported)),
    }
    Arc::new(BrokenTranscriber::new(Arc::new(scripted), flaw))
}

#[tokio::test(start_paused = true)]
async fn a_transcriber_without_a_flaw_passes() {
    transcriber_suite(async |fault| make(TranscriberFlaw::Nothing, fault)).await;
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_detected_by_its_case() {
    for (flaw, case) in [
        (TranscriberFlaw::InventsWords, "silence_is_an_empty_text"),
        (TranscriberFlaw::SwallowsErrors, "failures_have_their_kinds"),
        (TranscriberFlaw::PromisesNoBill, "failures_have_their_kinds"),
        (
            TranscriberFlaw::IgnoresTimeout,
            "a_hanging_server_times_out",
        ),
        (
            TranscriberFlaw::IgnoresBudget,
            "every_request_is_on_the_bill",
        ),
    ] {
        let mut failed = Vec::new();
        for name in TRANSCRIBER_CASES {
            let make = async |fault| make(flaw, fault);
            if transcriber_case(name, &make).await.is_err() {
                failed.push(*name);
            }
        }
        assert!(failed.contains(&case), "{flaw:?} fails only {failed:?}");
    }
}
