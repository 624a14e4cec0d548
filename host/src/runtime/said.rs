//! What a plugin said last on standard error: the message of its language, without what surrounds it.

/// How much of a traceback is kept: its end, which tells what happened, with room for what the host says before it.
const TRACEBACK_MAX: usize = 3500;

/// The message that the plugin's language left when it ended, or all that was printed.
pub(super) fn last_words(stderr: &str) -> String {
    python(stderr)
        .or_else(|| rust(stderr))
        .or_else(|| javascript(stderr))
        .unwrap_or_else(|| without_blank_lines(stderr))
}

/// The last traceback. The interpreter, written in Rust, panics after it.
fn python(stderr: &str) -> Option<String> {
    let begin = stderr.rfind("Traceback (most recent call last):")?;
    let traceback = &stderr[begin..];
    let end = traceback.find("\nthread '").unwrap_or(traceback.len());
    let traceback = without_blank_lines(&traceback[..end]);
    let surplus = traceback.len().saturating_sub(TRACEBACK_MAX);
    Some(traceback[traceback.ceil_char_boundary(surplus)..].to_owned())
}

/// A panic, its place and message on one line, without the hint on backtraces.
fn rust(stderr: &str) -> Option<String> {
    let begin = stderr.rfind("panicked at ")?;
    let kept = without_blank_lines(&stderr[begin..]);
    let (place, message) = kept.split_once('\n').unwrap_or((&kept, ""));
    Some(format!("{place} {message}").trim_end().to_owned())
}

/// An exception that left the plugin: the bindings of componentize-js take it for a failure, and say that it is none.
fn javascript(stderr: &str) -> Option<String> {
    let (_, received) = stderr.split_once("(received `")?;
    let (exception, _) = received.split_once("`) specified for `Failure`")?;
    Some(exception.to_owned())
}

fn without_blank_lines(text: &str) -> String {
    let noise = ["note: run with", "Redirecting call to abort()"];
    let lines = text.lines().map(str::trim_end);
    let kept: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !noise.iter().any(|noise| line.starts_with(noise)))
        .collect();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{TRACEBACK_MAX, last_words};

    #[test]
    fn each_language_has_its_own_words() {
        let table = [
            ("", ""),
            ("went wrong\n", "went wrong"),
            (
                "\nthread '<unnamed>' (1) panicked at src/lib.rs:5:9:\nno good\nnote: run with `RUST_BACKTRACE=1` environment variable\n",
                "panicked at src/lib.rs:5:9: no good",
            ),
            (
                "thread 'main' panicked at a.rs:1:1:\none\ntwo\n",
                "panicked at a.rs:1:1: one\ntwo",
            ),
            (
                "said before\nTraceback (most recent call last):\n  File \"plugin.py\", line 4, in line\nKeyError: 'a'\nthread '<unnamed>' (1) panicked at lib.rs:1:2:\nPython function threw\n",
                "Traceback (most recent call last):\n  File \"plugin.py\", line 4, in line\nKeyError: 'a'",
            ),
            (
                "Traceback (most recent call last):\nA\n\nDuring handling of it:\n\nTraceback (most recent call last):\nB\n",
                "Traceback (most recent call last):\nB",
            ),
            (
                "invalid variant tag value `undefined` (received `TypeError: a is undefined`) specified for `Failure`\nStack:\n  export@init.js:1:2\nRedirecting call to abort() to mozalloc_abort\n",
                "TypeError: a is undefined",
            ),
            (
                "Uncaught out of memory\nRedirecting call to abort() to mozalloc_abort\n",
                "Uncaught out of memory",
            ),
            (
                "Assertion failed: n > 0 (plugin.c: add: 12)\n",
                "Assertion failed: n > 0 (plugin.c: add: 12)",
            ),
        ];
        for (stderr, want) in table {
            assert_eq!(last_words(stderr), want);
        }
    }

    #[test]
    fn of_a_long_traceback_the_end_is_kept() {
        let frames = "  File \"é.py\", line 1, in f\n".repeat(1000);
        let said = last_words(&format!(
            "Traceback (most recent call last):\n{frames}ValueError: at last\n"
        ));
        assert!(said.len() <= TRACEBACK_MAX && said.len() > TRACEBACK_MAX - 4);
        assert!(said.ends_with("ValueError: at last"));
    }
}
