//! The HTTP client for all outgoing requests: TLS, timeouts, guarded host names, size limits and the meaning of status codes.
//! Feature `http`.
//!
//! * [`Client`] and [`Request`] send requests with rustls on ring and Mozilla's root certificates, so they need neither cmake nor
//!   system certificates. Redirects are not followed, because they could send a key to another server. Requests are not retried.
//! * [`Guard`] prevents a URL that a tenant chose from reaching the operator's own network.
//! * [`Response`] reads a body chunk by chunk, or completely up to a limit.
//! * [`Request::exchange`] sends a request that has an effect, such as a message. Its error tells whether the effect may have
//!   happened. [`base_url`] and [`join`] build the address.
//! * [`kind_of`] maps status codes to error kinds, and [`retry_after`] parses the headers of that name.
//!
//! Errors of this module never contain the URL, because it may contain a token.
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

/// The request method from the `http` crate, and the parsed URL from the `url` crate.
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
