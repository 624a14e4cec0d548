//! The page in a real browser.

use serde_json::{Value, json};

use super::{component, replace, run, start};
use crate::support::{Browser, Case, Served};

/// Two lines that a filter keeps and drops, and what wants to be more than text.
const LINES: &[u8] = b"{\"ts\":1,\"user\":\"ada\",\"status\":200}\n\
    {\"ts\":2,\"user\":\"ken\",\"status\":404}\n\
    <script>window.owned = 1</script><img src=x onerror=\"window.owned = 1\"><b>bold</b>\n\
    \xff\x00\x1b[31m binary\n";

fn open(served: &Served) -> Option<Browser> {
    let browser = Browser::start()?;
    browser.visit(&served.url());
    browser.wait("return !document.getElementById('run').hidden");
    Some(browser)
}

/// The texts of all that a selector finds.
fn texts(browser: &Browser, selector: &str) -> Vec<String> {
    let selector = json!(selector);
    let found = browser.script(&format!(
        "return [...document.querySelectorAll({selector})].map((one) => one.innerText.trim())"
    ));
    serde_json::from_value(found).expect("texts")
}

#[test]
fn a_page_shows_lines_and_follows_changes() {
    let mut lines = LINES.to_vec();
    lines.extend_from_slice("z".repeat(3000).as_bytes());
    let served = start("ndjson-filter", &lines);
    run(&served, 1);
    let Some(browser) = open(&served) else {
        return;
    };
    assert_eq!(browser.text("h1"), "p.wasm");
    assert!(
        browser.text("#state").starts_with("Run 1"),
        "{}",
        browser.text("#state")
    );

    let shown = texts(&browser, "#lines-table tbody tr");
    assert_eq!(shown.len(), 5, "{shown:?}");
    assert!(
        shown[0].contains("ada") && shown[1].contains("(no output)"),
        "{shown:?}"
    );
    assert!(
        shown[2].contains("<script>window.owned = 1</script><img src=x"),
        "{}",
        shown[2]
    );
    assert!(
        shown[3].contains("\\xff\\x00\\x1b[31m binary"),
        "{}",
        shown[3]
    );
    assert!(shown[4].contains("… (2500 bytes more)"), "{}", shown[4]);
    let faults = texts(&browser, "#faults tbody tr");
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults[0].contains("corrupt") && faults[0].contains("<b>bold</b>"),
        "{faults:?}"
    );
    let bars = "return [...document.querySelectorAll('#histogram rect')].filter((bar) => bar.getBBox().height > 0).length";
    assert!(
        browser.script(bars).as_u64() > Some(1),
        "the histogram has bars"
    );
    assert_eq!(
        texts(&browser, "#outputs pre"),
        ["{\"ts\":1,\"user\":\"ada\",\"status\":200}"]
    );
    let markup = "return [window.owned ?? null, document.querySelectorAll('#main script, #main img').length]";
    assert_eq!(
        browser.script(markup),
        json!([null, 0]),
        "a line is text, whatever is in it"
    );

    // Another component: the page follows without being loaded again, and says what is different.
    browser
        .script("window.before = 'kept'; document.querySelector('input[value=changed]').click()");
    assert!(browser.script("return document.getElementById('difference').hidden") == true);
    replace(served.dir(), "p.wasm", component("unruly"));
    browser.wait("return document.getElementById('state').textContent.startsWith('Run 2')");
    assert_eq!(browser.script("return window.before"), "kept");
    let facts = browser.text("#difference-facts");
    assert!(
        facts.contains("4 lines do something else") && facts.contains("→"),
        "{facts}"
    );
    assert_eq!(texts(&browser, "#difference-lines tbody tr").len(), 4);
    assert_eq!(
        texts(&browser, "#lines-table tbody tr").len(),
        4,
        "the filter stays as it was chosen"
    );
    assert_eq!(browser.script(markup), json!([null, 0]));

    // A half-written one: an error, with the last run below it; then it goes on.
    let whole = component("sum");
    std::fs::write(served.dir().join("p.wasm"), &whole[..1000]).expect("it can be written to");
    browser.wait("return !document.getElementById('trouble').hidden");
    let trouble = browser.text("#trouble");
    assert!(
        trouble.contains("plugin p.wasm") && trouble.contains("run 2, the last good one"),
        "{trouble}"
    );
    assert!(browser.script("return document.getElementById('run').hidden") == false);
    std::fs::write(served.dir().join("p.wasm"), &whole).expect("it can be written to");
    browser.wait("return document.getElementById('state').textContent.startsWith('Run 3')");
    assert!(browser.script("return document.getElementById('trouble').hidden") == true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_connects_again() {
    let served = start("sum", "1\n");
    let port = served.address.port().to_string();
    run(&served, 1);
    let Some(browser) = open(&served) else {
        return;
    };
    let words = ["dev", "p.wasm", "sample.txt", "--port", &port];
    let other = Case::command(words)
        .file("p.wasm", component("unruly"))
        .file("sample.txt", "other\n");
    drop(served.stop());
    browser.wait("return document.getElementById('state').textContent.startsWith('Not connected')");
    assert!(
        browser.text("#run").contains("Run 1"),
        "the last run is still shown"
    );
    let again = Served::start(other);
    run(&again, 1);
    browser.wait("return document.getElementById('lines-table').innerText.includes('other')");
    assert!(browser.text("#state").starts_with("Run 1"));
}

#[test]
fn a_page_fits_phones_and_the_dark() {
    let lines = [LINES, "w".repeat(3000).as_bytes(), b"\n"].concat();
    let served = start("unruly", lines.repeat(60));
    run(&served, 1);
    replace(served.dir(), "p.wasm", component("ndjson-filter"));
    run(&served, 2);
    let Some(browser) = open(&served) else {
        return;
    };
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        for width in [320, 360, 768, 1280] {
            browser.look(width, scheme);
            let wide = browser.script(
                "return [...document.querySelectorAll('body *')].filter((one) => {
                    const right = one.getBoundingClientRect().right;
                    return right > innerWidth + 1 && !one.closest('.scroll, svg, .skip');
                }).map((one) => `${one.tagName} ${one.className} ${one.innerText}`.slice(0, 100)).slice(0, 5)",
            );
            assert_eq!(wide, json!([]), "{scheme} {width}");
            let scrolls = "return document.documentElement.scrollWidth > innerWidth";
            assert_eq!(browser.script(scrolls), false, "{scheme} {width}");
        }
        papers.push(browser.script("return getComputedStyle(document.body).backgroundColor"));
        assert!(
            contrast(&browser) >= 4.5,
            "{scheme}: {}",
            contrast(&browser)
        );
    }
    assert_ne!(papers[0], papers[1], "the dark is dark");

    // 300 lines: 200 at first, all of them on demand.
    let rows = "return document.querySelectorAll('#lines-table tbody tr').length";
    assert_eq!(browser.script(rows), 200);
    browser.script("document.getElementById('lines-more').click()");
    assert_eq!(browser.script(rows), 300);
    assert_eq!(
        browser.script("return document.getElementById('lines-more').hidden"),
        true
    );
    let unnamed = browser.script(
        "return [...document.querySelectorAll('input, button, table, section, svg')].filter((one) =>
            !(one.labels?.length || one.innerText?.trim() && one.tagName === 'BUTTON' || one.caption
              || one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.getAttribute('role') === 'alert')
        ).map((one) => one.outerHTML.slice(0, 100))",
    );
    assert_eq!(unnamed, json!([]), "all that can be used has a name");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The least contrast of text to what is behind it.
fn contrast(browser: &Browser) -> f64 {
    let least = browser.script(
        "const parse = (color) => color.match(/[\\d.]+/g).map(Number);
         const light = (color) => { const [r, g, b] = parse(color).map((v) => v / 255)
             .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
             return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
         const behind = (one) => { for (; one; one = one.parentElement) {
             const color = getComputedStyle(one).backgroundColor;
             if (parse(color)[3] !== 0) return color; } return 'rgb(255, 255, 255)'; };
         let least = 21;
         for (const one of document.querySelectorAll('main *, header *')) {
             if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
             if (!one.checkVisibility() || one.closest('.skip, svg')) continue;
             const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
             least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
         }
         return least;",
    );
    least
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {:?}", Value::to_string(&least)))
}
