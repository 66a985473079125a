//! What [`Channel::render`](crate::Channel::render) guarantees.

use super::{
    ChannelSubject, Failed, Outcome, ensure, ensure_eq,
    sample::{BLANK, Sample, few_samples, same_content, samples},
};
use crate::{
    Outgoing,
    outgoing::{Choice, Choices, Rendered},
};

pub(super) fn choices() -> Choices {
    Choices::new([
        Choice::new("suite.blue", "Blue"),
        Choice::new("suite.green", "Green"),
    ])
}

/// Joins the texts of parts; each begins on a line of its own.
pub(super) fn joined<'a>(texts: impl IntoIterator<Item = &'a Outgoing>) -> String {
    let texts = texts.into_iter().map(|outgoing| outgoing.text.as_str());
    texts.collect::<Vec<_>>().join("\n")
}

pub(super) async fn rendering_is_pure(subject: &ChannelSubject) -> Outcome {
    for sample in samples(subject.channel.capabilities().max_text) {
        let render = || {
            let outgoing = Outgoing::markdown(sample.text.as_str());
            subject.channel.render(&outgoing, 1)
        };
        ensure!(
            render() == render(),
            "{}: rendered twice, it differs",
            sample.name
        );
    }
    ensure!(
        (subject.displayed)().is_empty(),
        "rendering sends something"
    );
    Ok(())
}

pub(super) async fn parts_are_few_and_whole(subject: &ChannelSubject) -> Outcome {
    for sample in samples(subject.channel.capabilities().max_text) {
        let outgoing = Outgoing::markdown(sample.text.as_str());
        for most in [2, usize::MAX] {
            let rendered = subject.channel.render(&outgoing, most);
            few_and_whole(&sample, &rendered, most)
                .map_err(|error| format!("{} in at most {most} parts: {error}", sample.name))?;
        }
    }
    for text in BLANK {
        let rendered = subject.channel.render(&Outgoing::markdown(*text), 4);
        ensure_eq!(rendered, Rendered::default(), "the blank text {text:?}");
    }
    Ok(())
}

fn few_and_whole(sample: &Sample, rendered: &Rendered, most: usize) -> Outcome {
    let count = rendered.parts.len();
    ensure!((1..=most).contains(&count), "it makes {count} parts");
    let whole = most < usize::MAX || rendered.rest.is_none();
    ensure!(whole, "a rest, though any number of parts is allowed");
    let all = || rendered.parts.iter().chain(&rendered.rest);
    ensure!(!all().any(Outgoing::is_blank), "a part is blank");
    same_content(
        &(sample.content)(&joined(all())),
        &(sample.content)(&sample.text),
    )
}

pub(super) async fn the_rest_is_rendered_until_nothing_is_left(
    subject: &ChannelSubject,
) -> Outcome {
    for sample in samples(subject.channel.capabilities().max_text) {
        let check = || -> Outcome {
            let mut parts = Vec::new();
            let mut rest = Some(Outgoing::markdown(sample.text.as_str()));
            while let Some(outgoing) = rest {
                let rendered = subject.channel.render(&outgoing, 1);
                ensure!(
                    !rendered.parts.is_empty(),
                    "a rest of which no part is made"
                );
                ensure!(
                    parts.len() <= sample.text.len(),
                    "the rest never becomes empty"
                );
                parts.extend(rendered.parts);
                rest = rendered.rest;
            }
            same_content(
                &(sample.content)(&joined(&parts)),
                &(sample.content)(&sample.text),
            )
        };
        check().map_err(|error| format!("{}: {error}", sample.name))?;
    }
    Ok(())
}

pub(super) async fn the_first_part_quotes_and_the_last_offers(subject: &ChannelSubject) -> Outcome {
    let mut samples = few_samples(subject.channel.capabilities().max_text);
    samples.push(Sample {
        name: "choices without a text",
        text: String::new(),
        content: str::to_owned,
    });
    for sample in samples {
        let outgoing = Outgoing::markdown(sample.text.as_str())
            .with_choices(choices())
            .quoting("m1");
        for most in [1, 2, usize::MAX] {
            let rendered = subject.channel.render(&outgoing, most);
            offers(&rendered)
                .map_err(|error| format!("{} in at most {most} parts: {error}", sample.name))?;
        }
    }
    Ok(())
}

fn offers(rendered: &Rendered) -> Result<(), Failed> {
    let parts = &rendered.parts;
    ensure!(!parts.is_empty(), "it makes no part");
    let text = joined(parts.iter().chain(&rendered.rest));
    let as_text = choices()
        .options
        .iter()
        .all(|choice| text.contains(&choice.label));
    for (at, part) in parts.iter().enumerate() {
        let (first, last) = (at == 0, at + 1 == parts.len());
        ensure_eq!(
            part.quote.is_some(),
            first,
            "whether part {at} of {} quotes",
            parts.len()
        );
        let offered = part.choices == Some(choices());
        ensure!(
            offered || part.choices.is_none(),
            "part {at} changes the choices"
        );
        ensure!(
            offered == last || (as_text && !offered),
            "part {at} of {} offers the choices: {offered}",
            parts.len()
        );
    }
    let rest = rendered.rest.as_ref();
    ensure!(
        rest.is_none_or(|rest| rest.choices.is_none() && rest.quote.is_none()),
        "the rest quotes or offers"
    );
    Ok(())
}
