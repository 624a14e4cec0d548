//! Bytes as they are shown to a person: what is not plain text as escapes, long lines cut. Lines are hostile: a
//! terminal or a page must show what they hold, not do it. Pure.

use std::fmt;

/// Text that can be shown anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The text.
    pub(crate) text: String,
    /// How many bytes are left out behind it.
    pub(crate) cut: usize,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.cut {
            0 => Ok(()),
            cut => write!(f, "… ({cut} bytes more)"),
        }
    }
}

/// At most the first `bytes_max` bytes; at a character's end.
pub(crate) fn text(bytes: &[u8], bytes_max: usize) -> Shown {
    let mut shown = String::with_capacity(bytes.len().min(bytes_max));
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if taken + character.len_utf8() > bytes_max {
                return cut(shown, bytes.len() - taken);
            }
            taken += character.len_utf8();
            push(&mut shown, character);
        }
        for byte in chunk.invalid() {
            if taken == bytes_max {
                return cut(shown, bytes.len() - taken);
            }
            taken += 1;
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    cut(shown, 0)
}

/// A line without its end.
pub(crate) fn line(line: &[u8], bytes_max: usize) -> Shown {
    text(line.strip_suffix(b"\n").unwrap_or(line), bytes_max)
}

fn cut(text: String, cut: usize) -> Shown {
    Shown { text, cut }
}

fn push(shown: &mut String, character: char) {
    match character {
        '\t' => shown.push_str("\\t"),
        '\r' => shown.push_str("\\r"),
        '\n' => shown.push_str("\\n"),
        '\0'..='\x7f' if character.is_control() => {
            shown.push_str(&format!("\\x{:02x}", u32::from(character)));
        }
        character if is_hidden(character) => shown.extend(character.escape_unicode()),
        character => shown.push(character),
    }
}

/// Characters that are not seen, or that change how others are: controls, directions, joiners, marks, tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_text_is_escaped() {
        let table: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"plain <b>text</b> \\n", "plain <b>text</b> \\n"),
            ("größer 日本".as_bytes(), "größer 日本"),
            (b"a\tb\rc\n", "a\\tb\\rc\\n"),
            (b"\x00\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f"),
            (b"\xff\xc3(\xe6\x97", "\\xff\\xc3(\\xe6\\x97"),
            ("a\u{202e}b\u{200b}".as_bytes(), "a\\u{202e}b\\u{200b}"),
            ("\u{85}".as_bytes(), "\\u{85}"),
        ];
        for (bytes, want) in table {
            assert_eq!(text(bytes, 100).to_string(), want);
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let table: [(&[u8], usize, &str); 6] = [
            (b"abc", 3, "abc"),
            (b"abcd", 3, "abc… (1 bytes more)"),
            ("äöü".as_bytes(), 3, "ä… (4 bytes more)"),
            (b"\xff\xff", 1, "\\xff… (1 bytes more)"),
            (b"abc\n", 3, "abc"),
            (b"a", 0, "… (1 bytes more)"),
        ];
        for (bytes, max, want) in table {
            assert_eq!(line(bytes, max).to_string(), want);
        }
    }
}
