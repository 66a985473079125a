//! A raw connection, for requests that no client library would send.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection that is used for several requests.
pub(crate) struct Line(pub(crate) TcpStream);

/// A response, with its head in lower case.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Line {
    /// Connects to a URL, and sends the begin of a request.
    pub(crate) async fn open(url: &str, first: &[u8]) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        let mut line = Self(TcpStream::connect(address).await.unwrap());
        line.send(first).await;
        line
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads a response that has a length.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let more = self.0.read_buf(&mut read).await.unwrap();
            assert_ne!(more, 0, "closed without a response");
        };
        let head: Vec<u8> = read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while read.len() < length {
            assert_ne!(self.0.read_buf(&mut read).await.unwrap(), 0);
        }
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: String::from_utf8_lossy(&read).into_owned(),
        }
    }

    /// Returns whether the server has closed it.
    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}
