//! The measured candidates.

use std::path::PathBuf;

use super::{
    clients::{Model, Raw},
    load::{self, Answer, Figures, Load},
    peers, process,
    python::Server,
};
use crate::{Failed, sender};

/// One of the candidates that are measured side by side.
#[derive(Debug)]
pub enum Candidate {
    /// A bare HTTP client that reads bytes: the baseline.
    Raw,
    /// Konstruct's backend without a pool.
    Alone,
    /// A pool of this many backends.
    Pool(usize),
    /// Another library, in its own process.
    Library {
        /// Its name and version.
        name: &'static str,
        /// Its name.
        library: &'static str,
        /// The program in `peers/`.
        program: PathBuf,
    },
    /// A gateway. Measured are its CPU, and the latency of the bare client in front of it.
    Gateway {
        /// Its name and version.
        name: &'static str,
        /// Its process.
        server: Server,
        /// The prefix of model names.
        prefix: &'static str,
        /// The share of the requests it gets, because it is slow.
        share: f64,
    },
}

impl Candidate {
    /// Returns its name.
    pub fn name(&self) -> String {
        match self {
            Self::Raw => "raw".into(),
            Self::Alone => "openai".into(),
            Self::Pool(deployments) => format!("pool-{deployments}"),
            Self::Library { name, .. } | Self::Gateway { name, .. } => (*name).into(),
        }
    }

    /// Runs one round against the upstream, after two warm-up requests of each caller.
    ///
    /// # Errors
    /// The first error of a request.
    pub async fn round(&self, url: &str, asked: Answer, load: Load) -> Result<Figures, Failed> {
        let before = Load {
            requests: load.callers * 2,
            ..load
        };
        match self {
            Self::Raw => {
                let url = format!("{url}/v1");
                let raw = Raw::new(sender::client()?, &url, "key", &asked.model(), asked);
                let ask = move || {
                    let raw = raw.clone();
                    async move { raw.ask().await }
                };
                load::round(before, load::own, ask.clone()).await?;
                load::round(load, load::own, ask).await
            }
            Self::Alone | Self::Pool(_) => {
                let model = match self {
                    Self::Pool(deployments) => Model::pool(url, asked, *deployments)?,
                    _ => Model::alone(url, asked)?,
                };
                let ask = move || {
                    let model = model.clone();
                    async move { model.ask().await }
                };
                load::round(before, load::own, ask.clone()).await?;
                load::round(load, load::own, ask).await
            }
            Self::Library {
                library, program, ..
            } => peers::library(program, library, url, (asked, load)).await,
            Self::Gateway {
                server,
                prefix,
                share,
                ..
            } => {
                let model = format!("{prefix}{}", asked.model());
                let raw = Raw::new(sender::client()?, server.url(), peers::KEY, &model, asked);
                let ask = move || {
                    let raw = raw.clone();
                    async move { raw.ask().await }
                };
                let requests = (load.requests as f64 * share) as usize;
                let load = Load {
                    requests: requests.max(load.callers),
                    ..load
                };
                let cpu = || process::cpu(server.pid());
                load::round(before, cpu, ask.clone()).await?;
                load::round(load, cpu, ask).await
            }
        }
    }
}
