//! Mail that waits to be sent: a row of the operator for each, ordered by their times. The rows are sealed, and go when they are sent.

use std::time::Duration;

use konstruct_core::{Clock as _, Result, SystemClock, Timestamp};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, decode, encode, job::moment};
use crate::{mail::Mail, secrets::random};

const TABLE: &str = "mails";
/// How long a process has to send a mail that it took. Then another one may.
const TAKEN: Duration = Duration::from_secs(120);
/// The wait after the first failure, and the longest. Each is four times the one before it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    id: String,
    due: Timestamp,
    /// The number of attempts that failed, or that a process has not finished.
    attempts: u32,
    mail: Mail,
}

impl Row {
    fn key(&self) -> String {
        format!("{}/{}", moment(self.due), self.id)
    }
}

/// A mail that this process sends.
#[derive(Debug)]
pub(crate) struct Taken(Row);

impl Taken {
    pub(crate) fn mail(&self) -> &Mail {
        &self.0.mail
    }
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum NextMail {
    Due(Taken),
    /// Nothing before this time.
    Nothing(Option<Timestamp>),
}

impl ServerDirectory {
    /// Adds a mail to send.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn add_mail(&self, mail: Mail) -> Result<()> {
        let row = Row {
            id: hex::encode(random::<8>()?),
            due: SystemClock.now(),
            attempts: 0,
            mail,
        };
        let bytes = encode(&row)?;
        self.rows.put_row(None, TABLE, &row.key(), &bytes).await
    }

    /// Takes the mail that is due the longest. If its process ends, it is due again.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn take_mail(&self) -> Result<NextMail> {
        loop {
            let first = self.rows.rows(None, TABLE, None, 1).await?.pop();
            let Some((key, bytes)) = first else {
                return Ok(NextMail::Nothing(None));
            };
            let row: Row = decode(&bytes)?;
            let now = SystemClock.now();
            if row.due > now {
                return Ok(NextMail::Nothing(Some(row.due)));
            }
            let taken = Row {
                due: now + TAKEN,
                attempts: row.attempts + 1,
                ..row
            };
            let changes = vec![
                RowChange::delete(None, TABLE, key).expecting(Expect::Exact(bytes)),
                RowChange::put(None, TABLE, taken.key(), encode(&taken)?),
            ];
            // Otherwise another process took it.
            if self.rows.write_rows(changes).await? {
                return Ok(NextMail::Due(Taken(taken)));
            }
        }
    }

    /// Removes a mail, which was sent or cannot be.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn drop_mail(&self, taken: &Taken) -> Result<()> {
        let key = taken.0.key();
        self.rows.delete_row(None, TABLE, &key).await.map(drop)
    }

    /// Lets a mail wait that could not be sent now. Returns for how long.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn postpone_mail(&self, taken: Taken) -> Result<Duration> {
        let Taken(row) = taken;
        let wait = wait(row.attempts);
        let delete = RowChange::delete(None, TABLE, row.key());
        let later = Row {
            due: SystemClock.now() + wait,
            ..row
        };
        let put = RowChange::put(None, TABLE, later.key(), encode(&later)?);
        self.rows.write_rows(vec![delete, put]).await?;
        Ok(wait)
    }
}

/// Returns the wait after this number of failures.
fn wait(failures: u32) -> Duration {
    let factor = 4_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_longer_up_to_an_hour() {
        let secs = [1, 2, 3, 6, 7, 1_000].map(|failures| wait(failures).as_secs());
        assert_eq!(secs, [1, 4, 16, 1_024, 3_600, 3_600]);
    }
}
