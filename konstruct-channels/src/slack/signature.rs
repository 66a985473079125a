//! Slack's request signatures, version 0.

use hmac::{Hmac, KeyInit as _, Mac as _};
use konstruct_core::{Error, Result, Secret, Timestamp};
use sha2::Sha256;

use crate::WebhookRequest;

/// The maximum clock difference, in seconds; older requests may be replays.
const SKEW: i64 = 300;

/// Verifies that a request comes from Slack: an HMAC over its time and its raw body.
#[derive(Clone, Debug)]
pub(super) struct Verifier(Secret);

impl Verifier {
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if the secret is empty, because then anybody could
    /// sign.
    pub(super) fn new(secret: Secret) -> Result<Self> {
        if secret.is_empty() {
            return Err(Error::invalid("signing_secret", "must not be empty"));
        }
        Ok(Self(secret))
    }

    /// Returns whether the request comes from Slack and is recent. Runs in constant time.
    pub(super) fn verify(&self, request: &WebhookRequest, now: Timestamp) -> bool {
        recent_signature(request, now).is_some_and(|(time, given)| {
            mac(&self.0, time, request.body()).is_some_and(|mac| mac.verify_slice(&given).is_ok())
        })
    }
}

/// Reads the time and the signature from the headers; `None` if either is missing or malformed, or the time is not recent.
pub(super) fn recent_signature(
    request: &WebhookRequest,
    now: Timestamp,
) -> Option<(&str, [u8; 32])> {
    let time = request.header("x-slack-request-timestamp")?;
    let sent: i64 = time.parse().ok()?;
    let signature = request.header("x-slack-signature")?.strip_prefix("v0=")?;
    let mut given = [0; 32];
    hex::decode_to_slice(signature, &mut given).ok()?;
    (now.as_secs().abs_diff(sent) <= SKEW.unsigned_abs()).then_some((time, given))
}

fn mac(secret: &Secret, time: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(b"v0:");
    mac.update(time.as_bytes());
    mac.update(b":");
    mac.update(body);
    Some(mac)
}

/// Returns Slack's signature of a request.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn sign(secret: &Secret, time: &str, body: &[u8]) -> String {
    mac(secret, time, body).map_or_else(String::new, |mac| {
        format!("v0={}", hex::encode(mac.finalize().into_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIME: i64 = 1_531_420_618;
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    // The test vector of Slack's documentation and SDKs.
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
        channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A\
        %2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.\
        47445629121.803a0bc887a14d10d2c447fce8b6703c";

    fn check(signature: &str, body: &'static str, now: i64, expected: bool) {
        let verifier = Verifier::new(Secret::new(SECRET)).expect("a verifier");
        let request = WebhookRequest::post(body)
            .with_header("X-Slack-Request-Timestamp", TIME.to_string())
            .with_header("X-Slack-Signature", signature);
        let verified = verifier.verify(&request, Timestamp::from_secs(now));
        assert_eq!(verified, expected, "{signature} at {now}");
    }

    #[test]
    fn slacks_own_vector_verifies_and_nothing_else_does() {
        check(SIGNATURE, BODY, TIME, true);
        check(SIGNATURE, BODY, TIME + SKEW, true);
        check(SIGNATURE, BODY, TIME - SKEW, true);
        check(SIGNATURE, BODY, TIME + SKEW + 1, false);
        check(SIGNATURE, BODY, i64::MAX / 1_000_000, false);
        check(SIGNATURE, "token=x", TIME, false);
        check("v0=", BODY, TIME, false);
        check(&SIGNATURE[3..], BODY, TIME, false);
        check(&SIGNATURE[..40], BODY, TIME, false);
        check("v0=zz", BODY, TIME, false);
    }

    #[test]
    fn a_request_without_a_signature_or_a_secret_is_rejected() {
        assert!(Verifier::new(Secret::new("")).is_err());
        let verifier = Verifier::new(Secret::new(SECRET)).expect("a verifier");
        assert!(!verifier.verify(&WebhookRequest::post(BODY), Timestamp::from_secs(TIME)));
    }
}
