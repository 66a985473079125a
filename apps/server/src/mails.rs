//! Sends the mail that waits, and tries again what could not be sent.

use std::{future::Future, sync::Arc, time::Duration};

use konstruct_core::{Clock as _, ErrorKind, Result, SystemClock, Timestamp};

use crate::{
    App,
    directory::{NextMail, Taken},
    mail::Mailer,
};

/// How often a process looks for the mail of others.
const LOOK: Duration = Duration::from_secs(5);
/// The wait after an error of the store.
const RETRY: Duration = Duration::from_secs(5);

/// Sends mail until `stopped` is ready. What is not sent by then waits for the next start.
pub(crate) async fn send_all(app: Arc<App>, mailer: Mailer, stopped: impl Future<Output = ()>) {
    let sending = async {
        loop {
            match send_due(&app, &mailer).await {
                Ok(next_due) => wait(&app, next_due).await,
                Err(error) => {
                    tracing::error!(%error, "could not read the mail that waits; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = stopped => {}
    }
}

/// Waits until there may be another mail to send.
async fn wait(app: &App, next_due: Option<Timestamp>) {
    let due = async {
        let until = next_due.map(|due| due.since(SystemClock.now()));
        let shared = !app.config.database.url.is_empty();
        match until.into_iter().chain(shared.then_some(LOOK)).min() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = due => {}
        () = app.mails_changed.notified() => {}
    }
}

/// Sends what is due. Returns when the next mail is.
async fn send_due(app: &App, mailer: &Mailer) -> Result<Option<Timestamp>> {
    loop {
        match app.directory.take_mail().await? {
            NextMail::Nothing(next_due) => return Ok(next_due),
            NextMail::Due(taken) => send(app, mailer, taken).await?,
        }
    }
}

async fn send(app: &App, mailer: &Mailer, taken: Taken) -> Result<()> {
    if taken.mail().expires_at <= SystemClock.now() {
        tracing::error!("a mail was not sent in the time in which its link could be used");
        return app.directory.drop_mail(&taken).await;
    }
    match mailer.send(taken.mail()).await {
        Ok(()) => app.directory.drop_mail(&taken).await,
        Err(error) if error.kind() == ErrorKind::Forbidden => {
            tracing::error!(%error, "a mail cannot be sent, and is dropped; check the address");
            app.directory.drop_mail(&taken).await
        }
        Err(error) => {
            let wait = app.directory.postpone_mail(taken).await?;
            tracing::warn!(%error, ?wait, "a mail could not be sent; trying again (SMTP_URL)");
            Ok(())
        }
    }
}
