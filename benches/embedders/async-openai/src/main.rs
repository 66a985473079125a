//! A chat with a tool, whose loop and messages are the program's own.

use std::{error::Error, io};

use async_openai::types::chat::{
    ChatCompletionMessageToolCalls, ChatCompletionRequestAssistantMessage,
    ChatCompletionRequestAssistantMessageArgs, ChatCompletionRequestMessage,
    ChatCompletionRequestToolMessage, ChatCompletionRequestUserMessage, ChatCompletionTool,
    CreateChatCompletionRequestArgs, FunctionObjectArgs,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

fn status(order: Order) -> String {
    format!("{} was shipped", order.number)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = async_openai::Client::new();
    let function = FunctionObjectArgs::default()
        .name("status")
        .description("Finds an order.")
        .parameters(schemars::schema_for!(Order).to_value())
        .build()?;
    let tool = ChatCompletionTool { function };
    let mut messages: Vec<ChatCompletionRequestMessage> = Vec::new();
    for question in ["Where is order B-1042?", "Which order did I ask about?"] {
        messages.push(ChatCompletionRequestUserMessage::from(question).into());
        let answer = loop {
            let request = CreateChatCompletionRequestArgs::default()
                .model("gpt-4.1-mini")
                .messages(messages.clone())
                .tools(tool.clone())
                .build()?;
            let response = client.chat().create(request).await?;
            let choice = response.choices.into_iter().next().ok_or("no choice")?;
            let calls = choice.message.tool_calls.unwrap_or_default();
            if calls.is_empty() {
                break choice.message.content.unwrap_or_default();
            }
            let message = ChatCompletionRequestAssistantMessageArgs::default()
                .tool_calls(calls.clone())
                .build()?;
            messages.push(message.into());
            for call in calls {
                if let ChatCompletionMessageToolCalls::Function(call) = call {
                    let order = serde_json::from_str(&call.function.arguments)?;
                    let result = ChatCompletionRequestToolMessage {
                        content: status(order).into(),
                        tool_call_id: call.id,
                    };
                    messages.push(result.into());
                }
            }
        };
        println!("{answer}");
        messages.push(ChatCompletionRequestAssistantMessage::from(answer).into());
    }
    io::read_to_string(io::stdin())?;
    Ok(())
}
