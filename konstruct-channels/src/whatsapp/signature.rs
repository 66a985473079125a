//! Meta's request signatures: `X-Hub-Signature-256`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use konstruct_core::{Error, Result, Secret};
use sha2::Sha256;

use crate::WebhookRequest;

/// Verifies that a request comes from Meta: an HMAC over its raw body, which escapes non-ASCII characters.
#[derive(Clone, Debug)]
pub(super) struct Verifier(Secret);

impl Verifier {
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if the secret is empty, because then anybody could
    /// sign.
    pub(super) fn new(secret: Secret) -> Result<Self> {
        if secret.is_empty() {
            return Err(Error::invalid("app_secret", "must not be empty"));
        }
        Ok(Self(secret))
    }

    /// Returns whether the request comes from Meta. Runs in constant time.
    pub(super) fn verify(&self, request: &WebhookRequest) -> bool {
        signature(request)
            .zip(mac(&self.0, request.body()))
            .is_some_and(|(given, mac)| mac.verify_slice(&given).is_ok())
    }

    /// Compares two texts by their HMACs, in constant time.
    pub(super) fn same(&self, given: &str, expected: &str) -> bool {
        mac(&self.0, given.as_bytes())
            .zip(mac(&self.0, expected.as_bytes()))
            .is_some_and(|(given, expected)| {
                given.verify(&expected.finalize().into_bytes()).is_ok()
            })
    }
}

/// Reads the signature from the headers; `None` if it is missing or malformed.
pub(super) fn signature(request: &WebhookRequest) -> Option<[u8; 32]> {
    let signature = request.header("x-hub-signature-256")?;
    let mut given = [0; 32];
    hex::decode_to_slice(signature.strip_prefix("sha256=")?, &mut given).ok()?;
    Some(given)
}

fn mac(secret: &Secret, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(body);
    Some(mac)
}

/// Returns Meta's signature of a body.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn sign(secret: &Secret, body: &[u8]) -> String {
    mac(secret, body).map_or_else(String::new, |mac| {
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn check(signature: &str, body: &'static str, expected: bool) {
        let verifier =
            Verifier::new(Secret::new("It's a Secret to Everybody")).expect("a verifier");
        let request = WebhookRequest::post(body).with_header("X-Hub-Signature-256", signature);
        assert_eq!(verifier.verify(&request), expected, "{signature}");
    }

    #[test]
    fn the_published_vector_verifies_and_nothing_else_does() {
        check(SIGNATURE, "Hello, World!", true);
        check(SIGNATURE, "Hello, World! ", false);
        check(&SIGNATURE[7..], "Hello, World!", false);
        check(&SIGNATURE[..20], "Hello, World!", false);
        check("sha256=", "Hello, World!", false);
        check("sha256=é", "Hello, World!", false);
    }

    #[test]
    fn a_request_without_a_signature_or_a_secret_is_rejected() {
        assert!(Verifier::new(Secret::new("")).is_err());
        let verifier = Verifier::new(Secret::new("s")).expect("a verifier");
        assert!(!verifier.verify(&WebhookRequest::post("{}")));
    }
}
