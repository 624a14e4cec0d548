//! `linemill replay`: a recorded failure, run again here; with another plugin, whether that one fixes it.

mod account;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use linemill::{Capsule, Config, HttpGrant, Origin, Plugin, Replay, Storage};
use tokio::io::AsyncReadExt;

use super::settings::Settings;
use account::{Account, Verdict};

/// More is no object of capsules.
const CAPSULES_BYTES_MAX: u64 = 1 << 30;
/// A batch is made smaller for no longer than this.
const MINIMISE_TIME: Duration = Duration::from_secs(120);

const EXIT_CODES: &str = "\
Exit codes: 0 each failure is reproduced, at the same fuel (with another plugin: it is gone); 1 one is not reproduced \
(with another plugin: it still fails the same); 3 with another plugin, one fails otherwise; 2 could not be run.

With --minimise and without --to the smaller capsule is printed, and the account goes to stderr.";

/// What `replay` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Paths or URLs of capsules (`….capsules.ndjson`); `-` for standard input
    #[arg(required = true, value_name = "CAPSULES")]
    objects: Vec<String>,
    /// Only the failure of this line of the source
    #[arg(long, value_name = "N")]
    line: Option<u64>,
    /// Make the batch as short as it goes, so that it still fails in the same way
    #[arg(long, conflicts_with = "show")]
    minimise: bool,
    /// Where the smaller capsule is written; never over a file that is there
    #[arg(long, value_name = "FILE", requires = "minimise")]
    to: Option<PathBuf>,
    /// How many smaller batches are tried
    #[arg(long, value_name = "N", default_value_t = 2000, requires = "minimise")]
    tries: usize,
    /// Only tell what the capsules say; no plugin is needed
    #[arg(long)]
    show: bool,
    /// Take a capsule that was edited
    #[arg(long)]
    force: bool,
    /// Print the account as JSON, one line for each capsule
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// A plugin, for the limits that it was loaded with.
struct Loaded {
    config: Config,
    plugin: Plugin,
}

/// What all replays of one call share.
struct Session {
    args: Args,
    config: Config,
    storage: Storage,
    /// The component's bytes, once they were asked for.
    component: Option<Bytes>,
    /// The plugin was named for this call: it may be another one.
    named: bool,
    loaded: Option<Loaded>,
    smaller: Vec<u8>,
}

/// Replays; the worst of all decides the exit code.
pub(crate) async fn replay(args: Args) -> Result<ExitCode> {
    if args.minimise && args.json && args.to.is_none() {
        bail!("--minimise and --json both print: say --to FILE");
    }
    let effective = args.settings.effective()?;
    let named = matches!(effective.origins.get("plugin"), Some(Origin::Flag(_)));
    let mut session = Session {
        args,
        config: effective.config,
        storage: Storage::new(),
        component: None,
        named,
        loaded: None,
        smaller: Vec::new(),
    };
    let mut worst = Verdict::Shown;
    for object in session.args.objects.clone() {
        worst = worst.max(session.replay_object(&object).await?);
    }
    session.write_smaller()?;
    Ok(ExitCode::from(worst.exit_code()))
}

impl Session {
    async fn replay_object(&mut self, object: &str) -> Result<Verdict> {
        let shown = linemill::mask_secrets(object);
        let bytes = self.read(object).await?;
        let capsules = Capsule::parse_all(&bytes);
        let count = capsules.len();
        let mut worst = None;
        let mut others = Vec::new();
        for (number, capsule) in (1..).zip(capsules) {
            let place = format!("capsule {number} of {count} in {shown}");
            let verdict = match capsule {
                Ok(capsule) if self.args.line.is_some_and(|line| line != capsule.line) => {
                    others.push(capsule.line.to_string());
                    continue;
                }
                Ok(capsule) => self.replay_one(&place, capsule).await,
                // The others can still be run.
                Err(error) => Err(anyhow::anyhow!("{shown} {error}")),
            };
            let verdict = verdict.unwrap_or_else(|error| {
                super::say(&format!("linemill: {error:#}"));
                Verdict::CouldNotRun
            });
            worst = worst.max(Some(verdict));
        }
        let line = self.args.line.unwrap_or_default();
        let without = || format!("{shown} has no capsule of line {line}: {}", told(&others));
        worst.with_context(without)
    }

    async fn read(&self, object: &str) -> Result<Bytes> {
        if object != "-" {
            return Ok(self.storage.get_small(object, CAPSULES_BYTES_MAX).await?);
        }
        let mut bytes = Vec::new();
        let mut input = tokio::io::stdin().take(CAPSULES_BYTES_MAX);
        let read = input.read_to_end(&mut bytes).await;
        read.context("could not read standard input")?;
        Ok(bytes.into())
    }

    async fn replay_one(&mut self, place: &str, capsule: Capsule) -> Result<Verdict> {
        let intact = capsule.is_intact();
        if !intact && !self.args.force && !self.args.show {
            bail!(
                "{place} was edited: its checksum does not fit; --show tells what it says, --force runs it all the same"
            );
        }
        let mut account = Account::new(place, &capsule, intact);
        if self.args.show {
            self.print(&account)?;
            return Ok(account.verdict);
        }
        let plugin = self.plugin(place, &capsule).await?;
        let same = plugin.id.digest == capsule.plugin.digest;
        let replay = Replay::new(&plugin, capsule.clone(), &self.completed(&capsule));
        let replayed = replay.run().await;
        account.ran(&capsule, &plugin.id, &replayed);
        if self.args.minimise && same {
            let smaller = self.minimise(&replay).await;
            account.minimised(smaller.as_ref());
            self.smaller
                .extend(smaller.iter().flat_map(Capsule::to_line));
        }
        self.print(&account)?;
        Ok(account.verdict)
    }

    /// With what is set and granted here in the place of what the capsule does not tell.
    fn completed(&self, capsule: &Capsule) -> Capsule {
        let granted = &self.config.grants.env;
        let env = |name: &str| {
            let here = granted.iter().any(|granted| granted == name);
            std::env::var(name).ok().filter(|_| here)
        };
        capsule.clone().completed(&self.config.settings, env)
    }

    /// The plugin within the limits of the capsule.
    async fn plugin(&mut self, place: &str, capsule: &Capsule) -> Result<Plugin> {
        let mut config = capsule.limits.put_into(&self.config)?;
        config.concurrency = 1;
        // Variables and HTTP answers are those of the capsule. Folders are not in it.
        config.grants.env.clear();
        config.grants.http = vec![nobody()];
        if let Some(loaded) = &self.loaded
            && loaded.config == config
        {
            self.check_digest(place, capsule, &loaded.plugin.id.digest)?;
            return Ok(loaded.plugin.clone());
        }
        let wanted = &capsule.plugin;
        let name = self.config.plugin.clone().with_context(|| {
            format!(
                "{place}: which plugin? It ran {} ({}): name it with --plugin, or --show tells what the capsule says",
                wanted.name, wanted.digest
            )
        })?;
        let bytes = match &self.component {
            Some(bytes) => bytes.clone(),
            None => linemill::fetch_plugin(&self.storage, &name, &self.config).await?,
        };
        self.component = Some(bytes.clone());
        self.check_digest(place, capsule, &linemill::digest(&bytes))?;
        let runtime = super::engine(&config, 1)?;
        let plugin = Plugin::load(&runtime, &name, &bytes)?;
        self.loaded = Some(Loaded {
            config,
            plugin: plugin.clone(),
        });
        Ok(plugin)
    }

    fn check_digest(&self, place: &str, capsule: &Capsule, digest: &str) -> Result<()> {
        let recorded = &capsule.plugin.digest;
        if !self.named && digest != recorded {
            bail!(
                "{place}: it ran {} {recorded}, but the configuration's plugin is {digest}: name the version that is \
                 meant with --plugin",
                capsule.plugin.name
            );
        }
        if self.args.minimise && digest != recorded {
            bail!("{place}: --minimise needs the plugin that failed, {recorded}, not {digest}");
        }
        Ok(())
    }

    async fn minimise(&self, replay: &Replay) -> Option<Capsule> {
        let style = ProgressStyle::with_template("minimising {wide_bar} {pos}/{len} {msg}");
        let bar = ProgressBar::new(self.args.tries as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let until = Instant::now() + MINIMISE_TIME;
        let smaller = replay.minimise(self.args.tries, until, |shrink| {
            bar.set_position((self.args.tries - shrink.tries_left()) as u64);
            bar.set_message(format!("{} bytes", shrink.best().len()));
        });
        let smaller = smaller.await;
        bar.finish_and_clear();
        smaller
    }

    fn print(&self, account: &Account) -> Result<()> {
        if self.args.json {
            return super::print(&account.to_json().to_string());
        }
        let text = account.to_string();
        match self.args.minimise && self.args.to.is_none() {
            true => super::say(text.trim_end()),
            false => super::print(text.trim_end())?,
        }
        Ok(())
    }

    fn write_smaller(&self) -> Result<()> {
        if self.smaller.is_empty() {
            return Ok(());
        }
        let Some(path) = &self.args.to else {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&self.smaller).and_then(|()| out.flush());
            return written.context("could not write to standard output");
        };
        let file = std::fs::File::create_new(path);
        let written = file.and_then(|mut file| file.write_all(&self.smaller));
        written.with_context(|| format!("could not write {}", path.display()))
    }
}

/// A server that is never asked: a plugin that imports HTTP is refused where none is granted.
fn nobody() -> HttpGrant {
    HttpGrant {
        host: "capsule.invalid".to_owned(),
        port: None,
        plain: false,
        methods: vec!["GET".to_owned()],
        path: "/".to_owned(),
        private: false,
    }
}

fn told(lines: &[String]) -> String {
    match lines {
        [] => "it has none".to_owned(),
        lines => format!("it has those of lines {}", lines.join(", ")),
    }
}
