//! Killed at any moment: the source is still there, or everything is complete and visible; nothing half-written is.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Case, Files, Outcome, gzip};

/// Kills at random moments, and kills when the first object has become visible.
const AT_RANDOM: u64 = 80;
const WHEN_VISIBLE: u64 = 36;
const WHILE_COMPILING: u64 = 12;

const COMPLETIONS: [&str; 3] = ["keep", "delete", "move"];

/// A small generator of numbers (xorshift64*): the same on every run of the tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ten thousand lines for many places, some of which take their time.
fn lines() -> String {
    let line = |n: usize| match n % 100 {
        1 => format!("!corrupt c{n}\n"),
        2 => format!("!retry r{n}\n"),
        3 => format!("!route one {n}\n"),
        4 => format!("!route two {n}\n"),
        5 => format!("!route three {n}\n"),
        6 if n % 1000 == 6 => "!trap\n".to_owned(),
        7 if n % 200 == 7 => "!sleep 1\n".to_owned(),
        _ => format!("line {n}\n"),
    };
    (0..10_000).map(line).collect()
}

fn case(name: &str, completion: &str) -> Case {
    let bytes = match name.ends_with(".gz") {
        true => gzip(lines()),
        false => lines().into_bytes(),
    };
    let mut case = Case::new("unruly")
        .input(name, bytes)
        .args(["--concurrency", "2", "--completion", completion])
        .args(["--move-to", "done"])
        .set("batch_lines", 100);
    for route in ["one", "two", "three"] {
        case = case.args(["--route", &format!("{route}=out/{route}/$SourceName.gz")]);
    }
    case
}

/// What an undisturbed run leaves, and how long it takes.
struct Whole {
    files: Files,
    took: Duration,
}

impl Whole {
    fn of(name: &str) -> Whole {
        let start = Instant::now();
        let outcome = case(name, "move").run();
        let took = start.elapsed();
        assert_eq!(outcome.exit, Some(1));
        assert_eq!(outcome.after.len(), 9, "{:?}", outcome.after.keys());
        Whole {
            files: outcome.after,
            took,
        }
    }

    #[track_caller]
    fn check(&self, outcome: &Outcome, name: &str, what: &str) {
        let moved = format!("done/{name}");
        for (file, bytes) in &outcome.after {
            let expected = match file == name {
                true => &outcome.before[name],
                false => self
                    .files
                    .get(file)
                    .unwrap_or_else(|| panic!("{what}: {file} is litter")),
            };
            assert!(bytes == expected, "{what}: {file} is not complete");
        }
        let kept = outcome.after.contains_key(name);
        let all: BTreeSet<_> = self.files.keys().filter(|file| **file != moved).collect();
        let seen: BTreeSet<_> = outcome.after.keys().collect();
        assert!(
            kept || seen.is_superset(&all),
            "{what}: only {seen:?} is there"
        );
        assert!(!what.contains("keep") || kept, "{what}: the source is gone");
        assert!(
            !what.contains("move") || kept || seen.contains(&moved),
            "{what}"
        );
    }
}

/// Now and then it is packed.
fn name_of(round: u64) -> &'static str {
    if round.is_multiple_of(4) {
        "a.txt.gz"
    } else {
        "a.txt"
    }
}

#[test]
fn killed_at_random_moments() {
    let mut random = Random(0x5eed);
    let wholes = ["a.txt", "a.txt.gz"].map(|name| (name, Whole::of(name)));
    let mut left = [0; 2];
    for round in 0..AT_RANDOM {
        let name = name_of(round);
        let (_, whole) = wholes.iter().find(|(known, _)| *known == name).unwrap();
        let completion = COMPLETIONS[round as usize % 3];
        let delay = whole.took.mul_f64(random.fraction() * 1.2);
        let running = case(name, completion).start();
        std::thread::sleep(delay);
        let outcome = running.kill();
        whole.check(
            &outcome,
            name,
            &format!("{name}, {completion}, killed after {delay:?}"),
        );
        left[usize::from(outcome.after.len() > 1)] += 1;
    }
    println!(
        "killed {} times before anything was visible, {} times later",
        left[0], left[1]
    );
}

/// The window between the first visible object and the completion of the source is small: this hits it.
#[test]
fn killed_while_objects_become_visible() {
    let mut random = Random(0xfeed);
    let name = "a.txt";
    let whole = Whole::of(name);
    let mut between = 0;
    for round in 0..WHEN_VISIBLE {
        let completion = COMPLETIONS[round as usize % 3];
        let case = case(name, completion);
        let first = case.dir().join("out/corruption/a.txt.faults.ndjson");
        let running = case.start();
        wait_for(&first);
        let moment = Instant::now() + Duration::from_micros((random.fraction() * 6000.0) as u64);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        let outcome = running.kill();
        whole.check(
            &outcome,
            name,
            &format!("{completion}, killed when visible"),
        );
        between += u64::from(outcome.after.len() < 9);
    }
    println!("killed {between} times with some objects visible and some not");
}

/// What a killed run left in the cache of compiled code does not keep the next one.
#[test]
fn killed_while_it_compiles() {
    let case = || {
        let case = Case::new("unruly").input("a.txt", "a\n");
        let cache = case.dir().join("cache");
        case.env("XDG_CACHE_HOME", cache.to_str().unwrap())
    };
    let start = Instant::now();
    assert_eq!(case().run().exit, Some(0));
    let took = start.elapsed();
    let mut random = Random(0xc0de);
    for _ in 0..WHILE_COMPILING {
        let case = case();
        let running = case.start();
        std::thread::sleep(took.mul_f64(random.fraction()));
        drop(running.kill());
        let outcome = case.again().source("a.txt").out("again").run();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.lines("again/destination/a.txt"), ["a"]);
    }
}

fn wait_for(file: &Path) {
    let until = Instant::now() + Duration::from_secs(30);
    while !file.exists() {
        assert!(Instant::now() < until, "{} does not appear", file.display());
        std::hint::spin_loop();
    }
}
