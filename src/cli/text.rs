//! Text as reports have it: what came from an archive or a file name made safe for a terminal, and numbers.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longer text is cut: a hostile archive may have a name of a megabyte.
pub(super) const MAX_CHARS: usize = 4096;

/// Replaces what could steer a terminal or deceive its reader: control characters, line separators and the overrides
/// of writing direction.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) && text.len() <= MAX_CHARS {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(MAX_CHARS) + 16);
    for (i, c) in text.chars().enumerate() {
        if i == MAX_CHARS {
            out.push('…');
            break;
        }
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// [`escape`] for a JSON document, whose strings have their own way to write such characters: to whoever parses it, it
/// stays the same document.
pub fn escape_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Line feeds stand between values; in strings they are escaped already.
            '\n' => out.push(c),
            c if is_unsafe(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// [`escape`] for a path.
pub fn escape_path(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// The columns of a terminal that an escaped text takes.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The lines that an escaped text takes on a terminal of `width` columns.
pub fn lines_of(text: &str, width: usize) -> usize {
    columns(text).div_ceil(width.max(1)).max(1)
}

/// An escaped text in lines of at most `width` columns, broken at blanks; what has none is not broken.
pub(super) fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Cuts the end of an escaped text that takes more than `width` columns.
pub(super) fn cut_end(text: &str, width: usize) -> String {
    cut(text, width, |room| (room, 0))
}

/// Cuts the middle of an escaped text that takes more than `width` columns: the names of backups differ least there.
pub(super) fn cut_middle(text: &str, width: usize) -> String {
    cut(text, width, |room| (room / 2, room - room / 2))
}

/// What fits of a text, with `…` for what does not. `share` gives the columns before and after it.
fn cut(text: &str, width: usize, share: impl Fn(usize) -> (usize, usize)) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else {
        return String::new();
    };
    let (front, back) = share(room);
    let start = (text.char_indices().map(|(at, _)| &text[..at]))
        .take_while(|start| columns(start) <= front)
        .last();
    let end = (text.char_indices().rev().map(|(at, _)| &text[at..]))
        .take_while(|end| columns(end) <= back)
        // An accent belongs to the letter before it.
        .filter(|end| end.chars().next().and_then(UnicodeWidthChar::width) > Some(0))
        .last();
    format!("{}…{}", start.unwrap_or_default(), end.unwrap_or_default())
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Seconds with three decimals.
pub fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(fold("5 files come back", 17), ["5 files come back"]);
        assert_eq!(fold("5 files come back", 16), ["5 files come", "back"]);
        assert_eq!(fold("in /mnt/a/long/path", 10), ["in", "/mnt/a/long/path"]);
        assert_eq!(fold("", 10), [""]);
    }

    #[test]
    fn a_json_document_stays_the_same() {
        let value = serde_json::json!({"a\u{202e}\u{1b}": ["\u{9b}\n\u{7f}", "愛", "\\"]});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = escape_json(&text);
        assert!(!escaped.chars().any(|c| is_unsafe(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        assert!(escaped.contains("愛"));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(escape("Amélie – 愛.tar.gz"), "Amélie – 愛.tar.gz");
        assert_eq!(escape("a\x1b[2Jb\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\n\\u{202e}c\\u{9b}");
        assert_eq!(escape(&"x".repeat(1 << 20)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        // A text, the columns that there are, and what is left with the end and with the middle cut.
        let cases = [
            ("abcdefghij", 10, "abcdefghij", "abcdefghij"),
            ("abcdefghij", 5, "abcd…", "ab…ij"),
            ("äöüäöüäöü", 4, "äöü…", "ä…öü"),
            // Two columns each: where half of one is left, it stays empty.
            ("愛愛愛愛", 6, "愛愛…", "愛…愛"),
            ("愛愛愛愛", 8, "愛愛愛愛", "愛愛愛愛"),
            // An accent on its own takes none.
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…", "…e\u{301}"),
            ("abc", 1, "…", "…"),
            ("abc", 0, "", ""),
        ];
        for (text, width, end, middle) in cases {
            assert_eq!(cut_end(text, width), end, "{text}");
            assert_eq!(cut_middle(text, width), middle, "{text}");
            assert!(columns(&cut_end(text, width)) <= width && columns(&cut_middle(text, width)) <= width);
        }
    }
}
