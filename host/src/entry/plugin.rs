//! `linemill plugin`: which versions of the plugin a server has, and which one serves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::ALL_PROCESSED;

/// A check fetches, compiles and tries a version before it answers.
const TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// So much of an answer that is none of linemill's is shown.
const SHOWN_CHARS: usize = 200;

/// What `plugin` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done; 2 not done, and why.")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// URL of the server
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// File that holds the server's admin_token [default: the variable LINEMILL_ADMIN_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Tell which versions there are, and what they did
    Status,
    /// Go back to the version before
    Rollback,
    /// Take only this version from now on
    Pin {
        /// sha256: and 64 hexadecimal digits
        digest: String,
    },
    /// Take any version again
    Unpin,
    /// Look for a newer version now
    Check,
}

/// Asks the server.
pub(crate) async fn plugin(args: Args) -> Result<ExitCode> {
    let (method, action) = match &args.what {
        What::Status => (Method::GET, ""),
        What::Rollback => (Method::POST, "/rollback"),
        What::Pin { .. } => (Method::POST, "/pin"),
        What::Unpin => (Method::POST, "/unpin"),
        What::Check => (Method::POST, "/check"),
    };
    let mut url = admin_url(&args.server, action)?;
    if let What::Pin { digest } = &args.what {
        url.query_pairs_mut().append_pair("digest", digest);
    }
    let answer = ask(method, url, &token(&args)?).await?;
    match (args.json, answer["done"].as_str()) {
        (true, _) => super::print(&answer.to_string())?,
        (false, Some(done)) => super::print(done)?,
        (false, None) => super::print(summary(&answer).trim_end())?,
    }
    Ok(ExitCode::from(ALL_PROCESSED))
}

fn admin_url(server: &str, action: &str) -> Result<Url> {
    let url = format!("{}/admin/plugin{action}", server.trim_end_matches('/'));
    match Url::parse(&url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => bail!("--server {server}: a URL such as http://127.0.0.1:8080 is expected"),
    }
}

fn token(args: &Args) -> Result<String> {
    let token = match &args.token_file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("could not read the token in {}", file.display()))?,
        None => std::env::var("LINEMILL_ADMIN_TOKEN")
            .context("no token: set LINEMILL_ADMIN_TOKEN, or name a file with --token-file")?,
    };
    Ok(token.trim().to_owned())
}

async fn ask(method: Method, url: Url, token: &str) -> Result<Value> {
    let server = url.origin().ascii_serialization();
    // Where a redirect leads the token has no business.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()?;
    let asking = client.request(method, url).bearer_auth(token).send();
    let response = asking
        .await
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("{server} does not answer"))?;
    let status = response.status();
    let text = response.text().await.map_err(reqwest::Error::without_url);
    let text = text.with_context(|| format!("the answer of {server} broke off"))?;
    let answer: Option<Value> = serde_json::from_str(&text).ok();
    match (status, answer) {
        (StatusCode::OK, Some(answer)) => Ok(answer),
        (_, Some(answer)) if answer["error"].is_string() => {
            bail!("{server}: {}", answer["error"].as_str().unwrap_or_default())
        }
        _ => {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            bail!(
                "{server} is no linemill server: it answers {status} {}",
                shown.trim()
            )
        }
    }
}

/// A line for each version, and one for what is wrong.
fn summary(status: &Value) -> String {
    let mut text = String::new();
    for role in ["stable", "candidate", "previous"] {
        let version = &status[role];
        if let Some(digest) = version["digest"].as_str() {
            let name = version["version"].as_str().unwrap_or("-");
            let since = version["since"].as_str().unwrap_or("-");
            let requests = version["figures"]["requests"].as_u64().unwrap_or(0);
            text.push_str(&format!(
                "{role:10} {digest} version {name}, since {since}, {requests} requests\n"
            ));
        }
    }
    if let Some(digest) = status["pinned"].as_str() {
        text.push_str(&format!("pinned     {digest}\n"));
    }
    for refused in status["refused"].as_array().into_iter().flatten() {
        let (digest, reason) = (refused["digest"].as_str(), refused["reason"].as_str());
        let (digest, reason) = (digest.unwrap_or("-"), reason.unwrap_or("-"));
        text.push_str(&format!("refused    {digest}: {reason}\n"));
    }
    if let Some(why) = status["unused"].as_str() {
        text.push_str(&format!("not used   {why}\n"));
    }
    if let (Some(at), Some(reason)) = (
        status["last_failure"]["at"].as_str(),
        status["last_failure"]["reason"].as_str(),
    ) {
        text.push_str(&format!("failed     {at}: {reason}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let table = [
            ("http://h:1", "http://h:1/admin/plugin/pin"),
            ("https://h/", "https://h/admin/plugin/pin"),
            ("http://h/linemill", "http://h/linemill/admin/plugin/pin"),
        ];
        for (server, want) in table {
            assert_eq!(admin_url(server, "/pin").unwrap().as_str(), want);
        }
        for server in ["", "h:1", "ftp://h", "localhost"] {
            assert!(admin_url(server, "").is_err(), "{server}");
        }
    }

    #[test]
    fn a_status_for_people() {
        let status = serde_json::json!({
            "stable": { "digest": "sha256:b", "version": "2", "since": "t", "figures": { "requests": 7 } },
            "candidate": null,
            "pinned": "sha256:b",
            "refused": [{ "digest": "sha256:c", "reason": "it traps" }],
            "last_failure": { "at": "t", "reason": "gone" },
        });
        let want = "stable     sha256:b version 2, since t, 7 requests\npinned     sha256:b\n\
            refused    sha256:c: it traps\nfailed     t: gone\n";
        assert_eq!(summary(&status), want);
    }
}
