//! The sample business: a bicycle shop with an FAQ. The public demo and the configured business both start with it, as two
//! separate tenants.

use konstruct_core::{
    ConnectionId, DocumentFormat, Employee, ErrorKind, MemoryStore, NewDocument, Result, TenantId,
};

use crate::directory::ServerDirectory;

/// The tenant that the configuration connects to one workspace and one number, without the admin API.
pub const BUSINESS: TenantId = TenantId::from_bytes(numbered(1));
/// The tenant of the public demo.
pub const TENANT: TenantId = TenantId::from_bytes(numbered(2));

/// The ids of the demo's simulated connections, the same at every start.
pub(crate) const SLACK: ConnectionId = ConnectionId::from_bytes(numbered(1));
pub(crate) const WHATSAPP: ConnectionId = ConnectionId::from_bytes(numbered(2));
/// The ids of the business's connections, likewise.
pub(crate) const BUSINESS_SLACK: ConnectionId = ConnectionId::from_bytes(numbered(3));
pub(crate) const BUSINESS_WHATSAPP: ConnectionId = ConnectionId::from_bytes(numbered(4));

const fn numbered(number: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]
}

/// The documents, by title: the same questions and answers in three languages.
const DOCUMENTS: [(&str, &str); 3] = [
    ("Acme Bikes FAQ", include_str!("faq.en.md")),
    ("Acme Bikes FAQ (Deutsch)", include_str!("faq.de.md")),
    ("Acme Bikes FAQ (español)", include_str!("faq.es.md")),
];

/// Creates a tenant with the sample business, unless the tenant exists; changes by its owner are kept.
///
/// # Errors
/// Those of the store.
pub(crate) async fn create(
    directory: &ServerDirectory,
    memory: &dyn MemoryStore,
    tenant: TenantId,
    name: &str,
) -> Result<()> {
    match directory.tenant(tenant).await {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let ava = Employee::builder("Ava")
        .role("the front desk of Acme Bikes, a bicycle shop with a workshop")
        .persona("warm, brief and honest")
        .scope("bicycles, repairs, rental, opening hours and everything else about Acme Bikes")
        .language("en")
        .tool("pass_on")
        .build()?;
    // The tenant is written last: after a crash in between, the next start completes the work.
    match directory.hire(tenant, &ava).await {
        Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
        _ => {}
    }
    for (title, text) in DOCUMENTS {
        let faq = NewDocument::new(title, DocumentFormat::Markdown, text);
        memory.put_document(tenant, faq).await?;
    }
    match directory.add_tenant(tenant, name).await {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        added => added.map(drop),
    }
}

/// Removes the demo's simulated connections, because no vendor is simulated while the demo is off.
///
/// # Errors
/// Those of the store.
pub(crate) async fn close(directory: &ServerDirectory) -> Result<()> {
    for connection in [SLACK, WHATSAPP] {
        match directory.disconnect(TENANT, connection).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
