//! A send arrives once, whole, and under its key.

use std::collections::BTreeSet;

use futures_util::{FutureExt as _, future::join_all};

use super::{
    ChannelSubject, Displayed, Failed, Outcome, ensure, ensure_eq,
    render::choices,
    sample::{GRAPHEMES, Sample, few_samples, same_content, samples},
};
use crate::{Outgoing, channel::Receipt, outgoing::Choices};

/// How many sends are in flight at once.
const AT_ONCE: usize = 12;

/// Checks a receipt against what is displayed.
pub(super) fn receipt_names(receipt: &Receipt, displayed: &Displayed) -> Result<(), Failed> {
    let message = receipt.message.as_deref();
    ensure!(
        message.is_some_and(|message| !message.is_empty()),
        "the receipt of a send names no message"
    );
    if displayed.message.is_some() {
        ensure_eq!(
            message,
            displayed.message.as_deref(),
            "the message that the receipt names"
        );
    }
    Ok(())
}

/// Sends the parts of a message and returns what is displayed of them.
async fn deliver(subject: &ChannelSubject, outgoing: &Outgoing) -> Result<Vec<Displayed>, Failed> {
    let parts = subject.channel.render(outgoing, usize::MAX).parts;
    let (before, count) = ((subject.displayed)().len(), parts.len());
    for (n, part) in parts.into_iter().enumerate() {
        subject.send(&format!("trn_suite.p{n}"), part).await?;
    }
    let displayed = (subject.displayed)().split_off(before);
    ensure_eq!(displayed.len(), count, "the number of messages that arrive");
    Ok(displayed)
}

pub(super) async fn a_send_arrives_once(subject: &ChannelSubject) -> Outcome {
    let (kind, can) = (subject.channel.kind(), subject.channel.capabilities());
    ensure!(!kind.as_str().is_empty(), "its kind has no name");
    ensure!(can.max_text > 0, "`max_text` is 0");
    ensure!(
        !can.request_timeout.is_zero(),
        "`request_timeout` is 0 seconds"
    );
    let mut messages = BTreeSet::new();
    for n in 1..=3 {
        let text = format!("w{n}w");
        let receipt = subject
            .send(
                &format!("trn_suite.p{n}"),
                Outgoing::markdown(text.as_str()),
            )
            .await?;
        let displayed = (subject.displayed)();
        ensure_eq!(displayed.len(), n, "the number of messages after {n} sends");
        let last = &displayed[n - 1];
        ensure!(
            last.text.contains(&text),
            "{text:?} arrives as {:?}",
            last.text
        );
        receipt_names(&receipt, last)?;
        ensure!(
            messages.insert(receipt.message),
            "two receipts name the same message"
        );
    }
    Ok(())
}

pub(super) async fn what_arrives_fits_and_is_whole(subject: &ChannelSubject) -> Outcome {
    let max_text = subject.channel.capabilities().max_text;
    for sample in samples(max_text) {
        arrives(subject, &sample, None)
            .await
            .map_err(|error| format!("{}: {error}", sample.name))?;
    }
    for sample in few_samples(max_text) {
        arrives(subject, &sample, Some(choices()))
            .await
            .map_err(|error| format!("{} with choices: {error}", sample.name))?;
    }
    Ok(())
}

async fn arrives(subject: &ChannelSubject, sample: &Sample, choices: Option<Choices>) -> Outcome {
    let max_text = subject.channel.capabilities().max_text;
    let mut outgoing = Outgoing::markdown(sample.text.as_str());
    outgoing.choices = choices;
    let displayed = deliver(subject, &outgoing).await?;
    for message in &displayed {
        let count = message.text.chars().count();
        ensure!(
            count <= max_text,
            "a message has {count} characters, and `max_text` is {max_text}"
        );
        ensure!(
            !message.text.trim().is_empty() || !message.choices.is_empty(),
            "a message is displayed blank"
        );
    }
    if outgoing.choices.is_some() {
        // The text may list the choices.
        return Ok(());
    }
    let texts: Vec<_> = displayed.into_iter().map(|message| message.text).collect();
    same_content(
        &(sample.content)(&texts.join("\n")),
        &(sample.content)(&sample.text),
    )
}

pub(super) async fn graphemes_are_not_cut(subject: &ChannelSubject) -> Outcome {
    let max_text = subject.channel.capabilities().max_text;
    for grapheme in GRAPHEMES {
        let one = grapheme.chars().count();
        // Not even one fits twice.
        if max_text < 4 * one {
            continue;
        }
        // An odd number in front, so that the limit falls into a grapheme.
        for front in 0..one {
            let count = max_text.saturating_mul(2).min(20_000) / one;
            let text = "x".repeat(front) + &grapheme.repeat(count);
            let displayed = deliver(subject, &Outgoing::markdown(text.as_str())).await?;
            let mut left = String::new();
            for message in &displayed {
                left += message.text.replace(grapheme, "").trim();
            }
            ensure_eq!(left, "x".repeat(front), "what is left of {grapheme:?}");
        }
    }
    Ok(())
}

pub(super) async fn choices_are_shown(subject: &ChannelSubject) -> Outcome {
    for text in ["Which one?", ""] {
        let outgoing = Outgoing::markdown(text).with_choices(choices());
        let displayed = deliver(subject, &outgoing).await?;
        for choice in choices().options {
            let shown = displayed.iter().any(|message| {
                message.text.contains(&choice.label) || message.choices.contains(&choice.label)
            });
            ensure!(shown, "nobody sees the choice {:?}", choice.label);
        }
    }
    Ok(())
}

pub(super) async fn keys_arrive_whole(subject: &ChannelSubject) -> Outcome {
    let long = format!("trn_{}.p0", "a_9.".repeat(14) + "z");
    for (n, key) in [long.as_str(), "trn_1.p0", "trn_1.p1"].iter().enumerate() {
        subject
            .send(key, Outgoing::markdown(format!("w{n}w")))
            .await?;
        let displayed = (subject.displayed)();
        let last = displayed.last().ok_or("nothing arrives")?;
        if let Some(found) = &last.key {
            ensure_eq!(found.as_str(), *key, "the key");
        }
    }
    Ok(())
}

pub(super) async fn sends_do_not_mix(subject: &ChannelSubject) -> Outcome {
    let sends = (0..AT_ONCE).map(|n| async move {
        let outgoing = Outgoing::markdown(format!("w{n}w"));
        subject.send(&format!("trn_{n}.p0"), outgoing).await
    });
    let receipts = join_all(sends).await;
    let displayed = (subject.displayed)();
    ensure_eq!(displayed.len(), AT_ONCE, "the number of messages");
    for (n, receipt) in receipts.into_iter().enumerate() {
        let receipt = receipt?;
        let text = format!("w{n}w");
        let mut of_text = displayed
            .iter()
            .filter(|message| message.text.contains(&text));
        let message = of_text.next().ok_or_else(|| format!("{text} is lost"))?;
        ensure!(of_text.next().is_none(), "{text} arrives twice");
        receipt_names(&receipt, message)?;
        if let Some(key) = &message.key {
            ensure_eq!(*key, format!("trn_{n}.p0"), "the key of {text}");
        }
    }
    Ok(())
}

pub(super) async fn a_cancelled_send_harms_nothing(subject: &ChannelSubject) -> Outcome {
    // Dropped after the first poll, its outcome is open.
    let _dropped = subject
        .send("trn_1.p0", Outgoing::markdown("w1w"))
        .now_or_never();
    subject.send("trn_2.p0", Outgoing::markdown("w2w")).await?;
    let displayed = (subject.displayed)();
    let arrived = displayed
        .iter()
        .filter(|message| message.text.contains("w2w"));
    ensure_eq!(arrived.count(), 1, "how often the send after it arrives");
    Ok(())
}
