//! An employee in your own program, without a channel: a model, a tool and a memory.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use konstruct_core::tool::{Effect, ToolContext, ToolError, function};
use konstruct_core::{DocumentFormat, Employee, NewDocument, Workforce};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

async fn status(_: ToolContext, order: Order) -> Result<String, ToolError> {
    Ok(format!("{} was shipped", order.number))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let faq = "## Opening hours\nTuesday to Saturday, 10 to 18.";
    let workforce = Workforce::builder(konstruct_memory::Redb::open("ava.redb")?)
        .model(konstruct_llm::Ollama::new("llama3.2").base_url(std::env::var("OLLAMA_HOST")?))
        .tool(function("status", "Finds an order.", Effect::Read, status))
        .hire(Employee::builder("Ava").tool("status").build()?)
        .build()?;
    workforce
        .teach(NewDocument::new("FAQ", DocumentFormat::Markdown, faq))
        .await?;
    let answer = workforce.ask("you", "Where is order B-1042?").await?;
    println!("{}", answer.text);
    Ok(())
}
