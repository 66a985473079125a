//! Recognises messages that are not questions: a greeting, thanks, yes and no.

/// What a message is, if it is not a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SmallTalk {
    Greeting,
    Thanks,
    Yes,
    No,
}

const GREETING: &str = "hi hello hey hiya howdy greetings good morning afternoon evening day there everyone all team again folks moin hola how are you doing";
const THANKS: &str = "thanks thank you thx ty cheers great perfect awesome lovely brilliant super cool very much so a lot many for the your help \
    that thats is was all bye goodbye good have nice day wonderful excellent appreciated appreciate it got ok okay helpful";
const YES: &str = "yes yeah yep yup sure ok okay please do go ahead of course absolutely definitely that would be great good nice lovely perfect thanks thank you \
    pass it on ask them the team fine sounds i would like id love sí ja y alright right yea to my question can could just so kindly for me";
const NO: &str = "no nope nah not thanks thank you dont never mind need its fine that thats ok okay now really alright it bother worry";

/// Recognises a message that consists only of such words.
pub(super) fn read(text: &str) -> Option<SmallTalk> {
    let words: Vec<String> = text
        .to_lowercase()
        .replace(['\'', '’'], "")
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let only = |list: &str| {
        words
            .iter()
            .all(|word| list.split_whitespace().any(|known| known == word))
    };
    let first = words.first()?.as_str();
    match first {
        "no" | "nope" | "nah" | "never" | "dont" if only(NO) => Some(SmallTalk::No),
        "hi" | "hello" | "hey" | "hiya" | "howdy" | "greetings" | "moin" | "hola"
            if only(GREETING) =>
        {
            Some(SmallTalk::Greeting)
        }
        "good" if words.len() > 1 && only(GREETING) => Some(SmallTalk::Greeting),
        "yes" | "yeah" | "yep" | "yup" | "sure" | "please" | "ok" | "okay" | "go"
        | "absolutely" | "definitely" | "of" | "that" | "sounds" | "alright" | "ja" | "sí"
        | "y" | "yea" | "do" | "fine" | "pass" | "ask" | "perfect" | "great" | "lovely" | "can"
        | "could"
            if only(YES) =>
        {
            Some(SmallTalk::Yes)
        }
        _ if only(THANKS) && !text.contains('?') => Some(SmallTalk::Thanks),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk() {
        let check = |text, expected| assert_eq!(read(text), expected, "{text}");
        check("Hi there!", Some(SmallTalk::Greeting));
        check("good morning", Some(SmallTalk::Greeting));
        check("hello, are you open today?", None);
        check("Thanks a lot!", Some(SmallTalk::Thanks));
        check("yes please", Some(SmallTalk::Yes));
        check("Sure, go ahead", Some(SmallTalk::Yes));
        check("Yes, and when do you open?", None);
        check("No, thank you", Some(SmallTalk::No));
        check("no refund?", None);
        check("", None);
    }
}
