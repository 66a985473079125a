//! Measures how often the `extract` backend is right: paraphrases of the demo FAQ, and questions that it does not answer.
//!
//! Each row of the file is the answering heading or `-`, a tab, and the question. The rows were written after the backend, which
//! was not tuned to them. Ends with `questions=N right=N share=P`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use konstruct_core::{
    Audience, DocumentFormat, MemoryStore as _, NewDocument, Recall, Result, TenantId,
    llm::{CallContext, LlmBackendExt as _, ModelMessage, ModelRequest, Passage, Role},
    memory::{KnowledgeStore as _, Scope},
};
use konstruct_llm::{Extract, extract};
use konstruct_memory::Redb;

const FAQ: &str = include_str!("../../../apps/server/src/demo/faq.md");
const QUESTIONS: &str = include_str!("../../data/paraphrases.tsv");

/// Measures how often the extractive backend is right.
#[derive(Parser)]
struct Arguments {
    /// File with other questions about the demo FAQ.
    file: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let file = Arguments::parse().file;
    let questions = file
        .map_or(Ok(QUESTIONS.to_owned()), std::fs::read_to_string)
        .map_err(|error| {
            konstruct_core::Error::invalid("file", "cannot be read").with_source(error)
        })?;
    let (store, tenant) = (Redb::in_memory()?, TenantId::new());
    let faq = NewDocument::new("FAQ", DocumentFormat::Markdown, FAQ);
    store.put_document(tenant, faq).await?;
    let (mut inside, mut outside) = ((0, 0), (0, 0));
    for (heading, question) in questions.lines().filter_map(|line| line.split_once('\t')) {
        let answer = answer(&store, tenant, question).await?;
        let source = answer
            .rsplit_once("Source: ")
            .map(|(_, source)| source.trim());
        let right = match source {
            Some(source) => source.ends_with(&format!("› {heading}")),
            None => heading == "-",
        };
        let count = if heading == "-" {
            &mut outside
        } else {
            &mut inside
        };
        *count = (count.0 + usize::from(right), count.1 + 1);
        if !right {
            out(&format!(
                "wrong: {question} -> {} (wanted {heading})",
                source.unwrap_or("don't know")
            ));
        }
    }
    let (right, all) = (inside.0 + outside.0, inside.1 + outside.1);
    out(&format!(
        "inside the FAQ: {} of {}; outside: {} of {}",
        inside.0, inside.1, outside.0, outside.1
    ));
    out(&format!(
        "questions={all} right={right} share={:.1}",
        100.0 * right as f64 / all.max(1) as f64
    ));
    Ok(ExitCode::SUCCESS)
}

async fn answer(store: &Redb, tenant: TenantId, question: &str) -> Result<String> {
    let text = extract::expand(question).join(" ");
    let query = Recall::new(text, Audience::Tenant, Scope::KNOWLEDGE);
    let passages = store
        .recall(tenant, query)
        .await?
        .into_iter()
        .map(|hit| Passage {
            source: hit.name,
            title: hit.title,
            text: hit.text,
            confidence: hit.coverage,
        });
    let request = ModelRequest::default().with(|it| {
        it.passages = passages.collect();
        it.messages = vec![ModelMessage::text(Role::User, question)];
        it.max_tokens = 500;
    });
    let call = CallContext::new(tenant, "1", Duration::from_secs(5));
    Ok(Extract::new().complete(request, &call).await?.text())
}

fn out(line: &str) {
    use std::io::Write as _;
    // The reader of the output may be gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}
