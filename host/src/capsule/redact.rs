//! Hides what data say and keeps their shape: letters become x, digits 9, lengths stay. Pure.

/// Hides the content of `bytes`, byte for byte: letters become `x` or `X`, digits `9`, other characters than ASCII
/// one of the same length; spaces and punctuation stay. Of JSON the names of fields stay, and it stays JSON.
pub fn redact(bytes: &[u8]) -> Vec<u8> {
    let json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    match json {
        true => redact_json(bytes),
        false => redact_plain(bytes),
    }
}

/// Each line of a batch for itself.
pub fn redact_lines(batch: &[u8]) -> Vec<u8> {
    let lines = batch.split_inclusive(|&byte| byte == b'\n');
    lines.flat_map(redact).collect()
}

/// The same of text.
pub fn redact_text(text: &str) -> String {
    String::from_utf8_lossy(&redact(text.as_bytes())).into_owned()
}

fn redact_plain(bytes: &[u8]) -> Vec<u8> {
    let mut hidden = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            put_stand_in(character, &mut hidden);
        }
        hidden.extend(chunk.invalid().iter().map(|_| 0xff));
    }
    hidden
}

/// Puts a character of the same length in bytes there.
fn put_stand_in(character: char, hidden: &mut Vec<u8>) {
    let stand_in = match character {
        'a'..='z' => 'x',
        'A'..='Z' => 'X',
        '0'..='9' => '9',
        '\0'..='\x7f' => character,
        '\u{80}'..='\u{7ff}' => 'é',
        '\u{800}'..='\u{ffff}' => '字',
        _ => '𝕏',
    };
    hidden.extend_from_slice(stand_in.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Valid JSON: names of fields, literals, escapes and structure stay.
fn redact_json(bytes: &[u8]) -> Vec<u8> {
    let mut hidden = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'"' => string_end(bytes, at),
            b'-' | b'0'..=b'9' => number_end(bytes, at),
            _ => at + 1,
        };
        let token = &bytes[at..end];
        match token[0] {
            b'"' if is_name(&bytes[end..]) => hidden.extend_from_slice(token),
            b'"' => redact_string(token, &mut hidden),
            b'-' | b'0'..=b'9' => redact_number(token, &mut hidden),
            _ => hidden.extend_from_slice(token),
        }
        at = end;
    }
    hidden
}

/// Past the closing quote of the string that begins at `from`.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn number_end(bytes: &[u8], from: usize) -> usize {
    let part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    from + bytes[from..].iter().take_while(|byte| part(byte)).count()
}

/// Whether what stands before `rest` is the name of a field.
fn is_name(rest: &[u8]) -> bool {
    rest.trim_ascii_start().first() == Some(&b':')
}

/// The content between the quotes; an escape stays one, of a character that says nothing.
fn redact_string(token: &[u8], hidden: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(token);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            put_stand_in(character, hidden);
            continue;
        }
        match characters.next() {
            Some('u') => {
                characters.by_ref().take(4).for_each(drop);
                hidden.extend_from_slice(b"\\u00e9");
            }
            Some(escaped) => hidden.extend_from_slice(&[b'\\', escaped as u8]),
            None => {}
        }
    }
}

/// Digits become 9, and an exponent keeps the number finite.
fn redact_number(token: &[u8], hidden: &mut Vec<u8>) {
    let mut exponent = false;
    for &byte in token {
        exponent |= matches!(byte, b'e' | b'E');
        hidden.push(match (byte.is_ascii_digit(), exponent) {
            (true, true) => b'0',
            (true, false) => b'9',
            (false, _) => byte,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_stays_and_content_goes() {
        let table = [
            ("", ""),
            ("Jane Doe,42,jane@x.org\r\n", "Xxxx Xxx,99,xxxx@x.xxx\r\n"),
            ("\tño ½ 日本 🦀\n", "\téx é 字字 𝕏\n"),
            (
                r#"{"name":"Jane 7","ok":true,"n":-12.50,"x":null}"#,
                r#"{"name":"Xxxx 9","ok":true,"n":-99.99,"x":null}"#,
            ),
            (
                r#"{"a" : {"b":["c\"d\n\u00fc",1e308]}} "#,
                r#"{"a" : {"b":["x\"x\n\u00e9",9e000]}} "#,
            ),
            (r#"["false",false,{"": ""}]"#, r#"["xxxxx",false,{"": ""}]"#),
            // Not JSON: all of it is hidden.
            (r#"{"name":"Jane"#, r#"{"xxxx":"Xxxx"#),
            ("true", "xxxx"),
        ];
        for (plain, hidden) in table {
            assert_eq!(redact_text(plain), hidden);
        }
        assert_eq!(redact(b"a\xff\x80b"), b"x\xff\xffx");
    }

    #[test]
    fn every_length_stays_and_json_stays_json() {
        let samples = [
            r#"{"k":"\\","l":"\\\"","m":[0,0.5,1E+2,-0]}"#,
            r#"[{"a":[]},{},"","\ud83e\udd80"]"#,
            "plain, text; ünd 数字 9",
        ];
        for sample in samples {
            let hidden = redact(sample.as_bytes());
            assert_eq!(hidden.len(), sample.len(), "{sample}");
            let is_json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
            assert_eq!(
                is_json(&hidden),
                is_json(sample.as_bytes()),
                "{sample}: {}",
                String::from_utf8_lossy(&hidden)
            );
            assert_eq!(redact(&hidden), hidden, "hidden once is hidden: {sample}");
        }
    }

    #[test]
    fn lines_are_hidden_one_by_one() {
        assert_eq!(
            redact_lines(b"{\"a\":\"b1\"}\nc,2\n{"),
            b"{\"a\":\"x9\"}\nx,9\n{"
        );
    }
}
