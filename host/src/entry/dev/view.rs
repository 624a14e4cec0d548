//! What the page is told of a run: no more than a browser can show, and what is left out is counted. Pure.

use linemill::{Faulted, Rehearsal};
use serde_json::{Value, json};

use super::difference::Difference;
use super::trial::{Line, SHOWN_BYTES, Trial};
use crate::entry::quantile::{Quantiles, histogram};
use crate::entry::shown;

/// Lines that are shown from the beginning, whatever they did.
const LINES_MAX: usize = 2000;
/// Further ones that are shown because they were not processed, did something else, or cost most.
const REMARKABLE_MAX: usize = 1000;
/// So many count as costing most.
const COSTLY: usize = 10;
/// Faults that are shown.
const FAULTS_MAX: usize = 1000;
/// Of each route, so many lines are shown.
const OUTPUT_LINES_MAX: usize = 100;
/// Routes whose output is shown.
const ROUTES_MAX: usize = 32;

/// The run as JSON, beside the one before.
pub(super) fn view(trial: &Trial, before: Option<&Trial>) -> Value {
    let difference = before.map(|before| Difference::between(&before.lines, &trial.lines));
    let report = &trial.rehearsal.report;
    let fuel: Vec<u64> = trial.lines.iter().map(|line| line.fuel).collect();
    let nanos = trial.lines.iter().map(|line| line.time.as_nanos() as u64);
    json!({
        "number": trial.number,
        "at": trial.at,
        "took_ms": trial.took.as_millis() as u64,
        "request_ms": trial.rehearsal.time.as_secs_f64() * 1e3,
        "plugin": {
            "name": trial.plugin.id.name,
            "version": trial.plugin.id.version,
            "digest": trial.plugin.id.digest,
            "bytes": trial.plugin.size,
            "compile_ms": trial.plugin.compile_time.as_secs_f64() * 1e3,
            "cached": trial.plugin.cached,
        },
        "sample": {
            "lines": trial.sample.count,
            "bytes": trial.sample.bytes.len(),
            "cut": trial.sample.cut,
        },
        "report": report,
        "outputs": outputs(&trial.rehearsal),
        "routes_left_out": trial.rehearsal.outputs.len().saturating_sub(ROUTES_MAX),
        "faults": trial.rehearsal.faults.iter().take(FAULTS_MAX).map(fault).collect::<Vec<_>>(),
        "faults_all": trial.rehearsal.faults.len(),
        "lines": lines(&trial.lines, difference.as_ref()),
        "lines_all": trial.lines.len(),
        "lines_error": trial.lines_error,
        "fuel": Quantiles::of(fuel.iter().copied()),
        "nanos": Quantiles::of(nanos),
        "histogram": histogram(&fuel),
        "difference": difference.map(|difference| against(trial, before, &difference)),
        "logs": trial.logs,
    })
}

fn against(trial: &Trial, before: Option<&Trial>, difference: &Difference) -> Value {
    let Some(before) = before else {
        return Value::Null;
    };
    let (was, is) = (&before.rehearsal, &trial.rehearsal);
    let names = was.outputs.keys().chain(is.outputs.keys());
    let names: std::collections::BTreeSet<_> = names.collect();
    let changed = names
        .into_iter()
        .filter(|name| was.outputs.get(*name) != is.outputs.get(*name));
    let bytes = |rehearsal: &Rehearsal, name: &str| rehearsal.outputs.get(name).map(|b| b.len());
    let routes = changed.take(ROUTES_MAX).map(|name| {
        json!({
            "route": name,
            "before": bytes(was, name),
            "now": bytes(is, name),
        })
    });
    json!({
        "number": before.number,
        "digest": before.plugin.id.digest,
        "same_sample": before.sample == trial.sample,
        "routes": routes.collect::<Vec<_>>(),
        "status": was.report.status,
        "processed": was.report.counts.processed,
        "of": difference,
    })
}

fn outputs(rehearsal: &Rehearsal) -> Vec<Value> {
    let one = |(route, bytes): (&String, &bytes::Bytes)| {
        let lines = || bytes.split_inclusive(|&byte| byte == b'\n');
        let shown = lines()
            .take(OUTPUT_LINES_MAX)
            .map(|line| shown::line(line, SHOWN_BYTES).to_string());
        json!({
            "route": route,
            "bytes": bytes.len(),
            "lines": lines().count(),
            "shown": shown.collect::<Vec<_>>(),
        })
    };
    rehearsal.outputs.iter().take(ROUTES_MAX).map(one).collect()
}

fn fault(fault: &Faulted) -> Value {
    json!({
        "line": fault.line,
        "kind": fault.kind,
        "reason": shown::text(fault.reason.as_bytes(), SHOWN_BYTES * 4).to_string(),
        "text": shown::text(&fault.text, SHOWN_BYTES).to_string(),
    })
}

/// The first lines, and of the others those that are worth a look.
fn lines(lines: &[Line], difference: Option<&Difference>) -> Vec<Value> {
    let changed = difference.map(Difference::shown).unwrap_or_default();
    let mut costly: Vec<&Line> = lines.iter().collect();
    costly.sort_by_key(|line| (std::cmp::Reverse(line.fuel), line.number));
    costly.truncate(COSTLY);
    let (first, others) = lines.split_at(lines.len().min(LINES_MAX));
    let remarkable = others.iter().filter(|line| {
        line.kind != "processed"
            || changed.contains(&line.number)
            || costly.iter().any(|other| other.number == line.number)
    });
    let all = first.iter().chain(remarkable.take(REMARKABLE_MAX));
    all.map(|line| {
        let outputs: Vec<Value> = line
            .outputs
            .iter()
            .map(|(route, shown)| json!([route, shown.to_string()]))
            .collect();
        json!({
            "n": line.number,
            "in": line.text.to_string(),
            "kind": line.kind,
            "why": line.reason,
            "out": outputs,
            "more": line.more_outputs,
            "fuel": line.fuel,
            "us": line.time.as_secs_f64() * 1e6,
            "changed": changed.contains(&line.number),
        })
    })
    .collect()
}
