//! The index follows for all tenants, whatever the embedder of one of them does.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use konstruct_core::{
    DocumentFormat, Embedder, MemoryStore as _, NewDocument, Result, TenantId, embed::EmbedContext,
    memory::KnowledgeStore as _,
};
use konstruct_memory::Postgres;

use crate::database::Database;

/// An embedder that hangs for some tenants, and records the tenants of its calls.
#[derive(Debug, Default)]
struct Picky {
    hangs: Mutex<Vec<TenantId>>,
    asked: Mutex<Vec<TenantId>>,
}

#[async_trait]
impl Embedder for Picky {
    fn id(&self) -> &'static str {
        "picky/words"
    }

    fn dim(&self) -> usize {
        2
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let tenant = context.tenant;
        self.asked.lock().unwrap().push(tenant);
        if self.hangs.lock().unwrap().contains(&tenant) {
            std::future::pending::<()>().await;
        }
        Ok(vec![vec![1.0, 0.0]; texts.len()])
    }
}

/// Adds this many documents to a tenant.
async fn teach(store: &Postgres, tenant: TenantId, many: usize) {
    for n in 0..many {
        let (title, text) = (format!("Bike {n}"), format!("It costs {n} euros."));
        let document = NewDocument::new(title, DocumentFormat::Text, text);
        store.put_document(tenant, document).await.unwrap();
    }
}

/// Waits until the texts of these tenants are embedded.
async fn embedded(store: &Postgres, tenants: &[TenantId]) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for tenant in tenants {
        let mut left = 1_500;
        while !store.progress(*tenant).await.unwrap().is_complete() {
            left -= 1;
            assert!(left > 0, "the others are delayed");
            ticks.tick().await;
        }
    }
}

#[tokio::test]
async fn tenants_with_a_hanging_embedder_delay_nobody() {
    Database::with(async |database| {
        let mut tenants: Vec<TenantId> = (0..8).map(|_| TenantId::new()).collect();
        tenants.sort();
        // The tenants that hang have their turn first.
        let (hanging, well) = tenants.split_at(3);
        let store = database.builder().connect().await.unwrap();
        for tenant in &tenants {
            teach(&store, *tenant, 3).await;
        }
        drop(store);
        let picky = Arc::new(Picky::default());
        picky.hangs.lock().unwrap().extend(hanging);
        let builder = database.builder().embedder(Arc::clone(&picky) as _);
        let store = builder.connect().await.unwrap();
        embedded(&store, well).await;
        let asked = picky.asked.lock().unwrap().clone();
        for tenant in hanging {
            let asked = asked.iter().filter(|asked| *asked == tenant).count();
            assert!(asked <= 1, "one turn of a tenant at a time: {asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_big_backlog_is_embedded_in_turns_with_others() {
    Database::with(async |database| {
        // The first tenants in turn order, unless the process begins at another tenant.
        let big = TenantId::from_bytes([1; 16]);
        let small = TenantId::from_bytes([2; 16]);
        let store = database.builder().connect().await.unwrap();
        teach(&store, big, 150).await;
        teach(&store, small, 1).await;
        drop(store);
        let picky = Arc::new(Picky::default());
        let builder = database.builder().embedder(Arc::clone(&picky) as _);
        let store = builder.lanes(NonZeroUsize::MIN).connect().await.unwrap();
        embedded(&store, &[big, small]).await;
        let asked = picky.asked.lock().unwrap().clone();
        let at = asked.iter().position(|tenant| *tenant == small).unwrap();
        assert!(at < 2, "the {at} calls of another tenant came first");
        assert_eq!(asked.len(), 4, "no text is embedded twice");
    })
    .await;
}
