//! Messages to people, within what SNS accepts.

/// Bytes that a message body may have; SNS counts 256 KB for body and attributes together.
pub const MAX_BODY: usize = 250 * 1024;
/// Characters that a subject may have: under 100.
pub const MAX_SUBJECT: usize = 99;

const CUT: &str = "\n(cut)";

/// A subject that SNS accepts: printable ASCII on one line, 1 to 99 characters. Other characters become `?`, control
/// characters and line breaks become spaces.
#[must_use]
pub fn subject(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| match c {
            ' '..='~' => c,
            _ if c.is_control() || c.is_whitespace() => ' ',
            _ => '?',
        })
        .collect();
    let subject: String = clean.trim().chars().take(MAX_SUBJECT).collect();
    match subject.trim_end() {
        "" => "Snapback".to_owned(),
        subject => subject.to_owned(),
    }
}

/// A body that SNS accepts: at most [`MAX_BODY`] bytes, never empty. A longer one is cut and says so.
#[must_use]
pub fn body(text: &str) -> String {
    if text.is_empty() {
        return "(no text)".to_owned();
    }
    if text.len() <= MAX_BODY {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_BODY - CUT.len());
    let (kept, _) = text.split_at(end);
    format!("{kept}{CUT}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subjects() {
        let table = [
            ("Rolled back: checkout version 8 (errors)", "Rolled back: checkout version 8 (errors)"),
            ("two\r\nlines\tand a tab", "two  lines and a tab"),
            ("Größe ✓", "Gr??e ?"),
            ("  \n ", "Snapback"),
            ("", "Snapback"),
        ];
        for (text, expected) in table {
            assert_eq!(subject(text), expected, "{text:?}");
        }
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        let text = "ß".repeat(MAX_BODY);
        let cut = body(&text);
        assert!(cut.len() <= MAX_BODY && cut.len() > MAX_BODY - 10, "{}", cut.len());
        assert!(cut.ends_with("ß\n(cut)"));
        assert_eq!(body("short"), "short");
        assert_eq!(body(""), "(no text)");
    }

    proptest! {
        #[test]
        fn every_subject_is_accepted(text in "(?s).{0,200}") {
            let subject = subject(&text);
            prop_assert!((1..100).contains(&subject.len()), "{}", subject);
            prop_assert!(subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", subject);
            prop_assert!(!subject.starts_with(' ') && !subject.ends_with(' '), "{}", subject);
        }
    }
}
