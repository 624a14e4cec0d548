//! Bytes as text that a person can write and read: as they are, or with escapes. Pure.
//!
//! | escape | |
//! | --- | --- |
//! | `\\` | a backslash |
//! | `\n`, `\r`, `\t`, `\0` | line feed, carriage return, tab, zero |
//! | `\xNN` | the byte NN, two hexadecimal digits |
//! | `\-` | a `-`, where a line of three would begin a section |
//! | `\` at the end of a line | no line feed here |

use std::fmt::Write;

/// Takes the escapes of one line out of it; whether a line feed follows is the second value.
///
/// # Errors
/// What is no escape, for a person.
pub(super) fn unescape_line(line: &str) -> Result<(Vec<u8>, bool), String> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let mut chars = rest[at + 1..].chars();
        let Some(escape) = chars.next() else {
            return Ok((bytes, false));
        };
        rest = chars.as_str();
        bytes.push(match escape {
            '\\' => b'\\',
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            '0' => 0,
            '-' => b'-',
            'x' => {
                let digits = rest.get(..2).unwrap_or_default();
                let byte = hex(digits).ok_or("`\\x` needs two hexadecimal digits: `\\xff`")?;
                rest = &rest[2..];
                byte
            }
            _ => {
                return Err(format!(
                    "`\\{}` is no escape: write `\\\\` for a backslash",
                    escape.escape_debug()
                ));
            }
        });
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok((bytes, true))
}

fn hex(digits: &str) -> Option<u8> {
    let all = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| all)
}

/// Bytes on one line, all escaped that cannot be seen: also line feeds, and spaces at the end.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\0' => text.push_str("\\0"),
                _ if is_hidden(char) => escape_bytes(&mut text, char),
                _ => text.push(char),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if text.ends_with(' ') {
        text.pop();
        text.push_str("\\x20");
    }
    text
}

fn escape_bytes(text: &mut String, char: char) {
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Whether it cannot be seen, or makes a terminal or an editor show something else.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether `bytes` cannot stand in a section as they are.
pub(super) fn needs_escapes(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return true;
    };
    let hidden = |char| char != '\n' && char != '\t' && is_hidden(char);
    let line = |line: &str| line.starts_with("---") || line.ends_with([' ', '\t']);
    let ends = text.is_empty() || text.ends_with('\n');
    let blank_end = text == "\n" || text.ends_with("\n\n");
    !ends || blank_end || text.contains(hidden) || text.lines().any(line)
}

/// Bytes as lines of an escaped section; each is ended.
pub(super) fn escape_lines(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    // A blank line at the end would be taken for the space before the next section.
    let blank = |line: &&[u8]| **line == *b"\n";
    let blanks = lines.iter().rev().take_while(|line| blank(line)).count();
    lines.truncate(lines.len() - blanks);
    for (at, line) in lines.iter().enumerate() {
        let (line, ended) = match line.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (*line, false),
        };
        let escaped = escape(line);
        match escaped.strip_prefix("---") {
            Some(rest) => text.extend(["\\---", rest]),
            None => text.push_str(&escaped),
        }
        if at + 1 == lines.len() {
            text.push_str(&"\\n".repeat(blanks));
        }
        text.push_str(if ended { "\n" } else { "\\\n" });
    }
    if lines.is_empty() && blanks > 0 {
        text = format!("{}\\\n", "\\n".repeat(blanks));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the lines of an escaped section stand for.
    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in text.lines() {
            let (line, ended) = unescape_line(line).unwrap_or_else(|e| panic!("{text}: {e}"));
            bytes.extend(line);
            bytes.extend(ended.then_some(b'\n'));
        }
        bytes
    }

    #[test]
    fn escapes_stand_for_bytes() {
        for (text, bytes) in [
            ("a", &b"a\n"[..]),
            ("a\\", b"a"),
            ("a\\\nb", b"ab\n"),
            (r"\xff\x0A\0\t\r\n\\\---", b"\xff\n\0\t\r\n\\---\n"),
            ("caf\u{e9} \\\\n", b"caf\xc3\xa9 \\n\n"),
        ] {
            assert_eq!(unescape(text), bytes, "{text}");
        }
        for (text, error) in [
            (r"\q", r"`\q` is no escape: write `\\` for a backslash"),
            (r"\é", r"`\é` is no escape: write `\\` for a backslash"),
            (r"\x4", r"`\x` needs two hexadecimal digits: `\xff`"),
            (r"\x+4", r"`\x` needs two hexadecimal digits: `\xff`"),
            (r"\xé", r"`\x` needs two hexadecimal digits: `\xff`"),
        ] {
            assert_eq!(unescape_line(text), Err(error.to_owned()), "{text}");
        }
    }

    /// All texts of up to five bytes of those that are special: what is written is what is read.
    #[test]
    fn whatever_is_written_is_read_again() {
        const ALPHABET: &[u8] = b"a\n\r\\ -\xff";
        let mut texts = vec![Vec::new()];
        for length in 0..5 {
            for text in texts.clone() {
                if text.len() == length {
                    texts.extend(ALPHABET.iter().map(|&byte| [&text[..], &[byte]].concat()));
                }
            }
        }
        for bytes in texts {
            let written = escape_lines(&bytes);
            assert_eq!(unescape(&written), bytes, "{written}");
            assert!(!written.lines().any(|line| line.starts_with("---")));
            assert!(
                !written.lines().any(|line| line.ends_with(' ')),
                "{written}"
            );
            assert!(!written.ends_with("\n\n") && written != "\n", "{written:?}");
            let one = escape(&bytes);
            assert_eq!(unescape_line(&one), Ok((bytes, true)), "{one}");
        }
    }

    #[test]
    fn what_can_stand_as_it_is() {
        for (text, escaped) in [
            ("", false),
            ("a\n", false),
            ("{\"a\":\"\\n\"}\n\nb\n", false),
            ("a\tb \u{e9}\n", false),
            ("a", true),
            ("a\n\n", true),
            ("\n", true),
            ("a\r\n", true),
            ("a \n", true),
            ("--- a\n", true),
            ("----\n", true),
            ("\x1b[31m\n", true),
            ("\u{202e}\n", true),
        ] {
            assert_eq!(needs_escapes(text.as_bytes()), escaped, "{text:?}");
        }
        assert!(needs_escapes(b"\xff\n"));
    }

    #[test]
    fn nothing_stays_hidden() {
        for (bytes, shown) in [
            (&b"a\x1b[0m"[..], r"a\x1b[0m"),
            ("\u{202e}x ".as_bytes(), r"\xe2\x80\xaex\x20"),
            ("\u{85}".as_bytes(), r"\xc2\x85"),
        ] {
            assert_eq!(escape(bytes), shown);
        }
    }
}
