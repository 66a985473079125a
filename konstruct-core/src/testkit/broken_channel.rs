//! A channel that does one thing wrong, so that the suite can be seen to bite.

use std::{
    future::pending,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::ScriptedChannel;
use crate::{
    Channel, ChannelKind, ConversationRef, Error, ErrorKind, Outgoing, Result,
    channel::{Capabilities, FindQuery, Op, Receipt, Via},
    message::Attachment,
    outgoing::Rendered,
};

/// What is wrong with a [`BrokenChannel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelFlaw {
    /// Nothing: the wrapper itself is right.
    Nothing,
    /// It renders the same text differently each time.
    RendersAtRandom,
    /// It makes one part more than it may.
    MakesTooManyParts,
    /// It ends with a blank part.
    MakesBlankParts,
    /// It leaves out the rest.
    LosesTheRest,
    /// It repeats the last word of a part in the next one.
    RepeatsWords,
    /// It sends the parts in another order.
    ReordersParts,
    /// It returns as the rest what it has said already.
    KeepsTheRest,
    /// It offers the choices in every part.
    OffersTwice,
    /// It quotes in the last part.
    QuotesLast,
    /// Its messages are longer than it says.
    Overlong,
    /// It cuts a text between any two characters.
    CutsGraphemes,
    /// It sends half of a long message.
    CutsMessages,
    /// It sends the text without the choices.
    HidesChoices,
    /// It sends every message twice.
    SendsTwice,
    /// Its receipt names no message.
    NamesNoMessage,
    /// It sends the first characters of a key.
    CutsKeys,
    /// It sends with the key of the send before.
    MixesKeys,
    /// It returns after the first of several sends.
    DropsConcurrentSends,
    /// It delivers what it says was refused.
    DeliversTheRefused,
    /// It takes refused credentials for a refused place.
    MistakesCredentials,
    /// It takes a refused place for refused credentials.
    MistakesThePlace,
    /// It does not say how long to wait.
    ForgetsTheWait,
    /// It takes a lost answer for a refusal.
    PromisesTooMuch,
    /// It repeats a send whose answer was lost.
    Repeats,
    /// It waits for an answer for ever.
    WaitsForEver,
    /// It finds nothing.
    FindsNothing,
    /// It finds what was never sent.
    FindsAnything,
    /// It finds nothing when it could not ask.
    HidesFailedLookups,
    /// It says what it cannot do is done.
    ClaimsToShow,
    /// It fails when it cannot show progress.
    InsistsOnShowing,
    /// It shows progress with a message.
    ShowsByMessage,
    /// It fetches files of any size.
    FetchesAnySize,
    /// It does not compare digests.
    TrustsFiles,
    /// It returns an empty file for one that does not exist.
    InventsFiles,
}

/// A channel with a flaw.
#[derive(Debug)]
pub struct BrokenChannel {
    inner: ScriptedChannel,
    flaw: ChannelFlaw,
    calls: AtomicUsize,
    last_key: Mutex<Option<String>>,
}

impl BrokenChannel {
    /// Breaks a channel.
    pub fn new(inner: ScriptedChannel, flaw: ChannelFlaw) -> Self {
        Self {
            inner,
            flaw,
            calls: AtomicUsize::new(0),
            last_key: Mutex::default(),
        }
    }

    fn has(&self, flaw: ChannelFlaw) -> bool {
        self.flaw == flaw
    }

    /// Sends, and does what its flaw makes of the outcome.
    async fn send(&self, to: ConversationRef, key: String, outgoing: Outgoing) -> Result<Receipt> {
        let via = Via::Conversation;
        let op = Op::Send {
            to,
            key,
            outgoing,
            via,
        };
        let sent = self.inner.perform(op.clone()).await;
        let kind = sent.as_ref().map_err(Error::kind).err();
        match (self.flaw, kind) {
            (ChannelFlaw::SendsTwice, None)
            | (ChannelFlaw::Repeats, Some(ErrorKind::Ambiguous)) => self.inner.perform(op).await,
            (ChannelFlaw::NamesNoMessage, None) => Ok(Receipt::default()),
            (
                ChannelFlaw::DeliversTheRefused,
                Some(ErrorKind::InvalidInput | ErrorKind::Forbidden),
            ) => {
                self.inner.perform(op).await?;
                sent
            }
            (ChannelFlaw::MistakesCredentials, Some(ErrorKind::Unauthorized)) => {
                Err(Error::new(ErrorKind::Forbidden, "refused"))
            }
            (ChannelFlaw::MistakesThePlace, Some(ErrorKind::Forbidden)) => {
                Err(Error::new(ErrorKind::Unauthorized, "refused"))
            }
            (ChannelFlaw::ForgetsTheWait, Some(ErrorKind::RateLimited)) => {
                Err(Error::new(ErrorKind::RateLimited, "too many"))
            }
            (ChannelFlaw::PromisesTooMuch, Some(ErrorKind::Ambiguous)) => {
                Err(Error::new(ErrorKind::Unavailable, "no answer"))
            }
            (ChannelFlaw::WaitsForEver, Some(ErrorKind::Ambiguous)) => pending().await,
            _ => sent,
        }
    }

    fn altered(&self, key: String, mut outgoing: Outgoing) -> (String, Outgoing) {
        let key = match self.flaw {
            ChannelFlaw::CutsKeys => key.chars().take(32).collect(),
            ChannelFlaw::MixesKeys => {
                let mut last = self.last_key.lock().unwrap_or_else(PoisonError::into_inner);
                last.replace(key.clone()).unwrap_or(key)
            }
            _ => key,
        };
        if self.has(ChannelFlaw::HidesChoices) {
            outgoing.choices = None;
        }
        let count = outgoing.text.chars().count();
        if self.has(ChannelFlaw::CutsMessages) && count > self.capabilities().max_text / 2 {
            outgoing.text = outgoing.text.chars().take(count / 2).collect();
        }
        (key, outgoing)
    }

    /// Shows something, and does what its flaw makes of the outcome.
    async fn show(&self, op: Op) -> Result<Receipt> {
        let (to, unreachable) = match &op {
            Op::Progress { to, message } => (to.clone(), message.is_none()),
            Op::MarkRead { to, .. } | Op::Send { to, .. } => (to.clone(), false),
        };
        match self.flaw {
            ChannelFlaw::ClaimsToShow => Ok(Receipt::default()),
            ChannelFlaw::InsistsOnShowing if !unreachable => {
                // A lookup meets the planned failure, and does not hide it.
                let query = FindQuery {
                    to,
                    key: "none".to_owned(),
                    since: crate::Timestamp::default(),
                };
                self.inner.find(query).await?;
                self.inner.perform(op).await
            }
            ChannelFlaw::ShowsByMessage => {
                let (key, outgoing) = ("trn_0.p0".to_owned(), Outgoing::markdown("…"));
                let via = Via::Conversation;
                self.inner
                    .perform(Op::Send {
                        to,
                        key,
                        outgoing,
                        via,
                    })
                    .await
            }
            _ => self.inner.perform(op).await,
        }
    }
}

#[async_trait]
impl Channel for BrokenChannel {
    fn kind(&self) -> ChannelKind {
        self.inner.kind()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        let max_text = match self.flaw {
            ChannelFlaw::Overlong => self.capabilities().max_text + 1,
            _ => self.capabilities().max_text,
        };
        let most = match self.flaw {
            ChannelFlaw::MakesTooManyParts => max_parts.saturating_add(1),
            _ => max_parts,
        };
        let mut rendered = match self.flaw {
            ChannelFlaw::CutsGraphemes => cut_anywhere(outgoing, max_text, most),
            _ => Rendered::plain(outgoing, max_text, most),
        };
        let parts = &mut rendered.parts;
        match self.flaw {
            ChannelFlaw::RendersAtRandom if self.calls.fetch_add(1, SeqCst) % 2 == 1 => {
                parts.iter_mut().for_each(|part| part.text.push('\n'));
            }
            ChannelFlaw::MakesBlankParts if parts.len() < most => {
                parts.push(Outgoing::markdown(" "));
            }
            ChannelFlaw::LosesTheRest => rendered.rest = None,
            ChannelFlaw::RepeatsWords => {
                for at in 1..parts.len() {
                    let last = parts[at - 1].text.split_whitespace().next_back();
                    let last = last.unwrap_or_default().to_owned();
                    parts[at].text.insert_str(0, &(last + " "));
                }
            }
            ChannelFlaw::ReordersParts => parts.reverse(),
            ChannelFlaw::KeepsTheRest if rendered.rest.is_some() => {
                rendered.rest = Some(Outgoing::markdown(outgoing.text.as_str()));
            }
            ChannelFlaw::OffersTwice => {
                for part in parts {
                    part.choices.clone_from(&outgoing.choices);
                }
            }
            ChannelFlaw::QuotesLast if parts.len() > 1 => {
                let quote = parts.first_mut().and_then(|part| part.quote.take());
                parts
                    .last_mut()
                    .into_iter()
                    .for_each(|part| part.quote.clone_from(&quote));
            }
            _ => {}
        }
        rendered
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        let (to, key, outgoing) = match op {
            Op::Send {
                to, key, outgoing, ..
            } => (to, key, outgoing),
            Op::Progress { .. } | Op::MarkRead { .. } => return self.show(op).await,
        };
        let (key, outgoing) = self.altered(key, outgoing);
        if self.has(ChannelFlaw::DropsConcurrentSends) {
            let others = self.calls.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
            let alone = others == 0;
            let sent = if alone {
                self.send(to, key, outgoing).await
            } else {
                Ok(Receipt { message: Some(key) })
            };
            self.calls.fetch_sub(1, SeqCst);
            return sent;
        }
        self.send(to, key, outgoing).await
    }

    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>> {
        let message = Some(query.key.clone());
        let found = self.inner.find(query).await;
        match self.flaw {
            ChannelFlaw::FindsNothing => found.map(|_| None),
            ChannelFlaw::FindsAnything => found.map(|_| Some(Receipt { message })),
            ChannelFlaw::HidesFailedLookups => Ok(found.unwrap_or_default()),
            ChannelFlaw::WaitsForEver if found.is_err() => pending().await,
            _ => found,
        }
    }

    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes> {
        let mut attachment = attachment.clone();
        if self.has(ChannelFlaw::TrustsFiles) {
            attachment.sha256 = None;
        }
        let most = match self.flaw {
            ChannelFlaw::FetchesAnySize => u64::MAX,
            _ => max_bytes,
        };
        let fetched = self.inner.fetch_media(&attachment, most).await;
        if self.has(ChannelFlaw::InventsFiles) {
            return Ok(fetched.unwrap_or_default());
        }
        fetched
    }
}

/// Splits a text after every so many characters.
fn cut_anywhere(outgoing: &Outgoing, max_text: usize, max_parts: usize) -> Rendered {
    let chars: Vec<char> = outgoing.text.trim().chars().collect();
    let mut pieces = chars.chunks(max_text.max(1));
    let text = |piece: &[char]| Outgoing::markdown(piece.iter().collect::<String>());
    let parts: Vec<_> = pieces.by_ref().take(max_parts).map(text).collect();
    let rest: Vec<char> = pieces.flatten().copied().collect();
    Rendered::new(parts, (!rest.is_empty()).then(|| text(&rest)))
}
