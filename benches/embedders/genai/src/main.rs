//! A chat with a tool, whose loop and messages are the program's own.

use std::{env, error::Error, io};

use genai::chat::{ChatMessage, ChatRequest, Tool, ToolResponse};
use genai::{Client, ServiceTarget};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

fn status(order: Order) -> String {
    format!("{} was shipped", order.number)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = format!("{}/", env::var("OPENAI_BASE_URL")?);
    let client = Client::builder()
        .with_service_target_resolver_fn(move |target: ServiceTarget| {
            Ok(ServiceTarget {
                endpoint: genai::resolver::Endpoint::from_owned(url.clone()),
                ..target
            })
        })
        .build()?;
    let tool = Tool::new("status")
        .with_description("Finds an order.")
        .with_schema(schemars::schema_for!(Order).to_value());
    let mut chat = ChatRequest::default().append_tool(tool);
    for question in ["Where is order B-1042?", "Which order did I ask about?"] {
        chat = chat.append_message(ChatMessage::user(question));
        let answer = loop {
            let response = client.exec_chat("gpt-4.1-mini", chat.clone(), None).await?;
            let mut results = Vec::new();
            for call in response.tool_calls() {
                let order = serde_json::from_value(call.fn_arguments.clone())?;
                results.push(ToolResponse::from_tool_call(call, status(order)));
            }
            if results.is_empty() {
                break response.into_first_text().unwrap_or_default();
            }
            chat = chat
                .append_messages(response.into_assistant_message_for_tool_use())
                .append_message(results);
        };
        println!("{answer}");
        chat = chat.append_message(ChatMessage::assistant(answer));
    }
    io::read_to_string(io::stdin())?;
    Ok(())
}
