//! What reasons have in common: numbers, ids and quoted values do not make two of one reason. Pure.

/// A quoted value.
const QUOTED: &str = "\"…\"";
/// A pattern is not longer, in bytes.
const PATTERN_MAX: usize = 512;
/// Hexadecimal digits with a digit among them are an id from this length on.
const HEX_MIN: usize = 6;

/// The reason without what differs from line to line:
///
/// - what stands in double quotes, backquotes or (between words) single quotes is `"…"`;
/// - numbers with their signs, dates, versions, addresses, UUIDs and other words of digits and letters are `#`;
///   of letters with a number behind them the letters stay (`shard17` is `shard#`);
/// - a place in code stays (`lib.rs:57:13`): another place is another reason.
///
/// The pattern of a pattern is itself.
pub fn pattern(reason: &str) -> String {
    let mut out = String::with_capacity(reason.len().min(PATTERN_MAX));
    let mut at = 0;
    while at < reason.len() && out.len() < PATTERN_MAX {
        at += step(&reason[at..], &mut out);
    }
    if out.len() >= PATTERN_MAX {
        out.truncate(out.floor_char_boundary(PATTERN_MAX - '…'.len_utf8()));
        out.push('…');
    }
    out
}

/// Takes something from the front of `rest`; gives back how many bytes it was.
fn step(rest: &str, out: &mut String) -> usize {
    let first = rest.chars().next().unwrap_or_default();
    if let Some(len) = quoted(rest, out.chars().last()) {
        out.push_str(QUOTED);
        return len;
    }
    if first == ':' && ends_in_file_name(out) {
        let len = place(rest);
        out.push_str(&rest[..len]);
        return len;
    }
    if !is_word(first) {
        out.push(first);
        return first.len_utf8();
    }
    if is_uuid(rest) {
        number(out);
        return UUID_LEN;
    }
    let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    word(&rest[..len], out);
    len
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How long the quoted value at the front of `rest` is, if there is one that ends.
fn quoted(rest: &str, before: Option<char>) -> Option<usize> {
    let mark = rest.chars().next()?;
    let within_word = mark == '\'' && before.is_some_and(is_word);
    if !matches!(mark, '"' | '`' | '\'') || within_word {
        return None;
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        let word_follows = || mark == '\'' && rest[at + 1..].starts_with(is_word);
        if c == mark && !escaped && !word_follows() {
            return Some(at + 1);
        }
        escaped = c == '\\' && !escaped && mark != '`';
    }
    None
}

/// Whether a name with an extension of up to four letters stands at the end.
fn ends_in_file_name(text: &str) -> bool {
    let Some((name, extension)) = text.rsplit_once('.') else {
        return false;
    };
    (1..=4).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphabetic())
        && name.ends_with(|c: char| is_word(c) || c == '#')
}

/// How long `:57:13` is at the front of `rest`; at least the colon.
fn place(rest: &str) -> usize {
    let mut end = 0;
    while let Some(number) = rest[end..].strip_prefix(':') {
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            break;
        }
        end += 1 + digits;
    }
    end.max(1)
}

const UUID_LEN: usize = 36;

fn is_uuid(rest: &str) -> bool {
    let Some(text) = rest.as_bytes().get(..UUID_LEN) else {
        return false;
    };
    let fits = text.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    fits && !rest[UUID_LEN..].starts_with(is_word)
}

/// A word as it is, or what of it does not differ from line to line.
fn word(word: &str, out: &mut String) {
    let Some(digit) = word.find(|c: char| c.is_numeric()) else {
        out.push_str(word);
        return;
    };
    let hex = word.len() >= HEX_MIN && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let numbered = digit > 0 && word[digit..].chars().all(char::is_numeric);
    if numbered && !hex {
        out.push_str(&word[..digit]);
        out.push('#');
    } else {
        number(out);
    }
}

/// A number: with what joins it to the one before it, one; with a sign, one without.
fn number(out: &mut String) {
    let joined = out.chars().next_back().filter(|c| "-+.:,/".contains(*c));
    let head = &out[..out.len() - joined.map_or(0, char::len_utf8)];
    let behind_number = joined.is_some() && head.ends_with('#');
    let signed = matches!(joined, Some('-' | '+'))
        && head
            .chars()
            .next_back()
            .is_none_or(|c| !is_word(c) && c != '-');
    if behind_number || signed {
        out.truncate(head.len());
    }
    if !behind_number {
        out.push('#');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("", ""),
            ("no such thing", "no such thing"),
            // Quoted values.
            ("bad number \"17x\"", "bad number \"…\""),
            ("bad number \"abc\"", "bad number \"…\""),
            ("bad number \"a \\\" b\" here", "bad number \"…\" here"),
            (
                "column ID, `17x`: invalid digit",
                "column ID, \"…\": invalid digit",
            ),
            ("path `a\\`: gone", "path \"…\": gone"),
            ("key '' and key 'it s'", "key \"…\" and key \"…\""),
            ("don't and can't", "don't and can't"),
            ("the plugin's 'x y' isn't", "the plugin's \"…\" isn't"),
            ("not closed \"17 x", "not closed \"# x"),
            ("\"", "\""),
            // Numbers.
            ("line 1 column 103", "line # column #"),
            (
                "out of fuel: all of its 100060000 fuel",
                "out of fuel: all of its # fuel",
            ),
            (
                "trap: unreachable (fuel 5321)",
                "trap: unreachable (fuel #)",
            ),
            ("-5 or +5 or 5 or (-5) or x=-5", "# or # or # or (#) or x=#"),
            ("1.5e-3, 1,000,000 and 0x1F", "#, # and #"),
            ("took 30s of 2GB", "took # of #"),
            ("a-5", "a-#"),
            // Times, addresses, versions, ids.
            ("at 2026-01-02T03:04:05Z", "at #"),
            ("at 2026-01-02 03:04:05.123", "at # #"),
            ("no route to 10.0.0.1:8080", "no route to #"),
            ("needs 1.2.3", "needs #"),
            ("id 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "id #"),
            ("id abcdefab-abcd-abcd-abcd-abcdefabcdef!", "id #!"),
            (
                "req a8f3c2, order abc123 of shard17",
                "req #, order # of shard#",
            ),
            ("user_12 and u32", "user_# and u#"),
            ("sha256:00ff17", "sha#"),
            // Places in code.
            (
                "panicked at src/lib.rs:57:13: index 3 of 2",
                "panicked at src/lib.rs:57:13: index # of #",
            ),
            ("app.js:10:5 x", "app.js:10:5 x"),
            ("end. 5:6", "end. #"),
            ("lib.rs: 5", "lib.rs: #"),
            // Whatever else there is.
            ("zeile ü7 – «ä» ٣", "zeile ü# – «ä» #"),
            ("a\nb\t1\0", "a\nb\t#\0"),
            ("#-#", "#-#"),
        ];
        for (reason, expected) in table {
            let made = pattern(reason);
            assert_eq!(made, expected, "{reason:?}");
            assert_eq!(pattern(&made), made, "the pattern of a pattern: {reason:?}");
        }
    }

    #[test]
    fn patterns_are_short() {
        let long = pattern(&"ä b ".repeat(10_000));
        assert!(
            long.len() <= PATTERN_MAX && long.ends_with('…'),
            "{}",
            long.len()
        );
        assert!(pattern(&"ä".repeat(600)).len() <= PATTERN_MAX + QUOTED.len());
    }
}
