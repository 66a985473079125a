//! Others under the same load: gateways in Python processes, and Rust libraries in their own process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    candidate::Candidate,
    load::{Answer, Figures, Load},
    python::Python,
};
use crate::{Failed, sender};

/// The key that LiteLLM requires; TensorZero ignores it.
pub(super) const KEY: &str = "sk-bench";

const TENSORZERO: &str = "
import sys, tensorzero
gateway = tensorzero._start_http_gateway(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None,
    async_setup=False)
print('serving ' + gateway.base_url, flush=True)
sys.stdin.read()
";

/// Starts the gateways and builds the libraries.
///
/// # Errors
/// One of them cannot be started or built.
pub async fn start(
    folder: &Path,
    upstream: &str,
    answers: &[Answer],
) -> Result<Vec<Candidate>, Failed> {
    let python = Python::open(folder)?;
    let mut models: Vec<String> = answers.iter().map(Answer::model).collect();
    models.dedup();
    let mut candidates = libraries()?;
    let config = python.file("tensorzero.toml");
    fs::write(&config, tensorzero(&models, upstream))?;
    candidates.push(Candidate::Gateway {
        name: "tensorzero-2026.6.0",
        server: python.serve(TENSORZERO, &[&config.to_string_lossy()])?,
        prefix: "tensorzero::model_name::",
        share: 0.2,
    });
    let (config, client) = (litellm(&models, upstream), sender::client()?);
    candidates.push(Candidate::Gateway {
        name: "litellm-1.106.2",
        server: python.litellm(&config, &client).await?,
        prefix: "",
        share: 0.04,
    });
    Ok(candidates)
}

fn tensorzero(models: &[String], upstream: &str) -> String {
    let mut config =
        "[gateway]\nobservability.enabled = false\ndisable_pseudonymous_usage_analytics = true\n"
            .to_owned();
    for model in models {
        config += &format!(
            "[models.{model}]\nrouting = [\"fake\"]\n[models.{model}.providers.fake]\ntype = \"openai\"\n\
             model_name = \"{model}\"\napi_base = \"{upstream}/v1/\"\napi_key_location = \"none\"\n"
        );
    }
    config
}

fn litellm(models: &[String], upstream: &str) -> String {
    // LiteLLM does not start without a key.
    let mut config = format!("general_settings: {{master_key: {KEY}}}\nmodel_list:\n");
    for model in models {
        config += &format!(
            "  - model_name: {model}\n    litellm_params: {{model: openai/{model}, api_base: '{upstream}/v1', api_key: key}}\n"
        );
    }
    config
}

/// Builds the program in `peers/`, a separate workspace.
fn libraries() -> Result<Vec<Candidate>, Failed> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
    let target = std::env::current_exe()?
        .parent()
        .and_then(Path::parent)
        .ok_or("no target directory")?
        .join("pool-peers-cargo");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !status.success() {
        return Err("benches/peers cannot be built".into());
    }
    let program = target.join("release/konstruct-bench-peers");
    let of = |name, library| Candidate::Library {
        name,
        library,
        program: program.clone(),
    };
    Ok(vec![
        of("async-openai-0.43.0", "async-openai"),
        of("genai-0.7.2", "genai"),
    ])
}

/// Runs a round in the process of a library, and parses its output.
pub(super) async fn library(
    program: &PathBuf,
    library: &str,
    url: &str,
    (asked, load): (Answer, Load),
) -> Result<Figures, Failed> {
    let output = tokio::process::Command::new(program)
        .args([library, url])
        .arg(asked.words.to_string())
        .arg(if asked.stream { "stream" } else { "plain" })
        .arg(load.callers.to_string())
        .arg(load.requests.to_string())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
    let [cpu_us, p50_us, p99_us] = numbers[..] else {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{library} failed: {said} {error}").into());
    };
    Ok(Figures {
        cpu_us,
        p50_us,
        p99_us,
    })
}
