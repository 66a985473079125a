//! The transcribers, against a fake server that misbehaves on request.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    ErrorKind, NanoUsd, Secret, TenantId, Transcriber,
    limit::LocalBudget,
    llm::Media,
    money::Basis,
    testkit::{SPOKEN, SpeechFault, transcriber_suite},
    transcribe::{Recording, SpeechContext, SpeechPrice},
};
use konstruct_llm::{
    OpenAiTranscriber, TranscriberPool, WhisperCpp,
    testkit::{FakeProvider, FakeServer, Fault, Reply},
};

type Make = fn(&str) -> Box<dyn Transcriber>;

const TRANSCRIBERS: [Make; 3] = [
    |url| Box::new(openai(url, "whisper-1")),
    |url| Box::new(openai(url, "gpt-4o-mini-transcribe")),
    |url| Box::new(WhisperCpp::new(url)),
];

fn openai(url: &str, model: &str) -> OpenAiTranscriber {
    OpenAiTranscriber::new(Secret::new("k"), model).base_url(format!("{url}/v1"))
}

/// Returns what a server replies that misbehaves.
fn reply(fault: Option<SpeechFault>, spoken: &str) -> Reply {
    let reply = Reply::text(spoken);
    let refused = |status, code: &str| {
        Fault::status(
            status,
            format!(
                "{{\"error\": {{\"message\": \"no\", \"type\": \"{code}\", \"code\": \"{code}\"}}}}"
            ),
        )
    };
    match fault {
        None => reply,
        Some(SpeechFault::Unauthorized) => reply.fault(refused(401, "invalid_api_key")),
        Some(SpeechFault::RateLimited) => {
            reply.fault(refused(429, "rate_limit_exceeded").header("retry-after", "3"))
        }
        Some(SpeechFault::Fails) => reply.fault(refused(500, "server_error")),
        Some(SpeechFault::Hangs) => reply.fault(Fault::Silent),
        Some(SpeechFault::Cut) => reply.fault(Fault::Cut(1)),
        Some(SpeechFault::Garbage) => reply.fault(Fault::Malformed(0)),
        Some(SpeechFault::Silence) => Reply::text(""),
        Some(SpeechFault::TooLarge) => reply.fault(refused(413, "invalid_request_error")),
        Some(_) => reply.fault(refused(400, "invalid_request_error")),
    }
}

async fn serve(fault: Option<SpeechFault>) -> FakeServer {
    let fake = FakeProvider::new(move |spoken| reply(fault, spoken));
    fake.spawn().await.unwrap()
}

#[tokio::test]
async fn every_transcriber_passes() {
    for make in TRANSCRIBERS {
        let servers = tokio::sync::Mutex::new(Vec::new());
        transcriber_suite(async |fault| {
            let server = serve(fault).await;
            let transcriber: Arc<dyn Transcriber> = Arc::from(make(server.url()));
            servers.lock().await.push(server);
            transcriber
        })
        .await;
    }
}

fn recording() -> Recording {
    Recording::new(Media::new("audio/ogg", format!("OggS {SPOKEN}")))
}

fn context() -> (SpeechContext, Arc<LocalBudget>) {
    let budget = Arc::new(LocalBudget::new(None));
    let context = SpeechContext::new(TenantId::new(), "trn_1.r1", Duration::from_secs(20));
    (context.with_budget(Arc::clone(&budget) as _), budget)
}

#[tokio::test]
async fn requests_and_prices() {
    let fake = FakeProvider::new(|spoken| Reply::text(spoken).usage(40, 8));
    let server = fake.spawn().await.unwrap();
    let check = async |transcriber: Box<dyn Transcriber>, path: &str, fields: &str, cost| {
        let (context, budget) = context();
        let tagged = recording().in_language("de-AT");
        let heard = transcriber.transcribe(tagged, &context).await.unwrap();
        assert_eq!(heard.text, SPOKEN);
        let asked = fake.requests().pop().unwrap();
        assert_eq!(asked.path, path);
        let mut body = asked.body;
        let file = body.as_object_mut().unwrap().remove("file").unwrap();
        assert_eq!(file["name"], "audio.ogg");
        assert_eq!(file["type"], "audio/ogg");
        assert_eq!(body.to_string(), fields);
        let [row] = budget.rows().try_into().unwrap();
        assert_eq!(
            (row.cost, row.basis),
            (Some(NanoUsd(cost)), Basis::Reported)
        );
    };
    // 2.4 seconds are billed as 3, of 60, at $0.006; Groq bills at least 10 seconds.
    check(
        Box::new(openai(server.url(), "whisper-1")),
        "/v1/audio/transcriptions",
        r#"{"language":"de","model":"whisper-1","response_format":"verbose_json","temperature":"0"}"#,
        300_000,
    )
    .await;
    check(
        Box::new(openai(server.url(), "whisper-large-v3")),
        "/v1/audio/transcriptions",
        r#"{"language":"de","model":"whisper-large-v3","response_format":"verbose_json","temperature":"0"}"#,
        308_334,
    )
    .await;
    // 40 tokens at $3 and 8 at $5 per million.
    check(
        Box::new(openai(server.url(), "gpt-4o-mini-transcribe")),
        "/v1/audio/transcriptions",
        r#"{"language":"de","model":"gpt-4o-mini-transcribe","response_format":"json","temperature":"0"}"#,
        160_000,
    )
    .await;
    check(
        Box::new(WhisperCpp::new(server.url())),
        "/inference",
        r#"{"language":"de","response_format":"json","temperature":"0.0"}"#,
        0,
    )
    .await;
}

#[tokio::test]
async fn strange_responses() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let whisper = WhisperCpp::new(server.url());
    let check = async |status, body: &str, expected: Result<&str, ErrorKind>| {
        fake.next(Reply::default().fault(Fault::status(status, body)));
        let (context, _) = context();
        let heard = whisper.transcribe(recording(), &context).await;
        let heard = heard.map(|it| it.text).map_err(|error| error.kind());
        assert_eq!(heard.as_deref().map_err(|kind| *kind), expected, "{body}");
    };
    check(200, r#"{"text": " [BLANK_AUDIO]\n"}"#, Ok("")).await;
    check(
        200,
        r#"{"error": "failed to read audio"}"#,
        Err(ErrorKind::Unsupported),
    )
    .await;
    check(
        200,
        r#"{"text": "Hi.", "duration": "2.5", "language": null}"#,
        Ok("Hi."),
    )
    .await;
    check(200, r#"{"text": null}"#, Err(ErrorKind::Protocol)).await;
    check(200, "[]", Err(ErrorKind::Protocol)).await;
    check(404, "<h1>no</h1>", Err(ErrorKind::NotFound)).await;
    let huge = format!(r#"{{"text": "{}"}}"#, "a".repeat(17 << 20));
    check(200, &huge, Err(ErrorKind::Protocol)).await;
}

#[tokio::test]
async fn a_pool_tries_the_next_and_pays_for_both() {
    let broken = serve(Some(SpeechFault::Fails)).await;
    let works = serve(None).await;
    let price = SpeechPrice::PerMinute {
        price: NanoUsd(600),
        least_secs: 0,
    };
    let pool = TranscriberPool::new(vec![
        Box::new(openai(broken.url(), "whisper-1").price(price.clone())),
        Box::new(openai(works.url(), "whisper-1").price(price)),
    ]);
    let (context, budget) = context();
    let heard = pool.unwrap().transcribe(recording(), &context).await;
    assert_eq!(heard.unwrap().text, SPOKEN);
    let rows = budget.rows();
    let of = |at: usize| (rows[at].call.as_str(), rows[at].basis);
    assert_eq!(of(0), ("trn_1.r1", Basis::WorstCase), "it may be billed");
    assert_eq!(of(1), ("trn_1.r1.a1", Basis::Reported));
    assert!(TranscriberPool::new(Vec::new()).is_err());
}
