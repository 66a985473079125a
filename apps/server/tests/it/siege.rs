//! Clients that take what they can: connections, descriptors, and memory for bodies.

use std::{path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

use crate::office::{CUSTOMER, NUMBER, Office, Server, Wire, eventually, get, launch};

/// The begin of a request that never ends.
const SLOW: &[u8] = b"POST /webhooks/whatsapp HTTP/1.1\r\nx-slow: ";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A connection that is used for several requests.
struct Line(TcpStream);

impl Line {
    /// Connects to a URL, and sends the begin of a request.
    async fn open(url: &str, first: &[u8]) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        Self(stream)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads a response: its status, its head and its body.
    async fn answer(&mut self) -> (u16, String, String) {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let more = self.0.read_buf(&mut read).await.unwrap();
            assert_ne!(more, 0, "closed without a response");
        };
        let head = String::from_utf8(read.drain(..end).collect())
            .unwrap()
            .to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while read.len() < length {
            assert_ne!(self.0.read_buf(&mut read).await.unwrap(), 0);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, String::from_utf8(read).unwrap())
    }

    /// Returns whether the server has closed it.
    async fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

/// Returns a command that runs another one within the limits of a shell's `ulimit`.
fn within(limits: &str, command: &Command) -> Command {
    let inner = command.as_std();
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("{limits} && exec \"$0\" \"$@\""))
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    shell
}

#[tokio::test]
async fn idle_connections_do_not_stop_a_server_with_few_descriptors() {
    let office = Office::embedded().await;
    // The soft limit is raised to the hard one.
    let limits = "ulimit -Sn 64 && ulimit -Hn 256";
    let server = launch(within(limits, &office.command(Wire::OpenAi))).await;
    server.vendors_have_confirmed().await;
    let mut idle = Vec::new();
    for nth in 0..400 {
        let first = if nth % 2 == 0 { b"".as_slice() } else { SLOW };
        idle.push(Line::open(&server.url, first).await);
    }
    // Webhooks, the model, the vendor and the metrics are reached.
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let closed = "konstruct_connections_closed_total{reason=\"limit\"}";
    eventually(async || server.metric(closed).await >= Some(280.0)).await;
    let open = server.metric("konstruct_connections").await.unwrap();
    assert!((1.0..=128.0).contains(&open), "{open}");
    assert!(server.open_descriptors() < 200);
    assert_eq!(
        server.metric("konstruct_accept_failures_total").await,
        Some(0.0)
    );
    // The oldest were closed, and the youngest are open.
    assert!(idle[0].is_closed().await && idle[1].is_closed().await);
    let open = idle[399].0.try_read(&mut [0; 1]);
    assert!(open.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

fn log_of(office: &Office, command: &mut Command) -> PathBuf {
    let path = office.data().with_file_name("server.log");
    command.stderr(std::fs::File::create(&path).unwrap());
    path
}

#[tokio::test]
async fn a_lack_of_descriptors_is_survived_counted_and_logged_once() {
    let office = Office::embedded().await;
    let mut command = office.command(Wire::OpenAi);
    let log = log_of(&office, &mut command);
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    let metrics = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut watch = Line::open(&server.metrics, metrics).await;
    watch.answer().await;
    let mut failures = async || {
        watch.send(metrics).await;
        let (_, _, text) = watch.answer().await;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("konstruct_accept_failures_total "));
        value.unwrap().parse::<u64>().unwrap()
    };
    let mut oldest = Line::open(&server.url, SLOW).await;
    let mut busy = Line::open(&server.url, HEALTH).await;
    assert_eq!(busy.answer().await.0, 200);

    // The oldest connection makes room for the next one.
    server.limit_descriptors(Some(server.open_descriptors() as u64));
    let mut next = Line::open(&server.url, HEALTH).await;
    assert_eq!(next.answer().await.0, 200);
    assert!(oldest.is_closed().await);

    // Nothing can make enough room: the accept is tried again until there is some, at its pace.
    server.limit_descriptors(Some(8));
    let begun = std::time::Instant::now();
    let mut waiting = Line::open(&server.url, HEALTH).await;
    let before = failures().await;
    eventually(async || failures().await >= before + 5).await;
    let tried = failures().await - before;
    let at_most = begun.elapsed().as_millis() / 100 + 1;
    assert!(
        u128::from(tried) <= at_most,
        "{tried} in {:?}",
        begun.elapsed()
    );
    server.limit_descriptors(None);
    assert_eq!(waiting.answer().await.0, 200);
    assert_eq!(get(&format!("{}/readyz", server.url)).await.0, 200);
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("could not accept"))
        .collect();
    assert!(
        lines.len() == 1 && lines[0].contains("LimitNOFILE"),
        "{log}"
    );
}
