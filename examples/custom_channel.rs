//! A channel of your own: here it prints. The employee answers from its documents, on a store in memory.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use konstruct_core::{
    AccountId, Channel, ChannelKind, DocumentFormat, Employee, Error, ErrorKind, Inbound,
    NewDocument, Outgoing, Result, Workforce,
    channel::{Capabilities, Find, FindQuery, Op, Receipt},
    memory::KnowledgeStore as _,
    message::Attachment,
    outgoing::Rendered,
};
use konstruct_llm::Extract;
use konstruct_memory::Redb;

/// Prints what the employee says.
#[derive(Clone, Debug)]
struct Terminal {
    capabilities: Capabilities,
    printed: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Channel for Terminal {
    fn kind(&self) -> ChannelKind {
        ChannelKind::new("terminal")
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        Rendered::plain(outgoing, self.capabilities.max_text, max_parts)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        let (key, text) = match op {
            Op::Send { key, outgoing, .. } => (key, outgoing.text),
            Op::Progress { .. } | Op::MarkRead { .. } => {
                return Err(Error::new(ErrorKind::Unsupported, "a terminal only prints"));
            }
        };
        println!("Ava: {text}");
        self.printed
            .lock()
            .map_err(|_| Error::internal("poisoned"))?
            .push(text);
        Ok(Receipt { message: Some(key) })
    }

    async fn find(&self, _: FindQuery) -> Result<Option<Receipt>> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "nobody knows what a terminal showed",
        ))
    }

    async fn fetch_media(&self, _: &Attachment, _: u64) -> Result<Bytes> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "a terminal has no media",
        ))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let store = Redb::in_memory()?;
    let terminal = Terminal {
        capabilities: Capabilities::new(Find::None, 4000),
        printed: Arc::default(),
    };
    let workforce = Workforce::builder(store.clone())
        .model(Extract::new())
        .channel("console", terminal.clone())
        .hire(
            Employee::builder("Ava")
                .role("front desk of Acme Bikes")
                .build()?,
        )
        .build()?;
    let faq = "## Opening hours\nWe are open Tuesday to Saturday, 10 to 18.";
    let faq = NewDocument::new("FAQ", DocumentFormat::Markdown, faq);
    store.put_document(workforce.tenant(), faq).await?;

    let question = "When are you open?";
    println!("You: {question}");
    let event = Inbound::message("you", question)
        .on(ChannelKind::new("terminal"), AccountId("console".into()));
    workforce.accept(event.clone()).await?;
    // Delivered again, as providers do: it is still one question.
    workforce.accept(event).await?;
    workforce.run_until_idle().await?;
    let printed = terminal
        .printed
        .lock()
        .map_err(|_| Error::internal("poisoned"))?;
    assert_eq!(printed.len(), 1);
    assert!(printed[0].contains("Tuesday to Saturday"));
    Ok(())
}
