//! What the host answered an instance, in order: recorded while it runs, and played back to another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Exchange, base64_bytes};

/// About so many bytes of answers are kept of one call; a call that asks for more is not wholly recorded.
const TAPE_BYTES_MAX: usize = 1024 * 1024;
/// What an answer takes up besides its bytes.
const ANSWER_BYTES: usize = 32;

/// One answer of the host, to a question that another run may be answered otherwise.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// Milliseconds until work stops; none without a time limit.
    RemainingMs(Option<u64>),
    /// The time of day: seconds since the Unix epoch, and nanoseconds.
    WallClock(u64, u32),
    /// Nanoseconds of a clock that never goes back.
    MonotonicClock(u64),
    /// Random bytes.
    Random(#[serde(with = "base64_bytes")] Vec<u8>),
    /// What came of an HTTP request, however long after it was made.
    Http(Box<Exchange>),
}

impl Answer {
    /// What was asked, for a person.
    pub fn question(&self) -> &'static str {
        match self {
            Answer::RemainingMs(_) => "remaining-ms",
            Answer::WallClock(..) => "the time of day",
            Answer::MonotonicClock(_) => "the monotonic clock",
            Answer::Random(_) => "random bytes",
            Answer::Http(_) => "HTTP",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Answer::Random(bytes) => ANSWER_BYTES + bytes.len(),
            Answer::Http(exchange) => ANSWER_BYTES + exchange.url.len(),
            _ => ANSWER_BYTES,
        }
    }
}

/// The same answer, once or several times in a row.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The answer.
    pub answer: Answer,
    /// How often.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
}

fn once() -> u64 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_once(times: &u64) -> bool {
    *times == 1
}

/// What one instance was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// In order.
    pub said: Vec<Said>,
    /// There were more than are kept.
    pub cut: bool,
}

/// Where the answers to an instance come from.
#[derive(Clone, Debug, Default)]
pub enum Memory {
    /// From this machine, now.
    #[default]
    Live,
    /// The same, and they are kept.
    Kept,
    /// From an earlier run, as far as they go.
    Earlier(Arc<[Said]>),
}

/// The answers of one instance. Clones are the same tape.
#[derive(Clone, Debug)]
pub struct Tape(Arc<Mutex<State>>);

/// The place of an exchange that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    take: u64,
    index: usize,
}

/// What is known of an HTTP request that was made.
#[derive(Debug)]
pub enum Asked {
    /// It is to be made, and what comes of it kept there.
    Live(Slot),
    /// It was made before.
    Earlier(Exchange),
    /// It was not made before, and nobody is asked now.
    Unknown,
}

#[derive(Debug, Default)]
struct State {
    /// What was answered, wherever it came from.
    recorded: Recorded,
    bytes: usize,
    /// How often it was taken.
    takes: u64,
    playing: Option<Playing>,
}

#[derive(Debug)]
struct Playing {
    said: Arc<[Said]>,
    at: usize,
    times: u64,
    asked: u64,
    diverged: Option<String>,
}

impl Tape {
    /// A tape for a fresh instance; none where nothing is to be kept.
    pub fn new(answers: &Memory) -> Option<Tape> {
        let playing = match answers {
            Memory::Live => return None,
            Memory::Kept => None,
            Memory::Earlier(said) => Some(Playing {
                said: said.clone(),
                at: 0,
                times: 0,
                asked: 0,
                diverged: None,
            }),
        };
        Some(Tape(Arc::new(Mutex::new(State {
            playing,
            ..State::default()
        }))))
    }

    /// Answers a question: as the earlier run was, or with what `live` says, which is kept. `fits` tells whether an
    /// earlier answer is one to this question.
    pub fn answer<T>(
        &self,
        live: impl FnOnce() -> T,
        into: impl FnOnce(&T) -> Answer,
        fits: impl FnOnce(&Answer) -> Option<T>,
    ) -> T {
        let earlier = self.lock().earlier(fits);
        match earlier {
            Some((answer, given)) => {
                self.lock().record(answer);
                given
            }
            None => {
                // Nothing is locked while the answer is found.
                let given = live();
                let answer = into(&given);
                let mut state = self.lock();
                if let Some(playing) = &mut state.playing {
                    playing.diverge(answer.question());
                }
                state.record(answer);
                given
            }
        }
    }

    /// A plugin makes an HTTP request.
    pub fn ask(&self, method: &str, url: &str) -> Asked {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(playing) = &mut state.playing else {
            let index = state.recorded.said.len();
            state.record(Answer::Http(Box::new(Exchange::begun(method, url))));
            return Asked::Live(Slot {
                take: state.takes,
                index,
            });
        };
        match playing.exchange(method, url) {
            Some(exchange) => {
                state.record(Answer::Http(Box::new(exchange.clone())));
                Asked::Earlier(exchange)
            }
            None => Asked::Unknown,
        }
    }

    /// Something came of a request: `bytes` more. What does not fit is left out, and all such that follows.
    pub fn fill(&self, slot: Slot, bytes: usize, fill: impl FnOnce(&mut Exchange)) {
        let mut state = self.lock();
        let state = &mut *state;
        if state.takes != slot.take {
            return;
        }
        let said = state.recorded.said.get_mut(slot.index);
        let Some(Answer::Http(exchange)) = said.map(|said| &mut said.answer) else {
            return;
        };
        if bytes > 0 && (exchange.cut || state.bytes + bytes > TAPE_BYTES_MAX) {
            exchange.cut = true;
            state.recorded.cut = true;
            return;
        }
        fill(exchange);
        state.bytes += bytes;
    }

    /// What was answered so far; from now on that is kept anew.
    pub fn take(&self) -> Recorded {
        let mut state = self.lock();
        state.bytes = 0;
        state.takes += 1;
        std::mem::take(&mut state.recorded)
    }

    /// How the questions differ from those of the earlier run, if they do.
    pub fn divergence(&self) -> Option<String> {
        self.lock().playing.as_ref()?.divergence()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next earlier answer, if it is one to the question.
    fn earlier<T>(&mut self, fits: impl FnOnce(&Answer) -> Option<T>) -> Option<(Answer, T)> {
        let playing = self.playing.as_mut()?;
        let answer = playing.peek()?.clone();
        let given = fits(&answer)?;
        playing.advance();
        Some((answer, given))
    }

    fn record(&mut self, answer: Answer) {
        let recorded = &mut self.recorded;
        if recorded.cut {
            return;
        }
        if let Some(last) = recorded.said.last_mut()
            && last.answer == answer
            && !matches!(answer, Answer::Http(_))
        {
            last.times += 1;
            return;
        }
        self.bytes += answer.bytes();
        match self.bytes > TAPE_BYTES_MAX {
            true => recorded.cut = true,
            false => recorded.said.push(Said { answer, times: 1 }),
        }
    }
}

impl Playing {
    fn peek(&self) -> Option<&Answer> {
        self.said.get(self.at).map(|said| &said.answer)
    }

    fn advance(&mut self) {
        self.asked += 1;
        self.times += 1;
        if self.said[self.at].times <= self.times {
            self.at += 1;
            self.times = 0;
        }
    }

    /// What came of such a request: of the one whose turn it is, or of any.
    fn exchange(&mut self, method: &str, url: &str) -> Option<Exchange> {
        let answers = |answer: &Answer| match answer {
            Answer::Http(exchange) if exchange.answers(method, url) => {
                Some(exchange.as_ref().clone())
            }
            _ => None,
        };
        if let Some(exchange) = self.peek().and_then(answers) {
            self.advance();
            return Some(exchange);
        }
        self.diverge(&format!("{method} {url}"));
        self.said.iter().find_map(|said| answers(&said.answer))
    }

    /// Only the first one counts: what follows may be a consequence.
    fn diverge(&mut self, question: &str) {
        self.asked += 1;
        let asked = self.asked;
        let recorded = match self.peek() {
            Some(other) => format!("where {} was recorded", other.question()),
            None => "of which no more were recorded".to_owned(),
        };
        let why = format!("question {asked} to the host was for {question}, {recorded}");
        self.diverged.get_or_insert(why);
    }

    fn divergence(&self) -> Option<String> {
        if self.diverged.is_some() {
            return self.diverged.clone();
        }
        let other = self.peek()?;
        Some(format!(
            "{} was not asked for, after {} questions to the host",
            other.question(),
            self.asked
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(tape: &Tape, live: u64) -> u64 {
        tape.answer(
            || live,
            |ms| Answer::RemainingMs(Some(*ms)),
            |answer| match answer {
                Answer::RemainingMs(ms) => *ms,
                _ => None,
            },
        )
    }

    fn clock(tape: &Tape, live: u64) -> u64 {
        tape.answer(
            || live,
            |now| Answer::MonotonicClock(*now),
            |answer| match answer {
                Answer::MonotonicClock(now) => Some(*now),
                _ => None,
            },
        )
    }

    /// What three calls of remaining-ms and one of the clock leave.
    fn recorded() -> Recorded {
        let tape = Tape::new(&Memory::Kept).expect("it is kept");
        assert_eq!(
            [7, 7, 6].map(|live| remaining(&tape, live)),
            [7, 7, 6],
            "what is recorded is what is answered"
        );
        assert_eq!(clock(&tape, 100), 100);
        assert_eq!(tape.divergence(), None);
        tape.take()
    }

    #[test]
    fn nothing_is_kept_unless_asked() {
        assert!(Tape::new(&Memory::Live).is_none());
    }

    #[test]
    fn plays_what_was_recorded() {
        let said = recorded().said;
        assert_eq!(said.len(), 3, "repeated answers are one: {said:?}");
        let tape = Tape::new(&Memory::Earlier(said.into())).expect("it plays");
        assert_eq!([0; 3].map(|live| remaining(&tape, live)), [7, 7, 6]);
        assert_eq!(clock(&tape, 0), 100);
        assert_eq!(tape.divergence(), None);
    }

    #[test]
    fn other_questions_are_told() {
        // How often remaining-ms and the clock are asked -> what is told.
        let table = [
            (
                2,
                0,
                "remaining-ms was not asked for, after 2 questions to the host",
            ),
            (
                2,
                1,
                "question 3 to the host was for the monotonic clock, where remaining-ms was recorded",
            ),
            (
                3,
                2,
                "question 5 to the host was for the monotonic clock, of which no more were recorded",
            ),
            (
                4,
                1,
                "question 4 to the host was for remaining-ms, where the monotonic clock was recorded",
            ),
        ];
        for (asks, clocks, told) in table {
            let tape = Tape::new(&Memory::Earlier(recorded().said.into())).expect("it plays");
            for _ in 0..asks {
                remaining(&tape, 1);
            }
            for _ in 0..clocks {
                clock(&tape, 1);
            }
            assert_eq!(tape.divergence().as_deref(), Some(told));
        }
    }

    #[test]
    fn requests_that_overlap_are_kept_apart() {
        let tape = Tape::new(&Memory::Kept).expect("it is kept");
        let asked = |url| match tape.ask("GET", url) {
            Asked::Live(slot) => slot,
            other => panic!("{other:?}"),
        };
        let (one, two) = (asked("http://h/1"), asked("http://h/2"));
        clock(&tape, 5);
        let body = |text: &str| vec![super::super::Piece(text.into())];
        tape.fill(two, 3, |exchange| exchange.body = body("two"));
        tape.fill(one, 3, |exchange| exchange.body = body("one"));
        let said = tape.take().said;
        // What comes too late belongs to nobody.
        tape.fill(one, 3, |_| panic!("it was taken"));
        let tape = Tape::new(&Memory::Earlier(said.into())).expect("it plays");
        for (url, expected) in [("http://h/1", "one"), ("http://h/2", "two")] {
            let asked = tape.ask("GET", url);
            assert!(matches!(&asked, Asked::Earlier(exchange) if exchange.body == body(expected)));
        }
        assert!(matches!(tape.ask("GET", "http://h/3"), Asked::Unknown));
        assert_eq!(
            tape.divergence().as_deref(),
            Some(
                "question 3 to the host was for GET http://h/3, where the monotonic clock was recorded"
            )
        );
        // Out of turn, but known.
        assert!(matches!(tape.ask("GET", "http://h/2"), Asked::Earlier(_)));
    }

    #[test]
    fn a_full_tape_takes_no_more_of_an_answer() {
        let tape = Tape::new(&Memory::Kept).expect("it is kept");
        let Asked::Live(slot) = tape.ask("GET", "http://h/1") else {
            panic!("it is to be asked");
        };
        tape.fill(slot, TAPE_BYTES_MAX, |_| panic!("it is too much"));
        tape.fill(slot, 1, |_| panic!("something is missing before it"));
        tape.fill(slot, 0, |exchange| exchange.ended = true);
        let Asked::Live(next) = tape.ask("GET", "http://h/2") else {
            panic!("it is to be asked");
        };
        tape.fill(next, 1, |_| panic!("it has no place"));
        let recorded = tape.take();
        assert!(recorded.cut && recorded.said.len() == 1, "{recorded:?}");
    }

    #[test]
    fn a_tape_has_an_end() {
        let tape = Tape::new(&Memory::Kept).expect("it is kept");
        for now in 0..100_000 {
            clock(&tape, now);
        }
        let recorded = tape.take();
        assert!(recorded.cut);
        assert_eq!(recorded.said.len(), TAPE_BYTES_MAX / ANSWER_BYTES);
    }
}
