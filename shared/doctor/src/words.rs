//! Names taken apart.

/// The words of a name or a text, in small letters: `HighErrorRate-5xx` has `high`, `error`, `rate` and `xx`.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_small = false;
    for letter in text.chars() {
        if (!letter.is_alphabetic() || letter.is_uppercase() && was_small) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        was_small = letter.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
