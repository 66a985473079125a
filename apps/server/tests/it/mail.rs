//! Mail with links, and a mail server that is away or refuses.

use std::sync::{Arc, Mutex};

use konstruct_admin_api::{NewInvitation, Role};
use konstruct_core::TenantId;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    member::tenant,
    office::{Office, Server, Wire, eventually, launch},
    visitor::{PASSWORD, Visitor},
};

/// A mail server that answers the recipients of the first mails with these statuses, and accepts the others.
#[derive(Clone, Default)]
struct MailServer {
    answers: Arc<Mutex<Vec<&'static str>>>,
    mails: Arc<Mutex<Vec<String>>>,
    attempts: Arc<Mutex<usize>>,
}

impl MailServer {
    async fn start(answers: &[&'static str]) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = Self::default();
        server.answers.lock().unwrap().extend(answers.iter().rev());
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                // A client that goes away ends its connection only.
                tokio::spawn(async move { server.serve(stream).await.ok() });
            }
        });
        (server, url)
    }

    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 fake\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let command = line.get(..4).unwrap_or_default().to_uppercase();
            let answer = match command.as_str() {
                "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP" => "250 ok",
                "RCPT" => {
                    *self.attempts.lock().unwrap() += 1;
                    self.answers.lock().unwrap().pop().unwrap_or("250 ok")
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut mail = String::new();
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            break;
                        }
                        mail += &line;
                        mail += "\n";
                    }
                    self.mails.lock().unwrap().push(mail);
                    "250 accepted"
                }
                "QUIT" => "221 bye",
                _ => "500 what?",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }

    async fn wait_for(&self, mails: usize) -> String {
        eventually(async || self.mails().len() >= mails).await;
        self.mails().pop().unwrap()
    }
}

async fn start(office: &mut Office, url: &str) -> Server {
    office.settings = "[mail]\nfrom = \"Konstruct <konstruct@example.com>\"".into();
    let mut command = office.command(Wire::OpenAi);
    command.env("SMTP_URL", url);
    launch(command).await
}

/// Returns the link in a mail, whose text is quoted-printable.
fn link(mail: &str) -> String {
    let mail = mail.replace("=\n", "").replace("=3D", "=");
    let link = mail.lines().find(|line| line.starts_with("http://"));
    link.expect("a line with the link").to_owned()
}

async fn invite(server: &Server, tenant: TenantId, email: &str) {
    let new = NewInvitation {
        email: email.into(),
        role: Role::Agent,
    };
    let issued = server.admin().invite(tenant, &new).await.unwrap();
    assert_eq!(issued.link, None, "only the owner of the address gets it");
}

#[tokio::test]
async fn links_are_sent_by_mail_and_tried_again() {
    let (smtp, url) = MailServer::start(&["451 busy", "250 ok"]).await;
    let mut office = Office::open().await;
    let server = start(&mut office, &url).await;
    let shop = tenant(&server.admin(), "Shop").await;
    invite(&server, shop, "ana@example.com").await;
    let mail = smtp.wait_for(1).await;
    assert_eq!(*smtp.attempts.lock().unwrap(), 2);
    for line in [
        "From: Konstruct <konstruct@example.com>",
        "To: ana@example.com",
        "Subject: Invitation to Shop",
    ] {
        assert!(mail.contains(line), "{mail}");
    }
    let mut ana = Visitor::of(&server.url);
    assert_eq!(ana.join(&link(&mail), "Ana").await.unwrap().status, 303);

    // A forgotten password. The answer for an address without a login is the same, and nothing is sent to it.
    let page = ana.open("/sign-in/forgot").await.unwrap();
    assert!(page.body.contains("name=\"email\""), "{}", page.body);
    let mut pages = Vec::new();
    for email in ["nix@example.com", "ana@example.com"] {
        let page = ana
            .submit("/sign-in/forgot", &[("email", email)])
            .await
            .unwrap();
        pages.push((page.status, page.body));
    }
    assert_eq!((pages[0].0, &pages[0]), (200, &pages[1]));
    let mail = smtp.wait_for(2).await;
    assert!(mail.contains("To: ana@example.com"), "{mail}");
    let link = link(&mail);
    let form = [
        ("code", crate::visitor::code(&link)),
        ("password", "the next password"),
    ];
    assert_eq!(
        ana.submit("/sign-in/reset", &form).await.unwrap().status,
        303
    );
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let page = ana.submit("/sign-in/forgot", &[("email", "nix@example.com")]);
        statuses.push(page.await.unwrap().status);
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(smtp.mails().len(), 2);
}

#[tokio::test]
async fn a_mail_waits_for_a_restart_and_one_that_is_refused_is_dropped() {
    let mut office = Office::open().await;
    // Nobody listens there.
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("smtp://{}", listener.local_addr().unwrap())
    };
    let server = start(&mut office, &nobody).await;
    let shop = tenant(&server.admin(), "Shop").await;
    invite(&server, shop, "ana@example.com").await;
    server.kill().await;

    let (smtp, url) = MailServer::start(&[]).await;
    let server = start(&mut office, &url).await;
    let mail = smtp.wait_for(1).await;
    assert!(mail.contains("To: ana@example.com"), "{mail}");
    // The links lead to the server as it was called then.
    let link = link(&mail);
    let mut ana = Visitor::of(&server.url);
    assert_eq!(ana.join(&link, "Ana").await.unwrap().status, 303);
    let form = [("email", "ana@example.com"), ("password", PASSWORD)];
    assert_eq!(ana.submit("/sign-in", &form).await.unwrap().status, 303);

    smtp.answers.lock().unwrap().push("550 no such mailbox");
    invite(&server, shop, "nix@example.com").await;
    invite(&server, shop, "ben@example.com").await;
    let mail = smtp.wait_for(2).await;
    assert!(mail.contains("To: ben@example.com"), "{mail}");
    assert_eq!(*smtp.attempts.lock().unwrap(), 3);
}
