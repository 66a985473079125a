//! Work that one process does for all.

use std::{sync::Arc, time::Duration};

use konstruct_core::{Clock as _, Result, SystemClock, Timestamp, id::WorkerId};
use konstruct_memory::{Expect, RowChange, RowStore};
use serde::{Deserialize, Serialize};

use super::{decode, encode};
use crate::store::Stores;

const TABLE: &str = "leases";

/// The lease of some work, which the holder renews.
#[derive(Debug)]
pub(crate) struct Lease {
    rows: Arc<dyn RowStore>,
    /// Whether other processes may want it. A process that has the store for itself always holds it, and writes nothing.
    shared: bool,
    name: &'static str,
    holder: WorkerId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    holder: WorkerId,
    until: Timestamp,
}

impl Lease {
    /// How long a lease lasts after it was taken or renewed. The clocks of the processes may differ by a part of it.
    pub(crate) const LENGTH: Duration = Duration::from_secs(30);
    /// How often the holder renews the lease, and others ask for it.
    pub(crate) const RENEWED: Duration = Duration::from_secs(10);

    pub(crate) fn new(stores: &Stores, name: &'static str) -> Self {
        Self {
            rows: Arc::clone(&stores.rows),
            shared: stores.shared,
            name,
            holder: WorkerId::new(),
        }
    }

    /// Returns whether other processes may take it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Takes or renews the lease. Returns whether this process holds it now.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn take(&self) -> Result<bool> {
        if !self.shared {
            return Ok(true);
        }
        let row = self.rows.get_row(None, TABLE, self.name).await?;
        let now = SystemClock.now();
        if let Some(row) = &row {
            let held: Held = decode(row)?;
            if held.holder != self.holder && held.until > now {
                return Ok(false);
            }
        }
        let held = Held {
            holder: self.holder,
            until: now + Self::LENGTH,
        };
        let change = RowChange::put(None, TABLE, self.name, encode(&held)?);
        let change = change.expecting(row.map_or(Expect::Absent, Expect::Exact));
        self.rows.write_rows(vec![change]).await
    }

    /// Ends the lease, if this process holds it, so that another can take it at once.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn give_up(&self) -> Result<()> {
        if !self.shared {
            return Ok(());
        }
        let Some(row) = self.rows.get_row(None, TABLE, self.name).await? else {
            return Ok(());
        };
        let held: Held = decode(&row)?;
        if held.holder != self.holder {
            return Ok(());
        }
        let delete = RowChange::delete(None, TABLE, self.name).expecting(Expect::Exact(row));
        self.rows.write_rows(vec![delete]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use konstruct_memory::Redb;

    use super::*;

    #[tokio::test]
    async fn one_process_holds_it() {
        let stores = Stores::of(Redb::in_memory().unwrap(), true);
        let [first, second] = [(); 2].map(|()| Lease::new(&stores, "work"));
        assert!(first.take().await.unwrap());
        assert!(!second.take().await.unwrap());
        assert!(first.take().await.unwrap(), "it is renewed");
        second.give_up().await.unwrap();
        assert!(!second.take().await.unwrap());
        first.give_up().await.unwrap();
        assert!(second.take().await.unwrap());
        let past = Held {
            holder: second.holder,
            until: SystemClock.now(),
        };
        let past = encode(&past).unwrap();
        let put = stores.rows.put_row(None, TABLE, "work", &past);
        put.await.unwrap();
        assert!(first.take().await.unwrap(), "the holder is gone");
        let alone = Stores {
            shared: false,
            ..stores
        };
        let lease = Lease::new(&alone, "alone");
        assert!(lease.take().await.unwrap());
        let row = alone.rows.get_row(None, TABLE, "alone").await.unwrap();
        assert_eq!(row, None, "nothing is written while nothing happens");
    }
}
