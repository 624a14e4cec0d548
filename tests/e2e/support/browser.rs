//! A real browser, headless, driven by ChromeDriver over HTTP: pages as people see them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Client;
use super::skip::without_server;

/// A page that does not become what is waited for by then has failed.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a look at a page is from the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Nothing of it goes to the network by itself. In a sandbox of its own it would not start as root, as in CI.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser with one page.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// `None`, and said so, where there is none.
    pub(crate) fn start() -> Option<Browser> {
        let Some(driver) = find("chromedriver") else {
            without_server("chromedriver (Debian: chromium, chromium-driver)");
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let address = SocketAddr::from(([127, 0, 0, 1], port(&mut driver)));
        let mut browser = Browser {
            driver,
            address,
            session: String::new(),
            _profile: TempDir::new().expect("there is room for temporary files"),
        };
        browser.open();
        Some(browser)
    }

    fn open(&mut self) {
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        let flags = FLAGS.iter().copied().chain([profile.as_str()]);
        let options = json!({ "args": flags.collect::<Vec<_>>() });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let opened = self.ask("POST /session", Some(wanted));
        let id = opened["sessionId"].as_str();
        self.session = format!("/session/{}", id.expect("a session has an id"));
    }

    /// How the page is seen: width in CSS pixels, `light` or `dark`.
    pub(crate) fn look(&self, width: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", scheme);
    }

    /// Opens a page.
    pub(crate) fn visit(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// What a script, the body of a function, returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until the script returns something true, and gives it back.
    #[track_caller]
    pub(crate) fn wait(&self, script: &str) -> Value {
        let until = Instant::now() + TIMEOUT;
        loop {
            let value = self.script(script);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            let page = || self.script("return document.body.innerText");
            assert!(Instant::now() < until, "not seen: {script}\n{}", page());
            std::thread::sleep(PAUSE);
        }
    }

    /// The text of the first element that a selector finds, as it is seen.
    pub(crate) fn text(&self, selector: &str) -> String {
        let selector = serde_json::to_string(selector).expect("text is JSON");
        let text = self.script(&format!(
            "return document.querySelector({selector})?.innerText ?? ''"
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What the browser said of the page: errors of scripts, what a policy has kept away.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.iter().map(text).collect()
    }

    fn command(&self, name: &str, params: Value) {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": name, "params": params }),
        );
    }

    fn post(&self, path: &str, body: Value) -> Value {
        self.ask(&format!("POST {}{path}", self.session), Some(body))
    }

    #[track_caller]
    fn ask(&self, request: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut client = Client::connect(self.address);
        client.send(head + &body).expect("chromedriver listens");
        let answer = client.answer().expect("chromedriver answers");
        let value = &answer.json()["value"];
        assert_eq!(answer.status, 200, "{request} {body}: {value}");
        value.clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; without that it would outlive its driver.
        if !self.session.is_empty() {
            let head = format!(
                "DELETE {} HTTP/1.1\r\nHost: {}\r\n\r\n",
                self.session, self.address
            );
            let mut client = Client::connect(self.address);
            let _ = client.send(head).and_then(|()| client.head());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file())
}

/// It says itself where it listens.
fn port(driver: &mut Child) -> u16 {
    let stdout = driver.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let said = lines.find_map(|line| {
        let (_, port) = line.rsplit_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // Whatever else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    said.expect("chromedriver says where it listens")
}
