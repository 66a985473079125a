//! One request on a connection of its own.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
}

impl Answer {
    pub(crate) fn is_ok(self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether the README of the server documents the refusal.
    pub(crate) fn is_documented_refusal(self) -> bool {
        match self.status {
            401 | 408 | 413 | 431 => true,
            429 | 503 => self.retry_after,
            _ => false,
        }
    }
}

/// Sends a request, and reads the head of its answer.
pub(crate) async fn ask(host: &str, request: &[u8]) -> io::Result<Answer> {
    let asked = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        read(&mut stream).await
    };
    tokio::time::timeout(PATIENCE, asked).await?
}

/// Reads the head of an answer.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut read = Vec::with_capacity(1024);
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let text = String::from_utf8_lossy(&read).to_lowercase();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        retry_after: text.contains("\r\nretry-after: "),
    })
}
