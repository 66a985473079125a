//! The one way out over HTTP: TLS, timeouts, guarded names, bounded bodies, and what a status means. Feature `http`.
//!
//! * [`Client`] and [`Request`] make requests with rustls on ring and Mozilla's roots, so that neither cmake nor system certificates are
//!   needed. No redirect is followed, because it would carry a key elsewhere, and nothing is repeated.
//! * [`Guard`] keeps a URL that a tenant chose away from the operator's own network.
//! * [`Response`] reads a body chunk by chunk, or whole up to a limit.
//! * [`Request::exchange`] sends what has an effect, such as a message: its error says whether that can have happened. [`base_url`] and
//!   [`join`] make the address.
//! * [`kind_of`] is the one table of statuses, [`retry_after`] the one reader of the header of that name.
//!
//! An error of this module never holds the URL: it may carry a token.
//!
//! ```
//! use std::time::Duration;
//! use konstruct_core::http::{Client, Method};
//!
//! let client = Client::builder().timeout(Duration::from_secs(10)).build();
//! let request = client.request(Method::GET, "https://api.example/v1/models")?;
//! # Ok::<(), konstruct_core::Error>(())
//! ```

mod client;
mod exchange;
mod guard;
mod request;
mod response;
mod status;
mod url;

/// The method of a request, of the `http` crate; and a parsed address, of the `url` crate.
pub use reqwest::{Method, Url};

pub use self::{
    client::{Client, ClientBuilder},
    exchange::{Exchange, kind_of_effect},
    guard::Guard,
    request::{Headers, Request},
    response::Response,
    status::{kind_of, retry_after},
    url::{base_url, join},
};

#[cfg(test)]
mod tests;
