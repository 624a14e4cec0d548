//! Scripts of what happens to the versions, and what comes of it.

use super::*;

/// Versions are letters, which stand for their digests and for what runs.
struct Script {
    lineup: Lineup<char>,
    ids: Vec<(char, u64)>,
}

impl Script {
    fn new(rules: &str) -> Self {
        let mut parsed = Rules {
            share: 0.0,
            requests: 4,
            tolerance: Tolerance {
                faults: 0.1,
                fuel: 0.5,
            },
            shadow: ShadowMode::Off,
        };
        for (name, value) in pairs(rules) {
            match name {
                "share" => parsed.share = value.parse().expect("a number"),
                "requests" => parsed.requests = value.parse().expect("a number"),
                "shadow" if value == "first" => parsed.shadow = ShadowMode::First,
                "shadow" => parsed.shadow = ShadowMode::Only,
                _ => panic!("no rule: {name}"),
            }
        }
        Script {
            lineup: Lineup::new(parsed, "a", 'a', Utc::now()),
            ids: vec![('a', 0)],
        }
    }

    fn id(&self, version: &str) -> u64 {
        let ids = self.ids.iter().rev();
        let mut found = ids.filter(|(name, _)| version.starts_with(*name));
        found.next().expect("a version that arrived").1
    }

    fn run(&mut self, line: &str) -> String {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let version = rest.split(' ').next().unwrap_or_default();
        let now = Utc::now();
        let lineup = &mut self.lineup;
        match command {
            "arrive" => {
                let name = version.chars().next().expect("a letter");
                self.ids.push((name, lineup.ids));
                said(Some(lineup.arrive(version, name, now)))
            }
            "choose" => self.choose(rest.parse().expect("a number")),
            "finish" => {
                let (id, figures) = (self.id(version), figures(rest));
                said(self.lineup.finished(id, &figures, now))
            }
            "beside" => {
                let (id, compared) = (self.id(version), compared(rest));
                said(self.lineup.shadowed(id, &compared, now))
            }
            "found" => match lineup.found(version) {
                Found::Known => "known".to_owned(),
                Found::NotPinned(pinned) => format!("not pinned, {pinned} is"),
                Found::Previous(plugin) => format!("previous {plugin}"),
                Found::New => "new".to_owned(),
            },
            "rollback" => match lineup.roll_back(now) {
                Ok(change) => said(Some(change)),
                Err(error) => error,
            },
            "refuse" => {
                lineup.refuse(version, "bad", now);
                String::new()
            }
            "pin" => said(lineup.pin(version, now)),
            "unpin" => {
                lineup.unpin();
                String::new()
            }
            "state" => self.state(),
            _ => panic!("no command: {line}"),
        }
    }

    fn choose(&mut self, times: usize) -> String {
        let mut text = String::new();
        for _ in 0..times {
            let chosen = self.lineup.choose();
            text.push(chosen.plugin);
            if let Some((id, plugin)) = chosen.shadow {
                assert_eq!(id, self.id(&plugin.to_string()));
                text.push('+');
                text.push(plugin);
            }
            let role = match self.lineup.stable.plugin == chosen.plugin {
                true => Role::Stable,
                false => Role::Candidate,
            };
            assert_eq!(chosen.role, role);
            assert_eq!(chosen.id, self.id(&chosen.plugin.to_string()));
        }
        text
    }

    fn state(&self) -> String {
        let lineup = &self.lineup;
        let mut text = format!("stable {}", lineup.stable.digest);
        if let Some(candidate) = &lineup.candidate {
            text.push_str(&format!(", candidate {}", candidate.version.digest));
        }
        if let Some(previous) = &lineup.previous {
            text.push_str(&format!(", previous {}", previous.digest));
        }
        for refused in &lineup.refused {
            text.push_str(&format!(", refused {}", refused.digest));
        }
        if let Some(pinned) = &lineup.pinned {
            text.push_str(&format!(", pinned {pinned}"));
        }
        text
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().filter_map(|w| w.split_once('='))
}

fn number(text: &str, name: &str, default: u64) -> u64 {
    let found = pairs(text).find(|(key, _)| *key == name);
    found.map_or(default, |(_, value)| value.parse().expect("a number"))
}

/// A request of 100 lines in one batch of 1000 bytes, unless it is said otherwise.
fn figures(text: &str) -> Figures {
    Figures {
        requests: 1,
        failed: number(text, "failed", 0),
        lines: number(text, "lines", 100),
        faulted: number(text, "faults", 0),
        batches: 1,
        traps: number(text, "traps", 0),
        bytes: number(text, "bytes", 1000),
        fuel: number(text, "fuel", 1000),
    }
}

fn compared(text: &str) -> Comparison {
    let mut compared = Comparison::new("b");
    (compared.batches, compared.lines, compared.bytes) = (1, 100, 1000);
    compared.outputs_differ = number(text, "differ", 0);
    compared.stable.faults = number(text, "own", 0);
    compared.candidate.faults = number(text, "faults", 0);
    compared.stable.fuel = 1000;
    compared.candidate.fuel = number(text, "fuel", 1000);
    compared.failure = (number(text, "failed", 0) > 0).then(|| "why".to_owned());
    compared
}

fn said(change: Option<Change>) -> String {
    match change {
        None => String::new(),
        Some(Change::Stable { digest, before }) => format!("{digest} serves after {before}"),
        Some(Change::Candidate { digest, shadow }) => match shadow {
            true => format!("{digest} runs along"),
            false => format!("{digest} gets a share"),
        },
        Some(Change::RolledBack { digest, reason, to }) => {
            format!("{digest} is taken back, {to} serves: {reason}")
        }
    }
}

/// `command => what comes of it`, one a line; without `=>` nothing comes of it.
fn check(rules: &str, script: &str) {
    let mut running = Script::new(rules);
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (command, want) = line.split_once("=>").unwrap_or((line, ""));
        let got = running.run(command.trim());
        assert_eq!(got, want.trim(), "{line}");
    }
}

#[test]
fn without_a_share_a_new_version_serves_at_once() {
    let script = "
        choose 3 => aaa
        found a => known
        found b => new
        arrive b => b serves after a
        choose 3 => bbb
        state => stable b, previous a
        finish a failed=1
        finish b failed=1
        found a => previous a
        arrive a => a serves after b
        state => stable a, previous b";
    check("", script);
}

#[test]
fn a_share_is_spread_evenly() {
    for (share, want) in [
        ("0.5", "abababab"),
        ("0.25", "aaabaaab"),
        ("0.3", "aaabaaba"),
        ("1", "bbbbbbbb"),
    ] {
        let script = format!("arrive b => b gets a share\nchoose 8 => {want}");
        check(&format!("share={share}"), &script);
    }
}

#[test]
fn a_good_candidate_serves_when_it_was_watched_long_enough() {
    let script = "
        finish a faults=5
        arrive b => b gets a share
        finish b faults=5
        finish a faults=5
        finish b faults=20
        finish b faults=5
        found b => known
        finish b faults=20 => b serves after a
        state => stable b, previous a
        choose 2 => bb";
    check("share=0.5", script);
}

#[test]
fn a_bad_candidate_is_taken_back() {
    let table = [
        // Clearly worse at once, or at the end only.
        ("finish b faults=60 => b is taken back, a serves: 0.6000 of its lines end in a fault, 0.1000 of the version before"),
        ("finish b faults=30\nfinish b faults=30\nfinish b faults=30 => b is taken back, a serves: 0.3000 of its lines end in a fault, 0.1000 of the version before"),
        ("finish b traps=2 => b is taken back, a serves: 2.0000 calls trap for each batch, 0.0000 of the version before"),
        ("finish b failed=1 => b is taken back, a serves: 1.0000 of its requests fail, 0.0000 of the version before"),
        ("finish b fuel=2900\nfinish b fuel=2900 => b is taken back, a serves: it uses 2.9 fuel for a byte, the version before 1.0"),
        ("finish b fuel=4000 => b is taken back, a serves: it uses 4.0 fuel for a byte, the version before 1.0"),
    ];
    for judged in table {
        let script = format!(
            "arrive b => b gets a share
            finish a faults=10
            {judged}
            state => stable a, refused b
            choose 3 => aaa
            found b => known
            finish b failed=1
            found c => new"
        );
        check("share=0.5", &script);
    }
}

/// It must not be taken for bad just because nothing is known of the other.
#[test]
fn a_candidate_without_a_measure_is_judged_by_what_is_bad_in_itself() {
    let good = "
        arrive b => b gets a share
        finish b faults=50 fuel=9000
        finish b faults=50
        finish b faults=50
        finish b faults=50 => b serves after a";
    check("share=1", good);
    let bad = "
        arrive b => b gets a share
        finish b traps=1 => b is taken back, a serves: 1.0000 calls trap for each batch, 0.0000 of the version before";
    check("share=1", bad);
    let empty = "
        arrive b => b gets a share
        finish a lines=0 bytes=0 fuel=0
        finish b lines=0 bytes=0 fuel=50
        finish b lines=0 bytes=0 fuel=50
        finish b lines=0 bytes=0 fuel=50
        finish b lines=0 bytes=0 fuel=50 => b serves after a";
    check("share=0.5", empty);
}

#[test]
fn what_the_old_version_did_before_is_a_measure_too() {
    let script = "
        finish a faults=50
        arrive b => b gets a share
        finish b faults=55
        finish b faults=80
        finish b faults=99 => b is taken back, a serves: 0.7800 of its lines end in a fault, 0.5000 of the version before";
    check("share=1", script);
}

#[test]
fn a_newer_version_takes_the_place_of_a_candidate() {
    let script = "
        arrive b => b gets a share
        finish b
        found c => new
        arrive c => c gets a share
        finish b failed=1
        choose 2 => ac
        state => stable a, candidate c
        found a => known
        state => stable a
        choose 2 => aa";
    check("share=0.5", script);
}

#[test]
fn rolling_back_by_hand() {
    let script = "
        rollback => there is no version to go back to: the first one is in service
        arrive b => b serves after a
        rollback => b is taken back, a serves: rolled back by hand
        state => stable a, refused b
        found b => known
        rollback => there is no version to go back to: the first one is in service
        found c => new
        arrive c => c serves after a
        pin c
        rollback => c is taken back, a serves: rolled back by hand
        state => stable a, refused b, refused c";
    check("", script);
    let candidate = "
        arrive b => b gets a share
        rollback => b is taken back, a serves: rolled back by hand
        state => stable a, refused b";
    check("share=0.5", candidate);
}

#[test]
fn a_pinned_version_is_the_only_one_that_is_taken() {
    let script = "
        pin a
        found b => known
        unpin
        found b => new
        arrive b => b serves after a
        pin a => a serves after b
        state => stable a, previous b, pinned a
        pin c
        found b => not pinned, c is
        found a => not pinned, c is
        found c => new
        arrive c => c serves after a
        state => stable c, previous a, pinned c
        unpin
        rollback => c is taken back, a serves: rolled back by hand
        pin c
        found c => new";
    check("", script);
    let candidate = "
        arrive b => b gets a share
        pin b => b serves after a
        pin a => a serves after b
        arrive c => c gets a share
        pin a
        state => stable a, previous b, pinned a
        refuse d
        pin d
        found d => new
        arrive d => d serves after a";
    check("share=0.5", candidate);
}

#[test]
fn a_shadow_gets_no_requests() {
    let script = "
        arrive b => b runs along
        choose 3 => a+ba+ba+b
        finish a
        finish b failed=1
        beside b differ=1
        beside b faults=5
        beside b
        beside b => b serves after a
        beside b failed=1
        choose 2 => bb";
    check("shadow=first", script);
    let then_a_share = "
        arrive b => b runs along
        beside b
        beside b => b gets a share
        choose 4 => abab
        beside b failed=1
        finish a
        finish b
        finish b => b serves after a";
    check("shadow=first requests=2 share=0.5", then_a_share);
    let only = "
        arrive b => b runs along
        beside b
        beside b
        beside b
        choose 1 => a+b
        pin b => b serves after a
        choose 1 => b";
    check("shadow=only requests=2", only);
}

#[test]
fn a_bad_shadow_is_taken_back() {
    let table = [
        "faults=60 own=10 => b is taken back, a serves: 0.6000 of its lines end in a fault, 0.1000 of the version before",
        "fuel=9000 => b is taken back, a serves: it uses 9.0 fuel for a byte, the version before 1.0",
        "failed=1 => b is taken back, a serves: 1.0000 of its requests fail, 0.0000 of the version before",
    ];
    for judged in table {
        let script = format!("arrive b => b runs along\nbeside b {judged}\nchoose 2 => aa");
        check("shadow=only", &script);
    }
}

#[test]
fn refused_versions_are_remembered_up_to_a_limit() {
    let mut lineup = Lineup::new(Script::new("").lineup.rules, "a", 'a', Utc::now());
    for n in 0..REFUSED_MAX + 10 {
        lineup.refuse(&format!("d{n}"), "bad", Utc::now());
        lineup.refuse("again", "bad", Utc::now());
    }
    assert_eq!(lineup.refused.len(), REFUSED_MAX);
    assert!(lineup.refusal("d0").is_none());
    assert!(lineup.refusal("again").is_some());
}
