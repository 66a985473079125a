//! Messages in WhatsApp groups: whom they address, and where the answer goes.

use konstruct_channels::{
    Gateway, WhatsApp, WhatsAppWebhook,
    testkit::{FakeGraph, GraphPost, signed_whatsapp},
};
use konstruct_core::{
    ChannelKind, Employee, Secret, SystemClock, Workforce,
    employee::TurnLimits,
    testkit::{ReferenceStore, ScriptedAnswer, ScriptedModel},
};
use serde_json::{Value, json};

use crate::whatsapp_inbound::envelope;

struct Shop {
    fake: FakeGraph,
    gateway: Gateway,
    workforce: Workforce,
    sent: usize,
}

impl Shop {
    async fn new(name: &str) -> Self {
        let fake = FakeGraph::start().await.expect("a fixture");
        let whatsapp = WhatsApp::builder("P1", Secret::new("EAAG1"))
            .api_url(fake.url())
            .build()
            .expect("a fixture");
        let limits = TurnLimits::default().with(|it| it.burst_ms = 0);
        let employee = Employee::builder(name).limits(limits).build();
        let store = ReferenceStore::new(std::sync::Arc::new(SystemClock));
        let workforce = Workforce::builder_without_memory(store)
            .model(ScriptedModel::new(|_| ScriptedAnswer::text("At nine.")))
            .channel("P1", whatsapp)
            .hire(employee.expect("a fixture"))
            .build()
            .expect("a fixture");
        let webhook = WhatsAppWebhook::new(Secret::new("s"), Secret::new("t"));
        let gateway =
            Gateway::of(&workforce).with(ChannelKind::WHATSAPP, webhook.expect("a fixture"));
        Self {
            fake,
            gateway,
            workforce,
            sent: 0,
        }
    }

    /// Delivers a message, and returns what was sent then.
    async fn say(&mut self, field: &str, part: Value) -> Vec<GraphPost> {
        self.sent += 1;
        let mut message = json!({"id": format!("wamid.{}", self.sent), "from": "16505551234", "group_id": "G1",
            "timestamp": "1749416383", "type": "text"});
        for (name, value) in part.as_object().expect("a fixture") {
            message[name] = value.clone();
        }
        let value = json!({"contacts": [{"profile": {"name": "Sam"}, "wa_id": "16505551234"}], "messages": [message]});
        let request = signed_whatsapp(&Secret::new("s"), envelope(field, value));
        let before = self.fake.posts().len();
        let reply = self.gateway.handle(&ChannelKind::WHATSAPP, &request).await;
        assert_eq!(reply.status, 200);
        self.workforce.run_until_idle().await.expect("a run");
        self.fake.posts().split_off(before)
    }
}

fn text(body: &str) -> Value {
    json!({"text": {"body": body}})
}

#[tokio::test]
async fn a_message_that_names_the_employee_is_answered_in_the_group() {
    let check = async |name: &str, part: Value, answered: bool| {
        let mut shop = Shop::new(name).await;
        let sent = shop.say("messages", part.clone()).await;
        assert_eq!(sent.len(), usize::from(answered), "{name}: {part}");
        for post in sent {
            let shown = (
                post.recipient_type.as_str(),
                post.to.as_str(),
                post.text.as_str(),
            );
            assert_eq!(shown, ("group", "G1", "At nine."));
        }
    };
    check("Ava", text("AVA, when do you open?"), true).await;
    check("Ava", text("when do you open?"), false).await;
    check("Ava", text("I like java"), false).await;
    check("小美", text("小美你们几点开门"), true).await;
    check("Ольга", text("привет, ольга!"), true).await;
    check("Zoë", text("zoe open?"), true).await;
    check("Ava", text("@15550783881 open?"), true).await;
    let caption = json!({"type": "image", "image": {"id": "1", "mime_type": "image/png", "caption": "Ava, is this yours?"}});
    check("Ava", caption, true).await;
    // People talk about the employee outside groups too, but there every message is for it.
    let direct = json!({"group_id": null, "text": {"body": "hi"}});
    let mut shop = Shop::new("Ava").await;
    let sent = shop.say("messages", direct).await;
    assert_eq!(sent[0].recipient_type, "individual");
    // Another agent has the conversation.
    let mut shop = Shop::new("Ava").await;
    assert!(shop.say("standby", text("Ava?")).await.is_empty());
}

/// A quote of the employee's message addresses it, also if Meta does not report whose message it is.
#[tokio::test]
async fn a_quote_of_the_employee_is_answered() {
    let mut shop = Shop::new("Ava").await;
    shop.say("messages", text("Ava, open?")).await;
    let said = shop.fake.posts()[0].id.clone();
    let quote = |id: &str, from: Option<&str>| json!({"text": {"body": "and on Sunday?"}, "context": {"id": id, "from": from}});
    assert_eq!(shop.say("messages", quote(&said, None)).await.len(), 1);
    let own = quote(&said, Some("15550783881"));
    assert_eq!(shop.say("messages", own).await.len(), 1);
    assert!(
        shop.say("messages", quote("wamid.1", None))
            .await
            .is_empty()
    );
    let other = quote(&said, Some("16505551234"));
    assert!(shop.say("messages", other).await.is_empty());
    // What was not for the employee is still in the conversation.
    let all = shop.workforce.conversations(None, 9).await.expect("a list");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].unconsumed, 0);
}
