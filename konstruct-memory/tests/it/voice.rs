//! What people say in voice messages is found like text, and goes with the message.

use std::sync::Arc;

use konstruct_core::{
    AccountId, Audience, ChannelKind, Depth, Employee, Erase, Inbound, MemoryStore as _, Recall,
    SystemClock, Workforce,
    channel::Find,
    employee::TurnLimits,
    memory::{Scope, Source},
    message::{AttachmentKind, Body},
    testkit::{ScriptedAnswer, ScriptedChannel, ScriptedModel, ScriptedTranscriber, World},
    transcribe::SpeechPrice,
};
use konstruct_memory::{Documents, Redb};

struct Desk {
    memory: Redb,
    workforce: Workforce,
    channel: ScriptedChannel,
}

impl Desk {
    fn open() -> Self {
        let channel = ScriptedChannel::new(World::default(), Arc::new(SystemClock), Find::Query);
        let ava = Employee::builder("Ava").limits(TurnLimits::default().with(|it| it.burst_ms = 0));
        let memory = Redb::in_memory().unwrap();
        let workforce = Workforce::builder(memory.clone())
            .model(ScriptedModel::new(|_| ScriptedAnswer::text("Noted.")))
            .transcriber(ScriptedTranscriber::new(SpeechPrice::Free))
            .document_reader(Documents::new())
            .channel("shop", channel.clone())
            .hire(ava.build().unwrap());
        Self {
            memory,
            workforce: workforce.build().unwrap(),
            channel,
        }
    }

    async fn accept(&self, event: Inbound) {
        let kind = ChannelKind::new("scripted");
        let event = event.on(kind, AccountId("shop".into()));
        self.workforce.accept(event).await.unwrap();
        self.workforce.run_until_idle().await.unwrap();
        let tenant = self.workforce.tenant();
        self.memory.catch_up(tenant).await.unwrap();
    }

    async fn say(&self, words: &str) -> Inbound {
        let mut note = self.channel.put_media(format!("OggS {words}"));
        note.kind = AttachmentKind::Voice;
        let event = Inbound::message("customer-7", "").with_attachment(note);
        self.accept(event.clone()).await;
        event
    }

    async fn recalled(&self, words: &str) -> Vec<(Source, String)> {
        let kind = ChannelKind::new("scripted");
        let person = self.workforce.person(&kind, "customer-7").await.unwrap();
        let person = person.expect("the person is known");
        let query = Recall::new(words, Audience::Person { person }, Scope::HISTORY);
        let hits = self.workforce.recall(query).await.unwrap();
        let hits = hits.into_iter().filter(|hit| hit.text.contains(words));
        hits.map(|hit| (hit.source, hit.text)).collect()
    }
}

#[tokio::test]
async fn it_is_recalled_and_erased_with_its_message() {
    let desk = Desk::open();
    desk.say("The frame number is zebra4711").await;
    let found = desk.recalled("zebra4711").await;
    let [
        (
            Source::Message {
                conversation,
                index,
            },
            text,
        ),
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(text, "The frame number is zebra4711");
    // The message itself is the record before it was read.
    let what = Erase::Message {
        conversation: *conversation,
        index: index - 2,
    };
    let receipt = desk.workforce.erase(what, Depth::Logical).await.unwrap();
    assert_eq!(receipt.records, 2, "the message and the transcript");
    assert_eq!(desk.recalled("zebra4711").await, []);
}

#[tokio::test]
async fn it_is_not_recalled_after_the_message_was_deleted() {
    let desk = Desk::open();
    let said = desk.say("The frame number is zebra4711").await;
    assert_eq!(desk.recalled("zebra4711").await.len(), 1);
    let Body::Message { message, .. } = &said.body else {
        panic!("{said:?}");
    };
    let mut deleted = Inbound::message("customer-7", "").with_id("deleted");
    deleted.body = Body::Deleted {
        message: message.clone(),
    };
    desk.accept(deleted).await;
    assert_eq!(desk.recalled("zebra4711").await, []);
}
