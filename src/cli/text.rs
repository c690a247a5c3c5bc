//! Text as reports have it: what came from an archive or a file name made safe for a terminal, and numbers.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

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
}
