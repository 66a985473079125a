//! Every backend of this crate passes core's suite, against fake providers that break off and stall.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    LlmBackend, Secret,
    testkit::{LlmSubject, llm_suite},
};
use konstruct_llm::{
    Anthropic, BreakerPolicy, Deployment, Extract, Ollama, OpenAi, Pool,
    testkit::{FakeProvider, Fault, Reply},
};

type Make = fn(&str) -> Arc<dyn LlmBackend>;

const BACKENDS: [Make; 4] = [
    |url| Arc::new(OpenAi::new(Secret::new("k"), "m").base_url(format!("{url}/v1"))),
    |url| {
        let model = OpenAi::new(Secret::new("k"), "m").base_url(format!("{url}/v1"));
        Arc::new(model.responses())
    },
    |url| Arc::new(Anthropic::new(Secret::new("k"), "m").base_url(url)),
    |url| Arc::new(Ollama::new("m").base_url(url)),
];

#[tokio::test]
async fn every_provider_passes() {
    let answers = FakeProvider::new(|asked| {
        let reply = Reply::text("Good morning.");
        if asked.contains("Look up") {
            reply.call("look_up", "{}")
        } else {
            reply
        }
    });
    let cuts = FakeProvider::new(|_| Reply::text("Good morning.").fault(Fault::Cut(2)));
    let silent = FakeProvider::new(|_| Reply::default().delay(Duration::from_secs(60)));
    let (answers, cuts, silent) = (
        answers.spawn().await.unwrap(),
        cuts.spawn().await.unwrap(),
        silent.spawn().await.unwrap(),
    );
    let pooled = |backend: Arc<dyn LlmBackend>| -> Arc<dyn LlmBackend> {
        let pool = Pool::builder()
            .deployment(Deployment::shared("only", backend))
            .breaker(BreakerPolicy::default().with_cooldown(Duration::from_millis(50)));
        Arc::new(pool.build().unwrap())
    };
    for make in BACKENDS {
        llm_suite(async || {
            LlmSubject::new(make(answers.url()))
                .cut_off(make(cuts.url()))
                .silent(make(silent.url()))
        })
        .await;
        llm_suite(async || {
            LlmSubject::new(pooled(make(answers.url())))
                .cut_off(pooled(make(cuts.url())))
                .silent(pooled(make(silent.url())))
        })
        .await;
    }
}

#[tokio::test]
async fn the_offline_backend_passes() {
    llm_suite(async || LlmSubject::new(Arc::new(Extract::new()))).await;
}
