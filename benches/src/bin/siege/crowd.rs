//! Clients that take what they can get.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use konstruct_benches::Failed;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::Mutex,
    task::JoinSet,
};

use crate::line;

/// The pause of a slow client between two bytes.
const DRIP: Duration = Duration::from_millis(500);
/// The pause before a closed connection is opened again.
const REOPEN: Duration = Duration::from_millis(100);
/// The size of a body of the flood: just below the webhooks' limit.
const BODY: usize = 46 << 16;

/// What the server answered them.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) refused: usize,
    pub(crate) closed: usize,
    pub(crate) unexplained: Vec<String>,
}

type Shared = Arc<Mutex<Crowd>>;

async fn note(crowd: &Shared, answered: std::io::Result<line::Answer>) {
    let mut crowd = crowd.lock().await;
    match answered {
        Ok(answer) if answer.is_documented_refusal() => crowd.refused += 1,
        Ok(answer) => crowd.unexplained.push(format!("crowd: {answer:?}")),
        // Slow connections, and those that still send after a refusal, are closed.
        Err(_) => crowd.closed += 1,
    }
}

async fn finish(mut clients: JoinSet<()>, crowd: Shared) -> Result<Crowd, Failed> {
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    let crowd = Arc::into_inner(crowd).ok_or("a client still counts")?;
    Ok(crowd.into_inner())
}

/// Keeps this many connections open: a quarter sends nothing, a quarter is idle after a request, a quarter drips headers, and a quarter
/// drips a body that may be signed.
pub(crate) async fn slow(host: &str, count: usize, until: Instant) -> Result<Crowd, Failed> {
    let crowd = Shared::default();
    let mut clients = JoinSet::new();
    for nth in 0..count {
        let (host, crowd) = (host.to_owned(), Arc::clone(&crowd));
        clients.spawn(async move {
            let until = tokio::time::Instant::from_std(until);
            while tokio::time::Instant::now() < until {
                let client = slow_client(&host, nth);
                match tokio::time::timeout_at(until, client).await {
                    Ok(answered) => note(&crowd, answered).await,
                    Err(_) => return,
                }
                tokio::time::sleep(REOPEN).await;
            }
        });
    }
    finish(clients, crowd).await
}

/// Stays until the server refuses or closes.
async fn slow_client(host: &str, nth: usize) -> std::io::Result<line::Answer> {
    let mut stream = TcpStream::connect(host).await?;
    match nth % 4 {
        0 => return line::read(&mut stream).await,
        1 => {
            let request = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            line::read(&mut stream).await?;
            return line::read(&mut stream).await;
        }
        2 => stream.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await?,
        _ => {
            stream.write_all(head(host, true).as_bytes()).await?;
        }
    }
    let (mut reader, writer) = stream.into_split();
    tokio::select! {
        ended = drip(writer) => ended,
        answered = line::read(&mut reader) => answered,
    }
}

/// Sends a byte at a time, until the connection is closed.
async fn drip(mut writer: OwnedWriteHalf) -> std::io::Result<line::Answer> {
    loop {
        writer.write_all(b"x").await?;
        tokio::time::sleep(DRIP).await;
    }
}

fn head(host: &str, signed: bool) -> String {
    let signature = if signed {
        format!("x-hub-signature-256: sha256={}\r\n", "a".repeat(64))
    } else {
        String::new()
    };
    format!(
        "POST /webhooks/whatsapp HTTP/1.1\r\nhost: {host}\r\n{signature}content-length: {BODY}\r\n\r\n"
    )
}

/// Sends bodies at the same time, again and again: most are unsigned, and one in four has a forged signature.
pub(crate) async fn flood(host: &str, count: usize, until: Instant) -> Result<Crowd, Failed> {
    let crowd = Shared::default();
    let mut clients = JoinSet::new();
    for nth in 0..count {
        let (host, crowd) = (host.to_owned(), Arc::clone(&crowd));
        clients.spawn(async move {
            while Instant::now() < until {
                let answered = send_body(&host, nth % 4 == 0).await;
                note(&crowd, answered).await;
                tokio::time::sleep(REOPEN).await;
            }
        });
    }
    finish(clients, crowd).await
}

async fn send_body(host: &str, forged: bool) -> std::io::Result<line::Answer> {
    const PATIENCE: Duration = Duration::from_secs(15);
    static PIECE: [u8; 1 << 16] = [b'x'; 1 << 16];
    let sent = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(head(host, forged).as_bytes()).await?;
        for _ in 0..BODY / PIECE.len() {
            stream.write_all(&PIECE).await?;
        }
        line::read(&mut stream).await
    };
    tokio::time::timeout(PATIENCE, sent).await?
}

/// Starts a server that accepts connections and never answers. Returns its URL.
pub(crate) async fn hanging_server() -> Result<String, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    Ok(url)
}
