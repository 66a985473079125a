//! Many tenants in one process: each has its own employee, model, accounts and data, and all of it changes while the program runs.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use konstruct_channels::Slack;
use konstruct_core::{
    Directory as _, DocumentFormat, Employee, LocalDirectory, NewDocument, Secret, TenantId,
    Workforce,
};
use konstruct_llm::Extract;
use konstruct_memory::Redb;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The model of every tenant that brings none of its own. `Extract` needs no account; it quotes the tenant's documents.
    let directory = Arc::new(LocalDirectory::new(Extract::new()));
    let workforce = Workforce::builder(Redb::in_memory()?)
        .directory(Arc::clone(&directory))
        .build()?;

    // A tenant signs up. Keep its id, and hire and connect it again at the next start.
    let (acme, zenith) = (TenantId::new(), TenantId::new());
    for (tenant, name, hours) in [(acme, "Ava", "10 to 18"), (zenith, "Zoe", "8 to 12")] {
        directory.hire(tenant, Employee::builder(name).build()?)?;
        let faq = format!("## Opening hours\nWe are open from {hours}.");
        let faq = NewDocument::new("FAQ", DocumentFormat::Markdown, faq);
        workforce.for_tenant(tenant).teach(faq).await?;
    }
    let slack = Slack::builder(Secret::new("xoxb-acme")).build()?;
    directory.connect(acme, "T-ACME", slack)?;

    // One worker serves them all, and each sees its own data only.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(workforce.clone().run(async { drop(stopped.await) }));
    for tenant in [acme, zenith] {
        let answer = workforce
            .for_tenant(tenant)
            .ask("customer-1", "When are you open?")
            .await?;
        println!("{tenant}: {}", answer.text);
    }

    // A change takes effect with the next turn. Turns that are open finish with the version that they began with, which is kept.
    let before = directory.staff(zenith, None).await?.version;
    let after = directory.change(zenith, |zoe| zoe.persona = "formal".into())?;
    println!("Zoe's version was {before} and is {after}; both are available.");
    directory.staff(zenith, Some(before)).await?;

    // A tenant leaves: its accounts are free, and what it stored is erased.
    directory.remove(acme);
    let everything = konstruct_core::Erase::Tenant;
    let receipt = workforce
        .for_tenant(acme)
        .erase(everything, konstruct_core::Depth::Logical)
        .await?;
    println!(
        "Erased for Acme: {} records, {} passages",
        receipt.records, receipt.passages
    );
    assert!(
        workforce
            .for_tenant(acme)
            .ask("customer-1", "Hello?")
            .await
            .is_err()
    );

    drop(stop);
    worker.await?;
    Ok(())
}
