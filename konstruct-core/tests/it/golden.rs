//! Records of the first version, as they stand on disks: they read for ever, and this build writes the same bytes.
//!
//! After a change that adds a variant, `KONSTRUCT_BLESS=1` writes the files that are missing; those that exist are never
//! changed.

use std::{collections::BTreeSet, fs, path::PathBuf};

use konstruct_core::{
    Actor, ActorKind, Addressing, Attachment, AttachmentKind, Body, ChannelKind, ConnectionId,
    Content, ConversationId, ConversationKind, ConversationRef, Decision, DeliveryState,
    DocumentId, ErrorKind, FactId, Find, Finish, IdKind, Inbound, Lifecycle, ModelAnswer, NanoUsd,
    Part, PersonId, Price, ProviderError, Rates, Receipt, Source, Timestamp, ToolCall, TurnId,
    Usage,
    tool::Effect,
    turn::{
        Action, Carry, Cited, ENGINE_VERSION, Entry, Event, Evidence, Failure, FallbackReason,
        Gathered, Input, OpenReason, OpenSend, Outcome, PinnedChannel, PinnedModel, RECORD_VERSION,
        Record, Refusal, ReplyPart, SilenceReason, Started, WaitReason,
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

fn part() -> ReplyPart {
    ReplyPart {
        key: key(),
        text: "Your bike is ready.".into(),
    }
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
    Input {
        seq,
        late: seq == 2,
        persons: vec![person()],
        undelivered: (seq == 2).then(part),
        event: Inbound {
            id: format!("wamid.{seq}"),
            logical_id: format!("message/{seq}"),
            channel: ChannelKind::WHATSAPP,
            account: konstruct_core::AccountId("1066".into()),
            conversation: Some(place()),
            sender,
            occurred_at: AT,
            redelivery: 1,
            body,
            addressed: Addressing {
                direct: true,
                mention: true,
                thread: true,
                command: true,
            },
            raw: None,
        },
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
        }],
        reply_to: Some("wamid.0".into()),
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
            key: key(),
            decision: Decision::Resend,
        },
        Body::Unsupported {
            kind: "order".into(),
            errors: vec![error],
        },
    ]
}

fn carry() -> Carry {
    let open = [
        OpenReason::Unresolved,
        OpenReason::Failed(ErrorKind::Forbidden),
        OpenReason::NotDelivered,
    ];
    Carry {
        latest: AT,
        bot_turns: 1,
        spoke: true,
        open: open
            .map(|reason| OpenSend {
                key: key(),
                reason,
                since: AT,
                parts: vec![part()],
            })
            .into(),
        persons: BTreeSet::from([person()]),
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
        model: PinnedModel {
            provider: "anthropic".into(),
            model: "model-1".into(),
            price: Some(price),
        },
        channel: PinnedChannel {
            kind: ChannelKind::WHATSAPP,
            find: Find::Event,
            max_text: 4_096,
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
        inputs: (1..)
            .zip(bodies())
            .map(|(seq, body)| input(seq, body))
            .collect(),
        carry: carry(),
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
        Event::Gathered(Gathered {
            window_from: 4,
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
        },
        Event::ToolReturned {
            id: id.clone(),
            content: "paid".into(),
            error: false,
        },
        Event::ToolLost { id },
        Event::Heard {
            inputs: vec![input(11, bodies().remove(0))],
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
    ]
}

fn actions() -> Vec<Action> {
    vec![
        Action::Gather,
        Action::CallModel {
            call: 1,
            key: "trn_07.m1".into(),
            max_tokens: 1_024,
        },
        Action::CallTool {
            id: "call_1".into(),
            name: "pay".into(),
            arguments: "{}".into(),
            effect: Effect::Once,
            key: "trn_07.t1".into(),
        },
        Action::Listen,
        Action::Send {
            key: key(),
            attempt: 1,
            text: "Your bike is ready.".into(),
            reply_to: Some("wamid.1".into()),
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
        Action::Finish {
            outcome: Outcome::Asked { key: key() },
            carry: carry(),
        },
    ]
}

/// Variants within records: (what is written, its JSON).
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
        (json(Evidence::Answer), r#""answer""#),
        (json(Evidence::Query), r#""query""#),
        (
            json(OpenReason::Failed(ErrorKind::Forbidden)),
            r#"{"failed":"forbidden"}"#,
        ),
        (
            json([SilenceReason::BotLoop, SilenceReason::NothingToSay]),
            r#"["bot_loop","nothing_to_say"]"#,
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
            json([WaitReason::InFlight, WaitReason::FindRetry]),
            r#"["in_flight","find_retry"]"#,
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
        (json(Carry::default()), r#"{"latest":0}"#),
    ]
}

fn records() -> Vec<(String, Record)> {
    let events = events()
        .into_iter()
        .map(|event| (format!("event.{}", event.name()), Entry::Event(event)));
    let actions = actions()
        .into_iter()
        .map(|action| (format!("action.{}", action.name()), Entry::Action(action)));
    let record = |entry| Record {
        v: RECORD_VERSION,
        turn: TurnId::from_bytes([7; 16]),
        at: AT,
        persons: BTreeSet::from([person()]),
        entry,
    };
    events
        .chain(actions)
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
    let expected: BTreeSet<String> = events.chain(actions).collect();
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

/// What an earlier build wrote in another way reads as what this build writes.
#[test]
fn old_files_read() {
    for path in files(folder().join("old")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let now: Vec<&str> = name.split('.').take(2).collect();
        let read = |path: &PathBuf| -> Record {
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
        };
        let now = folder().join(format!("{}.json", now.join(".")));
        assert_eq!(read(&path), read(&now), "{name}");
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
