//! Records of the first version as stored on disk: they can be read forever, and this build writes the same bytes.
//!
//! After a change that adds a variant, `KONSTRUCT_BLESS=1` writes the missing files. Existing files are never changed.

use std::{collections::BTreeSet, fs, path::PathBuf};

use konstruct_core::{
    ChannelKind, ConnectionId, ConversationId, ConversationRef, DocumentId, ErrorKind, Inbound,
    NanoUsd, Outgoing, PersonId, Timestamp, TurnId,
    channel::{Find, Receipt},
    id::FactId,
    limit::{LimitScope, Limited},
    llm::{Finish, ModelAnswer, Part, ToolCall},
    memory::Source,
    message::{
        Actor, ActorKind, Addressing, Attachment, AttachmentKind, Body, Content, ConversationKind,
        Decision, DeliveryState, Forwarded, IdKind, Lifecycle, Origin, Product, ProviderError,
        Quoted, Referral, Viewed,
    },
    money::{Price, Rates, Usage},
    outgoing::{Choice, Choices},
    tool::Effect,
    turn::{
        Action, AttachmentContent, AttachmentRef, Cause, Cited, CloseReason, ConversationState,
        ENGINE_VERSION, Entry, Event, Evidence, Failure, FallbackReason, Gathered, Input, ItemId,
        ItemKind, OpenItem, OpenReason, Outcome, PinnedChannel, PinnedModel, QuotedRecord, Record,
        Refusal, ReplyPart, ReplySource, SentVia, SilenceReason, Started, Unread, WaitReason,
    },
};

const AT: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

fn person() -> PersonId {
    PersonId::from_bytes([3; 16])
}

fn key() -> String {
    "trn_07070707070707070707070707070707.p0".into()
}

fn outgoing() -> Outgoing {
    let yes = Choice::new("yes", "Yes").describing("It is mine");
    let choices = Choices::new([yes]).with_prompt("Pick one");
    Outgoing::markdown("Your bike is ready.")
        .with_choices(choices)
        .quoting("wamid.1")
}

fn part() -> ReplyPart {
    ReplyPart {
        key: key(),
        what: outgoing(),
    }
}

fn item() -> ItemId {
    ItemId::of(TurnId::from_bytes([7; 16]), 1)
}

fn question() -> OpenItem {
    OpenItem::new(
        item(),
        ItemKind::Question {
            reason: FallbackReason::Model,
        },
        TurnId::from_bytes([7; 16]),
        3,
        AT,
    )
    .retried(1, Some(AT))
}

fn attachment() -> AttachmentRef {
    AttachmentRef { seq: 1, index: 0 }
}

fn failure() -> Failure {
    Failure {
        kind: ErrorKind::RateLimited,
        retry_after_ms: Some(30_000),
    }
}

fn input(seq: u64, body: Body) -> Input {
    let sender = Actor {
        ids: vec![
            (IdKind::WhatsAppPhone, "15550100".into()),
            (IdKind::WhatsAppUser, "US.1".into()),
        ],
        name: Some("A person".into()),
        kind: ActorKind::Human,
    };
    let mut referral = Referral::default();
    referral.source_url = Some("https://ad.example/1".into());
    referral.headline = Some("Bikes".into());
    referral.body = Some("Fast ones".into());
    referral.click_id = Some("ctwa1".into());
    referral.source_id = Some("12".into());
    referral.source_type = Some("ad".into());
    referral.media_type = Some("image".into());
    referral.media_urls = vec!["https://ad.example/1.png".into()];
    referral.welcome = Some("Hello!".into());
    let mut origin = Origin::default();
    origin.response_url = Some("https://hooks.example/1".into());
    origin.ephemeral = true;
    let mut event = Inbound::new(
        ChannelKind::WHATSAPP,
        konstruct_core::AccountId("1066".into()),
        format!("wamid.{seq}"),
        AT,
        body,
    )
    .with_logical_id(format!("message/{seq}"))
    .in_conversation(place())
    .sent_by(sender)
    .addressed(Addressing {
        direct: true,
        mention: true,
        thread: true,
        command: true,
        by_name: false,
    })
    .quoting(
        Quoted::new("wamid.0")
            .by("15550100".to_owned())
            .with_text("before".to_owned()),
    )
    .labelled("Yes".to_owned())
    .described("a few words".to_owned())
    .referred_by(referral)
    .about_product(Product::new("SKU-1", "C1".to_owned()))
    .viewing(vec![
        Viewed::new("message", "1.2").in_channel("C1".to_owned()),
    ])
    .from_origin(origin)
    .forwarded(Forwarded::Often);
    event.redelivery = 1;
    Input {
        seq,
        accepted_at: AT,
        late: true,
        persons: vec![person()],
        about: Some(question()),
        undelivered: Some(9),
        event,
    }
}

fn place() -> ConversationRef {
    ConversationRef {
        id: "15550100".into(),
        kind: ConversationKind::Direct,
        thread: Some("1767225600.000100".into()),
        external: true,
    }
}

fn bodies() -> Vec<Body> {
    let content = Content {
        text: "Is it ready? \u{1F6B2}".into(),
        attachments: vec![Attachment {
            kind: AttachmentKind::Image,
            id: "media1".into(),
            url: Some("https://media.example/1".into()),
            mime: Some("image/jpeg".into()),
            name: Some("bike.jpg".into()),
            size: Some(1_024),
            sha256: Some("00ff".into()),
            unavailable: None,
        }],
    };
    let message = || "wamid.1".to_owned();
    let error = ProviderError {
        code: "131047".into(),
        message: "too late".into(),
    };
    vec![
        Body::Message {
            message: message(),
            content: content.clone(),
        },
        Body::Delivery {
            message: message(),
            state: DeliveryState::Failed,
            key: Some(key()),
            errors: vec![error.clone()],
            billed: Some("utility".into()),
        },
        Body::Edited {
            message: message(),
            content,
        },
        Body::Deleted { message: message() },
        Body::Reaction {
            message: message(),
            emoji: "+1".into(),
            added: true,
        },
        Body::Action {
            kind: "block_actions".into(),
            action: "yes".into(),
            value: "1".into(),
        },
        Body::Command {
            name: "/ava".into(),
            arguments: "hours".into(),
        },
        Body::Lifecycle {
            change: Lifecycle::IdentityChanged {
                old: "1".into(),
                new: "2".into(),
            },
        },
        Body::Decision {
            target: ConversationId::from_bytes([5; 16]),
            item: item(),
            decision: Decision::Resend,
        },
        Body::Unsupported {
            kind: "order".into(),
            errors: vec![error],
        },
    ]
}

fn state() -> ConversationState {
    ConversationState {
        latest: AT,
        bot_turns: 1,
        spoke: true,
        unreadable: true,
        unread: None,
        busy_at: Some(AT),
        person: Some(person()),
        held_since: Some(AT),
    }
}

fn started() -> Started {
    let price = Price::from(Rates {
        input: 3_000_000,
        cache_read: 1_000_000,
        cache_write_5m: 4_000_000,
        cache_write_1h: 6_000_000,
        output: 15_000_000,
    });
    Started {
        engine: ENGINE_VERSION,
        employee: 2,
        first: 8,
        model: PinnedModel {
            provider: "anthropic".into(),
            model: "model-1".into(),
            price: Some(price),
        },
        channel: PinnedChannel {
            kind: ChannelKind::WHATSAPP,
            find: Find::Event,
            timeout_ms: 10_000,
            grace_ms: 2_000,
        },
        connection: ConnectionId::from_bytes([1; 16]),
        conversation: place(),
        tools: [
            ("pay".to_owned(), Effect::Once),
            ("book".to_owned(), Effect::Idempotent),
        ]
        .into(),
        closed: true,
        inputs: 2,
        state: state(),
        questions: vec![item()],
        follow_up: Some(question()),
        limited: Some(Limited {
            scope: LimitScope::Person,
            until: AT,
        }),
        deadline: Some(AT),
    }
}

fn answer() -> ModelAnswer {
    ModelAnswer {
        model: "model-1".into(),
        parts: vec![
            Part::Reasoning {
                text: "Let me look.".into(),
                signature: Some("c2ln".into()),
                origin: None,
            },
            Part::Text {
                text: "One moment.".into(),
            },
            Part::ToolCall(ToolCall {
                id: "call_1".into(),
                name: "pay".into(),
                arguments: r#"{"order":"B-1042"}"#.into(),
            }),
        ],
        finish: Finish::ToolCalls,
        usage: Some(Usage {
            input: 100,
            cache_read: 10,
            cache_write_5m: 5,
            cache_write_1h: 6,
            output: 20,
            reasoning: 7,
        }),
    }
}

fn events() -> Vec<Event> {
    let (call, id) = (1, "call_1".to_owned());
    let cited = Cited {
        source: Source::Document {
            id: DocumentId::from_bytes([4; 16]),
            version: 2,
            chunk: 3,
        },
        coverage: 0.75,
    };
    let earlier = Cited {
        source: Source::Message {
            conversation: ConversationId::from_bytes([5; 16]),
            index: 6,
        },
        coverage: 0.5,
    };
    let receipt = Receipt {
        message: Some("wamid.9".into()),
    };
    vec![
        Event::Started(Box::new(started())),
        Event::Received(Box::new(input(1, bodies().remove(0)))),
        Event::AttachmentRead {
            attachment: attachment(),
            message: "wamid.1".into(),
            name: "A person".into(),
            content: AttachmentContent::Speech {
                text: "When do you open?".into(),
                language: Some("en".into()),
                seconds: Some(4),
            },
        },
        Event::AttachmentFailed {
            attachment: attachment(),
            failure: failure(),
        },
        Event::AttachmentLost { read: 1 },
        Event::Gathered(Gathered {
            window_from: 4,
            quoted: vec![QuotedRecord {
                message: "wamid.0".into(),
                record: 3,
                part: Some(key()),
            }],
            knowledge: vec![cited],
            history: vec![earlier],
            facts: vec![Cited {
                source: Source::Fact {
                    id: FactId::from_bytes([7; 16]),
                },
                coverage: 0.25,
            }],
            summary: Some(3),
            persons: BTreeSet::from([PersonId::from_bytes([8; 16])]),
        }),
        Event::Answered {
            call,
            answer: answer(),
        },
        Event::CallFailed {
            call,
            failure: failure(),
        },
        Event::CallLost { call },
        Event::CallRefused {
            call,
            reason: Refusal::OverBudget,
            cap: None,
        },
        Event::CallLimited {
            call,
            limited: Limited {
                scope: LimitScope::Channel,
                until: AT,
            },
        },
        Event::ToolReturned {
            id: id.clone(),
            content: "paid".into(),
            error: false,
        },
        Event::ToolLost { id },
        Event::InboxRead { inputs: 1 },
        Event::Rendered {
            parts: vec![part()],
            rest: Some(outgoing()),
        },
        Event::SendDone {
            key: key(),
            receipt,
            evidence: Evidence::Event { seq: 12 },
        },
        Event::SendFailed {
            key: key(),
            failure: failure(),
        },
        Event::SendAmbiguous { key: key() },
        Event::NotFound { key: key() },
        Event::FindFailed {
            key: key(),
            failure: failure(),
        },
        Event::Due,
        Event::Forgotten {
            persons: BTreeSet::from([person()]),
        },
    ]
}

fn actions() -> Vec<Action> {
    vec![
        Action::ReadAttachment {
            attachment: attachment(),
            read: 1,
            key: "trn_07.r1".into(),
            give_up_at: AT,
        },
        Action::SkipAttachment {
            attachment: attachment(),
            reason: Unread::TooMany,
        },
        Action::Gather,
        Action::CallModel {
            call: 1,
            key: "trn_07.m1".into(),
            max_tokens: 1_024,
            give_up_at: AT,
            without_images: false,
        },
        Action::CallTool {
            id: "call_1".into(),
            name: "pay".into(),
            arguments: "{}".into(),
            effect: Effect::Once,
            key: "trn_07.t1".into(),
        },
        Action::SkipTool {
            id: "call_2".into(),
            content: "not run".into(),
        },
        Action::Listen,
        Action::Reply {
            source: ReplySource::Rest(7),
        },
        Action::Send {
            key: key(),
            attempt: 1,
            record: Some(7),
            via: SentVia::Conversation,
            give_up_at: AT,
        },
        Action::Find {
            key: key(),
            since: AT,
        },
        Action::Wait {
            until: AT,
            reason: WaitReason::Receipt,
        },
        Action::Open(question()),
        Action::Close {
            item: item(),
            reason: CloseReason::Answered,
        },
        Action::Finish {
            outcome: Outcome::Asked { item: item() },
        },
    ]
}

/// Returns the variants that occur within records, with their JSON.
fn within() -> Vec<(String, &'static str)> {
    fn json<T: serde::Serialize>(value: T) -> String {
        serde_json::to_string(&value).unwrap()
    }
    vec![
        (
            json(Outcome::Replied {
                parts: 2,
                fallback: None,
            }),
            r#"{"replied":{"parts":2}}"#,
        ),
        (
            json(Outcome::Replied {
                parts: 1,
                fallback: Some(FallbackReason::Budget),
            }),
            r#"{"replied":{"parts":1,"fallback":"budget"}}"#,
        ),
        (
            json(Outcome::Silent {
                reason: SilenceReason::NotAddressed,
            }),
            r#"{"silent":{"reason":"not_addressed"}}"#,
        ),
        (
            json([SentVia::Response, SentVia::Ephemeral, SentVia::Direct]),
            r#"["response","ephemeral","direct"]"#,
        ),
        (json(Evidence::Answer), r#""answer""#),
        (json(Evidence::Query), r#""query""#),
        (
            json(OpenReason::Failed(ErrorKind::Forbidden)),
            r#"{"failed":"forbidden"}"#,
        ),
        (
            json([SilenceReason::BotLoop, SilenceReason::Unanswered]),
            r#"["bot_loop","unanswered"]"#,
        ),
        (
            json([SilenceReason::Dropped, SilenceReason::Forgotten]),
            r#"["dropped","forgotten"]"#,
        ),
        (
            json([
                FallbackReason::Closed,
                FallbackReason::Model,
                FallbackReason::Limit,
            ]),
            r#"["closed","model","limit"]"#,
        ),
        (
            json([WaitReason::ModelRetry, WaitReason::SendRetry]),
            r#"["model_retry","send_retry"]"#,
        ),
        (
            json([
                WaitReason::InFlight,
                WaitReason::FindRetry,
                WaitReason::RateLimit,
            ]),
            r#"["in_flight","find_retry","rate_limit"]"#,
        ),
        (
            json([Effect::Read, Effect::Idempotent, Effect::Once]),
            r#"["read","idempotent","once"]"#,
        ),
        (
            json([Find::Query, Find::Event, Find::None]),
            r#"["query","event","none"]"#,
        ),
        (json(NanoUsd(7)), "7"),
        (
            json([LimitScope::Person, LimitScope::Conversation]),
            r#"["person","conversation"]"#,
        ),
        (
            json([LimitScope::Channel, LimitScope::Tenant, LimitScope::Plan]),
            r#"["channel","tenant","plan"]"#,
        ),
        (json(ConversationState::default()), r#"{"latest":0}"#),
        (
            json([SilenceReason::Late, SilenceReason::Broken]),
            r#"["late","broken"]"#,
        ),
        (
            json([
                FallbackReason::Cut,
                FallbackReason::Blank,
                FallbackReason::Late,
                FallbackReason::Broken,
                FallbackReason::Busy,
            ]),
            r#"["cut","blank","late","broken","busy"]"#,
        ),
        (
            json([WaitReason::Connection, WaitReason::Receipt]),
            r#"["connection","receipt"]"#,
        ),
        (
            json([ReplySource::Answer, ReplySource::Fixed(FallbackReason::Cut)]),
            r#"["answer",{"fixed":"cut"}]"#,
        ),
        (
            json([
                CloseReason::Decided,
                CloseReason::Settled,
                CloseReason::Displaced,
            ]),
            r#"["decided","settled","displaced"]"#,
        ),
        (
            json([
                ItemKind::Rest,
                ItemKind::Send {
                    reason: OpenReason::NotDelivered,
                    keys: vec![key()],
                },
            ]),
            r#"["rest",{"send":{"reason":"not_delivered","keys":["trn_07070707070707070707070707070707.p0"]}}]"#,
        ),
        (
            json([Cause::Employee, Cause::Rule, Cause::Vendor]),
            r#"["employee","rule","vendor"]"#,
        ),
    ]
}

fn records() -> Vec<(String, Record)> {
    let events = events()
        .into_iter()
        .map(|event| (format!("event.{}", event.name()), Entry::Event(event)));
    let actions = actions()
        .into_iter()
        .map(|action| (format!("action.{}", action.name()), Entry::Action(action)));
    let record = |entry| {
        Record::new(
            TurnId::from_bytes([7; 16]),
            AT,
            Cause::Person(person()),
            entry,
        )
        .sealed_to(BTreeSet::from([person()]))
    };
    let bodies = (1..).zip(bodies()).map(|(seq, body)| {
        let name = serde_json::to_value(&body).unwrap()["type"].clone();
        let received = Event::Received(Box::new(input(seq, body)));
        (
            format!("body.{}", name.as_str().unwrap()),
            Entry::Event(received),
        )
    });
    events
        .chain(actions)
        .chain(bodies)
        .map(|(name, entry)| (name, record(entry)))
        .collect()
}

#[test]
fn every_variant_has_a_golden_file() {
    let files: BTreeSet<String> = files(folder())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let events = Event::NAMES.iter().map(|name| format!("event.{name}.json"));
    let actions = Action::NAMES
        .iter()
        .map(|name| format!("action.{name}.json"));
    let bodies = records()
        .into_iter()
        .filter_map(|(name, _)| name.starts_with("body.").then(|| format!("{name}.json")));
    let expected: BTreeSet<String> = events.chain(actions).chain(bodies).collect();
    assert_eq!(files, expected);
}

#[test]
fn golden_files_read_and_are_written_the_same() {
    for path in files(folder()) {
        let text = fs::read_to_string(&path).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        let again = serde_json::to_string(&record).unwrap();
        assert_eq!(again, text.trim_end(), "{}", path.display());
        assert_eq!(record.v, 1);
    }
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

#[test]
fn this_build_writes_the_golden_bytes() {
    let bless = std::env::var_os("KONSTRUCT_BLESS").is_some();
    for (name, record) in records() {
        let path = folder().join(format!("{name}.json"));
        let text = serde_json::to_string(&record).unwrap();
        if bless && !path.exists() {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&path, format!("{text}\n")).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap();
        assert_eq!(golden.trim_end(), text, "{name}");
        assert_eq!(
            serde_json::from_str::<Record>(&golden).unwrap(),
            record,
            "{name}"
        );
    }
    for (written, golden) in within() {
        assert_eq!(written, golden);
    }
}
