//! What is told of the versions of the plugin, as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Registry;
use super::figures::Figures;
use super::lineup::{Differences, Refused, Version};
use crate::config::mask_secrets;
use crate::runtime::Plugin;

/// The plugin's versions, and how its source was found at the last check.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Where it comes from; absent when only compiled code is named.
    pub url: Option<String>,
    /// The version that serves.
    pub stable: VersionStatus,
    /// A version that is being watched.
    pub candidate: Option<CandidateStatus>,
    /// The version that served before, and can again.
    pub previous: Option<VersionStatus>,
    /// The only version that is taken.
    pub pinned: Option<String>,
    /// Versions that are not taken, and why not.
    pub refused: Vec<Refused>,
    /// What is at the source now is not used, and why not.
    pub unused: Option<String>,
    /// When the source was last looked at.
    pub last_check: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub last_failure: Option<Failure>,
}

/// A version.
#[derive(Debug, Clone, Serialize)]
pub struct VersionStatus {
    /// Its digest.
    pub digest: String,
    /// What it says of itself.
    pub version: Option<String>,
    /// When it came into its role, or left it.
    pub since: DateTime<Utc>,
    /// What it did in it.
    pub figures: Figures,
}

/// A version that is being watched.
#[derive(Debug, Clone, Serialize)]
pub struct CandidateStatus {
    /// Its digest.
    pub digest: String,
    /// What it says of itself.
    pub version: Option<String>,
    /// Since when it is watched.
    pub since: DateTime<Utc>,
    /// It runs along, and gets no requests of its own.
    pub shadow: bool,
    /// What it did.
    pub figures: Figures,
    /// What the stable version did meanwhile.
    pub measure: Figures,
    /// In what it differed while it ran along.
    pub differences: Differences,
}

/// Something that went wrong with a newer version.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// When.
    pub at: DateTime<Utc>,
    /// Digest of the version, if it was read.
    pub digest: Option<String>,
    /// What.
    pub reason: String,
}

impl VersionStatus {
    fn of(version: &Version<Plugin>) -> Self {
        VersionStatus {
            digest: version.digest.clone(),
            version: version.plugin.id.version.clone(),
            since: version.since,
            figures: version.figures,
        }
    }
}

impl Registry {
    /// What is known of the versions now.
    pub fn status(&self) -> Status {
        let lineup = self.lineup();
        let candidate = lineup.candidate.as_ref().map(|candidate| CandidateStatus {
            digest: candidate.version.digest.clone(),
            version: candidate.version.plugin.id.version.clone(),
            since: candidate.version.since,
            shadow: candidate.shadow,
            figures: candidate.version.figures,
            measure: candidate.measure,
            differences: candidate.differences.clone(),
        });
        let (stable, previous) = (&lineup.stable, lineup.previous.as_ref());
        let mut status = Status {
            url: self.config.plugin.as_deref().map(mask_secrets),
            stable: VersionStatus::of(stable),
            candidate,
            previous: previous.map(VersionStatus::of),
            pinned: self.config.plugin_digest.clone().or(lineup.pinned.clone()),
            refused: lineup.refused.iter().cloned().collect(),
            unused: None,
            last_check: None,
            last_failure: None,
        };
        drop(lineup);
        let watch = self.watch();
        status.unused = watch.unused.as_deref().map(str::to_owned);
        status.last_check = watch.last_check;
        status.last_failure.clone_from(&watch.last_failure);
        status
    }
}
