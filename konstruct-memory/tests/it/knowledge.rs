//! What an employee knows: documents, versions and recall.

use konstruct_core::{
    Audience, Depth, DocumentFormat, DocumentId, Erase, ErrorKind, Hit, KnowledgeStore as _,
    MemoryStore as _, NewDocument, Recall, Scope, Source, TenantId, turn::Journal as _,
};
use konstruct_memory::Redb;

const FAQ: &str = "\
# Acme Bikes FAQ

## When are you open?
Monday to Friday from 9:00 to 18:00, on Saturday from 10:00 to 14:00. We are closed on Sundays.

## How much does a repair cost?
A basic service is 59 EUR. A new chain is 35 EUR including work.

## Do you deliver?
Yes. Delivery within the city is free for orders above 100 EUR; otherwise it is 9.90 EUR.

## Can I return a bike?
You can return any unused bike within 30 days for a full refund.

## Which payment methods do you accept?
Cash, card and bank transfer. We do not take cheques.
";

fn document(title: &str, text: &str) -> NewDocument {
    NewDocument::new(title, DocumentFormat::Markdown, text)
}

async fn recall(store: &Redb, tenant: TenantId, text: &str) -> Vec<Hit> {
    let query = Recall::new(text, Audience::Tenant, Scope::KNOWLEDGE);
    store.recall(tenant, query).await.unwrap()
}

async fn stocked() -> (Redb, TenantId) {
    let (store, tenant) = (Redb::in_memory().unwrap(), TenantId::new());
    store
        .put_document(tenant, document("Acme Bikes FAQ", FAQ))
        .await
        .unwrap();
    (store, tenant)
}

#[tokio::test]
async fn questions_find_their_answer() {
    let (store, tenant) = stocked().await;
    for (question, title) in [
        ("when are you open?", "When are you open?"),
        (
            "What are your opening hours on Saturday",
            "When are you open?",
        ),
        ("are you closed on sunday?", "When are you open?"),
        ("how much is a repair", "How much does a repair cost?"),
        ("repair costs", "How much does a repair cost?"),
        ("price of a new chain", "How much does a repair cost?"),
        ("do you offer free delivery", "Do you deliver?"),
        (
            "i want to return my bike, refund please",
            "Can I return a bike?",
        ),
        ("can I pay by card?", "Which payment methods do you accept?"),
    ] {
        let hits = recall(&store, tenant, question).await;
        assert_eq!(hits[0].title, title, "{question}");
        assert_eq!(hits[0].name, format!("Acme Bikes FAQ › {title}"));
        assert!(hits[0].score >= hits.last().unwrap().score);
    }
}

/// What the knowledge says is covered well, and what it says nothing of is not.
#[tokio::test]
async fn coverage_tells_what_is_known_from_what_is_not() {
    let (store, tenant) = stocked().await;
    let best = async |question: &str| {
        let hits = recall(&store, tenant, question).await;
        hits.first().map_or(0.0, |hit| hit.coverage)
    };
    for question in [
        "When are you open?",
        "are you open on saturday?",
        "how much does a repair cost?",
        "is delivery free?",
        "can I return a bike within 30 days?",
        "which payment methods are there",
    ] {
        let coverage = best(question).await;
        assert!((0.6..=1.0).contains(&coverage), "{question}: {coverage}");
    }
    for question in [
        "Who won the football world cup?",
        "what is the capital of France",
        "write me a poem about the ocean",
        "do you sell insurance for helicopters?",
        "",
        "hello!",
    ] {
        let coverage = best(question).await;
        assert!(coverage < 0.4, "{question}: {coverage}");
    }
}

#[tokio::test]
async fn a_new_version_replaces_the_old_one() {
    let (store, tenant) = (Redb::in_memory().unwrap(), TenantId::new());
    let one = store
        .put_document(tenant, document("Hours", "## Open?\nFrom nine to six."))
        .await
        .unwrap();
    assert_eq!((one.version, one.chunks), (1, 1));
    let old = recall(&store, tenant, "open").await[0].source;
    let two = store
        .put_document(
            tenant,
            document(" Hours ", "## Open?\nFrom ten to four.\n\n## Else\nNo."),
        )
        .await
        .unwrap();
    assert_eq!((two.id, two.version, two.chunks), (one.id, 2, 2));
    assert_eq!(store.documents(tenant).await.unwrap(), [two]);
    let hits = recall(&store, tenant, "open nine six ten four").await;
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].text, "From ten to four.");
    // The old version is kept for those who cited it.
    let fetched = store.fetch(tenant, &[hits[0].source, old]).await.unwrap();
    let texts: Vec<_> = fetched
        .iter()
        .map(|hit| hit.as_ref().unwrap().text.as_str())
        .collect();
    assert_eq!(texts, ["From ten to four.", "From nine to six."]);
    assert_eq!(fetched[1].as_ref().unwrap().coverage, 0.0);
    for (version, text) in [(Some(1), "nine"), (Some(2), "ten"), (None, "ten")] {
        let (found, kept) = store
            .document(tenant, one.id, version)
            .await
            .unwrap()
            .unwrap();
        assert!(kept.contains(text));
        assert_eq!(found.version, version.unwrap_or(2));
    }
    assert!(
        store
            .document(tenant, one.id, Some(3))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_deleted_document_is_gone() {
    let (store, tenant) = stocked().await;
    store
        .put_document(tenant, document("Other", "The shop sells bells."))
        .await
        .unwrap();
    let source = recall(&store, tenant, "opening hours").await[0].source;
    let faq = store.documents(tenant).await.unwrap().pop().unwrap();
    assert!(store.delete_document(tenant, faq.id).await.unwrap());
    assert!(!store.delete_document(tenant, faq.id).await.unwrap());
    assert!(
        recall(&store, tenant, "open repair delivery")
            .await
            .is_empty()
    );
    assert_eq!(recall(&store, tenant, "bell").await.len(), 1);
    assert_eq!(store.fetch(tenant, &[source]).await.unwrap(), [None]);
    assert!(
        store
            .document(tenant, faq.id, Some(1))
            .await
            .unwrap()
            .is_none()
    );
    let again = store
        .put_document(tenant, document("Acme Bikes FAQ", FAQ))
        .await
        .unwrap();
    assert_eq!(again.version, 1);
    assert_ne!(again.id, faq.id);
}

#[tokio::test]
async fn bad_documents_are_refused_and_nothing_is_stored() {
    let (store, tenant) = (Redb::in_memory().unwrap(), TenantId::new());
    for (title, text, field) in [
        ("", "text", "title"),
        ("  ", "text", "title"),
        (&*"ü".repeat(201), "text", "title"),
        ("t", "", "text"),
        ("t", " \n\t ", "text"),
        ("t", &*"x".repeat((1 << 20) + 1), "text"),
    ] {
        let error = store
            .put_document(tenant, document(title, text))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(&format!("{field}:")), "{error}");
    }
    assert!(store.documents(tenant).await.unwrap().is_empty());
    for (title, text) in [(&*"ü".repeat(200), "x"), ("t", &*"x y ".repeat(1 << 18))] {
        store
            .put_document(tenant, document(title, text))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn tenants_do_not_know_what_others_know() {
    let (store, tenant) = stocked().await;
    let other = TenantId::new();
    let hit = recall(&store, tenant, "open").await.remove(0);
    let Source::Document { id, .. } = hit.source else {
        panic!("{hit:?}");
    };
    assert!(recall(&store, other, "open").await.is_empty());
    assert!(store.documents(other).await.unwrap().is_empty());
    assert_eq!(store.fetch(other, &[hit.source]).await.unwrap(), [None]);
    assert!(store.document(other, id, None).await.unwrap().is_none());
    assert!(!store.delete_document(other, id).await.unwrap());
    // An equal title is another document.
    let own = store
        .put_document(other, document("Acme Bikes FAQ", "Never open."))
        .await
        .unwrap();
    assert_eq!((own.version, own.id == id), (1, false));
    assert_eq!(recall(&store, other, "open").await.len(), 1);
    store
        .erase(other, Erase::Tenant, Depth::Logical)
        .await
        .unwrap();
    assert!(recall(&store, other, "open").await.is_empty());
    assert!(!recall(&store, tenant, "open").await.is_empty());
}

#[tokio::test]
async fn limits_hold_and_the_order_is_steady() {
    let (store, tenant) = (Redb::in_memory().unwrap(), TenantId::new());
    for n in 0..20 {
        let text = "The same words in every document.";
        store
            .put_document(tenant, document(&format!("D{n}"), text))
            .await
            .unwrap();
    }
    let query = |limit| Recall {
        limit,
        ..Recall::new("same words", Audience::Tenant, Scope::KNOWLEDGE)
    };
    let all = store.recall(tenant, query(100)).await.unwrap();
    assert_eq!(all.len(), 20);
    for limit in [0, 1, 7, 20] {
        let some = store.recall(tenant, query(limit)).await.unwrap();
        assert_eq!(some, all[..limit]);
    }
}

#[tokio::test]
async fn a_rebuilt_index_finds_the_same() {
    let (store, tenant) = stocked().await;
    store
        .put_document(tenant, document("Acme Bikes FAQ", FAQ))
        .await
        .unwrap();
    store
        .put_document(tenant, document("Else", "Bells and chains."))
        .await
        .unwrap();
    let before = recall(&store, tenant, "chain repair").await;
    store.rebuild_index(tenant).await.unwrap();
    assert_eq!(recall(&store, tenant, "chain repair").await, before);
    assert!(!before.is_empty());
    // And documents can still be taken out.
    for document in store.documents(tenant).await.unwrap() {
        store.delete_document(tenant, document.id).await.unwrap();
    }
    assert!(recall(&store, tenant, "chain repair").await.is_empty());
    store.rebuild_index(TenantId::new()).await.unwrap();
}

#[tokio::test]
async fn knowledge_stays_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let tenant = TenantId::new();
    let id: DocumentId = {
        let store = Redb::open(&path).unwrap();
        store
            .put_document(tenant, document("Acme Bikes FAQ", FAQ))
            .await
            .unwrap()
            .id
    };
    let store = Redb::open(&path).unwrap();
    assert_eq!(
        recall(&store, tenant, "when open").await[0].title,
        "When are you open?"
    );
    assert_eq!(
        store.document(tenant, id, None).await.unwrap().unwrap().1,
        FAQ
    );
}
