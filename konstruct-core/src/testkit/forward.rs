//! Macros that forward the traits of a store to a wrapped one.

/// Implements [`History`](crate::store::History) for a wrapper by forwarding every call. The wrapper needs a method `fn
/// inner(&self) -> Result<&dyn Store>`.
///
/// ```
/// use std::sync::Arc;
/// use konstruct_core::{Result, store::Store};
///
/// #[derive(Debug)]
/// struct Wrapper(Arc<dyn Store>);
///
/// impl Wrapper {
///     fn inner(&self) -> Result<&dyn Store> {
///         Ok(&*self.0)
///     }
/// }
///
/// konstruct_core::forward_history!(Wrapper);
/// konstruct_core::forward_ledger!(Wrapper);
/// konstruct_core::forward_archive!(Wrapper);
/// ```
#[macro_export]
macro_rules! forward_history {
    ($wrapper:ty) => {
        const _: () = {
            use $crate::{
                ChannelKind, ConversationId, PersonId, Result, TenantId,
                store::{
                    ConversationCursor, ConversationSummary, FeedEntry, History, ItemEntry, Stored,
                },
                testkit::async_trait,
                turn::ItemId,
            };

            #[async_trait]
            impl History for $wrapper {
                async fn read(
                    &self,
                    tenant: TenantId,
                    conversation: ConversationId,
                    range: std::ops::Range<u64>,
                ) -> Result<Vec<Stored>> {
                    self.inner()?.read(tenant, conversation, range).await
                }

                async fn read_said(
                    &self,
                    tenant: TenantId,
                    conversation: ConversationId,
                    range: std::ops::Range<u64>,
                ) -> Result<Vec<Stored>> {
                    self.inner()?.read_said(tenant, conversation, range).await
                }

                async fn conversation(
                    &self,
                    tenant: TenantId,
                    conversation: ConversationId,
                ) -> Result<Option<ConversationSummary>> {
                    self.inner()?.conversation(tenant, conversation).await
                }

                async fn person(
                    &self,
                    tenant: TenantId,
                    channel: &ChannelKind,
                    address: &str,
                ) -> Result<Option<PersonId>> {
                    self.inner()?.person(tenant, channel, address).await
                }

                async fn conversations_of(
                    &self,
                    tenant: TenantId,
                    person: PersonId,
                    after: Option<ConversationId>,
                    limit: usize,
                ) -> Result<Vec<ConversationId>> {
                    let inner = self.inner()?;
                    inner.conversations_of(tenant, person, after, limit).await
                }

                async fn list(
                    &self,
                    tenant: TenantId,
                    after: Option<ConversationCursor>,
                    limit: usize,
                ) -> Result<Vec<ConversationSummary>> {
                    self.inner()?.list(tenant, after, limit).await
                }

                async fn items(
                    &self,
                    tenant: TenantId,
                    after: Option<ItemId>,
                    limit: usize,
                ) -> Result<Vec<ItemEntry>> {
                    self.inner()?.items(tenant, after, limit).await
                }

                async fn feed(
                    &self,
                    tenant: TenantId,
                    after: u64,
                    limit: usize,
                ) -> Result<Vec<FeedEntry>> {
                    self.inner()?.feed(tenant, after, limit).await
                }

                async fn watch(&self, tenant: TenantId, after: u64) -> Result<()> {
                    self.inner()?.watch(tenant, after).await
                }
            }
        };
    };
}

/// Implements [`Ledger`](crate::store::Ledger) for a wrapper, like [`forward_history!`](crate::forward_history).
#[macro_export]
macro_rules! forward_ledger {
    ($wrapper:ty) => {
        const _: () = {
            use $crate::{
                NanoUsd, Result, TenantId,
                store::{Charge, Charged, Ledger, LedgerPage, LedgerQuery},
                testkit::async_trait,
            };

            #[async_trait]
            impl Ledger for $wrapper {
                async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged> {
                    self.inner()?.charge(tenant, charge).await
                }

                async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
                    self.inner()?.reserved(tenant, call).await
                }

                async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
                    self.inner()?.ledger(tenant, query).await
                }
            }
        };
    };
}

/// Implements [`Archive`](crate::store::Archive) for a wrapper, like [`forward_history!`](crate::forward_history).
#[macro_export]
macro_rules! forward_archive {
    ($wrapper:ty) => {
        const _: () = {
            use $crate::{
                Depth, Erase, Result, TenantId,
                memory::ErasureReceipt,
                store::{Archive, Exported},
                testkit::{BoxStream, async_trait},
            };

            #[async_trait]
            impl Archive for $wrapper {
                async fn export(
                    &self,
                    tenant: TenantId,
                ) -> Result<BoxStream<'static, Result<Exported>>> {
                    self.inner()?.export(tenant).await
                }

                async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
                    self.inner()?.import(tenant, items).await
                }

                async fn erase(
                    &self,
                    tenant: TenantId,
                    what: Erase,
                    depth: Depth,
                ) -> Result<ErasureReceipt> {
                    self.inner()?.erase(tenant, what, depth).await
                }
            }
        };
    };
}
