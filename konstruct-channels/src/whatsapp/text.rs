//! WhatsApp's text: from what a model writes into WhatsApp's formatting.

/// Makes WhatsApp's formatting of plain text in which a model may have written Markdown. Never longer than it was.
pub(super) fn write(text: &str) -> String {
    crate::markdown::convert(text, |label, url| {
        if label == url {
            url.to_owned()
        } else {
            format!("{label} ({url})")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_their_address_beside_them() {
        let check = |text: &str, expected: &str| assert_eq!(write(text), expected, "{text}");
        check(
            "**Open** from 9, see [our page](https://a.example)",
            "*Open* from 9, see our page (https://a.example)",
        );
        check(
            "[https://a.example](https://a.example)",
            "https://a.example",
        );
        check("<@U1> & `x`", "<@U1> & `x`");
    }
}
