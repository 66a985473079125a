//! The suite of `LlmBackend` detects every defect.

use std::sync::Arc;

use konstruct_core::{
    LlmBackend,
    testkit::{
        BrokenLlm, Gate, LLM_CASES, LlmFlaw, LlmSubject, ScriptedAnswer, ScriptedModel, llm_case,
        llm_suite,
    },
};

fn subject(flaw: LlmFlaw) -> LlmSubject {
    let broken = |answer: ScriptedAnswer| -> Arc<dyn LlmBackend> {
        let model = ScriptedModel::new(move |_| answer.clone());
        Arc::new(BrokenLlm::new(Arc::new(model), flaw))
    };
    LlmSubject::new(broken(ScriptedAnswer::text("Good morning.")))
        .cut_off(broken(ScriptedAnswer::Truncated))
}

#[tokio::test]
async fn a_backend_without_a_flaw_passes() {
    llm_suite(async || subject(LlmFlaw::Nothing)).await;
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_detected_by_its_case() {
    for (flaw, case) in [
        (LlmFlaw::FinishesTwice, "an_answer_is_well_formed"),
        (LlmFlaw::NeverFinishes, "an_answer_is_well_formed"),
        (LlmFlaw::LeavesBlocksOpen, "an_answer_is_well_formed"),
        (LlmFlaw::StrayDelta, "an_answer_equals_its_stream"),
        (LlmFlaw::InventsTheEnd, "a_broken_stream_is_an_error"),
        (LlmFlaw::DropsParts, "unsupported_requests_are_refused"),
        (LlmFlaw::Hangs, "an_answer_is_well_formed"),
    ] {
        let mut failed = Vec::new();
        for name in LLM_CASES {
            if llm_case(name, &async || subject(flaw)).await.is_err() {
                failed.push(*name);
            }
        }
        assert!(failed.contains(&case), "{flaw:?} fails only {failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_ignores_its_timeout_is_detected() {
    let waits = ScriptedAnswer::Waits(Gate::default(), Box::new(ScriptedAnswer::text("Late.")));
    let silent = ScriptedModel::new(move |_| waits.clone());
    let make = async || subject(LlmFlaw::Nothing).silent(Arc::new(silent.clone()));
    assert!(
        llm_case("a_silent_provider_times_out", &make)
            .await
            .is_err()
    );
}
