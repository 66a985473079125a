//! An agent with a tool and a memory of its conversations in RAM.

use std::{error::Error, io};

use rig::prelude::*;
use rig::providers::openai::OpenAI;

/// Finds an order.
#[rig::rig_tool]
fn status(number: String) -> Result<String, rig::tool::ToolExecutionError> {
    Ok(format!("{number} was shipped"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = AgentBuilder::new(OpenAI::from_env()?.chat("gpt-4.1-mini"))
        .tool(Status)
        .memory(rig::memory::InMemoryConversationMemory::new())
        .default_max_turns(8)
        .build();
    for question in ["Where is order B-1042?", "Which order did I ask about?"] {
        let answer = agent.prompt(question).conversation("you").await?;
        println!("{}", answer.output());
    }
    io::read_to_string(io::stdin())?;
    Ok(())
}
