//! Mail: what is written to people who sign in, and the server that sends it.

use std::{fmt, net::IpAddr, time::Duration};

use axum::http::Uri;
use konstruct_admin_api::Role;
use konstruct_core::{Error, ErrorKind, Result, Secret, Timestamp, http::Url};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, named},
    directory::Email,
};

/// How long the server waits for an answer of the mail server.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A mail to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mail {
    to: Email,
    subject: String,
    /// The text, with a link that signs somebody in.
    #[serde(serialize_with = "crate::secrets::seal")]
    text: Secret,
    /// When the link is of no more use.
    pub(crate) expires_at: Timestamp,
}

/// Writes the mail with an invitation.
pub(crate) fn invitation(
    to: &Email,
    tenant: &str,
    role: Role,
    link: &str,
    expires_at: Timestamp,
) -> Mail {
    // The name of a tenant must not add lines to the mail.
    let tenant: String = tenant.chars().filter(|it| !it.is_control()).collect();
    let text = format!(
        "You are invited to {tenant} on Konstruct, with the role {role}.\n\n\
         Open this link to join. It can be used once, until {expires_at}:\n\n{link}\n\n\
         If you do not know why you got this mail, ignore it.\n"
    );
    Mail {
        to: to.clone(),
        subject: format!("Invitation to {tenant}"),
        text: Secret::new(text),
        expires_at,
    }
}

/// Writes the mail with a link to a new password.
pub(crate) fn new_password(to: &Email, link: &str, expires_at: Timestamp) -> Mail {
    let text = format!(
        "Somebody asked for a new password for this address on Konstruct.\n\n\
         Open this link to choose one. It can be used once, until {expires_at}:\n\n{link}\n\n\
         If it was not you, ignore this mail: the password stays as it is.\n"
    );
    Mail {
        to: to.clone(),
        subject: "A new password for Konstruct".into(),
        text: Secret::new(text),
        expires_at,
    }
}

/// Sends mail.
#[derive(Clone)]
pub(crate) struct Mailer {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").finish_non_exhaustive()
    }
}

impl Mailer {
    /// Returns what sends mail with the configured server; `None` if none is configured. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the setting.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>> {
        let settings = &config.mail;
        if settings.url.is_empty() {
            return Ok(None);
        }
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.url.expose());
        let server = server.map_err(|_| {
            // The error may repeat the password.
            let problem = "must be a URL such as smtps://USER:PASSWORD@mail.example.com or smtp://USER:PASSWORD@mail.example.com:587?tls=required";
            Error::invalid(&named("mail.url"), problem)
        })?;
        if !is_encrypted(settings.url.expose()) {
            tracing::warn!(
                "mail is sent without encryption, with its links; use smtps://, or ?tls=required (SMTP_URL)"
            );
        }
        Ok(Some(Self {
            server: server.timeout(Some(TIMEOUT)).build(),
            from: sender(config)?,
        }))
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if it may be sent again, and [`ErrorKind::Forbidden`] if the mail server will never accept it.
    pub(crate) async fn send(&self, mail: &Mail) -> Result<()> {
        let unsendable = |error| {
            Error::new(ErrorKind::Forbidden, "the mail cannot be written").with_source(error)
        };
        let to: lettre::Address = mail.to.as_str().parse().map_err(|error| {
            Error::new(ErrorKind::Forbidden, "the address cannot be written").with_source(error)
        })?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&mail.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.expose().to_owned())
            .map_err(unsendable)?;
        match self.server.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let kind = if error.is_permanent() {
                    ErrorKind::Forbidden
                } else {
                    ErrorKind::Unavailable
                };
                Err(Error::new(kind, "the mail server did not accept the mail").with_source(error))
            }
        }
    }
}

/// Returns whether mail is encrypted on the way to the server, or does not leave the machine.
fn is_encrypted(url: &str) -> bool {
    let Ok(url) = url.parse::<Url>() else {
        return false;
    };
    let required = url
        .query_pairs()
        .any(|(name, value)| name == "tls" && value == "required");
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "smtps" || required || is_local
}

/// Returns the sender of all mail.
fn sender(config: &Config) -> Result<Mailbox> {
    let from = &config.mail.from;
    if !from.is_empty() {
        return from.parse().map_err(|_| {
            let problem = "must be an address such as Konstruct <konstruct@example.com>";
            Error::invalid(&named("mail.from"), problem)
        });
    }
    let url = config.public_uri();
    let host = url.as_ref().and_then(Uri::host).unwrap_or_default();
    format!("Konstruct <konstruct@{host}>").parse().map_err(|_| {
        let problem = "is required with SMTP_URL: the address from which mail is sent, such as konstruct@example.com";
        Error::invalid(&named("mail.from"), problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(settings: &[(&str, &str)]) -> Result<Option<Mailer>> {
        let find = |name: &str| {
            let found = settings.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut config = Config::load(None, find).unwrap();
        config.mail.from = find("from").unwrap_or_default();
        Mailer::open(&config)
    }

    #[test]
    fn the_sender_is_configured_or_belongs_to_the_public_url() {
        assert!(opened(&[]).unwrap().is_none());
        let smtp = ("SMTP_URL", "smtp://ana:planted@mail.example.com");
        let from = |settings: &[(&str, &str)]| opened(settings).unwrap().unwrap().from.to_string();
        let public = ("KONSTRUCT_PUBLIC_URL", "https://k.example.com/x");
        assert_eq!(from(&[smtp, public]), "Konstruct <konstruct@k.example.com>");
        assert_eq!(from(&[smtp, ("from", "a@b.example")]), "a@b.example");
        let check = |settings: &[(&str, &str)], expected: &str| {
            let error = opened(settings).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        };
        check(&[smtp], "mail.from");
        check(&[smtp, ("from", "nobody")], "mail.from");
        check(&[("SMTP_URL", "https://ana:planted@x")], "SMTP_URL");
        check(&[("SMTP_URL", "planted")], "SMTP_URL");
    }

    #[test]
    fn mail_without_encryption_is_noticed() {
        for (url, expected) in [
            ("smtps://mail.example.com", true),
            ("smtp://mail.example.com:587?tls=required", true),
            ("smtp://127.0.0.1:25", true),
            ("smtp://[::1]", true),
            ("smtp://localhost", true),
            ("smtp://mail.example.com", false),
            ("smtp://mail.example.com?tls=opportunistic", false),
        ] {
            assert_eq!(is_encrypted(url), expected, "{url}");
        }
    }

    #[test]
    fn a_mail_does_not_print_its_link() {
        let to = Email::parse("ana@example.com").unwrap();
        let at = Timestamp::from_secs(1_700_000_000);
        let mail = invitation(&to, "Shop\r\nBcc: x", Role::Agent, "https://k/planted", at);
        assert_eq!(mail.subject, "Invitation to ShopBcc: x");
        assert!(mail.text.expose().contains("https://k/planted"));
        assert!(!format!("{mail:?}").contains("planted"));
    }
}
