//! Ids: a newtype with a text prefix for each kind, so that kinds cannot be confused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

use crate::{Error, Result};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of the id's text.
            pub const PREFIX: &'static str = $prefix;

            /// Creates a new id that sorts after earlier ones (UUID v7).
            #[expect(clippy::new_without_default, reason = "two calls give two ids")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Creates an id from 16 bytes, such as a keyed hash or stored bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Returns the 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 32)
                    .and_then(|digits| Uuid::try_parse(digits).ok())
                    .map(Self)
                    .ok_or_else(|| Error::invalid("id", concat!("expected `", $prefix, "` and 32 hex digits")))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// A tenant: one business, its employee, its channels and all of its data.
    TenantId, "ten_"
);
id!(
    /// An AI employee.
    EmployeeId, "emp_"
);
id!(
    /// A connection: one Slack workspace or one WhatsApp number of a tenant.
    ConnectionId, "con_"
);
id!(
    /// A conversation. The id is a keyed hash of the channel's name for it, so it does not identify anyone.
    ConversationId, "cnv_"
);
id!(
    /// A turn of a conversation.
    TurnId, "trn_"
);
id!(
    /// A document of the tenant.
    DocumentId, "doc_"
);
id!(
    /// A website that a tenant's employee answers from.
    WebsiteId, "web_"
);
id!(
    /// A person who signs in, the same in every tenant of which they are a member.
    MemberId, "mbr_"
);
id!(
    /// A learned fact.
    FactId, "fct_"
);
id!(
    /// A person. The id is a keyed hash of the channel's id of the person.
    PersonId, "per_"
);
id!(
    /// A worker process or task that holds leases.
    WorkerId, "wrk_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_prefixes_are_checked() {
        let tenant = TenantId::new();
        assert_eq!(tenant.to_string().parse::<TenantId>().unwrap(), tenant);
        assert!(tenant.to_string().parse::<TurnId>().is_err());
        assert!("ten_zz".parse::<TenantId>().is_err());
        assert!("ten_".parse::<TenantId>().is_err());
    }
}
