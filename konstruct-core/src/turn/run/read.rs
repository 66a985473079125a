//! Fetches the attachments of a turn's inputs and reads them.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;

use super::{Performed, Run, Stop};
use crate::{
    Error, ErrorKind, NanoUsd, Result, Timestamp, Transcriber,
    document::SentFile,
    limit::Budget,
    llm::{Ability, Media},
    message::{Attachment, AttachmentKind, Body},
    money::LedgerKind,
    store::Reserve,
    transcribe::{Recording, SpeechContext, Transcript},
    turn::{
        AttachmentContent, AttachmentRef, CallBudget, Event, Failure, Input, Unread,
        attachment::attachments,
        media_type::{FileKind, file_kind},
        settle_lost,
    },
};

/// The most bytes of an image. The strictest provider accepts 5 MiB as base64.
const IMAGE: u64 = 5 * 1024 * 1024 / 4 * 3;
/// The most bytes of a sticker and of a document.
const STICKER: u64 = 1_000_000;
const DOCUMENT: u64 = 20_000_000;
/// The most bytes of all images of a turn, which are in memory together and in one request.
const ALL_IMAGES: u64 = 16 * 1024 * 1024;
/// The most characters of a transcript and of a document that the model is shown.
const TRANSCRIPT: usize = 12_000;
const TEXT: usize = 8_000;
/// The most bytes of the name of a language.
const LANGUAGE: usize = 40;

/// What became of an attempt: the content, or a failure that may pass.
type Attempt = std::result::Result<AttachmentContent, Error>;

impl Run<'_> {
    pub(super) async fn read_attachment(
        &mut self,
        (at, key): (AttachmentRef, String),
        give_up_at: Timestamp,
    ) -> Result<Performed> {
        // After a crash, the recorded attempt counts, so a file cannot stop the conversation for ever.
        if let Some(stop) = self.flush().await? {
            return Ok(ControlFlow::Break(stop));
        }
        let Some((input, attachment)) = self.attachment(at) else {
            return Err(Error::internal("the turn has no such attachment"));
        };
        let read = match self.unreadable(&attachment) {
            Some(reason) => ControlFlow::Continue(Ok(AttachmentContent::unread(reason))),
            None => {
                self.fetch_and_read((at, key), &attachment, give_up_at)
                    .await?
            }
        };
        let attempt = match read {
            ControlFlow::Continue(attempt) => attempt,
            ControlFlow::Break(stop) => return Ok(ControlFlow::Break(stop)),
        };
        Ok(ControlFlow::Continue(match attempt {
            Ok(content) => Event::AttachmentRead {
                attachment: at,
                message: match &input.event.body {
                    Body::Message { message, .. } => message.clone(),
                    _ => String::new(),
                },
                name: input.event.sender.name.clone().unwrap_or_default(),
                content,
            },
            Err(error) => {
                tracing::warn!(%error, "could not read an attachment");
                Event::AttachmentFailed {
                    attachment: at,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    async fn fetch_and_read(
        &mut self,
        (at, key): (AttachmentRef, String),
        attachment: &Attachment,
        give_up_at: Timestamp,
    ) -> Result<ControlFlow<Stop, Attempt>> {
        let fetching = self.fetch(attachment, give_up_at);
        let Some(fetched) = self.lease.keep_while(fetching).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        let data = match fetched {
            Ok(data) => data,
            Err(error) => return Ok(ControlFlow::Continue(fetch_outcome(error))),
        };
        Ok(ControlFlow::Continue(
            match file_kind(&data, is_audio(attachment.kind)) {
                FileKind::Audio(media_type) => {
                    return self
                        .hear(key, Media::new(media_type, data), give_up_at)
                        .await;
                }
                FileKind::Image(media_type) => Ok(self.see(at, Media::new(media_type, data))),
                FileKind::OtherImage => Ok(format_problem(
                    "a picture in a format that cannot be shown; JPEG or PNG works",
                )),
                FileKind::Moving => Ok(AttachmentContent::unread(Unread::Moving)),
                FileKind::Other => {
                    let reading = self.read_document(attachment, data, give_up_at);
                    let Some(attempt) = self.lease.keep_while(reading).await else {
                        return Ok(ControlFlow::Break(Stop::Lost));
                    };
                    attempt
                }
            },
        ))
    }

    fn attachment(&self, at: AttachmentRef) -> Option<(Input, Attachment)> {
        let input = self.state.inputs().iter().find(|it| it.seq == at.seq)?;
        let (_, attachment) = attachments(input).find(|(place, _)| *place == at)?;
        Some((input.clone(), attachment.clone()))
    }

    fn sees(&self) -> bool {
        self.staff.model.describe().can.contains(&Ability::Images)
    }

    /// Returns why an attachment cannot be read, as far as its kind tells without its bytes.
    fn unreadable(&self, attachment: &Attachment) -> Option<Unread> {
        match attachment.kind {
            AttachmentKind::Video => Some(Unread::Moving),
            AttachmentKind::Audio | AttachmentKind::Voice => self
                .staff
                .transcriber
                .is_none()
                .then_some(Unread::NoTranscriber),
            AttachmentKind::Image | AttachmentKind::Sticker => {
                (!self.sees()).then_some(Unread::NoVision)
            }
            // It may be a recording or an image that was sent as a file.
            AttachmentKind::Document => {
                let none = self.driver.document_reader.is_none()
                    && self.staff.transcriber.is_none()
                    && !self.sees();
                none.then_some(Unread::NoReader)
            }
            _ => None,
        }
    }

    async fn fetch(&self, attachment: &Attachment, give_up_at: Timestamp) -> Result<Bytes> {
        let most = match attachment.kind {
            AttachmentKind::Image => IMAGE,
            AttachmentKind::Sticker => STICKER,
            AttachmentKind::Audio | AttachmentKind::Voice => {
                let transcriber = self.staff.transcriber.as_ref();
                transcriber.map_or(0, |it| it.describe().max_bytes)
            }
            _ => DOCUMENT,
        };
        if attachment.size.is_some_and(|size| size > most) {
            return Err(Error::new(ErrorKind::TooLarge, "the file is too large"));
        }
        let channel = self.channel().await?;
        let fetching = channel.fetch_media(attachment, most);
        self.by(give_up_at, fetching).await.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Unavailable,
                "the file did not arrive in time",
            ))
        })
    }

    /// Keeps an image for the model.
    fn see(&mut self, at: AttachmentRef, image: Media) -> AttachmentContent {
        let bytes = image.data.len() as u64;
        let kept: u64 = self.images.values().map(|it| it.data.len() as u64).sum();
        if !self.sees() {
            return AttachmentContent::unread(Unread::NoVision);
        }
        if bytes > IMAGE || bytes + kept > ALL_IMAGES {
            return AttachmentContent::unread(Unread::TooLarge);
        }
        let media_type = image.media_type.clone();
        self.images.insert(at, image);
        AttachmentContent::Image { media_type, bytes }
    }

    /// Fetches the images again that an earlier process fetched for this turn, and returns all that the model is shown.
    pub(super) async fn images(
        &mut self,
        question: (&[Input], &BTreeMap<AttachmentRef, AttachmentContent>),
        give_up_at: Timestamp,
    ) -> BTreeMap<AttachmentRef, Media> {
        if !self.sees() || !self.state.shows_images() {
            return BTreeMap::new();
        }
        let inputs = question.0.iter().chain(self.state.inputs());
        let readings = question.1.iter().chain(self.state.readings());
        let is_image = |content: &_| matches!(content, AttachmentContent::Image { .. });
        let wanted: Vec<AttachmentRef> = readings
            .filter(|(at, content)| is_image(content) && !self.images.contains_key(at))
            .map(|(at, _)| *at)
            .collect();
        let missing: Vec<(AttachmentRef, Attachment)> = inputs
            .flat_map(attachments)
            .filter(|(at, _)| wanted.contains(at))
            .map(|(at, attachment)| (at, attachment.clone()))
            .collect();
        for (at, attachment) in missing {
            match self.fetch(&attachment, give_up_at).await {
                Ok(data) => {
                    if let FileKind::Image(media_type) = file_kind(&data, false) {
                        self.see(at, Media::new(media_type, data));
                    }
                }
                Err(error) => tracing::warn!(%error, "could not fetch an image again"),
            }
        }
        self.images.clone()
    }

    async fn read_document(
        &self,
        attachment: &Attachment,
        data: Bytes,
        give_up_at: Timestamp,
    ) -> Attempt {
        if is_audio(attachment.kind) || attachment.kind == AttachmentKind::Sticker {
            return Ok(format_problem(
                "not a recording or picture that can be read",
            ));
        }
        let Some(reader) = &self.driver.document_reader else {
            return Ok(AttachmentContent::unread(Unread::NoReader));
        };
        let file = SentFile::new(data).declared(attachment.name.clone(), attachment.mime.clone());
        let Some(read) = self.by(give_up_at, reader.read(file, TEXT)).await else {
            return Ok(format_problem("takes too long to read"));
        };
        match read {
            Ok(read) => Ok(AttachmentContent::Text {
                text: read.text,
                characters: read.characters,
                note: read.note,
            }),
            Err(error) => match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Internal => Err(error),
                ErrorKind::TooLarge => Ok(AttachmentContent::unread(Unread::TooLarge)),
                _ => Ok(format_problem(error.message())),
            },
        }
    }

    /// Transcribes a recording, and pays for it.
    async fn hear(
        &mut self,
        key: String,
        audio: Media,
        give_up_at: Timestamp,
    ) -> Result<ControlFlow<Stop, Attempt>> {
        let Some(transcriber) = self.staff.transcriber.clone() else {
            return Ok(ControlFlow::Continue(Ok(AttachmentContent::unread(
                Unread::NoTranscriber,
            ))));
        };
        let info = transcriber.describe();
        let caps = self.caps();
        let bytes = audio.data.len() as u64;
        let worst = info.price.as_ref().map(|price| price.worst_case(bytes));
        if worst.is_none() && !caps.is_empty() {
            let model = &info.model;
            tracing::warn!(
                model,
                "the transcriber's price is unknown, so the cap cannot be enforced"
            );
            let unread = AttachmentContent::unread(Unread::OverBudget);
            return Ok(ControlFlow::Continue(Ok(unread)));
        }
        // An amount of zero is reserved too: after a crash, it shows that the recording was sent to the transcriber.
        let amount = worst.unwrap_or(NanoUsd(0));
        let reserve = Reserve {
            call: key.clone(),
            amount,
            caps: caps.clone(),
        };
        match self.reserve(Some(reserve)).await? {
            ControlFlow::Continue(None) => {}
            ControlFlow::Continue(Some(_)) => {
                let unread = AttachmentContent::unread(Unread::OverBudget);
                return Ok(ControlFlow::Continue(Ok(unread)));
            }
            ControlFlow::Break(stop) => return Ok(ControlFlow::Break(stop)),
        }
        let (tenant, store) = (self.lease.claim().tenant, &self.driver.store);
        let budget = Arc::new(CallBudget::new(store, tenant, &key, (Some(amount), caps)));
        let time = give_up_at.since(self.driver.clock.now());
        let context = SpeechContext::new(tenant, &key, time)
            .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let mut recording = Recording::new(audio);
        if let [language] = self.staff.employee.languages.as_slice() {
            recording = recording.in_language(language);
        }
        let hearing = self.by(give_up_at, transcriber.transcribe(recording, &context));
        let hearing = self.with_progress(hearing);
        let Some(transcript) = self.lease.keep_while(hearing).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        let transcript = transcript.unwrap_or_else(|| {
            let late = "the recording was not transcribed in time";
            Err(Error::new(ErrorKind::Truncated, late))
        });
        let mut paid = budget.close(self.driver.clock.now());
        if paid.settle.iter().all(|settle| settle.call != key) {
            // The transcriber made no request.
            paid.settle.push(crate::store::Settle {
                call: key,
                cost: NanoUsd(0),
            });
        }
        self.record_payment(paid, LedgerKind::Transcription);
        Ok(ControlFlow::Continue(match transcript {
            Ok(transcript) => Ok(speech(transcript)),
            Err(error) => transcription_outcome(error),
        }))
    }

    /// Settles the transcription of a lost attempt at its maximum cost, if one was made.
    pub(in crate::turn) async fn settle_lost_reading(&mut self, read: u32) -> Result<()> {
        let key = self.state.reading_key(read);
        let (tenant, now) = (self.lease.claim().tenant, self.driver.clock.now());
        let store = &self.driver.store;
        if store.reserved(tenant, &key).await?.is_none() {
            return Ok(());
        }
        let info = self.staff.transcriber.as_ref().map(|it| it.describe());
        let model = info.map_or(("unknown", "unknown", true), |info| {
            (&*info.provider, &*info.model, info.price.is_some())
        });
        let paid = settle_lost(&**store, tenant, &key, model, now).await?;
        self.record_payment(paid, LedgerKind::Transcription);
        Ok(())
    }
}

fn is_audio(kind: AttachmentKind) -> bool {
    matches!(kind, AttachmentKind::Audio | AttachmentKind::Voice)
}

fn format_problem(detail: &str) -> AttachmentContent {
    AttachmentContent::Unread {
        reason: Unread::Format,
        detail: Some(detail.trim_start_matches("content: ").to_owned()),
    }
}

fn fetch_outcome(error: Error) -> Attempt {
    let reason = match error.kind() {
        ErrorKind::TooLarge => Unread::TooLarge,
        ErrorKind::NotFound | ErrorKind::InvalidInput => Unread::Missing,
        ErrorKind::Forbidden => {
            tracing::error!(%error, "the employee may not download files");
            return Ok(AttachmentContent::Unread {
                reason: Unread::Forbidden,
                detail: Some(error.message().to_owned()),
            });
        }
        _ => return Err(error),
    };
    tracing::warn!(%error, ?reason, "could not fetch an attachment");
    Ok(AttachmentContent::unread(reason))
}

fn transcription_outcome(error: Error) -> Attempt {
    match error.kind() {
        ErrorKind::TooLarge => Ok(AttachmentContent::unread(Unread::TooLarge)),
        ErrorKind::InvalidInput | ErrorKind::Unsupported => {
            tracing::warn!(%error, "the transcriber cannot read a recording");
            Ok(format_problem("a recording that cannot be decoded"))
        }
        ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::QuotaExhausted => {
            tracing::error!(%error, "the transcriber refuses its credentials");
            Err(error)
        }
        _ => Err(error),
    }
}

fn speech(transcript: Transcript) -> AttachmentContent {
    let text = transcript.text.trim();
    if text.is_empty() {
        return AttachmentContent::unread(Unread::Silent);
    }
    let text = match text.char_indices().nth(TRANSCRIPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    AttachmentContent::Speech {
        text,
        // A server may return anything.
        language: transcript.language.filter(|it| it.len() <= LANGUAGE),
        seconds: transcript.seconds.map(|seconds| seconds.round() as u64),
    }
}
