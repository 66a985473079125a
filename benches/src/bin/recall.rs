//! How well a memory finds what was said in long chats: BEAM, LoCoMo or LongMemEval.
//!
//! Each chat is a conversation of a tenant of its own, written through the journal of a real store. Ends with a row a retriever.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{fs, path::PathBuf, sync::Arc};

use clap::Parser;
use konstruct_benches::{
    Failed,
    recall::{Dataset, Row, feed, measure},
    store::{Kind, Store},
};
use konstruct_core::Embedder;
use konstruct_memory::StaticEmbedder;

/// How well a memory finds what was said.
#[derive(Parser)]
struct Arguments {
    /// A file of BEAM, LoCoMo or LongMemEval.
    file: PathBuf,
    /// Where it is kept.
    #[arg(long, value_enum, default_value_t = Kind::Redb)]
    store: Kind,
    /// Only so many chats.
    #[arg(long)]
    chats: Option<usize>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let dataset = Dataset::read(&fs::read(&arguments.file)?)?;
    if dataset.pinned == Some(false) {
        println!(
            "warning: this is not the file of {} that the published figures are of",
            dataset.name
        );
    }
    let chats = &dataset.chats[..arguments
        .chats
        .unwrap_or(usize::MAX)
        .min(dataset.chats.len())];
    let questions: usize = chats.iter().map(|chat| chat.questions.len()).sum();
    let turns: usize = chats.iter().map(|chat| chat.turns.len()).sum();
    println!(
        "dataset={} chats={} turns={turns} questions={questions}",
        dataset.name,
        chats.len()
    );
    let retrievers: [(_, Option<Arc<dyn Embedder>>); 2] = [
        ("lexical", None),
        ("static", Some(Arc::new(StaticEmbedder::new()))),
    ];
    for (name, embedder) in retrievers {
        let mut row = Row::new(name);
        let store = Store::open(arguments.store, embedder).await?;
        for chat in chats {
            let fed = feed(&*store.journal, chat).await?;
            store.memory.catch_up(fed.tenant).await?;
            measure(&*store.memory, chat, &fed, &mut row).await?;
        }
        store.close().await?;
        println!("{row}");
    }
    Ok(())
}
