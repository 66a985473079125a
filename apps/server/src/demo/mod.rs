//! The demo tenant: a small business with an FAQ, so that there is somebody to talk to from the first second.

use konstruct_core::{
    ConnectionId, DocumentFormat, Employee, ErrorKind, MemoryStore, NewDocument, Result, TenantId,
};

use crate::directory::ServerDirectory;

/// The demo tenant.
pub const TENANT: TenantId = TenantId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The numbers of its own connections: two of the simulator, two of the configuration.
pub(crate) const SANDBOX_SLACK: u8 = 1;
pub(crate) const SANDBOX_WHATSAPP: u8 = 2;
pub(crate) const SLACK: u8 = 3;
pub(crate) const WHATSAPP: u8 = 4;

const FAQ: &str = include_str!("faq.md");

/// Returns the id of one of the demo tenant's own connections: the same at every start.
pub(crate) const fn connection(number: u8) -> ConnectionId {
    ConnectionId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number])
}

/// Creates the demo tenant on the first start. What its owner changed since stays, and a demo that was removed stays away.
///
/// # Errors
/// Those of the store.
pub(crate) async fn create(directory: &ServerDirectory, memory: &dyn MemoryStore) -> Result<()> {
    match directory.add_tenant(TENANT, "Acme Bikes (demo)").await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
        Err(error) => return Err(error),
    }
    let ava = Employee::builder("Ava")
        .role("the front desk of Acme Bikes, a bicycle shop with a workshop")
        .persona("warm, brief and honest")
        .scope("bicycles, repairs, rental, opening hours and everything else about Acme Bikes")
        .language("en")
        .tool("pass_on")
        .build()?;
    directory.hire(TENANT, &ava).await?;
    let faq = NewDocument::new("Acme Bikes FAQ", DocumentFormat::Markdown, FAQ);
    memory.put_document(TENANT, faq).await?;
    Ok(())
}
