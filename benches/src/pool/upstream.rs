//! The provider for all candidates: OpenAI's wire, one write for each chunk.

use std::{
    collections::HashMap,
    io::Write as _,
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::load::Answer;
use crate::Failed;

/// The provider in its own process. Dropping it ends the process.
#[derive(Debug)]
pub struct Upstream {
    url: String,
    child: Child,
    /// The process ends when this closes, even if this one is killed.
    _life: Option<ChildStdin>,
}

impl Upstream {
    /// Starts this program again with `argument`, for which it must call [`serve`].
    ///
    /// # Errors
    /// It cannot be started, or prints no address.
    pub fn start(argument: &str) -> Result<Self, Failed> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let life = child.stdin.take();
        let said = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line)?;
        let address: SocketAddr = line.trim().parse()?;
        Ok(Self {
            url: format!("http://{address}"),
            child,
            _life: life,
        })
    }

    /// Returns its URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Serves on a free port, which it prints, until the standard input ends.
///
/// # Errors
/// Errors of binding and of accepting.
pub async fn serve() -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    std::thread::spawn(|| {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let known = Known::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let known = Arc::clone(&known);
        tokio::spawn(async move {
            // A client may hang up at any time.
            let _over = answer(stream, known).await;
        });
    }
}

/// The cached answers.
type Known = Arc<Mutex<HashMap<(usize, bool), Arc<Vec<Vec<u8>>>>>>;

async fn answer(mut stream: TcpStream, known: Known) -> Result<(), Failed> {
    let mut read = Vec::new();
    loop {
        let Some(body) = request(&mut stream, &mut read).await? else {
            return Ok(());
        };
        let asked = asked(&body)?;
        let pieces = {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let pieces = known
                .entry((asked.words, asked.stream))
                .or_insert_with(|| Arc::new(pieces(asked)));
            Arc::clone(pieces)
        };
        for piece in pieces.iter() {
            stream.write_all(piece).await?;
        }
    }
}

/// Reads a request, and returns its body; `None` at the end.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Failed> {
    let head = loop {
        if let Some(at) = read.windows(4).position(|at| at == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    let lines = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length = lines
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.ok_or("no content-length")?.trim().parse()?;
    while read.len() < head + length {
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
    let body = read[head..head + length].to_vec();
    read.drain(..head + length);
    Ok(Some(body))
}

fn asked(body: &[u8]) -> Result<Answer, Failed> {
    let body: Value = serde_json::from_slice(body)?;
    let model = body["model"].as_str().unwrap_or_default();
    let words = model.strip_prefix("words-").ok_or("an unknown model")?;
    Ok(Answer {
        words: words.parse()?,
        stream: body["stream"] == true,
    })
}

/// Returns the writes of an answer: head, chunks and end.
fn pieces(asked: Answer) -> Vec<Vec<u8>> {
    let usage = json!({
        "prompt_tokens": 12, "completion_tokens": asked.words, "total_tokens": asked.words + 12,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0},
    });
    if !asked.stream {
        let document = json!({
            "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_764_000_000, "model": asked.model(),
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "word ".repeat(asked.words), "refusal": null}}],
            "usage": usage, "service_tier": "default", "system_fingerprint": "fp_bench",
        });
        let document = document.to_string();
        let length = document.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        return vec![format!("{head}content-length: {length}\r\n\r\n{document}").into_bytes()];
    }
    let chunk = |choices: Value, usage: &Value| {
        let chunk = json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_764_000_000, "model": asked.model(),
            "service_tier": "default", "system_fingerprint": "fp_bench", "choices": choices, "usage": usage,
        });
        piece(&chunk.to_string())
    };
    let delta = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        chunk(json!([choice]), &Value::Null)
    };
    let mut pieces = vec![
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec(),
        delta(
            json!({"role": "assistant", "content": "", "refusal": null}),
            Value::Null,
        ),
    ];
    // LiteLLM interprets a hundred equal chunks in a row as a model in a loop.
    pieces.extend((0..asked.words).map(|at| {
        let word = format!("word{} ", at % 10);
        delta(json!({ "content": word }), Value::Null)
    }));
    pieces.push(delta(json!({}), json!("stop")));
    pieces.push(chunk(json!([]), &usage));
    let mut done = piece("[DONE]");
    done.extend_from_slice(b"0\r\n\r\n");
    pieces.push(done);
    pieces
}

/// Returns an event as an HTTP chunk.
fn piece(data: &str) -> Vec<u8> {
    format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8).into_bytes()
}
