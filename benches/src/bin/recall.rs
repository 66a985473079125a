//! Measures how well a memory finds messages in long chats (BEAM, LoCoMo or LongMemEval), or passages in many languages.
//!
//! Each chat is a conversation of its own tenant, written through a real store. Ends with a row for each retriever.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{env, fs, path::PathBuf, sync::Arc};

use clap::Parser;
use konstruct_benches::{
    Failed,
    recall::{Dataset, Row, feed, languages, measure},
    store::{Kind, Store},
};
use konstruct_core::{Embedder, Secret};
use konstruct_llm::{OllamaEmbedder, OpenAiEmbedder};
use konstruct_memory::StaticEmbedder;

/// Measures how well a memory finds messages.
#[derive(Parser)]
struct Arguments {
    /// File of BEAM, LoCoMo or LongMemEval, or a folder with files of passages and questions for each language.
    file: PathBuf,
    /// Store.
    #[arg(long, value_enum, default_value_t = Kind::Redb)]
    store: Kind,
    /// Limits the number of chats.
    #[arg(long)]
    chats: Option<usize>,
    /// An additional embedder: `openai/MODEL` (at `OPENAI_BASE_URL`, with `OPENAI_API_KEY`) or `ollama/MODEL` (at `OLLAMA_HOST`).
    #[arg(long)]
    embedder: Option<String>,
    /// Dimension of the embedder's vectors; requested from Ollama.
    #[arg(long, default_value_t = 1536)]
    dim: usize,
    /// Prefix of questions, for embedders that need one.
    #[arg(long, default_value = "")]
    query_prefix: String,
    /// Prefix of indexed texts, for embedders that need one.
    #[arg(long, default_value = "")]
    document_prefix: String,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let mut retrievers: Vec<(&str, Option<Arc<dyn Embedder>>)> = vec![
        ("lexical", None),
        ("static", Some(Arc::new(StaticEmbedder::new()))),
    ];
    if let Some(name) = &arguments.embedder {
        retrievers.push((name, Some(configured(name, &arguments).await?)));
    }
    if arguments.file.is_dir() {
        return many_languages(&arguments, retrievers).await;
    }
    let dataset = Dataset::read(&fs::read(&arguments.file)?)?;
    if dataset.pinned == Some(false) {
        println!(
            "warning: the published figures are for another file of {}",
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
    for (name, embedder) in retrievers {
        let mut row = Row::new(name);
        let store = Store::open(arguments.store, embedder).await?;
        for chat in chats {
            let fed = feed(&*store.turn_store, chat).await?;
            store.memory.catch_up(fed.tenant).await?;
            measure(&*store.memory, chat, &fed, &mut row).await?;
        }
        store.close().await?;
        println!("{row}");
    }
    Ok(())
}

/// Prints a row for each language, and the sum of those other than English.
async fn many_languages(
    arguments: &Arguments,
    retrievers: Vec<(&str, Option<Arc<dyn Embedder>>)>,
) -> Result<(), Failed> {
    for (name, embedder) in retrievers {
        let store = Store::open(arguments.store, embedder).await?;
        let rows = languages(&arguments.file, &*store.memory).await?;
        store.close().await?;
        for row in &rows {
            println!("  {}: {} of {}", row.language, row.right, row.questions);
        }
        let others = rows.iter().filter(|row| row.language != "en");
        let (right, questions) = others.fold((0, 0), |(right, questions), row| {
            (right + row.right, questions + row.questions)
        });
        println!("retriever={name} questions={questions} right@1={right}");
    }
    Ok(())
}

async fn configured(name: &str, arguments: &Arguments) -> Result<Arc<dyn Embedder>, Failed> {
    let prefixes = (&*arguments.query_prefix, &*arguments.document_prefix);
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    match name.split_once('/') {
        Some(("openai", model)) => {
            let key = Secret::new(variable("OPENAI_API_KEY").unwrap_or_default());
            let embedder = OpenAiEmbedder::new(key, model, arguments.dim);
            let embedder = embedder.prefixes(prefixes.0, prefixes.1);
            Ok(Arc::new(match variable("OPENAI_BASE_URL") {
                Some(url) => embedder.base_url(url),
                None => embedder,
            }))
        }
        Some(("ollama", model)) => {
            let embedder = OllamaEmbedder::new(model, 0).prefixes(prefixes.0, prefixes.1);
            let embedder = match variable("OLLAMA_HOST") {
                Some(host) => embedder.base_url(host),
                None => embedder,
            };
            Ok(Arc::new(embedder.measured().await?))
        }
        _ => Err("an embedder is openai/MODEL or ollama/MODEL".into()),
    }
}
