//! Memory and erasure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt as _;
use konstruct_admin_api::{
    DocumentFormat, DocumentWarning, EmployeeSettings, Erase, NewDocument, NewErasure,
};
use konstruct_core::{
    NanoUsd,
    money::Basis,
    store::{Archive as _, Exported},
};
use konstruct_server::BUSINESS_TENANT;

use crate::{
    database::on_postgres,
    office::{CUSTOMER, NUMBER, Office, eventually},
};

/// Must not be readable after the erasure.
const SECRET: &str = "xyzzy-plugh";

#[tokio::test]
async fn a_person_is_erased_and_the_receipt_lists_what_remains() {
    let office = Office::open().await;
    let server = office.start().await;
    let said = format!("my secret is {SECRET}");
    let one = office.graph.message(NUMBER, CUSTOMER, &said);
    let other = office.slack.message("D1", "U1", "I ride a blue bike");
    assert_eq!(server.whatsapp(&one).await, 200);
    assert_eq!(server.slack(&other).await, 200);
    office.wait_for_accepted(2).await;
    let conversations = server.wait_until_processed(2).await;
    let holds = |text: &str| {
        let found = conversations
            .iter()
            .find(|one| format!("{one:?}").contains(text));
        found.cloned().unwrap()
    };
    let (gone, kept) = (holds(SECRET), holds("blue bike"));
    let admin = server.admin();
    eventually(async || {
        let memory = admin.memory(BUSINESS_TENANT).await.unwrap();
        memory.indexed == memory.records && memory.embedded == memory.passages
    })
    .await;
    let unanswered = admin.unanswered(BUSINESS_TENANT).await.unwrap();
    assert!(
        unanswered.iter().any(|one| one.text.contains(SECRET)),
        "{unanswered:?}"
    );
    let [person] = gone.persons.as_slice() else {
        panic!("one person: {gone:?}")
    };
    let erasure = NewErasure {
        what: Erase::Person { person: *person },
        physical: !on_postgres(),
    };
    let receipt = admin.erase(BUSINESS_TENANT, &erasure).await.unwrap();
    assert!(receipt.records > 3 && receipt.keys == 1, "{receipt:?}");
    let until = if on_postgres() {
        "rewritten"
    } else {
        "of the ring is retired"
    };
    let mut remains = receipt.remains.iter();
    assert!(
        remains.any(|remains| remains.until.contains(until)),
        "{receipt:?}"
    );
    let left = admin.conversation(BUSINESS_TENANT, gone.id).await.unwrap();
    assert!(!format!("{left:?}").contains(SECRET), "{left:?}");
    assert_eq!(
        admin.conversation(BUSINESS_TENANT, kept.id).await.unwrap(),
        kept
    );
    assert!(admin.unanswered(BUSINESS_TENANT).await.unwrap().len() < unanswered.len() + 1);
    let facts = admin.facts(BUSINESS_TENANT, kept.id).await.unwrap();
    assert!(facts.is_empty(), "nothing was learned: {facts:?}");
    // The employee continues with new messages.
    // WhatsApp's times have seconds: a message in the second of the erasure counts as earlier.
    eventually(async || {
        let again = office.graph.message(NUMBER, CUSTOMER, "hello, I am new");
        assert_eq!(server.whatsapp(&again).await, 200);
        office.accepted_count() > 2
    })
    .await;
}

#[tokio::test]
async fn a_provider_embeds_texts_and_is_paid() {
    let mut office = Office::embedded().await;
    office.embedder = "openai/text-embedding-3-small";
    let server = office.start().await;
    let admin = server.admin();
    let embedded = async || {
        let memory = admin.memory(BUSINESS_TENANT).await.unwrap();
        let followed = memory.indexed == memory.records && memory.embedded == memory.passages;
        followed && memory.passages > 0
    };
    eventually(embedded).await;
    let question = "Are you open on a Sunday?";
    let message = office.graph.message(NUMBER, CUSTOMER, question);
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    // A request cut off by the end of the process becomes a row at the next start.
    eventually(embedded).await;
    assert!(server.terminate().await.success());
    let requests = office.model.requests();
    let embeds = requests
        .iter()
        .filter(|request| request.path == "/v1/embeddings");
    let mut texts = Vec::new();
    for request in embeds.clone() {
        assert_eq!(request.body["dimensions"], 512);
        assert_eq!(request.header("authorization"), Some("Bearer sk-fake"));
        texts.extend(request.body["input"].as_array().unwrap());
    }
    assert!(texts.contains(&&serde_json::json!(question)));
    let made = embeds.count();

    let export = office.store().export(BUSINESS_TENANT).await.unwrap();
    let items: Vec<Exported> = export.try_collect().await.unwrap();
    let rows = items.iter().filter_map(|item| match item {
        Exported::Ledger(row) if row.model == "text-embedding-3-small" => Some(row),
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= made, "{} rows of {made} requests", rows.len());
    for row in &rows {
        // Ten tokens, at $0.02 per million.
        assert_eq!((row.cost, row.basis), (Some(NanoUsd(200)), Basis::Reported));
    }
    let questions = rows.iter().filter(|row| row.call.ends_with(".q"));
    assert_eq!(questions.count(), 1, "of three recalls with one question");
}

#[tokio::test]
async fn every_document_format_is_accepted_and_analysed_in_the_employees_language() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let employee = admin.employee(BUSINESS_TENANT).await.unwrap();
    let german = EmployeeSettings {
        languages: vec!["de-AT".into()],
        ..employee.settings
    };
    admin
        .change_employee(BUSINESS_TENANT, employee.version, &german)
        .await
        .unwrap();
    for (title, format, text) in [
        (
            "Seite",
            DocumentFormat::Html,
            "<h1>Räder</h1><p>Wir reparieren Fahrräder.</p>",
        ),
        ("Liste", DocumentFormat::Csv, "name,preis\nRad,10"),
        ("Fragen", DocumentFormat::Faq, "Q: Wo?\nA: Wien."),
    ] {
        let document = NewDocument::text(title, format, text);
        let kept = admin
            .put_document(BUSINESS_TENANT, &document)
            .await
            .unwrap();
        assert_eq!((kept.format, kept.version), (format, 1));
        let read = admin.document(BUSINESS_TENANT, kept.id).await.unwrap();
        let source = &read.passages[0].source;
        assert!(source.starts_with(&kept.title), "{source}");
        assert_eq!(read.warnings, []);
    }
    let broken = NewDocument {
        content: Some("bm90IGEgUERG".into()),
        ..NewDocument::text("Datei", DocumentFormat::Pdf, "")
    };
    let rejected_reply = admin
        .put_document(BUSINESS_TENANT, &broken)
        .await
        .unwrap_err();
    assert!(
        rejected_reply.to_string().contains("content"),
        "{rejected_reply}"
    );
}

/// Returns a PDF with one page with text and one without.
fn scanned() -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 /MediaBox [0 0 600 800] >>",
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 6 0 R >> >> >>",
        "<< /Type /Page /Parent 2 0 R >>",
        "<< /Length 41 >> stream\nBT /F1 12 Tf 50 700 Td (Open at ten) Tj ET\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ];
    let mut file = String::from("%PDF-1.4\n");
    for (number, object) in (1..).zip(objects) {
        file += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    file += "trailer << /Root 1 0 R /Size 7 >>\n%%EOF\n";
    file.into_bytes()
}

#[tokio::test]
async fn pages_without_text_are_named_also_after_a_restart() {
    let office = Office::open().await;
    let server = office.start().await;
    let document = NewDocument {
        content: Some(STANDARD.encode(scanned())),
        ..NewDocument::text("Scan", DocumentFormat::Pdf, "")
    };
    let admin = server.admin();
    let kept = admin
        .put_document(BUSINESS_TENANT, &document)
        .await
        .unwrap();
    server.kill().await;
    let server = office.start().await;
    let read = server
        .admin()
        .document(BUSINESS_TENANT, kept.id)
        .await
        .unwrap();
    let expected = DocumentWarning::PagesWithoutText { pages: vec![2] };
    assert_eq!(read.warnings, [expected]);
    assert_eq!(read.passages[0].text, "Open at ten");
}
