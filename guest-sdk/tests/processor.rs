//! What a plugin's author relies on, from `pre` to `post`, through the code that a component runs.

use std::cell::Cell;
use std::io::Write;

use linemill_sdk::testing::{Report, Run, run};
use linemill_sdk::{
    Batch, Closing, Counts, Error, Kind, Level, Line, Lines, Processor, Request, Result, corrupt,
    fatal, info, parse_setting_or, retry, setting,
};

/// Does what each line says, like `emit x` or `corrupt`.
#[derive(Default)]
struct Obedient {
    calls: u32,
    greeting: String,
}

impl Processor for Obedient {
    type Context = (String, u32);
    type Partial = Vec<String>;

    fn pre(request: &Request) -> Result<Self::Context> {
        if setting("pre").is_some() {
            return Err(corrupt!("pre"));
        }
        let greeting = request.attribute("greeting").unwrap_or("hello");
        Ok((greeting.to_owned(), parse_setting_or("calls", 0)?))
    }

    fn open(&mut self, (greeting, calls): Self::Context) -> Result<()> {
        if greeting == "none" {
            return Err(retry!("no greeting"));
        }
        (self.greeting, self.calls) = (greeting, calls);
        Ok(())
    }

    fn batch(&mut self, lines: Lines<'_>, batch: &mut Batch<Self::Partial>) -> Result<()> {
        self.calls += 1;
        match lines.as_bytes() {
            b"fail\n" => return Err(corrupt!("the whole batch")),
            b"write and fail\n" => {
                batch.emit("never seen");
                return Err(retry!("the whole batch"));
            }
            _ => batch.emit(""),
        }
        batch.each(lines, |line, batch| self.line(line, batch))
    }

    fn line(&mut self, line: Line<'_>, batch: &mut Batch<Self::Partial>) -> Result<()> {
        let text = line.as_str()?;
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        // What a line that fails leaves must be nothing.
        batch.emit(format!("[{command}"));
        batch.route("side").emit_line(text);
        batch.count("commands", command, 1);
        batch.sample("length", "", text.len() as f64);
        match command {
            "corrupt" => return Err(corrupt!("{rest}")),
            "retry" => return Err(retry!("{rest}")),
            "rest" => return Err(Error::retry_rest(rest, "part is done")),
            "fatal" => return Err(fatal!("{rest}")),
            "io" => return Err(std::io::Error::other("it broke").into()),
            "greet" => batch.emit(format!(" {}", self.greeting)),
            "calls" => write!(batch, " {}", self.calls)?,
            "log" => info!("{rest} {}", line.number()),
            "number" => write!(batch, " {}", line.number())?,
            "add" => batch.partial().push(rest.to_owned()),
            _ => {}
        }
        batch.emit("]\n");
        Ok(())
    }

    fn merge(into: &mut Self::Partial, from: Self::Partial) -> Result<()> {
        if from.iter().any(|word| word == "unmergeable") {
            return Err(fatal!("cannot merge"));
        }
        into.extend(from);
        Ok(())
    }

    fn post(
        request: &Request,
        counts: &Counts,
        total: Self::Partial,
        closing: &mut Closing,
    ) -> Result<()> {
        if total.iter().any(|word| word == "post") {
            return Err(retry!("post"));
        }
        let Counts {
            loaded, processed, ..
        } = counts;
        writeln!(
            closing,
            "{} {processed}/{loaded} {}",
            request.id,
            total.join("+")
        )?;
        closing.route("end").emit_line("bye");
        closing.count("posts", "", 1);
        closing.sample("length", "", -1.0);
        Ok(())
    }
}

fn faults<P: Processor>(report: &Report<P>) -> Vec<(u64, Kind, &str)> {
    let faults = report.faults.iter();
    faults
        .map(|fault| (fault.line, fault.kind, fault.reason.as_str()))
        .collect()
}

fn failure<P: Processor>(report: &Report<P>) -> (Kind, &str) {
    let failure = report.failure.as_ref().expect("the request failed");
    (failure.kind(), failure.reason())
}

#[test]
fn a_line_that_fails_leaves_its_fault_and_nothing_else() {
    let report = run::<Obedient>("a\ncorrupt bad\nb\nretry busy\nio\nrest x,y\n\u{e9}\n");
    assert_eq!(report.text(""), "[a]\n[b]\n[\u{e9}]\ntest 3/7 \n");
    assert_eq!(report.text("side"), "a\nb\n\u{e9}\n");
    assert_eq!(
        faults(&report),
        [
            (2, Kind::Corrupt, "bad"),
            (4, Kind::Retry, "busy"),
            (5, Kind::Retry, "it broke"),
            (6, Kind::Retry, "part is done"),
        ]
    );
    assert_eq!(report.faults[3].remainder.as_deref(), Some(&b"x,y"[..]));
    assert_eq!(report.counted("commands", "corrupt"), 0);
    assert_eq!(report.samples("length", ""), [1.0, 1.0, 2.0, -1.0]);
    let counts = report.counts;
    assert_eq!((counts.loaded, counts.corrupted, counts.retried), (7, 1, 3));
}

#[test]
fn counts_are_summed_over_lines_and_batches() {
    let report = Run::<Obedient>::new().batch_lines(2).run("a\na\na\nb\na\n");
    assert_eq!(report.counted("commands", "a"), 4);
    assert_eq!(report.counted("commands", "b"), 1);
    assert_eq!(report.counted("posts", ""), 1);
}

#[test]
fn partials_are_merged_in_line_order() {
    let report = Run::<Obedient>::new()
        .batch_lines(2)
        .run("add 1\nx\nx\nx\nadd 2\nadd 3\nadd 4");
    assert_eq!(report.total, ["1", "2", "3", "4"]);
    assert!(report.text("").ends_with("test 7/7 1+2+3+4\n"));
    assert_eq!(report.text("end"), "bye\n");
    assert_eq!(report.routes().collect::<Vec<_>>(), ["", "end", "side"]);
}

#[test]
fn every_instance_gets_the_context_of_pre_once() {
    let request = Request {
        attributes: vec![("greeting".to_owned(), "moin".to_owned())],
        ..Request::default()
    };
    let report = (Run::<Obedient>::new()
        .request(request)
        .setting("calls", " 10 "))
    .batch_lines(1)
    .instances(2)
    .run("greet\ngreet\ncalls\ncalls\ncalls\n");
    let expected = "[greet moin]\n[greet moin]\n[calls 12]\n[calls 12]\n[calls 13]\n 5/5 \n";
    assert_eq!(report.text(""), expected);
}

#[test]
fn lines_know_their_number_across_batches() {
    let report = Run::<Obedient>::new()
        .batch_lines(2)
        .run("number\n\nnumber\nlog at\n");
    assert!(report.text("").starts_with("[number 1]\n[]\n[number 3]\n"));
    assert_eq!(report.logs, [(Level::Info, "at 4".to_owned())]);
}

#[test]
fn a_batch_that_fails_blames_every_line_of_it() {
    let report = Run::<Obedient>::new()
        .batch_lines(1)
        .run("fail\na\nwrite and fail\n");
    let whole = "the whole batch";
    assert_eq!(
        faults(&report),
        [(1, Kind::Corrupt, whole), (3, Kind::Retry, whole)]
    );
    assert_eq!(report.text(""), "[a]\ntest 1/3 \n");
}

#[test]
fn fatal_stops_the_request() {
    let report = Run::<Obedient>::new()
        .batch_lines(2)
        .run("a\nb\nc\nfatal quota\ne\n");
    assert_eq!(failure(&report), (Kind::Fatal, "quota"));
    assert_eq!(
        report.text(""),
        "[a]\n[b]\n",
        "nothing of the batch, and no post"
    );
}

#[test]
fn every_stage_can_fail() {
    let report = Run::<Obedient>::new().setting("pre", "").run("a\n");
    assert_eq!(
        (failure(&report), report.counts.loaded),
        ((Kind::Corrupt, "pre"), 0)
    );

    let report = Run::<Obedient>::new().setting("calls", "many").run("a\n");
    let reason = "setting `calls` cannot be `many`: invalid digit found in string";
    assert_eq!(failure(&report), (Kind::Fatal, reason));

    let attributes = vec![("greeting".to_owned(), "none".to_owned())];
    let request = Request {
        attributes,
        ..Request::default()
    };
    let report = Run::<Obedient>::new().request(request).run("a\nb\n");
    assert_eq!(
        report.counts.retried, 2,
        "an instance that cannot be opened is tried again"
    );

    let report = Run::<Obedient>::new()
        .batch_lines(1)
        .run("add 1\nadd unmergeable\n");
    assert_eq!(failure(&report), (Kind::Fatal, "cannot merge"));

    assert_eq!(
        failure(&run::<Obedient>("add post\n")),
        (Kind::Retry, "post")
    );
}

#[test]
fn lines_are_handed_back_when_time_runs_out() {
    // Each look at the clock finds 100 ms less: after 1 line, then 1 again, and so on.
    let left = Cell::new(1_000);
    let clock = move || left.replace(left.get() - 100);
    let lines = "a\n".repeat(20);
    let report = Run::<Obedient>::new().clock(clock).run(&lines);
    assert_eq!(report.processed(), 9);
    assert_eq!(report.handed_back, (10..=20).collect::<Vec<_>>());
    assert_eq!((report.counts.loaded, report.counts.retried), (20, 11));
    assert_eq!(report.counted("commands", "a"), 9);
}

#[test]
fn one_line_of_a_batch_is_always_attempted() {
    let report = Run::<Obedient>::new()
        .remaining_ms(0)
        .batch_lines(2)
        .run("a\nb\nc\nd\n");
    assert_eq!((report.processed(), report.handed_back), (2, vec![2, 4]));
}

/// Looks at all lines of a batch before it judges any, as a bulk look-up does.
#[derive(Default)]
struct Bulk;

impl Processor for Bulk {
    type Context = ();
    type Partial = ();

    fn batch(&mut self, lines: Lines<'_>, batch: &mut Batch<()>) -> Result<()> {
        let lines: Vec<_> = lines.collect();
        for line in lines.iter().rev() {
            match line.as_str()? {
                "bad" => batch.fault(line.index(), retry!("bad")),
                "worse" => {
                    batch.fault(line.index(), retry!("bad"));
                    batch.fault(line.index(), corrupt!("worse"));
                }
                "fatal" => batch.fault(line.index(), fatal!("stop")),
                "back" => batch.attempted(line.index()),
                "beyond" => batch.fault(lines.len() as u32, corrupt!("nowhere")),
                "all" => batch.attempted(1_000),
                good => batch.emit_line(good),
            }
        }
        *batch.partial() = ();
        Ok(())
    }
}

#[test]
fn faults_of_a_bulk_are_in_order_and_once_for_each_line() {
    let report = run::<Bulk>("bad\na\nworse\nbad\nall");
    assert_eq!(
        faults(&report),
        [
            (1, Kind::Retry, "bad"),
            (3, Kind::Corrupt, "worse"),
            (4, Kind::Retry, "bad")
        ]
    );
    assert_eq!((report.text(""), report.processed()), ("a\n", 2));
}

#[test]
fn faults_of_lines_handed_back_are_forgotten() {
    let report = run::<Bulk>("bad\nback\nbad\n");
    assert_eq!(faults(&report), [(1, Kind::Retry, "bad")]);
    assert_eq!(report.handed_back, [2, 3]);
}

#[test]
fn a_bulk_can_stop_the_request() {
    assert_eq!(failure(&run::<Bulk>("bad\nfatal\n")), (Kind::Fatal, "stop"));
    let reason = "fault of line 1 in a batch of 1 lines";
    assert_eq!(failure(&run::<Bulk>("beyond\n")), (Kind::Fatal, reason));
}

/// Forgot what it is there for.
#[derive(Default)]
struct Empty;

impl Processor for Empty {
    type Context = ();
    type Partial = u8;
}

#[test]
fn what_was_not_implemented_is_not_passed_over() {
    let report = run::<Empty>("a\n");
    let reason = "the plugin implements neither `line` nor `batch`";
    assert_eq!(failure(&report), (Kind::Fatal, reason));
    assert!(run::<Empty>("").failure.is_none());
}

/// Has partials, but cannot merge them.
#[derive(Default)]
struct Unmerged;

impl Processor for Unmerged {
    type Context = ();
    type Partial = u8;

    fn line(&mut self, _: Line<'_>, batch: &mut Batch<u8>) -> Result<()> {
        *batch.partial() += 1;
        Ok(())
    }
}

#[test]
fn partials_are_not_lost_for_want_of_merge() {
    assert_eq!(
        run::<Unmerged>("a\nb\n").total,
        2,
        "one partial needs no merge"
    );
    let report = Run::<Unmerged>::new().batch_lines(1).run("a\nb\n");
    let reason = "the plugin has partials, but does not implement `merge`";
    assert_eq!(failure(&report), (Kind::Fatal, reason));
}

#[test]
fn without_a_run_there_is_no_host() {
    assert_eq!(setting("calls"), None);
    assert_eq!(linemill_sdk::remaining_ms(), u64::MAX);
    info!("goes nowhere");
}
