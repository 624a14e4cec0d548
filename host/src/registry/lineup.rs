//! Which versions of a plugin there are, which one a request gets, and when a new one has proved itself. Pure.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::figures::{Figures, Tolerance};
use crate::config::{Config, ShadowMode};
use crate::shadow::{Comparison, Difference};

/// So many refused versions are remembered; the oldest is forgotten first.
const REFUSED_MAX: usize = 64;
/// So many differences of a version that runs along are kept.
const SAMPLES_MAX: usize = 20;

/// What a new version has to go through.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Share of requests that it gets at first.
    pub share: f64,
    /// For so many requests.
    pub requests: u64,
    /// How much worse it may be.
    pub tolerance: Tolerance,
    /// Whether it runs along before that.
    pub shadow: ShadowMode,
}

impl Rules {
    /// As they are configured.
    pub fn of(config: &Config) -> Self {
        Rules {
            share: config.canary_share,
            requests: config.canary_requests,
            tolerance: Tolerance {
                faults: config.canary_fault_tolerance,
                fuel: config.canary_fuel_tolerance,
            },
            shadow: config.shadow,
        }
    }
}

/// What a version is to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It has proved itself.
    Stable,
    /// It is being watched.
    Candidate,
}

/// One version of the plugin.
#[derive(Debug, Clone)]
pub struct Version<V> {
    /// Unique in this process: the same digest may come again.
    pub id: u64,
    /// Its digest.
    pub digest: String,
    /// What runs.
    pub plugin: V,
    /// When it came into its role.
    pub since: DateTime<Utc>,
    /// What it did in its role.
    pub figures: Figures,
}

/// A version that is being watched.
#[derive(Debug)]
pub struct Candidate<V> {
    /// The version.
    pub version: Version<V>,
    /// It runs along, and gets no requests of its own.
    pub shadow: bool,
    /// What the stable version did meanwhile: the measure.
    pub measure: Figures,
    /// In what it differed while it ran along.
    pub differences: Differences,
    /// Requests since it came.
    turn: u64,
}

/// In what a version differed while it ran along.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Differences {
    /// Batches with other outputs or partials.
    pub outputs: u64,
    /// Lines with other faults.
    pub faults: u64,
    /// The first ones.
    pub samples: Vec<Difference>,
}

impl Differences {
    fn add(&mut self, compared: &Comparison) {
        self.outputs += compared.outputs_differ;
        self.faults += compared.faults_differ;
        let room = SAMPLES_MAX.saturating_sub(self.samples.len());
        let samples = compared.samples.iter().take(room);
        self.samples.extend(samples.cloned());
    }
}

/// A version that is not taken again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its digest.
    pub digest: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What a request gets.
#[derive(Debug, PartialEq)]
pub struct Chosen<V> {
    /// The version that runs.
    pub id: u64,
    /// What it is.
    pub role: Role,
    /// What runs.
    pub plugin: V,
    /// What runs along, and its version.
    pub shadow: Option<(u64, V)>,
}

/// What is to be done with a version that was found at the source.
#[derive(Debug, PartialEq)]
pub enum Found<V> {
    /// It runs, or is being watched, or was refused before: nothing.
    Known,
    /// Another one is pinned.
    NotPinned(String),
    /// It ran before and is still at hand.
    Previous(V),
    /// It is to be loaded and tried.
    New,
}

/// What has happened to the versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A version became the stable one.
    Stable {
        /// Its digest.
        digest: String,
        /// The one before.
        before: String,
    },
    /// A version is being watched: it runs along, or gets a share of the requests.
    Candidate {
        /// Its digest.
        digest: String,
        /// It runs along.
        shadow: bool,
    },
    /// A version was taken out of service and is not taken again.
    RolledBack {
        /// Its digest.
        digest: String,
        /// Why.
        reason: String,
        /// The version that serves.
        to: String,
    },
}

/// The versions of one plugin. There is always one that serves.
#[derive(Debug)]
pub struct Lineup<V> {
    rules: Rules,
    /// It serves.
    pub stable: Version<V>,
    /// It served before, and can again at once.
    pub previous: Option<Version<V>>,
    /// It is being watched.
    pub candidate: Option<Candidate<V>>,
    /// Not to be taken again, the oldest first.
    pub refused: VecDeque<Refused>,
    /// The only one that is taken.
    pub pinned: Option<String>,
    ids: u64,
}

impl<V: Clone> Lineup<V> {
    /// The first version serves.
    pub fn new(rules: Rules, digest: &str, plugin: V, now: DateTime<Utc>) -> Self {
        Lineup {
            rules,
            stable: Version::new(0, digest, plugin, now),
            previous: None,
            candidate: None,
            refused: VecDeque::new(),
            pinned: None,
            ids: 1,
        }
    }

    /// What the next request gets. The candidate's share is spread evenly over the requests, not left to chance.
    pub fn choose(&mut self) -> Chosen<V> {
        let mut chosen = Chosen {
            id: self.stable.id,
            role: Role::Stable,
            plugin: self.stable.plugin.clone(),
            shadow: None,
        };
        let Some(candidate) = &mut self.candidate else {
            return chosen;
        };
        let version = &candidate.version;
        if candidate.shadow {
            chosen.shadow = Some((version.id, version.plugin.clone()));
            return chosen;
        }
        candidate.turn += 1;
        let due = |turn: u64| (turn as f64 * self.rules.share).floor();
        if due(candidate.turn) > due(candidate.turn - 1) {
            chosen.id = version.id;
            chosen.role = Role::Candidate;
            chosen.plugin = version.plugin.clone();
        }
        chosen
    }

    /// Counts what version `id` did for a request, and judges the candidate. What a version did that has left
    /// service since counts no more.
    pub fn finished(&mut self, id: u64, figures: &Figures, now: DateTime<Utc>) -> Option<Change> {
        if id == self.stable.id {
            self.stable.figures += *figures;
            if let Some(candidate) = self.candidate.as_mut().filter(|c| !c.shadow) {
                candidate.measure += *figures;
            }
            return None;
        }
        let candidate = self.candidate.as_mut()?;
        if id != candidate.version.id || candidate.shadow {
            return None;
        }
        candidate.version.figures += *figures;
        self.judge(now)
    }

    /// Counts what the candidate `id` did as a shadow, and what the stable version did with the same batches.
    pub fn shadowed(
        &mut self,
        id: u64,
        compared: &Comparison,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let candidate = self.candidate.as_mut()?;
        if id != candidate.version.id || !candidate.shadow {
            return None;
        }
        let (did, measure) = Figures::of_both(compared);
        candidate.version.figures += did;
        candidate.measure += measure;
        candidate.differences.add(compared);
        self.judge(now)
    }

    /// Rolls the candidate back as soon as it is clearly worse; lets it on when it has been watched long enough.
    fn judge(&mut self, now: DateTime<Utc>) -> Option<Change> {
        let candidate = self.candidate.as_mut()?;
        let did = &candidate.version.figures;
        // A stable version that got no request meanwhile is measured by all that it ever did.
        let measure = match candidate.measure.requests {
            0 => &self.stable.figures,
            _ => &candidate.measure,
        };
        let seen = did.requests as f64 / self.rules.requests as f64;
        if let Some(reason) = did.worse_than(measure, self.rules.tolerance, seen) {
            return Some(self.refuse_candidate(reason, now));
        }
        if did.requests < self.rules.requests
            || candidate.shadow && self.rules.shadow == ShadowMode::Only
        {
            return None;
        }
        if candidate.shadow && self.rules.share > 0.0 {
            candidate.shadow = false;
            candidate.version.since = now;
            candidate.version.figures = Figures::default();
            candidate.measure = Figures::default();
            return Some(Change::Candidate {
                digest: candidate.version.digest.clone(),
                shadow: false,
            });
        }
        Some(self.promote(now))
    }

    /// What is to be done with a version that is found at the source.
    pub fn found(&mut self, digest: &str) -> Found<V> {
        if let Some(pinned) = self.pinned.as_ref().filter(|pinned| *pinned != digest) {
            return match self.stable.digest == *pinned {
                true => Found::Known,
                false => Found::NotPinned(pinned.clone()),
            };
        }
        if digest == self.stable.digest {
            // Whoever uploads the stable version again takes the candidate back.
            self.candidate = None;
            return Found::Known;
        }
        let watched = self.candidate.as_ref().map(|c| c.version.digest.as_str());
        if watched == Some(digest) || self.refusal(digest).is_some() {
            return Found::Known;
        }
        match &self.previous {
            Some(previous) if previous.digest == digest => Found::Previous(previous.plugin.clone()),
            _ => Found::New,
        }
    }

    /// A version that was loaded and tried comes in; it takes the place of a candidate.
    pub fn arrive(&mut self, digest: &str, plugin: V, now: DateTime<Utc>) -> Change {
        let version = Version::new(self.ids, digest, plugin, now);
        self.ids += 1;
        let shadow = self.rules.shadow != ShadowMode::Off;
        let at_once = self.pinned.as_deref() == Some(digest);
        let watched = !at_once && (shadow || self.rules.share > 0.0);
        self.candidate = Some(Candidate {
            version,
            shadow,
            measure: Figures::default(),
            differences: Differences::default(),
            turn: 0,
        });
        match watched {
            true => Change::Candidate {
                digest: digest.to_owned(),
                shadow,
            },
            false => self.promote(now),
        }
    }

    /// The candidate, which is there, becomes the stable version.
    fn promote(&mut self, now: DateTime<Utc>) -> Change {
        let candidate = self.candidate.take().expect("there is a candidate");
        self.put_in_place(candidate.version, now)
    }

    fn put_in_place(&mut self, version: Version<V>, now: DateTime<Utc>) -> Change {
        let digest = version.digest.clone();
        let mut before = std::mem::replace(&mut self.stable, version);
        self.stable.since = now;
        self.stable.figures = Figures::default();
        before.since = now;
        let change = Change::Stable {
            digest,
            before: before.digest.clone(),
        };
        self.previous = Some(before);
        change
    }

    /// Goes back: from the candidate to the stable version, or from that to the one before. What is left is not
    /// taken again, unless it is pinned.
    ///
    /// # Errors
    /// There is nothing to go back to.
    pub fn roll_back(&mut self, now: DateTime<Utc>) -> Result<Change, String> {
        let reason = "rolled back by hand";
        if self.candidate.is_some() {
            return Ok(self.refuse_candidate(reason.to_owned(), now));
        }
        let previous = self.previous.take();
        let previous =
            previous.ok_or("there is no version to go back to: the first one is in service")?;
        let digest = self.stable.digest.clone();
        self.refuse(&digest, reason, now);
        self.forgive(&previous.digest);
        self.put_in_place(previous, now);
        self.previous = None;
        if self.pinned.as_ref() == Some(&digest) {
            self.pinned = None;
        }
        Ok(Change::RolledBack {
            digest,
            reason: reason.to_owned(),
            to: self.stable.digest.clone(),
        })
    }

    fn refuse_candidate(&mut self, reason: String, now: DateTime<Utc>) -> Change {
        let candidate = self.candidate.take().expect("there is a candidate");
        let digest = candidate.version.digest;
        self.refuse(&digest, &reason, now);
        Change::RolledBack {
            digest,
            reason,
            to: self.stable.digest.clone(),
        }
    }

    /// From now on this version is the only one that is taken, refused before or not. It serves at once if it is at
    /// hand.
    pub fn pin(&mut self, digest: &str, now: DateTime<Utc>) -> Option<Change> {
        self.pinned = Some(digest.to_owned());
        self.forgive(digest);
        let candidate = self.candidate.take();
        if self.stable.digest == digest {
            return None;
        }
        let candidate = candidate.map(|candidate| candidate.version);
        let at_hand = [candidate, self.previous.clone()].into_iter().flatten();
        let version = at_hand.into_iter().find(|v| v.digest == digest)?;
        Some(self.put_in_place(version, now))
    }

    /// Any version is taken again.
    pub fn unpin(&mut self) {
        self.pinned = None;
    }

    /// Whether no version could be taken but the one that serves.
    pub fn is_settled(&self) -> bool {
        self.pinned.as_ref() == Some(&self.stable.digest)
    }

    /// Remembers that a version is not to be taken.
    pub fn refuse(&mut self, digest: &str, reason: &str, now: DateTime<Utc>) {
        self.forgive(digest);
        self.refused.push_back(Refused {
            digest: digest.to_owned(),
            reason: reason.to_owned(),
            at: now,
        });
        if self.refused.len() > REFUSED_MAX {
            self.refused.pop_front();
        }
    }

    /// Why a version is not taken.
    pub fn refusal(&self, digest: &str) -> Option<&Refused> {
        self.refused.iter().find(|refused| refused.digest == digest)
    }

    fn forgive(&mut self, digest: &str) {
        self.refused.retain(|refused| refused.digest != digest);
    }
}

impl<V> Version<V> {
    fn new(id: u64, digest: &str, plugin: V, now: DateTime<Utc>) -> Self {
        Version {
            id,
            digest: digest.to_owned(),
            plugin,
            since: now,
            figures: Figures::default(),
        }
    }
}

#[cfg(test)]
mod tests;
