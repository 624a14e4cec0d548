//! What a plugin is granted besides its lines: servers, variables, folders. Nothing by default, and nothing wider
//! than it says.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::DAY_MS;
use super::{GIB, KIB, MIB, value};
use crate::grants::Server;

/// A configuration that grants more of one kind is a mistake.
const GRANTS_MAX: usize = 100;

/// What a plugin may reach besides its lines, and how much of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Servers that may be asked by `wasi:http`. Default: none.
    #[serde(deserialize_with = "value::tables")]
    pub http: Vec<HttpGrant>,
    /// Names of linemill's environment variables that the plugin sees as its own; one that is not set is not seen.
    /// Default: none.
    #[serde(deserialize_with = "value::list")]
    pub env: Vec<String>,
    /// Folders that may be read. Default: none.
    #[serde(deserialize_with = "value::tables")]
    pub dirs: Vec<DirGrant>,

    /// Size of the body of an HTTP request, in bytes. Default: 16 MiB.
    #[serde(deserialize_with = "value::size")]
    pub http_request_bytes_max: usize,
    /// Size of the body of an HTTP answer, in bytes. Default: 16 MiB.
    #[serde(deserialize_with = "value::size")]
    pub http_response_bytes_max: usize,
    /// Time for a connection to an HTTP server, in milliseconds: to wait for one of its connections to be free,
    /// and to look up its name and connect. Default: 5000.
    #[serde(deserialize_with = "value::number")]
    pub http_connect_ms_max: u64,
    /// Time from an HTTP request, its connection included, to the head of the answer, in milliseconds. Default: 10 000.
    #[serde(deserialize_with = "value::number")]
    pub http_first_byte_ms_max: u64,
    /// How long the body of an HTTP answer may stop, in milliseconds. Default: 10 000.
    #[serde(deserialize_with = "value::number")]
    pub http_between_bytes_ms_max: u64,
    /// HTTP requests under way to one server at once, over all instances of the process: as many connections are
    /// open, and kept for what comes next. Default: 256.
    #[serde(deserialize_with = "value::number")]
    pub http_connections_per_host_max: usize,
    /// Size of the value of a granted variable, in bytes. Default: 32 KiB.
    #[serde(deserialize_with = "value::size")]
    pub env_bytes_max: usize,
    /// Size of all files below one granted folder, in bytes, when linemill starts. Default: 1 GiB.
    #[serde(deserialize_with = "value::size")]
    pub dir_bytes_max: usize,
    /// Files and folders below one granted folder, when linemill starts. Default: 10 000.
    #[serde(deserialize_with = "value::number")]
    pub dir_files_max: usize,
}

/// A server, and what may be asked of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Its name or address, one and no pattern: `api.example.com`, `192.0.2.7`, `[2001:db8::7]`.
    pub host: String,
    /// Its port. Default: that of the scheme, 443 or 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Plain `http` rather than `https`. Default: false.
    #[serde(default)]
    pub plain: bool,
    /// Methods. Default: `GET` and `HEAD`.
    #[serde(default = "reading")]
    pub methods: Vec<String>,
    /// Path below which it may be asked: `/v1` is `/v1` and all that begins with `/v1/`. Default: `/`, all paths.
    #[serde(default = "root")]
    pub path: String,
    /// Whether its name may lead to addresses that are not public: of this machine, of private networks, link-local
    /// ones, those of metadata services. Default: false.
    #[serde(default)]
    pub private: bool,
}

/// A folder that may be read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DirGrant {
    /// The folder, on this machine.
    pub host: PathBuf,
    /// What it is called for the plugin: `/geo`.
    pub guest: String,
}

fn reading() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

fn root() -> String {
    "/".to_owned()
}

impl Default for Grants {
    fn default() -> Self {
        Grants {
            http: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            http_request_bytes_max: 16 * MIB,
            http_response_bytes_max: 16 * MIB,
            http_connect_ms_max: 5000,
            http_first_byte_ms_max: 10_000,
            http_between_bytes_ms_max: 10_000,
            http_connections_per_host_max: 256,
            env_bytes_max: 32 * KIB,
            dir_bytes_max: GIB,
            dir_files_max: 10_000,
        }
    }
}

impl Grants {
    /// Every limit, with what it may be.
    pub(super) fn ranges(&self) -> [(&'static str, Option<u64>, RangeInclusive<u64>); 9] {
        let bytes = 0..=4 * GIB as u64;
        let of = |size: usize| Some(size as u64);
        [
            (
                "grants.http_request_bytes_max",
                of(self.http_request_bytes_max),
                bytes.clone(),
            ),
            (
                "grants.http_response_bytes_max",
                of(self.http_response_bytes_max),
                bytes.clone(),
            ),
            (
                "grants.http_connect_ms_max",
                Some(self.http_connect_ms_max),
                1..=DAY_MS,
            ),
            (
                "grants.http_first_byte_ms_max",
                Some(self.http_first_byte_ms_max),
                1..=DAY_MS,
            ),
            (
                "grants.http_between_bytes_ms_max",
                Some(self.http_between_bytes_ms_max),
                1..=DAY_MS,
            ),
            (
                "grants.http_connections_per_host_max",
                of(self.http_connections_per_host_max),
                1..=10_000,
            ),
            (
                "grants.env_bytes_max",
                of(self.env_bytes_max),
                0..=MIB as u64,
            ),
            (
                "grants.dir_bytes_max",
                of(self.dir_bytes_max),
                0..=i64::MAX as u64,
            ),
            (
                "grants.dir_files_max",
                of(self.dir_files_max),
                0..=1_000_000,
            ),
        ]
    }

    /// What is wrong, by setting.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        for (name, number) in [
            ("grants.http", self.http.len()),
            ("grants.env", self.env.len()),
            ("grants.dirs", self.dirs.len()),
        ] {
            if number > GRANTS_MAX {
                let message = format!("may have {GRANTS_MAX} entries, not {number}");
                problems.push((name, message));
            }
        }
        let servers = self.http.iter().map(Server::new);
        let wrong = servers.filter_map(Result::err);
        problems.extend(wrong.map(|message| ("grants.http", message)));
        let wrong = self.env.iter().filter(|name| !is_variable(name));
        problems.extend(wrong.map(|name| {
            let message = format!("has `{name}`, which is no name of a variable");
            ("grants.env", message)
        }));
        let mut seen = BTreeSet::new();
        let wrong = self.dirs.iter().filter_map(|dir| dir.problem(&mut seen));
        problems.extend(wrong.map(|message| ("grants.dirs", message)));
        problems
    }
}

impl DirGrant {
    fn problem<'a>(&'a self, seen: &mut BTreeSet<&'a str>) -> Option<String> {
        let guest = &self.guest;
        let segment = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        let plain = guest
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(segment));
        let host = self.host.to_string_lossy();
        if !plain {
            Some(format!(
                "has guest = `{guest}`, which must be an absolute path of plain names: `/geo`"
            ))
        } else if host.is_empty() || host.contains("://") {
            Some(format!("has host = `{host}`, which is no folder"))
        } else if !seen.insert(guest) {
            Some(format!(
                "has two folders at `{guest}`: give each a path of its own"
            ))
        } else {
            None
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}
