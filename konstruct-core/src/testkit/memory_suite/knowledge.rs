//! Documents.

use std::time::Duration;

use super::{
    Failed, MemorySubject, Outcome, ensure, ensure_eq,
    office::{Office, now},
};
use crate::{
    Audience, DocumentFormat, DocumentId, ErrorKind, NewDocument,
    memory::{Scope, Source},
};

async fn found(
    subject: &MemorySubject,
    office: &Office,
    text: &str,
) -> Result<Vec<String>, Failed> {
    let hits = office
        .recall(subject, &Audience::Tenant, Scope::KNOWLEDGE, text)
        .await?;
    Ok(hits.into_iter().map(|hit| hit.text).collect())
}

pub(super) async fn documents_are_found_until_they_are_deleted(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let faq = "# FAQ\n\n## When do you open?\nAt nine.\n\n## Where are you?\nIn Lyon.";
    let mut new = NewDocument::new("FAQ", DocumentFormat::Markdown, faq);
    new.url = Some("https://example.com/faq".into());
    let first = subject.memory.put_document(office.tenant, new).await?;
    ensure_eq!((first.version, first.chunks), (1, 2), "version and chunks");
    let hits = office
        .recall(subject, &Audience::Tenant, Scope::KNOWLEDGE, "when open")
        .await?;
    let hit = hits.first().ok_or("a document is not found")?;
    let source = Source::Document {
        id: first.id,
        version: 1,
        chunk: 0,
    };
    ensure_eq!(hit.source, source, "the passage");
    ensure_eq!(
        (hit.text.as_str(), hit.title.as_str()),
        ("At nine.", "When do you open?"),
        "text and heading"
    );
    ensure_eq!(
        hit.url.as_deref(),
        Some("https://example.com/faq"),
        "the address of the document"
    );
    ensure!(
        hit.coverage > 0.3 && hit.coverage <= 1.0,
        "coverage {}",
        hit.coverage
    );
    // A new version replaces the old one, which can still be read.
    let second = office
        .teach(subject, " FAQ\n", "## When do you open?\nAt ten.")
        .await?;
    ensure_eq!(
        (second.id, second.version),
        (first.id, 2),
        "the new version"
    );
    ensure_eq!(
        found(subject, &office, "when open").await?,
        ["At ten."],
        "the passages found of two versions"
    );
    let old = subject.memory.fetch(office.tenant, &[source]).await?;
    ensure_eq!(
        old[0].as_ref().map(|hit| hit.text.as_str()),
        Some("At nine."),
        "a passage of the old version"
    );
    let read = subject
        .memory
        .document(office.tenant, first.id, Some(1))
        .await?;
    ensure_eq!(
        read.map(|(document, text)| (document.version, text)),
        Some((1, faq.to_owned())),
        "the old version"
    );
    let listed = subject.memory.documents(office.tenant).await?;
    ensure_eq!(listed, [second], "documents");
    let delete = async || {
        subject
            .memory
            .delete_document(office.tenant, first.id)
            .await
    };
    ensure!(delete().await?, "there was no document to delete");
    ensure!(!delete().await?, "the document was deleted twice");
    ensure!(
        found(subject, &office, "when open").await?.is_empty(),
        "a deleted document is found"
    );
    let gone = subject.memory.fetch(office.tenant, &[source]).await?;
    ensure_eq!(gone, [None], "a passage of a deleted document");
    Ok(())
}

pub(super) async fn documents_with_keys_share_titles(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let put = async |key: Option<&str>, title: &str, text: &str| {
        let mut new = NewDocument::new(title, DocumentFormat::Text, text);
        new.key = key.map(Into::into);
        subject.memory.put_document(office.tenant, new).await
    };
    let page = put(Some("a"), "Home", "The first page is about ponies.").await?;
    let other = put(Some("b"), "Home", "The second page is about boats.").await?;
    let titled = put(None, "Home", "An upload about trains.").await?;
    ensure!(
        page.id != other.id && other.id != titled.id && page.id != titled.id,
        "documents with different keys are one"
    );
    // A title that changes gives a new version, not a new document.
    let renamed = put(Some("a"), "Welcome", "The first page is about horses.").await?;
    ensure_eq!(
        (renamed.id, renamed.version),
        (page.id, 2),
        "the new version"
    );
    let passages = found(subject, &office, "the first page ponies horses").await?;
    ensure_eq!(
        passages.first().map(String::as_str),
        Some("The first page is about horses."),
        "the passage of the renamed document"
    );
    ensure!(
        subject
            .memory
            .delete_document(office.tenant, other.id)
            .await?,
        "there was no document to delete"
    );
    let again = put(None, "Home", "An upload about planes.").await?;
    ensure_eq!(
        (again.id, again.version),
        (titled.id, 2),
        "the upload after another deletion"
    );
    Ok(())
}

pub(super) async fn bad_documents_are_refused(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let markdown =
        |title: &str, text: &str| NewDocument::new(title, DocumentFormat::Markdown, text);
    for (document, field) in [
        (markdown("", "text"), "title"),
        (markdown(&"t".repeat(201), "text"), "title"),
        (markdown("title", " \n"), "content"),
        (markdown("title", &"word ".repeat(300_000)), "content"),
        (
            NewDocument::new("title", DocumentFormat::Text, vec![0xff, 0xfe, 0xfd]),
            "content",
        ),
    ] {
        let refused = subject.memory.put_document(office.tenant, document).await;
        let error = refused.err().ok_or(format!("a bad {field} was accepted"))?;
        ensure_eq!(error.kind(), ErrorKind::InvalidInput, "a bad {field}");
        ensure!(
            error.to_string().contains(field),
            "the error does not name {field}: {error}"
        );
    }
    let stored = subject.memory.documents(office.tenant).await?;
    ensure!(stored.is_empty(), "a refused document is stored");
    let nobody = subject
        .memory
        .document(office.tenant, DocumentId::new(), None)
        .await?;
    ensure!(nobody.is_none(), "a document that does not exist");
    Ok(())
}

pub(super) async fn expired_documents_do_not_reduce_hits(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let soon = now(subject) + Duration::from_secs(60);
    for n in 0..4 {
        let text = "opening hours opening hours";
        let mut new = NewDocument::new(format!("Opening {n}"), DocumentFormat::Text, text);
        new.expires_at = Some(soon);
        subject.memory.put_document(office.tenant, new).await?;
    }
    let text = "a long text that mentions opening hours once among many other words";
    office.teach(subject, "Lasting", text).await?;
    let query =
        crate::Recall::new("opening hours", Audience::Tenant, Scope::KNOWLEDGE).with_limit(1);
    let before = subject.memory.recall(office.tenant, query.clone()).await?;
    ensure!(
        before[0].name.starts_with("Opening"),
        "the best is {}",
        before[0].name
    );
    subject.clock.advance(Duration::from_secs(60));
    let after = subject.memory.recall(office.tenant, query).await?;
    let names: Vec<_> = after.iter().map(|hit| hit.name.as_str()).collect();
    ensure_eq!(names, ["Lasting"], "what is found after the others expired");
    Ok(())
}

pub(super) async fn unanswered_questions_are_listed(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    // The turns of the suite recall nothing.
    let first = office
        .say(subject, ("D-ann", "U-ann"), "Do you sell boats?")
        .await?;
    let second = office
        .say(subject, ("D-bob", "U-bob"), "Is the shop haunted?")
        .await?;
    subject.memory.catch_up(office.tenant).await?;
    let listed = subject.memory.unanswered(office.tenant, 10).await?;
    let listed: Vec<_> = listed
        .into_iter()
        .map(|one| (one.conversation, one.index, one.text))
        .collect();
    ensure_eq!(
        listed,
        [
            (
                second.conversation,
                second.index,
                "Is the shop haunted?".to_owned()
            ),
            (
                first.conversation,
                first.index,
                "Do you sell boats?".to_owned()
            )
        ],
        "the unanswered questions, newest first"
    );
    let one = subject.memory.unanswered(office.tenant, 1).await?;
    ensure_eq!(one.len(), 1, "the questions with a limit of one");
    Ok(())
}
