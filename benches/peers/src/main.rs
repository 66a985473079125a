//! Runs another library under the load of the pool benchmark:
//! `konstruct-bench-peers LIBRARY URL WORDS plain|stream CALLERS REQUESTS`.
//!
//! Prints three numbers in microseconds: CPU a request, and the median and the 99th percentile of the latency.

#[path = "../../src/pool/load.rs"]
mod load;

use std::{error::Error, sync::Arc};

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{
        ChatCompletionRequestUserMessageArgs, ChatCompletionStreamOptions,
        CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
    },
};
use futures_util::StreamExt as _;
use genai::{
    ModelIden, ServiceTarget,
    adapter::AdapterKind,
    chat::{ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent},
    resolver::{AuthData, Endpoint, ServiceTargetResolver},
};

use self::load::{Answer, Figures, Load};

type Failed = Box<dyn Error + Send + Sync>;

const QUESTION: &str = include_str!("../../src/pool/question.txt");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, url, words, kind, callers, requests] = &arguments[..] else {
        return Err("six arguments: LIBRARY URL WORDS plain|stream CALLERS REQUESTS".into());
    };
    let asked = Answer {
        words: words.parse()?,
        stream: kind == "stream",
    };
    let load = Load {
        callers: callers.parse()?,
        requests: requests.parse()?,
    };
    let url = format!("{url}/v1");
    let figures = match library.as_str() {
        "async-openai" => {
            let peer = Arc::new(AsyncOpenAi::new(&url, asked)?);
            measure(load, move || {
                let peer = Arc::clone(&peer);
                async move { peer.ask().await }
            })
            .await?
        }
        "genai" => {
            let peer = Arc::new(Genai::new(&url, asked)?);
            measure(load, move || {
                let peer = Arc::clone(&peer);
                async move { peer.ask().await }
            })
            .await?
        }
        other => return Err(format!("no library {other}").into()),
    };
    println!("{} {} {}", figures.cpu_us, figures.p50_us, figures.p99_us);
    Ok(())
}

async fn measure<F, A>(load: Load, ask: F) -> Result<Figures, Failed>
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let before = Load {
        requests: load.callers * 2,
        ..load
    };
    load::round(before, load::own, ask.clone()).await?;
    load::round(load, load::own, ask).await
}

fn enough(asked: Answer, words: usize) -> Result<(), Failed> {
    if words < asked.words {
        return Err(format!("{words} words of {}", asked.words).into());
    }
    Ok(())
}

struct AsyncOpenAi {
    client: Client<OpenAIConfig>,
    request: CreateChatCompletionRequest,
    asked: Answer,
}

impl AsyncOpenAi {
    fn new(url: &str, asked: Answer) -> Result<Self, Failed> {
        let config = OpenAIConfig::new().with_api_base(url).with_api_key("key");
        let question = ChatCompletionRequestUserMessageArgs::default()
            .content(QUESTION)
            .build()?;
        let mut request = CreateChatCompletionRequestArgs::default();
        request
            .model(asked.model())
            .max_completion_tokens(500u32)
            .messages([question.into()]);
        if asked.stream {
            request.stream_options(ChatCompletionStreamOptions {
                include_usage: Some(true),
                include_obfuscation: None,
            });
        }
        Ok(Self {
            client: Client::with_config(config),
            request: request.build()?,
            asked,
        })
    }

    async fn ask(&self) -> Result<(), Failed> {
        let request = self.request.clone();
        if !self.asked.stream {
            let answer = self.client.chat().create(request).await?;
            let text = answer.choices.into_iter().find_map(|it| it.message.content);
            return enough(self.asked, text.unwrap_or_default().split(' ').count());
        }
        let mut events = self.client.chat().create_stream(request).await?;
        let mut words = 0;
        while let Some(event) = events.next().await {
            let text = event?
                .choices
                .into_iter()
                .find_map(|choice| choice.delta.content);
            words += usize::from(text.is_some_and(|text| !text.is_empty()));
        }
        enough(self.asked, words)
    }
}

struct Genai {
    client: genai::Client,
    options: ChatOptions,
    asked: Answer,
}

impl Genai {
    fn new(url: &str, asked: Answer) -> Result<Self, Failed> {
        let url = format!("{url}/");
        let resolver = ServiceTargetResolver::from_resolver_fn(
            move |target: ServiceTarget| -> Result<ServiceTarget, genai::resolver::Error> {
                Ok(ServiceTarget {
                    endpoint: Endpoint::from_owned(url.clone()),
                    auth: AuthData::from_single("key"),
                    model: ModelIden::new(AdapterKind::OpenAI, target.model.model_name),
                })
            },
        );
        Ok(Self {
            client: genai::Client::builder()
                .with_service_target_resolver(resolver)
                .build()?,
            options: ChatOptions::default()
                .with_max_tokens(500)
                .with_capture_usage(true),
            asked,
        })
    }

    async fn ask(&self) -> Result<(), Failed> {
        let request = ChatRequest::default().append_message(ChatMessage::user(QUESTION));
        let (model, options) = (self.asked.model(), Some(&self.options));
        if !self.asked.stream {
            let answer = self.client.exec_chat(&model, request, options).await?;
            let text = answer.first_text().unwrap_or_default();
            return enough(self.asked, text.split(' ').count());
        }
        let mut answer = self
            .client
            .exec_chat_stream(&model, request, options)
            .await?;
        let mut words = 0;
        while let Some(event) = answer.stream.next().await {
            words += usize::from(matches!(event?, ChatStreamEvent::Chunk(_)));
        }
        enough(self.asked, words)
    }
}
