//! An employee that understands voice messages, pictures and files.
//!
//! Three lines give it ears and eyes: `.transcriber(..)`, `.document_reader(..)`, and a model that takes images. Here a local server
//! replaces OpenAI, and a scripted channel replaces WhatsApp.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use konstruct_core::{
    AccountId, ChannelKind, Employee, Inbound, Secret, SystemClock, Workforce,
    channel::Find,
    message::AttachmentKind,
    testkit::{ScriptedChannel, World},
};
use konstruct_llm::{
    OpenAi, OpenAiTranscriber,
    testkit::{FakeProvider, Reply},
};
use konstruct_memory::{Documents, Redb};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The model repeats what it was told, and the transcription server what was said.
    let openai = FakeProvider::new(|asked| Reply::text(asked))
        .spawn()
        .await?;
    let (key, url) = (Secret::new("sk-1"), format!("{}/v1", openai.url()));
    let world = World::default();
    let whatsapp = ScriptedChannel::new(world.clone(), Arc::new(SystemClock), Find::Query);

    let workforce = Workforce::builder(Redb::in_memory()?)
        .model(OpenAi::new(key.clone(), "gpt-4o").base_url(&url))
        .transcriber(OpenAiTranscriber::new(key, "gpt-4o-mini-transcribe").base_url(&url))
        .document_reader(Documents::new())
        .channel("shop", whatsapp.clone())
        .hire(
            Employee::builder("Ava")
                .role("front desk of Acme Bikes")
                .build()?,
        )
        .build()?;

    let mut note = whatsapp.put_media("OggS Is my bike ready?");
    note.kind = AttachmentKind::Voice;
    let mut list = whatsapp.put_media("Repair,Price\nBrakes,45.00\n");
    list.name = Some("prices.csv".into());
    let shop = AccountId("shop".into());
    let event = Inbound::message("customer-7", "")
        .on(ChannelKind::new("scripted"), shop)
        .with_attachment(note)
        .with_attachment(list);
    workforce.accept(event).await?;
    workforce.run_until_idle().await?;

    let reply = world.texts().join("\n");
    println!("{reply}");
    assert!(reply.contains("Is my bike ready?") && reply.contains("Brakes,45.00"));
    let spend = workforce.spend().await?;
    assert!(
        spend.spent > konstruct_core::NanoUsd(0) && spend.reserved == konstruct_core::NanoUsd(0)
    );
    Ok(())
}
