//! `/tenants/{tenant}/memory`, and the facts, unanswered questions and erasures

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use konstruct_admin_api::{self as api, Erasure, Fact, FactSource, MemoryStatus, Unanswered};
use konstruct_core::{
    Audience, ConversationId, Depth, Erase, Error, PersonId, TenantId,
    memory::{ChannelRef, ErasureReceipt, Facts, Remnant},
    turn::{Entry, Event},
};

use super::{Caller, Input, Problem, input::id};
use crate::{App, erasures::erase as erase_from};

/// The number of unanswered questions in the list.
const UNANSWERED: usize = 100;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/memory", get(status))
        .route("/tenants/{tenant}/unanswered", get(unanswered))
        .route(
            "/tenants/{tenant}/conversations/{conversation}/facts",
            get(facts),
        )
}

/// Returns the routes that may have to rewrite the store's file, with its longer time limit.
pub(super) fn erasures() -> Router<Arc<App>> {
    Router::new().route("/tenants/{tenant}/erasures", post(erase))
}

async fn status(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Json<MemoryStatus>, Problem> {
    let progress = app.memory.progress(tenant).await?;
    Ok(Json(MemoryStatus {
        records: progress.records,
        indexed: progress.indexed,
        passages: progress.passages,
        embedded: progress.embedded,
    }))
}

async fn unanswered(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Json<Vec<Unanswered>>, Problem> {
    let found = app.memory.unanswered(tenant, UNANSWERED).await?;
    let shown = found.into_iter().map(|one| Unanswered {
        conversation: one.conversation,
        index: one.index,
        text: one.text,
        at: one.at.to_string(),
    });
    Ok(Json(shown.collect()))
}

async fn facts(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, conversation)): Path<(String, String)>,
) -> Result<Json<Vec<Fact>>, Problem> {
    let conversation: ConversationId = id(&conversation, "conversation")?;
    let known = app.journal.conversation(tenant, conversation).await?;
    known.ok_or_else(|| Error::not_found("conversation"))?;
    let audiences = [
        channel_of(&app, tenant, conversation)
            .await?
            .map(|channel| Audience::Channel { channel }),
        person_of(&app, tenant, conversation)
            .await?
            .map(|person| Audience::Person { person }),
    ];
    let mut shown: Vec<Fact> = Vec::new();
    for audience in audiences.into_iter().flatten() {
        let query = Facts {
            audience,
            about: None,
            as_of: None,
        };
        for fact in app.memory.facts(tenant, query).await? {
            if shown.iter().all(|known| known.id != fact.id) {
                shown.push(self::shown(fact));
            }
        }
    }
    Ok(Json(shown))
}

/// Returns the channel of a conversation, if its log contains it.
async fn channel_of(
    app: &App,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<ChannelRef>, Error> {
    let log = app.journal.read(tenant, conversation, 0..64).await?;
    let mut records = log.iter().filter_map(|stored| stored.record.as_ref());
    Ok(records.find_map(|record| match &record.entry {
        Entry::Event(Event::Started(started)) => {
            Some(ChannelRef::of(started.connection, &started.conversation))
        }
        _ => None,
    }))
}

/// Returns the person of a one-to-one conversation.
pub(super) async fn person_of(
    app: &App,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<PersonId>, Error> {
    let log = app.journal.read(tenant, conversation, 0..64).await?;
    let mut records = log.iter().filter_map(|stored| stored.record.as_ref());
    let direct = records.any(|record| {
        matches!(&record.entry, Entry::Event(Event::Started(started))
            if started.conversation.kind == konstruct_core::message::ConversationKind::Direct)
    });
    if !direct {
        return Ok(None);
    }
    let mut records = log.iter().filter_map(|stored| stored.record.as_ref());
    Ok(records.find_map(|record| match &record.entry {
        Entry::Event(Event::Received(input)) => input.persons.first().copied(),
        _ => None,
    }))
}

fn shown(fact: konstruct_core::memory::Fact) -> Fact {
    Fact {
        id: fact.id,
        text: fact.text,
        topic: fact.topic,
        sources: fact
            .sources
            .into_iter()
            .map(|source| FactSource {
                conversation: source.conversation,
                index: source.index,
                quote: source.quote,
            })
            .collect(),
        valid_from: fact.valid_from.to_string(),
    }
}

async fn erase(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(new): Input<api::NewErasure>,
) -> Result<Json<Erasure>, Problem> {
    let what = match new.what {
        api::Erase::Message {
            conversation,
            index,
        } => Erase::Message {
            conversation,
            index,
        },
        api::Erase::Conversation { conversation } => Erase::Conversation { conversation },
        api::Erase::Person { person } => Erase::Person { person },
    };
    let depth = if new.physical {
        Depth::Physical
    } else {
        Depth::Logical
    };
    let erasing = erase_from(&*app.journal, &*app.memory, tenant, what, depth);
    let receipt = app.erasures.run(tenant, what, depth, erasing).await?;
    Ok(Json(shown_receipt(receipt)))
}

fn shown_receipt(receipt: ErasureReceipt) -> Erasure {
    let name = |what| match what {
        Remnant::SealedRecords => "sealed_records",
        Remnant::WrappedKeys => "wrapped_keys",
        Remnant::TermHashes => "term_hashes",
        Remnant::Vectors => "vectors",
        Remnant::EventHashes => "event_hashes",
        Remnant::Ledger => "ledger",
        _ => "other",
    };
    let remains = receipt.remains.into_iter().map(|remains| api::Remains {
        what: name(remains.what).to_owned(),
        count: remains.count,
        until: remains.until.to_string(),
    });
    Erasure {
        at: receipt.at.to_string(),
        records: receipt.records,
        passages: receipt.passages,
        facts: receipt.facts,
        keys: receipt.keys,
        remains: remains.collect(),
    }
}
