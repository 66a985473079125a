//! The cost of the pool: CPU and latency, compared with a bare HTTP client, other libraries and gateways.
//!
//! * `upstream` - the provider, in its own process.
//! * `load` - callers and figures; `clients` - the clients; `candidate` - the measured candidates.
//! * `process` - the CPU of a gateway.
//! * `peers` - LiteLLM, TensorZero, async-openai and genai; `python` - the environment of the first two.

pub mod candidate;
pub mod clients;
pub mod load;
pub mod peers;
pub mod process;
pub mod python;
pub mod upstream;
