//! Retrieval in many languages: a folder with a file for each, `LANGUAGE.tsv`, whose rows are a title, a text and a question,
//! separated by tabs.

use std::{fs, path::Path};

use konstruct_core::{
    Audience, DocumentFormat, MemoryStore, NewDocument, Recall, TenantId, memory::Scope,
};

use crate::Failed;

/// The questions of a language, and those whose first hit is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageRow {
    /// The name of the file.
    pub language: String,
    /// The number of questions.
    pub questions: usize,
    /// The number of questions whose first hit is the passage of their row.
    pub right: usize,
}

/// Asks each question in a tenant of its own that knows the texts of its language.
///
/// # Errors
/// The folder cannot be read, and those of the store.
pub async fn languages(
    folder: &Path,
    memory: &dyn MemoryStore,
) -> Result<Vec<LanguageRow>, Failed> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut rows = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let tenant = TenantId::new();
        let entries = text.lines().filter_map(|line| {
            let mut parts = line.split('\t');
            Some((parts.next()?, parts.next()?, parts.next()?))
        });
        let entries: Vec<(&str, &str, &str)> = entries.collect();
        let document: String = entries
            .iter()
            .map(|(title, text, _)| format!("## {title}\n\n{text}\n\n"))
            .collect();
        let document = NewDocument::new("FAQ", DocumentFormat::Markdown, document);
        memory.put_document(tenant, document).await?;
        memory.catch_up(tenant).await?;
        let mut right = 0;
        for (title, _, question) in &entries {
            let query = Recall::new(*question, Audience::Tenant, Scope::KNOWLEDGE).with_limit(1);
            let hits = memory.recall(tenant, query).await?;
            right += usize::from(hits.first().is_some_and(|hit| hit.title == *title));
        }
        rows.push(LanguageRow {
            language: file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            questions: entries.len(),
            right,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use konstruct_memory::{Redb, StaticEmbedder};

    use super::*;

    /// The limit has some room, so that a change that loses hits is noticed.
    #[tokio::test]
    async fn hits_stay_as_good_as_they_were() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/languages");
        let embedder = Arc::new(StaticEmbedder::new());
        let store = Redb::builder().embedder(embedder).in_memory().unwrap();
        let rows = languages(Path::new(folder), &store).await.unwrap();
        let right: usize = rows.iter().map(|row| row.right).sum();
        assert!(right >= 55, "{right} of 168 questions");
    }
}
