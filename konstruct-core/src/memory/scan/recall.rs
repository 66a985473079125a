//! Queries: selects what an audience may see, and ranks it scope by scope.

use async_trait::async_trait;

use super::{
    super::{
        Candidate, Conversations, Hit, IndexProgress, ItemKey, Language, Mark, MemoryStore,
        Neighbour, Question, Recall, Remembered, Scope, Source, rules,
    },
    ATTEMPTS, ScanMemory, busy, put,
};
use crate::{Result, TenantId, Timestamp};

#[async_trait]
impl MemoryStore for ScanMemory {
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
        let language = self.language(tenant).await?;
        let all = self.conversations(tenant).await?;
        let mut hits = Vec::new();
        for (scope, limit) in &query.scopes {
            let candidates = self.candidates(tenant, &all, (&query, *scope)).await?;
            let question = Question {
                tenant,
                language,
                recall: &query,
                limit: *limit,
            };
            let mut found = self.search.rank(question, candidates).await?;
            found.truncate(*limit);
            hits.extend(found);
        }
        for hit in &mut hits {
            hit.neighbours = neighbours(&all, hit.source);
        }
        Ok(hits)
    }

    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>> {
        let all = self.conversations(tenant).await?;
        let mut fetched = Vec::with_capacity(sources.len());
        for source in sources {
            fetched.push(self.hit(tenant, &all, *source).await?);
        }
        Ok(fetched)
    }

    async fn mark(&self, tenant: TenantId) -> Result<Mark> {
        self.items.mark(tenant).await
    }

    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let mark = self.items.mark(tenant).await?;
            let change = put(mark, [Remembered::Language { language }]);
            if self.items.commit(tenant, change).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    async fn rebuild(&self, _: TenantId) -> Result<()> {
        Ok(())
    }

    async fn catch_up(&self, _: TenantId) -> Result<()> {
        Ok(())
    }

    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
        let all = self.conversations(tenant).await?;
        let facts = self.facts_of(tenant, ItemKey::FACTS).await?.len();
        let documents = self.newest(tenant).await?;
        let taught: usize = documents
            .iter()
            .map(|(document, text)| self.search.split(document, text).len())
            .sum();
        let records = self.store.feed(tenant, 0, usize::MAX).await?.len() as u64;
        let passages = all.said + (taught + facts) as u64;
        Ok(IndexProgress {
            indexed: records,
            records,
            passages,
            embedded: passages,
        })
    }
}

impl ScanMemory {
    /// Returns everything of a scope that the audience may see.
    async fn candidates(
        &self,
        tenant: TenantId,
        all: &Conversations,
        (query, scope): (&Recall, Scope),
    ) -> Result<Vec<Candidate>> {
        let now = self.clock.now();
        let in_time = |at: &Timestamp| query.when.as_ref().is_none_or(|when| when.contains(at));
        let mut candidates = Vec::new();
        if scope.knowledge {
            let documents = self.newest(tenant).await?.into_iter();
            let current = documents.filter(|(of, _)| of.expires_at.is_none_or(|at| now < at));
            candidates.extend(current.flat_map(|(of, text)| self.passages(&of, &text)));
        }
        if scope.facts {
            let facts = self.facts_of(tenant, ItemKey::FACTS).await?.into_iter();
            let seen = facts.filter(|fact| {
                let holds = fact.holds_at(now) && in_time(&fact.known_from);
                holds && all.sees_fact(&query.audience, fact)
            });
            candidates.extend(seen.map(|fact| Candidate {
                hit: rules::fact(fact),
                heading: String::new(),
            }));
        }
        if scope.history {
            let seen = all.lines.iter().filter(|line| {
                in_time(&line.said.at) && all.sees(&query.audience, line.conversation, false)
            });
            candidates.extend(seen.map(|line| Candidate {
                hit: line.hit(),
                heading: line.said.name.clone(),
            }));
        }
        Ok(candidates)
    }

    /// Returns the hit at a location, if it still exists.
    async fn hit(
        &self,
        tenant: TenantId,
        all: &Conversations,
        source: Source,
    ) -> Result<Option<Hit>> {
        let key = match source {
            Source::Document { id, version, .. } => ItemKey::Document { id, version },
            Source::Fact { id } => ItemKey::Fact { id },
            Source::Summary { conversation, .. } => ItemKey::Summary { conversation },
            Source::Message { .. } => return Ok(all.line(source).map(|line| line.hit())),
        };
        Ok(match (self.item(tenant, key).await?, source) {
            (Some(Remembered::Document { document, text }), Source::Document { chunk, .. }) => {
                let mut passages = self.passages(&document, &text).into_iter();
                passages.nth(chunk as usize).map(|passage| passage.hit)
            }
            (Some(Remembered::Fact { fact }), _) => Some(rules::fact(fact)),
            (Some(Remembered::Summary { summary }), Source::Summary { to, .. }) => {
                (summary.to >= to).then(|| rules::summary(source, summary))
            }
            _ => None,
        })
    }
}

/// Returns the messages directly before and after a message.
fn neighbours(all: &Conversations, source: Source) -> Vec<Neighbour> {
    let Some(at) = all.lines.iter().position(|line| line.source == source) else {
        return Vec::new();
    };
    let beside = at.checked_sub(1).into_iter().chain([at + 1]);
    let beside = beside.filter_map(|beside| all.lines.get(beside));
    let beside = beside.filter(|line| line.conversation == all.lines[at].conversation);
    let neighbour = |line: &super::super::Line| Neighbour {
        source: line.source,
        text: line.said.text.clone(),
    };
    beside.map(neighbour).collect()
}
