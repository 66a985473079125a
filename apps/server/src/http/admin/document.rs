//! `/tenants/{tenant}/documents`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use konstruct_admin_api::{self as api, Document, DocumentText, Page};
use konstruct_core::{DocumentFormat, Error, NewDocument};

use super::{
    Caller, Input, Problem,
    input::{Paging, id, page},
    preview::preview,
};
use crate::{App, directory::Website};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/documents", get(list).post(add))
        .route(
            "/tenants/{tenant}/documents/{document}",
            get(read).delete(remove),
        )
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<Document>>, Problem> {
    let mut documents: Vec<Document> = app
        .memory
        .documents(tenant)
        .await?
        .into_iter()
        .map(shown)
        .collect();
    documents.sort_by_key(|document| document.id);
    page(documents, &paging, |document| document.id.to_string()).map(Json)
}

async fn add(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(new): Input<api::NewDocument>,
) -> Result<(StatusCode, Json<Document>), Problem> {
    let document = parse_document(new)?;
    Ok((
        StatusCode::CREATED,
        Json(shown(app.memory.put_document(tenant, document).await?)),
    ))
}

fn parse_document(new: api::NewDocument) -> Result<NewDocument, Error> {
    let content = match new.content {
        Some(_) if !new.text.is_empty() => {
            return Err(Error::invalid(
                "content",
                "must not be set together with `text`",
            ));
        }
        Some(content) => STANDARD
            .decode(content)
            .map_err(|_| Error::invalid("content", "must be Base64"))?,
        None if new.text.trim().is_empty() => {
            return Err(Error::invalid("text", "must not be empty"));
        }
        None => new.text.into_bytes(),
    };
    let expires_at = new.expires_at.map(|at| {
        at.parse()
            .map_err(|_| Error::invalid("expires_at", "must be an RFC 3339 time"))
    });
    Ok(NewDocument {
        title: new.title,
        format: format_of(new.format),
        content,
        url: new.url,
        expires_at: expires_at.transpose()?,
        key: None,
    })
}

fn format_of(format: api::DocumentFormat) -> DocumentFormat {
    match format {
        api::DocumentFormat::Text => DocumentFormat::Text,
        api::DocumentFormat::Markdown => DocumentFormat::Markdown,
        api::DocumentFormat::Html => DocumentFormat::Html,
        api::DocumentFormat::Pdf => DocumentFormat::Pdf,
        api::DocumentFormat::Docx => DocumentFormat::Docx,
        api::DocumentFormat::Xlsx => DocumentFormat::Xlsx,
        api::DocumentFormat::Ods => DocumentFormat::Ods,
        api::DocumentFormat::Csv => DocumentFormat::Csv,
        api::DocumentFormat::Faq => DocumentFormat::Faq,
    }
}

async fn read(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, document)): Path<(String, String)>,
) -> Result<Json<DocumentText>, Problem> {
    let found = app
        .memory
        .document(tenant, id(&document, "document")?, None)
        .await?;
    let (document, text) = found.ok_or_else(|| Error::not_found("document"))?;
    let (passages, warnings) = preview(&document, &text);
    Ok(Json(DocumentText {
        document: shown(document),
        text,
        passages,
        warnings,
    }))
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, document)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    if app
        .memory
        .delete_document(tenant, id(&document, "document")?)
        .await?
    {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::not_found("document").into())
    }
}

fn shown(document: konstruct_core::Document) -> Document {
    Document {
        id: document.id,
        title: document.title,
        format: match document.format {
            DocumentFormat::Markdown => api::DocumentFormat::Markdown,
            DocumentFormat::Html => api::DocumentFormat::Html,
            DocumentFormat::Pdf => api::DocumentFormat::Pdf,
            DocumentFormat::Docx => api::DocumentFormat::Docx,
            DocumentFormat::Xlsx => api::DocumentFormat::Xlsx,
            DocumentFormat::Ods => api::DocumentFormat::Ods,
            DocumentFormat::Csv => api::DocumentFormat::Csv,
            DocumentFormat::Faq => api::DocumentFormat::Faq,
            _ => api::DocumentFormat::Text,
        },
        version: document.version,
        chunks: document.chunks,
        updated_at: document.updated_at.to_string(),
        url: document.url,
        expires_at: document.expires_at.map(|at| at.to_string()),
        website: Website::of_document(document.key.as_deref()),
    }
}
