//! What is kept of a tenant's memory besides: its language, and how far the index has come.

use konstruct_core::{
    ConversationId, Error, ErrorKind, PersonId, Result, TenantId,
    memory::{Language, Mark},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::OwnedMutexGuard;

use super::{
    fact, knowledge,
    shelf::{Kind, Plan, RowPut, Shelf},
};

/// How often a change is planned anew because something else was committed meanwhile.
const TRIES: u32 = 64;
/// After how many of them it takes the tenant's turn.
const OVERTAKEN: u32 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) language: Language,
    /// The cursor of the feed up to which records are in the index.
    pub(super) indexed: u64,
}

pub(super) async fn settings(shelf: &dyn Shelf, tenant: TenantId) -> Result<Settings> {
    Ok(row(shelf, tenant, Kind::Settings, &[])
        .await?
        .unwrap_or_default())
}

/// Says in which language the tenant's texts are analysed, and has all of them analysed anew if it is another one.
pub(crate) async fn set_language(
    shelf: &dyn Shelf,
    tenant: TenantId,
    language: Language,
) -> Result<()> {
    if settings(shelf, tenant).await?.language == language {
        return Ok(());
    }
    analyse(shelf, tenant, Some(language)).await
}

/// Throws the index away and makes it again: documents and facts at once, and what was said by following the feed anew.
pub(crate) async fn rebuild(shelf: &dyn Shelf, tenant: TenantId) -> Result<()> {
    analyse(shelf, tenant, None).await
}

/// Returns the present moment of a tenant's memory.
pub(crate) async fn mark(shelf: &dyn Shelf, tenant: TenantId) -> Result<Mark> {
    shelf.revision(tenant).await.map(Mark)
}

/// Returns whether something may still be kept that names these persons and was made of these conversations: all of the persons
/// are known, and nothing was erased of any of them since the mark.
pub(super) async fn may_keep(
    shelf: &dyn Shelf,
    tenant: TenantId,
    (conversations, persons): (&[ConversationId], &[PersonId]),
    mark: Option<Mark>,
) -> Result<bool> {
    if !shelf.known(tenant, persons).await? {
        return Ok(false);
    }
    let Some(mark) = mark else { return Ok(true) };
    let ids = conversations.iter().map(|id| *id.as_bytes());
    for id in ids.chain(persons.iter().map(|id| *id.as_bytes())) {
        let erased: Option<u64> = row(shelf, tenant, Kind::Erased, &id).await?;
        if erased.is_some_and(|revision| revision > mark.0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The refusal of something that names a person without a key.
pub(crate) fn unknown_person() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "persons: names a person who was never heard, or was erased since it was read",
    )
}

async fn analyse(shelf: &dyn Shelf, tenant: TenantId, language: Option<Language>) -> Result<()> {
    let mut tries = Tries::new(shelf, tenant);
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        let before = settings(shelf, tenant).await?;
        let after = Settings {
            language: language.unwrap_or(before.language),
            indexed: 0,
        };
        plan.take_out_all = true;
        plan.put_row(Kind::Settings, Vec::new(), &after, &[])?;
        plan.put_in = knowledge::units(shelf, tenant, after.language).await?;
        plan.put_in
            .extend(fact::units(shelf, tenant, after.language).await?);
        if shelf.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again().await?;
    }
}

/// Counts how often a change was planned. One that was overtaken a few times takes the tenant's turn, so that the index, which has
/// something to commit again and again after an import, does not overtake it for ever.
#[derive(Default)]
pub(super) struct Tries<'a> {
    many: u32,
    of: Option<(&'a dyn Shelf, TenantId)>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl<'a> Tries<'a> {
    pub(super) fn new(shelf: &'a dyn Shelf, tenant: TenantId) -> Self {
        Self {
            of: Some((shelf, tenant)),
            ..Self::default()
        }
    }

    /// Allows another try, or fails.
    pub(super) async fn again(&mut self) -> Result<()> {
        self.many += 1;
        if self.many >= TRIES {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the tenant's memory kept changing meanwhile",
            ));
        }
        if let Some((shelf, tenant)) = self.of
            && self.many >= OVERTAKEN
            && self.turn.is_none()
        {
            self.turn = Some(shelf.embedding().turn(tenant).await);
        }
        Ok(())
    }

    /// Begins to count anew, and keeps the turn.
    pub(super) fn reset(&mut self) {
        self.many = 0;
    }
}

impl Plan {
    /// Begins a plan on the present revision: what is read from now on is what it is made of.
    pub(super) async fn on(shelf: &dyn Shelf, tenant: TenantId) -> Result<Self> {
        Ok(Self {
            revision: shelf.revision(tenant).await?,
            ..Self::default()
        })
    }

    /// Notes that something of a conversation or of a person is erased by this plan.
    pub(super) fn erases(&mut self, id: [u8; 16]) -> Result<()> {
        let revision = self.revision + 1;
        self.put_row(Kind::Erased, id.to_vec(), &revision, &[])
    }

    /// Writes a row.
    pub(super) fn put_row(
        &mut self,
        kind: Kind,
        key: Vec<u8>,
        value: &impl Serialize,
        persons: &[PersonId],
    ) -> Result<()> {
        let value = serde_json::to_vec(value)
            .map_err(|error| Error::internal("a row does not serialise").with_source(error))?;
        self.put.push(RowPut {
            kind,
            key,
            value,
            persons: persons.to_vec(),
        });
        Ok(())
    }
}

/// Reads a row.
pub(super) async fn row<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    tenant: TenantId,
    kind: Kind,
    key: &[u8],
) -> Result<Option<T>> {
    let value = shelf.get(tenant, kind, key).await?;
    value.as_deref().map(read).transpose()
}

/// How many rows are read at a time.
const PAGE: usize = 256;

/// Reads every row whose key begins so.
pub(super) async fn rows<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    tenant: TenantId,
    kind: Kind,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, T)>> {
    let mut all: Vec<(Vec<u8>, T)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let page = shelf
            .scan(tenant, kind, prefix, after.as_deref(), PAGE)
            .await?;
        let last = page.len() < PAGE;
        for (key, value) in page {
            let value = read(&value)?;
            all.push((key, value));
        }
        if last {
            return Ok(all);
        }
    }
}

/// Reads a row's value.
pub(super) fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a row of the memory does not read").with_source(error)
    })
}

#[cfg(all(test, feature = "redb"))]
mod tests {
    use super::*;
    use crate::{Redb, memory::keep_up_some};

    #[tokio::test]
    async fn who_was_overtaken_takes_the_turn() {
        let store = Redb::in_memory().unwrap();
        let shelf = store.desk().unwrap();
        let [tenant, other] = [TenantId::new(), TenantId::new()];
        let is_free = async |tenant| shelf.embedding().turn_soon(tenant).await.is_some();
        let mut tries = Tries::new(&shelf, tenant);
        for _ in 1..OVERTAKEN {
            tries.again().await.unwrap();
        }
        assert!(is_free(tenant).await);
        tries.again().await.unwrap();
        assert!(!is_free(tenant).await && is_free(other).await);
        // The index does not wait for it, but comes again.
        assert!(keep_up_some(&shelf, tenant).await.unwrap());
        for _ in OVERTAKEN..TRIES - 1 {
            tries.again().await.unwrap();
        }
        let error = tries.again().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        drop(tries);
        assert!(is_free(tenant).await);
        assert!(!keep_up_some(&shelf, tenant).await.unwrap());
    }
}
