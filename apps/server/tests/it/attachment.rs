//! Files that customers send: webhook, file host, transcription server, what the model is shown, and the reply.

use konstruct_llm::testkit::{FakeProvider, FakeServer, Fault, Reply};
use konstruct_server::BUSINESS_TENANT;
use serde_json::{Value, json};

use crate::office::{CUSTOMER, NUMBER, Office, Server, Wire, launch};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

/// Opens an office with a transcription server of its own, and a model that sees.
async fn open() -> (Office, FakeProvider, FakeServer) {
    let mut office = Office::open().await;
    let ears = FakeProvider::new(|spoken| Reply::text(spoken));
    let listens = ears.spawn().await.unwrap();
    office.settings = format!(
        "[transcriber]\nmodel = \"openai/whisper-1\"\nbase_url = \"{}/v1\"\napi_key = \"sk-ears\"\n",
        listens.url()
    );
    (office, ears, listens)
}

async fn start(office: &Office) -> Server {
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_MODEL", "openai/gpt-4o");
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    server
}

/// Returns what the model was shown in the last turn: the text and the number of images.
fn shown(office: &Office) -> (String, usize) {
    let requests = office.model.requests();
    // The learner may have called the model since; it is not the employee.
    let in_turn = requests
        .iter()
        .rfind(|request| request.body["messages"][0].to_string().contains("Ava"));
    let body = &in_turn.expect("the model was called").body;
    let messages = body["messages"].as_array().unwrap();
    let users = messages.iter().filter(|message| message["role"] == "user");
    let mut images = 0;
    let texts: Vec<String> = users
        .flat_map(|message| match &message["content"] {
            Value::String(text) => vec![text.clone()],
            Value::Array(parts) => {
                images += parts.iter().filter(|it| it["type"] == "image_url").count();
                let texts = parts.iter().filter_map(|it| it["text"].as_str());
                texts.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        })
        .collect();
    (texts.join("\n"), images)
}

#[tokio::test]
async fn files_from_whatsapp_reach_the_model() {
    let (office, ears, _listens) = open().await;
    let server = start(&office).await;
    office
        .graph
        .put_media("v1", "audio/ogg", "OggS When do you open?");
    office.graph.put_media("i1", "image/jpeg", PNG);
    office
        .graph
        .put_media("d1", "text/csv", "Item,Price\nSoup,4.50\n");
    let voice =
        json!({"id": "v1", "mime_type": "audio/ogg; codecs=opus", "sha256": null, "voice": true});
    let image = json!({"id": "i1", "mime_type": "image/jpeg", "caption": "This one?"});
    let document = json!({"id": "d1", "mime_type": "text/csv", "filename": "menu.csv", "caption": "Is it right?"});
    let cases = [
        (
            "audio",
            &voice,
            "voice message without a name, 2 seconds, language \"english\"; the person says, as transcribed by a program that can mishear:]\nWhen do you open?",
            0,
        ),
        (
            "image",
            &image,
            "This one?\n[attached image without a name; you see it below",
            1,
        ),
        (
            "document",
            &document,
            "<attachment>\nItem,Price\nSoup,4.50\n",
            0,
        ),
        (
            "video",
            &json!({"id": "x1", "mime_type": "video/mp4", "caption": "Look"}),
            "you cannot watch videos",
            0,
        ),
        (
            "document",
            &json!({"id": "gone", "mime_type": "application/pdf", "filename": "a.pdf", "caption": "Look"}),
            "[attached document: \"a.pdf\"",
            0,
        ),
    ];
    for (n, (kind, content, expected, images)) in (1..).zip(cases) {
        let body = office.graph.sent(NUMBER, CUSTOMER, kind, content);
        // The vendor delivers twice.
        assert_eq!(server.whatsapp(&body).await, 200);
        assert_eq!(server.whatsapp(&body).await, 200);
        office.wait_for_accepted(n).await;
        let (text, found) = shown(&office);
        assert!(text.contains(expected), "{kind}: {text}");
        assert_eq!(found, images, "{kind}: the image is shown once");
    }
    server.wait_until_processed(1).await;
    assert_eq!(ears.requests().len(), 1, "a duplicate is transcribed once");
    assert_eq!(
        ears.requests()[0].header("authorization"),
        Some("Bearer sk-ears")
    );
    assert_eq!(office.graph.posts().len(), 5);
    assert!(server.printed.contains("Transcriber: openai/whisper-1\n"));
    let conversations = server.wait_until_processed(1).await;
    let first = &conversations[0].turns[0];
    let texts: Vec<&str> = first
        .messages
        .iter()
        .map(|message| message.text.as_str())
        .collect();
    assert_eq!(texts[1], "[voice message] When do you open?");
}

#[tokio::test]
async fn files_from_slack_reach_the_model() {
    let (office, _ears, _listens) = open().await;
    let server = start(&office).await;
    let clip = office
        .slack
        .put_file("F1", "video/mp4", "\0\0\0\u{20}ftypisom Is it open?");
    let photo = office.slack.put_file("F2", "image/png", PNG);
    // Without the scope `files:read`, Slack returns its sign-in page.
    let page = office
        .slack
        .put_file("F3", "text/html; charset=utf-8", "<!DOCTYPE html>");
    let cases = [
        (
            json!({"id": "F1", "mode": "hosted", "mimetype": "video/mp4", "subtype": "slack_audio", "name": "audio_message.m4a",
            "size": 30, "url_private_download": clip}),
            "as transcribed by a program that can mishear:]",
            0,
        ),
        (
            json!({"id": "F2", "mode": "hosted", "mimetype": "image/png", "name": "photo.png", "url_private": photo}),
            "you see it below",
            1,
        ),
        (
            json!({"id": "F3", "mode": "hosted", "mimetype": "image/png", "name": "photo.png", "url_private": page}),
            "not allowed to download files",
            0,
        ),
        (
            json!({"id": "F4", "mode": "tombstone"}),
            "the file was deleted",
            0,
        ),
        (
            json!({"id": "F5", "mode": "hidden_by_limit"}),
            "because of the plan's limits",
            0,
        ),
        (
            json!({"id": "F6", "mode": "external", "is_external": true, "external_type": "gdrive", "name": "Plan",
            "url_private": "https://docs.example/1"}),
            "stored at another service",
            0,
        ),
    ];
    for (n, (file, expected, images)) in (1..).zip(cases) {
        let body = office.slack.share("D1", "U1", "Look", &[file]);
        assert_eq!(server.slack(&body).await, 200);
        office.wait_for_accepted(n).await;
        let (text, found) = shown(&office);
        assert!(text.contains(expected), "{n}: {text}");
        assert_eq!(found, images, "{n}");
    }
    // The owner finds the reason in the list of open questions.
    let file = json!({"id": "F3", "mode": "hosted", "mimetype": "image/png", "url_private": page});
    let body = office.slack.share("D2", "U2", "", &[file]);
    assert_eq!(server.slack(&body).await, 200);
    office.wait_for_accepted(7).await;
    let reply = &office.slack.posts()[6].text;
    assert!(reply.contains("couldn't open what you sent"), "{reply}");
    server.wait_until_processed(2).await;
    let questions = server.admin().questions(BUSINESS_TENANT).await.unwrap();
    let text = &questions.items[0].text;
    assert!(
        text.contains("grant the app the scope `files:read`"),
        "{text}"
    );
}

#[tokio::test]
async fn a_kill_after_the_transcription_does_not_repeat_it() {
    let (office, ears, _listens) = open().await;
    // The model never answers before the kill.
    office.model.next(Reply::default().fault(Fault::Silent));
    let server = start(&office).await;
    office
        .graph
        .put_media("v1", "audio/ogg", "OggS When do you open?");
    let voice = json!({"id": "v1", "mime_type": "audio/ogg; codecs=opus", "voice": true});
    let body = office.graph.sent(NUMBER, CUSTOMER, "audio", &voice);
    assert_eq!(server.whatsapp(&body).await, 200);
    crate::office::eventually(async || !office.model.requests().is_empty()).await;
    server.kill().await;
    let server = start(&office).await;
    office.wait_for_accepted(1).await;
    assert!(shown(&office).0.contains("When do you open?"));
    assert_eq!(ears.requests().len(), 1);
    server.wait_until_processed(1).await;
}

#[tokio::test]
async fn a_transcription_server_that_fails_loses_no_message() {
    let (office, ears, _listens) = open().await;
    let server = start(&office).await;
    office
        .graph
        .put_media("v1", "audio/ogg", "OggS When do you open?");
    let voice = json!({"id": "v1", "mime_type": "audio/ogg; codecs=opus", "voice": true});
    for fault in [
        Fault::status(429, "{}").header("retry-after", "1"),
        Fault::status(503, "{}"),
        Fault::Cut(1),
        Fault::Malformed(0),
    ] {
        ears.next(Reply::text("x").fault(fault.clone()));
        let before = office.accepted_count();
        let body = office.graph.sent(NUMBER, CUSTOMER, "audio", &voice);
        assert_eq!(server.whatsapp(&body).await, 200);
        office.wait_for_accepted(before + 1).await;
        let (text, _) = shown(&office);
        assert!(
            text.ends_with("When do you open?") || text.contains("When do you open?\n"),
            "{fault:?}: {text}"
        );
    }
    server.wait_until_processed(1).await;
}
