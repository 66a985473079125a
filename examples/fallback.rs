//! Two providers behind one model: the first breaks off in mid-answer, and the second takes over.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, sync::Arc, time::Duration};

use konstruct_core::{
    Secret, TenantId,
    limit::{Budget, LocalBudget},
    llm::{CallContext, LlmBackendExt as _, ModelMessage, ModelRequest, OnBreak, Role},
};
use konstruct_llm::{
    Anthropic, Deployment, OpenAi, Pool,
    testkit::{FakeProvider, Fault, Reply},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Stand-ins for the two providers, as local servers. The first cuts every answer after six frames.
    let words = "We are open from ten to six, every day but Sunday.";
    let ill = FakeProvider::new(move |_| Reply::text(words).fault(Fault::Cut(6)))
        .spawn()
        .await?;
    let well = FakeProvider::new(move |_| Reply::text(words))
        .spawn()
        .await?;

    let first = Anthropic::new(Secret::new("key-1"), "claude-haiku-4-5").base_url(ill.url());
    let second = OpenAi::new(Secret::new("key-2"), "gpt-5-mini").base_url(well.url());
    let pool = Pool::builder()
        .deployment(Deployment::new("first", first))
        .deployment(Deployment::new("second", second).fallback(1))
        .build()?;

    let request = ModelRequest::default().with(|it| {
        it.messages = vec![ModelMessage::text(Role::User, "When are you open?")];
        it.max_tokens = 100;
    });
    let budget = Arc::new(LocalBudget::new(None));
    let call = CallContext::new(TenantId::new(), "call-1", Duration::from_secs(30))
        // Nothing is shown before the answer is whole.
        .on_break(OnBreak::Restart)
        .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
    let answer = pool.complete(request, &call).await?;
    println!("{}", answer.text());
    assert_eq!(answer.text(), words);

    // Each attempt has a row in the ledger: the broken one at its highest possible cost, the other as reported.
    for row in budget.rows() {
        let cost = row.cost.ok_or("both have a price")?;
        println!(
            "{} {}/{} {cost} {:?}",
            row.call, row.provider, row.model, row.basis
        );
    }
    assert_eq!(budget.rows().len(), 2);
    Ok(())
}
