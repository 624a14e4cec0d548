//! Whether a request for a URL is granted. Pure: what is compared is what is sent.
//!
//! A URL is read as it will be sent, which does away with spellings (case, ports, encoded hosts, numbers for
//! addresses); a path that a server might understand in two ways (`..`, however it is encoded) is refused where only a
//! part of the server is granted.

mod address;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::HttpGrant;

pub(crate) use address::is_public;

/// A percent sign that stands for a percent sign, and so on, is followed so far.
const ENCODINGS_MAX: usize = 4;

/// A server that is granted, and what of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Server {
    pub(crate) origin: Origin,
    methods: Vec<String>,
    path: String,
    /// Its name may lead to any address.
    pub(crate) private: bool,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

impl Server {
    /// As the configuration says it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(grant: &HttpGrant) -> Result<Self, String> {
        let host = &grant.host;
        let wrong =
            |why: &str| format!("has host = `{}`, {why}", crate::config::mask_secrets(host));
        if host.contains('*') {
            return Err(wrong("but patterns are not granted: name each host"));
        }
        let scheme = if grant.plain { "http" } else { "https" };
        let bare = match host.parse::<std::net::Ipv6Addr>() {
            Ok(_) => format!("[{host}]"),
            Err(_) => host.clone(),
        };
        let url = Url::parse(&format!("{scheme}://{bare}/"));
        let url = url.map_err(|_| wrong("which is no name or address of a server"))?;
        let more = host.contains(['/', '\\', '@', '?', '#', '\t', '\n', '\r'])
            || bare
                .rsplit(']')
                .next()
                .is_some_and(|rest| rest.contains(':'))
            || url.path() != "/";
        let origin = origin(&url).filter(|_| !more);
        let mut origin = origin.ok_or_else(|| {
            wrong("which must be a name or an address only: there are `port`, `plain` and `path` besides")
        })?;
        match grant.port {
            Some(0) => return Err(wrong("and port = 0, which is none")),
            Some(port) => origin.port = port,
            None => {}
        }
        Ok(Server {
            origin,
            methods: methods(grant).map_err(|why| wrong(&why))?,
            path: path(&grant.path).map_err(|why| wrong(&why))?,
            private: grant.private,
        })
    }

    fn covers(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.path.as_str()) else {
            return false;
        };
        let below = self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/');
        below && self.allows_spelling(path).is_ok()
    }

    /// Whether a path, as it is spelled, might go up on the way, where only a part of the server is granted.
    ///
    /// # Errors
    /// It does.
    pub(crate) fn allows_spelling(&self, path: &str) -> Result<(), String> {
        match self.path != "/" && climbs(path) {
            true => Err(format!(
                "grants.http grants {}, but no path with `..`",
                self.origin
            )),
            false => Ok(()),
        }
    }
}

fn methods(grant: &HttpGrant) -> Result<Vec<String>, String> {
    if grant.methods.is_empty() {
        return Err("but no methods".to_owned());
    }
    let wrong = grant.methods.iter().find(|method| {
        method.is_empty()
            || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
            || *method == "CONNECT"
    });
    match wrong {
        Some(method) => Err(format!(
            "and the method `{method}`, which cannot be granted"
        )),
        None => Ok(grant.methods.clone()),
    }
}

/// As the URLs have it that it is compared with.
fn path(path: &str) -> Result<String, String> {
    let plain = path.starts_with('/') && !path.contains(['?', '#', '\\']) && !climbs(path);
    let url = Url::parse(&format!("http://host{path}"));
    match url.ok().filter(|_| plain) {
        Some(url) => Ok(url.path().to_owned()),
        None => Err(format!(
            "and path = `{path}`, which must begin with `/` and lead straight down"
        )),
    }
}

/// Where a URL leads; its user, if it has one, is for the caller to refuse.
fn origin(url: &Url) -> Option<Origin> {
    let scheme = match url.scheme() {
        "http" => "http",
        "https" => "https",
        _ => return None,
    };
    let host = url.host_str()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| Origin {
        scheme,
        host: host.to_owned(),
        port: url.port_or_known_default().unwrap_or(0),
    })
}

/// The grant that a request falls under.
///
/// # Errors
/// Why there is none, naming the setting.
pub(crate) fn find<'a>(
    servers: &'a [Server],
    method: &str,
    url: &Url,
) -> Result<&'a Server, String> {
    let Some(origin) = origin(url) else {
        return Err("it is no http or https URL".to_owned());
    };
    let there: Vec<&Server> = servers
        .iter()
        .filter(|server| server.origin == origin)
        .collect();
    if there.is_empty() {
        return Err(format!("grants.http grants no {origin}"));
    }
    let below: Vec<&Server> = there
        .into_iter()
        .filter(|server| server.covers(url.path()))
        .collect();
    if below.is_empty() {
        return Err(format!("grants.http grants {origin}, but not this path"));
    }
    let granted = below
        .into_iter()
        .find(|server| server.methods.iter().any(|granted| granted == method));
    granted.ok_or_else(|| format!("grants.http grants {origin}, but not with the method {method}"))
}

/// Whether a server might go up on the way: `..` as a segment, whatever is encoded, and however often.
fn climbs(path: &str) -> bool {
    let up = |part: &str| {
        part.split(';')
            .next()
            .is_some_and(|name| name.trim_end() == "..")
    };
    let mut path = path.to_owned();
    for _ in 0..ENCODINGS_MAX {
        if path.split(['/', '\\']).any(up) {
            return true;
        }
        let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    // Nobody means to encode so often.
    true
}

#[cfg(test)]
mod tests;
