//! What the pool costs: CPU and time, beside a bare HTTP client, other libraries and gateways.
//!
//! * `upstream` - the provider, in a process of its own.
//! * `load` - callers, and what is measured; `clients` - who asks; `candidate` - who is measured.
//! * `process` - what a gateway uses.
//! * `peers` - LiteLLM, TensorZero, async-openai and genai; `python` - the environment that the first two run in.

pub mod candidate;
pub mod clients;
pub mod load;
pub mod peers;
pub mod process;
pub mod python;
pub mod upstream;
