//! Tests of the choice and of the rest: every kind, every number of lines that were run.

use super::*;
use crate::faults::{Kind, Pick, Row};
use crate::storage::testing::Place;

const OBJECT: &str = "a-retry01.txt";
/// Of these, the second and third are one remainder, and the last two were never run.
const LINES: &str = "one\ntwo\nthree\nfour\nfive\nsix";

fn row(line: u64, kind: Kind, lines: u64) -> String {
    let offset = line * 100;
    format!(
        "{{\"line\":{line},\"offset\":{offset},\"kind\":\"{kind}\",\"reason\":\"r\",\"attempt\":0,\"plugin\":\"p\",\"lines\":{lines}}}\n"
    )
}

fn rows() -> String {
    row(11, Kind::Retry, 1) + &row(14, Kind::Partial, 2) + &row(17, Kind::Retry, 1)
}

async fn place(place: Place) -> Place {
    place.put(OBJECT, LINES).await.expect("put");
    let rows_name = request::sidecar(OBJECT);
    place.put(&rows_name, &rows()).await.expect("put");
    place
}

async fn choose(place: &Place, kinds: &[Kind]) -> Chosen {
    let pick = Pick::new(kinds, &[]).expect("a choice");
    let chosen = Chosen::of(&place.storage, &place.url(OBJECT), &pick).await;
    chosen.expect("they belong together")
}

/// What the rest is: its lines, and the number of each in its source where a row is about it.
async fn rest_of(place: &Place, chosen: &Chosen, loaded: u64) -> Vec<(String, Option<u64>)> {
    let source = chosen.request.as_ref().expect("something").source.clone();
    let redrive = source.redrive.clone().expect("it is one");
    let rest = redrive.rest(&place.storage, &source, loaded).await;
    let Some(rest) = rest.expect("it can be written") else {
        return Vec::new();
    };
    let count = rest.count;
    let mut texts = [String::new(), String::new()];
    for (text, written) in texts.iter_mut().zip([Some(rest.lines), rest.rows]) {
        let Some(written) = written else { continue };
        let url = request::rest_of(OBJECT);
        let published = written.seal().await.expect("stored").publish().await;
        let published = published.expect("published");
        let name = published
            .url()
            .rsplit('/')
            .next()
            .expect("a name")
            .to_owned();
        assert!(name.starts_with(&url), "{name}");
        *text = place.text(&name).await;
        published.retract().await.expect("taken back");
    }
    let [lines, rows] = texts;
    let rows = rows.lines().flat_map(|json| {
        let row = Row::parse(json.as_bytes()).expect("a row");
        std::iter::repeat_n(Some(row.line), row.lines as usize)
    });
    let rows: Vec<_> = rows
        .chain(std::iter::repeat(None))
        .take(lines.lines().count())
        .collect();
    assert_eq!(count, rows.len() as u64);
    assert!(lines.ends_with('\n'));
    lines.lines().map(str::to_owned).zip(rows).collect()
}

#[tokio::test]
async fn the_rest_is_all_but_what_was_run() {
    let all: Vec<_> = LINES
        .lines()
        .map(str::to_owned)
        .zip([Some(11), Some(14), Some(14), Some(17), None, None])
        .collect();
    let kinds: [(&[Kind], &[usize]); 5] = [
        (&[], &[0, 1, 2, 3, 4, 5]),
        (&[Kind::Retry], &[0, 3]),
        (&[Kind::Partial], &[1, 2]),
        (&[Kind::Unread], &[4, 5]),
        (&[Kind::Partial, Kind::Unread], &[1, 2, 4, 5]),
    ];
    for at in [Place::local(), Place::memory()] {
        let place = place(at).await;
        for (kinds, indices) in kinds {
            let chosen = choose(&place, kinds).await;
            assert_eq!((chosen.lines, chosen.picked), (6, indices.len() as u64));
            for loaded in 0..=indices.len() {
                let run = &indices[..loaded];
                let left = all
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| !run.contains(index));
                let expected: Vec<_> = left.map(|(_, line)| line.clone()).collect();
                let rest = rest_of(&place, &chosen, loaded as u64).await;
                assert_eq!(rest, expected, "{kinds:?}, {loaded} run");
            }
        }
    }
}

#[tokio::test]
async fn chosen_lines_are_told_by_their_source() {
    let place = place(Place::memory()).await;
    let chosen = choose(&place, &[Kind::Partial, Kind::Unread]).await;
    let request = chosen.request.expect("something");
    assert_eq!(request.attempt, 1);
    let redrive = request.source.redrive.expect("it is one");
    let origins: Vec<_> = (0..6).map(|line| redrive.origin(line)).collect();
    // What was never run is told by its place in the object.
    let expected = [
        None,
        Some((14, 1400)),
        Some((14, 1400)),
        Some((5, 19)),
        Some((6, 24)),
        None,
    ];
    assert_eq!(origins, expected);
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_written_on() {
    for name in [OBJECT.to_owned(), request::sidecar(OBJECT)] {
        for at in [Place::local(), Place::memory()] {
            let place = place(at).await;
            let chosen = choose(&place, &[Kind::Retry]).await;
            let old = place.text(&name).await;
            place.storage.delete(&place.url(&name)).await.expect("gone");
            place.put(&name, &format!("{old}{old}")).await.expect("put");
            let source = chosen.request.expect("something").source;
            let redrive = source.redrive.clone().expect("it is one");
            let rest = redrive.rest(&place.storage, &source, 1).await;
            let error = rest.err().expect("it is another one");
            assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
            assert_eq!(place.names().await.len(), 2, "nothing is written");
        }
    }
}
