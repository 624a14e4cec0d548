//! What was measured, for a person. Pure.

use std::fmt::Write;

use super::Measured;
use super::cost::Worst;
use super::phases::Throughput;
use crate::entry::shown;

/// The whole text.
pub(super) fn of(measured: &Measured) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write_all(&mut text, measured);
    text
}

fn write_all(out: &mut String, measured: &Measured) -> std::fmt::Result {
    head(out, measured)?;
    throughput(out, &measured.throughput)?;
    lines(out, measured)?;
    batches(out, measured)?;
    memory(out, measured)?;
    lambda(out, measured)
}

fn head(out: &mut String, measured: &Measured) -> std::fmt::Result {
    let (plugin, sample) = (&measured.plugin, &measured.sample);
    let version = plugin.version.as_deref().map_or(String::new(), |version| {
        format!(" {}", shown::text(version.as_bytes(), 80))
    });
    writeln!(
        out,
        "plugin      {}{version}  {}",
        plugin.name, plugin.digest
    )?;
    let cut = if sample.cut {
        "; the source goes on, see --lines and --bytes"
    } else {
        ""
    };
    let size = bytes(sample.bytes as f64);
    writeln!(
        out,
        "sample      {}: {} lines, {size}{cut}",
        measured.source,
        count(sample.lines as f64)
    )
}

fn throughput(out: &mut String, of: &Throughput) -> std::fmt::Result {
    let (lines, size) = (&of.lines_per_second, &of.bytes_per_second);
    writeln!(
        out,
        "\nspeed       {} lines/s ({} to {}), {}/s ({} to {})",
        count(lines.median),
        count(lines.min),
        count(lines.max),
        bytes(size.median),
        bytes(size.min),
        bytes(size.max),
    )?;
    writeln!(
        out,
        "            median of {} rounds of {} lines, {}; concurrency {}, output in memory",
        of.rounds.len(),
        count(of.round_lines as f64),
        bytes(of.round_bytes as f64),
        of.concurrency
    )?;
    let Some(round) = of.rounds.last() else {
        return Ok(());
    };
    let left = round.lines - round.processed;
    if left > 0 {
        let share = 100.0 * left as f64 / round.lines.max(1) as f64;
        writeln!(
            out,
            "            {share:.2} % of the lines were not processed: {} corrupted, {} to retry or failed, {} calls trapped",
            count(round.corrupted as f64),
            count(round.retried as f64),
            count(of.traps as f64)
        )?;
    }
    if (round.lines as usize) < of.round_lines {
        writeln!(
            out,
            "            only {} lines of a round were run: {}",
            count(round.lines as f64),
            match &of.error {
                Some(error) => shown::text(error.as_bytes(), 400).to_string(),
                None => "it takes too long".to_owned(),
            }
        )?;
    }
    Ok(())
}

fn lines(out: &mut String, measured: &Measured) -> std::fmt::Result {
    let costs = &measured.lines;
    let all = match costs.measured < measured.sample.lines {
        true => format!("the first {} lines", count(costs.measured as f64)),
        false => format!("{} lines", count(costs.measured as f64)),
    };
    writeln!(
        out,
        "\nfor a line        median         p95         p99        most   ({all}, each in a call of its own)"
    )?;
    let fuel = &costs.fuel;
    let row = [fuel.p50, fuel.p95, fuel.p99, fuel.max].map(|fuel| count(fuel as f64));
    writeln!(out, "  fuel      {}", columns(&row))?;
    let nanos = &costs.nanos;
    let row = [nanos.p50, nanos.p95, nanos.p99, nanos.max].map(time);
    writeln!(out, "  time      {}", columns(&row))?;
    worst(out, "most fuel", &costs.most_fuel)?;
    worst(out, "most time", &costs.most_time)
}

fn columns(row: &[String]) -> String {
    row.iter().map(|cell| format!("{cell:>12}")).collect()
}

fn worst(out: &mut String, what: &str, lines: &[Worst]) -> std::fmt::Result {
    writeln!(out, "\n{what}       line        fuel        time")?;
    for line in lines {
        writeln!(
            out,
            "{:>20}{:>12}{:>12}  {:9}  {}",
            line.line,
            count(line.fuel as f64),
            time(line.nanos),
            line.did,
            line.text
        )?;
    }
    Ok(())
}

fn batches(out: &mut String, measured: &Measured) -> std::fmt::Result {
    writeln!(
        out,
        "\nbatches of     lines/s     bytes/s   fuel/line   one takes    instance   (one core)"
    )?;
    for run in &measured.batches {
        let row = [
            count(run.lines_per_second),
            bytes(run.bytes_per_second),
            count(run.fuel_per_line),
            time((run.batch_ms * 1e6) as u64),
            bytes(run.memory_bytes as f64),
        ];
        writeln!(out, "{:>10}{}", size(run.batch_bytes), columns(&row))?;
    }
    match &measured.recommended {
        Some(best) => writeln!(
            out,
            "recommended {} = {} ({}): the smallest that is about as fast as the fastest",
            best.setting,
            best.value,
            size(best.value)
        ),
        None => writeln!(out, "recommended nothing: most lines trap, or none was run"),
    }
}

fn memory(out: &mut String, measured: &Measured) -> std::fmt::Result {
    let process = measured.memory.process_bytes;
    let process = process.map_or(String::new(), |all| {
        format!(
            "; {} of this process, sample and output in memory",
            bytes(all as f64)
        )
    });
    let instance = bytes(measured.memory.instance_bytes as f64);
    writeln!(
        out,
        "\nmemory      {instance} of an instance at most{process}"
    )
}

fn lambda(out: &mut String, measured: &Measured) -> std::fmt::Result {
    let Some(estimate) = &measured.lambda else {
        return writeln!(
            out,
            "\nlambda      no estimate: most lines trap, or none was run"
        );
    };
    let period = estimate.period.name();
    writeln!(
        out,
        "\nlambda      {} a {period} with {} MB ({:.2} vCPU) at {}/s: {} s, {} GB-s, {} requests of {} ({:.2} s each)",
        bytes(estimate.bytes),
        estimate.memory_mb,
        estimate.vcpus,
        bytes(estimate.bytes_per_second),
        count(estimate.seconds),
        count(estimate.gb_seconds),
        count(estimate.requests),
        bytes(estimate.request_bytes as f64),
        estimate.request_seconds,
    )?;
    writeln!(
        out,
        "            ${} a {period}, ${} in 30 days; {:.2} functions busy on average",
        dollars(estimate.dollars),
        dollars(estimate.dollars_month),
        estimate.busy
    )?;
    writeln!(
        out,
        "            at ${} a GB-second and ${} a million requests; compute only, one vCPU taken for a core of this machine",
        estimate.prices.gb_second, estimate.prices.million_requests
    )
}

/// Three digits at least, in groups of three.
fn count(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = value;
    let mut at = 0;
    while value >= 999.5 && at + 1 < units.len() {
        value /= 1000.0;
        at += 1;
    }
    match (at, value < 10.0, value < 100.0) {
        (0, ..) => format!("{value:.0} B"),
        (_, true, _) => format!("{value:.2} {}", units[at]),
        (_, _, true) => format!("{value:.1} {}", units[at]),
        _ => format!("{value:.0} {}", units[at]),
    }
}

/// Sizes of batches are powers of two.
fn size(bytes: usize) -> String {
    match bytes {
        large if large.is_multiple_of(1 << 20) => format!("{} MiB", large >> 20),
        small => format!("{} KiB", small >> 10),
    }
}

fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

fn dollars(value: f64) -> String {
    match value {
        v if v >= 100.0 => count(v),
        v if v >= 0.01 => format!("{v:.2}"),
        v => format!("{v:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        let counts = [
            (0.0, "0"),
            (7.25, "7.2"),
            (999.0, "999"),
            (1234567.0, "1 234 567"),
        ];
        for (value, want) in counts {
            assert_eq!(count(value), want);
        }
        let sizes = [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "1.00 kB"),
            (123_456_789.0, "123 MB"),
            (1e12, "1.00 TB"),
            (1e19, "10000 PB"),
        ];
        for (value, want) in sizes {
            assert_eq!(bytes(value), want);
        }
        let times = [
            (5, "5 ns"),
            (1500, "1.50 µs"),
            (2_500_000, "2.50 ms"),
            (3_000_000_000, "3.00 s"),
        ];
        for (nanos, want) in times {
            assert_eq!(time(nanos), want);
        }
        for (value, want) in [(0.000_1, "0.000100"), (1.5, "1.50"), (12_345.6, "12 346")] {
            assert_eq!(dollars(value), want);
        }
    }
}
