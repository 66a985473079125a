//! An employee with a tool and a durable memory of its conversations.

use std::{env, error::Error, io};

use konstruct_core::tool::{Effect, ToolContext, ToolError, function};
use konstruct_core::{Employee, Secret, Workforce};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

async fn status(_: ToolContext, order: Order) -> Result<String, ToolError> {
    Ok(format!("{} was shipped", order.number))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = Secret::new(env::var("OPENAI_API_KEY")?);
    let model = konstruct_llm::OpenAi::new(key, "gpt-4.1-mini");
    let workforce = Workforce::builder(konstruct_memory::Redb::open("ava.redb")?)
        .model(model.base_url(env::var("OPENAI_BASE_URL")?))
        .tool(function("status", "Finds an order.", Effect::Read, status))
        .hire(Employee::builder("Ava").tool("status").build()?)
        .build()?;
    for question in ["Where is order B-1042?", "Which order did I ask about?"] {
        println!("{}", workforce.ask("you", question).await?.text);
    }
    io::read_to_string(io::stdin())?;
    Ok(())
}
