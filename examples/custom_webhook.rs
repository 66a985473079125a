//! A channel of your own over HTTP: the chat widget of a shop, with signed webhooks and a JSON API to send.
//!
//! It passes the suites of decoding and of sending, and then answers a question end to end. The provider is a local server, in `shop_provider.rs`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod shop_provider;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use konstruct_channels::{
    Decoded, Gateway, HttpReply, Received, Webhook, WebhookRequest, routes,
    testkit::{decoding_suite, deliver},
};
use konstruct_core::{
    AccountId, Channel, ChannelKind, ConversationRef, DocumentFormat, Employee, Error, ErrorKind,
    Inbound, NewDocument, Outgoing, Result, Secret, SystemClock, Timestamp, Workforce,
    channel::{Capabilities, Find, FindQuery, Op, Receipt},
    http::{Client, Url, base_url, join},
    memory::KnowledgeStore as _,
    message::{Attachment, Body},
    outgoing::Rendered,
    testkit::{ChannelSubject, channel_suite},
};
use konstruct_llm::Extract;
use konstruct_memory::Redb;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::shop_provider::{Provider, serve};

fn shop_kind() -> ChannelKind {
    ChannelKind::new("shop")
}

/// What the provider posts: a visitor wrote something, or chose an option.
#[derive(Deserialize)]
struct Event {
    id: String,
    shop: String,
    visitor: String,
    /// Seconds since 1970.
    sent_at: u32,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    option: String,
}

/// Verifies the signature, then decodes.
#[derive(Debug)]
struct ShopWebhook(Secret);

impl Webhook for ShopWebhook {
    fn receive(&self, request: &WebhookRequest, _: Timestamp) -> Received {
        let given = request.header("x-shop-signature").unwrap_or_default();
        let given = hex::decode(given).unwrap_or_default();
        if mac(&self.0, request.body()).verify_slice(&given).is_err() {
            return Received::Rejected(HttpReply::empty(401));
        }
        Received::Events(decode(request.body()), HttpReply::empty(200))
    }
}

fn mac(secret: &Secret, body: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    mac.expect("a key of any length").chain_update(body)
}

/// Decoding is total: what cannot be parsed is counted, and an unknown type becomes a value.
fn decode(body: &[u8]) -> Decoded {
    let raw = serde_json::from_slice::<Box<RawValue>>(body);
    let Ok((raw, event)) =
        raw.and_then(|raw| serde_json::from_str::<Event>(raw.get()).map(|event| (raw, event)))
    else {
        return Decoded::undecodable();
    };
    let mut inbound = Inbound::message(event.visitor, event.text)
        .on(shop_kind(), AccountId(event.shop))
        .with_id(event.id)
        .at(Timestamp::from_secs(event.sent_at.into()))
        .with_raw(raw);
    match event.kind.as_str() {
        "message" => {}
        "option" => {
            inbound.body = Body::Action {
                kind: event.kind,
                action: event.option.clone(),
                value: event.option,
            }
        }
        _ => {
            inbound.body = Body::Unsupported {
                kind: event.kind,
                errors: Vec::new(),
            }
        }
    }
    Decoded::from(vec![inbound])
}

/// Sends with `POST /chats/{visitor}/messages`, and finds with `GET` and the key.
#[derive(Debug)]
struct Shop {
    client: Client,
    api: Url,
    token: Secret,
    can: Capabilities,
}

/// A message in the provider's API.
#[derive(Clone, Serialize, Deserialize)]
struct Message {
    #[serde(default)]
    id: String,
    key: String,
    text: String,
    /// Pairs of an id and a label.
    options: Vec<(String, String)>,
}

impl Shop {
    fn new(api: &str, token: Secret, timeout: Duration) -> Result<Self> {
        // It shows neither progress nor read receipts, and has no files: that is the default.
        let mut can = Capabilities::new(Find::Query, 2_000);
        can.request_timeout = timeout;
        can.bursts = false;
        Ok(Self {
            client: Client::builder().timeout(timeout).build(),
            api: base_url("api_url", api)?,
            token,
            can,
        })
    }

    fn messages(&self, to: &ConversationRef) -> Url {
        join(&self.api, &["chats", &to.id, "messages"])
    }
}

fn unsupported<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, what))
}

#[async_trait]
impl Channel for Shop {
    fn kind(&self) -> ChannelKind {
        shop_kind()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        Rendered::plain(outgoing, self.can.max_text, max_parts)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        let Op::Send {
            to, key, outgoing, ..
        } = op
        else {
            return unsupported("the widget shows nothing but messages");
        };
        let choices = outgoing.choices.into_iter().flat_map(|it| it.options);
        let message = Message {
            id: String::new(),
            key,
            text: outgoing.text,
            options: choices.map(|choice| (choice.id, choice.label)).collect(),
        };
        let request = self.client.post(self.messages(&to))?.bearer(&self.token);
        // The error of an exchange says whether the message may have arrived, as that of `perform` must.
        let sent: Message = request.json(&message).exchange().await?.json()?;
        Ok(Receipt {
            message: Some(sent.id),
        })
    }

    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>> {
        let request = self.client.get(self.messages(&query.to))?;
        let request = request.bearer(&self.token).query(&[("key", query.key)]);
        let found: Vec<Message> = request.exchange().await?.json()?;
        Ok(found.into_iter().next().map(|message| Receipt {
            message: Some(message.id),
        }))
    }

    async fn fetch_media(&self, _: &Attachment, _: u64) -> Result<Bytes> {
        unsupported("the widget has no files")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let question = br#"{"id": "e1", "shop": "acme", "visitor": "v7", "sent_at": 1794657600,
        "type": "message", "text": "When are you open?"}"#;
    let option = br#"{"id": "e2", "shop": "acme", "visitor": "v7", "sent_at": 1794657601,
        "type": "option", "option": "blue"}"#;
    decoding_suite(&[question, option], &[], |body| decode(body).take());

    channel_suite(async |timeout| {
        let provider = Provider::default();
        let url = provider.start().await.expect("a free port");
        let shop = Shop::new(&url, Secret::new("token"), timeout).expect("a valid URL");
        let failing = provider.clone();
        let displayed = move || provider.displayed();
        ChannelSubject::new(shop, ConversationRef::direct("v7"), displayed).failing(
            move |failure| {
                failing.fail(failure);
                true
            },
        )
    })
    .await;

    let (provider, secret, store) = (Provider::default(), Secret::new("s"), Redb::in_memory()?);
    let shop = Shop::new(
        &provider.start().await?,
        Secret::new("token"),
        Duration::from_secs(10),
    )?;
    let ava = Employee::builder("Ava").role("front desk of Acme Bikes");
    let workforce = Workforce::builder(store.clone())
        .model(Extract::new())
        .channel("acme", shop)
        .hire(ava.build()?)
        .build()?;
    let faq = "## Opening hours\nWe are open Tuesday to Saturday, 10 to 18.";
    let faq = NewDocument::new("FAQ", DocumentFormat::Markdown, faq);
    store.put_document(workforce.tenant(), faq).await?;
    let (directory, journal) = (workforce.directory(), workforce.store());
    let gateway = Gateway::new(directory, journal, Arc::new(SystemClock));
    let gateway = gateway.with(shop_kind(), ShopWebhook(secret.clone()));
    let url = serve(routes(Arc::new(gateway))).await? + "/webhooks/shop";

    let forged = WebhookRequest::post(&question[..]).with_header("x-shop-signature", "00");
    assert_eq!(deliver(&url, &forged).await?, 401);
    let signature = hex::encode(mac(&secret, question).finalize().into_bytes());
    let signed = WebhookRequest::post(&question[..]).with_header("x-shop-signature", signature);
    // Delivered twice, as providers do, it is one question.
    assert_eq!(deliver(&url, &signed).await?, 200);
    assert_eq!(deliver(&url, &signed).await?, 200);
    workforce.run_until_idle().await?;
    let displayed = provider.displayed();
    assert_eq!(displayed.len(), 1);
    assert!(displayed[0].text.contains("Tuesday to Saturday"));
    println!("{}", displayed[0].text);
    Ok(())
}
